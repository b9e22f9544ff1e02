//! `wasi:http/outgoing-handler`: what goes over the wire, what comes back, and what the guest may ask of time.

use std::time::Duration;

use wharf_core::http::Redirects;
use wharf_core::{GuestConfig, Kind, Stop};

use super::exchange::{
    CHUNKED, CONNECTION_TIMEOUT, READ_TIMEOUT, RESPONSE_TIMEOUT, URI_INVALID, posting, reach, sending, take_trailers,
};
use super::probe::{RET, Wasi02};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::origin::{Body, Certificate, Origin, Reply, Step, TestCa};
use crate::{check, check_eq};

const WIT: &str = "wasi:http/outgoing-handler@0.2.12";
const OPTIONS: &str = "wasi:http/types@0.2.12: request-options";
const BODY: &str = "wasi:http/types@0.2.12: incoming-body";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/request/methods", WIT, methods),
    Case::must("wasihttp/request/scheme-is-https-by-default", WIT, https),
    Case::must("wasihttp/request/scheme-in-capitals", "RFC 3986, section 3.1", capitals),
    Case::must("wasihttp/request/host-is-the-authority", WIT, host),
    Case::must("wasihttp/request/paths", WIT, paths),
    Case::must("wasihttp/request/parts-are-read-back", "wasi:http/types@0.2.12: outgoing-request", parts),
    Case::must("wasihttp/request/trailers", "wasi:http/types@0.2.12: outgoing-body.finish", trailers),
    Case::must("wasihttp/request/no-body-says-so", "RFC 9110, section 8.6", no_body),
    Case::must("wasihttp/request/body-of-a-guest-that-ends", "wasi:http/types@0.2.12: outgoing-body", guest_ends),
    Case::must("wasihttp/request/never-sent", WIT, never_sent),
    Case::must("wasihttp/response/head-has-no-body", BODY, head),
    Case::must("wasihttp/response/statuses-without-a-body", BODY, bodiless),
    Case::must("wasihttp/response/interim-answers-are-passed-over", WIT, interim),
    Case::must("wasihttp/response/trailers-without-forbidden-names", BODY, forbidden_trailers),
    Case::must("wasihttp/response/no-trailers", BODY, no_trailers),
    Case::must("wasihttp/response/headers-of-the-connection-are-left-out", WIT, forbidden_headers),
    Case::must("wasihttp/response/content-coding-is-the-guests", WIT, coding),
    Case::must("wasihttp/response/a-redirect-is-handed-over", WIT, redirect),
    Case::must("wasihttp/response/two-mebibytes", BODY, large),
    Case::must("wasihttp/response/dropped-body-ends-the-exchange", BODY, dropped),
    Case::must("wasihttp/options/are-none-at-first", OPTIONS, none_at_first),
    Case::must("wasihttp/options/connect-timeout", OPTIONS, connect_timeout),
    Case::must("wasihttp/options/between-bytes-timeout", OPTIONS, between_bytes),
    Case::must("wasihttp/options/the-host-has-the-last-word", OPTIONS, bounded),
    Case::must("wasihttp/limit/handles", "core: handles of a guest", handles),
    Case::must("wasihttp/limit/fields", "core: size of fields", fields),
];

fn methods(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(204))?;
    let mut probe = reach(context, &origin)?;
    let names = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    let sent: Vec<(usize, &str)> = names.into_iter().enumerate().filter(|(_, name)| *name != "CONNECT").collect();
    for (number, name) in &sent {
        let request = probe.request(&origin.authority(), "/", &[])?;
        let set = "[method]outgoing-request.set-method";
        check_eq!(probe.call(set, &[request, *number as u64, 0, 0])?, 0, "`set-method` to {name}");
        let response = probe.exchange(request)?;
        probe.call("[resource-drop]incoming-response", &[response])?;
    }
    // A name in lower case is another method; one that has a case of its own is the same, however it was set.
    for name in ["get", "PATCH"] {
        let request = probe.request(&origin.authority(), "/", &[])?;
        let [ptr, len] = probe.bytes(name)?;
        let answer = probe.call("[method]outgoing-request.set-method", &[request, 9, ptr, len])?;
        check_eq!(answer, 0, "`set-method` to another, {name}");
        probe.exchange(request)?;
    }
    let received: Vec<String> = origin.requests().into_iter().map(|request| request.method).collect();
    let expected: Vec<&str> = sent.iter().map(|(_, name)| *name).chain(["get", "PATCH"]).collect();
    check_eq!(received, expected, "the methods");
    Ok(())
}

