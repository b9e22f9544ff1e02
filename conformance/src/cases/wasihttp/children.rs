//! Who is whose child: a parent that goes before its child is a trap, and what is not a child outlives what it came
//! from.

use wharf_core::GuestConfig;

use super::exchange::{CHUNKED, posting, reach, sending};
use super::handler::{FINISH, HELLO, RESPOND, handler, request, serve, serve_with};
use super::probe::{RET, Wasi02};
use crate::case::{Case, CaseResult, Unmet};
use crate::check_eq;
use crate::context::Context;
use crate::origin::{Origin, Reply};

const WIT: &str = "wasi:http/types@0.2.12: child resources";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/child/headers-of-an-outgoing-request", WIT, request_headers),
    Case::must("wasihttp/child/headers-of-an-outgoing-response", WIT, response_headers),
    Case::must("wasihttp/child/headers-of-an-incoming-request", WIT, incoming_headers),
    Case::must("wasihttp/child/stream-of-an-outgoing-body", WIT, outgoing_body),
    Case::must("wasihttp/child/stream-of-an-incoming-body", WIT, incoming_body),
    Case::must("wasihttp/child/pollable-of-an-output-stream", WIT, output_pollable),
    Case::must("wasihttp/child/pollable-of-an-input-stream", WIT, input_pollable),
    Case::must("wasihttp/child/pollable-of-a-response", WIT, response_pollable),
    Case::must("wasihttp/child/pollable-of-trailers", WIT, trailers_pollable),
    Case::must("wasihttp/child/trailers", WIT, trailers),
    Case::must("wasihttp/child/a-parent-may-go-after-its-children", WIT, after),
    Case::must("wasihttp/child/bodies-outlive-their-messages", WIT, outlives),
    Case::must("wasihttp/child/what-was-given-away-is-no-handle", "CanonicalABI.md: lift_own", given_away),
];

fn probe(context: &Context) -> CaseResult<Wasi02> {
    Wasi02::http(context, GuestConfig::default())
}

fn request_headers(context: &Context) -> CaseResult {
    for (name, rest) in [("[resource-drop]outgoing-request", &[][..]), ("handle", &[0, 0, RET.into()])] {
        let mut probe = probe(context)?;
        let request = probe.request("example.com", "/", &[])?;
        probe.call("[method]outgoing-request.headers", &[request])?;
        probe.traps(name, &[&[request], rest].concat(), "1 child")?;
    }
    Ok(())
}

fn response_headers(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let fields = probe.fields(&[])?;
    let response = probe.call("[constructor]outgoing-response", &[fields])?;
    probe.call("[method]outgoing-response.headers", &[response])?;
    probe.traps("[resource-drop]outgoing-response", &[response], "child")?;
    // Setting it gives it away, so the same goes for that.
    let set = r#"
        (local.set $response (call $"[constructor]outgoing-response" (call $"[constructor]fields")))
        (drop (call $"[method]outgoing-response.headers" (local.get $response)))
        (call $set (local.get $out) (local.get $response))"#;
    traps(context, set)
}

/// A handler that does this must trap because of a child.
fn traps(context: &Context, steps: &str) -> CaseResult {
    match serve(context, &[steps])?.ended {
        Err(wharf_core::Stop::Error(error)) if error.to_string().contains("child") => Ok(()),
        ended => Err(Unmet::failed(format!("the guest ended with {ended:?}"))),
    }
}

fn incoming_headers(context: &Context) -> CaseResult {
    traps(
        context,
        r#"(drop (call $"[method]incoming-request.headers" (local.get $request)))
        (call $"[resource-drop]incoming-request" (local.get $request))"#,
    )
}

fn outgoing_body(context: &Context) -> CaseResult {
    for (name, rest) in
        [("[resource-drop]outgoing-body", &[][..]), ("[static]outgoing-body.finish", &[0, 0, RET.into()])]
    {
        let origin = Origin::replying(Reply::status(200))?;
        let mut probe = reach(context, &origin)?;
        let (_, body, _) = posting(&mut probe, &origin, &[])?;
        probe.traps(name, &[&[body], rest].concat(), "child")?;
        // The message was never finished, and the guest is over.
        drop(probe);
        check_eq!(origin.requests().len(), 0, "the requests that arrived whole");
    }
    Ok(())
}

/// A response with trailers, and a probe that has it.
fn answered(context: &Context) -> CaseResult<(Origin, Wasi02, u64)> {
    let origin = sending(&format!("{CHUNKED}0\r\nx-end: 1\r\n\r\n"))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let response = probe.exchange(request)?;
    Ok((origin, probe, response))
}

