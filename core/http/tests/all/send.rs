//! Requests and responses as they stand on the wire.

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use crate::support::*;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use wharf_http::{Body, HttpError, HttpErrorKind, Limits, Outbound, Outgoing, Policy};

fn stream(parts: Vec<Result<&'static str, HttpError>>) -> Outgoing {
    let frames = parts.into_iter().map(|part| part.map(|text| Frame::data(Bytes::from_static(text.as_bytes()))));
    Outgoing::Stream(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync())
}

#[test]
fn a_request_arrives_as_it_was_written() {
    let origin = Origin::answering(answer("201 Made", "x-a: 1\r\nx-a: 2\r\n", "hello"));
    let outbound = outbound(allowing(&[&origin]));
    let request = Request::post(origin.url("/path?query=%20"))
        .header("x-one", "1")
        .header("x-two", "a")
        .header("x-two", "b")
        .body(Outgoing::from("body"))
        .unwrap();
    let response = fetch(&outbound, request).unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(response.body(), "hello");
    let requests = origin.requests();
    let lines: Vec<&str> = requests[0].split("\r\n").collect();
    assert_eq!(lines[0], "POST /path?query=%20 HTTP/1.1");
    for line in ["x-one: 1", "x-two: a", "x-two: b", "content-length: 4", &format!("host: {}", origin.address), "body"]
    {
        assert_eq!(lines.iter().filter(|found| **found == line).count(), 1, "{line} {lines:?}");
    }
}

#[test]
fn requests_share_a_connection() {
    let origin = Origin::answering(answer("200 OK", "", "x"));
    let outbound = outbound(allowing(&[&origin]));
    for _ in 0..5 {
        assert_eq!(fetch(&outbound, get(&origin.url("/"))).unwrap().body(), "x");
    }
    assert_eq!(fetch(&outbound.for_guest(), get(&origin.url("/"))).unwrap().body(), "x");
    assert_eq!(origin.connections(), 1);
    assert_eq!(origin.requests().len(), 6);
}

#[test]
fn bytes_are_sent_and_limits_are_those_that_were_given() {
    let origin = Origin::answering(answer("200 OK", "", "x"));
    let limits = Limits { request_body_bytes: 5, ..Limits::default() };
    let outbound = outbound_with(allowing(&[&origin]), limits);
    assert_eq!(outbound.limits().request_body_bytes, 5);
    let request = Request::post(origin.url("/")).body(Outgoing::from(b"bytes".to_vec())).unwrap();
    fetch(&outbound, request).unwrap();
    assert!(origin.requests()[0].ends_with("\r\n\r\nbytes"), "{:?}", origin.requests());
}

#[test]
fn it_is_known_whether_a_guest_has_sent_anything() {
    let origin = Origin::answering(answer("200 OK", "", "x"));
    let outbound = outbound(allowing(&[&origin]));
    fetch(&outbound, get("http://denied.example/")).unwrap_err();
    assert!(!outbound.has_sent(), "a request that was denied was not sent");
    fetch(&outbound.clone(), get(&origin.url("/"))).unwrap();
    assert!(outbound.has_sent() && !outbound.for_guest().has_sent());
}

#[test]
fn tenants_share_no_connection() {
    let origin = Origin::answering(answer("200 OK", "", "x"));
    for _ in 0..2 {
        fetch(&outbound(allowing(&[&origin])), get(&origin.url("/"))).unwrap();
    }
    assert_eq!(origin.connections(), 2);
}

