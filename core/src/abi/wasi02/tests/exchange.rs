//! `wasi:http`: a request that a guest sends, and the response that it sets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;

use super::messages::{body_of, data, trailers};
use super::*;
use crate::abi::wasi02::http::ErrorCode;
use crate::http::{Body, HttpError, HttpErrorKind, Limits, Outbound, Policy, Timeouts, Transport};
use crate::message::GuestEnd;
use crate::run::Run;

const HANDLE: &str = "wasi:http/outgoing-handler#handle";
/// Cases of `error-code`, as the WIT file numbers them.
const PROTOCOL_ERROR: u8 = 35;
const INTERNAL_ERROR: u8 = 38;

const SET: &str = "wasi:http/types#[static]response-outparam.set";

/// What a transport was asked to send.
#[derive(Clone)]
struct Sent {
    method: String,
    uri: String,
    headers: HeaderMap,
    body: Bytes,
    timeouts: Timeouts,
}

/// Keeps what it is to send, and answers 201 with two parts of a body and a trailer, or fails.
#[derive(Default)]
struct Recorder {
    sent: Mutex<Vec<Sent>>,
    fails: Option<HttpErrorKind>,
}

#[async_trait::async_trait]
impl Transport for Recorder {
    async fn send(&self, request: Request<Body>, timeouts: &Timeouts) -> Result<Response<Body>, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let (method, uri) = (parts.method.to_string(), parts.uri.to_string());
        let sent = Sent { method, uri, headers: parts.headers, body, timeouts: *timeouts };
        self.sent.lock().unwrap().push(sent);
        if let Some(kind) = self.fails {
            return Err(HttpError::new(kind, "it failed"));
        }
        let body = body_of([data("an"), data("swer"), trailers(&[("x-sum", "6")])]);
        Ok(Response::builder().status(201).header("x-from", "origin").body(body).unwrap())
    }
}

/// A guest that may send to example.com.
fn sending(transport: Recorder) -> (Guest, Arc<Recorder>) {
    let transport = Arc::new(transport);
    let policy =
        Policy::builder().allow("https://example.com").unwrap().allow("http://example.com:81").unwrap().build();
    let sends: Arc<dyn Transport> = transport.clone();
    let outbound = Outbound::new(policy, Limits::default(), |_, _| Ok::<_, HttpError>(sends)).unwrap();
    let guest = Guest::new(&WasiConfig::new());
    guest.host.reset_for(&WasiConfig::new(), Some(outbound));
    (guest, transport)
}

impl Guest {
    /// Sends a request for this authority; gives the future's handle.
    #[track_caller]
    fn sends(&mut self, request: u64, authority: &str, options: Option<u64>) -> Result<u64, u8> {
        self.args = ARGS;
        let [ptr, len] = self.bytes(authority.as_bytes());
        self.http("[method]outgoing-request.set-authority", &[request, 1, ptr, len]);
        let some = u64::from(options.is_some());
        self.call(HANDLE, &[request, some, options.unwrap_or_default(), RET.into()]);
        match self.get(RET, 1)[0] {
            0 => Ok(self.u32(RET + 8).into()),
            _ => Err(self.get(RET + 8, 1)[0]),
        }
    }

