//! The export `wasi:http/incoming-handler`: requests that reach a guest, and the responses it gives.

use std::time::Duration;

use wharf_core::abi::wasi02::http::{ErrorCode, Reply};
use wharf_core::{GuestConfig, Kind, Run, Stop};

use super::handler::{FINISH, HELLO, RESPOND, Served, collect, handler, over_the_wire, request, serve, serve_with};
use super::probe::http_module;
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

const WIT: &str = "wasi:http/incoming-handler@0.2.12";
const CANON: &str = "component model: canonical ABI: canon lift, post-return";
const OUTPARAM: &str = "wasi:http/types@0.2.12: response-outparam";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/inbound/hello", WIT, hello),
    Case::must("wasihttp/inbound/request-is-seen", WIT, request_is_seen),
    Case::must("wasihttp/inbound/authority-is-needed", WIT, authority),
    Case::must("wasihttp/inbound/authority-is-none-in-http10", "RFC 9112, section 3.2", no_authority),
    Case::must("wasihttp/inbound/response-never-set", OUTPARAM, never_set),
    Case::must("wasihttp/inbound/response-set-to-an-error", OUTPARAM, error),
    Case::must("wasihttp/inbound/trap-before-the-response", OUTPARAM, trap_before),
    Case::must("wasihttp/inbound/trap-within-the-body", OUTPARAM, trap_within),
    Case::must("wasihttp/inbound/unfinished-body-breaks-off", OUTPARAM, unfinished),
    Case::must("wasihttp/inbound/time-limit-within-the-body", OUTPARAM, time_limit),
    Case::must("wasihttp/inbound/body-length-is-kept", OUTPARAM, body_length),
    Case::must("wasihttp/inbound/nobody-waits", OUTPARAM, nobody_waits),
    Case::must("wasihttp/inbound/streams-two-mebibytes", WIT, streams),
    Case::must("wasihttp/inbound/echoes-the-body", WIT, echoes),
    Case::must("wasihttp/inbound/instance-is-used-again", WIT, again),
    Case::must("wasihttp/inbound/post-return-is-called", CANON, post_return),
    Case::must("wasihttp/inbound/post-return-may-call-nothing", CANON, post_return_calls),
    Case::must("wasihttp/inbound/informational", OUTPARAM, informational),
    Case::must("wasihttp/inbound/no-handler", WIT, no_handler),
    Case::must("wasihttp/inbound/broken-on-the-wire", OUTPARAM, on_the_wire),
];

fn hello(context: &Context) -> CaseResult {
    let answer = serve(context, &[RESPOND, HELLO, FINISH])?.answer()?;
    check_eq!((answer.status, answer.body, answer.end.is_ok()), (200, b"hello".to_vec(), true), "the answer");
    Ok(())
}

/// The guest answers with the path, whose address and length lie behind an option.
fn request_is_seen(context: &Context) -> CaseResult {
    for (part, expected) in [("path-with-query", "/path?query"), ("authority", "example.com")] {
        let write = format!(
            r#"(call $"[method]incoming-request.{part}" (local.get $request) (i32.const 0x140))
            (call $"[method]output-stream.blocking-write-and-flush"
                (local.get $stream) (i32.load (i32.const 0x144)) (i32.load (i32.const 0x148)) (i32.const 0x100))"#
        );
        let answer = serve(context, &[RESPOND, &write, FINISH])?.answer()?;
        check_eq!(String::from_utf8_lossy(&answer.body), expected, "the {part}");
    }
    Ok(())
}

fn authority(context: &Context) -> CaseResult {
    let text = handler(&["(unreachable)"]);
    let mut bare = request("");
    *bare.uri_mut() = http::Uri::from_static("/path");
    let answer = serve_with(context, &text, bare, GuestConfig::default())?.answer()?;
    check_eq!(answer.status, 400, "the status of a request that names no authority");
    let mut hidden = request("");
    *hidden.uri_mut() = http::Uri::from_static("http://trusted.example@evil/path");
    let answer = serve_with(context, &text, hidden, GuestConfig::default())?.answer()?;
    check_eq!(answer.status, 400, "the status of a request whose authority has userinfo");
    Ok(())
}

