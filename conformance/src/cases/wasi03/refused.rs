//! Components that no host of WASI 0.3 takes, and what a guest does that no function of its own can end well.

use wharf_core::grants::WasiConfig;
use wharf_core::{GuestConfig, Kind, Stop, chain};

use super::probe::{component_returns, component_traps, load, probe_with};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

const VALID: &str = "CanonicalABI.md: canonopt validation";

/// A component with one function that is lifted like this, beside this definition.
fn component(definition: &str, lift: &str) -> String {
    format!(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (func (export "f") (result i32) (i32.const 0))
                (func (export "stackful"))
                (func (export "callback") (param i32 i32 i32) (result i32) (i32.const 0))
                (func (export "callback-of-two") (param i32 i32) (result i32) (i32.const 0))
                (func (export "callback-of-none") (param i32 i32 i32))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
            (core instance $i (instantiate $m))
            (type $bytes (stream u8))
            {definition}
            (func (export "f") async (result u32) (canon lift (core func $i {lift})))"#
    )
}

/// What the function of such a component is lifted with, if nothing is wrong with that.
const LIFT: &str = r#""f") async (callback (core func $i "callback"))"#;

/// The component is not loaded, and is told why in these words by wharf's own host.
fn refused(context: &Context, definition: &str, lift: &str, why: &str) -> CaseResult {
    let component = wat::parse_str(component(definition, lift)).map_err(Unmet::harness)?;
    match load(context, &component) {
        Ok(_) => Err(Unmet::failed("the component is loaded")),
        Err(Unmet::Failed(_)) if context.subject().component_host().is_some() => Ok(()),
        Err(Unmet::Failed(message)) => {
            check!(message.contains(why), "`{message}` does not say `{why}`");
            Ok(())
        }
        Err(other) => Err(other),
    }
}

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasi03/refused/the-same-without-a-fault-is-not", VALID, |context| {
        load(context, &wat::parse_str(component("", LIFT)).map_err(Unmet::harness)?).map(drop)
    }),
    Case::must("wasi03/refused/a-callback-of-two-parameters", VALID, |context| {
        refused(context, "", r#""f") async (callback (core func $i "callback-of-two"))"#, "callback")
    }),
    Case::must("wasi03/refused/a-callback-without-an-answer", VALID, |context| {
        refused(context, "", r#""f") async (callback (core func $i "callback-of-none"))"#, "callback")
    }),
    Case::must("wasi03/refused/a-callback-of-what-is-not-asynchronous", VALID, |context| {
        refused(context, "", r#""f") (callback (core func $i "callback"))"#, "callback")
    }),
    Case::must("wasi03/refused/a-function-without-a-callback", VALID, |context| {
        refused(context, "", r#""stackful") async"#, "without a callback")
    }),
    Case::must("wasi03/refused/a-post-return-of-what-is-asynchronous", VALID, |context| {
        refused(context, "", &format!(r#"{LIFT} (post-return (core func $i "callback-of-none"))"#), "post-return")
    }),
    Case::must("wasi03/refused/a-read-without-a-memory", VALID, |context| {
        refused(context, "(core func (canon stream.read $bytes async))", LIFT, "memory")
    }),
    Case::must("wasi03/refused/a-wait-for-a-set-without-a-memory", VALID, |context| {
        refused(context, r#"(core func (canon waitable-set.wait (memory (core memory $i "none"))))"#, LIFT, "none")
    }),
    Case::must("wasi03/refused/a-return-with-an-allocator", VALID, |context| {
        let definition = r#"(core func (canon task.return (result u32) (memory (core memory $i "memory"))
            (realloc (core func $i "realloc"))))"#;
        refused(context, definition, LIFT, "realloc")
    }),
    Case::must("wasi03/refused/a-third-slot-of-a-context", VALID, |context| {
        refused(context, "(core func (canon context.get i32 2))", LIFT, "context.get")
    }),
    Case::must("wasi03/refused/a-stream-of-what-is-not-a-type", VALID, |context| {
        refused(context, "(type $s (stream 99))", LIFT, "type")
    }),
    Case::must("wasi03/refused/a-stream-that-is-not-one", VALID, |context| {
        refused(context, "(type $t u8) (core func (canon stream.new $t))", LIFT, "stream")
    }),
    Case::must("wasi03/refused/an-error-context", VALID, |context| {
        refused(context, "(core func (canon error-context.drop))", LIFT, "error-context")
    }),
    Case::must("wasi03/refused/a-thread", VALID, |context| {
        let definition = r#"(core func $index (canon thread.index))
            (core module $n (import "" "index" (func (result i32))))
            (core instance (instantiate $n (with "" (instance (export "index" (func $index))))))"#;
        refused(context, definition, LIFT, "threads of the component model")
    }),
    Case::must(
        "wasi03/refused/a-task-returns-what-its-function-does",
        "CanonicalABI.md: canon task.return",
        |context| {
            let text = probe_with(
                &[("return-byte", "task.return (result u8)", "(param i32)")],
                r#"(func (export "f") (result i32) (call $return-byte (i32.const 1)) (i32.const 0))"#,
            );
            component_traps(context, &text, "task.return", "of another type")
        },
    ),
    Case::must(
        "wasi03/refused/a-task-that-has-no-result-returns-none",
        "CanonicalABI.md: canon task.return",
        |context| {
            let text = probe_with(
                &[("return-nothing", "task.return", "")],
                r#"(func (export "f") (result i32) (call $return-nothing) (i32.const 0))"#,
            );
            component_traps(context, &text, "task.return", "of another type")
        },
    ),
    Case::must("wasi03/refused/a-call-after-a-trap", "CanonicalABI.md: Component Invariants", |context| {
        let text = probe_with(
            &[],
            r#"(func (export "f") (result i32)
                (if (global.get $a) (then (call $return (i32.const 1)) (return (i32.const 0))))
                (global.set $a (i32.const 1))
                unreachable)"#,
        );
        let component = wat::parse_str(&text).map_err(Unmet::harness)?;
        let guest = context.subject().shared(&text, || load(context, &component))?;
        let mut session = guest.start(GuestConfig { wasi: WasiConfig::new(), ..GuestConfig::default() })?;
        for call in ["the first", "the second"] {
            match session.call("f", &[]) {
                Err(Stop::Error(error)) if call == "the first" => {
                    check_eq!(error.kind(), Kind::Trap, "the kind of the error of {call} call: {}", chain(&error));
                }
                Err(Stop::Error(_)) => {}
                other => return Err(Unmet::failed(format!("{call} call gave {other:?}"))),
            }
        }
        Ok(())
    }),
    Case::must("wasi03/refused/a-yield-before-the-first-task", "CanonicalABI.md: canon thread.yield", |context| {
        // Whether there is a task then is left open: wharf lets others go on, as anywhere, and the guest starts.
        let text = probe_with(
            &[],
            r#"(func $start (drop (call $yield)))
            (start $start)
            (func (export "f") (result i32) (call $return (i32.const 6)) (i32.const 0))"#,
        );
        match component_returns(context, &text, 6) {
            Err(Unmet::Failed(message)) if context.subject().component_host().is_some() => {
                check!(!message.contains("panic"), "the host panicked: {message}");
                Ok(())
            }
            other => other,
        }
    }),
];
