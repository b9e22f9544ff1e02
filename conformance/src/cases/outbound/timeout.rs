//! How long an origin may take. What is asserted of time is only that the end comes far before the origin's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wharf_core::Run;
use wharf_core::abi::experimental::ErrorCode;
use wharf_core::http::{HttpError, HttpErrorKind, Limits, Redirects, Resolver};

use super::{Reach, request};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::origin::{Body, Certificate, Gate, Origin, PATIENCE, Reply, Step, TestCa};
use crate::probe::Req;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("outbound/timeout/connect", "Timeouts::connect", connect),
    Case::must("outbound/timeout/connect-covers-the-name", "Timeouts::connect", connect_name),
    Case::must("outbound/timeout/connect-covers-tls", "Timeouts::connect", connect_tls),
    Case::must("outbound/timeout/first-byte", "Timeouts::first_byte", |c| {
        first_byte(c, vec![Step::ReadRequest, Step::Hold])
    }),
    Case::must("outbound/timeout/first-byte-of-a-dripping-head", "Timeouts::first_byte", |c| {
        let head = format!("HTTP/1.1 200 OK\r\nx-a: {}", "v".repeat(2000)).into_bytes();
        first_byte(c, vec![Step::ReadRequest, Step::Drip(head, Duration::from_millis(10)), Step::Hold])
    }),
    Case::must("outbound/timeout/first-byte-is-not-an-interim-answer", "Timeouts::first_byte", |c| {
        let again = [Step::text("HTTP/1.1 103 Early Hints\r\n\r\n"), Step::Wait(Duration::from_millis(20))];
        let steps = [Step::ReadRequest].into_iter().chain(again.into_iter().cycle().take(1400));
        first_byte(c, steps.collect())
    }),
    Case::must("outbound/timeout/first-byte-over-http2", "Timeouts::first_byte", first_byte_http2),
    Case::must("outbound/timeout/between-bytes", "Timeouts::between_bytes", between_bytes),
    Case::must("outbound/timeout/between-bytes-is-renewed", "Timeouts::between_bytes", renewed),
    Case::must("outbound/timeout/between-bytes-waits-for-the-guest", "Timeouts::between_bytes", slow_guest),
    Case::must("outbound/timeout/total-of-a-dripping-body", "Timeouts::total", total),
    Case::must("outbound/timeout/total-covers-the-head", "Timeouts::total", total_head),
    Case::must("outbound/timeout/total-covers-redirects", "Timeouts::total", total_redirects),
    Case::must("outbound/timeout/a-guest-cannot-lengthen-it", "Outbound::send_with", cannot_lengthen),
];

const SHORT: Duration = Duration::from_millis(200);

/// Longer than any machine takes to notice that [`SHORT`] is over, and far shorter than any origin here lasts.
const FAR_BEFORE: Duration = Duration::from_secs(7);

fn limited(context: &Context, origin: &Origin, change: impl FnOnce(&mut Limits)) -> CaseResult<Reach> {
    context.net().allow(&origin.base()).limits(change).reach(context)
}

/// `what` must be over far before an origin would end it.
fn soon<T>(what: &str, run: impl FnOnce() -> CaseResult<T>) -> CaseResult<T> {
    let before = Instant::now();
    let result = run()?;
    check!(before.elapsed() < FAR_BEFORE, "{what} took {:?} under a limit of {SHORT:?}", before.elapsed());
    Ok(result)
}

/// `req` fails soon, for this reason.
fn fails_soon(reach: &mut Reach, url: &str, kind: HttpErrorKind) -> CaseResult {
    soon("`req`", || reach.fails(&Req::get(url), ErrorCode::RequestFailed))?;
    soon("the request", || reach.because(&Req::get(url), kind))
}