#[test]
fn connection_headers_pass_in_neither_direction() {
    let headers = "connection: keep-alive, x-hop\r\nkeep-alive: timeout=5\r\nx-hop: 1\r\nproxy-authenticate: x\r\n\
                   upgrade: h2c\r\nx-internal: 1\r\nx-own: 1\r\n";
    let origin = Origin::answering(answer("200 OK", headers, ""));
    let outbound = outbound(allowing(&[&origin]).forbid_header("x-internal").unwrap());
    let mut request = get(&origin.url("/"));
    for (name, value) in [
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("host", "evil.example"),
        ("proxy-authorization", "x"),
        ("upgrade", "websocket"),
        ("x-internal", "1"),
        ("x-own", "1"),
    ] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let response = fetch(&outbound, request).unwrap();
    let mut names: Vec<&str> = response.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "x-own"]);
    let sent = origin.requests()[0].to_lowercase();
    assert!(sent.contains("x-own: 1") && sent.contains(&format!("host: {}", origin.address)), "{sent}");
    for name in ["connection:", "x-hop:", "transfer-encoding:", "evil", "proxy-auth", "upgrade:", "x-internal:"] {
        assert!(!sent.contains(name), "{name} {sent}");
    }
}

#[test]
fn a_user_name_in_a_url_is_refused() {
    let origin = Origin::answering(answer("200 OK", "", ""));
    let outbound = outbound(allowing(&[&origin]));
    assert_eq!(refused(&outbound, get(&format!("http://us%20er:pass@{}/", origin.address))), HttpErrorKind::InvalidUrl);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_length_beside_chunks_says_nothing() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\ntransfer-encoding: chunked\r\n\r\n";
    let origin = Origin::answering(format!("{head}2\r\nab\r\n0\r\n\r\n"));
    let outbound = outbound(allowing(&[&origin]));
    let response = fetch(&outbound, get(&origin.url("/"))).unwrap();
    assert_eq!((response.body().as_str(), response.headers().get("content-length")), ("ab", None));
}