/// HTTP/1.0 has no Host that has to be there, and an authority is an option.
fn no_authority(context: &Context) -> CaseResult {
    let write = r#"(call $"[method]incoming-request.authority" (local.get $request) (i32.const 0x140))
        (i32.store8 (i32.const 0x300) (i32.add (i32.const 48) (i32.load8_u (i32.const 0x140))))
        (call $"[method]output-stream.blocking-write-and-flush"
            (local.get $stream) (i32.const 0x300) (i32.const 1) (i32.const 0x100))"#;
    let mut bare = request("");
    *bare.uri_mut() = http::Uri::from_static("/path");
    *bare.version_mut() = http::Version::HTTP_10;
    let answer = serve_with(context, &handler(&[RESPOND, write, FINISH]), bare, GuestConfig::default())?.answer()?;
    check_eq!((answer.status, answer.body), (200, b"0".to_vec()), "the status, and whether there is an authority");
    Ok(())
}

fn never_set(context: &Context) -> CaseResult {
    for steps in ["", r#"(call $"[resource-drop]response-outparam" (local.get $out))"#] {
        let served = serve(context, &[steps])?;
        served.ended?;
        check!(served.answer.is_none(), "an answer came that the guest did not give");
    }
    Ok(())
}

fn error(context: &Context) -> CaseResult {
    let served = serve(context, &["(call $error (local.get $out) (i32.const 36))"])?;
    served.ended?;
    match served.answer {
        Some(Err(code)) => {
            check_eq!(code, ErrorCode::LoopDetected, "the error code");
            check_eq!(code.status().as_u16(), 508, "its status");
            Ok(())
        }
        _ => Err(Unmet::failed("the guest's error did not arrive")),
    }
}

fn trapped(served: &Served) -> CaseResult {
    match &served.ended {
        Err(Stop::Error(error)) if error.kind() == Kind::Trap => Ok(()),
        other => Err(Unmet::failed(format!("the guest ended with {other:?}"))),
    }
}

fn trap_before(context: &Context) -> CaseResult {
    let served = serve(context, &["(unreachable)"])?;
    trapped(&served)?;
    check!(served.answer.is_none(), "an answer came that the guest did not give");
    Ok(())
}

/// The message must not look complete.
fn broken_off(served: Served) -> CaseResult {
    match served.answer {
        Some(Ok(answer)) => {
            check!(answer.end.is_err(), "a body that was not finished ended like a whole one: {:?}", answer.body);
            Ok(())
        }
        _ => Err(Unmet::failed("the head of the response did not arrive")),
    }
}

fn trap_within(context: &Context) -> CaseResult {
    let served = serve(context, &[RESPOND, HELLO, "(unreachable)"])?;
    trapped(&served)?;
    broken_off(served)
}

fn unfinished(context: &Context) -> CaseResult {
    let dropped = r#"(call $"[resource-drop]output-stream" (local.get $stream))
        (call $"[resource-drop]outgoing-body" (local.get $body))"#;
    for steps in ["", dropped] {
        let served = serve(context, &[RESPOND, HELLO, steps])?;
        check!(served.ended.is_ok(), "the guest ended with {:?}", served.ended);
        broken_off(served)?;
    }
    Ok(())
}

fn time_limit(context: &Context) -> CaseResult {
    if !context.backend().info().can(wharf_core::Capability::Interrupt) {
        return Ok(());
    }
    let config = GuestConfig { timeout: Some(Duration::from_millis(300)), ..GuestConfig::default() };
    let served = serve_with(context, &handler(&[RESPOND, HELLO, "(loop (br 0))"]), request(""), config)?;
    check!(
        matches!(&served.ended, Err(Stop::Error(error)) if error.kind() == Kind::Timeout),
        "the guest ended with {:?}",
        served.ended
    );
    broken_off(served)
}

