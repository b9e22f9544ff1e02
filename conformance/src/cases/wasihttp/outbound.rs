//! `wasi:http/outgoing-handler`: requests, responses, bodies, trailers, errors.

use std::time::{Duration, Instant};

use wharf_core::GuestConfig;

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

// Numbers of `error-code`.
const CONNECTION_REFUSED: u8 = 6;
const REQUEST_DENIED: u8 = 15;
const REQUEST_BODY_SIZE: u8 = 17;
const METHOD_INVALID: u8 = 18;
const URI_INVALID: u8 = 19;
const RESPONSE_INCOMPLETE: u8 = 25;
const RESPONSE_TIMEOUT: u8 = 33;
const PROTOCOL_ERROR: u8 = 35;

/// A guest that may reach `origin`.
fn reach(context: &Context, origin: &Origin) -> CaseResult<Wasi02> {
    let outbound = context.net().allow(&origin.base()).outbound()?;
    Wasi02::http(context, GuestConfig { outbound: Some(outbound), ..GuestConfig::default() })
}

impl Wasi02 {
    /// A request for `path` at `authority`, over plain HTTP.
    fn request(&mut self, authority: &str, path: &str, headers: &[(&str, &str)]) -> CaseResult<u64> {
        let fields = self.fields(headers)?;
        let request = self.call("[constructor]outgoing-request", &[fields])?;
        check_eq!(self.call("[method]outgoing-request.set-scheme", &[request, 1, 0, 0, 0])?, 0, "`set-scheme`");
        check_eq!(self.set(request, "authority", authority)?, 0, "`set-authority` to {authority}");
        check_eq!(self.set(request, "path-with-query", path)?, 0, "`set-path-with-query` to {path}");
        Ok(request)
    }

    /// Sets a part of a request to a text.
    fn set(&mut self, request: u64, part: &str, value: &str) -> CaseResult<u64> {
        let [ptr, len] = self.bytes(value)?;
        self.call(&format!("[method]outgoing-request.set-{part}"), &[request, 1, ptr, len])
    }

    /// Sends a request, which must be taken.
    fn send(&mut self, request: u64) -> CaseResult<u64> {
        check_eq!(self.case("handle", &[request, 0, 0])?, 0, "the answer of `handle`");
        Ok(self.word(8)?.into())
    }

    /// Waits for the response; gives its handle, or the number of the error code.
    fn response(&mut self, future: u64) -> CaseResult<Result<u64, u8>> {
        self.wait("[method]future-incoming-response.subscribe", future)?;
        check_eq!(self.case("[method]future-incoming-response.get", &[future])?, 1, "whether there is a response");
        check_eq!(self.byte(8)?, 0, "whether it was given before");
        Ok(if self.byte(16)? == 0 { Ok(self.word(24)?.into()) } else { Err(self.byte(24)?) })
    }

    /// Sends a request and waits for its response, which must come.
    fn exchange(&mut self, request: u64) -> CaseResult<u64> {
        let future = self.send(request)?;
        let response = self.response(future)?;
        self.call("[resource-drop]future-incoming-response", &[future])?;
        response.map_err(|code| crate::Unmet::failed(format!("the request failed with error code {code}")))
    }

    /// Sends a request, which must fail, at once or later.
    fn fails(&mut self, request: u64) -> CaseResult<u8> {
        if self.case("handle", &[request, 0, 0])? == 1 {
            return self.byte(8);
        }
        let future = self.word(8)?.into();
        match self.response(future)? {
            Ok(_) => Err(crate::Unmet::failed("a request that should fail was answered")),
            Err(code) => Ok(code),
        }
    }

    /// The body of a response and its stream.
    fn consume(&mut self, response: u64) -> CaseResult<(u64, u64)> {
        let body = self.ok("[method]incoming-response.consume", &[response])?;
        Ok((body, self.ok("[method]incoming-body.stream", &[body])?))
    }

    /// The body of a request and its stream.
    fn produce(&mut self, request: u64) -> CaseResult<(u64, u64)> {
        let body = self.ok("[method]outgoing-request.body", &[request])?;
        Ok((body, self.ok("[method]outgoing-body.write", &[body])?))
    }

    /// Finishes a body without trailers; gives the number of the error code, if it fails.
    fn finish(&mut self, body: u64, stream: u64) -> CaseResult<Option<u8>> {
        self.call("[resource-drop]output-stream", &[stream])?;
        Ok(match self.case("[static]outgoing-body.finish", &[body, 0, 0])? {
            0 => None,
            _ => Some(self.byte(8)?),
        })
    }
}

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
    check_eq!(probe.fails(request)?, REQUEST_DENIED, "the error code");
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

const POST: u64 = 2;

/// A POST with a body under way, whose headers are these.
fn posting(probe: &mut Wasi02, origin: &Origin, headers: &[(&str, &str)]) -> CaseResult<(u64, u64, u64)> {
    let request = probe.request(&origin.authority(), "/", headers)?;
    check_eq!(probe.call("[method]outgoing-request.set-method", &[request, POST, 0, 0])?, 0, "`set-method`");
    let (body, stream) = probe.produce(request)?;
    Ok((probe.send(request)?, body, stream))
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
    let (future, body, stream) = posting(&mut probe, &origin, &[])?;
    check_eq!(probe.write(stream, b"part")?, 0, "the answer of a write");
    probe.call("[resource-drop]output-stream", &[stream])?;
    probe.call("[resource-drop]outgoing-body", &[body])?;
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

/// An origin that sends this once it has read a request.
fn sending(answer: &str) -> CaseResult<Origin> {
    Origin::raw(vec![Step::ReadRequest, Step::text(answer), Step::Finish, Step::Hold])
}

/// Takes the trailers of a body whose stream is gone; gives the entries, or the number of the error code.
fn take_trailers(probe: &mut Wasi02, body: u64) -> CaseResult<Result<Vec<(String, String)>, u8>> {
    let future = probe.call("[static]incoming-body.finish", &[body])?;
    probe.wait("[method]future-trailers.subscribe", future)?;
    check_eq!(probe.case("[method]future-trailers.get", &[future])?, 1, "whether there are trailers");
    check_eq!(probe.byte(8)?, 0, "whether they were given before");
    if probe.byte(16)? == 1 {
        return Ok(Err(probe.byte(24)?));
    }
    let trailers = if probe.byte(24)? == 1 { Some(u64::from(probe.word(28)?)) } else { None };
    let entries = match trailers {
        Some(trailers) => {
            check_eq!(probe.append(trailers, "a", "1")?, Some(2), "the error of `append`");
            probe.entries(trailers)?
        }
        None => Vec::new(),
    };
    check_eq!(probe.case("[method]future-trailers.get", &[future])?, 1, "the second `get`");
    check_eq!(probe.byte(8)?, 1, "whether the second `get` is an error");
    Ok(Ok(entries))
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n4\r\nbody\r\n";

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
