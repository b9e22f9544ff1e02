//! Which requests share a connection, and which must not.

use std::time::Duration;

use wharf_core::abi::experimental::ErrorCode;

use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::origin::{Body, Origin, Reply, Step};
use crate::probe::Req;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::should("outbound/connection/is-used-again", "RFC 9112, section 9.3", used_again),
    Case::should("outbound/connection/is-used-again-without-a-body", "RFC 9112, section 9.3", bodiless),
    Case::must("outbound/connection/close-is-kept-to", "RFC 9112, section 9.6", close),
    Case::must("outbound/connection/unread-body-ends-it", "Incoming: dropping it ends the exchange", unread),
    Case::must("outbound/connection/idle-and-closed-is-replaced", "RFC 9112, section 9.5", replaced),
    Case::must("outbound/connection/sent-again-only-if-idempotent", "RFC 9110, section 9.2.2", repeated),
    Case::must("outbound/connection/bytes-after-a-response", "RFC 9112, section 6.3", smuggled),
    Case::must("outbound/connection/is-not-shared-between-policies", "PooledTransport: one pool for one policy", apart),
];

/// Time for a connection to go back to the pool, or for its end to be noticed.
const A_MOMENT: Duration = Duration::from_millis(50);

fn used_again(context: &Context) -> CaseResult {
    let origin = Origin::http(|request| match request.target.as_str() {
        "/pieces" => Reply::ok("").body(Body::Pieces(vec![(Duration::ZERO, "pieces".into())])),
        _ => Reply::ok("whole"),
    })?;
    let mut reach = context.reach(&origin)?;
    for path in ["/", "/pieces", "/", "/pieces"] {
        reach.get(&origin.url(path))?;
        std::thread::sleep(A_MOMENT);
    }
    let used: Vec<usize> = origin.requests().iter().map(|request| request.connection).collect();
    check_eq!(used, [0, 0, 0, 0], "the connections that four requests in a row came over");
    Ok(())
}

fn bodiless(context: &Context) -> CaseResult {
    let origin = Origin::raw(
        [
            Step::exchange("204 No Content", &[], ""),
            vec![Step::ReadRequest, Step::text("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")],
            vec![Step::ReadRequest, Step::text("HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n")],
            Step::exchange("200 OK", &[], "last"),
            vec![Step::Hold],
        ]
        .concat(),
    )?;
    let mut reach = context.reach(&origin)?;
    let url = origin.url("/");
    let mut seen = Vec::new();
    for method in ["GET", "HEAD", "GET", "GET"] {
        let (status, body) = reach.send(&Req::get(&url).method(method))?;
        seen.push((status, String::from_utf8_lossy(&body).into_owned()));
        std::thread::sleep(A_MOMENT);
    }
    let right = [(204, ""), (200, ""), (304, ""), (200, "last")].map(|(status, body)| (status, body.to_owned()));
    check_eq!(seen, right, "the answers over one connection");
    check_eq!(origin.accepted(), 1, "connections");
    Ok(())
}

fn close(context: &Context) -> CaseResult {
    let script = [Step::exchange("200 OK", &["Connection: Close"], "first"), Step::exchange("200 OK", &[], "reused")];
    let origin = Origin::raw([script.concat(), vec![Step::Hold]].concat())?;
    let mut reach = context.reach(&origin)?;
    for _ in 0..2 {
        check_eq!(reach.get(&origin.url("/"))?, b"first", "the body");
        std::thread::sleep(A_MOMENT);
    }
    check_eq!(origin.accepted(), 2, "connections for two requests to an origin that asks to close");
    Ok(())
}

fn unread(context: &Context) -> CaseResult {
    let origin = Origin::http(|request| match request.target.as_str() {
        "/endless" => Reply::ok("").body(Body::Endless),
        _ => Reply::ok("whole"),
    })?;
    let mut reach = context.reach(&origin)?;
    let (_, handle) = reach.probe.open(&Req::get(&origin.url("/endless")))?;
    reach.probe.read(handle, 100)?;
    reach.probe.close(handle)?;
    check!(origin.wait_until(|origin| origin.open() == 0), "the connection of a body given up is still open");
    check_eq!(reach.get(&origin.url("/"))?, b"whole", "the body of the next request");
    check_eq!(origin.requests().last().map(|request| request.connection), Some(1), "the connection it came over");
    Ok(())
}

fn replaced(context: &Context) -> CaseResult {
    // Says nothing of closing, and closes after each answer.
    let origin = Origin::raw(Step::exchange("200 OK", &["connection: keep-alive"], "body"))?;
    let mut reach = context.reach(&origin)?;
    for _ in 0..3 {
        check_eq!(reach.get(&origin.url("/"))?, b"body", "the body");
        check!(origin.wait_until(|origin| origin.open() == 0), "the origin did not close");
        std::thread::sleep(A_MOMENT);
    }
    check_eq!(origin.requests().len(), 3, "requests received");
    Ok(())
}

/// An origin that has seen a request may have acted on it.
/// An origin may close an idle connection just when a request is on its way.
fn repeated(context: &Context) -> CaseResult {
    let origin = Origin::raw_each(|_| [Step::exchange("200 OK", &[], "x"), vec![Step::ReadRequest]].concat())?;
    let mut reach = context.reach(&origin)?;
    let url = origin.url("/second");
    for (req, seen) in [
        (Req::get(&url).method("POST").body(b"body"), 1),
        (Req::get(&url).method("POST"), 1),
        (Req::get(&url).method("PUT").body(b"body"), 1),
        (Req::get(&url), 2),
        (Req::get(&url).method("DELETE"), 2),
    ] {
        check_eq!(reach.get(&origin.url("/first"))?, b"x", "the body");
        std::thread::sleep(A_MOMENT);
        let before = origin.requests().len();
        let what = String::from_utf8_lossy(req.method).into_owned();
        if seen == 1 {
            reach.fails(&req, ErrorCode::RequestFailed)?;
        } else {
            check_eq!(reach.send(&req)?, (200, b"x".to_vec()), "the answer to a {what}, over another connection");
        }
        std::thread::sleep(A_MOMENT);
        check_eq!(origin.requests().len() - before, seen, "times that a {what} was received");
    }
    // Over a connection of its own it is not repeated.
    let closing = Origin::raw_each(|_| vec![Step::ReadRequest])?;
    context.reach(&closing)?.fails(&Req::get(&closing.url("/")), ErrorCode::RequestFailed)?;
    std::thread::sleep(A_MOMENT);
    check_eq!(closing.requests().len(), 1, "times that a request over its own connection was received");
    Ok(())
}

/// Bytes that follow a response belong to no request: they must not become the answer to the next one.
fn smuggled(context: &Context) -> CaseResult {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    for good in [
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
    ] {
        let together = Step::text(format!("{good}{evil}"));
        let origin = Origin::raw(vec![Step::ReadRequest, together, Step::Hold])?;
        let mut reach = context.reach(&origin)?;
        for _ in 0..3 {
            check_eq!(reach.get(&origin.url("/"))?, b"good", "the body of an answer with more behind it");
            std::thread::sleep(A_MOMENT);
        }
        check_eq!(origin.accepted(), 3, "connections");
    }
    Ok(())
}

fn apart(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("x"))?;
    for _ in 0..2 {
        context.reach(&origin)?.get(&origin.url("/"))?;
        std::thread::sleep(A_MOMENT);
    }
    check_eq!(origin.accepted(), 2, "connections of two guests with a policy each");
    Ok(())
}
