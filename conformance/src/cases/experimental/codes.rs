//! Each error code of the ABI, by the shortest way to it.

use std::sync::Arc;

use wharf_core::Run;
use wharf_core::abi::experimental::{FUNCTIONS, Http};
use wharf_core::http::{ALLOW_ALL, Body, HttpError, HttpErrorKind, Timeouts, Transport};

use super::answers;
use super::code::{
    BUFFER_TOO_SMALL, HEADER_NOT_FOUND, INVALID_ENCODING, INVALID_HANDLE, INVALID_METHOD, INVALID_URL, MEMORY_ACCESS,
    MEMORY_NOT_FOUND, NOT_ALLOWED, NOT_UTF8, REQUEST_FAILED, RUNTIME_ERROR, TOO_MANY_SESSIONS,
};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::origin::{Origin, Reply, Step};
use crate::probe::{HttpProbe, Req, Wat, at};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("experimental/code/1-invalid-handle", "wasi_experimental_http: error 1", invalid_handle),
    Case::must("experimental/code/2-memory-not-found", "wasi_experimental_http: error 2", memory_not_found),
    Case::must("experimental/code/3-memory-access", "wasi_experimental_http: error 3", memory_access),
    Case::must("experimental/code/4-buffer-too-small", "wasi_experimental_http: error 4", buffer_too_small),
    Case::must("experimental/code/5-header-not-found", "wasi_experimental_http: error 5", header_not_found),
    Case::must("experimental/code/6-url-not-utf8", "wasi_experimental_http: error 6", url_not_utf8),
    Case::must("experimental/code/6-method-not-utf8", "wasi_experimental_http: error 6", method_not_utf8),
    Case::must("experimental/code/6-headers-not-utf8", "wasi_experimental_http: error 6", headers_not_utf8),
    Case::must("experimental/code/6-name-not-utf8", "wasi_experimental_http: error 6", name_not_utf8),
    Case::must("experimental/code/7-not-allowed", "wasi_experimental_http: error 7", not_allowed),
    Case::must("experimental/code/7-nothing-granted", "wasi_experimental_http: error 7", nothing_granted),
    Case::must("experimental/code/8-invalid-method", "wasi_experimental_http: error 8", invalid_method),
    Case::must("experimental/code/9-invalid-encoding", "wasi_experimental_http: error 9", invalid_encoding),
    Case::must("experimental/code/10-invalid-url", "wasi_experimental_http: error 10", invalid_url),
    Case::must("experimental/code/11-refused", "wasi_experimental_http: error 11", refused),
    Case::must("experimental/code/11-closed-without-answer", "wasi_experimental_http: error 11", |c| {
        fails(c, vec![Step::ReadRequest])
    }),
    Case::must("experimental/code/11-reset", "wasi_experimental_http: error 11", |c| {
        fails(c, vec![Step::ReadRequest, Step::Reset])
    }),
    Case::must("experimental/code/11-no-http", "wasi_experimental_http: error 11", |c| {
        fails(c, vec![Step::ReadRequest, Step::text("220 mail.example ESMTP\r\n\r\n")])
    }),
    Case::must("experimental/code/11-bad-status", "wasi_experimental_http: error 11", |c| {
        fails(c, vec![Step::ReadRequest, Step::text("HTTP/1.1 2OO OK\r\n\r\n")])
    }),
    Case::must("experimental/code/11-half-a-head", "wasi_experimental_http: error 11", |c| {
        fails(c, vec![Step::ReadRequest, Step::text("HTTP/1.1 200 OK\r\nx-a: 1\r\nx-b")])
    }),
    Case::must("experimental/code/11-two-content-lengths", "wasi_experimental_http: error 11", |c| {
        fails(
            c,
            vec![
                Step::ReadRequest,
                Step::text("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd"),
            ],
        )
    }),
    Case::must("experimental/code/12-host-failed", "wasi_experimental_http: error 12", host_failed),
    Case::must("experimental/code/13-too-many-sessions", "wasi_experimental_http: error 13", too_many_sessions),
];

/// An origin and a probe that may reach it.
fn pair(context: &Context) -> CaseResult<(Origin, HttpProbe)> {
    let origin = Origin::replying(Reply::ok("body").header("x-a", "value"))?;
    let probe = context.http_probe(&origin)?;
    Ok((origin, probe))
}

