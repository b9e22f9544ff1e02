//! The export `wasi:http/incoming-handler`: what of a guest's response goes out.

use http::{Method, Request};
use http_body_util::BodyExt;
use wharf_core::abi::wasi02::http::{ErrorCode, Reply};
use wharf_core::http::Body;
use wharf_core::{GuestConfig, Kind, Run, Stop, io};

use super::handler::{Answer, FINISH, HELLO, RESPOND, handler, over_the_wire, request, serve, serve_with};
use super::probe::Wasi02;
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

const RESPONSE: &str = "wasi:http/types@0.2.12: outgoing-response";
const OUTPARAM: &str = "wasi:http/types@0.2.12: response-outparam";
const BODY: &str = "wasi:http/types@0.2.12: outgoing-body";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/outgoing/status-codes", RESPONSE, status_codes),
    Case::must("wasihttp/outgoing/no-interim-status", RESPONSE, interim_status),
    Case::must("wasihttp/outgoing/head-and-headers", RESPONSE, headers),
    Case::must("wasihttp/outgoing/no-body", RESPONSE, no_body),
    Case::must("wasihttp/outgoing/trailers", BODY, trailers),
    Case::must("wasihttp/outgoing/trailers-on-the-wire", "RFC 9112, section 7.1.2", wire_trailers),
    Case::must("wasihttp/outgoing/head-may-announce-a-length", "RFC 9110, section 9.3.2", head),
    Case::must("wasihttp/outgoing/head-on-the-wire", "RFC 9110, section 9.3.2", wire_head),
    Case::must("wasihttp/outgoing/statuses-without-a-body", "RFC 9110, sections 15.3.5, 15.4.5", bodiless),
    Case::must("wasihttp/outgoing/length-that-is-none", RESPONSE, bad_length),
    Case::must("wasihttp/outgoing/too-much-is-caught-at-the-write", BODY, too_much),
    Case::must("wasihttp/outgoing/set-twice", OUTPARAM, set_twice),
    Case::must("wasihttp/outgoing/the-asker-has-gone", BODY, gone),
    Case::must("wasihttp/outgoing/nobody-reads", BODY, nobody_reads),
    Case::must("wasihttp/outgoing/finished-before-it-is-set", BODY, finished_first),
];

fn status_codes(context: &Context) -> CaseResult {
    let mut probe = Wasi02::http(context, GuestConfig::default())?;
    let fields = probe.fields(&[])?;
    let response = probe.call("[constructor]outgoing-response", &[fields])?;
    let (read, set) = ("[method]outgoing-response.status-code", "[method]outgoing-response.set-status-code");
    check_eq!(probe.call(read, &[response])?, 200, "the status at first");
    for (status, answer) in [(100, 0), (204, 0), (418, 0), (599, 0), (0, 1), (99, 1), (600, 1), (1000, 1), (0xffff, 1)]
    {
        check_eq!(probe.call(set, &[response, status])?, answer, "the answer of setting {status}");
    }
    check_eq!(probe.call(read, &[response])?, 599, "the status after what was refused");
    Ok(())
}

/// Sets the status of the response before it is handed over, and a content-length if one is given.
fn respond(status: u16, length: Option<u32>) -> String {
    let length = length.map_or_else(String::new, |digits| {
        format!(
            r#"(call $"[method]fields.append" (local.get $count)
                (i32.const 0x220) (i32.const 14) (i32.const 0x240) (i32.const {digits}) (i32.const 0x100))"#
        )
    });
    RESPOND.replace(
        r#"(local.set $response (call $"[constructor]outgoing-response" (call $"[constructor]fields")))"#,
        &format!(
            r#"(local.set $count (call $"[constructor]fields")) {length}
            (local.set $response (call $"[constructor]outgoing-response" (local.get $count)))
            (drop (call $"[method]outgoing-response.set-status-code" (local.get $response) (i32.const {status})))"#
        ),
    )
}

fn interim_status(context: &Context) -> CaseResult {
    let served = serve(context, &[&respond(103, None), FINISH])?;
    match served.answer {
        Some(Err(ErrorCode::HttpProtocolError)) => Ok(()),
        Some(Ok(answer)) => Err(Unmet::failed(format!("status {} went out as a response", answer.status))),
        other => Err(Unmet::failed(format!("an error should come, and there is an answer: {}", other.is_some()))),
    }
}

