//! A handler of WASI 0.3 as text: a core module with the names that component tools know, and what it does by steps.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::bare::assemble;
use crate::case::{CaseResult, Unmet};

/// The packages, each behind those that it uses.
const PACKAGES: [(&str, &str); 6] = [
    ("clocks.wit", include_str!("../../../wit/0.3/clocks.wit")),
    ("random.wit", include_str!("../../../wit/0.3/random.wit")),
    ("filesystem.wit", include_str!("../../../wit/0.3/filesystem.wit")),
    ("sockets.wit", include_str!("../../../wit/0.3/sockets.wit")),
    ("cli.wit", include_str!("../../../wit/0.3/cli.wit")),
    ("http.wit", include_str!("../../../wit/0.3/http.wit")),
];

/// Where steps have text: what a case gives, at most a page.
pub(super) const TEXT: u32 = 4096;

/// The module. `STEPS` is what its handler does, with the request in `$request`; `TEXT` lies at 4096. The page before is
/// zeros, of which any value consists that says `ok` and nothing else.
const MODULE: &str = r#"(module
    (import "wasi:http/types@0.3.0" "[constructor]fields" (func $fields (result i32)))
    (import "wasi:http/types@0.3.0" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
    (import "wasi:http/types@0.3.0" "[static]response.new" (func $response-new (param i32 i32 i32 i32 i32)))
    (import "wasi:http/types@0.3.0" "[resource-drop]response" (func $response-drop (param i32)))
    (import "wasi:http/types@0.3.0" "[static]request.new" (func $request-new (param i32 i32 i32 i32 i32 i32 i32)))
    (import "wasi:http/types@0.3.0" "[method]request.set-authority"
        (func $set-authority (param i32 i32 i32 i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[method]request.set-scheme"
        (func $set-scheme (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[method]request.set-method" (func $set-method (param i32 i32 i32 i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[method]request.get-authority" (func $get-authority (param i32 i32)))
    (import "wasi:http/types@0.3.0" "[method]request.get-scheme" (func $get-scheme (param i32 i32)))
    (import "wasi:http/client@0.3.0" "send" (func $send (param i32 i32)))
    (import "wasi:http/types@0.3.0" "[stream-new-0][static]response.new" (func $stream-new (result i64)))
    (import "wasi:http/types@0.3.0" "[async-lower][stream-write-0][static]response.new"
        (func $stream-write (param i32 i32 i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[stream-drop-writable-0][static]response.new" (func $stream-drop (param i32)))
    (import "wasi:http/types@0.3.0" "[future-new-1][static]response.new" (func $trailers-new (result i64)))
    (import "wasi:http/types@0.3.0" "[async-lower][future-write-1][static]response.new"
        (func $trailers-write (param i32 i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[future-drop-writable-1][static]response.new" (func $trailers-drop (param i32)))
    (import "wasi:http/types@0.3.0" "[async-lower][future-read-2][static]response.new"
        (func $sent-read (param i32 i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[future-drop-readable-2][static]response.new" (func $sent-drop (param i32)))
    (import "$root" "[waitable-set-new]" (func $set-new (result i32)))
    (import "$root" "[waitable-set-wait]" (func $set-wait (param i32 i32) (result i32)))
    (import "$root" "[waitable-join]" (func $join (param i32 i32)))
    (import "[export]wasi:http/handler@0.3.0" "[task-return]handle"
        (func $return (param i32 i32 i32 i64 i32 i32 i32 i32)))
    (memory (export "memory") 4)
    (data (i32.const 4096) "TEXT")
    (global $next (mut i32) (i32.const 0x10000))
    (global $set (mut i32) (i32.const 0))
    (global $response (mut i32) (i32.const 0))
    (global $sent (mut i32) (i32.const 0))
    (global $body (mut i32) (i32.const 0))
    (global $trailers (mut i32) (i32.const 0))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.get $next)
        (global.set $next (i32.add (global.get $next) (local.get 3))))
    ;; Waits for what a handle has under way, if it has.
    (func $wait (param $handle i32) (param $code i32)
        (if (i32.eq (local.get $code) (i32.const -1)) (then
            (if (i32.eqz (global.get $set)) (then (global.set $set (call $set-new))))
            (call $join (local.get $handle) (global.get $set))
            (drop (call $set-wait (global.get $set) (i32.const 2048)))
            (call $join (local.get $handle) (i32.const 0)))))
    ;; Makes a response with these fields and a body.
    (func $make (param $fields i32)
        (local $ends i64)
        (local $stream i32)
        (local.set $ends (call $stream-new))
        (local.set $stream (i32.wrap_i64 (local.get $ends)))
        (global.set $body (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
        (local.set $ends (call $trailers-new))
        (global.set $trailers (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
        (call $response-new (local.get $fields) (i32.const 1) (local.get $stream) (i32.wrap_i64 (local.get $ends))
            (i32.const 2048))
        (global.set $response (i32.load (i32.const 2048)))
        (global.set $sent (i32.load (i32.const 2052))))
    ;; Returns a response.
    (func $give (param $response i32)
        (call $return (i32.const 0) (local.get $response) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0)))
    ;; Writes to the body, all of it.
    (func $write (param $at i32) (param $len i32)
        (call $wait (global.get $body) (call $stream-write (global.get $body) (local.get $at) (local.get $len))))
    ;; Ends the body with these trailers.
    (func $finish (param $trailers i32)
        (call $stream-drop (global.get $body))
        (call $wait (global.get $trailers) (call $trailers-write (global.get $trailers) (local.get $trailers)))
        (call $trailers-drop (global.get $trailers)))
    ;; Answers with one byte.
    (func $say (param $byte i32)
        (i32.store8 (i32.const 2040) (local.get $byte))
        (call $make (call $fields))
        (call $give (global.get $response))
        (call $write (i32.const 2040) (i32.const 1))
        (call $finish (i32.const 1024)))
    ;; A request without a body, by what is the default of all.
    (func $ask (result i32)
        (local $ends i64)
        (local.set $ends (call $trailers-new))
        (call $request-new (call $fields) (i32.const 0) (i32.const 0) (i32.wrap_i64 (local.get $ends))
            (i32.const 0) (i32.const 0) (i32.const 2048))
        (global.set $trailers (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
        (i32.load (i32.const 2048)))
    ;; Sends a request and returns its response.
    (func $pass-on (param $request i32)
        (call $send (local.get $request) (i32.const 2048))
        (if (i32.load8_u (i32.const 2048)) (then unreachable))
        (call $give (i32.load (i32.const 2056))))
    (func (export "[async-lift]wasi:http/handler@0.3.0#handle") (param $request i32) (result i32)
        STEPS
        (i32.const 0))
    (func (export "[callback][async-lift]wasi:http/handler@0.3.0#handle") (param i32 i32 i32) (result i32)
        unreachable))"#;

/// A component whose handler does this, with this text in its memory.
pub(super) fn handler(steps: &str, text: &str) -> CaseResult<Vec<u8>> {
    encode(&MODULE.replace("STEPS", steps).replace("\"TEXT\"", &format!("{text:?}")))
}

/// A component of this module, whose world is that of services.
pub(super) fn encode(module: &str) -> CaseResult<Vec<u8>> {
    let mut module = assemble(module)?;
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    let wrong = |error| Unmet::harness(format!("the handler is not a component: {error:#}"));
    for (name, text) in PACKAGES {
        resolve.push_str(name, text).map_err(wrong)?;
    }
    let world = "package wharf:handler;\nworld handler { include wasi:http/service@0.3.0; }\n";
    let package = resolve.push_str("handler.wit", world).map_err(wrong)?;
    let world = resolve.select_world(&[package], None).map_err(wrong)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(wrong)?;
    let mut encoder = ComponentEncoder::default().validate(true).module(&module).map_err(wrong)?;
    encoder.encode().map_err(wrong)
}
