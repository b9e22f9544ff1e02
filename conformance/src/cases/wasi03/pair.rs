//! A component composed of two: a service, and a front that calls it in every way and does what a case says.

use std::fmt::Write;
use std::time::Duration;

use wharf_core::grants::WasiConfig;
use wharf_core::{GuestConfig, Kind, Stop, chain};

use super::probe::load;
use crate::case::{CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

/// How long one may run that ends.
const LONG: Duration = Duration::from_secs(20);

/// A core function that a component makes: its name, its definition, and its type.
type Made = (&'static str, &'static str, &'static str);

/// What both components have. `MEMORY` and `REALLOC` are their own.
const COMMON: &[Made] = &[
    ("wait-for", "lower (func $wait-for) async MEMORY", "(param i64) (result i32)"),
    ("wait", "lower (func $wait-for)", "(param i64)"),
    ("return", "task.return (result u32)", "(param i32)"),
    ("return-text", "task.return (result string) MEMORY", "(param i32 i32)"),
    ("return-stream", "task.return (result $bytes)", "(param i32)"),
    ("return-future", "task.return (result $number)", "(param i32)"),
    ("task-cancel", "task.cancel", ""),
    ("set-new", "waitable-set.new", "(result i32)"),
    ("set-wait", "waitable-set.wait MEMORY", "(param i32 i32) (result i32)"),
    ("set-poll", "waitable-set.poll MEMORY", "(param i32 i32) (result i32)"),
    ("set-drop", "waitable-set.drop", "(param i32)"),
    ("join", "waitable.join", "(param i32 i32)"),
    ("subtask-drop", "subtask.drop", "(param i32)"),
    ("subtask-cancel", "subtask.cancel", "(param i32) (result i32)"),
    ("subtask-cancel-async", "subtask.cancel async", "(param i32) (result i32)"),
    ("inc", "backpressure.inc", ""),
    ("dec", "backpressure.dec", ""),
    ("yield", "thread.yield", "(result i32)"),
    ("get", "context.get i32 0", "(result i32)"),
    ("set", "context.set i32 0", "(param i32)"),
    ("s-new", "stream.new $bytes", "(result i64)"),
    ("s-read", "stream.read $bytes async MEMORY", "(param i32 i32 i32) (result i32)"),
    ("s-read-sync", "stream.read $bytes MEMORY", "(param i32 i32 i32) (result i32)"),
    ("s-write", "stream.write $bytes async MEMORY", "(param i32 i32 i32) (result i32)"),
    ("s-write-sync", "stream.write $bytes MEMORY", "(param i32 i32 i32) (result i32)"),
    ("s-cancel-read", "stream.cancel-read $bytes", "(param i32) (result i32)"),
    ("s-drop-readable", "stream.drop-readable $bytes", "(param i32)"),
    ("s-drop-writable", "stream.drop-writable $bytes", "(param i32)"),
    ("f-new", "future.new $number", "(result i64)"),
    ("f-read", "future.read $number async MEMORY", "(param i32 i32) (result i32)"),
    ("f-read-sync", "future.read $number MEMORY", "(param i32 i32) (result i32)"),
    ("f-write", "future.write $number async MEMORY", "(param i32 i32) (result i32)"),
    ("f-drop-readable", "future.drop-readable $number", "(param i32)"),
    ("f-drop-writable", "future.drop-writable $number", "(param i32)"),
    ("w-new", "future.new $words", "(result i64)"),
    ("w-read", "future.read $words async MEMORY REALLOC", "(param i32 i32) (result i32)"),
    ("w-write", "future.write $words async MEMORY", "(param i32 i32) (result i32)"),
    ("w-drop-readable", "future.drop-readable $words", "(param i32)"),
    ("w-drop-writable", "future.drop-writable $words", "(param i32)"),
];

/// What the service has beside it.
const SERVICE: &[Made] = &[
    ("thing-new", "resource.new $thing", "(param i32) (result i32)"),
    ("thing-drop", "resource.drop $thing", "(param i32)"),
    ("return-nothing", "task.return", ""),
];

/// What the front has: each function of the service, lowered asynchronously and, with `-sync`, synchronously.
const FRONT: &[Made] = &[
    ("go", "lower (func $go) async MEMORY", "(param i32 i32) (result i32)"),
    ("go-sync", "lower (func $go)", "(param i32) (result i32)"),
    ("text", "lower (func $text) async MEMORY REALLOC", "(param i32 i32 i32) (result i32)"),
    ("text-sync", "lower (func $text) MEMORY REALLOC", "(param i32 i32 i32)"),
    ("slow", "lower (func $slow) async MEMORY", "(param i32 i32) (result i32)"),
    ("slow-sync", "lower (func $slow)", "(param i32) (result i32)"),
    ("quick-sync", "lower (func $quick)", "(param i32) (result i32)"),
    ("many", "lower (func $many) async MEMORY", "(param i32 i32) (result i32)"),
    ("many-sync", "lower (func $many)", "(param i32 i64 f32 f64 i32) (result i32)"),
    ("pipe", "lower (func $pipe) async MEMORY", "(param i32 i32) (result i32)"),
    ("pipe-sync", "lower (func $pipe)", "(param i32) (result i32)"),
    ("later", "lower (func $later) async MEMORY", "(param i32 i32) (result i32)"),
    ("later-sync", "lower (func $later)", "(param i32) (result i32)"),
    ("say", "lower (func $say) async MEMORY", "(param i32 i32) (result i32)"),
    ("make", "lower (func $make)", "(param i32) (result i32)"),
    ("use", "lower (func $use) async MEMORY", "(param i32 i32) (result i32)"),
    ("use-sync", "lower (func $use)", "(param i32) (result i32)"),
    ("keep", "lower (func $keep) async MEMORY", "(param i32) (result i32)"),
    ("thing-drop", "resource.drop $thing", "(param i32)"),
];

/// The service's functions: name, type, how it is lifted, and the core type.
const LIFTED: &[(&str, &str, &str, &str)] = &[
    ("go", "async (param \"x\" u32) (result u32)", "async CALLBACK", "(param i32) (result i32)"),
    (
        "text",
        "async (param \"x\" string) (result string)",
        "async MEMORY REALLOC CALLBACK",
        "(param i32 i32) (result i32)",
    ),
    ("slow", "async (param \"x\" u32) (result u32)", "", "(param i32) (result i32)"),
    ("quick", "(param \"x\" u32) (result u32)", "", "(param i32) (result i32)"),
    (
        "many",
        "async (param \"a\" u8) (param \"b\" u64) (param \"c\" f32) (param \"d\" f64) (param \"e\" char) (result u32)",
        "async CALLBACK",
        "(param i32 i64 f32 f64 i32) (result i32)",
    ),
    ("pipe", "async (param \"x\" $bytes) (result $bytes)", "async CALLBACK", "(param i32) (result i32)"),
    ("later", "async (param \"x\" $number) (result $number)", "async CALLBACK", "(param i32) (result i32)"),
    ("say", "async (param \"x\" $words) (result u32)", "async CALLBACK", "(param i32) (result i32)"),
    ("make", "(param \"x\" u32) (result (own $THING))", "", "(param i32) (result i32)"),
    ("use", "async (param \"x\" (borrow $THING)) (result u32)", "async CALLBACK", "(param i32) (result i32)"),
    ("keep", "async (param \"x\" (own $THING))", "async CALLBACK", "(param i32) (result i32)"),
];

const TYPES: &str = r#"
    (type $bytes (stream u8))
    (type $number (future u32))
    (type $words (future string))"#;

/// The memory of a component and its allocator. Text lies at 64.
const MEMORY: &str = r#"(core module $memory
        (memory (export "memory") 1)
        (data (i32.const 64) "0123456789abcdef")
        (global $next (mut i32) (i32.const 4096))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
            (global.get $next)
            (global.set $next (i32.add (global.get $next) (local.get 3)))))
    (core instance $memory (instantiate $memory))"#;

