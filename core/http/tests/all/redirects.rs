//! Redirects: every hop is checked, and nothing goes to another origin that was not meant for it.

use crate::support::*;
use http::Request;
use http_body_util::BodyExt;
use wharf_http::{HttpErrorKind, Outbound, Outgoing, Redirects};

/// Redirects to `location`, or answers once a path of its own, `/end`, is asked for.
fn redirecting(status: &'static str, location: impl Into<String>) -> Origin {
    let location = location.into();
    Origin::new(move |request, stream| {
        use std::io::Write;
        let answer = if request.split(' ').nth(1) == Some("/end") {
            answer("200 OK", "", "end")
        } else {
            answer(status, &format!("location: {location}\r\n"), "moved")
        };
        _ = stream.write_all(answer.as_bytes());
        Then::Keep
    })
}

fn refused_after(outbound: &Outbound, request: Request<Outgoing>) -> HttpErrorKind {
    follow(outbound, request).expect_err("no error").kind()
}

fn post(url: &str) -> Request<Outgoing> {
    Request::post(url)
        .header("content-type", "text/plain")
        .header("authorization", "secret")
        .header("cookie", "secret")
        .header("x-own", "1")
        .body(Outgoing::from("body"))
        .unwrap()
}

#[test]
fn a_hop_on_the_same_origin_is_followed_on_the_same_connection() {
    let origin = redirecting("302 Found", "/end");
    let response = follow(&outbound(allowing(&[&origin])), post(&origin.url("/start"))).unwrap();
    assert_eq!((response.status().as_u16(), response.body().as_str()), (200, "end"));
    let sent = origin.requests();
    assert!(sent[1].starts_with("GET /end HTTP/1.1\r\n") && sent[1].ends_with("\r\n\r\n"), "{sent:?}");
    assert!(sent[1].contains("authorization: secret") && sent[1].contains("x-own: 1"), "{sent:?}");
    assert!(!sent[1].contains("content-type") && !sent[1].contains("content-length"), "{sent:?}");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn one_request_has_one_response() {
    let origin = redirecting("302 Found", "/end");
    let response = fetch(&outbound(allowing(&[&origin])), get(&origin.url("/"))).unwrap();
    assert_eq!((response.status().as_u16(), response.body().as_str()), (302, "moved"));
    assert_eq!((response.headers()["location"].as_bytes(), origin.requests().len()), (&b"/end"[..], 1));
}

#[test]
fn a_body_that_is_kept_is_sent_again() {
    for status in ["307 Temporary Redirect", "308 Permanent Redirect"] {
        let origin = redirecting(status, "/end");
        let response = follow(&outbound(allowing(&[&origin])), post(&origin.url("/start"))).unwrap();
        assert_eq!(response.body(), "end");
        let sent = origin.requests();
        assert!(sent[1].starts_with("POST /end ") && sent[1].ends_with("\r\n\r\nbody"), "{sent:?}");
        assert!(sent[1].contains("content-type: text/plain"), "{sent:?}");
    }
}

#[test]
fn a_streamed_body_cannot_be_sent_again_so_the_guest_gets_the_redirect() {
    let body = || {
        let body = http_body_util::Full::new("body".into()).map_err(|never| match never {}).boxed_unsync();
        Outgoing::Stream(body)
    };
    let origin = redirecting("307 Temporary Redirect", "/end");
    let outbound = outbound(allowing(&[&origin]));
    let response = follow(&outbound, Request::post(origin.url("/")).body(body()).unwrap()).unwrap();
    assert_eq!((response.status().as_u16(), response.body().as_str()), (307, "moved"));
    assert_eq!(response.headers()["location"], "/end");
    let see_other = redirecting("303 See Other", "/end");
    let request = Request::post(see_other.url("/")).body(body()).unwrap();
    assert_eq!(follow(&crate::support::outbound(allowing(&[&see_other])), request).unwrap().body(), "end");
}

#[test]
fn a_denied_hop_is_never_made() {
    let target = Origin::answering(answer("200 OK", "", "secret"));
    let origin = redirecting("302 Found", target.url("/x"));
    let error = follow(&outbound(allowing(&[&origin])), get(&origin.url("/"))).unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::RedirectDenied);
    let text = error.to_string();
    assert!(text.contains(&origin.url("")) && text.contains(&format!("add {} to", target.url(""))), "{text}");
    assert_eq!(target.connections(), 0);
}

