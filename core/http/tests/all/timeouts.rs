//! Each timeout ends what it is for, with an error of its own.

use std::io::Write;
use std::net::TcpListener;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::*;
use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use wharf_http::{HttpError, HttpErrorKind, Limits, Outgoing, Policy};

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);

fn long() -> Limits {
    Limits {
        connect_timeout: LONG,
        first_byte_timeout: LONG,
        between_bytes_timeout: LONG,
        total_timeout: None,
        ..Limits::default()
    }
}

/// Writes each part after a pause.
fn slow(parts: &'static [(u64, &'static str)]) -> Origin {
    Origin::new(move |_, stream| {
        for (pause, part) in parts {
            sleep(Duration::from_millis(*pause));
            if stream.write_all(part.as_bytes()).is_err() {
                return Then::Close;
            }
        }
        Then::Keep
    })
}

fn promptly<T>(action: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = action();
    let elapsed = start.elapsed();
    assert!(elapsed >= SHORT - Duration::from_millis(20) && elapsed < Duration::from_secs(3), "{elapsed:?}");
    result
}

#[test]
fn first_byte() {
    let origin = slow(&[(4000, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]);
    let outbound = outbound_with(allowing(&[&origin]), Limits { first_byte_timeout: SHORT, ..long() });
    let error = promptly(|| send(&outbound, get(&origin.url("/"))).unwrap_err());
    assert_eq!(error.kind(), HttpErrorKind::FirstByteTimeout);
}

#[test]
fn a_request_may_shorten_a_timeout_but_not_lengthen_it() {
    let origin = slow(&[(4000, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]);
    for (host, guest) in [(LONG, SHORT), (SHORT, LONG), (SHORT, Duration::MAX)] {
        let outbound = outbound_with(allowing(&[&origin]), Limits { first_byte_timeout: host, ..long() });
        let mut timeouts = outbound.limits().timeouts();
        timeouts.first_byte = guest;
        let error = promptly(|| wait(outbound.send_with(get(&origin.url("/")), timeouts)).unwrap_err());
        assert_eq!(error.kind(), HttpErrorKind::FirstByteTimeout);
    }
}

#[test]
fn the_largest_durations_are_no_mistake() {
    let origin = slow(&[(0, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n"), (50, "x")]);
    let limits = Limits {
        connect_timeout: Duration::MAX,
        first_byte_timeout: Duration::MAX,
        between_bytes_timeout: Duration::MAX,
        total_timeout: Some(Duration::MAX),
        ..Limits::default()
    };
    assert_eq!(fetch(&outbound_with(allowing(&[&origin]), limits), get(&origin.url("/"))).unwrap().body(), "x");
}

#[test]
fn a_request_body_that_takes_its_time_is_not_the_origins_delay() {
    let origin = slow(&[(0, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")]);
    let outbound = outbound_with(allowing(&[&origin]), Limits { first_byte_timeout: SHORT, ..long() });
    let parts = futures_util::stream::unfold(0, |n| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        (n < 3).then(|| (Ok::<_, HttpError>(Frame::data(Bytes::from_static(b"part"))), n + 1))
    });
    let body = Outgoing::Stream(StreamBody::new(parts).boxed_unsync());
    let response = fetch(&outbound, Request::post(origin.url("/")).body(body).unwrap()).unwrap();
    assert_eq!(response.body(), "ok");
}

#[test]
fn an_origin_that_does_not_read_the_request_is_the_origins_delay() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let limits = Limits { first_byte_timeout: SHORT, ..long() };
    let outbound = outbound_with(Policy::builder().allow(&url).unwrap(), limits);
    let request = Request::post(&url).body(Outgoing::from(vec![0; 32 << 20])).unwrap();
    assert_eq!(promptly(|| send(&outbound, request).unwrap_err()).kind(), HttpErrorKind::FirstByteTimeout);
}

#[test]
fn between_bytes() {
    let origin = slow(&[(0, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na"), (4000, "b")]);
    let outbound = outbound_with(allowing(&[&origin]), Limits { between_bytes_timeout: SHORT, ..long() });
    let mut body = send(&outbound, get(&origin.url("/"))).unwrap().into_body();
    assert_eq!(wait(body.chunk()).unwrap().unwrap(), "a");
    let error = promptly(|| wait(body.chunk()).unwrap().unwrap_err());
    assert_eq!(error.kind(), HttpErrorKind::BetweenBytesTimeout);
}

#[test]
fn a_body_that_keeps_moving_may_take_longer_than_its_pauses() {
    let origin = slow(&[
        (0, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        (100, "a"),
        (100, "b"),
        (100, "c"),
        (100, "d"),
        (100, "e"),
    ]);
    let outbound = outbound_with(allowing(&[&origin]), Limits { between_bytes_timeout: SHORT, ..long() });
    assert_eq!(fetch(&outbound, get(&origin.url("/"))).unwrap().body(), "abcde");
}

#[test]
fn a_guest_that_does_not_read_is_not_the_origins_pause() {
    let whole = answer("200 OK", "", &"x".repeat(4 << 20));
    let origin = Origin::answering(whole);
    let outbound = outbound_with(allowing(&[&origin]), Limits { between_bytes_timeout: SHORT, ..long() });
    let mut body = send(&outbound, get(&origin.url("/"))).unwrap().into_body();
    sleep(SHORT * 3);
    assert_eq!(read(&mut body).unwrap().len(), 4 << 20);
}

#[test]
fn total() {
    let limits = Limits { total_timeout: Some(SHORT), ..long() };
    let headless = slow(&[(4000, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]);
    let outbound = outbound_with(allowing(&[&headless]), limits.clone());
    let error = promptly(|| send(&outbound, get(&headless.url("/"))).unwrap_err());
    assert_eq!(error.kind(), HttpErrorKind::TotalTimeout);

    let trickling = slow(&[
        (0, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
        (90, "a"),
        (90, "b"),
        (90, "c"),
        (90, "d"),
        (4000, "e"),
    ]);
    let outbound = outbound_with(allowing(&[&trickling]), limits);
    let error = promptly(|| fetch(&outbound, get(&trickling.url("/"))).unwrap_err());
    assert_eq!(error.kind(), HttpErrorKind::TotalTimeout);
}

#[test]
fn connecting_includes_the_tls_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let outbound = outbound_with(Policy::builder().allow(&url).unwrap(), Limits { connect_timeout: SHORT, ..long() });
    let error = promptly(|| send(&outbound, get(&url)).unwrap_err());
    assert_eq!(error.kind(), HttpErrorKind::ConnectionTimeout);
}

#[test]
fn connecting_is_not_waiting_for_the_first_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let limits = Limits { connect_timeout: SHORT * 3, first_byte_timeout: SHORT, ..long() };
    let outbound = outbound_with(Policy::builder().allow(&url).unwrap(), limits);
    assert_eq!(refused(&outbound, get(&url)), HttpErrorKind::ConnectionTimeout);
}
