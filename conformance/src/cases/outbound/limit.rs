//! How much a guest may use, and an origin may make it use.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use wharf_core::Run;
use wharf_core::abi::experimental::ErrorCode;
use wharf_core::http::{HttpError, HttpErrorKind, Limits, Timeouts, Transport};

use super::{Reach, request};
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::origin::{Body, Certificate, Gate, Origin, Reply, Step, TestCa};
use crate::probe::{Req, at};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("outbound/limit/open-responses", "Limits::open_responses", open_responses),
    Case::must("outbound/limit/in-flight", "Limits::in_flight_requests", in_flight),
    Case::must("outbound/limit/in-flight-until-the-head", "Limits::in_flight_requests", until_the_head),
    Case::must("outbound/limit/request-header-bytes", "Limits::header_bytes", request_header_bytes),
    Case::must("outbound/limit/request-header-count", "Limits::header_count", request_header_count),
    Case::must("outbound/limit/response-header-bytes", "Limits::header_bytes", response_header_bytes),
    Case::must("outbound/limit/response-header-count", "Limits::header_count", response_header_count),
    Case::must("outbound/limit/response-headers-over-http2", "Limits::header_bytes", response_headers_http2),
    Case::must("outbound/limit/endless-head", "Limits::header_count and header_bytes", endless_head),
    Case::must("outbound/limit/response-trailers", "Limits::header_bytes: trailers", trailers),
    Case::must("outbound/limit/request-body", "Limits::request_body_bytes", request_body),
    Case::must("outbound/limit/response-body-declared", "Limits::response_body_bytes", declared),
    Case::must("outbound/limit/response-body-streamed", "Limits::response_body_bytes", streamed),
    Case::must("outbound/limit/response-body-of-a-head", "RFC 9110, section 9.3.2", declared_by_head),
    Case::must("outbound/limit/read-ahead-is-bounded", "Incoming: a bounded read-ahead", read_ahead),
];

fn limited(context: &Context, origin: &Origin, change: impl FnOnce(&mut Limits)) -> CaseResult<Reach> {
    context.net().allow(&origin.base()).limits(change).reach(context)
}

fn open_responses(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("body"))?;
    let mut reach = limited(context, &origin, |limits| limits.open_responses = 2)?;
    let url = origin.url("/");
    let (_, first) = reach.probe.open(&Req::get(&url))?;
    reach.probe.open(&Req::get(&url))?;
    for _ in 0..3 {
        check_eq!(reach.probe.req(&Req::get(&url))?, ErrorCode::TooManySessions as u32, "the code of the third `req`");
    }
    check_eq!(origin.requests().len(), 2, "requests received");
    reach.probe.close(first)?;
    reach.probe.open(&Req::get(&url))?;
    limited(context, &origin, |limits| limits.open_responses = 0)?.because(&Req::get(&url), HttpErrorKind::TooManyOpen)
}

/// A guest of this ABI waits for each of its requests, so that the count holds is seen on
/// [`Outbound`](wharf_core::http::Outbound); and that it is each guest's own, on a guest.
fn in_flight(context: &Context) -> CaseResult {
    let gate = Gate::new();
    let slow = Origin::replying(Reply::ok("slow").once(gate.clone()))?;
    let fast = Origin::replying(Reply::ok("fast"))?;
    let net = context.net().allow(&slow.base()).allow(&fast.base()).limits(|limits| limits.in_flight_requests = 1);
    let mut reach = net.reach(context)?;
    let (slow_url, fast_url) = (slow.url("/"), fast.url("/"));
    let waiting = reach.outbound.send(request(&Req::get(&slow_url))?);
    check!(slow.wait_until(|slow| slow.requests().len() == 1), "the slow request did not arrive");
    reach.because(&Req::get(&fast_url), HttpErrorKind::TooManyInFlight)?;
    check_eq!(fast.accepted(), 0, "connections for a second request in flight");
    check_eq!(reach.get(&fast_url)?, b"fast", "the body to a guest while a request of another is in flight");
    gate.open();
    let answer = Run::default().wait(waiting)?.map_err(wharf_core::Error::from)?;
    check_eq!(answer.status().as_u16(), 200, "the status of the slow request");
    let next = Run::default().wait(reach.outbound.send(request(&Req::get(&fast_url))?))?;
    check_eq!(next.map_err(wharf_core::Error::from)?.status().as_u16(), 200, "the status of the request after it");
    let mut none = limited(context, &fast, |limits| limits.in_flight_requests = 0)?;
    none.fails(&Req::get(&fast_url), ErrorCode::TooManySessions)
}