fn invalid_handle(context: &Context) -> CaseResult {
    let mut probe = HttpProbe::start(context, wharf_core::GuestConfig::default())?;
    for handle in [0, 1, 7, 0x7fff_ffff, 0xffff_ffff] {
        answers(probe.header(handle, b"x-a", 10)?.0, INVALID_HANDLE, "`header_get`")?;
        answers(probe.headers(handle, 10)?.0, INVALID_HANDLE, "`headers_get_all`")?;
        answers(probe.read(handle, 10)?.0, INVALID_HANDLE, "`body_read`")?;
    }
    Ok(())
}

/// Through an embedder's own linker, where core does not see the module beforehand.
fn memory_not_found(context: &Context) -> CaseResult {
    let outbound = context.net().allow(ALLOW_ALL).limits(|limits| limits.open_responses = 0).outbound()?;
    let http = Http::new(outbound, Run::default());
    let names = ["req", "close", "header_get", "headers_get_all", "header_get_all", "body_read"];
    // Before the count of open responses, which is at its limit here.
    for memory in ["", "(memory 1)", r#"(memory (export "mem") 1)"#] {
        let http = http.clone();
        let wat = HttpProbe::imports(Wat::bare()).field(memory).text();
        let mut live = context.live_with(&wat, move |index, caller, slots| {
            let function = FUNCTIONS
                .iter()
                .find(|function| function.name == names[index])
                .ok_or_else(|| crate::bare::internal("a function of the ABI is missing"))?;
            (function.call)(&http, caller, slots)
        })?;
        for (function, arguments) in [("req", 10), ("header_get", 6), ("headers_get_all", 4), ("body_read", 4)] {
            check_eq!(
                live.call1(function, &vec![0; arguments])?,
                u64::from(MEMORY_NOT_FOUND),
                "the code of `{function}` with the memory {memory:?}"
            );
        }
        check_eq!(live.call1("close", &[3])?, 0, "the code of `close`, which needs no memory");
    }
    Ok(())
}

fn memory_access(context: &Context) -> CaseResult {
    let (origin, mut probe) = pair(context)?;
    let url = origin.url("/");
    let mut args = probe.lay_out(&Req::get(&url))?;
    args.status_out = at::END - 1;
    answers(probe.call_req(&args)?, MEMORY_ACCESS, "`req` whose status does not fit the memory")
}

fn buffer_too_small(context: &Context) -> CaseResult {
    let (origin, mut probe) = pair(context)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    answers(probe.header(handle, b"x-a", 4)?.0, BUFFER_TOO_SMALL, "`header_get` of five bytes into four")?;
    answers(probe.headers(handle, 9)?.0, BUFFER_TOO_SMALL, "`headers_get_all` into nine bytes")
}

fn header_not_found(context: &Context) -> CaseResult {
    let (origin, mut probe) = pair(context)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    for name in [&b"x-b"[..], b"", b"x-a ", b"x a", b"\0", b"x-a:"] {
        answers(probe.header(handle, name, 100)?.0, HEADER_NOT_FOUND, &format!("`header_get` of {name:?}"))?;
    }
    Ok(())
}

/// `req` must answer NOT_UTF8, and nothing may be sent.
fn not_utf8(context: &Context, spoil: impl FnOnce(&mut Req<'_>)) -> CaseResult {
    let (origin, mut probe) = pair(context)?;
    let url = origin.url("/");
    let mut req = Req::get(&url);
    spoil(&mut req);
    answers(probe.req(&req)?, NOT_UTF8, "`req`")?;
    check_eq!(origin.requests().len(), 0, "requests that reached the origin");
    Ok(())
}

fn url_not_utf8(context: &Context) -> CaseResult {
    not_utf8(context, |req| req.url = b"http://127.0.0.1/\xff")
}

fn method_not_utf8(context: &Context) -> CaseResult {
    not_utf8(context, |req| req.method = b"GE\xc3")
}

fn headers_not_utf8(context: &Context) -> CaseResult {
    not_utf8(context, |req| req.headers = b"x-a:\xe9\n")
}

fn name_not_utf8(context: &Context) -> CaseResult {
    let (origin, mut probe) = pair(context)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    answers(probe.header(handle, b"x-\xff", 10)?.0, NOT_UTF8, "`header_get` of a name that is not UTF-8")
}

fn not_allowed(context: &Context) -> CaseResult {
    let (other, mut probe) = pair(context)?;
    let origin = Origin::replying(Reply::ok("secret"))?;
    answers(probe.req(&Req::get(&origin.url("/")))?, NOT_ALLOWED, "`req` to an origin that is not on the list")?;
    check_eq!(origin.accepted(), 0, "connections to it");
    probe.open(&Req::get(&other.url("/")))?;
    Ok(())
}

fn nothing_granted(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("secret"))?;
    let mut empty = context.net().http_probe()?;
    answers(empty.req(&Req::get(&origin.url("/")))?, NOT_ALLOWED, "`req` with an empty list")?;
    let mut none = HttpProbe::start(context, wharf_core::GuestConfig::default())?;
    answers(none.req(&Req::get(&origin.url("/")))?, NOT_ALLOWED, "`req` without a list")?;
    check_eq!(origin.accepted(), 0, "connections to the origin");
    Ok(())
}

