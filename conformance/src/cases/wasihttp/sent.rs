//! What of a guest's request is sent, and how: target, fields, the length of the body, trailers.

use super::exchange::{CHUNKED, INTERNAL_ERROR, URI_INVALID, posting, reach, sending, take_trailers};
use super::probe::Wasi02;
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::origin::{Origin, Received, Reply};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/sent/target-as-it-was-set", "RFC 9112, section 3.2.1", as_set),
    Case::must("wasihttp/sent/target-of-the-whole-server", "RFC 9112, section 3.2.4", asterisk),
    Case::must("wasihttp/sent/target-that-is-not-valid", "core/wit/http.wit: set-path-with-query", not_valid),
    Case::must("wasihttp/sent/user-name-is-refused", "RFC 9110, section 4.2.4", user_name),
    Case::must("wasihttp/sent/nothing-is-added", "RFC 9110, section 5", nothing_added),
    Case::must("wasihttp/sent/empty-body", "RFC 9110, section 8.6", empty),
    Case::must("wasihttp/sent/body-without-a-length", "RFC 9112, section 6.3", without_length),
    Case::must("wasihttp/sent/trailers-that-are-announced", "RFC 9110, section 6.6.2", announced),
    Case::must("wasihttp/sent/trailers-that-are-not-announced", "RFC 9110, section 6.6.2", unannounced),
    Case::must("wasihttp/sent/length-that-is-said-twice", "RFC 9110, section 8.6", length_twice),
    Case::must("wasihttp/sent/length-beside-chunks", "RFC 9112, section 6.3", length_beside_chunks),
];

fn as_set(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(204))?;
    let mut probe = reach(context, &origin)?;
    for path in
        ["/a/%2e%2e/b?name='x'", "/a/../b/./c//d", "/%7e~%41", "/|^[]\\{\"}?|^[]\\{}`", "/100%?%zz", "/?", "/a?b?c"]
    {
        let request = probe.request(&origin.authority(), path, &[])?;
        probe.exchange(request)?;
        check_eq!(origin.requests().pop().unwrap_or_default().target, path, "the target");
    }
    Ok(())
}

const OPTIONS: u64 = 6;

fn asterisk(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(204))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "*", &[])?;
    check_eq!(probe.call("[method]outgoing-request.set-method", &[request, OPTIONS, 0, 0])?, 0, "`set-method`");
    probe.exchange(request)?;
    let received = origin.request()?;
    check_eq!((received.method.as_str(), received.target.as_str()), ("OPTIONS", "*"), "method and target");
    let request = probe.request(&origin.authority(), "*", &[])?;
    check_eq!(probe.fails(request)?, URI_INVALID, "the error code of `GET *`");
    check_eq!(origin.requests().len(), 1, "the requests that arrived");
    Ok(())
}

/// Refused when it is set, or else when it is sent.
fn not_valid(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(204))?;
    let mut probe = reach(context, &origin)?;
    for path in ["/ü", "/a b", "/a<b", "/a>b", "/a\u{7f}", "/a?<", "a", "/a\r\nx: y"] {
        let request = probe.request(&origin.authority(), "/", &[])?;
        if probe.set(request, "path-with-query", path)? == 0 {
            check_eq!(probe.fails(request)?, URI_INVALID, "the error code of {path:?}");
        }
    }
    check_eq!(origin.requests().len(), 0, "the requests that arrived");
    Ok(())
}

fn user_name(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(204))?;
    let mut probe = reach(context, &origin)?;
    for user in ["user:word", "user", "127.0.0.1"] {
        let request = probe.request(&origin.authority(), "/", &[])?;
        if probe.set(request, "authority", &format!("{user}@{}", origin.authority()))? == 0 {
            check_eq!(probe.fails(request)?, URI_INVALID, "the error code of {user}@");
        }
    }
    check_eq!(origin.requests().len(), 0, "the requests that arrived");
    Ok(())
}

fn nothing_added(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(204))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[("x-own", "1")])?;
    probe.exchange(request)?;
    let mut names: Vec<String> =
        origin.request()?.headers.into_iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    check_eq!(names, ["host", "x-own"], "the fields that arrived");
    Ok(())
}

/// How the body of a request with this number of a method, and with these parts, is framed.
fn framed(probe: &mut Wasi02, origin: &Origin, method: u64, late: bool, parts: &[&str]) -> CaseResult<Received> {
    let request = probe.request(&origin.authority(), "/", &[])?;
    check_eq!(probe.call("[method]outgoing-request.set-method", &[request, method, 0, 0])?, 0, "`set-method`");
    let (body, stream) = probe.produce(request)?;
    let early = if late { Some(probe.send(request)?) } else { None };
    for part in parts {
        check_eq!(probe.write(stream, part.as_bytes())?, 0, "the answer of writing {part:?}");
    }
    check_eq!(probe.finish(body, stream)?, None, "the error of `finish`");
    let future = match early {
        Some(future) => future,
        None => probe.send(request)?,
    };
    check!(probe.response(future)?.is_ok(), "the request failed");
    Ok(origin.requests().pop().unwrap_or_default())
}

