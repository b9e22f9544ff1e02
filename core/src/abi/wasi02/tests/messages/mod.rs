//! `wasi:http`: the messages that a guest makes, and those that come to it.

mod incoming;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use super::*;
use crate::abi::wasi02::http::{Answer, Reply};
use crate::http::{Body, HttpError, HttpErrorKind};

/// Calls functions of `wasi:http/types`, with texts as arguments.
impl Guest {
    #[track_caller]
    pub(in crate::abi::wasi02::tests) fn http(&mut self, name: &str, args: &[u64]) -> u64 {
        self.call(&format!("wasi:http/types#{name}"), args)
    }

    /// The same where a result or an option comes back in memory: its first byte, and what follows where it is aligned
    /// to 4.
    #[track_caller]
    pub(in crate::abi::wasi02::tests) fn http_answer(&mut self, name: &str, args: &[u64]) -> (u8, u32) {
        (self.args, self.fake.next) = (ARGS, HEAP);
        self.http(name, &[args, &[RET.into()]].concat());
        (self.get(RET, 1)[0], self.u32(RET + 4))
    }

    /// Sets a text, or none; says whether it was taken.
    #[track_caller]
    fn sets(&mut self, part: &str, request: u64, text: Option<&str>) -> bool {
        self.args = ARGS;
        let [ptr, len] = self.bytes(text.unwrap_or_default().as_bytes());
        let some = u64::from(text.is_some());
        self.http(&format!("[method]outgoing-request.set-{part}"), &[request, some, ptr, len]) == 0
    }

    /// A text, or none.
    #[track_caller]
    fn text(&mut self, method: &str, this: u64) -> Option<String> {
        let (some, _) = self.http_answer(&format!("[method]{method}"), &[this]);
        (some == 1).then(|| String::from_utf8(self.string(RET + 4)).unwrap())
    }

    /// Fields of these names and values.
    #[track_caller]
    pub(in crate::abi::wasi02::tests) fn fields_of(&mut self, entries: &[(&str, &str)]) -> u64 {
        let fields = self.http("[constructor]fields", &[]);
        for (name, value) in entries {
            self.args = ARGS;
            let args = [self.bytes(name.as_bytes()), self.bytes(value.as_bytes())].concat();
            let args = [vec![fields], args, vec![RET.into()]].concat();
            self.http("[method]fields.append", &args);
            assert_eq!(self.get(RET, 1), [0], "{name}");
        }
        fields
    }

    #[track_caller]
    pub(in crate::abi::wasi02::tests) fn request(&mut self, headers: &[(&str, &str)]) -> u64 {
        let fields = self.fields_of(headers);
        self.http("[constructor]outgoing-request", &[fields])
    }

    #[track_caller]
    pub(in crate::abi::wasi02::tests) fn response(&mut self, headers: &[(&str, &str)]) -> u64 {
        let fields = self.fields_of(headers);
        self.http("[constructor]outgoing-response", &[fields])
    }

    /// The body of a message that the guest makes, and its stream.
    #[track_caller]
    pub(in crate::abi::wasi02::tests) fn body(&mut self, message: &str, this: u64) -> (u64, u64) {
        let (case, body) = self.http_answer(&format!("[method]outgoing-{message}.body"), &[this]);
        assert_eq!(case, 0);
        let (case, stream) = self.http_answer("[method]outgoing-body.write", &[body.into()]);
        assert_eq!(case, 0);
        (body.into(), stream.into())
    }

    /// Writes and flushes; false if the stream is closed or has failed.
    #[track_caller]
    pub(in crate::abi::wasi02::tests) fn writes(&mut self, stream: u64, text: &str) -> bool {
        self.args = ARGS;
        let [ptr, len] = self.bytes(text.as_bytes());
        let write = "wasi:io/streams#[method]output-stream.blocking-write-and-flush";
        self.call(write, &[stream, ptr, len, RET.into()]);
        self.get(RET, 1) == [0]
    }

    /// Closes the stream and finishes the body; gives the number of the error's case, if there is one.
    #[track_caller]
    pub(in crate::abi::wasi02::tests) fn finishes(
        &mut self,
        body: u64,
        stream: u64,
        trailers: Option<u64>,
    ) -> Option<u8> {
        self.call("wasi:io/streams#[resource-drop]output-stream", &[stream]);
        let some = u64::from(trailers.is_some());
        self.http("[static]outgoing-body.finish", &[body, some, trailers.unwrap_or_default(), RET.into()]);
        (self.get(RET, 1) == [1]).then(|| self.get(RET + 8, 1)[0])
    }

