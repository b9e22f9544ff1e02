//! `wasi:http/types.error-code` as a whole: limits that name the field, each failure of core's, and each code a guest
//! gives.

use std::sync::Arc;

use http::{Request, Response};
use wharf_core::abi::wasi02::http::Reply;
use wharf_core::http::{Body, HttpError, HttpErrorKind, Limits, Timeouts, Transport};
use wharf_core::{GuestConfig, Run};

use super::exchange::{
    CHUNKED, Failure, REQUEST_HEADER, REQUEST_HEADERS, REQUEST_TRAILER, REQUEST_TRAILERS, RESPONSE_HEADER,
    RESPONSE_HEADERS, RESPONSE_TRAILER, RESPONSE_TRAILERS, posting, sending, take_trailers,
};
use super::handler::{handler, request};
use super::probe::{RET, Wasi02};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::origin::{self, Origin};
use crate::{check, check_eq};

const WIT: &str = "wasi:http/types@0.2.12: error-code";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/error/http-request-header-section-size", WIT, request_headers),
    Case::must("wasihttp/error/http-request-header-size", WIT, request_header),
    Case::must("wasihttp/error/http-request-trailer-section-size", WIT, request_trailers),
    Case::must("wasihttp/error/http-request-trailer-size", WIT, request_trailer),
    Case::must("wasihttp/error/http-response-header-section-size", WIT, response_headers),
    Case::must("wasihttp/error/http-response-header-size", WIT, response_header),
    Case::must("wasihttp/error/http-response-trailer-section-size", WIT, response_trailers),
    Case::must("wasihttp/error/http-response-trailer-size", WIT, response_trailer),
    Case::must("wasihttp/limit/fields-follow-the-limit-on-headers", "Limits::kept_header_bytes", kept_fields),
    Case::must("wasihttp/error/every-failure-has-a-code", WIT, every_failure),
    Case::must("wasihttp/error/every-code-of-a-guest", "wasi:http/types@0.2.12: response-outparam.set", every_code),
];

/// What a guest may keep in one place is twice what it may send, and no fixed amount.
fn kept_fields(context: &Context) -> CaseResult {
    let kept = |header_bytes: u64| -> CaseResult<usize> {
        let mut probe = context.net().limits(|limits| limits.header_bytes = header_bytes).wasi02(context)?;
        let fields = probe.fields(&[])?;
        let value = "v".repeat(8000);
        Ok((0..50).take_while(|_| matches!(probe.append(fields, "a", &value), Ok(None))).count())
    };
    check_eq!(kept(1 << 20)?, 50, "of 50 times 8,000 bytes, how many were kept with a limit of 1 MiB");
    let few = kept(16 << 10)?;
    check!((3..=4).contains(&few), "{few} times 8,000 bytes were kept, with a limit of 16 KiB");
    Ok(())
}

/// A limit on headers that two of these reach and one does not.
const LIMIT: u64 = 100;

fn small(value: &str) -> String {
    value.repeat(80)
}

fn limited(context: &Context, origin: &Origin) -> CaseResult<Wasi02> {
    let change = |limits: &mut Limits| limits.header_bytes = LIMIT;
    context.net().allow(&origin.base()).limits(change).wasi02(context)
}

/// The payload at `at` names the field `x-a`, whose value has 200 bytes.
fn names_the_field(probe: &mut Wasi02, at: u32) -> CaseResult {
    check_eq!(probe.probe.bytes(at, 1)?, [1], "whether there is a name");
    check_eq!(probe.string_at(at + 4)?, b"x-a", "the name");
    check_eq!(probe.probe.bytes(at + 12, 1)?, [1], "whether there is a size");
    check_eq!(probe.probe.u32_at(at + 16)?, 207, "the size: name, value and 4 more");
    Ok(())
}

