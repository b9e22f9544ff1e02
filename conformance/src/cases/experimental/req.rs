//! `req`: what the guest asks for is what the origin gets, and what it answers is what the guest sees.

use super::code::{INVALID_ENCODING, SUCCESS};
use super::{answers, code};
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::origin::{Origin, Reply, Step};
use crate::probe::{CANARY, Req, at};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("experimental/req/get", "wasi_experimental_http: req", get),
    Case::must("experimental/req/status-is-two-bytes", "wasi_experimental_http: req, status_out", status_two_bytes),
    Case::must("experimental/req/every-status", "wasi_experimental_http: req, status_out", every_status),
    Case::must("experimental/req/unaligned-outs", "wasi_experimental_http: req, status_out, handle_out", unaligned),
    Case::must("experimental/req/methods-arrive-whole", "wasi_experimental_http: req, method", methods),
    Case::must("experimental/req/own-method", "wasi_experimental_http: req, method", own_method),
    Case::must("experimental/req/body-arrives", "wasi_experimental_http: req, body", body_arrives),
    Case::should("experimental/req/empty-post", "RFC 9110, 8.6: content-length of an empty POST", empty_post),
    Case::must("experimental/req/query-and-escapes", "wasi_experimental_http: req, url", query_and_escapes),
    Case::must("experimental/req/fragment-stays-here", "wasi_experimental_http: req, url", fragment),
    Case::must("experimental/req/header-lines", "wasi_experimental_http: headers on the wire", header_lines),
    Case::must("experimental/req/header-crlf", "wasi_experimental_http: headers on the wire", header_crlf),
    Case::must("experimental/req/header-first-colon", "wasi_experimental_http: headers on the wire", first_colon),
    Case::must("experimental/req/header-without-outer-whitespace", "RFC 9110, section 5.5", outer_whitespace),
    Case::must("experimental/req/header-empty-value", "wasi_experimental_http: headers on the wire", empty_value),
    Case::must("experimental/req/no-headers", "wasi_experimental_http: headers on the wire", no_headers),
    Case::must("experimental/req/header-bad-name", "wasi_experimental_http: error 9", |c| {
        bad_header(c, "bad name:1\n")
    }),
    Case::must("experimental/req/header-no-name", "wasi_experimental_http: error 9", |c| bad_header(c, ":1\n")),
    Case::must("experimental/req/header-bad-value", "wasi_experimental_http: error 9", |c| {
        bad_header(c, "x-a:\u{1}\n")
    }),
    Case::must("experimental/req/header-utf8-value", "wasi_experimental_http: headers on the wire", utf8_value),
    Case::must("experimental/req/header-smuggling", "wasi_experimental_http: error 9", smuggling),
    Case::must("experimental/req/head-request", "wasi_experimental_http: req, method", head_request),
    Case::must("experimental/req/hundred-in-a-row", "wasi_experimental_http: req", hundred),
    Case::must("experimental/req/after-memory-grew", "wasi_experimental_http: req", after_memory_grew),
    Case::must("experimental/req/connect-is-refused", "wasi_experimental_http: error 8", connect_is_refused),
];

fn get(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("hello"))?;
    let mut probe = context.http_probe(&origin)?;
    let (status, handle) = probe.open(&Req::get(&origin.url("/path")))?;
    check_eq!(status, 200, "the status");
    check_eq!(probe.read_all(handle)?, b"hello", "the body");
    let request = origin.request()?;
    check_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/path"), "what the origin received");
    check_eq!(request.authority, origin.authority(), "the host header");
    check!(request.body.is_empty(), "a GET without a body was sent with {} bytes", request.body.len());
    Ok(())
}

/// A guest keeps the two bytes in a `u16`: a third byte written would be its neighbour's.
fn status_two_bytes(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(418))?;
    let mut probe = context.http_probe(&origin)?;
    probe.open(&Req::get(&origin.url("/")))?;
    let around = probe.probe.bytes(at::STATUS - 2, 6)?;
    check_eq!(around, [CANARY, CANARY, 0xa2, 0x01, CANARY, CANARY], "the status 418 and the bytes around it");
    let around = probe.probe.bytes(at::HANDLE - 2, 8)?;
    check_eq!(around, [CANARY, CANARY, 0, 0, 0, 0, CANARY, CANARY], "the handle 0 and the bytes around it");
    Ok(())
}