fn https(context: &Context) -> CaseResult {
    let ca = TestCa::shared()?;
    let origin = Origin::https(ca, Certificate::Good, &["http/1.1"], |_| Reply::ok("secret"))?;
    let net = context.net().allow(&origin.base()).name("localhost", &[origin.address().ip()]).trust(ca);
    let mut probe = net.wasi02(context)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    check_eq!(probe.call("[method]outgoing-request.set-scheme", &[request, 0, 0, 0, 0])?, 0, "`set-scheme` to none");
    let response = probe.exchange(request)?;
    let (_, stream) = probe.consume(response)?;
    check_eq!(probe.read_all(stream)?, (b"secret".to_vec(), true), "the body");
    Ok(())
}

/// A scheme is the same in capitals, and by its name as by its case.
fn capitals(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(204))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let [ptr, len] = probe.bytes("HTTP")?;
    check_eq!(probe.call("[method]outgoing-request.set-scheme", &[request, 1, 2, ptr, len])?, 0, "`set-scheme`");
    probe.exchange(request)?;
    Ok(())
}

fn host(context: &Context) -> CaseResult {
    let origin = Origin::raw_each(|_| Step::exchange("204 No Content", &["connection: close"], ""))?;
    let name = format!("some.test:{}", origin.port());
    let net = context.net().allow(&origin.base()).allow(&format!("http://{name}"));
    let net = net.policy(|policy| Ok(policy.allow_private_addresses(true)));
    let mut probe = net.name("some.test", &[origin.address().ip()]).wasi02(context)?;
    for authority in [origin.authority(), name] {
        let request = probe.request(&authority, "/", &[])?;
        probe.exchange(request)?;
        let received = origin.requests().pop().ok_or_else(|| Unmet::failed("no request arrived"))?;
        check_eq!(received.all("host"), [authority.as_bytes()], "the values of Host");
        check_eq!(received.target, "/", "the target");
    }
    Ok(())
}

fn paths(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(204))?;
    let mut probe = reach(context, &origin)?;
    for (path, target) in [("/a%20b?c=%2F&d", "/a%20b?c=%2F&d"), ("", "/"), ("?q", "/?q"), ("/a//b/", "/a//b/")] {
        let request = probe.request(&origin.authority(), path, &[])?;
        probe.exchange(request).map_err(|unmet| unmet.context(format_args!("the path {path:?}")))?;
        let received = origin.requests().pop().map(|request| request.target);
        check_eq!(received.as_deref(), Some(target), "the target of the path {path:?}");
    }
    let request = probe.request(&origin.authority(), "/", &[])?;
    check_eq!(probe.call("[method]outgoing-request.set-path-with-query", &[request, 0, 0, 0])?, 0, "no path");
    probe.exchange(request).map_err(|unmet| unmet.context("no path"))?;
    check_eq!(origin.requests().pop().map(|request| request.target).as_deref(), Some("/"), "the target of no path");
    let before = origin.requests().len();
    for path in ["*", "relative"] {
        let request = probe.request(&origin.authority(), "/", &[])?;
        if probe.set(request, "path-with-query", path)? == 0 {
            check_eq!(probe.fails(request)?, URI_INVALID, "the error code of the path {path:?}");
        }
    }
    check_eq!(origin.requests().len(), before, "the requests that arrived");
    Ok(())
}