    /// Waits for a response; gives its handle, or the number of the error's case.
    #[track_caller]
    fn receives(&mut self, future: u64) -> Result<u64, u8> {
        let pollable = self.http("[method]future-incoming-response.subscribe", &[future]);
        self.call("wasi:io/poll#[method]pollable.block", &[pollable]);
        self.call("wasi:io/poll#[resource-drop]pollable", &[pollable]);
        self.http_answer("[method]future-incoming-response.get", &[future]);
        match [0, 8, 16].map(|at| self.get(RET + at, 1)[0]) {
            [1, 0, 0] => Ok(self.u32(RET + 24).into()),
            [1, 0, 1] => Err(self.get(RET + 24, 1)[0]),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn sets_response(&mut self, outparam: u64, response: u64) {
        self.call(SET, &[outparam, 0, response, 0, 0, 0, 0, 0, 0]);
    }
}

#[test]
fn what_is_sent_is_what_the_guest_set() {
    let (mut guest, transport) = sending(Recorder::default());
    let request = guest.request(&[("X-One", "1")]);
    guest.http("[method]outgoing-request.set-method", &[request, 2, 0, 0]);
    let [ptr, len] = guest.bytes(b"/a?b=c");
    guest.http("[method]outgoing-request.set-path-with-query", &[request, 1, ptr, len]);
    let (body, stream) = guest.body("request", request);
    let future = guest.sends(request, "example.com", None).unwrap();
    assert!(guest.writes(stream, "whole"));
    assert_eq!(guest.finishes(body, stream, None), None);
    let response = guest.receives(future).unwrap();
    let sent = transport.sent.lock().unwrap()[0].clone();
    assert_eq!((&*sent.method, &*sent.uri, &sent.body[..]), ("POST", "https://example.com/a?b=c", &b"whole"[..]));
    assert_eq!(sent.headers["x-one"], "1");
    assert_eq!(guest.http("[method]incoming-response.status", &[response]), 201);
    let headers = guest.http("[method]incoming-response.headers", &[response]);
    assert_eq!(guest.entries(headers), [("x-from".to_owned(), "origin".to_owned())]);
    guest.traps("wasi:http/types#[resource-drop]incoming-response", &[response], "1 child");
    let (case, body) = guest.http_answer("[method]incoming-response.consume", &[response]);
    assert_eq!(case, 0);
    assert_eq!(guest.http_answer("[method]incoming-response.consume", &[response]).0, 1, "once");
    let (_, stream) = guest.http_answer("[method]incoming-body.stream", &[body.into()]);
    assert_eq!(guest.reads_all(stream.into()), ("answer".to_owned(), false));
    guest.http_answer("[method]future-incoming-response.get", &[future]);
    assert_eq!([0, 8].map(|at| guest.get(RET + at, 1)[0]), [1, 1], "it was given");
}

#[test]
fn the_scheme_is_https_unless_the_guest_says_http() {
    for (scheme, authority, uri) in [
        (None, "example.com", Ok("https://example.com/")),
        (Some((1, "")), "example.com", Ok("https://example.com/")),
        (Some((0, "")), "example.com:81", Ok("http://example.com:81/")),
        (Some((2, "HTTPS")), "example.com", Ok("https://example.com/")),
        (Some((2, "Http")), "example.com:81", Ok("http://example.com:81/")),
        (Some((2, "ftp")), "example.com", Err(PROTOCOL_ERROR)),
    ] {
        let (mut guest, transport) = sending(Recorder::default());
        let request = guest.request(&[]);
        if let Some((case, name)) = scheme {
            let [ptr, len] = guest.bytes(name.as_bytes());
            guest.http("[method]outgoing-request.set-scheme", &[request, 1, case, ptr, len]);
        }
        match (guest.sends(request, authority, None), uri) {
            (Ok(future), Ok(uri)) => {
                guest.receives(future).unwrap();
                assert_eq!(transport.sent.lock().unwrap()[0].uri, uri);
            }
            (Err(code), Err(expected)) => assert_eq!(code, expected, "{scheme:?}"),
            other => panic!("{scheme:?}: {other:?}"),
        }
    }
}

#[test]
fn a_request_for_nobody_is_invalid() {
    const URI_INVALID: u8 = 19;
    let (mut guest, transport) = sending(Recorder::default());
    let request = guest.request(&[]);
    guest.call(HANDLE, &[request, 0, 0, RET.into()]);
    assert_eq!((guest.get(RET, 1), guest.get(RET + 8, 1)), (vec![1], vec![URI_INVALID]));
    assert!(transport.sent.lock().unwrap().is_empty());
}

#[test]
fn a_request_that_is_denied_is_answered_by_its_future_and_its_body_goes_nowhere() {
    const DENIED: u8 = 15;
    let (allowed, _) = sending(Recorder::default());
    for mut guest in [allowed, Guest::new(&WasiConfig::new())] {
        let request = guest.request(&[]);
        let (body, stream) = guest.body("request", request);
        let future = guest.sends(request, "other.example", None).unwrap();
        for _ in 0..40 {
            assert!(guest.writes(stream, &"x".repeat(4096)), "more than any buffer has room for");
        }
        assert_eq!(guest.finishes(body, stream, None), None);
        assert_eq!(guest.receives(future), Err(DENIED));
    }
}

#[test]
fn what_sending_fails_with_is_the_futures_answer() {
    let (mut guest, _) = sending(Recorder { fails: Some(HttpErrorKind::ConnectionRefused), ..Recorder::default() });
    let request = guest.request(&[]);
    let future = guest.sends(request, "example.com", None).unwrap();
    assert_eq!(guest.receives(future), Err(6), "connection-refused");
}

#[test]
fn timeouts_are_the_guests_as_far_as_the_host_allows() {
    let (mut guest, transport) = sending(Recorder::default());
    let host = Limits::default().timeouts();
    let options = guest.http("[constructor]request-options", &[]);
    let names = ["connect", "first-byte", "between-bytes"];
    for (at, name) in (1..).zip(names) {
        let get = format!("[method]request-options.{name}-timeout");
        assert_eq!(guest.http_answer(&get, &[options]).0, 0, "{name}");
        let set = format!("[method]request-options.set-{name}-timeout");
        assert_eq!(guest.http(&set, &[options, 1, at * 1_000_000]), 0);
        guest.http_answer(&get, &[options]);
        assert_eq!((guest.get(RET, 1), guest.u64(RET + 8)), (vec![1], at * 1_000_000), "{name}");
    }
    let request = guest.request(&[]);
    let future = guest.sends(request, "example.com", Some(options)).unwrap();
    // It may be answered or time out: what was asked of the transport counts.
    let pollable = guest.http("[method]future-incoming-response.subscribe", &[future]);
    guest.call("wasi:io/poll#[method]pollable.block", &[pollable]);
    let sent = transport.sent.lock().unwrap()[0].timeouts;
    assert_eq!([sent.connect, sent.first_byte, sent.between_bytes], [1, 2, 3].map(Duration::from_millis));
    let options = guest.http("[constructor]request-options", &[]);
    guest.http("[method]request-options.set-connect-timeout", &[options, 1, u64::MAX]);
    let request = guest.request(&[]);
    let future = guest.sends(request, "example.com", Some(options)).unwrap();
    guest.receives(future).unwrap();
    let sent = transport.sent.lock().unwrap()[1].timeouts;
    assert_eq!(
        (sent.connect, sent.first_byte, sent.between_bytes),
        (host.connect, host.first_byte, host.between_bytes)
    );
}

fn get_request() -> Request<Body> {
    Request::get("http://example.com/").body(body_of([])).unwrap()
}

#[test]
fn a_response_is_sent_once_it_is_flushed_and_ends_when_it_is_finished() {
    let mut guest = Guest::new(&WasiConfig::new());
    let (_, outparam, mut answered) = guest.begin(get_request());
    let response = guest.response(&[("x-a", "1")]);
    guest.http("[method]outgoing-response.set-status-code", &[response, 203]);
    let (body, stream) = guest.body("response", response);
    guest.sets_response(outparam, response);
    assert!(answered.try_recv().is_err(), "nothing was flushed");
    assert!(guest.writes(stream, "abc"));
    let (head, mut sent) = answered.try_recv().unwrap().unwrap().into_parts();
    assert_eq!((head.status, &head.headers["x-a"]), (StatusCode::NON_AUTHORITATIVE_INFORMATION, &"1".parse().unwrap()));
    let run = Run::default();
    let frame = run.wait(sent.frame()).unwrap().unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "abc");
    let fields = guest.fields_of(&[("x-sum", "3"), ("content-length", "3")]);
    assert_eq!(guest.finishes(body, stream, Some(fields)), None);
    let frame = run.wait(sent.frame()).unwrap().unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(
        (frame.len(), &frame["x-sum"]),
        (1, &"3".parse().unwrap()),
        "fields that may not be trailers are left out"
    );
    assert!(run.wait(sent.frame()).unwrap().is_none());
}

#[test]
fn a_response_without_a_body_is_whole_at_once() {
    let mut guest = Guest::new(&WasiConfig::new());
    let (_, outparam, mut answered) = guest.begin(get_request());
    let response = guest.response(&[("content-length", "0")]);
    guest.sets_response(outparam, response);
    let answer = answered.try_recv().unwrap().unwrap();
    assert_eq!(answer.headers()["content-length"], "0");
    assert!(http_body::Body::is_end_stream(answer.body()));
    guest.traps(SET, &[outparam, 1, 36, 0, 0, 0, 0, 0, 0], "not an open handle");
}

#[test]
fn a_response_that_cannot_be_sent_is_an_error() {
    let internal = |answer: Result<Response<Body>, ErrorCode>, text: &str| match answer {
        Err(ErrorCode::InternalError(Some(message))) => assert!(message.contains(text), "{message}"),
        other => panic!("{:?}", other.map(|response| response.status())),
    };
    type Headers = &'static [(&'static str, &'static str)];
    for (headers, text) in [
        (&[("content-length", "x")] as Headers, "is not a valid length"),
        (&[("content-length", "1"), ("content-length", "2")], "is not a valid length"),
        (&[("content-length", "5")], "a content-length of 5, but the guest never took its body"),
    ] {
        let mut guest = Guest::new(&WasiConfig::new());
        let (_, outparam, mut answered) = guest.begin(get_request());
        let response = guest.response(headers);
        guest.sets_response(outparam, response);
        internal(answered.try_recv().unwrap(), text);
    }
    let mut guest = Guest::new(&WasiConfig::new());
    let (_, outparam, mut answered) = guest.begin(get_request());
    let response = guest.response(&[]);
    guest.http("[method]outgoing-response.set-status-code", &[response, 103]);
    guest.sets_response(outparam, response);
    assert_eq!(answered.try_recv().unwrap().err(), Some(ErrorCode::HttpProtocolError), "it is not final");
    let (_, outparam, mut answered) = guest.begin(get_request());
    let response = guest.response(&[]);
    guest.http("[method]outgoing-response.set-status-code", &[response, 204]);
    guest.body("response", response);
    guest.http("[method]outgoing-response.set-status-code", &[response, 200]);
    guest.sets_response(outparam, response);
    internal(answered.try_recv().unwrap(), "the status was changed");
}

#[test]
fn a_guest_may_answer_with_an_error() {
    let mut guest = Guest::new(&WasiConfig::new());
    let (_, outparam, mut answered) = guest.begin(get_request());
    guest.call(SET, &[outparam, 1, 6, 0, 0, 0, 0, 0, 0]);
    assert_eq!(answered.try_recv().unwrap().err(), Some(ErrorCode::ConnectionRefused));
}

#[test]
fn a_length_said_twice_is_sent_once_and_none_with_no_content() {
    let mut guest = Guest::new(&WasiConfig::new());
    for (status, length) in [(200, Some("0")), (204, None)] {
        let (_, outparam, mut answered) = guest.begin(get_request());
        let response = guest.response(&[("content-length", "0"), ("Content-Length", "0")]);
        guest.http("[method]outgoing-response.set-status-code", &[response, status]);
        guest.sets_response(outparam, response);
        let answer = answered.try_recv().unwrap().unwrap();
        let lengths: Vec<_> = answer.headers().get_all("content-length").iter().collect();
        assert_eq!(lengths, length.as_slice(), "{status}");
    }
}

#[test]
fn what_is_written_for_a_head_goes_nowhere() {
    let mut guest = Guest::new(&WasiConfig::new());
    let request = Request::head("http://example.com/").body(body_of([])).unwrap();
    let (_, outparam, mut answered) = guest.begin(request);
    let response = guest.response(&[("content-length", "5")]);
    let (body, stream) = guest.body("response", response);
    guest.sets_response(outparam, response);
    for _ in 0..2 {
        guest.writes(stream, "ab");
    }
    assert!(guest.writes(stream, "c"));
    assert_eq!(guest.finishes(body, stream, None), None);
    let answer = answered.try_recv().unwrap().unwrap();
    assert_eq!(answer.headers()["content-length"], "5");
    let run = Run::default();
    assert!(run.wait(answer.into_body().frame()).unwrap().is_none());
}

#[test]
fn no_informational_response_is_sent() {
    let mut guest = Guest::new(&WasiConfig::new());
    let (_, outparam, _answered) = guest.begin(get_request());
    for (status, code) in [(100, INTERNAL_ERROR), (199, INTERNAL_ERROR), (99, PROTOCOL_ERROR), (200, PROTOCOL_ERROR)] {
        let fields = guest.fields_of(&[]);
        guest.http_answer("[method]response-outparam.send-informational", &[outparam, status, fields]);
        assert_eq!((guest.get(RET, 1), guest.get(RET + 8, 1)[0]), (vec![1], code), "{status}");
    }
}

#[test]
fn what_a_guest_leaves_behind_makes_it_untidy() {
    let mut guest = Guest::new(&WasiConfig::new());
    let (request, outparam, mut answered) = guest.begin(get_request());
    let response = guest.response(&[]);
    guest.sets_response(outparam, response);
    assert!(answered.try_recv().is_ok());
    guest.http("[resource-drop]incoming-request", &[request]);
    guest.host.end();
    assert!(!guest.host.is_untidy(), "all was answered and dropped");
    let (_, outparam, mut answered) = guest.begin(get_request());
    let response = guest.response(&[]);
    guest.sets_response(outparam, response);
    assert!(answered.try_recv().is_ok());
    guest.host.end();
    assert!(guest.host.is_untidy(), "it kept the request");
    let mut guest = Guest::new(&WasiConfig::new());
    let (request, outparam, mut answered) = guest.begin(get_request());
    guest.http("[resource-drop]incoming-request", &[request]);
    guest.host.end();
    assert!(guest.host.is_untidy(), "it answered nothing");
    assert!(matches!(answered.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed)));
    guest.traps("wasi:http/types#[resource-drop]response-outparam", &[outparam], "not an open handle");
}

