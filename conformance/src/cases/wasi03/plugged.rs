//! A middleware before a service, put together as `wac plug` does: requests, responses and their bodies pass through both.

use std::sync::Arc;

use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions};
use wharf_core::{GuestConfig, HostedGuest};
use wharf_guests::HELLO_SERVICE;

use super::probe::load;
use super::{handler, service};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::guest::front::{Front, request};
use crate::cases::needs::MULTI_MEMORY;
use crate::context::Context;
use crate::origin::Origin;
use crate::served::{Served, Setup};
use crate::{check, check_eq};

/// A middleware that adds a field to each response, whose name and value lie at 64 and 80.
const MIDDLEWARE: &str = r#"(module
    (import "wasi:http/types@0.3.0" "[method]response.get-status-code" (func $status (param i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[method]response.set-status-code" (func $set-status (param i32 i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[method]response.get-headers" (func $headers (param i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[method]fields.clone" (func $clone (param i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
    (import "wasi:http/types@0.3.0" "[resource-drop]fields" (func $fields-drop (param i32)))
    (import "wasi:http/types@0.3.0" "[static]response.consume-body" (func $consume (param i32 i32 i32)))
    (import "wasi:http/types@0.3.0" "[future-new-0][static]response.consume-body" (func $res-new (result i64)))
    (import "wasi:http/types@0.3.0" "[static]response.new" (func $response-new (param i32 i32 i32 i32 i32)))
    (import "wasi:http/types@0.3.0" "[future-drop-readable-2][static]response.new" (func $sent-drop (param i32)))
    (import "wasi:http/handler@0.3.0" "NEXT" (func $next (param i32 i32) NEXT-RESULT))
    (import "[export]wasi:http/handler@0.3.0" "[task-return]handle"
        (func $return (param i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "$root" "[waitable-set-new]" (func $set-new (result i32)))
    (import "$root" "[waitable-join]" (func $join (param i32 i32)))
    (import "$root" "[subtask-drop]" (func $subtask-drop (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "x-passed")
    (data (i32.const 80) "by")
    (global $next (mut i32) (i32.const 8192))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.get $next)
        (global.set $next (i32.add (global.get $next) (local.get 3))))
    ;; Returns the answer at 512 with one field more, or the error.
    (func $answer
        (local $response i32)
        (local $status i32)
        (local $given i32)
        (local $fields i32)
        (if (i32.load8_u (i32.const 512)) (then
            (call $return (i32.const 1) (i32.load8_u (i32.const 520)) (i32.const 0) (i64.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 0))
            (return)))
        (local.set $response (i32.load (i32.const 520)))
        (local.set $status (call $status (local.get $response)))
        (local.set $given (call $headers (local.get $response)))
        (local.set $fields (call $clone (local.get $given)))
        (call $fields-drop (local.get $given))
        (call $append (local.get $fields) (i32.const 64) (i32.const 8) (i32.const 80) (i32.const 2) (i32.const 600))
        (call $consume (local.get $response) (i32.wrap_i64 (call $res-new)) (i32.const 640))
        (call $response-new (local.get $fields) (i32.const 1) (i32.load (i32.const 640)) (i32.load (i32.const 644))
            (i32.const 656))
        (call $sent-drop (i32.load (i32.const 660)))
        (drop (call $set-status (i32.load (i32.const 656)) (local.get $status)))
        (call $return (i32.const 0) (i32.load (i32.const 656)) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0)))
    (func (export "[async-lift]wasi:http/handler@0.3.0#handle") (param $request i32) (result i32)
        HANDLE)
    (func (export "[callback][async-lift]wasi:http/handler@0.3.0#handle") (param i32 i32 i32) (result i32)
        (call $subtask-drop (local.get 1))
        (call $answer)
        (i32.const 0)))"#;

/// What it does if it waits within the call.
const WAITS: &str = r#"(call $next (local.get $request) (i32.const 512))
        (call $answer)
        (i32.const 0)"#;

/// What it does if it lets the call go on.
const GOES_ON: &str = r#"(local $code i32)
        (local $set i32)
        (local.set $code (call $next (local.get $request) (i32.const 512)))
        (if (i32.eq (local.get $code) (i32.const 2)) (then (call $answer) (return (i32.const 0))))
        (local.set $set (call $set-new))
        (call $join (i32.shr_u (local.get $code) (i32.const 4)) (local.get $set))
        (i32.or (i32.const 2) (i32.shl (local.get $set) (i32.const 4)))"#;

const PROVES: &str = "wasi:http/handler@0.3.0: middleware";

const fn case(id: &'static str, run: fn(&Context) -> CaseResult) -> Case {
    Case::must(id, PROVES, run).needs(&[MULTI_MEMORY]).guests(&[HELLO_SERVICE])
}

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    case("wasi03/plugged/adds-a-field", |context| adds_a_field(context, GOES_ON, 1)),
    case("wasi03/plugged/waits-and-adds-a-field", |context| adds_a_field(context, WAITS, 1)),
    case("wasi03/plugged/three-in-a-row-add-three", |context| adds_a_field(context, GOES_ON, 3)),
    case("wasi03/plugged/bodies-pass-through", |context| service::echoes(front(context, GOES_ON, 1, None)?)),
    case("wasi03/plugged/bodies-pass-through-two", |context| service::echoes(front(context, WAITS, 2, None)?)),
    case("wasi03/plugged/the-service-fetches", |context| {
        let origin = service::origin()?;
        service::fetches(front(context, GOES_ON, 1, Some(&origin))?, &origin)
    }),
    case("wasi03/plugged/an-error-passes-through", |context| {
        service::answers_with_an_error(front(context, GOES_ON, 1, None)?)
    }),
    case("wasi03/plugged/requests-are-served", |context| {
        let guest = plugged(context, GOES_ON, 1)?;
        let served = Served::guest(guest, Setup::default())?;
        for at in 0..5 {
            let request = format!("GET /{at} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n");
            let wire = served.exchange(request.as_bytes())?;
            check_eq!(wire.status(), Some(200), "the status of `{}`", wire.text());
            check!(wire.text().contains("x-passed: by\r\n"), "the fields of `{}`", wire.text());
            check!(wire.text().contains(&format!("hello from /{at}\n")), "the body of `{}`", wire.text());
        }
        Ok(())
    }),
];

fn adds_a_field(context: &Context, handle: &str, count: usize) -> CaseResult {
    let front = front(context, handle, count, None)?;
    let answer = front.answer(request("GET", "/a?b=c", "")?)?;
    let passed = answer.headers.get_all("x-passed").iter().filter(|value| *value == "by").count();
    check_eq!(passed, count, "how many fields were added");
    check_eq!(answer.whole()?, (200, b"hello from /a?b=c\n".to_vec()), "a greeting");
    front.finish()
}

/// The service behind so many of these.
fn plugged(context: &Context, handle: &str, count: usize) -> CaseResult<Arc<dyn HostedGuest>> {
    context.subject().shared(&format!("wasi03/plugged/{count}/{handle}"), || {
        let (next, result) = if handle == WAITS { ("handle", "") } else { ("[async-lower]handle", "(result i32)") };
        let text = MIDDLEWARE.replace("HANDLE", handle).replace("NEXT-RESULT", result).replace("NEXT", next);
        let middleware = handler::component(&text, "wasi:http/middleware@0.3.0")?;
        let mut composed = service::component()?;
        for _ in 0..count {
            composed = plug(composed, middleware.clone())?;
        }
        load(context, &composed)
    })
}

/// Puts a component before another whose exports it imports.
pub(super) fn plug(plug: Vec<u8>, socket: Vec<u8>) -> CaseResult<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let mut package = |name: &str, bytes: Vec<u8>| {
        let package = Package::from_bytes(name, None, bytes, graph.types_mut())
            .map_err(|error| Unmet::harness(format!("{error:#}")))?;
        graph.register_package(package).map_err(Unmet::harness)
    };
    let (plug, socket) = (package("wharf:service", plug)?, package("wharf:middleware", socket)?);
    wac_graph::plug(&mut graph, vec![plug], socket).map_err(Unmet::harness)?;
    graph.encode(EncodeOptions::default()).map_err(Unmet::harness)
}

fn front<'a>(
    context: &'a Context,
    handle: &str,
    count: usize,
    origin: Option<&'a Origin>,
) -> CaseResult<Front<impl Fn() -> CaseResult<GuestConfig> + use<'a>>> {
    Ok(service::front(context, plugged(context, handle, count)?, origin))
}