fn connect(context: &Context) -> CaseResult {
    let origin = Origin::unconnectable()?;
    let mut reach = limited(context, &origin, |limits| limits.connect_timeout = SHORT)?;
    fails_soon(&mut reach, &origin.url("/"), HttpErrorKind::ConnectionTimeout)
}

/// Takes longer than any case.
struct Never;

#[async_trait::async_trait]
impl Resolver for Never {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, HttpError> {
        tokio::time::sleep(PATIENCE).await;
        Err(HttpError::new(HttpErrorKind::DnsFailed, "the case's resolver has no answer"))
    }
}

fn connect_name(context: &Context) -> CaseResult {
    let net = context.net().allow("http://slow.test").resolver(Arc::new(Never));
    let mut reach = net.limits(|limits| limits.connect_timeout = SHORT).reach(context)?;
    fails_soon(&mut reach, "http://slow.test/", HttpErrorKind::DnsTimeout)
}

fn connect_tls(context: &Context) -> CaseResult {
    let origin = Origin::raw(vec![Step::Hold])?;
    let url = format!("https://{}", origin.authority());
    let net = context.net().allow(&url).limits(|limits| limits.connect_timeout = SHORT);
    let mut reach = net.reach(context)?;
    fails_soon(&mut reach, &format!("{url}/"), HttpErrorKind::ConnectionTimeout)?;
    check!(origin.wait_until(|origin| origin.open() == 0), "the connection is still open");
    Ok(())
}

fn first_byte(context: &Context, script: Vec<Step>) -> CaseResult {
    let origin = Origin::raw(script)?;
    let mut reach = limited(context, &origin, |limits| limits.first_byte_timeout = SHORT)?;
    fails_soon(&mut reach, &origin.url("/"), HttpErrorKind::FirstByteTimeout)?;
    check!(origin.wait_until(|origin| origin.open() == 0), "the connection is still open");
    Ok(())
}

fn first_byte_http2(context: &Context) -> CaseResult {
    let ca = TestCa::shared()?;
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::https(ca, Certificate::Good, &["h2"], move |request| match request.target.as_str() {
        "/slow" => Reply::ok("slow").once(held.clone()),
        _ => Reply::ok("fast"),
    })?;
    let net = context.net().allow(&origin.base()).trust(ca).name("localhost", &[origin.address().ip()]);
    // Longer than a response on this machine takes, since the one after the timeout has to succeed.
    let mut reach = net.limits(|limits| limits.first_byte_timeout = 2 * SHORT).reach(context)?;
    fails_soon(&mut reach, &origin.url("/slow"), HttpErrorKind::FirstByteTimeout)?;
    check_eq!(reach.get(&origin.url("/"))?, b"fast", "the body of another request afterwards");
    gate.open();
    Ok(())
}

fn between_bytes(context: &Context) -> CaseResult {
    for head in ["content-length: 9", "transfer-encoding: chunked"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n4\r\nab");
        let origin = Origin::raw(vec![Step::ReadRequest, Step::text(answer), Step::Hold])?;
        let mut reach = limited(context, &origin, |limits| limits.between_bytes_timeout = SHORT)?;
        let url = origin.url("/");
        let got = soon("the body", || reach.breaks(&Req::get(&url)))?;
        check!(got.ends_with(b"ab"), "before the pause came {got:?}");
        soon("the request", || reach.because(&Req::get(&url), HttpErrorKind::BetweenBytesTimeout))?;
        check!(origin.wait_until(|origin| origin.open() == 0), "the connection is still open");
    }
    Ok(())
}

/// Each byte renews the time: a body may take longer than the timeout.
fn renewed(context: &Context) -> CaseResult {
    let pieces = vec![(Duration::from_millis(60), Bytes::from_static(b"x")); 12];
    let origin = Origin::replying(Reply::ok("").body(Body::Pieces(pieces)))?;
    let mut reach = limited(context, &origin, |limits| limits.between_bytes_timeout = 3 * SHORT)?;
    let before = Instant::now();
    check_eq!(reach.get(&origin.url("/"))?, b"xxxxxxxxxxxx", "a body of many small pauses");
    check!(before.elapsed() > 3 * SHORT, "the body took only {:?}", before.elapsed());
    Ok(())
}