#[test]
fn a_guest_that_rests_keeps_nothing_of_its_requests() {
    let (mut guest, _) = sending(Recorder::default());
    let (_, outparam, mut answered) = guest.begin(get_request());
    let response = guest.response(&[]);
    let (_, stream) = guest.body("response", response);
    guest.sets_response(outparam, response);
    assert!(guest.writes(stream, "part"));
    let stdout = guest.call("wasi:cli/stdout#get-stdout", &[]);
    guest.host.recycle();
    assert_eq!(guest.host.open_handles(), 1);
    guest.call("wasi:io/streams#[resource-drop]output-stream", &[stdout]);
    let mut sent = answered.try_recv().unwrap().unwrap().into_body();
    let run = Run::default();
    assert_eq!(run.wait(sent.frame()).unwrap().unwrap().unwrap().into_data().unwrap(), "part");
    assert!(run.wait(sent.frame()).unwrap().unwrap().is_err(), "a body it did not finish breaks off");
    let request = guest.request(&[]);
    let future = guest.sends(request, "example.com", None).unwrap();
    assert_eq!(guest.receives(future), Err(15), "its grants are gone");
    guest.host.close();
    assert_eq!((guest.host.open_handles(), guest.host.budget().used()), (0, 0));
    assert_eq!(GuestEnd::of(&Ok::<_, Stop>(())), GuestEnd::Returned);
}
