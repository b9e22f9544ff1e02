//! What the edge of the server lets through to a guest, over HTTP/2 without TLS: `docs/http-edge.md` is the table.

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use wharf_core::{Run, io};
use wharf_server::ServerOptions;

use super::edge::telling;
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::wasihttp::handler::{FINISH, RESPOND, handler};
use crate::cases::wasihttp::serving::write_entries;
use crate::check_eq;
use crate::context::Context;
use crate::origin::PATIENCE;
use crate::served::{Served, Setup};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("serving/edge/http2-cookies", "RFC 9113, section 8.2.3", cookies),
    Case::must("serving/edge/http2-authority", "RFC 9113, section 8.3.1", authority),
    Case::must("serving/edge/http2-schemes", "RFC 9110, section 7.4", schemes),
    Case::must("serving/edge/http2-targets", "RFC 9113, section 8.3.1", targets),
    Case::must("serving/edge/http2-values", "RFC 9113, section 8.2.1", values),
    Case::must("serving/edge/http2-limits", "RFC 9112, section 3; RFC 6585, section 5", limits),
];

/// The status of a request, and the body that comes with it.
fn ask(served: &Served, method: &Method, uri: &str, fields: &[(&'static str, &str)]) -> CaseResult<(u16, String)> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, HeaderValue::from_str(value).map_err(Unmet::harness)?);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(Unmet::harness)?;
    let address = served.address();
    let exchange = async move {
        let stream = tokio::net::TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| format!("{error:?}"))?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|error| format!("{error:?}"))?;
        Ok::<_, String>((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    let exchange = io().spawn(async move { tokio::time::timeout(PATIENCE, exchange).await });
    let answer = Run::default().wait(exchange)?.map_err(Unmet::harness)?;
    answer.map_err(|_| Unmet::failed("no answer came"))?.map_err(Unmet::failed)
}

/// A method, a target, fields, and what the guest sees or the status that says that it saw nothing.
type Row<'a> = (Method, &'a str, &'a [(&'static str, &'a str)], Result<&'a str, u16>);

fn each(served: &Served, rows: &[Row<'_>]) -> CaseResult {
    for (method, uri, fields, expected) in rows {
        let shown: String = format!("{method} {uri} {fields:?}").chars().take(120).collect();
        let (status, body) = ask(served, method, uri, fields).map_err(|unmet| unmet.context(&shown))?;
        match expected {
            Ok(seen) => check_eq!((status, body.as_str()), (200, *seen), "the answer to {shown}"),
            Err(refused) => check_eq!(status, *refused, "the status of {shown}, which is answered with {body:?}"),
        }
    }
    Ok(())
}

fn served(context: &Context, change: impl FnOnce(&mut ServerOptions)) -> CaseResult<Served> {
    let mut setup = Setup::default();
    change(&mut setup.server);
    Served::start(context, &telling(), setup)
}

fn cookies(context: &Context) -> CaseResult {
    let take = r#"(local.set $input (call $"[method]incoming-request.headers" (local.get $request)))"#;
    let served = Served::start(context, &handler(&[RESPOND, take, &write_entries(), FINISH]), Setup::default())?;
    let fields = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
    each(&served, &[(Method::GET, "http://a/", &fields, Ok("cookie=a=1; b=2; c=3;"))])
}

fn authority(context: &Context) -> CaseResult {
    each(
        &served(context, |_| {})?,
        &[
            (Method::GET, "http://a/x", &[], Ok("0ahello/x")),
            (Method::GET, "http://a/x", &[("host", "A:80")], Ok("0ahello/x")),
            (Method::GET, "http://u@a/x", &[], Err(400)),
            (Method::GET, "http://a/x", &[("host", "b")], Err(400)),
            (Method::GET, "http://a/x", &[("host", "u@a")], Err(400)),
            (Method::GET, "http://a/x", &[("host", "a"), ("host", "a")], Err(400)),
        ],
    )
}

fn schemes(context: &Context) -> CaseResult {
    let refused = [(Method::GET, "https://a/", &[][..], Err(421)), (Method::GET, "ftp://a/", &[], Err(421))];
    each(&served(context, |_| {})?, &refused)?;
    let forwarded = [("forwarded", "proto=https")];
    let trusted = [
        (Method::GET, "https://a/", &[][..], Ok("1ahello/")),
        (Method::GET, "http://a/", &forwarded, Ok("1ahello/")),
        (Method::GET, "ftp://a/", &[], Err(421)),
    ];
    each(&served(context, |options| options.trusted_proxy = true)?, &trusted)
}

fn targets(context: &Context) -> CaseResult {
    each(
        &served(context, |_| {})?,
        &[(Method::GET, "http://a/?q", &[], Ok("0ahello/?q")), (Method::CONNECT, "a:80", &[], Err(501))],
    )
}

fn values(context: &Context) -> CaseResult {
    each(
        &served(context, |_| {})?,
        &[
            (Method::GET, "http://a/", &[("x", "1 2")], Ok("0ahello/")),
            (Method::GET, "http://a/", &[("x", " 1")], Err(400)),
            (Method::GET, "http://a/", &[("x", "1\t")], Err(400)),
            (Method::GET, "http://a/", &[("cookie", "a=1 "), ("cookie", "b=2")], Err(400)),
        ],
    )
}

fn limits(context: &Context) -> CaseResult {
    let long = format!("http://a/{}", "x".repeat(40 << 10));
    let many = vec![("x", "1"); 101];
    each(
        &served(context, |_| {})?,
        &[
            (Method::GET, &long, &[], Err(414)),
            (Method::GET, "http://a/", &many[1..], Ok("0ahello/")),
            (Method::GET, "http://a/", &many, Err(431)),
        ],
    )
}