/// Time in which the guest does not read is not the origin's.
fn slow_guest(context: &Context) -> CaseResult {
    const SIZE: u64 = 1 << 20;
    let origin = Origin::replying(Reply::ok("").body(Body::Filler(SIZE)))?;
    let mut reach = limited(context, &origin, |limits| limits.between_bytes_timeout = 2 * SHORT)?;
    let (_, handle) = reach.probe.open(&Req::get(&origin.url("/")))?;
    std::thread::sleep(3 * SHORT);
    check_eq!(reach.probe.read_all(handle)?.len() as u64, SIZE, "the size of a body that the guest read late");
    Ok(())
}

/// One byte at a time keeps every other timeout from ending it.
fn total(context: &Context) -> CaseResult {
    let body = vec![b'x'; 2000];
    let head = Step::text("HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n");
    let origin = Origin::raw(vec![Step::ReadRequest, head, Step::Drip(body, Duration::from_millis(10))])?;
    let mut reach = limited(context, &origin, |limits| limits.total_timeout = Some(SHORT))?;
    let url = origin.url("/");
    let got = soon("the body", || reach.breaks(&Req::get(&url)))?;
    check!(got.len() < 2000 && got.iter().all(|byte| *byte == b'x'), "{} bytes were read", got.len());
    soon("the request", || reach.because(&Req::get(&url), HttpErrorKind::TotalTimeout))?;
    check!(origin.wait_until(|origin| origin.open() == 0), "the connection is still open");
    Ok(())
}

fn total_head(context: &Context) -> CaseResult {
    let origin = Origin::raw(vec![Step::ReadRequest, Step::Hold])?;
    let mut reach = limited(context, &origin, |limits| limits.total_timeout = Some(SHORT))?;
    fails_soon(&mut reach, &origin.url("/"), HttpErrorKind::TotalTimeout)
}

/// Each hop is quick, and there is always one more.
fn total_redirects(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::redirect(302, "/again").after(Duration::from_millis(20)))?;
    let net = context.net().allow(&origin.base()).redirects(Redirects::Follow(1000));
    let mut reach = net.limits(|limits| limits.total_timeout = Some(SHORT)).reach(context)?;
    fails_soon(&mut reach, &origin.url("/"), HttpErrorKind::TotalTimeout)?;
    check!(origin.requests().len() > 2, "no redirect was followed");
    Ok(())
}

/// The ABI has no timeouts of the guest's own, so this one is seen on [`Outbound`](wharf_core::http::Outbound) alone.
fn cannot_lengthen(context: &Context) -> CaseResult {
    let origin = Origin::raw(vec![Step::ReadRequest, Step::Hold])?;
    let url = origin.url("/");
    let generous = Limits {
        connect_timeout: Duration::MAX,
        first_byte_timeout: Duration::MAX,
        between_bytes_timeout: Duration::MAX,
        ..Limits::default()
    };
    for (change, kind) in [
        (Limits { first_byte_timeout: SHORT, ..Limits::default() }, HttpErrorKind::FirstByteTimeout),
        (Limits { total_timeout: Some(SHORT), ..Limits::default() }, HttpErrorKind::TotalTimeout),
    ] {
        let outbound = context.net().allow(&origin.base()).limits(|limits| *limits = change).outbound()?;
        let sending = || Ok(Run::default().wait(outbound.send_with(request(&Req::get(&url))?, generous.timeouts()))?);
        match soon("the request", sending)? {
            Err(error) => check_eq!(error.kind(), kind, "why the request failed"),
            Ok(_) => return Err(Unmet::failed("an origin that never answers was said to have answered")),
        }
    }
    Ok(())
}