/// RFC 9112, section 6.1: chunked is said once, and of other codings nobody here knows how to undo them.
#[test]
fn a_response_in_another_transfer_coding_is_refused() {
    for codings in
        ["gzip", "gzip, chunked", "chunked\r\ntransfer-encoding: chunked", "gzip\r\ntransfer-encoding: chunked"]
    {
        let origin =
            Origin::answering(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {codings}\r\n\r\n1\r\na\r\n0\r\n\r\n"));
        let outbound = outbound(allowing(&[&origin]));
        assert_eq!(refused(&outbound, get(&origin.url("/"))), HttpErrorKind::TransferCoding, "{codings:?}");
    }
}

/// RFC 9110, section 8.6.
#[test]
fn a_length_said_twice_is_one() {
    for lengths in ["content-length: 1\r\n", "content-length: 1\r\ncontent-length: 1\r\n"] {
        let origin = Origin::answering(format!("HTTP/1.1 200 OK\r\n{lengths}\r\nx"));
        let response = fetch(&outbound(allowing(&[&origin])), get(&origin.url("/"))).unwrap();
        assert_eq!(response.headers().get_all("content-length").iter().collect::<Vec<_>>(), ["1"]);
        assert_eq!(response.body(), "x");
    }
}

/// Closes each connection after its first answer, when the second request has arrived.
fn closing() -> Origin {
    let answered = std::sync::Mutex::new(std::collections::HashSet::new());
    Origin::new(move |_, stream| {
        if !answered.lock().unwrap().insert(stream.peer_addr().unwrap()) {
            return Then::Close;
        }
        _ = stream.write_all(answer("200 OK", "", "x").as_bytes());
        Then::Keep
    })
}

#[test]
fn what_an_idle_connection_lost_is_repeated_only_if_it_may_be() {
    let origin = closing();
    let outbound = outbound(allowing(&[&origin]));
    for _ in 0..2 {
        assert_eq!(fetch(&outbound, get(&origin.url("/"))).unwrap().body(), "x");
    }
    assert_eq!((origin.connections(), origin.requests().len()), (2, 3));
    let post = Request::post(origin.url("/")).body(Outgoing::from("body")).unwrap();
    assert_eq!(refused(&outbound, post), HttpErrorKind::ConnectionClosed);
    assert_eq!((origin.connections(), origin.requests().len()), (2, 4));
}

#[test]
fn an_empty_stream_is_no_body() {
    let origin = Origin::answering(answer("200 OK", "", ""));
    let outbound = outbound(allowing(&[&origin]));
    for (method, length) in [(Method::POST, true), (Method::PUT, true), (Method::GET, false), (Method::DELETE, false)] {
        let mut request = Request::new(stream(Vec::new()));
        *request.method_mut() = method;
        *request.uri_mut() = origin.url("/").parse().unwrap();
        fetch(&outbound, request).unwrap();
        let sent = origin.requests().pop().unwrap();
        assert_eq!(sent.contains("content-length: 0\r\n"), length, "{sent}");
        assert!(!sent.contains("transfer-encoding"), "{sent}");
    }
}

#[test]
fn trailers_that_would_be_lost_are_an_error() {
    let origin = Origin::answering(answer("200 OK", "", ""));
    let outbound = outbound(allowing(&[&origin]));
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    let frames = [Ok::<_, HttpError>(Frame::data(Bytes::from_static(b"ab"))), Ok(Frame::trailers(trailers))];
    let body = Outgoing::Stream(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync());
    let error = send(&outbound, Request::post(origin.url("/")).body(body).unwrap()).unwrap_err();
    assert!(error.kind() == HttpErrorKind::InvalidRequest && error.to_string().contains("x-sum"), "{error}");
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn a_streamed_body_is_sent_in_chunks_or_with_its_announced_length() {
    let origin = Origin::answering(answer("200 OK", "", ""));
    let outbound = outbound(allowing(&[&origin]));
    let request = Request::post(origin.url("/")).body(stream(vec![Ok("one"), Ok(""), Ok("two")])).unwrap();
    fetch(&outbound, request).unwrap();
    let request =
        Request::put(origin.url("/")).header("content-length", "6").body(stream(vec![Ok("one"), Ok("two")])).unwrap();
    fetch(&outbound, request).unwrap();
    let sent = origin.requests();
    assert!(sent[0].contains("transfer-encoding: chunked") && sent[0].ends_with("\r\n\r\nonetwo"), "{sent:?}");
    assert!(sent[1].contains("content-length: 6") && sent[1].ends_with("\r\n\r\nonetwo"), "{sent:?}");
    assert!(!sent[1].contains("chunked"), "{sent:?}");
}

#[test]
fn a_get_may_have_a_body() {
    let origin = Origin::answering(answer("200 OK", "", ""));
    let outbound = outbound(allowing(&[&origin]));
    let request = Request::get(origin.url("/")).body(Outgoing::from("body")).unwrap();
    fetch(&outbound, request).unwrap();
    let request = Request::get(origin.url("/")).header("content-length", "4").body(stream(vec![Ok("body")])).unwrap();
    fetch(&outbound, request).unwrap();
    fetch(&outbound, Request::get(origin.url("/")).body(stream(Vec::new())).unwrap()).unwrap();
    fetch(&outbound, Request::get(origin.url("/")).body(stream(vec![Ok("bo"), Ok("dy")])).unwrap()).unwrap();
    let late = futures_util::stream::once(async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok::<_, HttpError>(Frame::data(Bytes::from_static(b"body")))
    });
    let late = Outgoing::Stream(StreamBody::new(late).boxed_unsync());
    fetch(&outbound, Request::get(origin.url("/")).body(late).unwrap()).unwrap();
    let sent = origin.requests();
    assert!(sent[2].ends_with("\r\n\r\n") && !sent[2].contains("chunked"), "{sent:?}");
    for at in [0, 1, 3, 4] {
        assert!(sent[at].ends_with("\r\n\r\nbody"), "{sent:?}");
    }
}

#[test]
fn a_body_that_is_not_what_it_announces_never_looks_complete() {
    let origin = Origin::answering(answer("200 OK", "", ""));
    let outbound = outbound(allowing(&[&origin]));
    let put = |length: &str, body: Outgoing| {
        Request::put(origin.url("/")).header("content-length", length).body(body).unwrap()
    };
    assert_eq!(refused(&outbound, put("5", "body".into())), HttpErrorKind::RequestBodyLength(4));
    assert_eq!(refused(&outbound, put("+4", "body".into())), HttpErrorKind::InvalidRequest);
    assert_eq!(refused(&outbound, put("9", stream(vec![Ok("short")]))), HttpErrorKind::RequestBodyLength(5));
    assert_eq!(refused(&outbound, put("6", stream(vec![Ok("too"), Ok("long")]))), HttpErrorKind::RequestBodyLength(7));
    let own = HttpError::new(HttpErrorKind::RequestBodyAborted, "the guest trapped");
    let request = Request::put(origin.url("/")).body(stream(vec![Ok("part"), Err(own)])).unwrap();
    assert_eq!(refused(&outbound, request), HttpErrorKind::RequestBodyAborted);
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn request_limits_hold_and_zero_is_none() {
    let origin = Origin::answering(answer("200 OK", "", ""));
    let with = |limits: Limits| outbound_with(allowing(&[&origin]), limits);
    let post = |body: Outgoing| Request::post(origin.url("/")).header("x-a", "1").body(body).unwrap();

    let small = with(Limits { request_body_bytes: 4, ..Limits::default() });
    assert_eq!(refused(&small, post("12345".into())), HttpErrorKind::RequestBodyTooLarge);
    assert_eq!(refused(&small, post(stream(vec![Ok("123"), Ok("45")]))), HttpErrorKind::RequestBodyTooLarge);
    assert!(fetch(&small, post("1234".into())).is_ok());
    assert!(fetch(&small, post(stream(vec![Ok("12"), Ok("34")]))).is_ok());

    let none = with(Limits { request_body_bytes: 0, ..Limits::default() });
    assert_eq!(refused(&none, post("1".into())), HttpErrorKind::RequestBodyTooLarge);
    assert!(fetch(&none, post(Outgoing::empty())).is_ok());

    for limits in [Limits { header_count: 0, ..Limits::default() }, Limits { header_bytes: 3, ..Limits::default() }] {
        assert_eq!(refused(&with(limits), post(Outgoing::empty())), HttpErrorKind::RequestHeadersTooLarge);
    }
    let none = with(Limits { in_flight_requests: 0, ..Limits::default() });
    assert_eq!(refused(&none, get(&origin.url("/"))), HttpErrorKind::TooManyInFlight);
    let none = with(Limits { open_responses: 0, ..Limits::default() });
    assert_eq!(refused(&none, get(&origin.url("/"))), HttpErrorKind::TooManyOpen);
}

#[test]
fn requests_in_flight_and_open_responses_are_counted_and_given_back() {
    let (answers, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let origin = Origin::new(move |request, stream| {
        if request.starts_with("GET /held ") {
            _ = held.lock().unwrap().recv();
        }
        _ = stream.write_all(answer("200 OK", "", "x").as_bytes());
        Then::Keep
    });
    let limits = Limits { in_flight_requests: 1, open_responses: 2, ..Limits::default() };
    let outbound = outbound_with(allowing(&[&origin]), limits);
    let url = origin.url("/");

    let first = outbound.send(get(&origin.url("/held")));
    assert_eq!(refused(&outbound, get(&url)), HttpErrorKind::TooManyInFlight);
    assert!(fetch(&outbound.for_guest(), get(&url)).is_ok(), "another guest has a count of its own");
    drop(answers);
    let first = wait(first).unwrap();
    let second = send(&outbound, get(&url)).unwrap();
    assert_eq!(refused(&outbound, get(&url)), HttpErrorKind::TooManyOpen);
    drop(first);
    drop(send(&outbound, get(&url)).unwrap());
    drop(second);
    drop(outbound.send(get(&url)));
    // The aborted task gives its part of the count back when the I/O threads get to it.
    for _ in 0..500 {
        match send(&outbound, get(&url)) {
            Ok(_) => return,
            Err(error) => assert_eq!(error.kind(), HttpErrorKind::TooManyInFlight),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the count was not given back");
}

#[test]
fn response_limits_hold() {
    let many: String = (0..300).map(|n| format!("x-{n}: 1\r\n")).collect();
    let fine: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "a".repeat(70_000));
    let huge = format!("x-huge: {}\r\n", "a".repeat(600_000));
    for (headers, expected) in [(many, false), (fine, true), (long, false), (huge, false)] {
        let origin = Origin::answering(answer("200 OK", &headers, ""));
        match send(&outbound(allowing(&[&origin])), get(&origin.url("/"))) {
            Ok(_) => assert!(expected),
            Err(error) => assert_eq!((error.kind(), expected), (HttpErrorKind::ResponseHeadersTooLarge, false)),
        }
    }
    let limits = Limits { response_body_bytes: 4, ..Limits::default() };
    let announced = Origin::answering(answer("200 OK", "", "12345"));
    let error = refused(&outbound_with(allowing(&[&announced]), limits.clone()), get(&announced.url("/")));
    assert_eq!(error, HttpErrorKind::ResponseBodyTooLarge);
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n123\r\n2\r\n45\r\n0\r\n\r\n";
    let origin = Origin::answering(chunked);
    let outbound = outbound_with(allowing(&[&origin]), limits);
    let mut body = send(&outbound, get(&origin.url("/"))).unwrap().into_body();
    let mut read = Vec::new();
    let error = loop {
        match wait(body.chunk()).unwrap() {
            Ok(chunk) => read.extend(chunk),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), HttpErrorKind::ResponseBodyTooLarge);
    assert!(b"123".starts_with(&read[..]), "{read:?}");
    assert_eq!(wait(body.chunk()).unwrap().unwrap_err().kind(), HttpErrorKind::ResponseBodyTooLarge, "errors stay");
}

#[test]
fn the_end_stays_and_trailers_come_after_it() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nab\r\n0\r\nx-sum: 7\r\n\
         connection: x\r\n\r\n",
    );
    let mut body = send(&outbound(allowing(&[&origin])), get(&origin.url("/"))).unwrap().into_body();
    assert_eq!(wait(body.chunk()).unwrap().unwrap(), "ab");
    assert!(body.trailers().is_none());
    for _ in 0..3 {
        assert!(wait(body.chunk()).is_none());
    }
    let mut expected = HeaderMap::new();
    expected.insert("x-sum", HeaderValue::from_static("7"));
    assert_eq!(body.trailers(), Some(expected));
    assert_eq!(body.trailers(), None);
}

#[test]
fn head_and_statuses_without_a_body_have_none() {
    let head = Origin::answering("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n");
    let request = Request::builder().method(Method::HEAD).uri(head.url("/")).body(Outgoing::empty()).unwrap();
    let response = fetch(&outbound(allowing(&[&head])), request).unwrap();
    assert_eq!((response.headers()["content-length"].as_bytes(), response.body().as_str()), (&b"99"[..], ""));
    for status in ["204 No Content", "304 Not Modified"] {
        let origin = Origin::answering(format!("HTTP/1.1 {status}\r\n\r\n"));
        assert_eq!(fetch(&outbound(allowing(&[&origin])), get(&origin.url("/"))).unwrap().body(), "");
    }
}

#[test]
fn informational_responses_are_passed_over() {
    let origin = Origin::answering(format!("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n{}", answer("200 OK", "", "x")));
    let response = fetch(&outbound(allowing(&[&origin])), get(&origin.url("/"))).unwrap();
    assert_eq!((response.status().as_u16(), response.headers().get("link")), (200, None));
}

#[test]
fn what_an_origin_does_wrong_has_a_name() {
    for (bytes, expected) in [
        ("", HttpErrorKind::ConnectionClosed),
        ("HTTP/1.1 200 OK\r\nx: ", HttpErrorKind::ConnectionClosed),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", HttpErrorKind::Protocol),
        ("HTTP/1.1 999999 X\r\n\r\n", HttpErrorKind::Protocol),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", HttpErrorKind::Protocol),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", HttpErrorKind::Protocol),
        ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", HttpErrorKind::Protocol),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", HttpErrorKind::Upgraded),
    ] {
        let origin = Origin::new(move |_, stream| {
            _ = stream.write_all(bytes.as_bytes());
            Then::Close
        });
        let error = send(&outbound(allowing(&[&origin])), get(&origin.url("/"))).unwrap_err();
        assert_eq!(error.kind(), expected, "{bytes:?} {error:?}");
        assert!(error.to_string().contains(&origin.address.to_string()) || bytes.contains(" 101 "), "{error}");
    }
}

