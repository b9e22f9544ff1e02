//! The order of checks in `req`: of two mistakes, the guest learns of the one that comes first.

use wharf_core::http::ALLOW_ALL;

use super::answers;
use super::code::{
    BUFFER_TOO_SMALL, INVALID_ENCODING, INVALID_METHOD, INVALID_URL, MEMORY_ACCESS, NOT_ALLOWED, NOT_UTF8,
    REQUEST_FAILED, TOO_MANY_SESSIONS,
};
use crate::case::{Case, CaseResult};
use crate::check_eq;
use crate::context::Context;
use crate::origin::{Origin, Reply};
use crate::probe::{HttpProbe, Req, ReqArgs, at};

const PROVES: &str = "wasi_experimental_http: order of checks in req";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("experimental/order/room-before-url", PROVES, room_before_url),
    Case::must("experimental/order/url-bytes-before-anything-read", PROVES, url_bytes_first),
    Case::must("experimental/order/url-parsed-before-allowed", PROVES, url_parsed_before_allowed),
    Case::must("experimental/order/allowed-before-method-bytes", PROVES, |c| {
        denied_despite(c, |args| args.method = BEYOND)
    }),
    Case::must("experimental/order/allowed-before-method", PROVES, allowed_before_method),
    Case::must("experimental/order/allowed-before-body", PROVES, |c| denied_despite(c, |args| args.body = BEYOND)),
    Case::must("experimental/order/allowed-before-headers", PROVES, |c| {
        denied_despite(c, |args| args.headers = BEYOND)
    }),
    Case::must("experimental/order/method-before-body", PROVES, method_before_body),
    Case::must("experimental/order/method-before-headers", PROVES, method_before_headers),
    Case::must("experimental/order/method-bytes-before-method", PROVES, method_bytes_before_method),
    Case::must("experimental/order/body-before-headers", PROVES, body_before_headers),
    Case::must("experimental/order/header-bytes-before-encoding", PROVES, header_bytes_before_encoding),
    Case::must("experimental/order/headers-before-send", PROVES, headers_before_send),
    Case::must("experimental/order/send-before-status", PROVES, send_before_status),
    Case::must("experimental/order/status-before-handle", PROVES, status_before_handle),
];

/// A range that leaves the memory.
const BEYOND: (u32, u32) = (at::END - 4, 8);

/// `req` of a good request to an allowed origin, whose arguments are then spoilt.
fn spoilt(context: &Context, req: &Req<'_>, origin: &Origin, spoil: impl FnOnce(&mut ReqArgs)) -> CaseResult<u32> {
    let mut probe = context.http_probe(origin)?;
    spoilt_with(&mut probe, req, spoil)
}

fn spoilt_with(probe: &mut HttpProbe, req: &Req<'_>, spoil: impl FnOnce(&mut ReqArgs)) -> CaseResult<u32> {
    let mut args = probe.lay_out(req)?;
    spoil(&mut args);
    probe.call_req(&args)
}

fn room_before_url(context: &Context) -> CaseResult {
    let mut probe = context.net().allow(ALLOW_ALL).limits(|limits| limits.open_responses = 0).http_probe()?;
    for spoil in [(at::URL, 0), BEYOND] {
        let code = spoilt_with(&mut probe, &Req::get("no url"), |args| args.url = spoil)?;
        answers(code, TOO_MANY_SESSIONS, "`req` with no room and a bad URL")?;
    }
    Ok(())
}

fn url_bytes_first(context: &Context) -> CaseResult {
    let mut probe = context.net().http_probe()?;
    let code = spoilt_with(&mut probe, &Req::get("no url").method("G T"), |args| {
        args.url = BEYOND;
        args.method = BEYOND;
        args.status_out = at::END;
    })?;
    answers(code, BUFFER_TOO_SMALL, "`req` with every range wrong")?;
    let mut req = Req::get("").method("G T");
    req.url = b"\xff";
    answers(probe.req(&req)?, NOT_UTF8, "`req` with a URL that is not UTF-8, and no method")
}

fn url_parsed_before_allowed(context: &Context) -> CaseResult {
    let mut probe = context.net().http_probe()?;
    answers(probe.req(&Req::get("no url"))?, INVALID_URL, "`req` for something that is not a URL, with nothing allowed")
}