fn until_the_head(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("").body(Body::Endless))?;
    let mut reach = limited(context, &origin, |limits| limits.in_flight_requests = 1)?;
    for _ in 0..3 {
        reach.probe.open(&Req::get(&origin.url("/")))?;
    }
    Ok(())
}

/// A request with these header lines fails, and one with these succeeds. Nothing of the first is sent.
fn request_headers(context: &Context, change: impl FnOnce(&mut Limits), good: &[&str], bad: &[&str]) -> CaseResult {
    let origin = Origin::raw(Step::exchange("200 OK", &["connection: close"], ""))?;
    let mut reach = limited(context, &origin, change)?;
    let url = origin.url("/");
    for lines in bad {
        reach.fails(&Req::get(&url).headers(lines), ErrorCode::RequestFailed)?;
        reach.because(&Req::get(&url).headers(lines), HttpErrorKind::RequestHeadersTooLarge)?;
    }
    check_eq!(origin.accepted(), 0, "connections for requests beyond the limit");
    for lines in good {
        reach.send(&Req::get(&url).headers(lines))?;
    }
    Ok(())
}

fn request_header_bytes(context: &Context) -> CaseResult {
    // Three of the name, four for the line, and the value.
    let exact = format!("x-a:{}\n", "v".repeat(93));
    let over = format!("x-a:{}\n", "v".repeat(94));
    let several = format!("x-a:{}\nx-b:{}\n", "v".repeat(43), "v".repeat(44));
    request_headers(context, |limits| limits.header_bytes = 100, &[&exact, ""], &[&over, &several])
}

fn request_header_count(context: &Context) -> CaseResult {
    let bad = ["x-a:1\nx-b:2\nx-c:3\nx-d:4\n", "x-a:1\nx-a:2\nx-a:3\nx-a:4\n"];
    request_headers(context, |limits| limits.header_count = 3, &["x-a:1\nx-b:2\nx-a:3\n"], &bad)
}

/// A response with these header lines, beside a content-length of 0, is refused, and one with these is not.
fn response_headers(context: &Context, change: impl Fn(&mut Limits), good: &[&str], bad: &[&str]) -> CaseResult {
    for (lines, fine) in [(good, true), (bad, false)] {
        // Answers twice: a connection that ends after one answer may be met by the second request as it goes.
        let exchange = Step::exchange("200 OK", lines, "");
        let origin = Origin::raw([exchange.clone(), exchange, vec![Step::Hold]].concat())?;
        let mut reach = limited(context, &origin, &change)?;
        let url = origin.url("/");
        if fine {
            reach.send(&Req::get(&url))?;
        } else {
            reach.fails(&Req::get(&url), ErrorCode::RequestFailed)?;
            reach.because(&Req::get(&url), HttpErrorKind::ResponseHeadersTooLarge)?;
        }
    }
    Ok(())
}

fn response_header_bytes(context: &Context) -> CaseResult {
    // `content-length: 0` counts 19 bytes.
    let (exact, over) = (format!("x-a: {}", "v".repeat(74)), format!("x-a: {}", "v".repeat(75)));
    response_headers(context, |limits| limits.header_bytes = 100, &[&exact], &[&over])
}

