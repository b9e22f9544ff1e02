//! What components hand to each other within one composition: values, resources, streams, futures; and backpressure.

use super::pair::{returns, traps};
use crate::case::{Case, CaseResult};
use crate::cases::needs::MULTI_MEMORY;
use crate::context::Context;

const SPEC: &str = "CanonicalABI.md: lifting and lowering, streams, futures, handles and backpressure";

const fn case(id: &'static str, run: fn(&Context) -> CaseResult) -> Case {
    Case::must(id, SPEC, run).needs(&[MULTI_MEMORY])
}

/// A service that takes no calls while it is told so by `quick`.
const BUSY: &str = r#"(func (export "quick") (param i32) (result i32)
        (if (local.get 0) (then (call $inc)) (else (call $dec)))
        (i32.const 0))
    (func (export "go") (param i32) (result i32) (call $return (local.get 0)) (i32.const 0))"#;

/// A service that passes on what it reads, once.
const PASSES_ON: &str = r#"(func (export "pipe") (param i32) (result i32)
        (local i64)
        (global.set $a (local.get 0))
        (local.set 1 (call $s-new))
        (global.set $b (call $writable (local.get 1)))
        (call $return-stream (call $readable (local.get 1)))
        (global.set $c (call $set-new))
        (call $is (call $s-read (global.get $a) (i32.const 512) (i32.const 100)) (i32.const -1))
        (call $join (global.get $a) (global.get $c))
        (call $wait-in (global.get $c)))
    (func (export "pipe-callback") (param i32 i32 i32) (result i32)
        (call $is (local.get 0) (i32.const 2))
        (call $join (global.get $a) (i32.const 0))
        (drop (call $copied (global.get $b)
            (call $s-write (global.get $b) (i32.const 512) (i32.shr_u (local.get 2) (i32.const 4)))))
        (call $s-drop-readable (global.get $a))
        (call $s-drop-writable (global.get $b))
        (i32.const 0))"#;

/// One that gives back what it was given.
const GIVES_BACK: &str = r#"(func (export "pipe") (param i32) (result i32) (call $return-stream (local.get 0)) (i32.const 0))
    (func (export "later") (param i32) (result i32) (call $return-future (local.get 0)) (i32.const 0))"#;

/// One that has things, whose representation is what they are made of.
const THINGS: &str = r#"(func (export "make") (param i32) (result i32) (call $thing-new (local.get 0)))
    (func (export "use") (param i32) (result i32) (global.set $a (local.get 0)) (i32.const 1))
    (func (export "use-callback") (param i32 i32 i32) (result i32) (call $return (global.get $a)) (i32.const 0))
    (func (export "keep") (param i32) (result i32)
        (call $thing-drop (local.get 0)) (call $return-nothing) (i32.const 0))"#;

/// One that returns the text it is given, whose first letter is `x` then.
const TEXT: &str = r#"(func (export "text") (param i32 i32) (result i32)
        (i32.store8 (local.get 0) (i32.const 0x78))
        (call $return-text (local.get 0) (local.get 1))
        (i32.const 0))"#;

/// One that adds up what it is given.
const MANY: &str = r#"(func (export "many") (param i32 i64 f32 f64 i32) (result i32)
        (call $return (i32.add (i32.add (local.get 0) (i32.wrap_i64 (local.get 1)))
            (i32.add (i32.trunc_f32_u (local.get 2)) (i32.add (i32.trunc_f64_u (local.get 3)) (local.get 4)))))
        (i32.const 0))"#;