/// A denied origin is told as such, whatever else is wrong.
fn denied_despite(context: &Context, spoil: impl FnOnce(&mut ReqArgs)) -> CaseResult {
    let mut probe = context.net().http_probe()?;
    let code = spoilt_with(&mut probe, &Req::get("http://127.0.0.1/"), spoil)?;
    answers(code, NOT_ALLOWED, "`req` to a denied origin, with another mistake")
}

fn allowed_before_method(context: &Context) -> CaseResult {
    let mut probe = context.net().http_probe()?;
    let mut req = Req::get("http://127.0.0.1/").method("G T").headers("no colon");
    answers(probe.req(&req)?, NOT_ALLOWED, "`req` to a denied origin, with a bad method and headers")?;
    req.method = b"\xff";
    req.headers = b"\xff";
    answers(probe.req(&req)?, NOT_ALLOWED, "`req` to a denied origin, with a method that is not UTF-8")
}

fn method_before_body(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let url = origin.url("/");
    let mut req = Req::get(&url).method("G T");
    answers(spoilt(context, &req, &origin, |args| args.body = BEYOND)?, INVALID_METHOD, "`req`: method, then body")?;
    req.method = b"\xff";
    answers(spoilt(context, &req, &origin, |args| args.body = BEYOND)?, NOT_UTF8, "`req`: method bytes, then body")
}

fn method_before_headers(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let url = origin.url("/");
    let mut req = Req::get(&url).method("G T").headers("no colon");
    answers(spoilt(context, &req, &origin, |_| {})?, INVALID_METHOD, "`req`: method, then headers")?;
    req.headers = b"\xff";
    answers(spoilt(context, &req, &origin, |_| {})?, INVALID_METHOD, "`req`: method, then header bytes")
}

fn method_bytes_before_method(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let url = origin.url("/");
    let code = spoilt(context, &Req::get(&url).headers("no colon"), &origin, |args| args.method = BEYOND)?;
    answers(code, BUFFER_TOO_SMALL, "`req`: the method's range")
}

fn body_before_headers(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let url = origin.url("/");
    let mut req = Req::get(&url).headers("no colon");
    answers(spoilt(context, &req, &origin, |args| args.body = BEYOND)?, BUFFER_TOO_SMALL, "`req`: body, then headers")?;
    req.headers = b"\xff";
    answers(
        spoilt(context, &req, &origin, |args| args.body = BEYOND)?,
        BUFFER_TOO_SMALL,
        "`req`: body, then header bytes",
    )
}

fn header_bytes_before_encoding(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let url = origin.url("/");
    let mut req = Req::get(&url);
    req.headers = b"no colon\n\xff";
    answers(spoilt(context, &req, &origin, |_| {})?, NOT_UTF8, "`req`: header bytes, then their encoding")?;
    answers(
        spoilt(context, &req, &origin, |args| args.headers = BEYOND)?,
        BUFFER_TOO_SMALL,
        "`req`: the headers' range",
    )
}

fn headers_before_send(context: &Context) -> CaseResult {
    let origin = Origin::refusing()?;
    let url = origin.url("/");
    let code = spoilt(context, &Req::get(&url).headers("no colon"), &origin, |_| {})?;
    answers(code, INVALID_ENCODING, "`req` with bad headers to an origin that refuses")
}

fn send_before_status(context: &Context) -> CaseResult {
    let origin = Origin::refusing()?;
    let url = origin.url("/");
    let code = spoilt(context, &Req::get(&url), &origin, |args| {
        args.status_out = at::END;
        args.handle_out = at::END;
    })?;
    answers(code, REQUEST_FAILED, "`req` with bad out-pointers to an origin that refuses")
}

/// The status is written even where the handle cannot be.
fn status_before_handle(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(204))?;
    let url = origin.url("/");
    let mut probe = context.http_probe(&origin)?;
    let code = spoilt_with(&mut probe, &Req::get(&url), |args| args.handle_out = at::END - 3)?;
    answers(code, MEMORY_ACCESS, "`req` with a bad handle_out")?;
    check_eq!(probe.probe.u16_at(at::STATUS)?, 204, "the status");
    Ok(())
}
