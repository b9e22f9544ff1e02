use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use http_body::Frame;
use http_body_util::BodyExt;

use super::*;
use crate::abi::signatures;
use crate::http::{Body, HttpError, HttpErrorKind, Limits, Policy, Timeouts, Transport};

#[test]
fn the_table_is_what_the_witx_file_declares() {
    signatures::assert_declared(include_str!("../../../abi/wasi_experimental_http.witx"), MODULE, FUNCTIONS);
}

#[test]
fn header_lines_are_split_at_the_first_colon_and_not_trimmed() {
    let headers = headers::parse("a:1\r\nb: two: three\n\nA:2").unwrap();
    assert_eq!(headers.get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(headers["b"], " two: three");
    assert_eq!(headers::format(&headers), "a:1\na:2\nb: two: three\n");
    assert!(headers::parse("").unwrap().is_empty());
}

#[test]
fn header_lines_that_are_none_are_refused() {
    for lines in ["no colon", ":value", "na me:value", "name:a\rb", "name:a\0b"] {
        assert!(headers::parse(lines).is_none(), "{lines:?}");
    }
}

#[test]
fn a_header_value_that_is_not_utf8_is_read_as_latin1() {
    let value = ::http::HeaderValue::from_bytes(b"caf\xe9\t").unwrap();
    assert_eq!(headers::text(&value), "café\t");
}

/// A guest with nothing but memory.
struct Bytes0(Vec<u8>);

impl Caller for Bytes0 {
    fn memory(&mut self) -> Option<&mut [u8]> {
        if self.0.is_empty() { None } else { Some(&mut self.0) }
    }
    fn call(&mut self, _: &str, _: &mut [u64]) -> Result<(), crate::types::Trap> {
        unreachable!("the ABI calls nothing of the guest")
    }
    fn global(&mut self, _: &str) -> Option<u64> {
        None
    }
    fn set_global(&mut self, _: &str, _: u64) -> bool {
        false
    }
}

fn call(http: &Http, name: &str, memory: &mut Vec<u8>, args: &[u32]) -> u32 {
    let function = FUNCTIONS.iter().find(|function| function.name == name).unwrap();
    let mut slots: Vec<u64> = args.iter().map(|arg| u64::from(*arg)).collect();
    let mut guest = Bytes0(std::mem::take(memory));
    (function.call)(http, &mut guest, &mut slots).unwrap();
    *memory = guest.0;
    slots[0] as u32
}

/// What a transport answers with.
#[derive(Clone)]
enum Answer {
    Parts(&'static [&'static str]),
    /// These, and then the connection breaks.
    Broken(&'static [&'static str]),
    Fails(HttpErrorKind),
}

/// Keeps what it is to send.
struct Recorder {
    answer: Answer,
    sent: Mutex<Vec<(String, ::http::HeaderMap, Bytes)>>,
}

struct Frames(VecDeque<Result<Frame<Bytes>, HttpError>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        Poll::Ready(self.0.pop_front())
    }
}

#[async_trait::async_trait]
impl Transport for Recorder {
    async fn send(&self, request: Request<Body>, _: &Timeouts) -> Result<::http::Response<Body>, HttpError> {
        let (parts, body) = request.into_parts();
        let sent = (format!("{} {}", parts.method, parts.uri), parts.headers, body.collect().await?.to_bytes());
        self.sent.lock().unwrap().push(sent);
        let broken = HttpError::new(HttpErrorKind::ConnectionReset, "it broke");
        let (parts, end) = match self.answer {
            Answer::Parts(parts) => (parts, None),
            Answer::Broken(parts) => (parts, Some(Err(broken))),
            Answer::Fails(kind) => return Err(HttpError::new(kind, "it failed")),
        };
        let frames = parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes())))).chain(end);
        let response =
            ::http::Response::builder().status(203).header("x-a", "1").header("x-b", "café").header("x-a", "2");
        Ok(response.body(Frames(frames.collect()).boxed_unsync()).unwrap())
    }
}

fn sending_within(answer: Answer, limits: Limits) -> (Http, Arc<Recorder>) {
    let recorder = Arc::new(Recorder { answer, sent: Mutex::default() });
    let policy = Policy::builder().allow("http://example.com").unwrap().build();
    let sends: Arc<dyn Transport> = recorder.clone();
    let outbound = Outbound::new(policy, limits, |_, _| Ok::<_, HttpError>(sends)).unwrap();
    (Http::new(outbound, Run::default()), recorder)
}

fn sending(answer: Answer) -> (Http, Arc<Recorder>) {
    sending_within(answer, Limits::default())
}

