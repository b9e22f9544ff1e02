//! The export `wasi:http/incoming-handler`: what of a request a guest sees.

use std::pin::Pin;
use std::task::{self, Poll};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::sync::mpsc;
use wharf_core::abi::wasi02::http::Reply;
use wharf_core::grants::{Capture, Output, WasiConfig};
use wharf_core::http::{Body, HttpError, HttpErrorKind};
use wharf_core::{GuestConfig, Run, io};

use super::handler::{Answer, FINISH, HELLO, RESPOND, handler, request, serve, serve_with};
use crate::case::{Case, CaseResult, Unmet};
use crate::check_eq;
use crate::context::Context;

const REQUEST: &str = "wasi:http/types@0.2.12: incoming-request";
const BODY: &str = "wasi:http/types@0.2.12: incoming-body";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/incoming/methods", REQUEST, methods),
    Case::must("wasihttp/incoming/schemes", REQUEST, schemes),
    Case::must("wasihttp/incoming/authority-of-host", REQUEST, host),
    Case::must("wasihttp/incoming/one-host-and-a-valid-one", "RFC 9112, section 3.2", hosts),
    Case::must("wasihttp/incoming/headers", REQUEST, headers),
    Case::must("wasihttp/incoming/headers-of-the-connection-are-left-out", REQUEST, forbidden),
    Case::must("wasihttp/incoming/headers-are-immutable", REQUEST, immutable),
    Case::must("wasihttp/incoming/consumed-once", REQUEST, once),
    Case::must("wasihttp/incoming/trailers", BODY, trailers),
    Case::must("wasihttp/incoming/body-is-streamed", BODY, streamed),
    Case::must("wasihttp/incoming/broken-body", BODY, broken),
    Case::must("wasihttp/incoming/unread-body", BODY, unread),
    Case::must("wasihttp/incoming/standard-output", "wasi:cli/stdout@0.2.12", standard_output),
];

/// Answers a request with a guest whose handler writes what `steps` say.
fn answer(context: &Context, steps: &str, request: Request<Body>) -> CaseResult<Answer> {
    serve_with(context, &handler(&[RESPOND, steps, FINISH]), request, GuestConfig::default())?.answer()
}

/// Writes the byte at 0x300 after a digit for `number` is put there.
pub(crate) fn digit(number: &str) -> String {
    format!(
        r#"(i32.store8 (i32.const 0x300) (i32.add (i32.const 48) {number}))
        (call $"[method]output-stream.blocking-write-and-flush"
            (local.get $stream) (i32.const 0x300) (i32.const 1) (i32.const 0x100))"#
    )
}

/// Writes the string whose address and length lie at these addresses.
fn string(ptr: &str, len: &str) -> String {
    format!(
        r#"(call $"[method]output-stream.blocking-write-and-flush"
            (local.get $stream) (i32.load {ptr}) (i32.load {len}) (i32.const 0x100))"#
    )
}

fn methods(context: &Context) -> CaseResult {
    let steps = format!(
        r#"(call $"[method]incoming-request.method" (local.get $request) (i32.const 0x140))
        {} (if (i32.eq (i32.load8_u (i32.const 0x140)) (i32.const 9)) (then {}))"#,
        digit("(i32.load8_u (i32.const 0x140))"),
        string("(i32.const 0x144)", "(i32.const 0x148)")
    );
    for (method, seen) in [
        ("GET", "0"),
        ("POST", "2"),
        ("PUT", "3"),
        ("DELETE", "4"),
        ("OPTIONS", "6"),
        ("TRACE", "7"),
        ("PATCH", "8"),
        ("BREW", "9BREW"),
        ("get", "9get"),
    ] {
        let mut asked = request("");
        *asked.method_mut() = Method::from_bytes(method.as_bytes()).map_err(Unmet::harness)?;
        let answer = answer(context, &steps, asked)?;
        check_eq!(String::from_utf8_lossy(&answer.body), seen, "what a guest sees of {method}");
    }
    Ok(())
}

