//! Futures: one value, once.

use super::probe::{future, returns, traps};
use crate::case::Case;

const SPEC: &str = "CanonicalABI.md: canon future.*";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasi03/futures/a-read-meets-a-write", SPEC, |context| {
        returns(
            context,
            &future(
                r#"(call $join (global.get $b) (global.get $c))
                (call $is (call $f-write (global.get $b) (i32.const 64)) (i32.const -1))
                (call $is (call $f-read (global.get $a) (i32.const 256)) (i32.const 0))
                (call $is (call $set-poll (global.get $c) (i32.const 128)) (i32.const 5))
                (call $is (i32.load (i32.const 132)) (i32.const 0))
                (call $f-drop-readable (global.get $a))
                (call $f-drop-writable (global.get $b))
                (call $return (i32.load (i32.const 256)))"#,
            ),
            0x3332_3130,
        )
    }),
    Case::must("wasi03/futures/a-write-meets-a-read", SPEC, |context| {
        returns(
            context,
            &future(
                r#"(call $join (global.get $a) (global.get $c))
                (call $is (call $f-read (global.get $a) (i32.const 256)) (i32.const -1))
                (call $is (call $f-write (global.get $b) (i32.const 64)) (i32.const 0))
                (call $is (call $set-poll (global.get $c) (i32.const 128)) (i32.const 4))
                (call $return (i32.load (i32.const 256)))"#,
            ),
            0x3332_3130,
        )
    }),
    Case::must("wasi03/futures/a-writer-is-told-that-the-reader-is-gone", SPEC, |context| {
        returns(
            context,
            &future(
                r#"(call $f-drop-readable (global.get $a))
                (call $return (call $f-write (global.get $b) (i32.const 64)))
                (call $f-drop-writable (global.get $b))"#,
            ),
            1,
        )
    }),
    Case::must("wasi03/futures/a-read-is-cancelled-and-tried-again", SPEC, |context| {
        returns(
            context,
            &future(
                r#"(call $is (call $f-read (global.get $a) (i32.const 256)) (i32.const -1))
                (call $is (call $f-cancel-read (global.get $a)) (i32.const 2))
                (call $is (call $f-write (global.get $b) (i32.const 64)) (i32.const -1))
                (call $return (call $f-read (global.get $a) (i32.const 256)))"#,
            ),
            0,
        )
    }),
    Case::must("wasi03/futures/a-write-is-cancelled", SPEC, |context| {
        returns(
            context,
            &future(
                r#"(call $is (call $f-write (global.get $b) (i32.const 64)) (i32.const -1))
                (call $return (call $f-cancel-write (global.get $b)))"#,
            ),
            2,
        )
    }),
    Case::must("wasi03/futures/one-without-a-value-is-not-dropped", SPEC, |context| {
        traps(
            context,
            &future(r#"(call $f-drop-writable (global.get $b))"#),
            "future.drop-writable",
            "before a value was written",
        )
    }),
    Case::must("wasi03/futures/one-whose-write-was-cancelled-is-not-dropped", SPEC, |context| {
        traps(
            context,
            &future(
                r#"(drop (call $f-write (global.get $b) (i32.const 64)))
                (drop (call $f-cancel-write (global.get $b)))
                (call $f-drop-writable (global.get $b))"#,
            ),
            "future.drop-writable",
            "before a value was written",
        )
    }),
    Case::must("wasi03/futures/it-is-read-once", SPEC, |context| {
        traps(
            context,
            &future(
                r#"(drop (call $f-write (global.get $b) (i32.const 64)))
                (drop (call $f-read (global.get $a) (i32.const 256)))
                (drop (call $f-read (global.get $a) (i32.const 256)))"#,
            ),
            "future.read",
            "can only be dropped",
        )
    }),
    Case::must("wasi03/futures/a-value-is-aligned", SPEC, |context| {
        traps(
            context,
            &future(r#"(drop (call $f-read (global.get $a) (i32.const 257)))"#),
            "future.read",
            "not aligned to 4",
        )
    }),
    Case::must("wasi03/futures/a-value-lies-within-the-memory", SPEC, |context| {
        traps(
            context,
            &future(r#"(drop (call $f-write (global.get $b) (i32.const 0xfffffffc)))"#),
            "future.write",
            "not within the guest's memory",
        )
    }),
    Case::must("wasi03/futures/one-of-another-type-is-another", SPEC, |context| {
        traps(
            context,
            &future(r#"(drop (call $o-read (global.get $a) (i32.const 256)))"#),
            "future.read",
            "of another type",
        )
    }),
    Case::must("wasi03/futures/only-numbers-pass-within-a-component", SPEC, |context| {
        traps(
            context,
            r#"(func (export "f") (result i32)
                (local $ends i64)
                (local.set $ends (call $o-new))
                (drop (call $o-write (call $writable (local.get $ends)) (i32.const 64)))
                (drop (call $o-read (call $readable (local.get $ends)) (i32.const 256)))
                (i32.const 0))"#,
            "future.read",
            "only numbers",
        )
    }),
];