fn every_status(context: &Context) -> CaseResult {
    const ALL: [u16; 10] = [200, 201, 204, 304, 400, 404, 429, 500, 503, 599];
    let origin = Origin::http(|request| Reply::status(request.target.trim_start_matches('/').parse().unwrap_or(500)))?;
    let mut probe = context.http_probe(&origin)?;
    for right in ALL {
        let (status, handle) = probe.open(&Req::get(&origin.url(&format!("/{right}"))))?;
        check_eq!(status, right, "the status");
        probe.close(handle)?;
    }
    Ok(())
}

fn unaligned(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(201))?;
    let mut probe = context.http_probe(&origin)?;
    for offset in 0..4 {
        let url = origin.url("/");
        let mut args = probe.lay_out(&Req::get(&url))?;
        args.status_out = at::STATUS + offset;
        args.handle_out = at::HANDLE + offset;
        answers(probe.call_req(&args)?, SUCCESS, "`req` with unaligned out-pointers")?;
        check_eq!(probe.probe.u16_at(args.status_out)?, 201, "the status");
        check_eq!(probe.probe.u32_at(args.handle_out)?, offset, "the handle");
    }
    Ok(())
}

fn methods(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = context.http_probe(&origin)?;
    let all = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"];
    for method in all {
        let (_, handle) = probe.open(&Req::get(&origin.url("/")).method(method))?;
        probe.close(handle)?;
    }
    let seen: Vec<String> = origin.requests().into_iter().map(|request| request.method).collect();
    check_eq!(seen, all, "the methods the origin received");
    Ok(())
}

fn own_method(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    context.http_probe(&origin)?.open(&Req::get(&origin.url("/")).method("x-Purge!"))?;
    check_eq!(origin.request()?.method, "x-Purge!", "a method of the guest's own");
    Ok(())
}

fn body_arrives(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = context.http_probe(&origin)?;
    let body: Vec<u8> = (0..10_000u32).map(|index| index.to_le_bytes()[0]).collect();
    probe.open(&Req::get(&origin.url("/")).method("POST").body(&body))?;
    let request = origin.request()?;
    check!(request.body == body, "10000 bytes were sent, and {} others arrived", request.body.len());
    check_eq!(request.header("content-length"), Some("10000"), "the content-length");
    Ok(())
}

fn empty_post(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    context.http_probe(&origin)?.open(&Req::get(&origin.url("/")).method("POST"))?;
    let request = origin.request()?;
    check_eq!(request.body.len(), 0, "the length of the body");
    check_eq!(request.header("content-length"), Some("0"), "the content-length of a POST without a body");
    Ok(())
}

fn query_and_escapes(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let target = "/a%20b/%C3%BC/c;d=1?x=1&y=a+b%26&x=2";
    context.http_probe(&origin)?.open(&Req::get(&origin.url(target)))?;
    check_eq!(origin.request()?.target, target, "the request target");
    Ok(())
}

fn fragment(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    context.http_probe(&origin)?.open(&Req::get(&origin.url("/page?q#secret")))?;
    check_eq!(origin.request()?.target, "/page?q", "the request target of a URL with a fragment");
    Ok(())
}

/// Sends these header lines to a raw origin and gives back all values of `name`, as they were sent.
fn sent(context: &Context, lines: &str, name: &str) -> CaseResult<Vec<String>> {
    let origin = Origin::raw(Step::exchange("200 OK", &[], ""))?;
    context.http_probe(&origin)?.open(&Req::get(&origin.url("/")).headers(lines))?;
    let request = origin.request()?;
    Ok(request.all(name).into_iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect())
}

fn header_lines(context: &Context) -> CaseResult {
    let lines = "x-first:1\nX-Second:two words\nx-last:3\n";
    check_eq!(sent(context, lines, "x-first")?, ["1"], "x-first");
    check_eq!(sent(context, lines, "x-second")?, ["two words"], "x-second");
    check_eq!(sent(context, lines.trim_end(), "x-last")?, ["3"], "x-last, without a line end after it");
    Ok(())
}

fn header_crlf(context: &Context) -> CaseResult {
    check_eq!(sent(context, "x-a:1\r\nx-b:2\r\n", "x-a")?, ["1"], "a header on a line that ends with CR LF");
    check_eq!(sent(context, "x-a:1\r\nx-b:2\r\n", "x-b")?, ["2"], "the header after it");
    Ok(())
}

fn first_colon(context: &Context) -> CaseResult {
    check_eq!(sent(context, "x-url:http://a:80/b:c\n", "x-url")?, ["http://a:80/b:c"], "a value with colons");
    Ok(())
}