const PARTS: Answer = Answer::Parts(&["hello", "", "world"]);

/// How large a guest's memory is here, and where its request's results go.
const MEMORY: u32 = 4096;
const STATUS: u32 = 0x800;
const HANDLE: u32 = 0x804;
const BUFFER: u32 = 0x900;
const WRITTEN: u32 = 0xa00;

/// A memory that holds a request, and the arguments for it.
fn request(url: &str, method: &str, headers: &str, body: &str) -> (Vec<u8>, Vec<u32>) {
    let (mut memory, mut args) = (vec![0xa5; MEMORY as usize], Vec::new());
    let mut at = 0;
    for text in [url, method, headers, body] {
        memory[at..at + text.len()].copy_from_slice(text.as_bytes());
        args.extend([at as u32, text.len() as u32]);
        at += text.len();
    }
    args.extend([STATUS, HANDLE]);
    (memory, args)
}

fn get(url: &str) -> (Vec<u8>, Vec<u32>) {
    request(url, "GET", "", "")
}

const URL: &str = "http://example.com/a";

fn u32_at(memory: &[u8], at: u32) -> u32 {
    u32::from_le_bytes(memory[at as usize..][..4].try_into().unwrap())
}

/// Sends a request that is answered; gives its handle.
fn open(http: &Http) -> u32 {
    let (mut memory, args) = get(URL);
    assert_eq!(call(http, "req", &mut memory, &args), 0);
    assert_eq!(memory[STATUS as usize..][..2], 203u16.to_le_bytes());
    u32_at(&memory, HANDLE)
}

/// What the next read gives, into a buffer of this length.
fn read(http: &Http, handle: u32, len: u32) -> Result<Vec<u8>, u32> {
    let mut memory = vec![0; MEMORY as usize];
    match call(http, "body_read", &mut memory, &[handle, BUFFER, len, WRITTEN]) {
        0 => Ok(memory[BUFFER as usize..][..u32_at(&memory, WRITTEN) as usize].to_vec()),
        code => Err(code),
    }
}

fn header(http: &Http, handle: u32, name: &str, len: u32) -> Result<Vec<u8>, u32> {
    let mut memory = vec![0; MEMORY as usize];
    memory[..name.len()].copy_from_slice(name.as_bytes());
    match call(http, "header_get", &mut memory, &[handle, 0, name.len() as u32, BUFFER, len, WRITTEN]) {
        0 => Ok(memory[BUFFER as usize..][..u32_at(&memory, WRITTEN) as usize].to_vec()),
        code => Err(code),
    }
}

#[test]
fn nothing_is_reachable_without_an_outbound() {
    let http = Http::deny_all(Run::default());
    let mut memory = b"http://localhost/GET".to_vec();
    let code = call(&http, "req", &mut memory, &[0, 17, 17, 3, 0, 0, 0, 0, 0, 4]);
    assert_eq!(code, ErrorCode::DestinationNotAllowed as u32);
    assert_eq!(memory, b"http://localhost/GET");
}

#[test]
fn unknown_handles_answer_and_do_not_panic() {
    let http = Http::deny_all(Run::default());
    let mut memory = vec![0; 64];
    assert_eq!(call(&http, "close", &mut memory, &[7]), 0);
    assert_eq!(call(&http, "body_read", &mut memory, &[7, 0, 8, 8]), ErrorCode::InvalidHandle as u32);
    assert_eq!(call(&http, "body_read", &mut memory, &[7, 0, 0, 8]), ErrorCode::InvalidHandle as u32);
    assert_eq!(call(&http, "header_get", &mut memory, &[7, 0, 8, 8, 8, 8]), ErrorCode::InvalidHandle as u32);
    for name in ["headers_get_all", "header_get_all"] {
        assert_eq!(call(&http, name, &mut memory, &[7, 0, 8, 8]), ErrorCode::InvalidHandle as u32);
    }
}

#[test]
fn a_request_is_sent_as_the_guest_has_it() {
    let (http, recorder) = sending(PARTS);
    let (mut memory, args) = request("http://example.com/a?b", "POST", "X-One: 1\nx-two:2", "body");
    assert_eq!(call(&http, "req", &mut memory, &args), 0);
    let sent = recorder.sent.lock().unwrap();
    let (line, headers, body) = &sent[0];
    assert_eq!((line.as_str(), &body[..]), ("POST http://example.com/a?b", &b"body"[..]));
    assert_eq!((&headers["x-one"], &headers["x-two"]), (&"1".parse().unwrap(), &"2".parse().unwrap()));
}