fn schemes(context: &Context) -> CaseResult {
    let steps = format!(
        r#"(call $"[method]incoming-request.scheme" (local.get $request) (i32.const 0x140)) {} {}"#,
        digit("(i32.load8_u (i32.const 0x140))"),
        digit("(i32.load8_u (i32.const 0x144))")
    );
    for (uri, seen) in [("http://example.com/", "10"), ("https://example.com/", "11"), ("/", "10")] {
        let mut asked = request("");
        *asked.uri_mut() = Uri::from_static(uri);
        asked.headers_mut().insert("host", HeaderValue::from_static("example.com"));
        let answer = answer(context, &steps, asked)?;
        check_eq!(String::from_utf8_lossy(&answer.body), seen, "whether there is a scheme of {uri}, and which");
    }
    Ok(())
}

const AUTHORITY: &str = r#"(call $"[method]incoming-request.authority" (local.get $request) (i32.const 0x140))"#;

fn host(context: &Context) -> CaseResult {
    let steps = format!("{AUTHORITY} {}", string("(i32.const 0x144)", "(i32.const 0x148)"));
    for (uri, seen) in [("/path", "host.example:81"), ("http://target.example/path", "target.example")] {
        let mut asked = request("");
        *asked.uri_mut() = Uri::from_static(uri);
        asked.headers_mut().insert("host", HeaderValue::from_static("host.example:81"));
        let answer = answer(context, &steps, asked)?;
        check_eq!(String::from_utf8_lossy(&answer.body), seen, "the authority of {uri}");
    }
    Ok(())
}

/// A request that names its authority twice, or as none can be named, does not reach the guest.
fn hosts(context: &Context) -> CaseResult {
    for values in [&["a.example", "b.example"][..], &["a b"], &[""], &["a.example", "a.example"]] {
        let mut asked = request("");
        *asked.uri_mut() = Uri::from_static("/path");
        for value in values {
            asked.headers_mut().append("host", HeaderValue::from_str(value).map_err(Unmet::harness)?);
        }
        let served = serve_with(context, &handler(&["(unreachable)"]), asked, GuestConfig::default())?;
        check_eq!(served.answer()?.status, 400, "the status with the values {values:?} of Host");
    }
    Ok(())
}

/// Writes each entry of the fields in the local `$input`, as `name=value;`.
pub(crate) fn write_entries() -> String {
    format!(
        r#"(call $"[method]fields.entries" (local.get $input) (i32.const 0x140))
        (local.set $input (i32.load (i32.const 0x140)))
        (local.set $count (i32.load (i32.const 0x144)))
        (i32.store (i32.const 0x310) (i32.const 0x318)) (i32.store8 (i32.const 0x318) (i32.const 61))
        (i32.store (i32.const 0x320) (i32.const 0x328)) (i32.store8 (i32.const 0x328) (i32.const 59))
        (i32.store (i32.const 0x330) (i32.const 1))
        (block $done (loop $next
            (br_if $done (i32.eqz (local.get $count)))
            {} {} {} {}
            (local.set $input (i32.add (local.get $input) (i32.const 16)))
            (local.set $count (i32.sub (local.get $count) (i32.const 1)))
            (br $next)))"#,
        string("(local.get $input)", "(i32.add (local.get $input) (i32.const 4))"),
        string("(i32.const 0x310)", "(i32.const 0x330)"),
        string("(i32.add (local.get $input) (i32.const 8))", "(i32.add (local.get $input) (i32.const 12))"),
        string("(i32.const 0x320)", "(i32.const 0x330)"),
    )
}

/// The headers of a request, as the guest sees them.
fn seen_headers(context: &Context, headers: &[(&str, &str)]) -> CaseResult<String> {
    let take = r#"(local.set $input (call $"[method]incoming-request.headers" (local.get $request)))"#;
    let mut asked = request("");
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(Unmet::harness)?;
        asked.headers_mut().append(name, HeaderValue::from_str(value).map_err(Unmet::harness)?);
    }
    let answer = answer(context, &format!("{take} {}", write_entries()), asked)?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

fn headers(context: &Context) -> CaseResult {
    let seen = seen_headers(context, &[("x-a", "1"), ("content-length", "0"), ("x-b", ""), ("x-a", "2")])?;
    let mut lines: Vec<&str> = seen.split_terminator(';').collect();
    lines.sort_unstable();
    check_eq!(lines, ["content-length=0", "x-a=1", "x-a=2", "x-b="], "the headers");
    Ok(())
}