fn parts(context: &Context) -> CaseResult {
    let mut probe = Wasi02::http(context, GuestConfig::default())?;
    let fields = probe.fields(&[])?;
    let request = probe.call("[constructor]outgoing-request", &[fields])?;
    probe.case("[method]outgoing-request.method", &[request])?;
    check_eq!(probe.byte(0)?, 0, "the first method, which is GET");
    for part in ["path-with-query", "scheme", "authority"] {
        check_eq!(probe.case(&format!("[method]outgoing-request.{part}"), &[request])?, 0, "the first {part}");
    }
    // What was set by its name is read back by its name, though there is a case for it.
    for name in ["PATCH", "Patch"] {
        let [ptr, len] = probe.bytes(name)?;
        check_eq!(probe.call("[method]outgoing-request.set-method", &[request, 9, ptr, len])?, 0, "`set-method`");
        check_eq!(probe.case("[method]outgoing-request.method", &[request])?, 9, "the number of {name}");
        check_eq!(probe.string_at(RET + 4)?, name.as_bytes(), "the name of the method");
    }
    let [ptr, len] = probe.bytes("HTTPS")?;
    check_eq!(probe.call("[method]outgoing-request.set-scheme", &[request, 1, 2, ptr, len])?, 0, "`set-scheme`");
    check_eq!(probe.case("[method]outgoing-request.scheme", &[request])?, 1, "whether there is a scheme");
    check_eq!(probe.byte(4)?, 2, "the number of the scheme");
    check_eq!(probe.string_at(RET + 8)?, b"HTTPS", "the name of the scheme");
    for (part, value) in [("path-with-query", "/a?b"), ("authority", "example.com:81")] {
        check_eq!(probe.set(request, part, value)?, 0, "the answer of setting {part}");
        check_eq!(probe.case(&format!("[method]outgoing-request.{part}"), &[request])?, 1, "whether there is a {part}");
        check_eq!(probe.string_at(RET + 4)?, value.as_bytes(), "the {part}");
    }
    Ok(())
}

fn trailers(context: &Context) -> CaseResult {
    let origin = Origin::raw(Step::exchange("200 OK", &[], ""))?;
    let mut probe = reach(context, &origin)?;
    let (future, body, stream) = posting(&mut probe, &origin, &[("Trailer", "x-sum, x-more")])?;
    check_eq!(probe.write(stream, b"body")?, 0, "the answer of a write");
    let trailers = [("x-sum", "1"), ("x-more", "2"), ("x-more", "3")];
    check_eq!(probe.finish_with(body, stream, &trailers)?, None, "the error of `finish`");
    check!(probe.response(future)?.is_ok(), "the request failed");
    let received = origin.request()?;
    check_eq!(received.body, b"body", "the body");
    let mut arrived = received.trailers.clone();
    arrived.sort();
    let expected = [("x-more", "2"), ("x-more", "3"), ("x-sum", "1")];
    check_eq!(arrived, expected.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())), "the trailers");
    Ok(())
}

fn no_body(context: &Context) -> CaseResult {
    for (number, length) in [(0, None), (2, Some("0")), (3, Some("0")), (4, None)] {
        let origin = Origin::replying(Reply::status(204))?;
        let mut probe = reach(context, &origin)?;
        let request = probe.request(&origin.authority(), "/", &[])?;
        probe.call("[method]outgoing-request.set-method", &[request, number, 0, 0])?;
        probe.exchange(request)?;
        let received = origin.request()?;
        check_eq!(received.header("content-length"), length, "the content-length of a {}", received.method);
        check_eq!(received.header("transfer-encoding"), None, "the transfer-encoding of a {}", received.method);
    }
    Ok(())
}