fn headers(context: &Context) -> CaseResult {
    // "7" is the length that the guest announces, and more than it writes.
    let seven = r#"
        (call $"[method]output-stream.blocking-write-and-flush"
            (local.get $stream) (i32.const 0x200) (i32.const 7) (i32.const 0x100))"#;
    let answer = serve(context, &[&respond(418, Some(1)), seven, FINISH])?.answer()?;
    check_eq!((answer.status, answer.body.len(), answer.end.is_ok()), (418, 7, true), "the answer");
    check_eq!(answer.headers.get("content-length").map(|length| length.as_bytes()), Some(&b"7"[..]), "the length");
    Ok(())
}

/// A response whose body was never asked for is complete, without one.
fn no_body(context: &Context) -> CaseResult {
    let respond = r#"(call $set (local.get $out)
        (call $"[constructor]outgoing-response" (call $"[constructor]fields")))"#;
    let answer = serve(context, &[respond])?.answer()?;
    check_eq!((answer.status, answer.body.len(), answer.end.is_ok()), (200, 0, true), "the answer");
    let wire = over_the_wire(context, &handler(&[respond]), "GET / HTTP/1.1")?;
    let text = String::from_utf8_lossy(&wire).into_owned();
    check!(text.contains("content-length: 0\r\n"), "what went over the wire: {text:?}");
    Ok(())
}

/// Finishes with the trailer `content-length`'s neighbour: the name at 0x260.
const FINISH_WITH: &str = r#"
    (call $"[resource-drop]output-stream" (local.get $stream))
    (i32.store (i32.const 0x260) (i32.const 0x75732d78)) (i32.store8 (i32.const 0x264) (i32.const 0x6d))
    (local.set $count (call $"[constructor]fields"))
    (call $"[method]fields.append" (local.get $count)
        (i32.const 0x260) (i32.const 5) (i32.const 0x240) (i32.const 1) (i32.const 0x100))
    (call $"[static]outgoing-body.finish" (local.get $body) (i32.const 1) (local.get $count) (i32.const 0x180))"#;

fn trailers(context: &Context) -> CaseResult {
    let answer = serve(context, &[RESPOND, HELLO, FINISH_WITH])?.answer()?;
    check_eq!((answer.body, answer.end.is_ok()), (b"hello".to_vec(), true), "the answer");
    let sum = answer.trailers.as_ref().and_then(|trailers| trailers.get("x-sum"));
    check_eq!(sum.map(|sum| sum.as_bytes()), Some(&b"7"[..]), "the trailer");
    Ok(())
}

fn wire_trailers(context: &Context) -> CaseResult {
    // "trailer" and "x-sum" as a header of the response.
    let announce = RESPOND.replace(
        r#"(call $"[constructor]fields")"#,
        r#"(block (result i32)
            (i32.store (i32.const 0x260) (i32.const 0x75732d78)) (i32.store8 (i32.const 0x264) (i32.const 0x6d))
            (i64.store (i32.const 0x270) (i64.const 0x72656c69617274))
            (local.set $count (call $"[constructor]fields"))
            (call $"[method]fields.append" (local.get $count)
                (i32.const 0x270) (i32.const 7) (i32.const 0x260) (i32.const 5) (i32.const 0x100))
            (local.get $count))"#,
    );
    let text = handler(&[&announce, HELLO, FINISH_WITH]);
    // hyper sends trailers to who says that it takes them.
    let wire = over_the_wire(context, &text, "GET / HTTP/1.1\r\nte: trailers")?;
    let text = String::from_utf8_lossy(&wire).into_owned();
    check!(text.ends_with("5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n"), "what went over the wire: {text:?}");
    Ok(())
}

fn head_request() -> Request<Body> {
    let mut asked = request("");
    *asked.method_mut() = Method::HEAD;
    asked
}

/// Traps unless `finish` was content.
const FINISHED: &str = "(if (i32.load8_u (i32.const 0x180)) (then (unreachable)))";

const SEVEN: &str = r#"
    (call $"[method]output-stream.blocking-write-and-flush"
        (local.get $stream) (i32.const 0x200) (i32.const 7) (i32.const 0x100))
    (if (i32.load8_u (i32.const 0x100)) (then (unreachable)))"#;

fn sent_to_head(context: &Context, steps: &[&str]) -> CaseResult<Answer> {
    serve_with(context, &handler(steps), head_request(), GuestConfig::default())?.answer()
}