#[test]
fn a_broken_body_is_an_error_and_not_an_end() {
    for (bytes, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab", HttpErrorKind::IncompleteResponse),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n", HttpErrorKind::IncompleteResponse),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\nzz\r\n", HttpErrorKind::Protocol),
    ] {
        let origin = Origin::new(move |_, stream| {
            _ = stream.write_all(bytes.as_bytes());
            Then::Close
        });
        let mut body = send(&outbound(allowing(&[&origin])), get(&origin.url("/"))).unwrap().into_body();
        let error = read(&mut body).unwrap_err();
        assert_eq!(error.kind(), expected, "{bytes:?} {error:?}");
        assert_eq!(wait(body.chunk()).unwrap().unwrap_err().kind(), expected);
    }
    let until_closed = Origin::new(|_, stream| {
        _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nabc");
        Then::Close
    });
    assert_eq!(fetch(&outbound(allowing(&[&until_closed])), get(&until_closed.url("/"))).unwrap().body(), "abc");
}

#[test]
fn where_nobody_listens_is_refused() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    let outbound = outbound(Policy::builder().allow(&url).unwrap());
    let error = send(&outbound, get(&url)).unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::ConnectionRefused);
    assert_eq!(error.to_string(), format!("{url} refused the connection"));
}

#[test]
fn what_cannot_be_sent_is_refused_before_anything_is() {
    let origin = Origin::answering(answer("200 OK", "", ""));
    let denying = outbound(Policy::builder());
    let error = send(&denying, get(&origin.url("/x"))).unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Denied);
    assert!(error.to_string().contains(&format!("add http://{} to", origin.address)), "{error}");
    let outbound = outbound(allowing(&[&origin]));
    let connect = Request::builder().method(Method::CONNECT).uri(origin.url("/")).body(Outgoing::empty()).unwrap();
    assert_eq!(refused(&outbound, connect), HttpErrorKind::InvalidMethod);
    for url in ["/relative", "ftp://127.0.0.1/", "example.com:80"] {
        assert_eq!(refused(&outbound, get(url)), HttpErrorKind::InvalidUrl, "{url}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_transport_that_breaks_down_is_an_error() {
    struct Panics;
    #[async_trait::async_trait]
    impl wharf_http::Transport for Panics {
        async fn send(&self, _: Request<Body>, _: &wharf_http::Timeouts) -> Result<http::Response<Body>, HttpError> {
            panic!("a transport of the embedder's own")
        }
    }
    let policy = Policy::builder().allow("http://example.com").unwrap().build();
    let made = Outbound::new(policy, Limits::default(), |_, _| Ok::<_, HttpError>(std::sync::Arc::new(Panics) as _));
    let outbound = made.unwrap();
    assert_eq!(refused(&outbound, get("http://example.com/")), HttpErrorKind::Internal);
}