/// A guest that traps, or ends, in the middle of a request's body has not sent a whole one.
fn guest_ends(context: &Context) -> CaseResult {
    for traps in [true, false] {
        let origin = Origin::replying(Reply::status(200))?;
        let mut probe = reach(context, &origin)?;
        let (_, _, stream) = posting(&mut probe, &origin, &[])?;
        check_eq!(probe.write(stream, b"part")?, 0, "the answer of a write");
        check!(origin.wait_until(|origin| origin.open() == 1), "no connection came");
        if traps {
            probe.traps("[method]fields.clone", &[77], "not an open handle")?;
        } else {
            drop(probe);
        }
        check!(origin.wait_until(|origin| origin.open() == 0), "the connection stayed open");
        check_eq!(origin.requests().len(), 0, "the requests that arrived whole");
    }
    Ok(())
}

fn never_sent(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let (body, stream) = probe.produce(request)?;
    check_eq!(probe.write(stream, b"nobody reads this")?, 0, "the answer of a write");
    probe.call("[resource-drop]outgoing-request", &[request])?;
    check_eq!(probe.write(stream, b"x")?, 1, "the answer of a write after the request has gone");
    check_eq!(probe.byte(4)?, 1, "whether the stream is closed");
    probe.call("[resource-drop]output-stream", &[stream])?;
    probe.call("[resource-drop]outgoing-body", &[body])?;
    check_eq!((probe.probe.session.open_handles(), origin.accepted()), (0, 0), "the open handles and connections");
    Ok(())
}

/// Sends a request of this method; gives the status and the body.
fn fetch(probe: &mut Wasi02, origin: &Origin, method: u64) -> CaseResult<(u64, Vec<u8>)> {
    let request = probe.request(&origin.authority(), "/", &[])?;
    probe.call("[method]outgoing-request.set-method", &[request, method, 0, 0])?;
    let response = probe.exchange(request)?;
    let status = probe.call("[method]incoming-response.status", &[response])?;
    let (_, stream) = probe.consume(response)?;
    let (body, well) = probe.read_all(stream)?;
    check!(well, "the body broke off after {} bytes", body.len());
    Ok((status, body))
}

fn head(context: &Context) -> CaseResult {
    let origin = sending("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")?;
    check_eq!(fetch(&mut reach(context, &origin)?, &origin, 1)?, (200, vec![]), "the answer to a HEAD");
    Ok(())
}

fn bodiless(context: &Context) -> CaseResult {
    for (line, status) in [("204 No Content", 204), ("304 Not Modified\r\ncontent-length: 1000", 304)] {
        let origin = sending(&format!("HTTP/1.1 {line}\r\n\r\n"))?;
        check_eq!(fetch(&mut reach(context, &origin)?, &origin, 0)?, (status, vec![]), "the answer {line:?}");
    }
    Ok(())
}

fn interim(context: &Context) -> CaseResult {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n";
    let origin = sending(&format!("{interim}HTTP/1.1 201 Created\r\ncontent-length: 4\r\n\r\nbody"))?;
    check_eq!(fetch(&mut reach(context, &origin)?, &origin, 0)?, (201, b"body".to_vec()), "the answer");
    Ok(())
}

/// The entries of the trailers that follow a response's body.
fn trailers_after(context: &Context, lines: &str) -> CaseResult<Vec<(String, String)>> {
    let origin = sending(&format!("{CHUNKED}0\r\n{lines}\r\n"))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let response = probe.exchange(request)?;
    let body = probe.ok("[method]incoming-response.consume", &[response])?;
    take_trailers(&mut probe, body)?.map_err(|code| Unmet::failed(format!("the trailers are error code {code}")))
}

fn forbidden_trailers(context: &Context) -> CaseResult {
    let lines = "x-end: 1\r\nconnection: x-hop\r\nx-hop: 1\r\nupgrade: h2c\r\nhost: evil.test\r\nkeep-alive: 1\r\n";
    check_eq!(trailers_after(context, lines)?, [("x-end".to_owned(), "1".to_owned())], "the trailers");
    Ok(())
}

fn no_trailers(context: &Context) -> CaseResult {
    check_eq!(trailers_after(context, "")?, [], "the trailers where there are none");
    Ok(())
}

