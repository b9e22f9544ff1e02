//! `wasi:http/types.error-code`: each thing that goes wrong at an origin, or on the way there, has a code of its own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wharf_core::http::{HttpError, Limits, Resolver};

use super::exchange::{
    CONNECTION_TERMINATED, CONNECTION_TIMEOUT, DESTINATION_NOT_FOUND, DNS_ERROR, DNS_TIMEOUT, Failure, INTERNAL_ERROR,
    IP_PROHIBITED, IP_UNROUTABLE, LIMIT_REACHED, PROTOCOL_ERROR, READ_TIMEOUT, REQUEST_BODY_SIZE, RESPONSE_BODY_SIZE,
    RESPONSE_INCOMPLETE, TLS_ALERT, TLS_CERTIFICATE, TLS_PROTOCOL, TRANSFER_CODING, UPGRADE_FAILED, URI_TOO_LONG,
    WRITE_TIMEOUT, giving_up, posting, reach, sending, take_trailers,
};
use super::probe::{AT_ONCE, RET, Wasi02};
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::origin::{Certificate, Gate, Origin, PATIENCE, Reply, Step, TestCa};
use crate::{check, check_eq};

const WIT: &str = "wasi:http/types@0.2.12: error-code";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/error/dns-error", WIT, dns_error),
    Case::must("wasihttp/error/dns-timeout", WIT, dns_timeout),
    Case::must("wasihttp/error/destination-not-found", WIT, not_found),
    Case::must("wasihttp/error/destination-ip-prohibited", WIT, prohibited),
    Case::must("wasihttp/error/destination-ip-unroutable", WIT, unroutable),
    Case::must("wasihttp/error/connection-terminated", WIT, terminated),
    Case::must("wasihttp/error/connection-timeout", WIT, connect_timeout),
    Case::must("wasihttp/error/connection-read-timeout", WIT, read_timeout),
    Case::must("wasihttp/error/connection-write-timeout", WIT, write_timeout),
    Case::must("wasihttp/error/connection-limit-reached", WIT, limit_reached),
    Case::must("wasihttp/error/tls-protocol-error", WIT, tls_protocol),
    Case::must("wasihttp/error/tls-certificate-error", WIT, tls_certificate),
    Case::must("wasihttp/error/tls-alert-received", WIT, tls_alert),
    Case::must("wasihttp/error/http-request-body-size", WIT, request_body),
    Case::must("wasihttp/error/http-request-uri-too-long", WIT, uri_too_long),
    Case::must("wasihttp/error/http-response-incomplete", WIT, incomplete),
    Case::must("wasihttp/error/http-response-body-size", WIT, response_body),
    Case::must("wasihttp/error/http-response-transfer-coding", WIT, transfer_coding),
    Case::must("wasihttp/error/http-upgrade-failed", WIT, upgrade),
    Case::must("wasihttp/error/http-protocol-error", WIT, protocol),
    Case::must("wasihttp/error/internal-error", WIT, internal),
];

/// Far shorter than any origin here lasts.
const SHORT: Duration = Duration::from_millis(200);

/// Sends a GET for `/` to `authority`, which must fail with this code.
fn refused(probe: &mut Wasi02, authority: &str, code: u8) -> CaseResult<Failure> {
    let request = probe.request(authority, "/", &[])?;
    let failure = probe.failure(request)?;
    check_eq!(failure.code, code, "the error code");
    Ok(failure)
}

fn dns_error(context: &Context) -> CaseResult {
    let net = context.net().allow("http://unknown.test").name("known.test", &[]);
    let mut probe = net.wasi02(context)?;
    let payload = refused(&mut probe, "unknown.test", DNS_ERROR)?.payload;
    check_eq!(probe.probe.bytes(payload, 1)?, [1], "whether there is an rcode");
    check_eq!(probe.string_at(payload + 4)?, b"NXDOMAIN", "the rcode");
    Ok(())
}

/// Takes longer than any case.
struct Never;

#[async_trait::async_trait]
impl Resolver for Never {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, HttpError> {
        std::future::pending().await
    }
}

fn dns_timeout(context: &Context) -> CaseResult {
    let net = context.net().allow("http://slow.test").resolver(Arc::new(Never));
    let mut probe = net.limits(|limits| limits.connect_timeout = SHORT).wasi02(context)?;
    refused(&mut probe, "slow.test", DNS_TIMEOUT).map(drop)
}

fn not_found(context: &Context) -> CaseResult {
    let mut probe = context.net().allow("http://bare.test").name("bare.test", &[]).wasi02(context)?;
    refused(&mut probe, "bare.test", DESTINATION_NOT_FOUND).map(drop)
}

fn prohibited(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let authority = format!("inside.test:{}", origin.port());
    let net = context.net().allow(&format!("http://{authority}")).name("inside.test", &[origin.address().ip()]);
    refused(&mut net.wasi02(context)?, &authority, IP_PROHIBITED)?;
    check_eq!(origin.accepted(), 0, "the connections to an address that may not be reached");
    Ok(())
}

