//! `wasi:http/outgoing-handler`: requests, responses, bodies, trailers, errors.

use std::time::{Duration, Instant};

use wharf_core::GuestConfig;

use super::exchange::{
    CHUNKED, CONNECTION_REFUSED, METHOD_INVALID, PROTOCOL_ERROR, REQUEST_BODY_SIZE, REQUEST_DENIED,
    RESPONSE_INCOMPLETE, RESPONSE_TIMEOUT, URI_INVALID, giving_up, posting, reach, sending, take_trailers,
};
use super::probe::{RET, Wasi02};
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::origin::{Origin, Reply, Step};
use crate::{check, check_eq};

const WIT: &str = "wasi:http/outgoing-handler@0.2.12";
const BODY: &str = "wasi:http/types@0.2.12: outgoing-body";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/outbound/get", WIT, get),
    Case::must("wasihttp/outbound/request-arrives-as-made", WIT, request_arrives),
    Case::must("wasihttp/outbound/response-headers-are-immutable-children", WIT, response_headers),
    Case::must("wasihttp/outbound/everything-once", WIT, once),
    Case::must("wasihttp/outbound/denied-by-default", WIT, denied),
    Case::must("wasihttp/outbound/denied-by-policy", WIT, denied_by_policy),
    Case::must("wasihttp/outbound/denied-with-a-body", "Fetch, section 5.6: a network error", denied_with_body),
    Case::must("wasihttp/outbound/refused-connection", WIT, refused),
    Case::must("wasihttp/outbound/invalid-parts", WIT, invalid_parts),
    Case::must("wasihttp/outbound/invalid-requests", WIT, invalid_requests),
    Case::must("wasihttp/outbound/body", BODY, body),
    Case::must("wasihttp/outbound/body-length-is-kept", BODY, body_length),
    Case::must("wasihttp/outbound/unfinished-body-breaks-off", BODY, unfinished),
    Case::must("wasihttp/outbound/finish-with-a-live-stream-traps", BODY, live_stream),
    Case::must("wasihttp/outbound/two-mebibytes", BODY, large),
    Case::must("wasihttp/outbound/full-buffer-without-a-request", BODY, stuck),
    Case::must("wasihttp/outbound/trailers", "wasi:http/types@0.2.12: future-trailers", trailers),
    Case::must("wasihttp/outbound/finish-drains", "wasi:http/types@0.2.12: incoming-body.finish", drains),
    Case::must("wasihttp/outbound/broken-body", "wasi:http/types@0.2.12: http-error-code", broken),
    Case::must("wasihttp/outbound/first-byte-timeout", "wasi:http/types@0.2.12: request-options", first_byte),
    Case::must("wasihttp/outbound/dropped-future-ends-the-request", WIT, dropped),
];

fn get(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("hello"))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/path?query=1", &[("X-Own", "1")])?;
    let response = probe.exchange(request)?;
    check_eq!(probe.call("[method]incoming-response.status", &[response])?, 200, "the status");
    let (body, stream) = probe.consume(response)?;
    check_eq!(probe.read_all(stream)?, (b"hello".to_vec(), true), "the body");
    for (name, handle) in [("input-stream", stream), ("incoming-body", body), ("incoming-response", response)] {
        probe.call(&format!("[resource-drop]{name}"), &[handle])?;
    }
    check_eq!(probe.probe.session.open_handles(), 0, "the open handles at the end");
    Ok(())
}

fn request_arrives(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(204))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "?query", &[("X-Own", "1"), ("x-own", "2")])?;
    let [ptr, len] = probe.bytes("BREW")?;
    check_eq!(probe.call("[method]outgoing-request.set-method", &[request, 9, ptr, len])?, 0, "`set-method`");
    probe.exchange(request)?;
    let received = origin.request()?;
    check_eq!(received.method, "BREW", "the method");
    check_eq!(received.target, "/?query", "the target");
    check_eq!(received.all("host"), [origin.authority().as_bytes()], "the values of Host");
    check_eq!(received.all("x-own"), [b"1", b"2"], "the values of X-Own");
    Ok(())
}

fn response_headers(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200).header("x-seen", "1").header("connection", "close"))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let response = probe.exchange(request)?;
    let headers = probe.call("[method]incoming-response.headers", &[response])?;
    check_eq!(probe.append(headers, "a", "1")?, Some(2), "the error of `append`");
    let entries = probe.entries(headers)?;
    check!(entries.contains(&("x-seen".to_owned(), "1".to_owned())), "the headers are {entries:?}");
    check!(entries.iter().all(|(name, _)| name != "connection"), "the headers are {entries:?}");
    probe.traps("[resource-drop]incoming-response", &[response], "child")
}