fn forbidden_headers(context: &Context) -> CaseResult {
    let lines = "connection: x-hop, close\r\nx-hop: 1\r\nkeep-alive: 1\r\nproxy-authenticate: x\r\nupgrade: h2c\r\n\
                 host: evil.test\r\nx-own: 1\r\n";
    let origin = sending(&format!("HTTP/1.1 200 OK\r\n{lines}transfer-encoding: chunked\r\n\r\n0\r\n\r\n"))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let response = probe.exchange(request)?;
    let headers = probe.call("[method]incoming-response.headers", &[response])?;
    check_eq!(probe.entries(headers)?, [("x-own".to_owned(), "1".to_owned())], "the headers");
    Ok(())
}

fn coding(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("no gzip at all").header("content-encoding", "gzip"))?;
    let mut probe = reach(context, &origin)?;
    check_eq!(fetch(&mut probe, &origin, 0)?, (200, b"no gzip at all".to_vec()), "the answer");
    check_eq!(origin.request()?.header("accept-encoding"), None, "the Accept-Encoding that the guest did not set");
    Ok(())
}

fn redirect(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::redirect(302, "/elsewhere"))?;
    for redirects in [Redirects::Manual, Redirects::Follow(10)] {
        let net = context.net().allow(&origin.base()).redirects(redirects);
        check_eq!(fetch(&mut net.wasi02(context)?, &origin, 0)?.0, 302, "the status with {redirects:?}");
    }
    check_eq!(origin.requests().len(), 2, "the requests");
    Ok(())
}

fn large(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("").body(Body::Filler(2 << 20)))?;
    let (_, body) = fetch(&mut reach(context, &origin)?, &origin, 0)?;
    check!(body.len() == 2 << 20 && body.iter().all(|byte| *byte == b'x'), "{} bytes came", body.len());
    Ok(())
}

fn dropped(context: &Context) -> CaseResult {
    for consume in [false, true] {
        let origin = Origin::replying(Reply::ok("").body(Body::Endless))?;
        let mut probe = reach(context, &origin)?;
        let request = probe.request(&origin.authority(), "/", &[])?;
        let response = probe.exchange(request)?;
        check_eq!(origin.open(), 1, "the connections that are open");
        if consume {
            let (body, stream) = probe.consume(response)?;
            probe.call("[resource-drop]input-stream", &[stream])?;
            probe.call("[resource-drop]incoming-body", &[body])?;
        }
        probe.call("[resource-drop]incoming-response", &[response])?;
        check!(origin.wait_until(|origin| origin.open() == 0), "the connection stayed open");
    }
    Ok(())
}

const TIMEOUTS: [&str; 3] = ["connect-timeout", "first-byte-timeout", "between-bytes-timeout"];

fn none_at_first(context: &Context) -> CaseResult {
    let mut probe = Wasi02::http(context, GuestConfig::default())?;
    let options = probe.call("[constructor]request-options", &[])?;
    for name in TIMEOUTS {
        let (read, set) = (format!("[method]request-options.{name}"), format!("[method]request-options.set-{name}"));
        check_eq!(probe.case(&read, &[options])?, 0, "the {name} at first");
        check_eq!(probe.call(&set, &[options, 1, u64::MAX])?, 0, "the answer of setting the {name}");
        check_eq!((probe.case(&read, &[options])?, probe.probe.u64_at(RET + 8)?), (1, u64::MAX), "the {name}");
        check_eq!(probe.call(&set, &[options, 0, 0])?, 0, "the answer of taking the {name} back");
        check_eq!(probe.case(&read, &[options])?, 0, "the {name} in the end");
    }
    probe.call("[resource-drop]request-options", &[options])?;
    Ok(())
}