fn response_header_count(context: &Context) -> CaseResult {
    let change = |limits: &mut Limits| limits.header_count = 3;
    response_headers(context, change, &["x-a: 1", "x-a: 2"], &["x-a: 1", "x-a: 2", "x-b: 3"])
}

fn response_headers_http2(context: &Context) -> CaseResult {
    let ca = TestCa::shared()?;
    let origin = Origin::https(ca, Certificate::Good, &["h2"], |request| match request.target.as_str() {
        "/large" => Reply::ok("x").header("x-large", "v".repeat(10_000)),
        "/many" => (0..100).fold(Reply::ok("x"), |reply, index| reply.header(format!("x-{index}"), "v")),
        _ => Reply::ok("x"),
    })?;
    let net = context.net().allow(&origin.base()).trust(ca).name("localhost", &[origin.address().ip()]);
    let limits = |limits: &mut Limits| (limits.header_bytes, limits.header_count) = (1000, 20);
    let mut reach = net.limits(limits).reach(context)?;
    for path in ["/large", "/many"] {
        reach.fails(&Req::get(&origin.url(path)), ErrorCode::RequestFailed)?;
    }
    check_eq!(reach.get(&origin.url("/"))?, b"x", "the body of a response within the limits");
    Ok(())
}

/// A head that never ends, in lines or in one: it is given up, not collected.
fn endless_head(context: &Context) -> CaseResult {
    for flood in ["x-endless: 1\r\n", "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"] {
        let flood = flood.repeat(100);
        let start = "HTTP/1.1 200 OK\r\nx-start: ";
        let origin = Origin::raw(vec![Step::ReadRequest, Step::text(start), Step::Flood(flood.into_bytes())])?;
        let mut reach = context.reach(&origin)?;
        let before = Instant::now();
        reach.fails(&Req::get(&origin.url("/")), ErrorCode::RequestFailed)?;
        check!(before.elapsed() < Duration::from_secs(5), "giving it up took {:?}", before.elapsed());
        check!(origin.wait_until(|origin| origin.open() == 0), "the connection is still open");
    }
    Ok(())
}

fn trailers(context: &Context) -> CaseResult {
    let answer = |size: usize| {
        let trailer = "t".repeat(size);
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        format!("{head}4\r\nbody\r\n0\r\nx-trailer: {trailer}\r\n\r\n")
    };
    let small = Origin::raw(vec![Step::ReadRequest, Step::text(answer(50)), Step::Hold])?;
    let change = |limits: &mut Limits| limits.header_bytes = 100;
    check_eq!(limited(context, &small, change)?.get(&small.url("/"))?, b"body", "a body with small trailers");
    let large = Origin::raw(vec![Step::ReadRequest, Step::text(answer(200))])?;
    let mut reach = limited(context, &large, change)?;
    check_eq!(reach.breaks(&Req::get(&large.url("/")))?, b"body", "what came before the trailers");
    reach.because(&Req::get(&large.url("/")), HttpErrorKind::ResponseTrailersTooLarge)
}

fn request_body(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok(""))?;
    let mut reach = limited(context, &origin, |limits| limits.request_body_bytes = 1000)?;
    let url = origin.url("/");
    let post = Req::get(&url).method("POST");
    reach.fails(&post.body(&[b'x'; 1001]), ErrorCode::RequestFailed)?;
    reach.because(&post.body(&[b'x'; 1001]), HttpErrorKind::RequestBodyTooLarge)?;
    check_eq!(origin.accepted(), 0, "connections for a body beyond the limit");
    reach.send(&post.body(&[b'x'; 1000]))?;
    check_eq!(origin.request()?.body.len(), 1000, "the size of the body that arrived");
    Ok(())
}