/// No system connects a stream to the address of all.
fn unroutable(context: &Context) -> CaseResult {
    let mut probe = context.net().allow("http://255.255.255.255").wasi02(context)?;
    refused(&mut probe, "255.255.255.255", IP_UNROUTABLE).map(drop)
}

fn terminated(context: &Context) -> CaseResult {
    for end in [None, Some(Step::Reset)] {
        let origin = Origin::raw([Step::ReadRequest].into_iter().chain(end).collect::<Vec<_>>())?;
        refused(&mut reach(context, &origin)?, &origin.authority(), CONNECTION_TERMINATED)?;
    }
    Ok(())
}

/// A probe that may reach `origin` within these limits.
fn limited(context: &Context, origin: &Origin, change: impl FnOnce(&mut Limits)) -> CaseResult<Wasi02> {
    context.net().allow(&origin.base()).limits(change).wasi02(context)
}

fn connect_timeout(context: &Context) -> CaseResult {
    let origin = Origin::unconnectable()?;
    let mut probe = limited(context, &origin, |limits| limits.connect_timeout = SHORT)?;
    refused(&mut probe, &origin.authority(), CONNECTION_TIMEOUT).map(drop)
}

/// Reads a response whose body must break with this code after `before`.
fn breaks(probe: &mut Wasi02, origin: &Origin, before: &[u8], code: u8) -> CaseResult {
    let request = probe.request(&origin.authority(), "/", &[])?;
    let response = probe.exchange(request)?;
    let (_, stream) = probe.consume(response)?;
    check_eq!(probe.read_all(stream)?, (before.to_vec(), false), "what came, and whether it ended well");
    check_eq!(probe.stream_failure()?, code, "the error code");
    Ok(())
}

fn read_timeout(context: &Context) -> CaseResult {
    let head = Step::text("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbody");
    let origin = Origin::raw(vec![Step::ReadRequest, head, Step::Hold])?;
    let mut probe = limited(context, &origin, |limits| limits.between_bytes_timeout = SHORT)?;
    breaks(&mut probe, &origin, b"body", READ_TIMEOUT)
}

/// The origin reads the head and no more, so that sooner or later what lies between is full.
fn write_timeout(context: &Context) -> CaseResult {
    let origin = Origin::raw(vec![Step::ReadHead, Step::Wait(PATIENCE)])?;
    let mut probe = limited(context, &origin, |limits| limits.first_byte_timeout = SHORT)?;
    let (future, _, stream) = posting(&mut probe, &origin, &[])?;
    let (mut written, start) = (0, Instant::now());
    while probe.case("[method]output-stream.blocking-write-and-flush", &[stream, 0, AT_ONCE])? == 0 {
        written += AT_ONCE;
        check!(written < 60 << 20, "{written} bytes were taken that nobody reads");
    }
    check!(start.elapsed() < PATIENCE, "the guest was held up until the origin went");
    check_eq!(probe.fails_later(future)?.code, WRITE_TIMEOUT, "the error code");
    Ok(())
}

fn limit_reached(context: &Context) -> CaseResult {
    let gate = Gate::new();
    let origin = Origin::replying(Reply::ok("late").once(gate.clone()))?;
    let mut probe = limited(context, &origin, |limits| limits.in_flight_requests = 1)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let future = probe.send(request)?;
    refused(&mut probe, &origin.authority(), LIMIT_REACHED)?;
    gate.open();
    check!(probe.response(future)?.is_ok(), "the request in flight failed");
    let request = probe.request(&origin.authority(), "/", &[])?;
    probe.exchange(request)?;
    Ok(())
}

/// Sends a GET over https, which must fail with this code.
fn refused_tls(probe: &mut Wasi02, authority: &str, code: u8) -> CaseResult<Failure> {
    let request = probe.request(authority, "/", &[])?;
    probe.https(request)?;
    let failure = probe.failure(request)?;
    check_eq!(failure.code, code, "the error code");
    Ok(failure)
}

fn tls_protocol(context: &Context) -> CaseResult {
    let origin = Origin::raw(vec![Step::text("220 mail.example ESMTP\r\n"), Step::Hold])?;
    let mut probe = context.net().allow(&format!("https://{}", origin.authority())).wasi02(context)?;
    refused_tls(&mut probe, &origin.authority(), TLS_PROTOCOL).map(drop)
}

/// An origin with TLS, and a probe that trusts the suite's authority and may reach it.
fn tls(context: &Context, certificate: Certificate, protocols: &[&str]) -> CaseResult<(Origin, Wasi02)> {
    let ca = TestCa::shared()?;
    let origin = Origin::https(ca, certificate, protocols, |_| Reply::ok("secret"))?;
    let net = context.net().allow(&origin.base()).name("localhost", &[origin.address().ip()]).trust(ca);
    let probe = net.wasi02(context)?;
    Ok((origin, probe))
}

