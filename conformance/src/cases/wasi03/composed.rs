//! Components that call each other asynchronously within one composition: calls, and how they end.

use wharf_core::{Kind, Stop};

use super::pair::{call_text, chain_of, returns, traps};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::needs::MULTI_MEMORY;
use crate::check_eq;
use crate::context::Context;

const SPEC: &str = "CanonicalABI.md: canon lift, canon lower, tasks and subtasks";

const fn case(id: &'static str, run: fn(&Context) -> CaseResult) -> Case {
    Case::must(id, SPEC, run).needs(&[MULTI_MEMORY])
}

/// A service that returns one more than it is given, at once.
const AT_ONCE: &str = r#"(func (export "go") (param i32) (result i32)
    (call $return (i32.add (local.get 0) (i32.const 1))) (i32.const 0))"#;

/// The same after it has waited for the clock, or yielded if its time has come already; several at once do not meet each
/// other.
const AFTER_A_WAIT: &str = r#"(func (export "go") (param i32) (result i32)
        (local i32 i32)
        (local.set 1 (call $set-new))
        (i32.store offset=1024 (i32.mul (local.get 1) (i32.const 4)) (local.get 0))
        (call $set (local.get 1))
        (local.set 2 (call $wait-for (i64.const 5000000)))
        (if (i32.eq (local.get 2) (i32.const 2)) (then (return (i32.const 1))))
        (call $join (i32.shr_u (local.get 2) (i32.const 4)) (local.get 1))
        (call $wait-in (local.get 1)))
    (func (export "go-callback") (param i32 i32 i32) (result i32)
        (if (local.get 0) (then
            (call $is (local.get 0) (i32.const 1))
            (call $is (local.get 2) (i32.const 2))
            (call $subtask-drop (local.get 1))))
        (call $set-drop (call $get))
        (call $return (i32.add (i32.load offset=1024 (i32.mul (call $get) (i32.const 4))) (i32.const 1)))
        (i32.const 0))"#;

/// One that waits for an hour, and does this when it is asked to give up.
macro_rules! patient {
    ($on_cancel:literal) => {
        concat!(
            r#"(func (export "go") (param i32) (result i32)
                (global.set $a (call $set-new))
                (global.set $b (i32.shr_u (call $wait-for (i64.const 3600000000000)) (i32.const 4)))
                (call $join (global.get $b) (global.get $a))
                (call $wait-in (global.get $a)))
            (func (export "go-callback") (param i32 i32 i32) (result i32)"#,
            $on_cancel,
            ")"
        )
    };
}

/// A front that asks a call to give up that has started, and returns what comes of it.
const CANCELS: &str = r#"(func (export "f") (result i32)
    (global.set $b (call $call-in (call $go (i32.const 6) (i32.const 256)) (i32.const 1)))
    (global.set $c (call $subtask-cancel (global.get $b)))
    (call $subtask-drop (global.get $b))
    (call $return (global.get $c))
    (i32.const 0))"#;

