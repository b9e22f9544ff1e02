//! A component that has every function of the component model's concurrency, and does with them what a case says.

use std::sync::Arc;
use std::time::Duration;

use wharf_component::{FlattenOptions, flatten};
use wharf_core::grants::{Capture, Output, WasiConfig};
use wharf_core::{Guest, GuestConfig, HostedGuest, Kind, LoadOptions, Stop, chain};

use crate::case::{CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

/// How long a probe may run that is not to.
const SHORT: Duration = Duration::from_millis(300);

/// How long one may run that ends.
const LONG: Duration = Duration::from_secs(20);

/// A component whose module has these functions beside what it imports: `f`, which answers with a callback's code, and
/// `callback`. Its exported function `f` gives what `$return` was called with.
const COMPONENT: &str = r#"(component
    (import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock
        (export "wait-for" (func async (param "how-long" u64)))))
    (import "wasi:cli/types@0.3.0" (instance $types
        (type $code (enum "io" "illegal-byte-sequence" "pipe"))
        (export "error-code" (type (eq $code)))))
    (alias export $types "error-code" (type $code))
    (import "wasi:cli/stdout@0.3.0" (instance $out
        (alias outer 1 $code (type $code))
        (export "error-code" (type $named (eq $code)))
        (type $ended (future (result (error $named))))
        (export "write-via-stream" (func (param "data" (stream u8)) (result $ended)))))
    (core module $memory
        (memory (export "memory") 1)
        (data (i32.const 64) "0123456789abcdef"))
    (core instance $memory (instantiate $memory))
    (type $bytes (stream u8))
    (type $number (future u32))
    (type $ended (future (result (error $code))))
    (core func $wait-for (canon lower (func $clock "wait-for") async (memory (core memory $memory "memory"))))
    (core func $wait (canon lower (func $clock "wait-for")))
    (core func $stdout (canon lower (func $out "write-via-stream")))
    (core func $return (canon task.return (result u32)))
    (core func $task-cancel (canon task.cancel))
    (core func $set-new (canon waitable-set.new))
    (core func $set-wait (canon waitable-set.wait (memory (core memory $memory "memory"))))
    (core func $set-poll (canon waitable-set.poll (memory (core memory $memory "memory"))))
    (core func $set-drop (canon waitable-set.drop))
    (core func $join (canon waitable.join))
    (core func $subtask-drop (canon subtask.drop))
    (core func $subtask-cancel (canon subtask.cancel))
    (core func $inc (canon backpressure.inc))
    (core func $dec (canon backpressure.dec))
    (core func $yield (canon thread.yield))
    (core func $get (canon context.get i32 0))
    (core func $set (canon context.set i32 0))
    (core func $s-new (canon stream.new $bytes))
    (core func $s-read (canon stream.read $bytes async (memory (core memory $memory "memory"))))
    (core func $s-write (canon stream.write $bytes async (memory (core memory $memory "memory"))))
    (core func $s-cancel-read (canon stream.cancel-read $bytes))
    (core func $s-cancel-write (canon stream.cancel-write $bytes))
    (core func $s-drop-readable (canon stream.drop-readable $bytes))
    (core func $s-drop-writable (canon stream.drop-writable $bytes))
    (core func $f-new (canon future.new $number))
    (core func $f-read (canon future.read $number async (memory (core memory $memory "memory"))))
    (core func $f-write (canon future.write $number async (memory (core memory $memory "memory"))))
    (core func $f-cancel-read (canon future.cancel-read $number))
    (core func $f-cancel-write (canon future.cancel-write $number))
    (core func $f-drop-readable (canon future.drop-readable $number))
    (core func $f-drop-writable (canon future.drop-writable $number))
    (core func $o-new (canon future.new $ended))
    (core func $o-read (canon future.read $ended async (memory (core memory $memory "memory"))))
    (core func $o-write (canon future.write $ended async (memory (core memory $memory "memory"))))
    (core func $o-cancel-read (canon future.cancel-read $ended))
    (core func $o-cancel-write (canon future.cancel-write $ended))
    (core func $o-drop-readable (canon future.drop-readable $ended))
    (core func $o-drop-writable (canon future.drop-writable $ended))
    CANON
    (core module $main
        (import "memory" "memory" (memory 1))
        IMPORTS
        (import "" "wait-for" (func $wait-for (param i64) (result i32)))
        (import "" "wait" (func $wait (param i64)))
        (import "" "stdout" (func $stdout (param i32) (result i32)))
        (import "" "return" (func $return (param i32)))
        (import "" "task-cancel" (func $task-cancel ))
        (import "" "set-new" (func $set-new (result i32)))
        (import "" "set-wait" (func $set-wait (param i32 i32) (result i32)))
        (import "" "set-poll" (func $set-poll (param i32 i32) (result i32)))
        (import "" "set-drop" (func $set-drop (param i32)))
        (import "" "join" (func $join (param i32 i32)))
        (import "" "subtask-drop" (func $subtask-drop (param i32)))
        (import "" "subtask-cancel" (func $subtask-cancel (param i32) (result i32)))
        (import "" "inc" (func $inc ))
        (import "" "dec" (func $dec ))
        (import "" "yield" (func $yield (result i32)))
        (import "" "get" (func $get (result i32)))
        (import "" "set" (func $set (param i32)))
        (import "" "s-new" (func $s-new (result i64)))
        (import "" "s-read" (func $s-read (param i32 i32 i32) (result i32)))
        (import "" "s-write" (func $s-write (param i32 i32 i32) (result i32)))
        (import "" "s-cancel-read" (func $s-cancel-read (param i32) (result i32)))
        (import "" "s-cancel-write" (func $s-cancel-write (param i32) (result i32)))
        (import "" "s-drop-readable" (func $s-drop-readable (param i32)))
        (import "" "s-drop-writable" (func $s-drop-writable (param i32)))
        (import "" "f-new" (func $f-new (result i64)))
        (import "" "f-read" (func $f-read (param i32 i32) (result i32)))
        (import "" "f-write" (func $f-write (param i32 i32) (result i32)))
        (import "" "f-cancel-read" (func $f-cancel-read (param i32) (result i32)))
        (import "" "f-cancel-write" (func $f-cancel-write (param i32) (result i32)))
        (import "" "f-drop-readable" (func $f-drop-readable (param i32)))
        (import "" "f-drop-writable" (func $f-drop-writable (param i32)))
        (import "" "o-new" (func $o-new (result i64)))
        (import "" "o-read" (func $o-read (param i32 i32) (result i32)))
        (import "" "o-write" (func $o-write (param i32 i32) (result i32)))
        (import "" "o-cancel-read" (func $o-cancel-read (param i32) (result i32)))
        (import "" "o-cancel-write" (func $o-cancel-write (param i32) (result i32)))
        (import "" "o-drop-readable" (func $o-drop-readable (param i32)))
        (import "" "o-drop-writable" (func $o-drop-writable (param i32)))
        ;; Both ends of what `new` gives.
        (func $readable (param i64) (result i32) (i32.wrap_i64 (local.get 0)))
        (func $writable (param i64) (result i32) (i32.wrap_i64 (i64.shr_u (local.get 0) (i64.const 32))))
        ;; What a set waits for, as the answer of a callback.
        (func $wait-in (param i32) (result i32) (i32.or (i32.const 2) (i32.shl (local.get 0) (i32.const 4))))
        ;; The handle of a call that waits for so long: one that was over before it was asked after is made again.
        (func $later (param $time i64) (result i32)
            (local $state i32)
            (loop $again
                (local.set $state (call $wait-for (local.get $time)))
                (br_if $again (i32.eq (local.get $state) (i32.const 2))))
            (call $is (i32.and (local.get $state) (i32.const 15)) (i32.const 1))
            (i32.shr_u (local.get $state) (i32.const 4)))
        ;; Traps unless both are the same.
        (func $is (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
        (global $a (mut i32) (i32.const 0))
        (global $b (mut i32) (i32.const 0))
        (global $c (mut i32) (i32.const 0))
        CASE)
    (core instance $main (instantiate $main
        (with "memory" (instance $memory))
        (with "" (instance
            EXPORTS
            (export "wait-for" (func $wait-for))
            (export "wait" (func $wait))
            (export "stdout" (func $stdout))
            (export "return" (func $return))
            (export "task-cancel" (func $task-cancel))
            (export "set-new" (func $set-new))
            (export "set-wait" (func $set-wait))
            (export "set-poll" (func $set-poll))
            (export "set-drop" (func $set-drop))
            (export "join" (func $join))
            (export "subtask-drop" (func $subtask-drop))
            (export "subtask-cancel" (func $subtask-cancel))
            (export "inc" (func $inc))
            (export "dec" (func $dec))
            (export "yield" (func $yield))
            (export "get" (func $get))
            (export "set" (func $set))
            (export "s-new" (func $s-new))
            (export "s-read" (func $s-read))
            (export "s-write" (func $s-write))
            (export "s-cancel-read" (func $s-cancel-read))
            (export "s-cancel-write" (func $s-cancel-write))
            (export "s-drop-readable" (func $s-drop-readable))
            (export "s-drop-writable" (func $s-drop-writable))
            (export "f-new" (func $f-new))
            (export "f-read" (func $f-read))
            (export "f-write" (func $f-write))
            (export "f-cancel-read" (func $f-cancel-read))
            (export "f-cancel-write" (func $f-cancel-write))
            (export "f-drop-readable" (func $f-drop-readable))
            (export "f-drop-writable" (func $f-drop-writable))
            (export "o-new" (func $o-new))
            (export "o-read" (func $o-read))
            (export "o-write" (func $o-write))
            (export "o-cancel-read" (func $o-cancel-read))
            (export "o-cancel-write" (func $o-cancel-write))
            (export "o-drop-readable" (func $o-drop-readable))
            (export "o-drop-writable" (func $o-drop-writable))))))
    (func (export "f") async (result u32)
        (canon lift (core func $main "f") async (callback (core func $main "callback")))))"#;

/// The callback of what never waits.
const NO_CALLBACK: &str = r#"(func (export "callback") (param i32 i32 i32) (result i32) unreachable)"#;

/// Loads a component on the host that is put to the test.
pub(super) fn load(context: &Context, component: &[u8]) -> CaseResult<Arc<dyn HostedGuest>> {
    if let Some(load) = context.subject().component_host() {
        return Ok(load(component)?);
    }
    let flat = flatten(component, &FlattenOptions::default());
    let flat = flat.map_err(|error| Unmet::failed(format!("the component is not flattened: {error}")))?;
    Ok(Arc::new(Guest::load(&**context.backend(), &flat.wasm, &LoadOptions::default())?))
}

/// The text of a probe that has these functions.
fn probe(functions: &str) -> String {
    probe_with(&[], functions)
}

/// A function that a probe has beside the others: its name, what it is of the component model's, and its type.
pub(super) type Extra = (&'static str, &'static str, &'static str);

/// The text of a probe that has these functions, and imports those beside what all do.
pub(super) fn probe_with(extras: &[Extra], functions: &str) -> String {
    let callback = if functions.contains("\"callback\"") { "" } else { NO_CALLBACK };
    let (mut canon, mut imports, mut exports) = (String::new(), String::new(), String::new());
    for (name, definition, ty) in extras {
        let definition = definition.replace("MEMORY", r#"(memory (core memory $memory "memory"))"#);
        canon += &format!("(core func ${name} (canon {definition}))\n");
        imports += &format!("(import \"\" \"{name}\" (func ${name} {ty}))\n");
        exports += &format!("(export \"{name}\" (func ${name}))\n");
    }
    let text = COMPONENT.replace("CANON", &canon).replace("IMPORTS", &imports).replace("EXPORTS", &exports);
    text.replace("CASE", &format!("{functions}\n{callback}"))
}

/// The ends of a new stream, or future, in `$a` to read and `$b` to write, a set in `$c`, and what a case does with them.
fn ends(new: &str, body: &str) -> String {
    format!(
        r#"(func (export "f") (result i32)
            (local $ends i64)
            (local $other i64)
            (local $at i32)
            (local.set $ends (call ${new}))
            (global.set $a (call $readable (local.get $ends)))
            (global.set $b (call $writable (local.get $ends)))
            (global.set $c (call $set-new))
            {body}
            (i32.const 0))"#
    )
}

/// The ends of a new stream, and what a case does with them.
pub(super) fn stream(body: &str) -> String {
    ends("s-new", body)
}

/// The same of a future.
pub(super) fn future(body: &str) -> String {
    ends("f-new", body)
}

fn call(context: &Context, text: &str, timeout: Duration, output: Output) -> CaseResult<Result<Vec<u64>, Stop>> {
    let component = wat::parse_str(text).map_err(Unmet::harness)?;
    let guest = context.subject().shared(text, || load(context, &component))?;
    Ok(run(&*guest, timeout, output))
}

/// Calls the function `f` of a new instance.
fn run(guest: &dyn HostedGuest, timeout: Duration, output: Output) -> Result<Vec<u64>, Stop> {
    let wasi = WasiConfig::new().stdout(output);
    let config = GuestConfig { wasi, timeout: Some(timeout), ..GuestConfig::default() };
    guest.start(config).and_then(|mut session| session.call("f", &[]))
}

/// What a probe comes to that no other case has.
pub(super) fn call_once(context: &Context, functions: &str) -> CaseResult<Result<Vec<u64>, Stop>> {
    let component = wat::parse_str(probe(functions)).map_err(Unmet::harness)?;
    Ok(run(&*load(context, &component)?, LONG, Output::Discard))
}

/// The probe returns this.
pub(super) fn returns(context: &Context, functions: &str, expected: u64) -> CaseResult {
    component_returns(context, &probe(functions), expected)
}

/// The component of this text returns this from its function `f`.
pub(super) fn component_returns(context: &Context, text: &str, expected: u64) -> CaseResult {
    check_eq!(call(context, text, LONG, Output::Discard)??, vec![expected], "what the task returns");
    Ok(())
}

/// The probe returns this, and has written that.
pub(super) fn writes(context: &Context, functions: &str, expected: u64, text: &str) -> CaseResult {
    let capture = Capture::new(1 << 16);
    let output = Output::Capture(capture.clone());
    check_eq!(call(context, &probe(functions), LONG, output)??, vec![expected], "what the task returns");
    check_eq!(String::from_utf8_lossy(&capture.contents()), text, "what is written");
    Ok(())
}

/// The probe breaks a rule: a trap, which on wharf's own host names this function and this rule.
pub(super) fn traps(context: &Context, functions: &str, function: &str, rule: &str) -> CaseResult {
    component_traps(context, &probe(functions), function, rule)
}

/// The same for the function `f` of the component of this text.
pub(super) fn component_traps(context: &Context, text: &str, function: &str, rule: &str) -> CaseResult {
    match call(context, text, LONG, Output::Discard)? {
        Err(Stop::Error(error)) if context.subject().component_host().is_some() => {
            check_eq!(error.kind(), Kind::Trap, "the kind of the error `{}`", chain(&error));
            Ok(())
        }
        Err(Stop::Error(error)) => {
            let message = chain(&error);
            check_eq!(error.kind(), Kind::Trap, "the kind of the error `{message}`");
            check!(
                message.contains(&format!("canon#{function}:")) && message.contains(rule),
                "`{message}` does not say `{rule}` of `{function}`"
            );
            Ok(())
        }
        other => Err(Unmet::failed(format!("`{function}` should trap and gave {other:?}"))),
    }
}

/// The probe does not end by itself: its time limit ends it.
pub(super) fn times_out(context: &Context, functions: &str) -> CaseResult {
    match call(context, &probe(functions), SHORT, Output::Discard)? {
        Err(Stop::Error(error)) if error.kind() == Kind::Timeout => Ok(()),
        other => Err(Unmet::failed(format!("it should run out of time and gave {other:?}"))),
    }
}

/// The probe asks for more than it may have, or is given it: nothing else.
pub(super) fn within_limits(context: &Context, functions: &str, expected: u64) -> CaseResult {
    match call(context, &probe(functions), LONG, Output::Discard)? {
        Ok(results) => check_eq!(results, vec![expected], "what the task returns"),
        Err(Stop::Error(error)) if matches!(error.kind(), Kind::Limit | Kind::Trap) => {}
        other => return Err(Unmet::failed(format!("it should reach a limit and gave {other:?}"))),
    }
    Ok(())
}