fn outer_whitespace(context: &Context) -> CaseResult {
    check_eq!(sent(context, "x-a: b \n", "x-a")?, ["b"], "a value that starts with a space");
    Ok(())
}

fn empty_value(context: &Context) -> CaseResult {
    check_eq!(sent(context, "x-empty:\nx-b:1\n", "x-empty")?, [""], "a header without a value");
    Ok(())
}

fn utf8_value(context: &Context) -> CaseResult {
    check_eq!(sent(context, "x-a:ü\n", "x-a")?, ["ü"], "a value in UTF-8");
    Ok(())
}

fn no_headers(context: &Context) -> CaseResult {
    let origin = Origin::raw(Step::exchange("200 OK", &[], ""))?;
    context.http_probe(&origin)?.open(&Req::get(&origin.url("/")))?;
    let request = origin.request()?;
    let mut names: Vec<String> = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    // A transport may say what it accepts; anything more would tell the origin of the host.
    names.retain(|name| !["accept", "host"].contains(&name.as_str()));
    check_eq!(names, Vec::<String>::new(), "headers that the guest did not send");
    Ok(())
}

fn bad_header(context: &Context, lines: &str) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = context.http_probe(&origin)?;
    answers(
        probe.req(&Req::get(&origin.url("/")).headers(lines))?,
        INVALID_ENCODING,
        &format!("`req` with {lines:?}"),
    )?;
    check_eq!(origin.requests().len(), 0, "requests that reached the origin");
    Ok(())
}

/// A lone CR inside a value, or a NUL, would end the header for some origins.
fn smuggling(context: &Context) -> CaseResult {
    for lines in ["x-a:1\rx-b:2\n", "x-a:1\0\n", "x-a\r:1\n", "x-a\t:1\n"] {
        bad_header(context, lines)?;
    }
    Ok(())
}

fn head_request(context: &Context) -> CaseResult {
    let origin =
        Origin::raw(vec![Step::ReadRequest, Step::text("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\nx-a: 1\r\n\r\n")])?;
    let mut probe = context.http_probe(&origin)?;
    let (status, handle) = probe.open(&Req::get(&origin.url("/")).method("HEAD"))?;
    check_eq!(status, 200, "the status");
    check_eq!(probe.header(handle, b"content-length", 10)?, (0, b"1000".to_vec()), "the content-length");
    check_eq!(probe.read_all(handle)?.len(), 0, "the length of the body of an answer to HEAD");
    Ok(())
}

fn hundred(context: &Context) -> CaseResult {
    let origin = Origin::http(|request| Reply::ok(request.target.clone()))?;
    let mut probe = context.http_probe(&origin)?;
    for number in 0..100 {
        let path = format!("/{number}");
        let (_, handle) = probe.open(&Req::get(&origin.url(&path)))?;
        check_eq!(probe.read_all(handle)?, path.as_bytes(), "the body of request {number}");
        probe.close(handle)?;
    }
    check_eq!(probe.probe.session.open_responses(), 0, "responses left open");
    Ok(())
}

/// Pointers into pages that were added between two calls are good.
fn after_memory_grew(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("grown"))?;
    let mut probe = context.http_probe(&origin)?;
    let url = origin.url("/");
    probe.open(&Req::get(&url))?;
    let mut args = probe.lay_out(&Req::get(&url))?;
    args.handle_out = at::END;
    answers(probe.call_req(&args)?, code::MEMORY_ACCESS, "`req` with handle_out beyond the memory")?;
    check_eq!(probe.probe.call_i32("grow", &[2])?, 1, "the size before growing, in pages");
    let mut args = probe.lay_out(&Req::get(&url))?;
    probe.probe.put(at::END + 100, url.as_bytes())?;
    args.url.0 = at::END + 100;
    args.status_out = at::END + 65_534;
    args.handle_out = 3 * at::END - 4;
    answers(probe.call_req(&args)?, SUCCESS, "`req` with everything in the new pages")?;
    check_eq!(probe.probe.u16_at(args.status_out)?, 200, "a status across two new pages' border");
    check_eq!(probe.probe.u32_at(args.handle_out)?, 1, "a handle in the last four bytes");
    Ok(())
}

/// It would make a tunnel through which the policy sees nothing.
fn connect_is_refused(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = context.http_probe(&origin)?;
    answers(probe.req(&Req::get(&origin.url("/")).method("CONNECT"))?, code::INVALID_METHOD, "`req` with CONNECT")?;
    check_eq!(origin.requests().len(), 0, "requests that reached the origin");
    Ok(())
}
