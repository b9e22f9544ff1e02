//! Tasks: what they return and when, what they wait for, and how they end.

use super::probe::{returns, times_out, traps, within_limits};
use crate::case::Case;

const SPEC: &str = "CanonicalABI.md: canon lift, canon task.return, waitable sets and subtasks";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasi03/tasks/returns-at-once", SPEC, |context| {
        returns(context, r#"(func (export "f") (result i32) (call $return (i32.const 7)) (i32.const 0))"#, 7)
    }),
    Case::must("wasi03/tasks/returns-after-a-yield", SPEC, |context| {
        returns(
            context,
            r#"(func (export "f") (result i32) (i32.const 1))
            (func (export "callback") (param i32 i32 i32) (result i32)
                (call $is (local.get 0) (i32.const 0))
                (call $is (local.get 1) (i32.const 0))
                (call $is (local.get 2) (i32.const 0))
                (call $return (i32.const 8))
                (i32.const 0))"#,
            8,
        )
    }),
    Case::must("wasi03/tasks/returns-after-a-wait", SPEC, |context| returns(context, WAITS, 9)),
    Case::must("wasi03/tasks/goes-on-after-it-returned", SPEC, |context| {
        returns(
            context,
            r#"(func (export "f") (result i32)
                (global.set $a (call $set-new))
                (global.set $b (call $later (i64.const 5000000)))
                (call $join (global.get $b) (global.get $a))
                (call $return (i32.const 5))
                (call $wait-in (global.get $a)))
            (func (export "callback") (param i32 i32 i32) (result i32)
                (call $subtask-drop (local.get 1))
                (i32.const 0))"#,
            5,
        )
    }),
    Case::must("wasi03/tasks/a-synchronous-call-waits", SPEC, |context| {
        returns(
            context,
            r#"(func (export "f") (result i32)
                (call $wait (i64.const 1000000)) (call $return (i32.const 3)) (i32.const 0))"#,
            3,
        )
    }),
    Case::must("wasi03/tasks/waits-within-a-call", SPEC, |context| {
        returns(
            context,
            r#"(func (export "f") (result i32)
                (global.set $a (call $set-new))
                (global.set $b (call $later (i64.const 1000000)))
                (call $join (global.get $b) (global.get $a))
                (call $is (call $set-wait (global.get $a) (i32.const 128)) (i32.const 1))
                (call $is (i32.load (i32.const 128)) (global.get $b))
                (call $is (i32.load (i32.const 132)) (i32.const 2))
                (call $subtask-drop (global.get $b))
                (call $set-drop (global.get $a))
                (call $return (i32.const 1))
                (i32.const 0))"#,
            1,
        )
    }),
    Case::must("wasi03/tasks/an-empty-set-has-no-event", SPEC, |context| {
        returns(
            context,
            r#"(func (export "f") (result i32)
                (call $return (call $set-poll (call $set-new) (i32.const 128))) (i32.const 0))"#,
            0,
        )
    }),
    Case::must("wasi03/tasks/a-yield-within-a-call-is-not-cancelled", SPEC, |context| {
        returns(context, r#"(func (export "f") (result i32) (call $return (call $yield)) (i32.const 0))"#, 0)
    }),
    Case::must("wasi03/tasks/context-stays-over-a-wait", SPEC, |context| {
        returns(
            context,
            r#"(func (export "f") (result i32)
                (call $is (call $get) (i32.const 0)) (call $set (i32.const 77)) (i32.const 1))
            (func (export "callback") (param i32 i32 i32) (result i32) (call $return (call $get)) (i32.const 0))"#,
            77,
        )
    }),
    Case::must("wasi03/tasks/a-subtask-is-cancelled", SPEC, |context| {
        returns(
            context,
            r#"(func (export "f") (result i32)
                (global.set $b (call $later (i64.const 3600000000000)))
                (call $return (call $subtask-cancel (global.get $b)))
                (call $subtask-drop (global.get $b))
                (i32.const 0))"#,
            4,
        )
    }),
    Case::must("wasi03/tasks/backpressure-is-asked-for-and-given-up", SPEC, |context| {
        returns(
            context,
            r#"(func (export "f") (result i32) (call $inc) (call $dec) (call $return (i32.const 2)) (i32.const 0))"#,
            2,
        )
    }),
    Case::must("wasi03/tasks/one-that-never-returns-traps", SPEC, |context| {
        traps(
            context,
            r#"(func (export "f") (result i32) (i32.const 0))"#,
            "task.return",
            "ended without returning a result",
        )
    }),
    Case::must("wasi03/tasks/one-that-returns-twice-traps", SPEC, |context| {
        traps(
            context,
            r#"(func (export "f") (result i32)
                (call $return (i32.const 1)) (call $return (i32.const 2)) (i32.const 0))"#,
            "task.return",
            "returned already",
        )
    }),
    Case::must("wasi03/tasks/an-invalid-answer-traps", SPEC, |context| {
        traps(
            context,
            r#"(func (export "f") (result i32) (i32.const 3))"#,
            "waitable-set.wait",
            "0x3 is not a valid answer",
        )
    }),
    Case::must("wasi03/tasks/a-wait-for-no-set-traps", SPEC, |context| {
        traps(
            context,
            r#"(func (export "f") (result i32) (i32.const 0x632))"#,
            "waitable-set.wait",
            "99 is not an open handle",
        )
    }),
    Case::must("wasi03/tasks/a-wait-for-what-is-not-a-set-traps", SPEC, |context| {
        traps(
            context,
            r#"(func (export "f") (result i32) (call $wait-in (call $readable (call $s-new))))"#,
            "waitable-set.wait",
            "not `waitable-set`",
        )
    }),
    Case::must("wasi03/tasks/a-wait-for-nothing-traps", SPEC, |context| {
        traps(
            context,
            r#"(func (export "f") (result i32) (call $wait-in (call $set-new)))"#,
            "waitable-set.wait",
            "would never end",
        )
    }),
    Case::must("wasi03/tasks/a-set-with-members-is-not-dropped", SPEC, |context| {
        traps(
            context,
            r#"(func (export "f") (result i32)
                (global.set $a (call $set-new))
                (call $join (call $readable (call $s-new)) (global.get $a))
                (call $set-drop (global.get $a))
                (i32.const 0))"#,
            "waitable-set.drop",
            "1 members",
        )
    }),
    Case::must("wasi03/tasks/a-set-is-left", SPEC, |context| {
        returns(
            context,
            r#"(func (export "f") (result i32)
                (global.set $a (call $set-new))
                (global.set $b (call $readable (call $s-new)))
                (call $join (global.get $b) (global.get $a))
                (call $join (global.get $b) (i32.const 0))
                (call $set-drop (global.get $a))
                (call $return (i32.const 1))
                (i32.const 0))"#,
            1,
        )
    }),
    Case::must("wasi03/tasks/a-subtask-under-way-is-not-dropped", SPEC, |context| {
        traps(
            context,
            r#"(func (export "f") (result i32)
                (call $subtask-drop (call $later (i64.const 3600000000000))) (i32.const 0))"#,
            "subtask.drop",
            "has not ended",
        )
    }),
    Case::must("wasi03/tasks/a-subtask-is-cancelled-once", SPEC, |context| {
        traps(
            context,
            r#"(func (export "f") (result i32)
                (global.set $b (call $later (i64.const 3600000000000)))
                (drop (call $subtask-cancel (global.get $b)))
                (drop (call $subtask-cancel (global.get $b)))
                (i32.const 0))"#,
            "subtask.cancel",
            "its end was delivered",
        )
    }),
    Case::must("wasi03/tasks/one-that-nobody-cancels-cannot-say-so", SPEC, |context| {
        traps(
            context,
            r#"(func (export "f") (result i32) (call $task-cancel) (i32.const 0))"#,
            "task.cancel",
            "nobody has asked",
        )
    }),
    Case::must("wasi03/tasks/backpressure-is-given-up-as-often-as-asked-for", SPEC, |context| {
        traps(
            context,
            r#"(func (export "f") (result i32) (call $dec) (i32.const 0))"#,
            "backpressure.dec",
            "more often",
        )
    }),
    Case::must("wasi03/tasks/backpressure-is-bounded", SPEC, |context| {
        traps(
            context,
            r#"(func (export "f") (result i32) (loop $again (call $inc) (br $again)) (i32.const 0))"#,
            "backpressure.inc",
            "too often",
        )
    }),
    Case::must("wasi03/tasks/endless-yields-end-with-the-time", SPEC, |context| {
        times_out(
            context,
            r#"(func (export "f") (result i32) (i32.const 1))
            (func (export "callback") (param i32 i32 i32) (result i32) (i32.const 1))"#,
        )
    }),
    Case::must("wasi03/tasks/a-long-wait-ends-with-the-time", SPEC, |context| {
        times_out(
            context,
            r#"(func (export "f") (result i32)
                (call $wait (i64.const 3600000000000)) (call $return (i32.const 3)) (i32.const 0))"#,
        )
    }),
    Case::must("wasi03/tasks/a-hundred-thousand-futures-reach-a-limit", SPEC, |context| {
        within_limits(
            context,
            r#"(func (export "f") (result i32)
                (loop $again
                    (drop (call $f-new))
                    (global.set $a (i32.add (global.get $a) (i32.const 1)))
                    (br_if $again (i32.lt_u (global.get $a) (i32.const 100000))))
                (call $return (i32.const 1))
                (i32.const 0))"#,
            1,
        )
    }),
];

/// Waits for a moment by its callback.
const WAITS: &str = r#"(func (export "f") (result i32)
        (global.set $a (call $set-new))
        (global.set $b (call $later (i64.const 5000000)))
        (call $join (global.get $b) (global.get $a))
        (call $wait-in (global.get $a)))
    (func (export "callback") (param i32 i32 i32) (result i32)
        (call $is (local.get 0) (i32.const 1))
        (call $is (local.get 1) (global.get $b))
        (call $is (local.get 2) (i32.const 2))
        (call $subtask-drop (local.get 1))
        (call $set-drop (global.get $a))
        (call $return (i32.const 9))
        (i32.const 0))"#;