fn forbidden(context: &Context) -> CaseResult {
    let seen = seen_headers(
        context,
        &[
            ("host", "example.com"),
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "1"),
            ("proxy-authenticate", "1"),
            ("proxy-authorization", "1"),
            ("proxy-connection", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("x-own", "1"),
        ],
    )?;
    check_eq!(seen, "x-own=1;", "the headers");
    Ok(())
}

/// The case and the number of the error of appending to what is in the local `$input`.
fn append() -> String {
    format!(
        r#"(call $"[method]fields.append" (local.get $input)
            (i32.const 0x220) (i32.const 14) (i32.const 0x240) (i32.const 1) (i32.const 0x180)) {} {}"#,
        digit("(i32.load8_u (i32.const 0x180))"),
        digit("(i32.load8_u (i32.const 0x181))")
    )
}

fn immutable(context: &Context) -> CaseResult {
    let take = r#"(local.set $input (call $"[method]incoming-request.headers" (local.get $request)))"#;
    let answer = answer(context, &format!("{take} {}", append()), request(""))?;
    check_eq!(String::from_utf8_lossy(&answer.body), "12", "the answer of `append`: an error, `immutable`");
    let outgoing = r#"
        (local.set $response (call $"[constructor]outgoing-response" (call $"[constructor]fields")))
        (local.set $input (call $"[method]outgoing-response.headers" (local.get $response)))"#;
    let answer = self::answer(context, &format!("{outgoing} {}", append()), request(""))?;
    check_eq!(String::from_utf8_lossy(&answer.body), "12", "the answer of `append` to an outgoing response's headers");
    Ok(())
}

fn once(context: &Context) -> CaseResult {
    let consume = format!(
        r#"(call $"[method]incoming-request.consume" (local.get $request) (i32.const 0x140)) {}"#,
        digit("(i32.load8_u (i32.const 0x140))")
    );
    let stream = format!(
        r#"(call $"[method]incoming-body.stream" (local.get $input) (i32.const 0x140)) {}"#,
        digit("(i32.load8_u (i32.const 0x140))")
    );
    let keep = "(local.set $input (i32.load (i32.const 0x144)))";
    let answer = answer(context, &format!("{consume} {keep} {consume} {stream} {stream}"), request("x"))?;
    check_eq!(String::from_utf8_lossy(&answer.body), "0101", "`consume` and `stream`, twice each");
    Ok(())
}

type Fed = Result<Frame<Bytes>, HttpError>;

/// A body that the case feeds.
struct FedBody(mpsc::UnboundedReceiver<Fed>);

impl http_body::Body for FedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Option<Fed>> {
        self.0.poll_recv(context)
    }
}

/// A request whose body is what is sent through the channel.
fn fed() -> (Request<Body>, mpsc::UnboundedSender<Fed>) {
    let (send, receive) = mpsc::unbounded_channel();
    (request("").map(|_| FedBody(receive).boxed_unsync()), send)
}

fn trailers(context: &Context) -> CaseResult {
    let take = r#"
        (call $"[method]incoming-request.consume" (local.get $request) (i32.const 0x140))
        (local.set $input (call $"[static]incoming-body.finish" (i32.load (i32.const 0x144))))
        (call $"[method]pollable.block" (call $"[method]future-trailers.subscribe" (local.get $input)))
        (call $"[method]future-trailers.get" (local.get $input) (i32.const 0x140))
        (if (i32.ne (i32.load8_u (i32.const 0x140)) (i32.const 1)) (then (unreachable)))
        (if (i32.or (i32.load8_u (i32.const 0x148)) (i32.load8_u (i32.const 0x150))) (then (unreachable)))
        (if (i32.eqz (i32.load8_u (i32.const 0x158))) (then (unreachable)))
        (local.set $input (i32.load (i32.const 0x15c)))"#;
    let (asked, body) = fed();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    trailers.insert("upgrade", HeaderValue::from_static("h2c"));
    for frame in [Frame::data("ignored".into()), Frame::trailers(trailers)] {
        body.send(Ok(frame)).map_err(Unmet::harness)?;
    }
    drop(body);
    let answer = answer(context, &format!("{take} {}", write_entries()), asked)?;
    check_eq!(String::from_utf8_lossy(&answer.body), "x-sum=1;", "the trailers, without a forbidden name");
    Ok(())
}