fn once(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("x"))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let (body, stream) = probe.produce(request)?;
    check_eq!(probe.case("[method]outgoing-request.body", &[request])?, 1, "the second `body`");
    check_eq!(probe.case("[method]outgoing-body.write", &[body])?, 1, "the second `write`");
    check_eq!(probe.finish(body, stream)?, None, "the error of `finish`");
    let future = probe.send(request)?;
    let response = match probe.response(future)? {
        Ok(response) => response,
        Err(code) => return Err(crate::Unmet::failed(format!("error code {code}"))),
    };
    check_eq!(probe.case("[method]future-incoming-response.get", &[future])?, 1, "the second `get`");
    check_eq!(probe.byte(8)?, 1, "whether the second `get` is an error");
    let (body, _) = probe.consume(response)?;
    check_eq!(probe.case("[method]incoming-response.consume", &[response])?, 1, "the second `consume`");
    check_eq!(probe.case("[method]incoming-body.stream", &[body])?, 1, "the second `stream`");
    probe.traps("[static]incoming-body.finish", &[body], "child")
}

fn denied(context: &Context) -> CaseResult {
    let mut probe = Wasi02::http(context, GuestConfig::default())?;
    let request = probe.request("localhost:1", "/", &[])?;
    let future = probe.send(request)?;
    check_eq!(probe.fails_later(future)?.code, REQUEST_DENIED, "the error code of the future");
    Ok(())
}

/// Programs write the body before they look at the future, which is what says that the request is denied.
fn denied_with_body(context: &Context) -> CaseResult {
    let (allowed, other) = (Origin::replying(Reply::status(200))?, Origin::replying(Reply::status(200))?);
    for config in [None, Some(&allowed)] {
        let mut probe = match config {
            None => Wasi02::http(context, GuestConfig::default())?,
            Some(allowed) => reach(context, allowed)?,
        };
        let request = probe.request(&other.authority(), "/", &[])?;
        let (body, stream) = probe.produce(request)?;
        let future = probe.send(request)?;
        for _ in 0..20 {
            check_eq!(probe.write(stream, &[b'x'; 4096])?, 0, "a write to the body of a request that is denied");
        }
        check_eq!(probe.finish(body, stream)?, None, "the error of `finish`");
        check_eq!(probe.fails_later(future)?.code, REQUEST_DENIED, "the error code of the future");
    }
    check_eq!(other.accepted(), 0, "the connections to the origin that is denied");
    Ok(())
}

fn denied_by_policy(context: &Context) -> CaseResult {
    let (allowed, other) = (Origin::replying(Reply::status(200))?, Origin::replying(Reply::status(200))?);
    let mut probe = reach(context, &allowed)?;
    let request = probe.request(&other.authority(), "/", &[])?;
    check_eq!(probe.fails(request)?, REQUEST_DENIED, "the error code");
    check_eq!(other.accepted(), 0, "the connections to the origin that is denied");
    Ok(())
}

fn refused(context: &Context) -> CaseResult {
    let origin = Origin::refusing()?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    check_eq!(probe.fails(request)?, CONNECTION_REFUSED, "the error code");
    Ok(())
}

fn invalid_parts(context: &Context) -> CaseResult {
    let mut probe = Wasi02::http(context, GuestConfig::default())?;
    let request = probe.request("example.com", "/", &[])?;
    for (part, value) in [
        ("authority", "a b"),
        ("authority", "host:port"),
        ("authority", "host:99999"),
        ("authority", ""),
        ("path-with-query", "/a b"),
        ("path-with-query", "/a#fragment"),
        ("path-with-query", "/\r\n"),
    ] {
        check_eq!(probe.set(request, part, value)?, 1, "the answer of setting {part} to {value:?}");
    }
    for method in ["", "A B", "G\r\nET"] {
        let [ptr, len] = probe.bytes(method)?;
        let answer = probe.call("[method]outgoing-request.set-method", &[request, 9, ptr, len])?;
        check_eq!(answer, 1, "the answer of `set-method` to {method:?}");
    }
    let [ptr, len] = probe.bytes("a b")?;
    check_eq!(probe.call("[method]outgoing-request.set-scheme", &[request, 1, 2, ptr, len])?, 1, "`set-scheme`");
    probe.case("[method]outgoing-request.authority", &[request])?;
    check_eq!(probe.string_at(RET + 4)?, b"example.com", "the authority after what was refused");
    Ok(())
}