/// The length is in the headers before the body is asked for.
fn body_length(context: &Context) -> CaseResult {
    let respond = RESPOND.replace(
        r#"(call $"[constructor]fields")"#,
        r#"(block (result i32)
            (local.set $count (call $"[constructor]fields"))
            (call $"[method]fields.append" (local.get $count)
                (i32.const 0x220) (i32.const 14) (i32.const 0x240) (i32.const 1) (i32.const 0x100))
            (local.get $count))"#,
    );
    // The result's case, and the error code: HTTP-response-body-size.
    let assert = "(if (i32.ne (i32.load8_u (i32.const 0x180)) (i32.const 1)) (then (unreachable)))
        (if (i32.ne (i32.load8_u (i32.const 0x188)) (i32.const 28)) (then (unreachable)))";
    let served = serve(context, &[&respond, HELLO, FINISH, assert])?;
    check!(served.ended.is_ok(), "the guest ended with {:?}", served.ended);
    broken_off(served)
}

fn nobody_waits(context: &Context) -> CaseResult {
    let mut session = context.hosted(&handler(&[RESPOND, HELLO, FINISH]))?.start(GuestConfig::default())?;
    let (reply, answer) = Reply::channel();
    drop(answer);
    session.handle(request(""), reply)?;
    Ok(())
}

fn streams(context: &Context) -> CaseResult {
    let write = r#"
        (loop $more
            (call $"[method]output-stream.blocking-write-and-flush"
                (local.get $stream) (i32.const 0x1000) (i32.const 0x1000) (i32.const 0x100))
            (if (i32.load8_u (i32.const 0x100)) (then (unreachable)))
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $count) (i32.const 512))))"#;
    let answer = serve(context, &[RESPOND, write, FINISH])?.answer()?;
    check_eq!((answer.body.len(), answer.end.is_ok()), (2 << 20, true), "the length of the body, and its end");
    Ok(())
}

fn echoes(context: &Context) -> CaseResult {
    let echo = r#"
        (call $"[method]incoming-request.consume" (local.get $request) (i32.const 0x100))
        (local.set $input (i32.load (i32.const 0x104)))
        (call $"[method]incoming-body.stream" (local.get $input) (i32.const 0x100))
        (local.set $input (i32.load (i32.const 0x104)))
        (loop $more
            (call $"[method]output-stream.blocking-splice"
                (local.get $stream) (local.get $input) (i64.const 0x10000) (i32.const 0x100))
            (br_if $more (i32.eqz (i32.load8_u (i32.const 0x100)))))"#;
    let sent: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();
    let text = handler(&[RESPOND, echo, FINISH]);
    let answer = serve_with(context, &text, request(sent.clone()), GuestConfig::default())?.answer()?;
    check!(answer.body == sent && answer.end.is_ok(), "{} of {} bytes came back", answer.body.len(), sent.len());
    Ok(())
}

fn again(context: &Context) -> CaseResult {
    let drop_request = r#"(call $"[resource-drop]incoming-request" (local.get $request))"#;
    let mut session =
        context.hosted(&handler(&[RESPOND, HELLO, FINISH, drop_request]))?.start(GuestConfig::default())?;
    for _ in 0..3 {
        let (reply, answer) = Reply::channel();
        session.handle(request(""), reply)?;
        let Ok(Ok(response)) = Run::default().wait(answer)? else {
            return Err(Unmet::failed("there is no answer"));
        };
        check_eq!(Run::default().wait(collect(response))?.body, b"hello", "the body");
        check_eq!(session.open_handles(), 0, "the open handles after a request");
    }
    Ok(())
}

/// A guest with a post-return function for its handler that does this.
fn with_post_return(does: &str, steps: &[&str]) -> String {
    let mut text = handler(steps);
    let end = text.rfind(')').unwrap_or_default();
    let function = format!(
        r#"(global $open (mut i32) (i32.const 0))
        (func (export "cabi_post_wasi:http/incoming-handler@0.2.3#handle") {does})"#
    );
    text.insert_str(end, &function);
    text
}

