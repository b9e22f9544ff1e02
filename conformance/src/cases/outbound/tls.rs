//! https: whom to trust, and which HTTP is spoken inside.

use bytes::Bytes;
use wharf_core::abi::experimental::ErrorCode;
use wharf_core::http::HttpErrorKind;

use super::Reach;
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::net::Net;
use crate::origin::{Body, Certificate, Origin, Reply, Step, TestCa};
use crate::probe::Req;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("outbound/tls/known-authority", "PooledBuilder::root_certificate", known),
    Case::must("outbound/tls/certificate-for-an-address", "RFC 9110, section 4.3.5", by_address),
    Case::must("outbound/tls/unknown-authority", "RFC 9110, section 4.3.4", unknown),
    Case::must("outbound/tls/wrong-name", "RFC 9110, section 4.3.4", |c| refused(c, Certificate::OtherName)),
    Case::must("outbound/tls/expired", "RFC 9110, section 4.3.4", |c| refused(c, Certificate::Expired)),
    Case::must("outbound/tls/self-signed", "RFC 9110, section 4.3.4", |c| refused(c, Certificate::SelfSigned)),
    Case::must("outbound/tls/origin-without-tls", "HttpErrorKind::TlsProtocol", without_tls),
    Case::must("outbound/tls/http-to-a-tls-origin", "HttpErrorKind::Protocol", http_to_tls),
    Case::must("outbound/tls/http2-through-alpn", "RFC 9113, section 3.2", http2),
    Case::must("outbound/tls/http1-through-alpn", "RFC 7301", http1),
    Case::must("outbound/tls/no-protocol-in-common", "RFC 7301, section 3.2", no_protocol),
    Case::must("outbound/tls/http2-shares-a-connection", "RFC 9113, section 5", shares),
    Case::must("outbound/tls/http2-unread-body-holds-up-no-other", "RFC 9113, section 5.2", unread),
    Case::must("outbound/tls/http2-broken-body", "RFC 9113, section 8.1", broken_http2),
    Case::must("outbound/tls/close-must-be-announced", "RFC 8446, section 6.1", truncation),
];

/// A guest that trusts the test authority and may reach `origin`.
fn trusting(context: &Context, origin: &Origin) -> CaseResult<Reach> {
    net(context, origin).trust(TestCa::shared()?).reach(context)
}

fn net<'a>(context: &'a Context, origin: &Origin) -> Net<'a> {
    context.net().allow(&origin.base()).name("localhost", &[origin.address().ip()])
}

/// Tells the version it was asked in.
fn origin(certificate: Certificate, protocols: &[&str]) -> CaseResult<Origin> {
    Origin::https(TestCa::shared()?, certificate, protocols, |request| Reply::ok(request.version.clone()))
}

fn known(context: &Context) -> CaseResult {
    let origin = origin(Certificate::Good, &["http/1.1"])?;
    let body = trusting(context, &origin)?.get(&origin.url("/"))?;
    check_eq!(body, b"HTTP/1.1", "the version");
    let pem = TestCa::shared()?.pem().as_bytes();
    check!(pem.starts_with(b"-----BEGIN CERTIFICATE-----"), "the authority's certificate is not PEM");
    Ok(())
}

fn by_address(context: &Context) -> CaseResult {
    let origin = origin(Certificate::Good, &[])?;
    let url = format!("https://127.0.0.1:{}", origin.port());
    let mut reach = context.net().allow(&url).trust(TestCa::shared()?).reach(context)?;
    check_eq!(reach.get(&format!("{url}/"))?, b"HTTP/1.1", "the version");
    Ok(())
}

/// The certificate is not accepted, and the request is not sent.
fn no_trust(reach: &mut Reach, origin: &Origin) -> CaseResult {
    let url = origin.url("/");
    reach.fails(&Req::get(&url), ErrorCode::RequestFailed)?;
    reach.because(&Req::get(&url), HttpErrorKind::TlsCertificate)?;
    check_eq!(origin.requests().len(), 0, "requests received by an origin that is not trusted");
    Ok(())
}

fn unknown(context: &Context) -> CaseResult {
    let untrusted = origin(Certificate::Good, &["http/1.1"])?;
    no_trust(&mut net(context, &untrusted).reach(context)?, &untrusted)?;
    // That one transport of the process trusts the authority makes no other trust it.
    let trusted = origin(Certificate::Good, &["http/1.1"])?;
    trusting(context, &trusted)?.get(&trusted.url("/"))?;
    no_trust(&mut net(context, &untrusted).reach(context)?, &untrusted)
}

fn refused(context: &Context, certificate: Certificate) -> CaseResult {
    let origin = origin(certificate, &["http/1.1"])?;
    no_trust(&mut trusting(context, &origin)?, &origin)
}

fn without_tls(context: &Context) -> CaseResult {
    for greeting in ["220 mail.example ESMTP\r\n", "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"] {
        let origin = Origin::raw(vec![Step::text(greeting), Step::Hold])?;
        let url = format!("https://{}", origin.authority());
        let mut reach = context.net().allow(&url).reach(context)?;
        let url = format!("{url}/");
        reach.fails(&Req::get(&url), ErrorCode::RequestFailed)?;
        reach.because(&Req::get(&url), HttpErrorKind::TlsProtocol)?;
    }
    Ok(())
}

fn http_to_tls(context: &Context) -> CaseResult {
    let origin = origin(Certificate::Good, &["http/1.1"])?;
    let url = format!("http://127.0.0.1:{}", origin.port());
    let mut reach = context.net().allow(&url).reach(context)?;
    reach.fails(&Req::get(&format!("{url}/")), ErrorCode::RequestFailed)?;
    check_eq!(origin.requests().len(), 0, "requests received");
    Ok(())
}