fn invalid_requests(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let [ptr, len] = probe.bytes("gopher")?;
    check_eq!(probe.call("[method]outgoing-request.set-scheme", &[request, 1, 2, ptr, len])?, 0, "`set-scheme`");
    check_eq!(probe.fails(request)?, PROTOCOL_ERROR, "the error code of an unknown scheme");
    let request = probe.request(&origin.authority(), "/", &[])?;
    check_eq!(probe.call("[method]outgoing-request.set-authority", &[request, 0, 0, 0])?, 0, "`set-authority`");
    check_eq!(probe.fails(request)?, URI_INVALID, "the error code of no authority");
    let request = probe.request(&origin.authority(), "/", &[])?;
    check_eq!(probe.call("[method]outgoing-request.set-method", &[request, 5, 0, 0])?, 0, "`set-method`");
    check_eq!(probe.fails(request)?, METHOD_INVALID, "the error code of CONNECT");
    check_eq!(origin.requests().len(), 0, "the requests that arrived");
    Ok(())
}

fn body(context: &Context) -> CaseResult {
    for headers in [&[][..], &[("content-length", "7")]] {
        let origin = Origin::replying(Reply::status(200))?;
        let mut probe = reach(context, &origin)?;
        let (future, body, stream) = posting(&mut probe, &origin, headers)?;
        for part in ["one", " two"] {
            check_eq!(probe.write(stream, part.as_bytes())?, 0, "the answer of writing {part:?}");
        }
        check_eq!(probe.finish(body, stream)?, None, "the error of `finish`");
        check!(probe.response(future)?.is_ok(), "the request failed");
        let received = origin.request()?;
        check_eq!(received.body, b"one two", "the body");
        // A body that is short and finished at once may be sent with a length that the guest did not announce.
        check!(received.header("content-length").is_some() || headers.is_empty(), "the length was not sent");
    }
    Ok(())
}

fn body_length(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = reach(context, &origin)?;
    let (_, body, stream) = posting(&mut probe, &origin, &[("content-length", "7")])?;
    check_eq!(probe.write(stream, b"short")?, 0, "the answer of a write");
    check_eq!(probe.finish(body, stream)?, Some(REQUEST_BODY_SIZE), "the error of `finish` after too little");
    let (_, _, stream) = posting(&mut probe, &origin, &[("content-length", "3")])?;
    check_eq!(probe.write(stream, b"too much")?, 1, "the answer of writing too much");
    check_eq!(probe.byte(4)?, 0, "the case of the `stream-error`");
    let error = probe.word(8)?.into();
    check_eq!(probe.case("http-error-code", &[error])?, 1, "whether the error is one of HTTP");
    check_eq!(probe.byte(8)?, REQUEST_BODY_SIZE, "the error code of writing too much");
    check_eq!(probe.write(stream, b"x")?, 1, "the answer of the next write");
    // Wasmtime's host closes it once the transport has given the body up, which may be later.
    if context.subject().component_host().is_none() {
        check_eq!(probe.byte(4)?, 1, "whether the stream is closed then");
    }
    check_eq!(origin.requests().len(), 0, "the requests that arrived whole");
    Ok(())
}

fn unfinished(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = reach(context, &origin)?;
    let future = giving_up(&mut probe, &origin)?;
    check!(probe.response(future)?.is_err(), "a request that was not finished was answered");
    check_eq!(origin.requests().len(), 0, "the requests that arrived whole");
    Ok(())
}

fn live_stream(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = reach(context, &origin)?;
    let (_, body, _) = posting(&mut probe, &origin, &[])?;
    probe.traps("[static]outgoing-body.finish", &[body, 0, 0, RET.into()], "child")
}

fn large(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = reach(context, &origin)?;
    let (future, body, stream) = posting(&mut probe, &origin, &[])?;
    // What every host takes at once.
    let chunk = [b'x'; 0x1000];
    for _ in 0..512 {
        check_eq!(probe.write(stream, &chunk)?, 0, "the answer of a write");
    }
    check_eq!(probe.finish(body, stream)?, None, "the error of `finish`");
    check!(probe.response(future)?.is_ok(), "the request failed");
    check_eq!(origin.request()?.body.len(), 2 << 20, "the bytes that arrived");
    Ok(())
}

