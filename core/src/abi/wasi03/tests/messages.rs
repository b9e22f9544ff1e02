//! Messages: what arrives, what is answered, and what a guest is told of either.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use wharf_plan::{Builtin, EndFunction};

use super::{BLOCKED, BUFFER, Guest, RET};
use crate::abi::concurrent::{Task, TaskKind};
use crate::abi::wasi02::canon::Type;
use crate::abi::wasi02::http::{Answer, ErrorCode, Reply};
use crate::abi::wasi03::http::{Sent, Trailers};
use crate::http::Body;
use crate::run::Run;

/// The types of the futures: their number, the size of a value and its alignment.
const TRAILERS: (u32, u32, u32) = (0, Trailers::SIZE, Trailers::ALIGN);
const SENT: (u32, u32, u32) = (1, Sent::SIZE, Sent::ALIGN);

/// The case that stands for an error.
const ERROR: u8 = 1;

fn body(bytes: &'static str) -> Body {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync()
}

/// A message of the guest's: the handle of the resource, of what becomes of it, and the ends that the guest has.
struct Made {
    message: u64,
    sent: u64,
    contents: u64,
    trailers: u64,
}

impl Guest {
    fn both(&self, ends: u64) -> (u64, u64) {
        (ends & 0xffff_ffff, ends >> 32)
    }

    fn fields(&mut self, fields: &[(&str, &str)]) -> u64 {
        let handle = self.call("[constructor]fields", &[]);
        for (name, value) in fields {
            let ([name, name_len], [value, value_len]) = (self.bytes(name.as_bytes()), self.bytes(value.as_bytes()));
            let args = [handle, name, name_len, value, value_len, RET.into()];
            self.call("[method]fields.append", &args);
            assert_eq!(self.get(RET, 1), [0]);
        }
        handle
    }

    fn response(&mut self, fields: &[(&str, &str)]) -> Made {
        let fields = self.fields(fields);
        let ends = self.stream(EndFunction::New, &[]);
        let (contents, writer) = self.both(ends);
        let ends = self.future(EndFunction::New, TRAILERS, &[]);
        let (trailers, trailers_writer) = self.both(ends);
        self.call("[static]response.new", &[fields, 1, contents, trailers, RET.into()]);
        Made { message: self.u32(RET), sent: self.u32(RET + 4), contents: writer, trailers: trailers_writer }
    }

    /// Returns a response from the guest's task.
    fn answer(&mut self, response: &Made) -> Option<Answer> {
        let (reply, mut answer) = Reply::channel();
        self.host.begin_task(Task::new(TaskKind::Response(reply), None)).unwrap();
        let mut slots = [0; 8];
        slots[1] = response.message;
        self.builtin(Builtin::TaskReturn { result: None }, super::BYTE, &slots);
        self.yields();
        answer.try_recv().ok()
    }

    /// Lets the host go on.
    fn yields(&mut self) {
        self.builtin(Builtin::Yield, super::BYTE, &[]);
    }

    /// What became of a message: nothing yet, or whether it was sent.
    fn sent(&mut self, made: &Made) -> Option<bool> {
        self.fake.memory[BUFFER as usize] = 0xff;
        match self.future(EndFunction::Read, SENT, &[made.sent, BUFFER.into()]) {
            BLOCKED => {
                self.future(EndFunction::CancelRead, SENT, &[made.sent]);
                None
            }
            0 => Some(self.get(BUFFER, 1) != [ERROR]),
            other => panic!("{other:#x}"),
        }
    }

    /// Ends a body, without trailers.
    fn finish(&mut self, made: &Made) {
        self.stream(EndFunction::DropWritable, &[made.contents]);
        let none = self.bytes(&[0; Trailers::SIZE as usize]);
        assert_eq!(self.future(EndFunction::Write, TRAILERS, &[made.trailers, none[0]]), 0);
    }
}

fn read(body: Body) -> Result<Vec<u8>, String> {
    let limit = Some(Instant::now() + Duration::from_secs(30));
    let collected = Run::default().wait_until(body.collect(), limit).unwrap().expect("the body ends");
    collected.map(|body| body.to_bytes().to_vec()).map_err(|error| error.to_string())
}

#[test]
fn a_message_that_is_never_sent_is_not_sent() {
    let mut guest = Guest::new();
    let made = guest.response(&[]);
    assert_eq!(guest.sent(&made), None);
    guest.call("[resource-drop]response", &[made.message]);
    assert_eq!(guest.sent(&made), Some(false));
    let [at, len] = guest.bytes(b"unread");
    assert_eq!(guest.stream(EndFunction::Write, &[made.contents, at, len]), 1, "nobody reads it");
}

