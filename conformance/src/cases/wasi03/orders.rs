//! What the ends of streams and futures do in which order: sizes, drops, cancellation, and sets.

use super::probe::{future, returns, stream, traps};
use crate::case::Case;

const ENDS: &str = "CanonicalABI.md: canon {stream,future}.*";
const SETS: &str = "CanonicalABI.md: canon waitable-set.*, canon waitable.join";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasi03/orders/as-many-values-as-there-are", ENDS, |context| {
        for count in [1, 7, 4096, 30_000_u32] {
            let body = r#"(i32.store8 (i32.sub (i32.add (i32.const 64) (i32.const COUNT)) (i32.const 1)) (i32.const 0x7a))
                (call $is (call $s-write (global.get $b) (i32.const 64) (i32.const COUNT)) (i32.const -1))
                (call $is (call $s-read (global.get $a) (i32.const 32768) (i32.const 32768)) (i32.const ALL))
                (call $return (i32.load8_u (i32.add (i32.const 32767) (i32.const COUNT))))"#;
            let body = body.replace("COUNT", &count.to_string()).replace("ALL", &(count << 4).to_string());
            returns(context, &stream(&body), 0x7a)?;
        }
        Ok(())
    }),
    Case::must("wasi03/orders/a-thousand-values-one-by-one", ENDS, |context| {
        returns(
            context,
            &stream(
                r#"(call $join (global.get $a) (global.get $c))
                (loop $again
                    (call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 1)) (i32.const -1))
                    (call $is (call $s-write (global.get $b) (i32.const 64) (i32.const 1)) (i32.const 0x10))
                    (call $is (call $set-wait (global.get $c) (i32.const 128)) (i32.const 2))
                    (call $is (i32.load (i32.const 132)) (i32.const 0x10))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.get $at) (i32.const 1000))))
                (call $return (local.get $at))"#,
            ),
            1000,
        )
    }),
    Case::must("wasi03/orders/a-read-of-nothing-ends-with-a-write", ENDS, |context| {
        returns(
            context,
            &stream(
                r#"(call $join (global.get $a) (global.get $c))
                (call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 0)) (i32.const -1))
                (call $is (call $s-write (global.get $b) (i32.const 64) (i32.const 4)) (i32.const -1))
                (call $is (call $set-wait (global.get $c) (i32.const 128)) (i32.const 2))
                (call $is (i32.load (i32.const 132)) (i32.const 0))
                (call $return (call $s-read (global.get $a) (i32.const 256) (i32.const 4)))"#,
            ),
            0x40,
        )
    }),
    Case::must("wasi03/orders/the-readable-end-is-dropped-first", ENDS, |context| {
        returns(
            context,
            &stream(
                "(call $s-drop-readable (global.get $a)) (call $s-drop-writable (global.get $b)) (call $return (i32.const 1))",
            ),
            1,
        )
    }),
    Case::must("wasi03/orders/the-writable-end-is-dropped-first", ENDS, |context| {
        returns(
            context,
            &stream(
                "(call $s-drop-writable (global.get $b)) (call $s-drop-readable (global.get $a)) (call $return (i32.const 1))",
            ),
            1,
        )
    }),
    Case::must("wasi03/orders/a-write-under-way-ends-with-its-reader", ENDS, |context| {
        returns(
            context,
            &stream(
                r#"(call $join (global.get $b) (global.get $c))
                (call $is (call $s-write (global.get $b) (i32.const 64) (i32.const 8)) (i32.const -1))
                (call $s-drop-readable (global.get $a))
                (call $is (call $set-wait (global.get $c) (i32.const 128)) (i32.const 3))
                (call $s-drop-writable (global.get $b))
                (call $return (i32.load (i32.const 132)))"#,
            ),
            1,
        )
    }),
    Case::must("wasi03/orders/a-read-under-way-ends-with-its-writer", ENDS, |context| {
        returns(
            context,
            &stream(
                r#"(call $join (global.get $a) (global.get $c))
                (call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 8)) (i32.const -1))
                (call $s-drop-writable (global.get $b))
                (call $is (call $set-wait (global.get $c) (i32.const 128)) (i32.const 2))
                (call $s-drop-readable (global.get $a))
                (call $return (i32.load (i32.const 132)))"#,
            ),
            1,
        )
    }),
    Case::must("wasi03/orders/a-future-under-way-ends-with-its-reader", ENDS, |context| {
        returns(
            context,
            &future(
                r#"(call $join (global.get $b) (global.get $c))
                (call $is (call $f-write (global.get $b) (i32.const 64)) (i32.const -1))
                (call $f-drop-readable (global.get $a))
                (call $is (call $set-wait (global.get $c) (i32.const 128)) (i32.const 5))
                (call $f-drop-writable (global.get $b))
                (call $return (i32.load (i32.const 132)))"#,
            ),
            1,
        )
    }),
    Case::must("wasi03/orders/what-was-cancelled-is-dropped", ENDS, |context| {
        returns(
            context,
            &stream(
                r#"(call $is (call $s-read (global.get $a) (i32.const 256) (i32.const 8)) (i32.const -1))
                (call $is (call $s-cancel-read (global.get $a)) (i32.const 2))
                (call $s-drop-readable (global.get $a))
                (call $return (call $s-write (global.get $b) (i32.const 64) (i32.const 8)))"#,
            ),
            1,
        )
    }),
    Case::must("wasi03/orders/a-future-is-read-by-one-read-at-a-time", ENDS, |context| {
        traps(
            context,
            &future(
                r#"(drop (call $f-read (global.get $a) (i32.const 256)))
                (drop (call $f-read (global.get $a) (i32.const 256)))"#,
            ),
            "future.read",
            "still under way",
        )
    }),
    Case::must("wasi03/orders/a-future-that-is-read-is-not-dropped", ENDS, |context| {
        traps(
            context,
            &future("(drop (call $f-read (global.get $a) (i32.const 256))) (call $f-drop-readable (global.get $a))"),
            "future.drop-readable",
            "still under way",
        )
    }),
    Case::must("wasi03/orders/no-read-of-a-future-is-cancelled", ENDS, |context| {
        traps(context, &future("(drop (call $f-cancel-read (global.get $a)))"), "future.cancel-read", "under way")
    }),
    Case::must("wasi03/orders/no-write-of-a-future-is-cancelled", ENDS, |context| {
        traps(context, &future("(drop (call $f-cancel-write (global.get $b)))"), "future.cancel-write", "under way")
    }),
    Case::must("wasi03/orders/a-buffer-does-not-wrap-around", ENDS, |context| {
        traps(
            context,
            &stream("(drop (call $s-write (global.get $b) (i32.const -1) (i32.const 2)))"),
            "stream.write",
            "not within the guest's memory",
        )
    }),
    Case::must("wasi03/orders/an-end-leaves-its-set-when-it-is-dropped", SETS, |context| {
        returns(
            context,
            &stream(
                r#"(call $join (global.get $a) (global.get $c))
                (call $s-drop-readable (global.get $a))
                (call $set-drop (global.get $c))
                (call $return (i32.const 1))"#,
            ),
            1,
        )
    }),
    Case::must("wasi03/orders/an-end-moves-to-another-set", SETS, |context| {
        returns(
            context,
            &stream(
                r#"(call $join (global.get $a) (global.get $c))
                (call $join (global.get $a) (call $set-new))
                (call $set-drop (global.get $c))
                (call $return (i32.const 1))"#,
            ),
            1,
        )
    }),
    Case::must("wasi03/orders/each-member-of-a-set-is-told-of", SETS, |context| {
        returns(
            context,
            &stream(
                r#"(local.set $other (call $s-new))
                (call $join (global.get $a) (global.get $c))
                (call $join (call $readable (local.get $other)) (global.get $c))
                (drop (call $s-read (global.get $a) (i32.const 256) (i32.const 4)))
                (drop (call $s-read (call $readable (local.get $other)) (i32.const 264) (i32.const 4)))
                (call $is (call $s-write (global.get $b) (i32.const 64) (i32.const 1)) (i32.const 0x10))
                (call $is (call $s-write (call $writable (local.get $other)) (i32.const 64) (i32.const 2)) (i32.const 0x20))
                (call $is (call $set-wait (global.get $c) (i32.const 128)) (i32.const 2))
                (call $is (call $set-wait (global.get $c) (i32.const 136)) (i32.const 2))
                (call $return (i32.add (i32.load (i32.const 132)) (i32.load (i32.const 140))))"#,
            ),
            0x30,
        )
    }),
    Case::must("wasi03/orders/a-set-is-not-a-waitable", SETS, |context| {
        traps(
            context,
            &stream("(call $join (global.get $c) (global.get $c))"),
            "waitable.join",
            "end of a stream or future",
        )
    }),
    Case::must("wasi03/orders/a-set-is-not-a-subtask", SETS, |context| {
        traps(context, &stream("(drop (call $subtask-cancel (global.get $c)))"), "subtask.cancel", "not `subtask`")
    }),
    Case::must("wasi03/orders/a-stream-is-not-a-subtask", SETS, |context| {
        traps(context, &stream("(call $subtask-drop (global.get $a))"), "subtask.drop", "not `subtask`")
    }),
    Case::must("wasi03/orders/a-context-begins-with-zero", "CanonicalABI.md: canon context.get", |context| {
        returns(context, &stream("(call $return (call $get))"), 0)
    }),
    Case::must("wasi03/orders/a-context-has-all-bits", "CanonicalABI.md: canon context.set", |context| {
        returns(context, &stream("(call $set (i32.const -2)) (call $return (call $get))"), 0xffff_fffe)
    }),
];