/// One that returns the last letter of the text that a future brings.
const HEARS: &str = r#"(func (export "say") (param i32) (result i32)
        (global.set $a (local.get 0))
        (global.set $b (call $set-new))
        (call $is (call $w-read (global.get $a) (i32.const 512)) (i32.const -1))
        (call $join (global.get $a) (global.get $b))
        (call $wait-in (global.get $b)))
    (func (export "say-callback") (param i32 i32 i32) (result i32)
        (call $is (local.get 0) (i32.const 4))
        (call $is (local.get 2) (i32.const 0))
        (call $is (i32.load (i32.const 516)) (i32.const 16))
        (call $w-drop-readable (global.get $a))
        (call $return (i32.load8_u offset=15 (i32.load (i32.const 512))))
        (i32.const 0))"#;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    case("wasi03/composed/text-crosses", |context| {
        returns(
            context,
            TEXT,
            r#"(func (export "f") (result i32)
                (call $is (call $text (i32.const 64) (i32.const 16) (i32.const 256)) (i32.const 2))
                (call $is (i32.load (i32.const 260)) (i32.const 16))
                (call $is (i32.load8_u (i32.const 64)) (i32.const 0x30))
                (call $is (i32.load8_u offset=15 (i32.load (i32.const 256))) (i32.const 0x66))
                (call $return (i32.load8_u (i32.load (i32.const 256))))
                (i32.const 0))"#,
            0x78,
        )
    }),
    case("wasi03/composed/text-crosses-to-one-that-waits", |context| {
        returns(
            context,
            TEXT,
            r#"(func (export "f") (result i32)
                (call $text-sync (i32.const 64) (i32.const 16) (i32.const 256))
                (call $is (i32.load (i32.const 260)) (i32.const 16))
                (call $return (i32.load8_u (i32.load (i32.const 256))))
                (i32.const 0))"#,
            0x78,
        )
    }),
    case("wasi03/composed/text-outside-of-memory-traps", |context| {
        traps(
            context,
            TEXT,
            r#"(func (export "f") (result i32)
                (drop (call $text (i32.const 64) (i32.const 0x10000) (i32.const 256))) unreachable)"#,
            "a string that is not within its memory",
        )
    }),
    case("wasi03/composed/parameters-of-all-types-cross", |context| {
        returns(
            context,
            MANY,
            r#"(func (export "f") (result i32)
                (call $return
                    (call $many-sync (i32.const 1) (i64.const 20) (f32.const 300) (f64.const 4000) (i32.const 0x61)))
                (i32.const 0))"#,
            4418,
        )
    }),
    case("wasi03/composed/parameters-in-memory-cross", |context| {
        returns(
            context,
            MANY,
            r#"(func (export "f") (result i32)
                (i32.store8 (i32.const 512) (i32.const 1))
                (i64.store (i32.const 520) (i64.const 20))
                (f32.store (i32.const 528) (f32.const 300))
                (f64.store (i32.const 536) (f64.const 4000))
                (i32.store (i32.const 544) (i32.const 0x61))
                (call $is (call $many (i32.const 512) (i32.const 256)) (i32.const 2))
                (call $return (i32.load (i32.const 256)))
                (i32.const 0))"#,
            4418,
        )
    }),
    case("wasi03/composed/backpressure-holds-a-call", |context| {
        returns(
            context,
            BUSY,
            r#"(func (export "f") (result i32)
                (drop (call $quick-sync (i32.const 1)))
                (global.set $a (call $go (i32.const 8) (i32.const 256)))
                (drop (call $call-in (global.get $a) (i32.const 0)))
                (drop (call $quick-sync (i32.const 0)))
                (call $finish (global.get $a))
                (call $return (i32.load (i32.const 256)))
                (i32.const 0))"#,
            8,
        )
    }),
    case("wasi03/composed/backpressure-holds-calls-in-order", |context| {
        returns(
            context,
            BUSY,
            r#"(func (export "f") (result i32)
                (local i32 i32)
                (drop (call $quick-sync (i32.const 1)))
                (local.set 0 (call $go (i32.const 8) (i32.const 256)))
                (local.set 1 (call $go (i32.const 9) (i32.const 260)))
                (drop (call $call-in (local.get 1) (i32.const 0)))
                (drop (call $quick-sync (i32.const 0)))
                (call $finish (local.get 0))
                (call $finish (local.get 1))
                (call $return (i32.add (i32.load (i32.const 256)) (i32.load (i32.const 260))))
                (i32.const 0))"#,
            17,
        )
    }),
    case("wasi03/composed/a-call-that-has-not-begun-is-cancelled", |context| {
        returns(
            context,
            BUSY,
            r#"(func (export "f") (result i32)
                (drop (call $quick-sync (i32.const 1)))
                (global.set $a (call $call-in (call $go (i32.const 8) (i32.const 256)) (i32.const 0)))
                (global.set $b (call $subtask-cancel (global.get $a)))
                (call $subtask-drop (global.get $a))
                (drop (call $quick-sync (i32.const 0)))
                (call $is (call $go (i32.const 9) (i32.const 256)) (i32.const 2))
                (call $is (i32.load (i32.const 256)) (i32.const 9))
                (call $return (global.get $b))
                (i32.const 0))"#,
            3,
        )
    }),
    case("wasi03/composed/a-stream-goes-there-and-back", |context| {
        returns(
            context,
            GIVES_BACK,
            r#"(func (export "f") (result i32)
                (local i64 i32 i32)
                (local.set 0 (call $s-new))
                (local.set 1 (call $pipe-sync (call $readable (local.get 0))))
                (local.set 2 (call $writable (local.get 0)))
                (call $is (call $s-write (local.get 2) (i32.const 64) (i32.const 16)) (i32.const -1))
                (call $is (call $s-read (local.get 1) (i32.const 512) (i32.const 100)) (i32.const 0x100))
                (call $is (call $await (local.get 2)) (i32.const 0x100))
                (call $s-drop-readable (local.get 1))
                (call $s-drop-writable (local.get 2))
                (call $return (i32.load8_u (i32.const 527)))
                (i32.const 0))"#,
            0x66,
        )
    }),
    case("wasi03/composed/a-stream-is-copied-from-memory-to-memory", |context| {
        returns(
            context,
            PASSES_ON,
            r#"(func (export "f") (result i32)
                (local i64 i32)
                (local.set 0 (call $s-new))
                (call $is (call $pipe (call $readable (local.get 0)) (i32.const 256)) (i32.const 2))
                (local.set 1 (i32.load (i32.const 256)))
                (call $is (call $s-write (call $writable (local.get 0)) (i32.const 64) (i32.const 16)) (i32.const 0x100))
                (call $is (call $copied (local.get 1) (call $s-read (local.get 1) (i32.const 512) (i32.const 100))) (i32.const 0x101))
                (call $is (i32.load8_u (i32.const 512)) (i32.const 0x30))
                (call $return (i32.load8_u (i32.const 527)))
                (i32.const 0))"#,
            0x66,
        )
    }),
    case("wasi03/composed/the-end-of-a-stream-is-told", |context| {
        returns(
            context,
            r#"(func (export "pipe") (param i32) (result i32)
                (local i64)
                (call $s-drop-readable (local.get 0))
                (local.set 1 (call $s-new))
                (call $return-stream (call $readable (local.get 1)))
                (call $s-drop-writable (call $writable (local.get 1)))
                (i32.const 0))"#,
            r#"(func (export "f") (result i32)
                (local i64 i32)
                (local.set 0 (call $s-new))
                (local.set 1 (call $pipe-sync (call $readable (local.get 0))))
                (call $is (call $s-write (call $writable (local.get 0)) (i32.const 64) (i32.const 16)) (i32.const 1))
                (call $return (call $s-read (local.get 1) (i32.const 512) (i32.const 100)))
                (i32.const 0))"#,
            1,
        )
    }),
    case("wasi03/composed/an-end-that-is-read-is-not-passed-on", |context| {
        traps(
            context,
            GIVES_BACK,
            r#"(func (export "f") (result i32)
                (local i64 i32)
                (local.set 1 (call $readable (call $s-new)))
                (call $is (call $s-read (local.get 1) (i32.const 512) (i32.const 100)) (i32.const -1))
                (drop (call $pipe-sync (local.get 1)))
                unreachable)"#,
            "while a read of it is under way",
        )
    }),
    case("wasi03/composed/a-writable-end-is-not-passed-on", |context| {
        traps(
            context,
            GIVES_BACK,
            r#"(func (export "f") (result i32) (drop (call $pipe-sync (call $writable (call $s-new)))) unreachable)"#,
            "is not the readable end of a stream",
        )
    }),
    case("wasi03/composed/an-end-that-was-passed-on-is-gone", |context| {
        traps(
            context,
            GIVES_BACK,
            r#"(func (export "f") (result i32)
                (local i32)
                (local.set 0 (call $readable (call $f-new)))
                (drop (call $s-new))
                (drop (call $later-sync (local.get 0)))
                (call $f-drop-readable (local.get 0))
                (call $f-drop-readable (local.get 0))
                unreachable)"#,
            "not an open handle",
        )
    }),
    case("wasi03/composed/a-future-goes-there-and-back", |context| {
        returns(
            context,
            GIVES_BACK,
            r#"(func (export "f") (result i32)
                (local i64 i32 i32)
                (local.set 0 (call $f-new))
                (local.set 1 (call $later-sync (call $readable (local.get 0))))
                (local.set 2 (call $writable (local.get 0)))
                (i32.store (i32.const 256) (i32.const 77))
                (call $is (call $f-write (local.get 2) (i32.const 256)) (i32.const -1))
                (call $is (call $f-read (local.get 1) (i32.const 512)) (i32.const 0))
                (call $is (call $await (local.get 2)) (i32.const 0))
                (call $f-drop-readable (local.get 1))
                (call $f-drop-writable (local.get 2))
                (call $return (i32.load (i32.const 512)))
                (i32.const 0))"#,
            77,
        )
    }),
    case("wasi03/composed/text-passes-through-a-future", |context| {
        returns(
            context,
            HEARS,
            r#"(func (export "f") (result i32)
                (local i64 i32)
                (local.set 0 (call $w-new))
                (local.set 1 (call $say (call $readable (local.get 0)) (i32.const 256)))
                (i32.store (i32.const 300) (i32.const 64))
                (i32.store (i32.const 304) (i32.const 16))
                (call $is (call $w-write (call $writable (local.get 0)) (i32.const 300)) (i32.const 0))
                (call $w-drop-writable (call $writable (local.get 0)))
                (call $finish (local.get 1))
                (call $return (i32.load (i32.const 256)))
                (i32.const 0))"#,
            0x66,
        )
    }),
    case("wasi03/composed/text-outside-of-memory-does-not-pass-through-a-future", |context| {
        traps(
            context,
            HEARS,
            r#"(func (export "f") (result i32)
                (local i64)
                (local.set 0 (call $w-new))
                (drop (call $say (call $readable (local.get 0)) (i32.const 256)))
                (i32.store (i32.const 300) (i32.const 64))
                (i32.store (i32.const 304) (i32.const 0x10000))
                (drop (call $w-write (call $writable (local.get 0)) (i32.const 300)))
                unreachable)"#,
            "not within the guest's memory",
        )
    }),
    case("wasi03/composed/a-resource-is-lent", |context| {
        returns(
            context,
            THINGS,
            r#"(func (export "f") (result i32)
                (local i32)
                (local.set 0 (call $make (i32.const 55)))
                (call $finish (call $use (local.get 0) (i32.const 256)))
                (call $thing-drop (local.get 0))
                (call $return (i32.load (i32.const 256)))
                (i32.const 0))"#,
            55,
        )
    }),
    case("wasi03/composed/a-resource-is-lent-to-one-that-is-waited-for", |context| {
        returns(
            context,
            THINGS,
            r#"(func (export "f") (result i32)
                (local i32 i32)
                (local.set 0 (call $make (i32.const 56)))
                (local.set 1 (call $use-sync (local.get 0)))
                (call $thing-drop (local.get 0))
                (call $return (local.get 1))
                (i32.const 0))"#,
            56,
        )
    }),
    case("wasi03/composed/a-resource-that-is-lent-is-not-dropped", |context| {
        traps(
            context,
            THINGS,
            r#"(func (export "f") (result i32)
                (local i32)
                (local.set 0 (call $make (i32.const 55)))
                (drop (call $call-in (call $use (local.get 0) (i32.const 256)) (i32.const 1)))
                (call $thing-drop (local.get 0))
                unreachable)"#,
            "is lent to a call that is still in progress",
        )
    }),
    case("wasi03/composed/a-resource-that-is-given-is-gone", |context| {
        traps(
            context,
            THINGS,
            r#"(func (export "f") (result i32)
                (local i32)
                (local.set 0 (call $make (i32.const 55)))
                (call $is (call $keep (local.get 0)) (i32.const 2))
                (call $thing-drop (local.get 0))
                unreachable)"#,
            "not an open handle",
        )
    }),
];