#[test]
fn a_response_is_sent_once_all_of_it_was_taken() {
    let mut guest = Guest::new();
    let made = guest.response(&[("x-own", "1")]);
    let [at, len] = guest.bytes(b"hello");
    assert_eq!(guest.stream(EndFunction::Write, &[made.contents, at, len]), BLOCKED, "nobody reads it yet");
    let response = guest.answer(&made).expect("the head leaves when the guest waits").unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["x-own"]), (200, &"1".parse().unwrap()));
    assert_eq!(guest.stream(EndFunction::CancelWrite, &[made.contents]), 0x50, "all of it was taken");
    guest.finish(&made);
    assert_eq!(guest.sent(&made), None, "it was not read");
    assert_eq!(read(response.into_body()).unwrap(), b"hello");
    assert_eq!(guest.sent(&made), Some(true));
}

#[test]
fn a_client_that_leaves_is_told_of() {
    let mut guest = Guest::new();
    let made = guest.response(&[]);
    let [at, len] = guest.bytes(b"hello");
    guest.stream(EndFunction::Write, &[made.contents, at, len]);
    drop(guest.answer(&made).unwrap());
    guest.yields();
    assert_eq!(guest.stream(EndFunction::CancelWrite, &[made.contents]) & 0xf, 0, "the first part was taken");
    assert_eq!(guest.sent(&made), Some(false), "the guest need not write for that");
    assert_eq!(guest.stream(EndFunction::Write, &[made.contents, at, len]), 1);
}

#[test]
fn a_body_has_the_length_that_is_announced() {
    for (written, what) in [(&b"abc"[..], "too little"), (&b"abcdef"[..], "too much")] {
        let mut guest = Guest::new();
        let made = guest.response(&[("content-length", "5")]);
        let [at, len] = guest.bytes(written);
        guest.stream(EndFunction::Write, &[made.contents, at, len]);
        let answer = guest.answer(&made);
        guest.stream(EndFunction::CancelWrite, &[made.contents]);
        guest.finish(&made);
        if let Some(Ok(response)) = answer {
            assert!(read(response.into_body()).is_err(), "{what}");
        }
        assert_eq!(guest.sent(&made), Some(false), "{what}");
    }
}

#[test]
fn a_response_in_the_middle_of_which_the_guest_ends_is_broken_off() {
    let mut guest = Guest::new();
    let made = guest.response(&[]);
    let [at, len] = guest.bytes(b"hello");
    guest.stream(EndFunction::Write, &[made.contents, at, len]);
    let response = guest.answer(&made).unwrap().unwrap();
    guest.host.close();
    assert!(read(response.into_body()).is_err());
}

#[test]
fn an_error_is_answered() {
    let mut guest = Guest::new();
    let (reply, mut answer) = Reply::channel();
    guest.host.begin_task(Task::new(TaskKind::Response(reply), None)).unwrap();
    // The case `loop-detected`.
    guest.builtin(Builtin::TaskReturn { result: None }, super::BYTE, &[1, 36, 0, 0, 0, 0, 0, 0]);
    assert_eq!(answer.try_recv().unwrap().unwrap_err(), ErrorCode::LoopDetected);
}

#[test]
fn a_request_that_arrives_is_told_and_read() {
    let mut guest = Guest::new();
    let request = http::Request::post("/a?b").header("host", "front.example").header("connection", "close");
    let request = request.header("x-sent", "1").body(body("its body")).unwrap();
    let handle = guest.host.begin03(request, &Reply::channel().0).unwrap().unwrap();
    guest.call("[method]request.get-method", &[handle, RET.into()]);
    assert_eq!(guest.get(RET, 1), [2], "post");
    guest.call("[method]request.get-authority", &[handle, RET.into()]);
    let (at, len) = (guest.u32(RET + 4) as u32, guest.u32(RET + 8) as u32);
    assert_eq!((guest.get(RET, 1), guest.get(at, len)), (&[1][..], &b"front.example"[..]));
    guest.call("[method]request.get-scheme", &[handle, RET.into()]);
    assert_eq!(guest.get(RET, 5), [1, 0, 0, 0, 0], "http");
    let headers = guest.call("[method]request.get-headers", &[handle]);
    for (name, has) in [("x-sent", 1), ("connection", 0), ("host", 0)] {
        let [at, len] = guest.bytes(name.as_bytes());
        assert_eq!(guest.call("[method]fields.has", &[headers, at, len]), has, "{name}");
    }
    let ends = guest.future(EndFunction::New, SENT, &[]);
    let (res, _) = guest.both(ends);
    guest.call("[static]request.consume-body", &[handle, res, RET.into()]);
    let (stream, trailers) = (guest.u32(RET), guest.u32(RET + 4));
    assert_eq!(guest.future(EndFunction::Read, TRAILERS, &[trailers, BUFFER.into()]), BLOCKED, "not before the end");
    assert_eq!(guest.stream(EndFunction::Read, &[stream, u64::from(BUFFER) + 256, 64]), 0x80);
    assert_eq!(guest.get(BUFFER + 256, 8), b"its body");
    assert_eq!(guest.stream(EndFunction::Read, &[stream, u64::from(BUFFER) + 256, 64]), 1);
    guest.yields();
    assert_eq!(guest.future(EndFunction::CancelRead, TRAILERS, &[trailers]), 0, "they are there");
    assert_eq!(guest.get(BUFFER, 1), [0]);
}