/// Sends a request with one timeout of so many nanoseconds; gives the future.
fn send_with(probe: &mut Wasi02, origin: &Origin, name: &str, nanoseconds: u64) -> CaseResult<u64> {
    let options = probe.call("[constructor]request-options", &[])?;
    let set = format!("[method]request-options.set-{name}");
    check_eq!(probe.call(&set, &[options, 1, nanoseconds])?, 0, "the answer of setting the {name}");
    let request = probe.request(&origin.authority(), "/", &[])?;
    check_eq!(probe.case("handle", &[request, 1, options])?, 0, "the answer of `handle`");
    Ok(probe.word(8)?.into())
}

const SHORT: u64 = 100_000_000;

fn connect_timeout(context: &Context) -> CaseResult {
    let origin = Origin::unconnectable()?;
    let mut probe = reach(context, &origin)?;
    let future = send_with(&mut probe, &origin, TIMEOUTS[0], SHORT)?;
    check_eq!(probe.response(future)?, Err(CONNECTION_TIMEOUT), "the response");
    Ok(())
}

fn between_bytes(context: &Context) -> CaseResult {
    let answer = Step::text("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbody");
    let origin = Origin::raw(vec![Step::ReadRequest, answer, Step::Hold])?;
    let mut probe = reach(context, &origin)?;
    let future = send_with(&mut probe, &origin, TIMEOUTS[2], SHORT)?;
    let response = probe.response(future)?.map_err(|code| Unmet::failed(format!("error code {code}")))?;
    let (_, stream) = probe.consume(response)?;
    check_eq!(probe.read_all(stream)?, (b"body".to_vec(), false), "the body, and whether it ended well");
    check_eq!(probe.stream_failure()?, READ_TIMEOUT, "the error code");
    Ok(())
}

/// A guest that asks for an hour gets what the host gives.
fn bounded(context: &Context) -> CaseResult {
    let origin = Origin::raw(vec![Step::ReadRequest, Step::Hold])?;
    let net = context.net().allow(&origin.base());
    let mut probe = net.limits(|limits| limits.first_byte_timeout = Duration::from_nanos(SHORT)).wasi02(context)?;
    let future = send_with(&mut probe, &origin, TIMEOUTS[1], 3_600_000_000_000)?;
    check_eq!(probe.response(future)?, Err(RESPONSE_TIMEOUT), "the response");
    Ok(())
}

/// Calls a function until the guest is ended, which must be for a limit.
fn until_the_limit(mut call: impl FnMut() -> Result<Vec<u64>, Stop>) -> CaseResult {
    for _ in 0..100_000 {
        match call() {
            Ok(_) => {}
            Err(Stop::Error(error)) if error.kind() == Kind::Limit => return Ok(()),
            Err(stop) => return Err(stop.into()),
        }
    }
    Err(Unmet::failed("a hundred thousand calls met no limit"))
}

fn handles(context: &Context) -> CaseResult {
    let mut probe = Wasi02::http(context, GuestConfig::default())?;
    until_the_limit(|| probe.probe.try_call("[constructor]fields", &[]))
}

fn fields(context: &Context) -> CaseResult {
    let mut probe = Wasi02::http(context, GuestConfig::default())?;
    let fields = probe.fields(&[])?;
    let [name, len] = probe.bytes("a")?;
    probe.probe.put(0x1_0000, &[b'v'; 1000])?;
    let arguments = [fields, name, len, 0x1_0000, 1000, RET.into()];
    until_the_limit(|| probe.probe.try_call("[method]fields.append", &arguments))?;
    // The same at once.
    let mut probe = Wasi02::http(context, GuestConfig::default())?;
    let [name, len] = probe.bytes("a")?;
    let entry: Vec<u8> = [name, len, 0x1_0000, 1000].iter().flat_map(|word| (*word as u32).to_le_bytes()).collect();
    probe.probe.put(0x1_0000, &[b'v'; 1000])?;
    probe.probe.put(0x1_8000, &entry.repeat(500))?;
    until_the_limit(|| probe.probe.try_call("[static]fields.from-list", &[0x1_8000, 500, RET.into()]))
}