    /// What is left of an incoming body's stream, and whether it failed.
    #[track_caller]
    pub(in crate::abi::wasi02::tests) fn reads_all(&mut self, stream: u64) -> (String, bool) {
        let mut all = Vec::new();
        loop {
            self.fake.next = HEAP;
            self.call("wasi:io/streams#[method]input-stream.blocking-read", &[stream, 1000, RET.into()]);
            if self.get(RET, 1) == [1] {
                return (String::from_utf8(all).unwrap(), self.get(RET + 4, 1) == [0]);
            }
            all.extend(self.string(RET + 4));
        }
    }

    /// Hands the guest a request; gives the two handles that its handler gets, and what waits for the response.
    #[track_caller]
    pub(in crate::abi::wasi02::tests) fn begin(&mut self, request: Request<Body>) -> (u64, u64, Answered) {
        let (reply, answered) = Reply::channel();
        let [request, outparam] = self.host.begin(request, reply).unwrap().expect("it was refused");
        (request, outparam, answered)
    }
}

pub(in crate::abi::wasi02::tests) type Answered = oneshot::Receiver<Answer>;

/// A body of these frames, and then its end.
pub(in crate::abi::wasi02::tests) fn body_of(
    frames: impl IntoIterator<Item = Result<Frame<Bytes>, HttpError>>,
) -> Body {
    Frames(frames.into_iter().collect()).boxed_unsync()
}

struct Frames(VecDeque<Result<Frame<Bytes>, HttpError>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        Poll::Ready(self.0.pop_front())
    }
}