/// Takes the body's stream into the local `$input`.
const CONSUME: &str = r#"
    (call $"[method]incoming-request.consume" (local.get $request) (i32.const 0x140))
    (call $"[method]incoming-body.stream" (i32.load (i32.const 0x144)) (i32.const 0x140))
    (local.set $input (i32.load (i32.const 0x144)))"#;

/// Sends back what one read gives.
const PASS_ON: &str = r#"
    (call $"[method]output-stream.blocking-splice"
        (local.get $stream) (local.get $input) (i64.const 0x10000) (i32.const 0x100))"#;

/// What has come is answered before the rest is sent.
fn streamed(context: &Context) -> CaseResult {
    let (asked, body) = fed();
    let mut session =
        context.hosted(&handler(&[RESPOND, CONSUME, PASS_ON, PASS_ON, FINISH]))?.start(GuestConfig::default())?;
    let (reply, answer) = Reply::channel();
    body.send(Ok(Frame::data("first".into()))).map_err(Unmet::harness)?;
    let asking = io().spawn(async move {
        let mut response = answer.await.ok()?.ok()?.into_body();
        let first = response.frame().await?.ok()?.into_data().ok()?;
        body.send(Ok(Frame::data("second".into()))).ok()?;
        let second = response.frame().await?.ok()?.into_data().ok()?;
        Some((first, second, response.frame().await.is_none()))
    });
    session.handle(asked, reply)?;
    let seen = Run::default().wait(asking)?.map_err(Unmet::harness)?;
    check_eq!(seen, Some(("first".into(), "second".into(), true)), "the parts of the answer");
    Ok(())
}

fn broken(context: &Context) -> CaseResult {
    let look = format!(
        r#"(call $"[method]input-stream.blocking-read" (local.get $input) (i64.const 100) (i32.const 0x140)) {} {}
        (call $"http-error-code" (i32.load (i32.const 0x148)) (i32.const 0x180)) {}
        (if (i32.load8_u (i32.const 0x180)) (then {}))"#,
        digit("(i32.load8_u (i32.const 0x140))"),
        digit("(i32.load8_u (i32.const 0x144))"),
        digit("(i32.load8_u (i32.const 0x180))"),
        digit("(i32.load8_u (i32.const 0x188))"),
    );
    let (asked, body) = fed();
    body.send(Ok(Frame::data("part".into()))).map_err(Unmet::harness)?;
    let error = HttpError::new(HttpErrorKind::ConnectionClosed, "the case breaks it");
    body.send(Err(error)).map_err(Unmet::harness)?;
    let answer = answer(context, &format!("{CONSUME} {PASS_ON} {look}"), asked)?;
    let seen = String::from_utf8_lossy(&answer.body).into_owned();
    check_eq!(seen, "part1017", "the part, an error, of an operation, with a code: connection-terminated");
    Ok(())
}

/// A guest need not read what it was sent.
fn unread(context: &Context) -> CaseResult {
    for steps in ["", CONSUME] {
        let text = handler(&[RESPOND, steps, HELLO, FINISH]);
        let answer = serve_with(context, &text, request(vec![b'x'; 1 << 20]), GuestConfig::default())?.answer()?;
        check_eq!((answer.body, answer.end.is_ok()), (b"hello".to_vec(), true), "the answer");
    }
    Ok(())
}

fn standard_output(context: &Context) -> CaseResult {
    let capture = Capture::new(1 << 16);
    let wasi = WasiConfig::new().stdout(Output::Capture(capture.clone()));
    let print = r#"(local.set $stream (call $"get-stdout"))"#;
    let text =
        handler(&[print, HELLO, "(call $\"[resource-drop]output-stream\" (local.get $stream))", RESPOND, FINISH]);
    let config = GuestConfig { wasi, ..GuestConfig::default() };
    let answer = serve_with(context, &text, request(""), config)?.answer()?;
    check_eq!((answer.status, answer.end.is_ok()), (200, true), "the answer");
    check_eq!(capture.contents(), b"hello", "what was written");
    serve(context, &[print, HELLO, RESPOND, FINISH])?.answer()?;
    Ok(())
}