/// What the functions of a case may use.
const HELPERS: &str = r#"
        (global $a (mut i32) (i32.const 0))
        (global $b (mut i32) (i32.const 0))
        (global $c (mut i32) (i32.const 0))
        (global $d (mut i32) (i32.const 0))
        ;; Both ends of what `new` gives.
        (func $readable (param i64) (result i32) (i32.wrap_i64 (local.get 0)))
        (func $writable (param i64) (result i32) (i32.wrap_i64 (i64.shr_u (local.get 0) (i64.const 32))))
        ;; What a set waits for, as the answer of a callback.
        (func $wait-in (param i32) (result i32) (i32.or (i32.const 2) (i32.shl (local.get 0) (i32.const 4))))
        ;; Traps unless both are the same.
        (func $is (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
        ;; The handle of a call that has the state given.
        (func $call-in (param $code i32) (param $state i32) (result i32)
            (call $is (i32.and (local.get $code) (i32.const 15)) (local.get $state))
            (i32.shr_u (local.get $code) (i32.const 4)))
        ;; Waits within a call for what a handle has under way, and gives the event's last number.
        (func $await (param $handle i32) (result i32)
            (local $set i32)
            (local.set $set (call $set-new))
            (call $join (local.get $handle) (local.get $set))
            (drop (call $set-wait (local.get $set) (i32.const 128)))
            (call $is (i32.load (i32.const 128)) (local.get $handle))
            (call $join (local.get $handle) (i32.const 0))
            (call $set-drop (local.get $set))
            (i32.load (i32.const 132)))
        ;; Waits until a call has returned, if its answer says that it has not.
        (func $finish (param $code i32)
            (if (i32.eq (local.get $code) (i32.const 2)) (then return))
            (local.set $code (i32.shr_u (local.get $code) (i32.const 4)))
            (loop $again (br_if $again (i32.lt_u (call $await (local.get $code)) (i32.const 2))))
            (call $subtask-drop (local.get $code)))
        ;; Waits for what a copy answers, if that is that it is under way.
        (func $copied (param $handle i32) (param $code i32) (result i32)
            (if (result i32) (i32.eq (local.get $code) (i32.const -1))
                (then (call $await (local.get $handle)))
                (else (local.get $code))))"#;

/// What of it the functions use.
fn made(parts: &[&[Made]], functions: &str) -> [String; 3] {
    let (mut canons, mut imports, mut exports) = (String::new(), String::new(), String::new());
    let uses = |name: &str, text: &str| [' ', ')', '\n'].iter().any(|end| text.contains(&format!("${name}{end}")));
    for (name, canon, ty) in parts.iter().copied().flatten() {
        if !uses(name, functions) && !uses(name, HELPERS) {
            continue;
        }
        _ = writeln!(canons, "(core func ${name} (canon {canon}))");
        _ = writeln!(imports, "(import \"\" \"{name}\" (func ${name} {ty}))");
        _ = writeln!(exports, "(export \"{name}\" (func ${name}))");
    }
    [canons, imports, exports]
}

/// A component of these functions, with what it imports and exports.
fn component(name: &str, imported: &str, parts: &[&[Made]], functions: &str, exported: &str) -> String {
    let [canons, imports, exports] = made(parts, functions);
    let text = format!(
        r#"(component ${name}
    (import "wait-for" (func $wait-for async (param "how-long" u64)))
    {TYPES}
    {imported}
    {MEMORY}
    {canons}
    (core module $main
        (import "memory" "memory" (memory 1))
        {imports}
        {HELPERS}
        {functions})
    (core instance $main (instantiate $main
        (with "memory" (instance $memory)) (with "" (instance {exports}))))
    {exported})"#
    );
    text.replace("MEMORY", "(memory (core memory $memory \"memory\"))")
        .replace("REALLOC", "(realloc (core func $memory \"realloc\"))")
}

/// The functions with a default for each that a case does without.
fn defaults(functions: &str, wanted: impl IntoIterator<Item = (String, String)>) -> String {
    let mut text = functions.to_owned();
    for (name, ty) in wanted {
        if !functions.contains(&format!("(export \"{name}\")")) {
            _ = writeln!(text, "(func (export \"{name}\") {ty} unreachable)");
        }
    }
    text
}

const CALLBACK: &str = "(param i32 i32 i32) (result i32)";

/// The composition, of these functions of the service's and of the front's.
pub(super) fn text(service: &str, front: &str) -> String {
    let callbacks = || LIFTED.iter().filter(|(.., how, _)| how.contains("CALLBACK"));
    let names = LIFTED.iter().map(|(name, _, _, ty)| ((*name).to_owned(), (*ty).to_owned()));
    let callbacks = callbacks().map(|(name, ..)| (format!("{name}-callback"), CALLBACK.to_owned()));
    let service = defaults(service, names.chain(callbacks));
    let front = defaults(front, [("callback".to_owned(), CALLBACK.to_owned())]);
    let (mut exported, mut imported, mut joined) = (String::new(), String::new(), String::new());
    imported.push_str("(import \"thing\" (type $thing (sub resource)))\n");
    exported.push_str("(export $exported \"thing\" (type $thing))\n");
    for (name, ty, how, _) in LIFTED {
        let how = how.replace("CALLBACK", &format!("(callback (core func $main \"{name}-callback\"))"));
        let own = ty.replace("$THING", "$exported");
        _ = writeln!(exported, "(func (export \"{name}\") {own} (canon lift (core func $main \"{name}\") {how}))");
        _ = writeln!(imported, "(import \"{name}\" (func ${name} {}))", ty.replace("$THING", "$thing"));
        _ = writeln!(joined, "(with \"{name}\" (func $service \"{name}\"))");
    }
    let thing = r#"(core module $dropper
        (memory 1)
        (global $dropped (mut i32) (i32.const 0))
        (func (export "destroy") (param i32) (global.set $dropped (i32.add (global.get $dropped) (i32.const 1))))
        (func (export "dropped") (result i32) (global.get $dropped)))
    (core instance $dropper (instantiate $dropper))
    (type $thing (resource (rep i32) (dtor (core func $dropper "destroy"))))"#;
    let service = component("service", thing, &[COMMON, SERVICE], &service, &exported);
    let f = r#"(func (export "f") async (result u32)
        (canon lift (core func $main "f") async (callback (core func $main "callback"))))"#;
    let front = component("front", &imported, &[COMMON, FRONT], &front, f);
    format!(
        r#"(component
    (import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock
        (export "wait-for" (func async (param "how-long" u64)))))
    {service}
    {front}
    (instance $service (instantiate $service (with "wait-for" (func $clock "wait-for"))))
    (instance $front (instantiate $front
        (with "wait-for" (func $clock "wait-for"))
        (with "thing" (type $service "thing"))
        {joined}))
    (export "f" (func $front "f")))"#
    )
}

