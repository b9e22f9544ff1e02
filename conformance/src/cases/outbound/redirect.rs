//! Redirects: handed over, followed, checked.

use std::time::{Duration, Instant};

use wharf_core::abi::experimental::ErrorCode;
use wharf_core::http::{HttpErrorKind, Redirects};

use super::{Reach, ip};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::origin::{Body, Certificate, Origin, Received, Reply, TestCa};
use crate::probe::Req;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("outbound/redirect/handed-to-the-guest", "Redirects::Manual", handed_over),
    Case::must("outbound/redirect/followed", "Redirects::Follow", followed),
    Case::must("outbound/redirect/what-is-no-redirect", "RFC 9110, section 15.4", no_redirect),
    Case::must("outbound/redirect/denied-hop", "Redirects::Follow: each hop is checked", denied_hop),
    Case::must("outbound/redirect/denied-later-hop", "Redirects::Follow: each hop is checked", denied_later),
    Case::must("outbound/redirect/denied-scheme", "Redirects::Follow: each hop is checked", denied_scheme),
    Case::must("outbound/redirect/denied-address", "Redirects::Follow: each hop is checked", denied_address),
    Case::must("outbound/redirect/too-many", "Redirects::Follow: a bound", too_many),
    Case::must("outbound/redirect/bad-location", "RFC 9110, section 10.2.2", bad_location),
    Case::must("outbound/redirect/method-becomes-get", "RFC 9110, section 15.4", becomes_get),
    Case::must("outbound/redirect/method-and-body-kept", "RFC 9110, sections 15.4.8 and 15.4.9", kept),
    Case::must("outbound/redirect/credentials-stay-behind", "Outbound::send: credentials and redirects", credentials),
    Case::must("outbound/redirect/credentials-within-the-origin", "Outbound::send: credentials and redirects", within),
    Case::must("outbound/redirect/body-is-not-waited-for", "Redirects::Follow: a redirect's body", body_not_waited_for),
];