fn declared(context: &Context) -> CaseResult {
    let origin = Origin::http(|request| {
        Reply::ok("").body(Body::Filler(request.target.trim_start_matches('/').parse().unwrap_or_default()))
    })?;
    let mut reach = limited(context, &origin, |limits| limits.response_body_bytes = 1000)?;
    check_eq!(reach.get(&origin.url("/1000"))?.len(), 1000, "the size of a body at the limit");
    for size in ["/1001", "/99999999"] {
        reach.fails(&Req::get(&origin.url(size)), ErrorCode::RequestFailed)?;
        reach.because(&Req::get(&origin.url(size)), HttpErrorKind::ResponseBodyTooLarge)?;
    }
    let mut none = limited(context, &origin, |limits| limits.response_body_bytes = 0)?;
    check_eq!(none.get(&origin.url("/0"))?, b"", "an empty body where none is allowed");
    none.fails(&Req::get(&origin.url("/1")), ErrorCode::RequestFailed)
}

fn streamed(context: &Context) -> CaseResult {
    let origin = Origin::http(|request| {
        let last: usize = request.target.trim_start_matches('/').parse().unwrap_or_default();
        let pieces = [600, last].map(|size| (Duration::from_millis(5), Bytes::from(vec![b'x'; size])));
        Reply::ok("").body(Body::Pieces(pieces.to_vec()))
    })?;
    let mut reach = limited(context, &origin, |limits| limits.response_body_bytes = 1000)?;
    check_eq!(reach.get(&origin.url("/400"))?.len(), 1000, "the size of a body at the limit");
    let got = reach.breaks(&Req::get(&origin.url("/401")))?.len();
    check!(got <= 1000, "{got} bytes were read where 1000 are allowed");
    reach.because(&Req::get(&origin.url("/401")), HttpErrorKind::ResponseBodyTooLarge)
}

/// The length that a HEAD tells is not of what it brings.
fn declared_by_head(context: &Context) -> CaseResult {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
    let origin = Origin::raw(vec![Step::ReadRequest, Step::text(answer), Step::Hold])?;
    let mut reach = limited(context, &origin, |limits| limits.response_body_bytes = 10)?;
    let (status, body) = reach.send(&Req::get(&origin.url("/")).method("HEAD"))?;
    check_eq!((status, body.len()), (200, 0), "status and size of the answer to a HEAD");
    Ok(())
}

/// Answers with a body that is always ready and never ends, and counts what is taken of it.
struct Fountain(Arc<AtomicU64>);

#[async_trait::async_trait]
impl Transport for Fountain {
    async fn send(
        &self,
        _: http::Request<wharf_core::http::Body>,
        _: &Timeouts,
    ) -> Result<http::Response<wharf_core::http::Body>, HttpError> {
        Ok(http::Response::new(Jet(self.0.clone()).boxed_unsync()))
    }
}

struct Jet(Arc<AtomicU64>);

impl http_body::Body for Jet {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, HttpError>>> {
        const DROP: &[u8] = &[b'x'; 4096];
        self.0.fetch_add(DROP.len() as u64, Ordering::SeqCst);
        Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(DROP)))))
    }
}

/// What a guest does not read is not taken from the origin.
fn read_ahead(context: &Context) -> CaseResult {
    const ENOUGH: u64 = 256 << 10;
    let taken = Arc::new(AtomicU64::new(0));
    let net = context.net().allow("http://127.0.0.1").transport(Arc::new(Fountain(taken.clone())));
    let mut reach = net.reach(context)?;
    let (_, handle) = reach.probe.open(&Req::get("http://127.0.0.1/"))?;
    let mut read = 0;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(5));
        let ahead = taken.load(Ordering::SeqCst) - read;
        check!(ahead <= ENOUGH, "{ahead} bytes were taken from an origin that the guest has not read");
        let (code, bytes) = reach.probe.read(handle, at::BUFFER_LEN)?;
        check_eq!(code, 0, "the code of `body_read`");
        read += bytes.len() as u64;
    }
    reach.probe.close(handle)?;
    std::thread::sleep(Duration::from_millis(20));
    let closed = taken.load(Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(20));
    check_eq!(taken.load(Ordering::SeqCst), closed, "bytes taken after the response was closed");
    Ok(())
}