#[test]
fn a_body_is_read_in_as_many_parts_as_the_guest_likes() {
    let (http, _) = sending(PARTS);
    let handle = open(&http);
    assert_eq!(read(&http, handle, 0), Ok(vec![]), "no room");
    assert_eq!(read(&http, handle, 2).unwrap(), b"he");
    let mut memory = vec![0; MEMORY as usize];
    for (buffer, written) in [(MEMORY - 1, WRITTEN), (BUFFER, MEMORY - 3)] {
        let code = call(&http, "body_read", &mut memory, &[handle, buffer, 2, written]);
        assert_eq!(code, ErrorCode::MemoryAccess as u32, "a bad pointer loses nothing");
    }
    assert_eq!(read(&http, handle, 100).unwrap(), b"llo");
    assert_eq!(read(&http, handle, 100).unwrap(), b"world");
    for _ in 0..2 {
        assert_eq!(read(&http, handle, 100).unwrap(), b"", "the end");
    }
}

#[test]
fn a_body_that_breaks_off_stays_broken() {
    let (http, _) = sending(Answer::Broken(&["part"]));
    let handle = open(&http);
    assert_eq!(read(&http, handle, 100).unwrap(), b"part");
    for _ in 0..2 {
        assert_eq!(read(&http, handle, 100), Err(ErrorCode::RequestFailed as u32));
    }
}

#[test]
fn headers_are_found_by_name_and_listed() {
    let (http, _) = sending(PARTS);
    let handle = open(&http);
    assert_eq!(header(&http, handle, "X-A", 1).unwrap(), b"1", "the first of that name");
    assert_eq!(header(&http, handle, "x-b", 100).unwrap(), "café".as_bytes());
    assert_eq!(header(&http, handle, "x-a", 0), Err(ErrorCode::BufferTooSmall as u32));
    assert_eq!(header(&http, handle, "x-c", 100), Err(ErrorCode::HeaderNotFound as u32));
    for name in ["headers_get_all", "header_get_all"] {
        let mut memory = vec![0; MEMORY as usize];
        assert_eq!(call(&http, name, &mut memory, &[handle, BUFFER, 100, WRITTEN]), 0);
        let lines = "x-a:1\nx-a:2\nx-b:café\n";
        assert_eq!(&memory[BUFFER as usize..][..u32_at(&memory, WRITTEN) as usize], lines.as_bytes());
        let (fits, short) = (lines.len() as u32, lines.len() as u32 - 1);
        assert_eq!(call(&http, name, &mut memory, &[handle, BUFFER, fits, WRITTEN]), 0);
        assert_eq!(call(&http, name, &mut memory, &[handle, BUFFER, short, WRITTEN]), ErrorCode::BufferTooSmall as u32);
        assert_eq!(call(&http, name, &mut memory, &[handle, MEMORY - 2, 100, WRITTEN]), ErrorCode::MemoryAccess as u32);
        assert_eq!(call(&http, name, &mut memory, &[handle, BUFFER, 100, MEMORY - 3]), ErrorCode::MemoryAccess as u32);
    }
}

#[test]
fn each_open_response_has_a_handle_and_there_are_only_so_many() {
    let limits = Limits { open_responses: 2, ..Limits::default() };
    let (http, recorder) = sending_within(PARTS, limits);
    let (first, second) = (open(&http), open(&http));
    assert_ne!(first, second);
    assert_eq!(http.open_responses(), 2);
    let (mut memory, args) = get(URL);
    assert_eq!(call(&http, "req", &mut memory, &args), ErrorCode::TooManySessions as u32);
    assert_eq!(recorder.sent.lock().unwrap().len(), 2, "it was not sent");
    let (mut none, args) = get("no url");
    assert_eq!(call(&http, "req", &mut none, &args), ErrorCode::TooManySessions as u32, "which comes before the rest");
    assert_eq!(call(&http, "close", &mut memory, &[second]), 0);
    assert_eq!(http.open_responses(), 1);
    assert_eq!(open(&http), second, "the one given last is free again");
    assert_eq!(call(&http, "close", &mut memory, &[first]), 0);
    assert_eq!(read(&http, first, 1), Err(ErrorCode::InvalidHandle as u32));
    assert_eq!(read(&http, second, 5).unwrap(), b"hello");
    assert_ne!(open(&http), second);
}

