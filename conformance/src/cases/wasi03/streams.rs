//! Streams: what is read and written, when the ends meet, and what becomes of one whose other end is gone.

use super::probe::{returns, stream, traps, writes};
use crate::case::Case;

const SPEC: &str = "CanonicalABI.md: canon stream.*";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasi03/streams/a-read-meets-a-write", SPEC, |context| {
        returns(
            context,
            &stream(
                r#"(call $join (global.get $b) (global.get $c))
                (call $is (call $s-write (global.get $b) (i32.const 64) (i32.const 8)) (i32.const -1))
                (call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 4)) (i32.const 0x40))
                (call $is (i32.load (i32.const 256)) (i32.const 0x33323130))
                (call $is (call $set-poll (global.get $c) (i32.const 128)) (i32.const 3))
                (call $is (i32.load (i32.const 128)) (global.get $b))
                (call $return (i32.load (i32.const 132)))"#,
            ),
            0x40,
        )
    }),
    Case::must("wasi03/streams/a-write-meets-a-read", SPEC, |context| {
        returns(
            context,
            &stream(
                r#"(call $join (global.get $a) (global.get $c))
                (call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 4)) (i32.const -1))
                (call $is (call $s-write (global.get $b) (i32.const 64) (i32.const 16)) (i32.const 0x40))
                (call $is (call $set-poll (global.get $c) (i32.const 128)) (i32.const 2))
                (call $is (i32.load (i32.const 132)) (i32.const 0x40))
                (call $return (i32.load8_u (i32.const 259)))"#,
            ),
            0x33,
        )
    }),
    Case::must("wasi03/streams/several-reads-take-from-one-write", SPEC, |context| {
        returns(
            context,
            &stream(
                r#"(call $join (global.get $b) (global.get $c))
                (call $is (call $s-write (global.get $b) (i32.const 64) (i32.const 8)) (i32.const -1))
                (call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 3)) (i32.const 0x30))
                (call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 9)) (i32.const 0x50))
                (call $is (call $set-poll (global.get $c) (i32.const 128)) (i32.const 3))
                (call $return (i32.load (i32.const 132)))"#,
            ),
            0x80,
        )
    }),
    Case::must("wasi03/streams/nothing-is-written-to-who-waits-for-something", SPEC, |context| {
        returns(
            context,
            &stream(
                r#"(call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 4)) (i32.const -1))
                (call $return (call $s-write (global.get $b) (i32.const 64) (i32.const 0)))"#,
            ),
            0,
        )
    }),
    Case::must("wasi03/streams/nothing-read-and-nothing-written-ends-the-write", SPEC, |context| {
        returns(
            context,
            &stream(
                r#"(call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 0)) (i32.const -1))
                (call $is (call $s-write (global.get $b) (i32.const 64) (i32.const 0)) (i32.const 0))
                (call $return (call $s-cancel-read (global.get $a)))"#,
            ),
            2,
        )
    }),
    Case::must("wasi03/streams/nothing-may-lie-anywhere", SPEC, |context| {
        returns(
            context,
            &stream(
                r#"(call $is (call $s-write (global.get $b) (i32.const -1) (i32.const 0)) (i32.const -1))
                (call $return (call $s-cancel-write (global.get $b)))"#,
            ),
            2,
        )
    }),
    Case::must("wasi03/streams/a-read-is-cancelled", SPEC, |context| {
        returns(
            context,
            &stream(
                r#"(call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 4)) (i32.const -1))
                (call $is (call $s-cancel-read (global.get $a)) (i32.const 2))
                (call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 4)) (i32.const -1))
                (call $return (call $s-cancel-read (global.get $a)))"#,
            ),
            2,
        )
    }),
    Case::must("wasi03/streams/cancelling-what-has-ended-tells-the-end", SPEC, |context| {
        returns(
            context,
            &stream(
                r#"(call $is (call $s-write (global.get $b) (i32.const 64) (i32.const 8)) (i32.const -1))
                (call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 2)) (i32.const 0x20))
                (call $return (call $s-cancel-write (global.get $b)))"#,
            ),
            0x20,
        )
    }),
    Case::must("wasi03/streams/a-reader-is-told-that-the-writer-is-gone", SPEC, |context| {
        returns(
            context,
            &stream(
                r#"(call $join (global.get $a) (global.get $c))
                (call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 4)) (i32.const -1))
                (call $s-drop-writable (global.get $b))
                (call $is (call $set-poll (global.get $c) (i32.const 128)) (i32.const 2))
                (call $s-drop-readable (global.get $a))
                (call $set-drop (global.get $c))
                (call $return (i32.load (i32.const 132)))"#,
            ),
            1,
        )
    }),
    Case::must("wasi03/streams/a-writer-is-told-that-the-reader-is-gone", SPEC, |context| {
        returns(
            context,
            &stream(
                r#"(call $s-drop-readable (global.get $a))
                (call $return (call $s-write (global.get $b) (i32.const 64) (i32.const 4)))
                (call $s-drop-writable (global.get $b))"#,
            ),
            1,
        )
    }),
    Case::must("wasi03/streams/what-was-written-is-told-with-the-end", SPEC, |context| {
        returns(
            context,
            &stream(
                r#"(call $join (global.get $b) (global.get $c))
                (call $is (call $s-write (global.get $b) (i32.const 64) (i32.const 8)) (i32.const -1))
                (call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 8)) (i32.const 0x80))
                (call $s-drop-readable (global.get $a))
                (call $is (call $set-poll (global.get $c) (i32.const 128)) (i32.const 3))
                (call $return (i32.load (i32.const 132)))"#,
            ),
            0x81,
        )
    }),
    Case::must("wasi03/streams/what-was-read-is-told-with-the-end", SPEC, |context| {
        returns(
            context,
            &stream(
                r#"(call $join (global.get $a) (global.get $c))
                (call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 8)) (i32.const -1))
                (call $is (call $s-write (global.get $b) (i32.const 64) (i32.const 3)) (i32.const 0x30))
                (call $s-drop-writable (global.get $b))
                (call $is (call $set-poll (global.get $c) (i32.const 128)) (i32.const 2))
                (call $return (i32.load (i32.const 132)))"#,
            ),
            0x31,
        )
    }),
    Case::must("wasi03/streams/after-the-end-there-is-only-the-drop", SPEC, |context| {
        traps(
            context,
            &stream(
                r#"(call $s-drop-writable (global.get $b))
                (call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 4)) (i32.const 1))
                (drop (call $s-read (global.get $a) (i32.const 256) (i32.const 4)))"#,
            ),
            "stream.read",
            "can only be dropped",
        )
    }),
    Case::must("wasi03/streams/one-read-at-a-time", SPEC, |context| {
        traps(
            context,
            &stream(
                r#"(drop (call $s-read (global.get $a) (i32.const 256) (i32.const 4)))
                (drop (call $s-read (global.get $a) (i32.const 256) (i32.const 4)))"#,
            ),
            "stream.read",
            "still under way",
        )
    }),
    Case::must("wasi03/streams/an-end-in-use-is-not-dropped", SPEC, |context| {
        traps(
            context,
            &stream(
                r#"(drop (call $s-read (global.get $a) (i32.const 256) (i32.const 4)))
                (call $s-drop-readable (global.get $a))"#,
            ),
            "stream.drop-readable",
            "still under way",
        )
    }),
    Case::must("wasi03/streams/the-other-end-is-another-end", SPEC, |context| {
        traps(
            context,
            &stream(r#"(drop (call $s-read (global.get $b) (i32.const 256) (i32.const 4)))"#),
            "stream.read",
            "writable end of a stream, not the readable end of a stream",
        )
    }),
    Case::must("wasi03/streams/a-future-is-not-a-stream", SPEC, |context| {
        traps(
            context,
            &stream(r#"(drop (call $s-read (call $readable (call $f-new)) (i32.const 256) (i32.const 4)))"#),
            "stream.read",
            "of a future, not",
        )
    }),
    Case::must("wasi03/streams/a-buffer-lies-within-the-memory", SPEC, |context| {
        traps(
            context,
            &stream(r#"(drop (call $s-read (global.get $a) (i32.const 0xffff) (i32.const 2)))"#),
            "stream.read",
            "not within the guest's memory",
        )
    }),
    Case::must("wasi03/streams/a-copy-has-a-largest-size", SPEC, |context| {
        traps(
            context,
            &stream(r#"(drop (call $s-write (global.get $b) (i32.const 0) (i32.const 0x10000000)))"#),
            "stream.write",
            "more than one copy may have",
        )
    }),
    Case::must("wasi03/streams/what-is-not-under-way-is-not-cancelled", SPEC, |context| {
        traps(
            context,
            &stream(r#"(drop (call $s-cancel-read (global.get $a)))"#),
            "stream.cancel-read",
            "no read or write of the end is under way",
        )
    }),
    Case::must("wasi03/streams/a-dropped-end-is-no-handle", SPEC, |context| {
        traps(
            context,
            &stream(
                r#"(call $s-drop-readable (global.get $a))
                (call $s-drop-readable (global.get $a))"#,
            ),
            "stream.drop-readable",
            "is not an open handle",
        )
    }),
    Case::must("wasi03/streams/an-end-in-use-is-not-given-away", SPEC, |context| {
        match traps(
            context,
            &stream(
                r#"(drop (call $s-read (global.get $a) (i32.const 256) (i32.const 4)))
                (drop (call $stdout (global.get $a)))"#,
            ),
            "write-via-stream",
            "",
        ) {
            // The rule is one of the function that it is given to.
            Err(crate::Unmet::Failed(message)) if message.contains("given away while a read of it is under way") => {
                Ok(())
            }
            other => other,
        }
    }),
    Case::must("wasi03/streams/standard-output-is-written", SPEC, |context| {
        writes(
            context,
            &stream(
                r#"(call $join (global.get $b) (global.get $c))
                (local.set $ends (i64.extend_i32_u (call $stdout (global.get $a))))
                (if (i32.eq (call $s-write (global.get $b) (i32.const 64) (i32.const 5)) (i32.const -1)) (then
                    (call $is (call $set-wait (global.get $c) (i32.const 128)) (i32.const 3))
                    (call $is (i32.load (i32.const 132)) (i32.const 0x50))))
                (call $s-drop-writable (global.get $b))
                ;; The future says that all went well.
                (i32.store (i32.const 256) (i32.const -1))
                (if (i32.eq (call $o-read (call $readable (local.get $ends)) (i32.const 256)) (i32.const -1)) (then
                    (call $join (call $readable (local.get $ends)) (global.get $c))
                    (call $is (call $set-wait (global.get $c) (i32.const 128)) (i32.const 4))))
                (call $o-drop-readable (call $readable (local.get $ends)))
                (call $return (i32.load8_u (i32.const 256)))"#,
            ),
            0,
            "01234",
        )
    }),
];