fn tls_certificate(context: &Context) -> CaseResult {
    for certificate in [Certificate::Expired, Certificate::OtherName, Certificate::SelfSigned] {
        let (origin, mut probe) = tls(context, certificate, &["http/1.1"])?;
        refused_tls(&mut probe, &origin.authority(), TLS_CERTIFICATE)
            .map_err(|unmet| unmet.context(format_args!("{certificate:?}")))?;
        check_eq!(origin.requests().len(), 0, "the requests that arrived");
    }
    Ok(())
}

fn tls_alert(context: &Context) -> CaseResult {
    let (origin, mut probe) = tls(context, Certificate::Good, &["gopher"])?;
    let payload = refused_tls(&mut probe, &origin.authority(), TLS_ALERT)?.payload;
    check_eq!(probe.probe.bytes(payload, 2)?, [1, 120], "the alert's number");
    check_eq!(probe.probe.bytes(payload + 4, 1)?, [1], "whether the alert has a name");
    check_eq!(probe.string_at(payload + 8)?, b"NoApplicationProtocol", "the alert's name");
    Ok(())
}

/// The host's limit, with a length that is announced and with one that shows.
fn request_body(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    for headers in [&[("content-length", "20")][..], &[]] {
        let mut probe = limited(context, &origin, |limits| limits.request_body_bytes = 10)?;
        let (future, body, stream) = posting(&mut probe, &origin, headers)?;
        // The request may be over by now, and the stream closed.
        let written = probe.write(stream, &[b'x'; 20])?;
        if written == 0 {
            probe.finish(body, stream)?;
        }
        check_eq!(probe.fails_later(future)?.code, REQUEST_BODY_SIZE, "the error code");
    }
    check_eq!(origin.requests().len(), 0, "the requests that arrived whole");
    Ok(())
}

fn uri_too_long(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    // A path of which everything is allowed but the length, together with the rest.
    let (at, len) = (0x2_0000u32, 65_530u32);
    probe.probe.put(at, &[b'/'; 0x1_0000])?;
    let set = "[method]outgoing-request.set-path-with-query";
    check_eq!(probe.call(set, &[request, 1, at.into(), len.into()])?, 0, "the answer of setting the path");
    let failure = probe.failure(request)?;
    check_eq!(failure.code, URI_TOO_LONG, "the error code");
    let request = probe.request(&origin.authority(), "/", &[])?;
    probe.probe.put(at, &[b'/'; 0x1_0000])?;
    check_eq!(
        probe.call(set, &[request, 1, at.into(), 0x1_0000])?,
        1,
        "the answer of setting a path that is longer still"
    );
    check_eq!(origin.accepted(), 0, "the connections");
    Ok(())
}

fn incomplete(context: &Context) -> CaseResult {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n",
    ] {
        let origin = sending(answer)?;
        breaks(&mut reach(context, &origin)?, &origin, b"body", RESPONSE_INCOMPLETE)?;
        // Who asks for the trailers of such a body learns the same.
        let mut probe = reach(context, &origin)?;
        let request = probe.request(&origin.authority(), "/", &[])?;
        let response = probe.exchange(request)?;
        let body = probe.ok("[method]incoming-response.consume", &[response])?;
        check_eq!(take_trailers(&mut probe, body)?, Err(RESPONSE_INCOMPLETE), "the trailers");
    }
    Ok(())
}

fn response_body(context: &Context) -> CaseResult {
    let announced = sending("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody")?;
    let mut probe = limited(context, &announced, |limits| limits.response_body_bytes = 3)?;
    refused(&mut probe, &announced.authority(), RESPONSE_BODY_SIZE)?;
    let streamed = sending("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")?;
    let mut probe = limited(context, &streamed, |limits| limits.response_body_bytes = 3)?;
    breaks(&mut probe, &streamed, b"", RESPONSE_BODY_SIZE)
}

fn transfer_coding(context: &Context) -> CaseResult {
    let origin = sending("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n")?;
    refused(&mut reach(context, &origin)?, &origin.authority(), TRANSFER_CODING).map(drop)
}

fn upgrade(context: &Context) -> CaseResult {
    let origin = sending("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")?;
    refused(&mut reach(context, &origin)?, &origin.authority(), UPGRADE_FAILED).map(drop)
}

fn protocol(context: &Context) -> CaseResult {
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    ] {
        let origin = sending(answer)?;
        refused(&mut reach(context, &origin)?, &origin.authority(), PROTOCOL_ERROR)
            .map_err(|unmet| unmet.context(format_args!("{answer:?}")))?;
    }
    Ok(())
}

/// What the guest itself broke off has no other code, and its message says so.
fn internal(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = reach(context, &origin)?;
    let future = giving_up(&mut probe, &origin)?;
    let failure = probe.fails_later(future)?;
    check_eq!(failure.code, INTERNAL_ERROR, "the error code");
    check_eq!(probe.probe.bytes(failure.payload, 1)?, [1], "whether there is a message");
    let message = probe.string_at(failure.payload + 4)?;
    probe.worded(&String::from_utf8_lossy(&message), "dropped the body")?;
    check!(failure.payload > RET, "the payload lies in the result");
    Ok(())
}