#[test]
fn what_is_wrong_with_a_request_is_said_in_order() {
    let (http, recorder) = sending_within(PARTS, Limits { request_body_bytes: 4, ..Limits::default() });
    for (url, method, headers, body, code) in [
        ("\u{e9}", "", "", "", ErrorCode::InvalidUrl),
        ("ftp://example.com/", "", "", "", ErrorCode::InvalidUrl),
        ("http://other.example/", "", "", "", ErrorCode::DestinationNotAllowed),
        (URL, "", "x", "large", ErrorCode::InvalidMethod),
        (URL, "G T", "x", "large", ErrorCode::InvalidMethod),
        (URL, "POST", "x", "large", ErrorCode::RequestFailed),
        (URL, "POST", "x", "four", ErrorCode::InvalidEncoding),
        (URL, "CONNECT", "", "", ErrorCode::InvalidMethod),
        (URL, "POST", "x:1", "four", ErrorCode::Success),
    ] {
        let (mut memory, args) = request(url, method, headers, body);
        assert_eq!(call(&http, "req", &mut memory, &args), code as u32, "{url} {method} {headers} {body}");
    }
    let (memory, args) = request(URL, "GET", "a:b", "body");
    for text in 0..4 {
        let mut bad = args.clone();
        (bad[2 * text], bad[2 * text + 1]) = (MEMORY - 1, 2);
        assert_eq!(call(&http, "req", &mut memory.clone(), &bad), ErrorCode::BufferTooSmall as u32, "{text}");
    }
    for text in [0, 1, 2] {
        let mut bad = memory.clone();
        bad[args[2 * text] as usize] = 0xff;
        assert_eq!(call(&http, "req", &mut bad, &args), ErrorCode::NotUtf8 as u32, "{text}");
    }
    assert_eq!(call(&http, "req", &mut Vec::new(), &args), ErrorCode::MemoryNotFound as u32);
    assert_eq!(recorder.sent.lock().unwrap().len(), 1);
}

#[test]
fn a_bad_pointer_for_a_result_leaks_no_response() {
    let (http, _) = sending(PARTS);
    for (at, bad) in [(8, MEMORY - 1), (9, MEMORY - 3)] {
        let (mut memory, mut args) = get(URL);
        args[at] = bad;
        assert_eq!(call(&http, "req", &mut memory, &args), ErrorCode::MemoryAccess as u32);
    }
    assert_eq!(http.open_responses(), 0);
}

#[test]
fn what_sending_fails_with_has_a_code() {
    for (kind, code) in [
        (HttpErrorKind::AddressProhibited, ErrorCode::DestinationNotAllowed),
        (HttpErrorKind::RedirectDenied, ErrorCode::DestinationNotAllowed),
        (HttpErrorKind::UrlTooLong, ErrorCode::InvalidUrl),
        (HttpErrorKind::TooManyInFlight, ErrorCode::TooManySessions),
        (HttpErrorKind::Internal, ErrorCode::HostFailed),
        (HttpErrorKind::DnsNotFound, ErrorCode::RequestFailed),
        (HttpErrorKind::TotalTimeout, ErrorCode::RequestFailed),
    ] {
        let (http, _) = sending(Answer::Fails(kind));
        let (mut memory, args) = get(URL);
        assert_eq!(call(&http, "req", &mut memory, &args), code as u32, "{kind:?}");
    }
}

#[test]
fn what_a_guest_has_the_host_keep_is_charged() {
    let budget = Budget::new(1 << 20);
    let (http, _) = sending(PARTS);
    let http = http.bounded(&budget);
    let handle = open(&http);
    let with_one = budget.used();
    // What is read ahead, and each of three headers.
    assert!(with_one >= (96 << 10) + 3 * 160, "{with_one}");
    let other = open(&http);
    assert_eq!(budget.used(), 2 * with_one);
    let mut memory = vec![0; MEMORY as usize];
    for handle in [handle, other] {
        assert_eq!(call(&http, "close", &mut memory, &[handle]), 0);
    }
    assert_eq!(budget.used(), 0);
    // A text is charged for twice, beside the body: more than either, less than their product.
    let (http, recorder) = sending(PARTS);
    let http = http.bounded(&Budget::new(112 << 10));
    let (mut memory, args) = request(URL, "GET", &format!("a:{}", "1".repeat(1000)), &"b".repeat(1000));
    assert_eq!(call(&http, "req", &mut memory, &args), 0);
    assert_eq!(recorder.sent.lock().unwrap().len(), 1);
    let (small, recorder) = sending(PARTS);
    let small = small.bounded(&Budget::new(96 << 10));
    let (mut memory, args) = request(URL, "GET", "a:1", "");
    assert_eq!(call(&small, "req", &mut memory, &args), ErrorCode::RequestFailed as u32);
    assert!(recorder.sent.lock().unwrap().is_empty(), "what does not fit is not sent");
}