fn invalid_method(context: &Context) -> CaseResult {
    let (origin, mut probe) = pair(context)?;
    let url = origin.url("/");
    for method in ["", "GE T", "GET\n", "GET\0", "G(T", "ü"] {
        answers(
            probe.req(&Req::get(&url).method(method))?,
            INVALID_METHOD,
            &format!("`req` with the method {method:?}"),
        )?;
    }
    check_eq!(origin.requests().len(), 0, "requests that reached the origin");
    Ok(())
}

fn invalid_encoding(context: &Context) -> CaseResult {
    let (origin, mut probe) = pair(context)?;
    let url = origin.url("/");
    answers(probe.req(&Req::get(&url).headers("x-a:\u{7f}\n"))?, INVALID_ENCODING, "`req` with a DEL in a header")
}

fn invalid_url(context: &Context) -> CaseResult {
    let mut probe = context.net().allow(ALLOW_ALL).http_probe()?;
    for url in
        ["", " ", "/relative", "127.0.0.1", "http://", "http://:80/", "http://[::1", "http://a b/", "http://a:99999/"]
    {
        answers(probe.req(&Req::get(url))?, INVALID_URL, &format!("`req` for {url:?}"))?;
    }
    Ok(())
}

fn refused(context: &Context) -> CaseResult {
    let origin = Origin::refusing()?;
    let mut probe = context.http_probe(&origin)?;
    answers(probe.req(&Req::get(&origin.url("/")))?, REQUEST_FAILED, "`req` to a port where nobody listens")?;
    check_eq!(probe.probe.session.open_responses(), 0, "responses open after it");
    Ok(())
}

/// `req` to an origin that does this must answer REQUEST_FAILED, and leave nothing behind.
fn fails(context: &Context, script: Vec<Step>) -> CaseResult {
    let origin = Origin::raw(script)?;
    let mut probe = context.http_probe(&origin)?;
    answers(probe.req(&Req::get(&origin.url("/")))?, REQUEST_FAILED, "`req`")?;
    check_eq!(probe.probe.session.open_responses(), 0, "responses open after it");
    Ok(())
}

/// A transport that breaks for a reason of its own.
struct Defective;

#[async_trait::async_trait]
impl Transport for Defective {
    async fn send(&self, _: http::Request<Body>, _: &Timeouts) -> Result<http::Response<Body>, HttpError> {
        Err(HttpError::new(HttpErrorKind::Internal, "the case's transport is defective"))
    }
}

fn host_failed(context: &Context) -> CaseResult {
    let mut probe = context.net().allow("http://127.0.0.1").transport(Arc::new(Defective)).http_probe()?;
    answers(probe.req(&Req::get("http://127.0.0.1/"))?, RUNTIME_ERROR, "`req` through a transport that is defective")
}

fn too_many_sessions(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("body"))?;
    let mut probe = context.net().allow(&origin.base()).limits(|limits| limits.open_responses = 3).http_probe()?;
    let url = origin.url("/");
    for right in 0..3 {
        check_eq!(probe.open(&Req::get(&url))?.1, right, "handle number {right}");
    }
    answers(probe.req(&Req::get(&url))?, TOO_MANY_SESSIONS, "`req` with three responses open, the limit")?;
    check_eq!(origin.requests().len(), 3, "requests that reached the origin");
    probe.close(1)?;
    let (_, handle) = probe.open(&Req::get(&url))?;
    check!(![0, 2].contains(&handle), "the handle {handle} was given while it was open");
    match probe.req(&Req::get(&url))? {
        TOO_MANY_SESSIONS => Ok(()),
        other => Err(Unmet::failed(format!("the limit holds once and then no more: `req` answered {other}"))),
    }
}