pub(in crate::abi::wasi02::tests) fn data(text: &'static str) -> Result<Frame<Bytes>, HttpError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn map(entries: &[(&'static str, &'static str)]) -> HeaderMap {
    entries.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

pub(in crate::abi::wasi02::tests) fn trailers(
    entries: &[(&'static str, &'static str)],
) -> Result<Frame<Bytes>, HttpError> {
    Ok(Frame::trailers(map(entries)))
}

fn guest() -> Guest {
    Guest::new(&WasiConfig::new())
}

#[test]
fn the_parts_of_a_request_read_back_as_they_were_set() {
    let mut guest = guest();
    let request = guest.request(&[]);
    for part in ["path-with-query", "authority"] {
        let method = format!("outgoing-request.{part}");
        assert_eq!(guest.text(&method, request), None, "{part}");
        assert!(guest.sets(part, request, Some("/a:1")) == (part == "path-with-query"));
    }
    assert_eq!(guest.text("outgoing-request.path-with-query", request).unwrap(), "/a:1");
    for (path, fits) in [("/a?b=c", true), ("", true), ("*", true), ("/a b", false), ("/a#b", false)] {
        assert_eq!(guest.sets("path-with-query", request, Some(path)), fits, "{path}");
    }
    assert!(guest.sets("path-with-query", request, Some("/last")));
    assert!(!guest.sets("path-with-query", request, Some("\n")));
    assert_eq!(
        guest.text("outgoing-request.path-with-query", request).unwrap(),
        "/last",
        "what is refused changes nothing"
    );
    assert!(guest.sets("path-with-query", request, None));
    assert_eq!(guest.text("outgoing-request.path-with-query", request), None);
    for (authority, fits) in [
        ("example.com", true),
        ("example.com:80", true),
        ("[::1]:8080", true),
        ("u@example.com:1", true),
        ("example.com:", false),
        ("example.com:65536", false),
        ("exa mple", false),
        ("", false),
    ] {
        assert_eq!(guest.sets("authority", request, Some(authority)), fits, "{authority}");
        if fits {
            assert_eq!(guest.text("outgoing-request.authority", request).unwrap(), authority);
        }
    }
}

#[test]
fn a_request_has_the_method_that_was_set() {
    let mut guest = guest();
    let request = guest.request(&[]);
    let (set, get) = ("[method]outgoing-request.set-method", "[method]outgoing-request.method");
    assert_eq!(guest.http_answer(get, &[request]).0, 0, "get, unless it is set");
    for case in 0..9 {
        assert_eq!(guest.http(set, &[request, case, 0, 0]), 0);
        assert_eq!(u64::from(guest.http_answer(get, &[request]).0), case);
    }
    let [ptr, len] = guest.bytes(b"BREW");
    assert_eq!(guest.http(set, &[request, 9, ptr, len]), 0);
    assert_eq!(guest.http_answer(get, &[request]).0, 9);
    assert_eq!(guest.string(RET + 4), b"BREW");
    for bad in ["", "B REW", "B\n"] {
        let [ptr, len] = guest.bytes(bad.as_bytes());
        assert_eq!(guest.http(set, &[request, 9, ptr, len]), 1, "{bad:?}");
    }
}

#[test]
fn a_request_has_the_scheme_that_was_set() {
    let mut guest = guest();
    let request = guest.request(&[]);
    let (set, get) = ("[method]outgoing-request.set-scheme", "[method]outgoing-request.scheme");
    assert_eq!(guest.http_answer(get, &[request]).0, 0, "none");
    for case in [0, 1] {
        assert_eq!(guest.http(set, &[request, 1, case, 0, 0]), 0);
        let (some, scheme) = guest.http_answer(get, &[request]);
        assert_eq!((some, u64::from(scheme as u8)), (1, case));
    }
    let [ptr, len] = guest.bytes(b"gopher");
    assert_eq!(guest.http(set, &[request, 1, 2, ptr, len]), 0);
    guest.http_answer(get, &[request]);
    assert_eq!(guest.string(RET + 8), b"gopher");
    let [ptr, len] = guest.bytes(b"1 2");
    assert_eq!(guest.http(set, &[request, 1, 2, ptr, len]), 1);
    assert_eq!(guest.http(set, &[request, 0, 0, 0, 0]), 0);
    assert_eq!(guest.http_answer(get, &[request]).0, 0);
}

#[test]
fn texts_are_as_long_as_a_uri_may_be_and_charged() {
    let mut guest = guest();
    let request = guest.request(&[]);
    let at = 0x5000;
    guest.fake.memory.resize(0x40000, 0);
    guest.fake.memory[at..at + 0x10000].fill(b'a');
    guest.fake.memory[at] = b'/';
    let set = "[method]outgoing-request.set-path-with-query";
    let before = guest.host.budget().used();
    assert_eq!(guest.http(set, &[request, 1, at as u64, 65534]), 0);
    let used = guest.host.budget().used();
    assert!(used >= before + 65534, "{before} {used}");
    assert_eq!(guest.http(set, &[request, 1, at as u64, 65535]), 1);
    assert_eq!(guest.http(set, &[request, 1, at as u64, 1]), 0);
    assert!(guest.host.budget().used() < used, "what takes its place is smaller");
}

#[test]
fn a_response_has_the_status_that_was_set() {
    let mut guest = guest();
    let response = guest.response(&[]);
    let (set, get) = ("[method]outgoing-response.set-status-code", "[method]outgoing-response.status-code");
    assert_eq!(guest.http(get, &[response]), 200);
    for (status, fits) in [(100, 0), (204, 0), (599, 0), (99, 1), (600, 1), (999, 1), (0, 1)] {
        assert_eq!(guest.http(set, &[response, status]), fits, "{status}");
    }
    assert_eq!(guest.http(get, &[response]), 599);
}

#[test]
fn headers_of_a_message_are_its_children_and_frozen() {
    let mut guest = guest();
    for kind in ["request", "response"] {
        let fields = guest.fields_of(&[("a", "1")]);
        let message = guest.http(&format!("[constructor]outgoing-{kind}"), &[fields]);
        let headers = guest.http(&format!("[method]outgoing-{kind}.headers"), &[message]);
        guest.traps(&format!("wasi:http/types#[resource-drop]outgoing-{kind}"), &[message], "1 child");
        let [ptr, len] = guest.bytes(b"a");
        assert_eq!(guest.http("[method]fields.has", &[headers, ptr, len]), 1);
        assert_eq!(guest.http_answer("[method]fields.delete", &[headers, ptr, len]).0, 1, "it is immutable");
    }
}

#[test]
fn a_body_is_given_once_and_so_is_its_stream() {
    let mut guest = guest();
    for kind in ["request", "response"] {
        let message = if kind == "request" { guest.request(&[]) } else { guest.response(&[]) };
        let (body, stream) = guest.body(kind, message);
        assert_eq!(guest.http_answer(&format!("[method]outgoing-{kind}.body"), &[message]).0, 1);
        assert_eq!(guest.http_answer("[method]outgoing-body.write", &[body]).0, 1);
        let write = "wasi:io/streams#[method]output-stream.check-write";
        guest.call(write, &[stream, RET.into()]);
        assert_eq!((guest.get(RET, 1), guest.u64(RET + 8)), (vec![0], 64 << 10));
        guest.traps("wasi:http/types#[resource-drop]outgoing-body", &[body], "1 child");
    }
}

#[test]
fn what_is_written_has_to_be_of_the_announced_length() {
    const REQUEST_BODY_SIZE: u8 = 17;
    const RESPONSE_BODY_SIZE: u8 = 28;
    let length = [("content-length", "3")];
    for (kind, error) in [("request", REQUEST_BODY_SIZE), ("response", RESPONSE_BODY_SIZE)] {
        let mut guest = guest();
        let message =
            |guest: &mut Guest| if kind == "request" { guest.request(&length) } else { guest.response(&length) };
        let this = message(&mut guest);
        let (body, stream) = guest.body(kind, this);
        assert!(guest.writes(stream, "abc"));
        assert_eq!(guest.finishes(body, stream, None), None);
        let this = message(&mut guest);
        let (body, stream) = guest.body(kind, this);
        assert!(guest.writes(stream, "ab"));
        assert_eq!(guest.finishes(body, stream, None), Some(error), "{kind}: too few");
        assert_eq!(guest.get(RET + 16, 1), [1]);
        assert_eq!(guest.u64(RET + 24), 2, "as many as were written");
        let this = message(&mut guest);
        let (body, stream) = guest.body(kind, this);
        assert!(!guest.writes(stream, "abcd"), "{kind}: too many");
        assert_eq!(guest.get(RET + 4, 1), [0], "it failed");
        let failed = guest.u32(RET + 8).into();
        guest.http("http-error-code", &[failed, RET.into()]);
        assert_eq!((guest.get(RET, 1), guest.get(RET + 8, 1)), (vec![1], vec![error]));
        guest.call("wasi:io/error#[method]error.to-debug-string", &[failed, RET.into()]);
        assert!(String::from_utf8(guest.string(RET)).unwrap().contains("content-length"));
        assert_eq!(guest.finishes(body, stream, None), Some(error), "{kind}");
    }
}

#[test]
fn a_buffer_that_nobody_takes_is_no_place_to_wait_for() {
    let mut guest = guest();
    let request = guest.request(&[]);
    let (body, stream) = guest.body("request", request);
    let full = "x".repeat(4096);
    let write = "wasi:io/streams#[method]output-stream.blocking-write-and-flush";
    for _ in 0..15 {
        assert!(guest.writes(stream, &full));
    }
    guest.call("wasi:io/streams#[method]output-stream.check-write", &[stream, RET.into()]);
    let room = guest.u64(RET + 8) as usize;
    assert!(room < 4096, "{room}");
    assert!(guest.writes(stream, &full[..room]));
    let [ptr, len] = guest.bytes(b"x");
    guest.traps(write, &[stream, ptr, len, RET.into()], "the wait would never end");
    let pollable = guest.call("wasi:io/streams#[method]output-stream.subscribe", &[stream]);
    assert_eq!(guest.call("wasi:io/poll#[method]pollable.ready", &[pollable]), 0);
    guest.http("[resource-drop]outgoing-request", &[request]);
    assert_eq!(guest.call("wasi:io/poll#[method]pollable.ready", &[pollable]), 1, "nobody will");
    assert!(!guest.writes(stream, "x"));
    assert_eq!(guest.get(RET + 4, 1), [1], "closed");
    guest.call("wasi:io/poll#[resource-drop]pollable", &[pollable]);
    guest.call("wasi:io/streams#[resource-drop]output-stream", &[stream]);
    assert!(!guest.host.is_untidy());
    guest.http("[resource-drop]outgoing-body", &[body]);
    assert!(guest.host.is_untidy(), "a message was given up");
}

#[test]
fn what_a_guest_writes_is_charged_until_it_is_sent() {
    let mut guest = guest();
    let request = guest.request(&[]);
    let (_, stream) = guest.body("request", request);
    let before = guest.host.budget().used();
    assert!(guest.writes(stream, &"x".repeat(4000)));
    assert!(guest.host.budget().used() >= before + 4000);
}