#[test]
fn credentials_do_not_cross_origins() {
    let target = Origin::answering(answer("200 OK", "", "end"));
    let origin = redirecting("307 Temporary Redirect", target.url("/x"));
    let response = follow(&outbound(allowing(&[&origin, &target])), post(&origin.url("/"))).unwrap();
    assert_eq!(response.body(), "end");
    let sent = &target.requests()[0];
    assert!(!sent.contains("secret") && !sent.contains("referer"), "{sent}");
    assert!(sent.contains("x-own: 1") && sent.contains(&format!("host: {}", target.address)), "{sent}");
}

#[test]
fn credentials_do_not_come_back_with_the_way_back() {
    let (sender, receiver) = std::sync::mpsc::channel::<String>();
    let receiver = std::sync::Mutex::new(receiver);
    let back = std::sync::OnceLock::new();
    let other = Origin::new(move |_, stream| {
        use std::io::Write;
        let back = back.get_or_init(|| receiver.lock().unwrap().recv().unwrap());
        _ = stream.write_all(answer("302 Found", &format!("location: {back}\r\n"), "").as_bytes());
        Then::Keep
    });
    let origin = redirecting("302 Found", other.url("/"));
    sender.send(origin.url("/end")).unwrap();
    assert_eq!(follow(&outbound(allowing(&[&origin, &other])), post(&origin.url("/"))).unwrap().body(), "end");
    assert!(!origin.requests()[1].contains("secret"));
}

#[test]
fn hops_are_counted() {
    let origin = redirecting("302 Found", "/again");
    let follow = |n| outbound(allowing(&[&origin]).redirects(Redirects::Follow(n)));
    assert_eq!(refused_after(&follow(3), get(&origin.url("/"))), HttpErrorKind::TooManyRedirects);
    assert_eq!(origin.requests().len(), 4);
    assert_eq!(refused_after(&follow(0), get(&origin.url("/"))), HttpErrorKind::TooManyRedirects);
    assert_eq!(origin.requests().len(), 5);
}

#[test]
fn a_guest_may_get_the_redirect_itself() {
    let origin = redirecting("302 Found", "http://elsewhere.example/");
    let outbound = outbound(allowing(&[&origin]).redirects(Redirects::Manual));
    let response = follow(&outbound, get(&origin.url("/"))).unwrap();
    assert_eq!((response.status().as_u16(), response.body().as_str()), (302, "moved"));
    assert_eq!(response.headers()["location"], "http://elsewhere.example/");
}

#[test]
fn a_redirect_to_nowhere_is_told_apart() {
    for (location, expected) in [
        ("http://", HttpErrorKind::InvalidRedirect),
        ("http://[::g]/", HttpErrorKind::InvalidRedirect),
        ("file:///etc/passwd", HttpErrorKind::InvalidRedirect),
        ("//10.0.0.1/", HttpErrorKind::RedirectDenied),
        ("http://2130706433:1/", HttpErrorKind::RedirectDenied),
    ] {
        let origin = redirecting("302 Found", location);
        assert_eq!(refused_after(&outbound(allowing(&[&origin])), get(&origin.url("/"))), expected, "{location}");
    }
    let without = Origin::answering(answer("302 Found", "", "moved"));
    assert_eq!(follow(&outbound(allowing(&[&without])), get(&without.url("/"))).unwrap().body(), "moved");
}
