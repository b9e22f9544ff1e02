//! The functions that wait themselves or do not, whichever their options say, and what waits cannot be for.

use super::probe::{Extra, component_returns, component_traps, probe_with};
use crate::case::{Case, CaseResult};
use crate::context::Context;

const SYNC: &str = "CanonicalABI.md: canon {stream,future}.{read,write}, without async";
const CANCEL: &str = "CanonicalABI.md: canon {stream,future}.cancel-{read,write}, canon subtask.cancel";
const SETS: &str = "CanonicalABI.md: canon waitable-set.{wait,poll}, canon waitable.join";

/// What a case has beside the probe's functions: those that wait where the probe's do not, and the other way around.
const EXTRAS: &[Extra] = &[
    ("s-read-now", "stream.read $bytes MEMORY", "(param i32 i32 i32) (result i32)"),
    ("s-write-now", "stream.write $bytes MEMORY", "(param i32 i32 i32) (result i32)"),
    ("f-read-now", "future.read $number MEMORY", "(param i32 i32) (result i32)"),
    ("f-write-now", "future.write $number MEMORY", "(param i32 i32) (result i32)"),
    ("s-cancel-read-later", "stream.cancel-read $bytes async", "(param i32) (result i32)"),
    ("s-cancel-write-later", "stream.cancel-write $bytes async", "(param i32) (result i32)"),
    ("f-cancel-read-later", "future.cancel-read $number async", "(param i32) (result i32)"),
    ("f-cancel-write-later", "future.cancel-write $number async", "(param i32) (result i32)"),
    ("subtask-cancel-later", "subtask.cancel async", "(param i32) (result i32)"),
];

/// The ends of a stream and of a future, a set, and a call that waits for a while.
fn task(body: &str) -> String {
    probe_with(
        EXTRAS,
        &format!(
            r#"(func (export "f") (result i32)
                (local $stream i64)
                (local $future i64)
                (local $r i32) (local $w i32) (local $fr i32) (local $fw i32) (local $set i32) (local $call i32)
                (local.set $stream (call $s-new))
                (local.set $future (call $f-new))
                (local.set $r (call $readable (local.get $stream)))
                (local.set $w (call $writable (local.get $stream)))
                (local.set $fr (call $readable (local.get $future)))
                (local.set $fw (call $writable (local.get $future)))
                (local.set $set (call $set-new))
                {body}
                (i32.const 0))"#
        ),
    )
}

/// The second slot of a context.
const SLOT: &[Extra] = &[("get-1", "context.get i32 1", "(result i32)"), ("set-1", "context.set i32 1", "(param i32)")];

fn returns(context: &Context, body: &str, expected: u64) -> CaseResult {
    component_returns(context, &task(body), expected)
}