fn http2(context: &Context) -> CaseResult {
    let origin = Origin::https(TestCa::shared()?, Certificate::Good, &["h2", "http/1.1"], |request| {
        Reply::status(207).header("x-answer", "yes").body(Body::Full(request.body.clone().into()))
    })?;
    let mut reach = trusting(context, &origin)?;
    let body: Vec<u8> = (0..16_000u32).map(|index| (index % 253) as u8).collect();
    let url = origin.url("/path?query");
    let req = Req::get(&url).method("POST").headers("X-Own:kept\nhost:evil.test\n").body(&body);
    let (status, handle) = reach.probe.open(&req)?;
    check_eq!(status, 207, "the status");
    check_eq!(reach.probe.header(handle, b"x-answer", 10)?, (0, b"yes".to_vec()), "a header");
    check!(reach.probe.read_all(handle)? == body, "the body did not come back as it was sent");
    let request = origin.request()?;
    check_eq!(request.version, "HTTP/2.0", "the version");
    check_eq!(request.authority, origin.authority(), "the authority");
    check_eq!(request.target, "/path?query", "the target");
    check_eq!(request.all("x-own"), [b"kept"], "a header of the guest's own");
    check!(request.all("host").is_empty(), "the guest's host was sent beside the authority");
    Ok(())
}

/// HTTP/2 is for the origin to offer: without an offer, and in the clear, it is HTTP/1.1.
fn http1(context: &Context) -> CaseResult {
    for protocols in [&["http/1.1"][..], &["http/1.1", "h2c"], &[]] {
        let origin = origin(Certificate::Good, protocols)?;
        let body = trusting(context, &origin)?.get(&origin.url("/"))?;
        check_eq!(body, b"HTTP/1.1", "the version where the origin offers {protocols:?}");
    }
    let plain = Origin::http(|request| Reply::ok(request.version.clone()))?;
    check_eq!(context.reach(&plain)?.get(&plain.url("/"))?, b"HTTP/1.1", "the version in the clear");
    Ok(())
}

fn no_protocol(context: &Context) -> CaseResult {
    let origin = origin(Certificate::Good, &["gopher"])?;
    let mut reach = trusting(context, &origin)?;
    let url = origin.url("/");
    reach.fails(&Req::get(&url), ErrorCode::RequestFailed)?;
    // no_application_protocol
    reach.because(&Req::get(&url), HttpErrorKind::TlsAlert(120))
}

fn shares(context: &Context) -> CaseResult {
    let origin =
        Origin::https(TestCa::shared()?, Certificate::Good, &["h2"], |request| Reply::ok(request.target.repeat(1000)))?;
    let mut reach = trusting(context, &origin)?;
    let handles: Vec<u32> = (0..5)
        .map(|index| Ok(reach.probe.open(&Req::get(&origin.url(&format!("/{index}"))))?.1))
        .collect::<CaseResult<_>>()?;
    for (index, handle) in handles.into_iter().enumerate().rev() {
        let right = format!("/{index}").repeat(1000).into_bytes();
        check!(reach.probe.read_all(handle)? == right, "the body of request {index} is another");
    }
    check_eq!(origin.accepted(), 1, "connections for five requests at a time");
    Ok(())
}

fn unread(context: &Context) -> CaseResult {
    const SIZE: u64 = 1 << 20;
    let origin = Origin::https(TestCa::shared()?, Certificate::Good, &["h2"], |request| {
        Reply::ok("").body(if request.target == "/endless" { Body::Endless } else { Body::Filler(SIZE) })
    })?;
    let mut reach = trusting(context, &origin)?;
    for _ in 0..3 {
        reach.probe.open(&Req::get(&origin.url("/endless")))?;
    }
    let (_, handle) = reach.probe.open(&Req::get(&origin.url("/")))?;
    check_eq!(reach.probe.read_all(handle)?.len() as u64, SIZE, "the size of a body beside three that are not read");
    check_eq!(origin.accepted(), 1, "connections");
    Ok(())
}

fn broken_http2(context: &Context) -> CaseResult {
    let origin =
        Origin::https(TestCa::shared()?, Certificate::Good, &["h2"], |request| match request.target.as_str() {
            "/" => Reply::ok("").body(Body::Broken(Bytes::from_static(b"half"))),
            _ => Reply::ok("whole"),
        })?;
    let mut reach = trusting(context, &origin)?;
    check_eq!(reach.breaks(&Req::get(&origin.url("/")))?, b"half", "what came before the break");
    reach.because(&Req::get(&origin.url("/")), HttpErrorKind::ConnectionReset)?;
    check_eq!(reach.get(&origin.url("/whole"))?, b"whole", "the body of another request afterwards");
    Ok(())
}

/// A body that ends with the connection has no other sign of its end: someone who cuts the connection could shorten it.
fn truncation(context: &Context) -> CaseResult {
    let ca = TestCa::shared()?;
    let answer = [Step::ReadRequest, Step::text("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\npay 100 not 1000")];
    let whole = Origin::raw_tls(ca, [&answer[..], &[Step::Finish, Step::Hold]].concat())?;
    check_eq!(trusting(context, &whole)?.get(&whole.url("/"))?, b"pay 100 not 1000", "a body that ends in good order");
    let cut = Origin::raw_tls(ca, answer)?;
    let mut reach = trusting(context, &cut)?;
    check_eq!(reach.breaks(&Req::get(&cut.url("/")))?, b"pay 100 not 1000", "what came before the cut");
    reach.because(&Req::get(&cut.url("/")), HttpErrorKind::IncompleteResponse)
}