/// With nothing written, and with all of what a GET would get: neither is sent.
fn head(context: &Context) -> CaseResult {
    let respond = respond(200, Some(1));
    for (what, write) in [("nothing", ""), ("all", SEVEN)] {
        let answer = sent_to_head(context, &[&respond, write, FINISH, FINISHED])
            .map_err(|unmet| unmet.context(format_args!("with {what} written")))?;
        check_eq!((answer.body.len(), answer.end.is_ok()), (0, true), "the body, and whether it ended well");
        check_eq!(answer.headers.get("content-length").map(|length| length.as_bytes()), Some(&b"7"[..]), "the length");
    }
    // Something else than either is as wrong as ever.
    let wrong = "(if (i32.ne (i32.load8_u (i32.const 0x188)) (i32.const 28)) (then (unreachable)))";
    sent_to_head(context, &[&respond, HELLO, FINISH, wrong]).map(drop)
}

fn wire_head(context: &Context) -> CaseResult {
    for write in ["", SEVEN] {
        let text = handler(&[&respond(200, Some(1)), write, FINISH, FINISHED]);
        let wire = over_the_wire(context, &text, "HEAD / HTTP/1.1")?;
        let text = String::from_utf8_lossy(&wire).into_owned();
        check!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\n"), "over the wire: {text:?}");
        check!(text.contains("content-length: 7\r\n") && !text.contains("hello"), "over the wire: {text:?}");
    }
    Ok(())
}

fn bodiless(context: &Context) -> CaseResult {
    for (status, length) in [(204, None), (205, None), (304, None), (304, Some(1))] {
        for write in ["", SEVEN] {
            let text = handler(&[&respond(status, length), write, FINISH, FINISHED]);
            let answer = serve_with(context, &text, request(""), GuestConfig::default())?.answer()?;
            check_eq!((answer.status, answer.body.len(), answer.end.is_ok()), (status, 0, true), "the answer");
            let wire = over_the_wire(context, &text, "GET / HTTP/1.1")?;
            let text = String::from_utf8_lossy(&wire).into_owned();
            check!(text.ends_with("\r\n\r\n") && !text.contains("hello"), "{status} over the wire: {text:?}");
            check!(status != 205 || text.contains("content-length: 0\r\n"), "205 over the wire: {text:?}");
            check!(status != 204 || !text.contains("content-length"), "204 over the wire: {text:?}");
        }
    }
    Ok(())
}

fn bad_length(context: &Context) -> CaseResult {
    // The value is "7", a byte of nothing, and what follows it: no length.
    let served = serve(context, &["(i32.store8 (i32.const 0x240) (i32.const 0x78))", &respond(200, Some(1)), FINISH])?;
    served.ended?;
    match served.answer {
        Some(Err(ErrorCode::InternalError(Some(message)))) => {
            check!(message.contains("content-length"), "the message is {message:?}");
            Ok(())
        }
        Some(Ok(answer)) => {
            let length = answer.headers.get("content-length");
            Err(Unmet::failed(format!("an answer went out whose content-length is {length:?}")))
        }
        Some(Err(code)) => Err(Unmet::failed(format!("the answer is the error {code:?}"))),
        None => Err(Unmet::failed("there is no answer")),
    }
}

fn too_much(context: &Context) -> CaseResult {
    // Five bytes and five: the second write goes beyond seven, and the stream is closed from then on.
    let refused = r#"
        (if (i32.eqz (i32.load8_u (i32.const 0x100))) (then (unreachable)))
        (if (i32.load8_u (i32.const 0x104)) (then (unreachable)))
        (call $"http-error-code" (i32.load (i32.const 0x108)) (i32.const 0x180))
        (if (i32.ne (i32.load8_u (i32.const 0x188)) (i32.const 28)) (then (unreachable)))
        (if (i64.ne (i64.load (i32.const 0x198)) (i64.const 10)) (then (unreachable)))"#;
    let served = serve(context, &[&respond(200, Some(1)), HELLO, HELLO, refused])?;
    check!(served.ended.is_ok(), "the guest ended with {:?}", served.ended);
    match served.answer {
        Some(Ok(answer)) => check!(answer.end.is_err(), "the message looks whole, with {} bytes", answer.body.len()),
        other => return Err(Unmet::failed(format!("the head is missing: {}", other.is_none()))),
    }
    Ok(())
}