fn traps(context: &Context, body: &str, function: &str, rule: &str) -> CaseResult {
    component_traps(context, &task(body), function, rule)
}

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasi03/builtins/a-read-that-waits-meets-a-write", SYNC, |context| {
        returns(
            context,
            r#"(call $is (call $s-write (local.get $w) (i32.const 64) (i32.const 8)) (i32.const -1))
            (call $is (call $s-read-now (local.get $r) (i32.const 256) (i32.const 5)) (i32.const 0x50))
            (call $return (i32.load8_u (i32.const 260)))"#,
            0x34,
        )
    }),
    Case::must("wasi03/builtins/a-write-that-waits-meets-a-read", SYNC, |context| {
        returns(
            context,
            r#"(call $is (call $s-read (local.get $r) (i32.const 256) (i32.const 3)) (i32.const -1))
            (call $is (call $s-write-now (local.get $w) (i32.const 64) (i32.const 8)) (i32.const 0x30))
            (call $return (i32.load8_u (i32.const 258)))"#,
            0x32,
        )
    }),
    Case::must("wasi03/builtins/a-future-that-is-waited-for-is-there", SYNC, |context| {
        returns(
            context,
            r#"(call $is (call $f-write (local.get $fw) (i32.const 64)) (i32.const -1))
            (call $is (call $f-read-now (local.get $fr) (i32.const 256)) (i32.const 0))
            (call $return (i32.load (i32.const 256)))"#,
            0x3332_3130,
        )
    }),
    Case::must("wasi03/builtins/a-future-is-written-to-who-reads", SYNC, |context| {
        returns(
            context,
            r#"(call $is (call $f-read (local.get $fr) (i32.const 256)) (i32.const -1))
            (call $is (call $f-write-now (local.get $fw) (i32.const 64)) (i32.const 0))
            (call $return (i32.load (i32.const 256)))"#,
            0x3332_3130,
        )
    }),
    Case::must("wasi03/builtins/nobody-waits-for-who-is-gone", SYNC, |context| {
        returns(
            context,
            r#"(call $s-drop-writable (local.get $w))
            (call $is (call $s-read-now (local.get $r) (i32.const 256) (i32.const 5)) (i32.const 1))
            (call $f-drop-readable (local.get $fr))
            (call $return (call $f-write-now (local.get $fw) (i32.const 64)))"#,
            1,
        )
    }),
    Case::must("wasi03/builtins/a-read-that-would-wait-for-itself-traps", SYNC, |context| {
        let body = "(drop (call $s-read-now (local.get $r) (i32.const 256) (i32.const 5)))";
        traps(context, body, "stream.read", "would never end")
    }),
    Case::must("wasi03/builtins/a-write-that-would-wait-for-itself-traps", SYNC, |context| {
        let body = "(drop (call $s-write-now (local.get $w) (i32.const 64) (i32.const 5)))";
        traps(context, body, "stream.write", "would never end")
    }),
    Case::must("wasi03/builtins/nothing-that-would-wait-for-itself-traps", SYNC, |context| {
        let body = "(drop (call $s-read-now (local.get $r) (i32.const 256) (i32.const 0)))";
        traps(context, body, "stream.read", "would never end")
    }),
    Case::must("wasi03/builtins/a-future-that-waits-for-itself-traps", SYNC, |context| {
        traps(context, "(drop (call $f-read-now (local.get $fr) (i32.const 256)))", "future.read", "would never end")
    }),
    Case::must("wasi03/builtins/a-future-that-nobody-reads-traps", SYNC, |context| {
        traps(context, "(drop (call $f-write-now (local.get $fw) (i32.const 64)))", "future.write", "would never end")
    }),
    Case::must("wasi03/builtins/a-set-of-what-only-the-guest-does-traps", SETS, |context| {
        let body = r#"(call $join (local.get $fr) (local.get $set))
            (drop (call $f-read (local.get $fr) (i32.const 256)))
            (drop (call $set-wait (local.get $set) (i32.const 128)))"#;
        traps(context, body, "waitable-set.wait", "would never end")
    }),
    Case::must("wasi03/builtins/a-read-in-a-set-does-not-wait", SYNC, |context| {
        let body = r#"(call $join (local.get $r) (local.get $set))
            (drop (call $s-read-now (local.get $r) (i32.const 256) (i32.const 5)))"#;
        traps(context, body, "stream.read", "in a waitable set")
    }),
    Case::must("wasi03/builtins/a-write-in-a-set-does-not-wait", SYNC, |context| {
        let body = r#"(call $join (local.get $w) (local.get $set))
            (drop (call $s-write-now (local.get $w) (i32.const 64) (i32.const 5)))"#;
        traps(context, body, "stream.write", "in a waitable set")
    }),
    Case::must("wasi03/builtins/a-future-in-a-set-does-not-wait", SYNC, |context| {
        let body = r#"(call $join (local.get $fr) (local.get $set))
            (drop (call $f-read-now (local.get $fr) (i32.const 256)))"#;
        traps(context, body, "future.read", "in a waitable set")
    }),
    Case::must("wasi03/builtins/a-cancellation-in-a-set-does-not-wait", CANCEL, |context| {
        let body = r#"(call $join (local.get $r) (local.get $set))
            (drop (call $s-read (local.get $r) (i32.const 256) (i32.const 5)))
            (drop (call $s-cancel-read (local.get $r)))"#;
        traps(context, body, "stream.cancel-read", "in a waitable set")
    }),
    Case::must("wasi03/builtins/a-subtask-in-a-set-is-not-waited-for", CANCEL, |context| {
        let body = r#"(local.set $call (call $later (i64.const 3600000000000)))
            (call $join (local.get $call) (local.get $set))
            (drop (call $subtask-cancel (local.get $call)))"#;
        traps(context, body, "subtask.cancel", "in a waitable set")
    }),
    Case::must("wasi03/builtins/each-copy-is-cancelled-in-a-set", CANCEL, |context| {
        returns(
            context,
            r#"(call $join (local.get $r) (local.get $set))
            (call $join (local.get $fr) (local.get $set))
            (drop (call $s-read (local.get $r) (i32.const 256) (i32.const 5)))
            (call $is (call $s-cancel-read-later (local.get $r)) (i32.const 2))
            (drop (call $f-read (local.get $fr) (i32.const 256)))
            (call $is (call $f-cancel-read-later (local.get $fr)) (i32.const 2))
            (call $join (local.get $w) (local.get $set))
            (call $join (local.get $fw) (local.get $set))
            (drop (call $s-write (local.get $w) (i32.const 64) (i32.const 5)))
            (call $is (call $s-cancel-write-later (local.get $w)) (i32.const 2))
            (drop (call $f-write (local.get $fw) (i32.const 64)))
            (call $is (call $f-cancel-write-later (local.get $fw)) (i32.const 2))
            ;; None of them has an event.
            (call $return (call $set-poll (local.get $set) (i32.const 128)))"#,
            0,
        )
    }),
    Case::must("wasi03/builtins/a-call-is-cancelled-in-a-set", CANCEL, |context| {
        // The specification lets a host say so now or as an event.
        returns(
            context,
            r#"(local.set $call (call $later (i64.const 3600000000000)))
            (call $join (local.get $call) (local.get $set))
            (i32.store (i32.const 132) (call $subtask-cancel-later (local.get $call)))
            (if (i32.eq (i32.load (i32.const 132)) (i32.const -1)) (then
                (call $is (call $set-wait (local.get $set) (i32.const 128)) (i32.const 1))))
            (call $subtask-drop (local.get $call))
            (call $set-drop (local.get $set))
            (call $return (i32.load (i32.const 132)))"#,
            4,
        )
    }),
    Case::must("wasi03/builtins/a-call-that-has-returned-is-not-cancelled", CANCEL, |context| {
        returns(
            context,
            r#"(local.set $call (call $later (i64.const 1000000)))
            (call $wait (i64.const 30000000))
            ;; Whoever is late is told of both at once.
            (call $wait (i64.const 1000000))
            (call $return (call $subtask-cancel (local.get $call)))
            (call $subtask-drop (local.get $call))"#,
            2,
        )
    }),
    Case::must("wasi03/builtins/a-call-that-was-told-of-is-not-cancelled", CANCEL, |context| {
        let body = r#"(local.set $call (call $later (i64.const 1000000)))
            (call $join (local.get $call) (local.get $set))
            (call $is (call $set-wait (local.get $set) (i32.const 128)) (i32.const 1))
            (call $join (local.get $call) (i32.const 0))
            (drop (call $subtask-cancel (local.get $call)))"#;
        traps(context, body, "subtask.cancel", "its end was delivered")
    }),
    Case::must("wasi03/builtins/a-call-that-was-not-told-of-is-not-dropped", CANCEL, |context| {
        let body = r#"(local.set $call (call $later (i64.const 1000000)))
            (call $wait (i64.const 30000000))
            ;; Whoever is late is told of both at once.
            (call $wait (i64.const 1000000))
            (call $subtask-drop (local.get $call))"#;
        traps(context, body, "subtask.drop", "not delivered")
    }),
    Case::must("wasi03/builtins/a-dropped-call-is-no-handle", CANCEL, |context| {
        let body = r#"(local.set $call (call $later (i64.const 3600000000000)))
            (drop (call $subtask-cancel (local.get $call)))
            (call $subtask-drop (local.get $call))
            (call $subtask-drop (local.get $call))"#;
        traps(context, body, "subtask.drop", "is not an open handle")
    }),
    Case::must("wasi03/builtins/a-dropped-call-leaves-its-set", SETS, |context| {
        returns(
            context,
            r#"(local.set $call (call $later (i64.const 1000000)))
            (call $join (local.get $call) (local.get $set))
            (call $is (call $set-wait (local.get $set) (i32.const 128)) (i32.const 1))
            (call $subtask-drop (local.get $call))
            (call $set-drop (local.get $set))
            (call $return (i32.load (i32.const 132)))"#,
            2,
        )
    }),
    Case::must("wasi03/builtins/what-has-ended-is-told-of-in-a-set-it-joins-later", SETS, |context| {
        returns(
            context,
            r#"(drop (call $s-read (local.get $r) (i32.const 256) (i32.const 5)))
            (call $is (call $s-write (local.get $w) (i32.const 64) (i32.const 5)) (i32.const 0x50))
            (call $is (call $set-poll (local.get $set) (i32.const 128)) (i32.const 0))
            (call $join (local.get $r) (local.get $set))
            (call $is (call $set-poll (local.get $set) (i32.const 128)) (i32.const 2))
            (call $return (i32.load (i32.const 132)))"#,
            0x50,
        )
    }),
    Case::must("wasi03/builtins/an-event-is-told-of-once", SETS, |context| {
        returns(
            context,
            r#"(call $join (local.get $r) (local.get $set))
            (drop (call $s-read (local.get $r) (i32.const 256) (i32.const 5)))
            (drop (call $s-write (local.get $w) (i32.const 64) (i32.const 5)))
            (call $is (call $set-poll (local.get $set) (i32.const 128)) (i32.const 2))
            (call $return (call $set-poll (local.get $set) (i32.const 128)))"#,
            0,
        )
    }),
    Case::must("wasi03/builtins/where-there-is-no-event-there-are-no-numbers", SETS, |context| {
        returns(
            context,
            r#"(i64.store (i32.const 128) (i64.const -1))
            (call $is (call $set-poll (local.get $set) (i32.const 128)) (i32.const 0))
            (call $return (i32.or (i32.load (i32.const 128)) (i32.load (i32.const 132))))"#,
            0,
        )
    }),
    Case::must("wasi03/builtins/an-event-that-was-not-told-of-keeps-its-end", SETS, |context| {
        let body = r#"(drop (call $s-read (local.get $r) (i32.const 256) (i32.const 5)))
            (drop (call $s-write (local.get $w) (i32.const 64) (i32.const 5)))
            (call $s-drop-readable (local.get $r))"#;
        traps(context, body, "stream.drop-readable", "still under way")
    }),
    Case::must("wasi03/builtins/an-event-lies-within-the-memory", SETS, |context| {
        traps(context, "(drop (call $set-poll (local.get $set) (i32.const 65532)))", "waitable-set.poll", "")
    }),
    Case::must("wasi03/builtins/an-event-is-aligned", SETS, |context| {
        traps(context, "(drop (call $set-poll (local.get $set) (i32.const 130)))", "waitable-set.poll", "")
    }),
    Case::must("wasi03/builtins/nobody-joins-what-is-not-a-set", SETS, |context| {
        let body = "(call $join (local.get $r) (local.get $fr))";
        traps(context, body, "waitable.join", "not `waitable-set`")
    }),
    Case::must("wasi03/builtins/what-is-not-a-set-is-not-dropped-as-one", SETS, |context| {
        traps(context, "(call $set-drop (local.get $r))", "waitable-set.drop", "not `waitable-set`")
    }),
    Case::must("wasi03/builtins/a-dropped-set-is-no-handle", SETS, |context| {
        let body = "(call $set-drop (local.get $set)) (call $set-drop (local.get $set))";
        traps(context, body, "waitable-set.drop", "is not an open handle")
    }),
    Case::must("wasi03/builtins/no-set-is-waited-for", SETS, |context| {
        let body = "(drop (call $set-wait (i32.const 0) (i32.const 128)))";
        traps(context, body, "waitable-set.wait", "0 is not an open handle")
    }),
    Case::must("wasi03/builtins/slots-of-a-context-are-two", "CanonicalABI.md: canon context.{get,set}", |context| {
        let task = r#"(func (export "f") (result i32)
            (call $is (call $get-1) (i32.const 0))
            (call $set (i32.const 5)) (call $set-1 (i32.const 6))
            (i32.const 1))
            (func (export "callback") (param i32 i32 i32) (result i32)
                (call $return (i32.add (i32.mul (call $get) (i32.const 10)) (call $get-1)))
                (i32.const 0))"#;
        component_returns(context, &probe_with(SLOT, task), 56)
    }),
];