/// A front that calls, and wants no more.
const CALLS: &str = r#"(func (export "f") (result i32)
    (call $finish (call $go (i32.const 6) (i32.const 256)))
    (call $return (i32.load (i32.const 256)))
    (i32.const 0))"#;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    case("wasi03/composed/a-call-returns-at-once", |context| {
        returns(
            context,
            AT_ONCE,
            r#"(func (export "f") (result i32)
                (call $is (call $go (i32.const 6) (i32.const 256)) (i32.const 2))
                (call $return (i32.load (i32.const 256)))
                (i32.const 0))"#,
            7,
        )
    }),
    case("wasi03/composed/a-call-waits", |context| {
        returns(
            context,
            AFTER_A_WAIT,
            r#"(func (export "f") (result i32)
                (global.set $b (call $call-in (call $go (i32.const 6) (i32.const 256)) (i32.const 1)))
                (global.set $a (call $set-new))
                (call $join (global.get $b) (global.get $a))
                (call $wait-in (global.get $a)))
            (func (export "callback") (param i32 i32 i32) (result i32)
                (call $is (local.get 0) (i32.const 1))
                (call $is (local.get 1) (global.get $b))
                (call $is (local.get 2) (i32.const 2))
                (call $subtask-drop (global.get $b))
                (call $return (i32.load (i32.const 256)))
                (i32.const 0))"#,
            7,
        )
    }),
    case("wasi03/composed/a-call-is-waited-for-within-a-call", |context| returns(context, AFTER_A_WAIT, CALLS, 7)),
    case("wasi03/composed/a-synchronous-call-waits", |context| {
        returns(
            context,
            AFTER_A_WAIT,
            r#"(func (export "f") (result i32) (call $return (call $go-sync (i32.const 8))) (i32.const 0))"#,
            9,
        )
    }),
    case("wasi03/composed/a-call-is-polled-for", |context| {
        returns(
            context,
            AFTER_A_WAIT,
            r#"(func (export "f") (result i32)
                (global.set $b (call $call-in (call $go (i32.const 6) (i32.const 256)) (i32.const 1)))
                (global.set $a (call $set-new))
                (call $join (global.get $b) (global.get $a))
                (loop $again
                    (drop (call $yield))
                    (br_if $again (i32.eqz (call $set-poll (global.get $a) (i32.const 128)))))
                (call $is (i32.load (i32.const 132)) (i32.const 2))
                (call $return (i32.load (i32.const 256)))
                (i32.const 0))"#,
            7,
        )
    }),
    case("wasi03/composed/several-calls-are-under-way", |context| {
        returns(
            context,
            AFTER_A_WAIT,
            r#"(func (export "f") (result i32)
                (local i32 i32 i32)
                (local.set 0 (call $go (i32.const 10) (i32.const 256)))
                (local.set 1 (call $go (i32.const 20) (i32.const 260)))
                (local.set 2 (call $go (i32.const 30) (i32.const 264)))
                (call $finish (local.get 2))
                (call $finish (local.get 0))
                (call $finish (local.get 1))
                (call $return (i32.add (i32.load (i32.const 256)) (i32.add (i32.load (i32.const 260)) (i32.load (i32.const 264)))))
                (i32.const 0))"#,
            63,
        )
    }),
    case("wasi03/composed/a-synchronous-call-has-others-go-on", |context| {
        returns(
            context,
            AFTER_A_WAIT,
            r#"(func (export "f") (result i32)
                (local i32 i32)
                (local.set 0 (call $go (i32.const 10) (i32.const 256)))
                (local.set 1 (call $go-sync (i32.const 20)))
                (call $finish (local.get 0))
                (call $return (i32.add (local.get 1) (i32.load (i32.const 256))))
                (i32.const 0))"#,
            32,
        )
    }),
    case("wasi03/composed/a-callee-yields", |context| {
        returns(
            context,
            r#"(func (export "go") (param i32) (result i32) (global.set $a (local.get 0)) (i32.const 1))
            (func (export "go-callback") (param i32 i32 i32) (result i32)
                (call $is (i32.or (local.get 0) (i32.or (local.get 1) (local.get 2))) (i32.const 0))
                (global.set $b (i32.add (global.get $b) (i32.const 1)))
                (if (i32.lt_u (global.get $b) (i32.const 10)) (then (return (i32.const 1))))
                (call $return (i32.add (global.get $a) (global.get $b)))
                (i32.const 0))"#,
            CALLS,
            16,
        )
    }),
    case("wasi03/composed/a-callee-goes-on-after-it-returned", |context| {
        returns(
            context,
            r#"(func (export "go") (param i32) (result i32) (call $return (i32.const 1)) (i32.const 1))
            (func (export "go-callback") (param i32 i32 i32) (result i32) (global.set $a (i32.const 5)) (i32.const 0))
            (func (export "quick") (param i32) (result i32) (global.get $a))"#,
            r#"(func (export "f") (result i32)
                (call $is (call $go (i32.const 6) (i32.const 256)) (i32.const 2))
                (loop $again
                    (drop (call $yield))
                    (br_if $again (i32.eqz (call $quick-sync (i32.const 0)))))
                (call $return (call $quick-sync (i32.const 0)))
                (i32.const 0))"#,
            5,
        )
    }),
    case("wasi03/composed/a-synchronously-lifted-callee-returns", |context| {
        returns(
            context,
            r#"(func (export "slow") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))"#,
            r#"(func (export "f") (result i32)
                (call $is (call $slow (i32.const 7) (i32.const 256)) (i32.const 2))
                (call $return (i32.add (i32.load (i32.const 256)) (call $slow-sync (i32.const 2))))
                (i32.const 0))"#,
            27,
        )
    }),
    case("wasi03/composed/a-synchronously-lifted-callee-waits", |context| {
        returns(
            context,
            r#"(func (export "slow") (param i32) (result i32) (call $wait (i64.const 1000000)) (i32.mul (local.get 0) (i32.const 3)))"#,
            r#"(func (export "f") (result i32)
                (call $finish (call $slow (i32.const 7) (i32.const 256)))
                (call $return (i32.add (i32.load (i32.const 256)) (call $slow-sync (i32.const 2))))
                (i32.const 0))"#,
            27,
        )
    }),
    case("wasi03/composed/a-callee-waits-within-a-call", |context| {
        returns(
            context,
            r#"(func (export "go") (param i32) (result i32)
                (call $wait (i64.const 1000000))
                (call $return (i32.mul (local.get 0) (i32.const 3)))
                (i32.const 0))"#,
            r#"(func (export "f") (result i32)
                (local i32 i32)
                (local.set 0 (call $go (i32.const 7) (i32.const 256)))
                (local.set 1 (call $go (i32.const 1) (i32.const 260)))
                (call $finish (local.get 0))
                (call $finish (local.get 1))
                (call $return (i32.add (i32.load (i32.const 256)) (i32.load (i32.const 260))))
                (i32.const 0))"#,
            24,
        )
    }),
    case("wasi03/composed/contexts-are-each-tasks-own", |context| {
        returns(
            context,
            r#"(func (export "go") (param i32) (result i32)
                (call $is (call $get) (i32.const 0)) (call $set (i32.const 30)) (i32.const 1))
            (func (export "go-callback") (param i32 i32 i32) (result i32) (call $return (call $get)) (i32.const 0))
            (func (export "quick") (param i32) (result i32) (call $is (call $get) (i32.const 0)) (call $set (i32.const 99)) (i32.const 1))"#,
            r#"(func (export "f") (result i32)
                (call $set (i32.const 4))
                (call $finish (call $go (i32.const 6) (i32.const 256)))
                (call $is (call $quick-sync (i32.const 6)) (i32.const 1))
                (call $return (i32.add (i32.load (i32.const 256)) (call $get)))
                (i32.const 0))"#,
            34,
        )
    }),
    case("wasi03/composed/a-call-is-cancelled", |context| {
        returns(
            context,
            patient!(
                r#"
                (call $is (local.get 0) (i32.const 6))
                (call $join (global.get $b) (i32.const 0))
                (drop (call $subtask-cancel (global.get $b)))
                (call $subtask-drop (global.get $b))
                (call $task-cancel)
                (i32.const 0)"#
            ),
            CANCELS,
            4,
        )
    }),
    case("wasi03/composed/a-call-that-is-cancelled-returns", |context| {
        returns(
            context,
            patient!(
                r#"
                (call $is (local.get 0) (i32.const 6)) (call $return (i32.const 1)) (i32.const 0)"#
            ),
            CANCELS,
            2,
        )
    }),
    case("wasi03/composed/a-call-that-is-cancelled-takes-its-time", |context| {
        returns(
            context,
            patient!(
                r#"
                (if (i32.eqz (local.get 0)) (then (call $return (i32.const 1)) (return (i32.const 0))))
                (i32.const 1)"#
            ),
            CANCELS,
            2,
        )
    }),
    case("wasi03/composed/a-call-that-is-over-is-not-cancelled", |context| {
        traps(
            context,
            AFTER_A_WAIT,
            r#"(func (export "f") (result i32)
                (global.set $b (call $call-in (call $go (i32.const 6) (i32.const 256)) (i32.const 1)))
                (call $is (call $await (global.get $b)) (i32.const 2))
                (drop (call $subtask-cancel (global.get $b)))
                unreachable)"#,
            "the subtask has ended and its end was delivered",
        )
    }),
    case("wasi03/composed/nobody-cancels-itself-unasked", |context| {
        traps(
            context,
            r#"(func (export "go") (param i32) (result i32) (call $task-cancel) (i32.const 0))"#,
            CALLS,
            "nobody has asked the task to cancel itself",
        )
    }),
    case("wasi03/composed/a-call-that-goes-on-is-not-dropped", |context| {
        traps(
            context,
            AFTER_A_WAIT,
            r#"(func (export "f") (result i32)
                (call $subtask-drop (call $call-in (call $go (i32.const 6) (i32.const 256)) (i32.const 1)))
                unreachable)"#,
            "the subtask has not ended",
        )
    }),
    case("wasi03/composed/one-that-never-returns-traps", |context| {
        traps(
            context,
            r#"(func (export "go") (param i32) (result i32) (i32.const 0))"#,
            CALLS,
            "ended without returning a result",
        )
    }),
    case("wasi03/composed/one-that-returns-twice-traps", |context| {
        traps(
            context,
            r#"(func (export "go") (param i32) (result i32)
                (call $return (i32.const 1)) (call $return (i32.const 1)) (i32.const 0))"#,
            CALLS,
            "the task has returned already",
        )
    }),
    case("wasi03/composed/a-result-of-another-type-traps", |context| {
        traps(
            context,
            r#"(func (export "go") (param i32) (result i32) (call $return-text (i32.const 64) (i32.const 4)) (i32.const 0))"#,
            CALLS,
            "the result is of another type than the function's",
        )
    }),
    case("wasi03/composed/an-invalid-answer-traps", |context| {
        traps(
            context,
            r#"(func (export "go") (param i32) (result i32) (i32.const 7))"#,
            CALLS,
            "0x7 is not a valid answer",
        )
    }),
    case("wasi03/composed/a-wait-for-anothers-set-traps", |context| {
        traps(
            context,
            r#"(func (export "go") (param i32) (result i32) (call $wait-in (i32.const 1)))"#,
            r#"(func (export "f") (result i32)
                (drop (call $set-new))
                (call $finish (call $go (i32.const 6) (i32.const 256)))
                unreachable)"#,
            "not an open handle",
        )
    }),
    case("wasi03/composed/a-trap-of-the-callee-ends-both", |context| {
        traps(
            context,
            r#"(func (export "go") (param i32) (result i32) (i32.const 1))
            (func (export "go-callback") (param i32 i32 i32) (result i32) unreachable)"#,
            CALLS,
            "from one of its components to another",
        )
    }),
    case("wasi03/composed/one-that-may-not-wait-does-not", |context| {
        traps(
            context,
            r#"(func (export "quick") (param i32) (result i32) (call $wait (i64.const 1000000)) (i32.const 1))"#,
            r#"(func (export "f") (result i32) (drop (call $quick-sync (i32.const 1))) unreachable)"#,
            "may not wait",
        )
    }),
    case("wasi03/composed/many-wait-for-each-other", |context| {
        check_eq!(call_text(context, &chain_of(40))??, vec![40], "what the first of them returns");
        Ok(())
    }),
    case("wasi03/composed/only-so-many-wait-for-each-other", |context| {
        match call_text(context, &chain_of(80))? {
            Ok(returned) => check_eq!(returned, vec![80], "what the first of them returns"),
            Err(Stop::Error(error)) => check_eq!(error.kind(), Kind::Limit, "the kind of the error `{error}`"),
            Err(other) => return Err(Unmet::failed(format!("the guest ends with {other:?}"))),
        }
        Ok(())
    }),
];
