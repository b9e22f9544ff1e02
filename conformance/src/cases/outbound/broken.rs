//! Bodies that break off: an error to the guest, never a shorter body that looks whole.

use std::time::Duration;

use wharf_core::abi::experimental::ErrorCode;
use wharf_core::http::HttpErrorKind;

use crate::case::{Case, CaseResult};
use crate::check_eq;
use crate::context::Context;
use crate::origin::{Body, Origin, Reply, Step};
use crate::probe::{Req, at};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("outbound/body/cut-before-its-length", "RFC 9112, section 8", |c| {
        broken(c, "content-length: 10", "body", HttpErrorKind::IncompleteResponse)
    }),
    Case::must("outbound/body/cut-in-a-chunk", "RFC 9112, section 8", |c| {
        broken(c, CHUNKED, "A\r\nbody", HttpErrorKind::IncompleteResponse)
    }),
    Case::must("outbound/body/cut-between-chunks", "RFC 9112, section 8", |c| {
        broken(c, CHUNKED, "4\r\nbody\r\n", HttpErrorKind::IncompleteResponse)
    }),
    Case::must("outbound/body/cut-before-the-last-line", "RFC 9112, section 8", |c| {
        broken(c, CHUNKED, "4\r\nbody\r\n0\r\n", HttpErrorKind::IncompleteResponse)
    }),
    Case::must("outbound/body/no-chunk-size", "RFC 9112, section 7.1", |c| {
        broken(c, CHUNKED, "4\r\nbody\r\nzz\r\n", HttpErrorKind::Protocol)
    }),
    Case::must("outbound/body/chunk-size-overflows", "RFC 9112, section 7.1", |c| {
        broken(c, CHUNKED, "4\r\nbody\r\n10000000000000004\r\nbody\r\n0\r\n\r\n", HttpErrorKind::Protocol)
    }),
    Case::must("outbound/body/chunk-longer-than-its-size", "RFC 9112, section 7.1", |c| {
        broken(c, CHUNKED, "4\r\nbodyguard\r\n0\r\n\r\n", HttpErrorKind::Protocol)
    }),
    Case::must("outbound/body/reset", "RFC 9112, section 8", reset),
    Case::must("outbound/body/broken-by-the-origin", "RFC 9112, section 8", by_the_origin),
    Case::must("outbound/body/two-lengths", "RFC 9112, section 6.3", two_lengths),
];

const CHUNKED: &str = "transfer-encoding: chunked";

/// A response with this header line and this body, after which the connection ends: the guest gets `body` and then an
/// error.
fn broken(context: &Context, header: &str, body: &str, kind: HttpErrorKind) -> CaseResult {
    let answer = format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\n{body}");
    let origin = Origin::raw(vec![Step::ReadRequest, Step::text(answer), Step::Finish, Step::Hold])?;
    let mut reach = context.reach(&origin)?;
    let url = origin.url("/");
    check_eq!(reach.breaks(&Req::get(&url))?, b"body", "what came before the body broke off");
    reach.because(&Req::get(&url), kind)
}

fn reset(context: &Context) -> CaseResult {
    let head = Step::text("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nbody");
    // Time for the guest to read what is there: a reset throws away what has not been read.
    let origin = Origin::raw(vec![Step::ReadRequest, head, Step::Wait(Duration::from_millis(100)), Step::Reset])?;
    let mut reach = context.reach(&origin)?;
    let url = origin.url("/");
    check_eq!(reach.breaks(&Req::get(&url))?, b"body", "what came before the reset");
    reach.because(&Req::get(&url), HttpErrorKind::ConnectionReset)
}

fn by_the_origin(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("").body(Body::Broken("body".into())))?;
    let mut reach = context.reach(&origin)?;
    check_eq!(reach.breaks(&Req::get(&origin.url("/")))?, b"body", "what came before the origin gave up");
    Ok(())
}

/// Lengths that contradict each other: whichever is right, someone was meant to take the wrong one.
fn two_lengths(context: &Context) -> CaseResult {
    for headers in [
        "content-length: 4\r\ncontent-length: 5",
        "content-length: 4, 5",
        "content-length: -4",
        "content-length: +4",
        "content-length: 0x4",
        "content-length: 99999999999999999999",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
        let origin = Origin::raw(vec![Step::ReadRequest, Step::text(answer), Step::Finish, Step::Hold])?;
        let mut reach = context.reach(&origin)?;
        let url = origin.url("/");
        match reach.probe.req(&Req::get(&url))? {
            0 => {
                let handle = reach.probe.probe.u32_at(at::HANDLE)?;
                reach.breaks_off(handle).map_err(|unmet| unmet.context(headers))?;
            }
            code => check_eq!(code, ErrorCode::RequestFailed as u32, "the code of `req` for {headers:?}"),
        }
    }
    Ok(())
}