fn set_twice(context: &Context) -> CaseResult {
    let again = r#"(call $error (local.get $out) (i32.const 36))"#;
    let served = serve(context, &[RESPOND, again])?;
    match served.ended {
        Err(Stop::Error(error)) => {
            check_eq!(error.kind(), Kind::Trap, "the kind of `{error}`");
            let (message, own) = (error.to_string(), context.subject().component_host().is_none());
            let worded = !own || message.contains("response-outparam.set") && message.contains("handle");
            check!(worded, "it says `{message}`");
            Ok(())
        }
        other => Err(Unmet::failed(format!("a second `set` gave {other:?}"))),
    }
}

/// Writes until the stream is closed.
const UNTIL_CLOSED: &str = r#"
    (loop $more
        (call $"[method]output-stream.blocking-write-and-flush"
            (local.get $stream) (i32.const 0x1000) (i32.const 0x1000) (i32.const 0x100))
        (br_if $more (i32.eqz (i32.load8_u (i32.const 0x100)))))
    (if (i32.ne (i32.load8_u (i32.const 0x104)) (i32.const 1)) (then (unreachable)))"#;

/// Whoever asked goes in the middle of the body: the guest finds its stream closed, and is not trapped.
fn gone(context: &Context) -> CaseResult {
    let mut session = context.hosted(&handler(&[RESPOND, UNTIL_CLOSED]))?.start(GuestConfig::default())?;
    let (reply, answer) = Reply::channel();
    let asking = io().spawn(async move {
        let Ok(Ok(response)) = answer.await else { return false };
        let mut body = response.into_body();
        // One part is taken, and no more.
        matches!(body.frame().await, Some(Ok(_)))
    });
    session.handle(request(""), reply)?;
    check!(Run::default().wait(asking)?.map_err(Unmet::harness)?, "the response did not begin");
    Ok(())
}

/// Nobody reads, and nobody goes: the guest is told that there is no room, and memory stays as it is.
fn nobody_reads(context: &Context) -> CaseResult {
    let fill = r#"
        (loop $more
            (call $"[method]output-stream.check-write" (local.get $stream) (i32.const 0x100))
            (if (i32.load8_u (i32.const 0x100)) (then (unreachable)))
            (if (i64.gt_u (i64.load (i32.const 0x108)) (i64.const 0x1000))
                (then (i64.store (i32.const 0x108) (i64.const 0x1000))))
            (if (i64.ne (i64.load (i32.const 0x108)) (i64.const 0))
                (then
                    (local.set $count (i32.add (local.get $count) (i32.load (i32.const 0x108))))
                    (if (i32.gt_u (local.get $count) (i32.const 0x100000)) (then (unreachable)))
                    (call $"[method]output-stream.write"
                        (local.get $stream) (i32.const 0x1000) (i32.load (i32.const 0x108)) (i32.const 0x110))
                    (br $more))))
        (if (i32.lt_u (local.get $count) (i32.const 0x1000)) (then (unreachable)))"#;
    let mut session = context.hosted(&handler(&[RESPOND, fill]))?.start(GuestConfig::default())?;
    let (reply, answer) = Reply::channel();
    session.handle(request(""), reply)?;
    check!(Run::default().wait(answer)?.is_ok(), "the response did not begin");
    Ok(())
}

fn finished_first(context: &Context) -> CaseResult {
    let respond = r#"
        (local.set $response (call $"[constructor]outgoing-response" (call $"[constructor]fields")))
        (call $"[method]outgoing-response.body" (local.get $response) (i32.const 0x100))
        (local.set $body (i32.load (i32.const 0x104)))
        (call $"[method]outgoing-body.write" (local.get $body) (i32.const 0x100))
        (local.set $stream (i32.load (i32.const 0x104)))"#;
    let set = "(call $set (local.get $out) (local.get $response))";
    let answer = serve(context, &[respond, HELLO, FINISH, FINISHED, set])?.answer()?;
    check_eq!((answer.body, answer.end.is_ok()), (b"hello".to_vec(), true), "the answer");
    // One that was dropped unfinished is broken by the time it is set.
    let drops = r#"(call $"[resource-drop]output-stream" (local.get $stream))
        (call $"[resource-drop]outgoing-body" (local.get $body))"#;
    let served = serve(context, &[respond, HELLO, drops, set])?;
    match served.answer {
        Some(Ok(answer)) => check!(answer.end.is_err(), "a body that was dropped ended like a whole one"),
        other => check!(other.is_some(), "there is no answer"),
    }
    Ok(())
}