fn empty(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(204))?;
    let mut probe = reach(context, &origin)?;
    for late in [false, true] {
        // GET, POST, PUT, DELETE, PATCH.
        for (method, length) in [(0, None), (2, Some("0")), (3, Some("0")), (4, None), (8, Some("0"))] {
            let received = framed(&mut probe, &origin, method, late, &[])?;
            check_eq!(received.header("content-length"), length, "the length of an empty {}", received.method);
            check_eq!(received.header("transfer-encoding"), None, "the coding of an empty {}", received.method);
        }
    }
    Ok(())
}

fn without_length(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(204))?;
    let mut probe = reach(context, &origin)?;
    // Wasmtime's host takes no more than it can hand on, so a guest writes to it once the request is sent.
    let orders = if context.subject().component_host().is_none() { &[false, true][..] } else { &[true] };
    for late in orders.iter().copied() {
        for (method, parts) in [(2, &["x"][..]), (2, &["one", " two"]), (0, &["x"]), (4, &["x"])] {
            let received = framed(&mut probe, &origin, method, late, parts)?;
            check_eq!(received.body, parts.concat().into_bytes(), "the body of a {}", received.method);
            check_eq!(received.header("transfer-encoding"), Some("chunked"), "the coding of a {}", received.method);
            check_eq!(received.header("content-length"), None, "the length of a {}", received.method);
        }
    }
    Ok(())
}

fn announced(context: &Context) -> CaseResult {
    for headers in [&[("trailer", "x-other, X-Sum")][..], &[("Trailer", "x-sum"), ("content-length", "4")]] {
        let origin = Origin::raw(crate::origin::Step::exchange("200 OK", &[], ""))?;
        let mut probe = reach(context, &origin)?;
        let (future, body, stream) = posting(&mut probe, &origin, headers)?;
        check_eq!(probe.write(stream, b"body")?, 0, "the answer of a write");
        check_eq!(probe.finish_with(body, stream, &[("x-sum", "7")])?, None, "the error of `finish`");
        check!(probe.response(future)?.is_ok(), "the request failed");
        let received = origin.request()?;
        check_eq!(received.body, b"body", "the body");
        check_eq!(received.trailers, [("x-sum".to_owned(), b"7".to_vec())], "the trailers");
    }
    Ok(())
}

/// They cannot be sent over HTTP/1.1, and what is lost must not look as if it had arrived.
fn unannounced(context: &Context) -> CaseResult {
    let origin = Origin::raw(crate::origin::Step::exchange("200 OK", &[], ""))?;
    let mut probe = reach(context, &origin)?;
    let (future, body, stream) = posting(&mut probe, &origin, &[])?;
    check_eq!(probe.write(stream, b"body")?, 0, "the answer of a write");
    check_eq!(probe.finish_with(body, stream, &[("x-sum", "7")])?, None, "the error of `finish`");
    check_eq!(probe.fails_later(future)?.code, INTERNAL_ERROR, "the error code");
    check_eq!(origin.requests().len(), 0, "the requests that arrived whole");
    Ok(())
}

/// For the guest it is one length.
fn length_twice(context: &Context) -> CaseResult {
    let origin = sending("HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nbody")?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let response = probe.exchange(request)?;
    let headers = probe.call("[method]incoming-response.headers", &[response])?;
    let lengths = probe.entries(headers)?.into_iter().filter(|(name, _)| name == "content-length").count();
    check_eq!(lengths, 1, "how many lengths the guest sees");
    let (_, stream) = probe.consume(response)?;
    check_eq!(probe.read_all(stream)?, (b"body".to_vec(), true), "the body");
    Ok(())
}

fn length_beside_chunks(context: &Context) -> CaseResult {
    for lengths in ["content-length: 99\r\n", "content-length: 2\r\n", "content-length: 1\r\ncontent-length: 2\r\n"] {
        let answer = CHUNKED.replace("transfer-encoding", &format!("{lengths}transfer-encoding"));
        let origin = sending(&format!("{answer}0\r\n\r\n"))?;
        let mut probe = reach(context, &origin)?;
        let request = probe.request(&origin.authority(), "/", &[])?;
        let response = probe.exchange(request)?;
        let headers = probe.call("[method]incoming-response.headers", &[response])?;
        let entries = probe.entries(headers)?;
        check!(entries.iter().all(|(name, _)| name != "content-length"), "the headers are {entries:?}");
        let (body, stream) = probe.consume(response)?;
        check_eq!(probe.read_all(stream)?, (b"body".to_vec(), true), "the body beside {lengths:?}");
        probe.call("[resource-drop]input-stream", &[stream])?;
        check_eq!(take_trailers(&mut probe, body)?, Ok(Vec::new()), "the trailers");
        // Cut, it is not whole, whatever the length says.
        let origin = sending(&answer)?;
        let mut probe = reach(context, &origin)?;
        let request = probe.request(&origin.authority(), "/", &[])?;
        let response = probe.exchange(request)?;
        let (body, stream) = probe.consume(response)?;
        check!(!probe.read_all(stream)?.1, "a body that was cut ended like a whole one, beside {lengths:?}");
        probe.call("[resource-drop]input-stream", &[stream])?;
        // Wasmtime's host tells of it in the stream only.
        if context.subject().component_host().is_none() {
            check!(take_trailers(&mut probe, body)?.is_err(), "a body that was cut has no error, beside {lengths:?}");
        }
    }
    Ok(())
}