/// What has arrived goes on as it comes, by the rules of what the guest makes.
#[test]
fn a_body_that_arrives_is_passed_on() {
    for (announced, whole) in [("8", true), ("9", false)] {
        let mut guest = Guest::new();
        let request = http::Request::post("/").header("host", "front.example").body(body("its body")).unwrap();
        let handle = guest.host.begin03(request, &Reply::channel().0).unwrap().unwrap();
        let ends = guest.future(EndFunction::New, SENT, &[]);
        let (res, _) = guest.both(ends);
        guest.call("[static]request.consume-body", &[handle, res, RET.into()]);
        let (stream, trailers) = (guest.u32(RET), guest.u32(RET + 4));
        let fields = guest.fields(&[("content-length", announced)]);
        guest.call("[static]response.new", &[fields, 1, stream, trailers, RET.into()]);
        let made = Made { message: guest.u32(RET), sent: guest.u32(RET + 4), contents: 0, trailers: 0 };
        let answer = guest.answer(&made);
        if whole {
            assert_eq!(read(answer.unwrap().unwrap().into_body()).unwrap(), b"its body");
        } else {
            assert!(!matches!(answer, Some(Ok(_))), "it has fewer bytes than announced");
        }
        assert_eq!(guest.sent(&made), Some(whole), "{announced}");
    }
}

#[test]
fn fields_have_a_largest_size_and_say_so() {
    let mut guest = Guest::new();
    let fields = guest.fields(&[]);
    let ([name, name_len], [value, value_len]) = (guest.bytes(b"x-large"), guest.bytes(&[b'a'; 8192]));
    let refused = (0..100).find_map(|_| {
        guest.call("[method]fields.append", &[fields, name, name_len, value, value_len, RET.into()]);
        let said = guest.get(RET, 9).to_vec();
        (said[0] == ERROR).then_some(said)
    });
    assert_eq!(refused.expect("there is a limit")[4], 3, "size-exceeded");
}

#[test]
fn methods_and_paths_are_checked() {
    let mut guest = Guest::new();
    let fields = guest.fields(&[]);
    let ends = guest.future(EndFunction::New, TRAILERS, &[]);
    let (trailers, _) = guest.both(ends);
    guest.call("[static]request.new", &[fields, 0, 0, trailers, 0, 0, RET.into()]);
    let request = guest.u32(RET);
    for (method, refused) in [("PATCH", 0), ("a/b/c", 1), ("", 1), ("a b", 1)] {
        let [at, len] = guest.bytes(method.as_bytes());
        assert_eq!(guest.call("[method]request.set-method", &[request, 9, at, len]), refused, "{method}");
    }
    for (path, refused) in [("/a?b", 0), ("", 0), ("a b", 1)] {
        let [at, len] = guest.bytes(path.as_bytes());
        assert_eq!(guest.call("[method]request.set-path-with-query", &[request, 1, at, len]), refused, "{path}");
    }
    assert_eq!(guest.call("[method]request.set-path-with-query", &[request, 0, 0, 0]), 0);
}

/// However often, it is as deep as once.
#[test]
fn a_message_is_taken_apart_and_made_again_any_number_of_times() {
    let mut guest = Guest::new();
    let mut made = guest.response(&[]);
    let consume = |guest: &mut Guest, made: &Made| {
        let ends = guest.future(EndFunction::New, SENT, &[]);
        let (res, writer) = guest.both(ends);
        guest.call("[static]response.consume-body", &[made.message, res, RET.into()]);
        let parts = (guest.u32(RET), guest.u32(RET + 4));
        guest.fake.memory[BUFFER as usize..][..64].fill(0);
        guest.future(EndFunction::Write, SENT, &[writer, BUFFER.into()]);
        guest.future(EndFunction::DropWritable, SENT, &[writer]);
        guest.future(EndFunction::DropReadable, SENT, &[made.sent]);
        parts
    };
    for _ in 0..30_000 {
        let (contents, trailers) = consume(&mut guest, &made);
        let fields = guest.fields(&[]);
        guest.call("[static]response.new", &[fields, 1, contents, trailers, RET.into()]);
        (made.message, made.sent) = (guest.u32(RET), guest.u32(RET + 4));
    }
    let (_, trailers) = consume(&mut guest, &made);
    assert_eq!(guest.future(EndFunction::Read, TRAILERS, &[trailers, BUFFER.into()]), BLOCKED);
    assert_eq!(guest.future(EndFunction::Write, TRAILERS, &[made.trailers, RET.into()]), 0);
}