/// So many components in a row, each of which waits for the next one and adds one to what that returns.
pub(super) fn chain_of(count: usize) -> String {
    let mut text = String::from("(component\n");
    let (mut joined, mut imported, mut with) = (String::new(), String::new(), String::new());
    for at in 0..count {
        let next = if at == 0 { "(i32.const 0)" } else { "(call $next)" };
        _ = write!(
            text,
            r#"(component $c{at} {imported}
                (core func $return (canon task.return (result u32)))
                (core module $m
                    (import "" "return" (func $return (param i32)))
                    {}
                    (func (export "f") (result i32) (call $return (i32.add {next} (i32.const 1))) (i32.const 0))
                    (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
                (core instance $i (instantiate $m (with "" (instance (export "return" (func $return)) {}))))
                (func (export "f") async (result u32)
                    (canon lift (core func $i "f") async (callback (core func $i "callback")))))"#,
            if at == 0 { "" } else { "(import \"\" \"next\" (func $next (result i32)))" },
            if at == 0 { "" } else { "(export \"next\" (func $next))" },
        );
        _ = writeln!(joined, "(instance $i{at} (instantiate $c{at} {with}))");
        imported =
            r#"(import "next" (func $next async (result u32))) (core func $next (canon lower (func $next)))"#.into();
        with = format!("(with \"next\" (func $i{at} \"f\"))");
    }
    format!("{text}\n{joined}\n(export \"f\" (func $i{} \"f\")))", count - 1)
}

fn call(context: &Context, service: &str, front: &str) -> CaseResult<Result<Vec<u64>, Stop>> {
    call_text(context, &text(service, front))
}

/// Calls `f` of this component.
pub(super) fn call_text(context: &Context, text: &str) -> CaseResult<Result<Vec<u64>, Stop>> {
    call_for(context, text, LONG)
}

/// The same of one that may run so long.
pub(super) fn call_for(context: &Context, text: &str, timeout: Duration) -> CaseResult<Result<Vec<u64>, Stop>> {
    let component = wat::parse_str(text).map_err(Unmet::harness)?;
    let guest = context.subject().shared(text, || load(context, &component))?;
    let config = GuestConfig { wasi: WasiConfig::new(), timeout: Some(timeout), ..GuestConfig::default() };
    Ok(guest.start(config).and_then(|mut session| session.call("f", &[])))
}

/// The front returns this.
pub(super) fn returns(context: &Context, service: &str, front: &str, expected: u64) -> CaseResult {
    check_eq!(call(context, service, front)??, vec![expected], "what the front returns");
    Ok(())
}

/// One of both breaks a rule: a trap, whose message on wharf's own host says this.
pub(super) fn traps(context: &Context, service: &str, front: &str, says: &str) -> CaseResult {
    traps_text(context, &text(service, front), says)
}

/// The same of this component.
pub(super) fn traps_text(context: &Context, text: &str, says: &str) -> CaseResult {
    match call_text(context, text)? {
        Err(Stop::Error(error)) => {
            let message = chain(&error);
            check_eq!(error.kind(), Kind::Trap, "the kind of the error `{message}`");
            let native = context.subject().component_host().is_some();
            check!(native || message.contains(says), "`{message}` does not say `{says}`");
            Ok(())
        }
        other => Err(Unmet::failed(format!("it should trap, `{says}`, and gave {other:?}"))),
    }
}