fn incoming_body(context: &Context) -> CaseResult {
    for name in ["[resource-drop]incoming-body", "[static]incoming-body.finish"] {
        let (_origin, mut probe, response) = answered(context)?;
        let (body, _) = probe.consume(response)?;
        probe.traps(name, &[body], "child")?;
    }
    Ok(())
}

fn output_pollable(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let stdout = probe.call("get-stdout", &[])?;
    probe.call("[method]output-stream.subscribe", &[stdout])?;
    probe.traps("[resource-drop]output-stream", &[stdout], "child")
}

fn input_pollable(context: &Context) -> CaseResult {
    let (_origin, mut probe, response) = answered(context)?;
    let (_, stream) = probe.consume(response)?;
    probe.call("[method]input-stream.subscribe", &[stream])?;
    probe.traps("[resource-drop]input-stream", &[stream], "child")
}

fn response_pollable(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let future = probe.send(request)?;
    probe.call("[method]future-incoming-response.subscribe", &[future])?;
    probe.traps("[resource-drop]future-incoming-response", &[future], "child")
}

/// The trailers to come of a response.
fn future_trailers(context: &Context) -> CaseResult<(Origin, Wasi02, u64)> {
    let (origin, mut probe, response) = answered(context)?;
    let body = probe.ok("[method]incoming-response.consume", &[response])?;
    let future = probe.call("[static]incoming-body.finish", &[body])?;
    Ok((origin, probe, future))
}

fn trailers_pollable(context: &Context) -> CaseResult {
    let (_origin, mut probe, future) = future_trailers(context)?;
    probe.call("[method]future-trailers.subscribe", &[future])?;
    probe.traps("[resource-drop]future-trailers", &[future], "child")
}

fn trailers(context: &Context) -> CaseResult {
    let (_origin, mut probe, future) = future_trailers(context)?;
    probe.wait("[method]future-trailers.subscribe", future)?;
    check_eq!(probe.case("[method]future-trailers.get", &[future])?, 1, "whether there are trailers");
    probe.traps("[resource-drop]future-trailers", &[future], "child")
}

fn after(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let request = probe.request("example.com", "/", &[("a", "1")])?;
    for _ in 0..3 {
        let headers = probe.call("[method]outgoing-request.headers", &[request])?;
        probe.call("[resource-drop]fields", &[headers])?;
    }
    // What was cloned from a child is a child of nobody.
    let headers = probe.call("[method]outgoing-request.headers", &[request])?;
    let clone = probe.call("[method]fields.clone", &[headers])?;
    probe.call("[resource-drop]fields", &[headers])?;
    probe.call("[resource-drop]outgoing-request", &[request])?;
    check_eq!(probe.entries(clone)?, [("a".to_owned(), "1".to_owned())], "the clone");
    probe.call("[resource-drop]fields", &[clone])?;
    check_eq!(probe.probe.session.open_handles(), 0, "the open handles");
    Ok(())
}

fn outlives(context: &Context) -> CaseResult {
    let (_origin, mut probe, response) = answered(context)?;
    let (body, stream) = probe.consume(response)?;
    probe.call("[resource-drop]incoming-response", &[response])?;
    check_eq!(probe.read_all(stream)?, (b"body".to_vec(), true), "the body, after its response has gone");
    probe.call("[resource-drop]input-stream", &[stream])?;
    probe.call("[resource-drop]incoming-body", &[body])?;
    check_eq!(probe.probe.session.open_handles(), 0, "the open handles");
    // The same for a request that comes in: its body is read after it has gone.
    let consume = r#"
        (call $"[method]incoming-request.consume" (local.get $request) (i32.const 0x100))
        (local.set $input (i32.load (i32.const 0x104)))
        (call $"[resource-drop]incoming-request" (local.get $request))
        (call $"[method]incoming-body.stream" (local.get $input) (i32.const 0x100))
        (local.set $input (i32.load (i32.const 0x104)))
        (call $"[method]output-stream.blocking-splice"
            (local.get $stream) (local.get $input) (i64.const 100) (i32.const 0x100))"#;
    let text = handler(&[RESPOND, consume, HELLO, FINISH]);
    let answer = serve_with(context, &text, request("asked"), GuestConfig::default())?.answer()?;
    check_eq!(answer.body, b"askedhello", "the body");
    Ok(())
}

fn given_away(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let fields = probe.fields(&[])?;
    probe.call("[constructor]outgoing-request", &[fields])?;
    // Its number may be another resource by now.
    probe.traps("[method]fields.clone", &[fields], "not `fields`")?;
    let mut probe = self::probe(context)?;
    let request = probe.request("example.com", "/", &[])?;
    probe.case("handle", &[request, 0, 0])?;
    probe.traps("[method]outgoing-request.method", &[request, RET.into()], "not `outgoing-request`")
}