/// Answers what `answer` says for each path.
fn origin(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> CaseResult<Origin> {
    Origin::http(move |request| answer(&request.target))
}

/// A guest that may reach these origins, with `follow` redirects.
fn reach(context: &Context, origins: &[&Origin], follow: u32) -> CaseResult<Reach> {
    let net = context.net().redirects(Redirects::Follow(follow));
    origins.iter().fold(net, |net, origin| net.allow(&origin.base())).reach(context)
}

fn handed_over(context: &Context) -> CaseResult {
    let origin = origin(|path| match path.trim_start_matches('/').parse() {
        Ok(status) => Reply::redirect(status, "http://denied.test/x").body(Body::Full("body".into())),
        Err(_) => Reply::status(500),
    })?;
    let net = context.net().allow(&origin.base()).redirects(Redirects::Manual);
    let mut reach = net.reach(context)?;
    for right in [301, 302, 303, 307, 308] {
        let (status, handle) = reach.probe.open(&Req::get(&origin.url(&format!("/{right}"))))?;
        check_eq!(status, right, "the status");
        let location = reach.probe.header(handle, b"location", 100)?;
        check_eq!(location, (0, b"http://denied.test/x".to_vec()), "the location of a {right}");
        check_eq!(reach.probe.read_all(handle)?, b"body", "the body of a {right}");
    }
    Ok(())
}

fn followed(context: &Context) -> CaseResult {
    let other = origin(|path| match path {
        "/start" => Reply::redirect(308, "?query#fragment"),
        path => Reply::ok(path.to_owned()),
    })?;
    let to_other = other.url("/start");
    let first = origin(move |path| match path {
        "/a/absolute" => Reply::redirect(301, &to_other),
        "/a/relative" => Reply::redirect(302, "../b/c"),
        "/a/rooted" => Reply::redirect(307, "/rooted/there"),
        path => Reply::ok(path.to_owned()),
    })?;
    let mut reach = reach(context, &[&first, &other], 2)?;
    for (from, to) in [("absolute", "/start?query"), ("relative", "/b/c"), ("rooted", "/rooted/there")] {
        check_eq!(reach.get(&first.url(&format!("/a/{from}")))?, to.as_bytes(), "where the {from} redirect leads");
    }
    Ok(())
}

fn no_redirect(context: &Context) -> CaseResult {
    let origin = origin(|path| match path.trim_start_matches('/').split_once('/') {
        Some((status, "there")) => Reply::redirect(status.parse().unwrap_or(500), "/elsewhere"),
        Some((status, _)) => Reply::status(status.parse().unwrap_or(500)),
        None => Reply::ok("elsewhere"),
    })?;
    let mut reach = reach(context, &[&origin], 5)?;
    for path in ["200/there", "201/there", "300/there", "304/there", "305/there", "306/there", "404/there"] {
        let (status, _) = reach.send(&Req::get(&origin.url(&format!("/{path}"))))?;
        check_eq!(status.to_string(), path[..3], "the status of {path}");
    }
    // A redirect that does not say where is the guest's to make sense of.
    for path in ["301/nowhere", "303/nowhere", "308/nowhere"] {
        let (status, _) = reach.send(&Req::get(&origin.url(&format!("/{path}"))))?;
        check_eq!(status.to_string(), path[..3], "the status of {path}");
    }
    Ok(())
}

fn denied_hop(context: &Context) -> CaseResult {
    let secret = Origin::replying(Reply::ok("secret"))?;
    let target = secret.url("/");
    let origin = origin(move |path| Reply::redirect(path[1..].parse().unwrap_or(500), &target))?;
    let mut reach = reach(context, &[&origin], 5)?;
    for status in [301, 302, 303, 307, 308] {
        reach.denied(&origin.url(&format!("/{status}")))?;
    }
    reach.because(&Req::get(&origin.url("/302")), HttpErrorKind::RedirectDenied)?;
    check_eq!(secret.accepted(), 0, "connections to the denied origin");
    Ok(())
}

fn denied_later(context: &Context) -> CaseResult {
    let secret = Origin::replying(Reply::ok("secret"))?;
    let target = secret.url("/");
    let origin = origin(move |path| match path {
        "/3" => Reply::redirect(302, &target),
        "/2" => Reply::redirect(302, "/3"),
        _ => Reply::redirect(302, "/2"),
    })?;
    reach(context, &[&origin], 10)?.denied(&origin.url("/1"))?;
    check_eq!(origin.requests().len(), 3, "requests to the allowed origin");
    check_eq!(secret.accepted(), 0, "connections to the denied origin");
    Ok(())
}

fn denied_scheme(context: &Context) -> CaseResult {
    let ca = TestCa::shared()?;
    let plain = Origin::replying(Reply::ok("in the clear"))?;
    let target = format!("http://localhost:{}/", plain.port());
    let secure = Origin::https(ca, Certificate::Good, &["http/1.1"], move |_| Reply::redirect(302, &target))?;
    // Both ports are allowed, over https.
    let net = context.net().allow(&secure.base()).allow(&format!("https://localhost:{}", plain.port())).trust(ca);
    net.name("localhost", &[plain.address().ip()]).reach(context)?.denied(&secure.url("/"))?;
    check_eq!(plain.accepted(), 0, "connections in the clear");
    Ok(())
}

fn denied_address(context: &Context) -> CaseResult {
    let inside = Origin::replying(Reply::ok("inside"))?;
    let target = format!("http://rebind.test:{}", inside.port());
    let location = format!("{target}/");
    let origin = origin(move |_| Reply::redirect(302, &location))?;
    let net = context.net().allow(&origin.base()).allow(&target).name("rebind.test", &[ip("127.0.0.1")?]);
    let mut reach = net.reach(context)?;
    reach.denied(&origin.url("/"))?;
    reach.because(&Req::get(&origin.url("/")), HttpErrorKind::AddressProhibited)?;
    check_eq!(inside.accepted(), 0, "connections to the address inside");
    Ok(())
}

fn too_many(context: &Context) -> CaseResult {
    let origin = origin(|path| match path[1..].parse::<u32>() {
        Ok(0) => Reply::ok("arrived"),
        Ok(left) => Reply::redirect(302, format!("/{}", left - 1)),
        Err(_) => Reply::redirect(302, path),
    })?;
    for limit in [0, 1, 3] {
        let mut reach = reach(context, &[&origin], limit)?;
        check_eq!(reach.get(&origin.url(&format!("/{limit}")))?, b"arrived", "the body after {limit} redirects");
        let before = origin.requests().len();
        reach.fails(&Req::get(&origin.url(&format!("/{}", limit + 1))), ErrorCode::RequestFailed)?;
        check_eq!(origin.requests().len() - before, limit as usize + 1, "requests made where {limit} redirects are");
        let round = origin.url("/round");
        reach.fails(&Req::get(&round), ErrorCode::RequestFailed)?;
        reach.because(&Req::get(&round), HttpErrorKind::TooManyRedirects)?;
    }
    Ok(())
}

fn bad_location(context: &Context) -> CaseResult {
    let locations =
        ["http://", "http://[::g]/", "http://a:99999/", "ftp://127.0.0.1/", "file:///etc/passwd", "data:,x"];
    let origin = origin(move |path| {
        let index: usize = path[1..].parse().unwrap_or_default();
        match locations.get(index) {
            Some(location) => Reply::redirect(302, location),
            None => Reply::status(302).header("location", b"/\xff\xfe"),
        }
    })?;
    let mut reach = reach(context, &[&origin], 5)?;
    for index in 0..=locations.len() {
        let url = origin.url(&format!("/{index}"));
        reach.fails(&Req::get(&url), ErrorCode::RequestFailed)?;
        reach.because(&Req::get(&url), HttpErrorKind::InvalidRedirect)?;
    }
    Ok(())
}

/// Sends `method` with a body to an origin that redirects it once with `status`, and gives what arrived in the end.
fn redirected(context: &Context, status: u16, method: &str) -> CaseResult<Received> {
    let origin = origin(move |path| if path == "/" { Reply::redirect(status, "/there") } else { Reply::ok("") })?;
    let url = origin.url("/");
    let lines = "content-type:text/plain\ncontent-language:en\nx-own:kept\n";
    let (seen, _) = reach(context, &[&origin], 1)?.send(&Req::get(&url).method(method).headers(lines).body(b"body"))?;
    check_eq!(seen, 200, "the status after the redirect");
    let mut requests = origin.requests();
    check_eq!(requests.len(), 2, "requests received");
    let last = requests.pop().ok_or_else(|| Unmet::failed("nothing was received"))?;
    check_eq!(last.all("x-own"), [b"kept"], "a header that is not about the body");
    Ok(last)
}

fn becomes_get(context: &Context) -> CaseResult {
    for (status, method) in [(301, "POST"), (302, "POST"), (303, "POST"), (303, "PUT"), (303, "DELETE")] {
        let request = redirected(context, status, method)?;
        check_eq!(request.method, "GET", "the method after a {status} of {method}");
        check_eq!(request.body, b"", "the body after a {status} of {method}");
        for name in ["content-type", "content-language", "content-length", "transfer-encoding"] {
            check!(request.all(name).is_empty(), "{name} was sent without the body, after a {status} of {method}");
        }
    }
    Ok(())
}

fn kept(context: &Context) -> CaseResult {
    for (status, method) in [(307, "POST"), (308, "POST"), (307, "PUT"), (301, "PUT"), (302, "PATCH")] {
        let request = redirected(context, status, method)?;
        check_eq!(request.method, method, "the method after a {status} of {method}");
        check_eq!(request.body, b"body", "the body after a {status} of {method}");
        check_eq!(request.all("content-type"), [b"text/plain"], "its type");
    }
    let origin = origin(|path| if path == "/" { Reply::redirect(303, "/there") } else { Reply::ok("") })?;
    reach(context, &[&origin], 1)?.send(&Req::get(&origin.url("/")).method("HEAD"))?;
    check_eq!(origin.requests().last().map(|request| request.method.clone()), Some("HEAD".to_owned()), "after a 303");
    Ok(())
}

const CREDENTIALS: &str = "authorization:Bearer secret\ncookie:session=secret\nx-own:kept\n";

fn credentials(context: &Context) -> CaseResult {
    let other = Origin::replying(Reply::ok("other"))?;
    let target = other.url("/");
    let first = origin(move |_| Reply::redirect(307, &target))?;
    let mut reach = reach(context, &[&first, &other], 1)?;
    reach.send(&Req::get(&first.url("/")).headers(CREDENTIALS))?;
    let (asked, request) = (first.request()?, other.request()?);
    check_eq!(asked.all("authorization"), [b"Bearer secret"], "the credentials for the first origin");
    for name in ["authorization", "cookie"] {
        check!(request.all(name).is_empty(), "the {name} for one origin was sent to another");
    }
    check!(request.all("referer").is_empty(), "the first URL was told to the second origin");
    check_eq!(request.all("x-own"), [b"kept"], "another header");
    Ok(())
}

fn within(context: &Context) -> CaseResult {
    let origin = origin(|path| if path == "/" { Reply::redirect(307, "/there") } else { Reply::ok("") })?;
    reach(context, &[&origin], 1)?.send(&Req::get(&origin.url("/")).headers(CREDENTIALS))?;
    let request = origin.requests().pop().unwrap_or_default();
    check_eq!(request.target, "/there", "the target of the last request");
    check_eq!(request.all("authorization"), [b"Bearer secret"], "the credentials, at the same origin");
    check_eq!(request.all("cookie"), [b"session=secret"], "the cookie, at the same origin");
    Ok(())
}

fn body_not_waited_for(context: &Context) -> CaseResult {
    let origin = origin(|path| match path {
        "/" => Reply::redirect(302, "/there").body(Body::Endless),
        _ => Reply::ok("arrived"),
    })?;
    let mut reach = reach(context, &[&origin], 1)?;
    let before = Instant::now();
    check_eq!(reach.get(&origin.url("/"))?, b"arrived", "the body after a redirect with a body without end");
    check!(before.elapsed() < Duration::from_secs(5), "following it took {:?}", before.elapsed());
    check!(origin.wait_until(|origin| origin.open() <= 1), "the endless body is still received");
    Ok(())
}