/// `check-write` comes to 0, and a wait that only the guest itself could end is a trap and no hang.
fn stuck(context: &Context) -> CaseResult {
    // Another host may wait all the same, but not for ever.
    let timeout = context.subject().component_host().map(|_| Duration::from_secs(2));
    let mut probe = Wasi02::http(context, GuestConfig { timeout, ..GuestConfig::default() })?;
    let request = probe.request("example.com", "/", &[])?;
    let (_, stream) = probe.produce(request)?;
    let mut written = 0;
    loop {
        probe.case("[method]output-stream.check-write", &[stream])?;
        let room = probe.probe.u64_at(RET + 8)?.min(0x2000);
        if room == 0 {
            break;
        }
        check_eq!(probe.case("[method]output-stream.write", &[stream, 0, room])?, 0, "the answer of a write");
        written += room;
        check!(written <= 1 << 20, "a body that nobody takes was buffered beyond a mebibyte");
    }
    check!(written >= 4096, "only {written} bytes were buffered");
    let name = "[method]output-stream.blocking-write-and-flush";
    probe.traps(name, &[stream, 0, 1, RET.into()], "never end")
}

fn trailers(context: &Context) -> CaseResult {
    let origin = sending(&format!("{CHUNKED}0\r\nx-end: 1\r\n\r\n"))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let response = probe.exchange(request)?;
    let (body, stream) = probe.consume(response)?;
    check_eq!(probe.read_all(stream)?, (b"body".to_vec(), true), "the body");
    probe.call("[resource-drop]input-stream", &[stream])?;
    let trailers = take_trailers(&mut probe, body)?;
    check_eq!(trailers, Ok(vec![("x-end".to_owned(), "1".to_owned())]), "the trailers");
    Ok(())
}

fn drains(context: &Context) -> CaseResult {
    let origin = sending(&format!("{CHUNKED}0\r\nx-end: 1\r\n\r\n"))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let response = probe.exchange(request)?;
    let body = probe.ok("[method]incoming-response.consume", &[response])?;
    let trailers = take_trailers(&mut probe, body)?;
    check_eq!(trailers, Ok(vec![("x-end".to_owned(), "1".to_owned())]), "the trailers");
    Ok(())
}

fn broken(context: &Context) -> CaseResult {
    let origin = sending("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbody")?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let response = probe.exchange(request)?;
    let (_, stream) = probe.consume(response)?;
    check_eq!(probe.read_all(stream)?, (b"body".to_vec(), false), "the body, and whether it ended well");
    let error = probe.word(8)?.into();
    check_eq!(probe.case("http-error-code", &[error])?, 1, "whether the error is one of HTTP");
    check_eq!(probe.byte(8)?, RESPONSE_INCOMPLETE, "the error code");
    check_eq!(probe.read_all(stream)?, (vec![], true), "the stream after its error");
    Ok(())
}

fn first_byte(context: &Context) -> CaseResult {
    let origin = Origin::raw(vec![Step::ReadRequest, Step::Hold])?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let options = probe.call("[constructor]request-options", &[])?;
    let nanoseconds = 50_000_000;
    let set = "[method]request-options.set-first-byte-timeout";
    check_eq!(probe.call(set, &[options, 1, nanoseconds])?, 0, "the answer of setting the timeout");
    probe.case("[method]request-options.first-byte-timeout", &[options])?;
    check_eq!(probe.probe.u64_at(RET + 8)?, nanoseconds, "the timeout that was set");
    let start = Instant::now();
    check_eq!(probe.case("handle", &[request, 1, options])?, 0, "the answer of `handle`");
    let future = probe.word(8)?.into();
    check_eq!(probe.response(future)?, Err(RESPONSE_TIMEOUT), "the response");
    check!(start.elapsed() < Duration::from_secs(10), "the timeout took {:?}", start.elapsed());
    Ok(())
}

fn dropped(context: &Context) -> CaseResult {
    let origin = Origin::raw(vec![Step::ReadRequest, Step::Hold])?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let future = probe.send(request)?;
    check!(origin.wait_until(|origin| origin.open() == 1), "no connection came");
    check_eq!(probe.case("[method]future-incoming-response.get", &[future])?, 0, "`get` before there is a response");
    probe.call("[resource-drop]future-incoming-response", &[future])?;
    check!(origin.wait_until(|origin| origin.open() == 0), "the connection stayed open");
    Ok(())
}