/// As some toolchains' guests, one that is entered again before its post-return function was called breaks down.
fn post_return(context: &Context) -> CaseResult {
    let opens = "(if (global.get $open) (then (unreachable))) (global.set $open (i32.const 1))";
    let text = with_post_return("(global.set $open (i32.const 0))", &[opens, RESPOND, HELLO, FINISH]);
    let mut session = context.hosted(&text)?.start(GuestConfig::default())?;
    for _ in 0..2 {
        let (reply, answer) = Reply::channel();
        session.handle(request(""), reply)?;
        check!(Run::default().wait(answer)?.is_ok(), "the guest gave no response");
    }
    Ok(())
}

fn post_return_calls(context: &Context) -> CaseResult {
    for (does, own) in [(r#"(drop (call $"[constructor]fields"))"#, "post-return"), ("(unreachable)", "trap")] {
        let text = with_post_return(does, &[RESPOND, HELLO, FINISH]);
        let served = serve_with(context, &text, request(""), GuestConfig::default())?;
        match &served.ended {
            Err(Stop::Error(error)) => {
                check_eq!(error.kind(), Kind::Trap, "the kind of `{error}`");
                let own = context.subject().component_host().is_some() || error.to_string().contains(own);
                check!(own, "the trap says `{error}`");
            }
            other => return Err(Unmet::failed(format!("the guest ended with {other:?}"))),
        }
        // The response was complete before that.
        match served.answer {
            Some(Ok(answer)) => check_eq!(answer.body, b"hello", "the body"),
            other => check!(other.is_some(), "there is no answer"),
        }
    }
    Ok(())
}

fn informational(context: &Context) -> CaseResult {
    for (status, code) in [(103, 38), (200, 35)] {
        let send = format!(
            r#"(call $"[method]response-outparam.send-informational"
                (local.get $out) (i32.const {status}) (call $"[constructor]fields") (i32.const 0x180))
            (if (i32.ne (i32.load8_u (i32.const 0x180)) (i32.const 1)) (then (unreachable)))
            (if (i32.ne (i32.load8_u (i32.const 0x188)) (i32.const {code})) (then (unreachable)))"#
        );
        let answer = serve(context, &[&send, RESPOND, HELLO, FINISH])?.answer()?;
        check_eq!(answer.status, 200, "the status after the attempt");
    }
    Ok(())
}

fn no_handler(context: &Context) -> CaseResult {
    let mut session = context.hosted(&http_module(""))?.start(GuestConfig::default())?;
    let (reply, _answer) = Reply::channel();
    match session.handle(request(""), reply) {
        Err(Stop::Error(error)) => {
            check_eq!(error.kind(), Kind::Guest, "the kind of `{error}`");
            Ok(())
        }
        other => Err(Unmet::failed(format!("a guest without a handler was handed a request: {other:?}"))),
    }
}

/// Whether a message is complete by its own framing: hyper knows the length of a body that is finished by the time it
/// is sent.
fn is_whole(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message);
    text.ends_with("0\r\n\r\n") || text.contains("content-length: 5\r\n") && text.ends_with("\r\n\r\nhello")
}

const GET: &str = "GET / HTTP/1.1";

/// What hyper makes of a whole body and of a broken one.
fn on_the_wire(context: &Context) -> CaseResult {
    let whole = over_the_wire(context, &handler(&[RESPOND, HELLO, FINISH]), GET)?;
    check!(is_whole(&whole), "a whole message looks broken: {:?}", String::from_utf8_lossy(&whole));
    for end in ["(unreachable)", ""] {
        let broken = over_the_wire(context, &handler(&[RESPOND, HELLO, end]), GET)?;
        check!(!is_whole(&broken), "a broken message looks whole: {:?}", String::from_utf8_lossy(&broken));
    }
    Ok(())
}