fn send_headers(context: &Context, headers: &[(&str, &str)], code: u8) -> CaseResult<(Wasi02, Failure)> {
    let origin = Origin::replying(origin::Reply::status(200))?;
    let mut probe = limited(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", headers)?;
    let failure = probe.failure(request)?;
    check_eq!(failure.code, code, "the error code");
    check_eq!(origin.accepted(), 0, "the connections");
    Ok((probe, failure))
}

fn request_headers(context: &Context) -> CaseResult {
    send_headers(context, &[("x-a", &small("a")), ("x-b", &small("b"))], REQUEST_HEADERS).map(drop)
}

fn request_header(context: &Context) -> CaseResult {
    let (mut probe, failure) = send_headers(context, &[("x-a", &"v".repeat(200))], REQUEST_HEADER)?;
    check_eq!(probe.probe.bytes(failure.payload, 1)?, [1], "whether there is a payload");
    names_the_field(&mut probe, failure.payload + 4)
}

fn send_trailers(context: &Context, trailers: &[(&str, &str)], code: u8) -> CaseResult<(Wasi02, Failure)> {
    let origin = Origin::replying(origin::Reply::status(200))?;
    let mut probe = limited(context, &origin)?;
    let (future, body, stream) = posting(&mut probe, &origin, &[("trailer", "x-a, x-b")])?;
    check_eq!(probe.write(stream, b"body")?, 0, "the answer of a write");
    check_eq!(probe.finish_with(body, stream, trailers)?, None, "the error of `finish`");
    let failure = probe.fails_later(future)?;
    check_eq!(failure.code, code, "the error code");
    check_eq!(origin.requests().len(), 0, "the requests that arrived whole");
    Ok((probe, failure))
}

fn request_trailers(context: &Context) -> CaseResult {
    send_trailers(context, &[("x-a", &small("a")), ("x-b", &small("b"))], REQUEST_TRAILERS).map(drop)
}

fn request_trailer(context: &Context) -> CaseResult {
    let (mut probe, failure) = send_trailers(context, &[("x-a", &"v".repeat(200))], REQUEST_TRAILER)?;
    names_the_field(&mut probe, failure.payload)
}

fn receive_headers(context: &Context, lines: &str, code: u8) -> CaseResult<(Wasi02, Failure)> {
    let origin = sending(&format!("HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n"))?;
    let mut probe = limited(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let failure = probe.failure(request)?;
    check_eq!(failure.code, code, "the error code");
    Ok((probe, failure))
}

fn response_headers(context: &Context) -> CaseResult {
    let lines = format!("x-a: {}\r\nx-b: {}\r\n", small("a"), small("b"));
    receive_headers(context, &lines, RESPONSE_HEADERS).map(drop)
}

fn response_header(context: &Context) -> CaseResult {
    let (mut probe, failure) = receive_headers(context, &format!("x-a: {}\r\n", "v".repeat(200)), RESPONSE_HEADER)?;
    names_the_field(&mut probe, failure.payload)
}

fn receive_trailers(context: &Context, lines: &str, code: u8) -> CaseResult<Wasi02> {
    let origin = sending(&format!("{CHUNKED}0\r\n{lines}\r\n"))?;
    let mut probe = limited(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let response = probe.exchange(request)?;
    let body = probe.ok("[method]incoming-response.consume", &[response])?;
    check_eq!(take_trailers(&mut probe, body)?, Err(code), "the trailers");
    Ok(probe)
}

fn response_trailers(context: &Context) -> CaseResult {
    let lines = format!("x-a: {}\r\nx-b: {}\r\n", small("a"), small("b"));
    receive_trailers(context, &lines, RESPONSE_TRAILERS).map(drop)
}

fn response_trailer(context: &Context) -> CaseResult {
    let mut probe = receive_trailers(context, &format!("x-a: {}\r\n", "v".repeat(200)), RESPONSE_TRAILER)?;
    names_the_field(&mut probe, RET + 32)
}

/// Fails with this.
struct Failing(HttpErrorKind);

#[async_trait::async_trait]
impl Transport for Failing {
    async fn send(&self, _: Request<Body>, _: &Timeouts) -> Result<Response<Body>, HttpError> {
        Err(HttpError::new(self.0, "the case makes it fail"))
    }
}

fn every_failure(context: &Context) -> CaseResult {
    use HttpErrorKind as H;
    for (kind, code) in [
        (H::Denied, 15),
        (H::RedirectDenied, 15),
        (H::AddressProhibited, 4),
        (H::InvalidUrl, 19),
        (H::InvalidMethod, 18),
        (H::InvalidRequest, 38),
        (H::RequestHeadersTooLarge, 21),
        (H::RequestTrailersTooLarge, 23),
        (H::RequestBodyTooLarge, 17),
        (H::RequestBodyLength(3), 17),
        (H::RequestBodyAborted, 38),
        (H::TooManyInFlight, 11),
        (H::TooManyOpen, 11),
        (H::DnsNotFound, 1),
        (H::NoAddress, 2),
        (H::DnsTimeout, 0),
        (H::DnsFailed, 1),
        (H::ConnectionRefused, 6),
        (H::Unroutable, 5),
        (H::ConnectionTimeout, 8),
        (H::ConnectionReset, 7),
        (H::ConnectionClosed, 7),
        (H::ConnectionFailed, 3),
        (H::TlsCertificate, 13),
        (H::TlsProtocol, 12),
        (H::TlsAlert(40), 14),
        (H::WriteTimeout, 10),
        (H::FirstByteTimeout, 33),
        (H::BetweenBytesTimeout, 9),
        (H::TotalTimeout, 33),
        (H::Upgraded, 34),
        (H::Protocol, 35),
        (H::TransferCoding, 31),
        (H::ResponseHeadersTooLarge, 26),
        (H::ResponseTrailersTooLarge, 29),
        (H::ResponseBodyTooLarge, 28),
        (H::IncompleteResponse, 25),
        (H::TooManyRedirects, 36),
        (H::InvalidRedirect, 35),
        (H::Cancelled, 38),
        (H::Internal, 38),
    ] {
        let net = context.net().allow("http://example.com").transport(Arc::new(Failing(kind)));
        let mut probe = net.wasi02(context)?;
        let request = probe.request("example.com", "/", &[])?;
        check_eq!(probe.fails(request)?, code, "the error code of {kind:?}");
    }
    Ok(())
}

/// The cases of `error-code`, in the order of the WIT file.
const CODES: [&str; 39] = [
    "DnsTimeout",
    "DnsError",
    "DestinationNotFound",
    "DestinationUnavailable",
    "DestinationIpProhibited",
    "DestinationIpUnroutable",
    "ConnectionRefused",
    "ConnectionTerminated",
    "ConnectionTimeout",
    "ConnectionReadTimeout",
    "ConnectionWriteTimeout",
    "ConnectionLimitReached",
    "TlsProtocolError",
    "TlsCertificateError",
    "TlsAlertReceived",
    "HttpRequestDenied",
    "HttpRequestLengthRequired",
    "HttpRequestBodySize",
    "HttpRequestMethodInvalid",
    "HttpRequestUriInvalid",
    "HttpRequestUriTooLong",
    "HttpRequestHeaderSectionSize",
    "HttpRequestHeaderSize",
    "HttpRequestTrailerSectionSize",
    "HttpRequestTrailerSize",
    "HttpResponseIncomplete",
    "HttpResponseHeaderSectionSize",
    "HttpResponseHeaderSize",
    "HttpResponseBodySize",
    "HttpResponseTrailerSectionSize",
    "HttpResponseTrailerSize",
    "HttpResponseTransferCoding",
    "HttpResponseContentCoding",
    "HttpResponseTimeout",
    "HttpUpgradeFailed",
    "HttpProtocolError",
    "LoopDetected",
    "ConfigurationError",
    "InternalError",
];

/// The guest answers with the code whose number is the length of the path after its slash.
fn every_code(context: &Context) -> CaseResult {
    let guest = context.hosted(&handler(&[r#"
        (call $"[method]incoming-request.path-with-query" (local.get $request) (i32.const 0x140))
        (call $error (local.get $out) (i32.sub (i32.load (i32.const 0x148)) (i32.const 1)))"#]))?;
    let answer = |number: usize| {
        let mut session = guest.start(GuestConfig::default())?;
        let mut asked = request("");
        let uri = format!("http://example.com/{}", "x".repeat(number));
        *asked.uri_mut() = uri.parse().map_err(Unmet::harness)?;
        let (reply, answer) = Reply::channel();
        let ended = session.handle(asked, reply);
        Ok::<_, Unmet>((ended, Run::default().wait(answer)?))
    };
    for (number, name) in CODES.iter().enumerate() {
        let (ended, answer) = answer(number)?;
        ended?;
        let Ok(Err(code)) = answer else {
            return Err(Unmet::failed(format!("the guest's error {name} did not arrive")));
        };
        check!(format!("{code:?}").starts_with(name), "{name} arrived as {code:?}");
        check!(code.status().is_server_error(), "the status of {name} is {}", code.status());
    }
    let (ended, _) = answer(CODES.len())?;
    check!(ended.is_err(), "a code that does not exist was taken");
    Ok(())
}
