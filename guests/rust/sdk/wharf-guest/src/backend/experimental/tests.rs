//! The use of the ABI, against a host in this process that keeps to the ABI, or does not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{Code, TimeoutExt};

/// A host whose origin sends back what it is sent: the headers, and the body in pieces of at most `piece` bytes.
#[derive(Default)]
struct Echo {
    piece: usize,
    /// How long `req` takes.
    takes: Duration,
    /// What is claimed to have been written besides what was.
    claims: usize,
    /// What `req` returns instead.
    refuses: Option<u32>,
    open: RefCell<BTreeMap<u32, (String, Vec<u8>)>>,
    seen: RefCell<Vec<String>>,
}

#[derive(Clone, Copy)]
struct Fake(&'static Echo);

impl Fake {
    fn new(piece: usize) -> Self {
        Fake::of(Echo { piece, ..Echo::default() })
    }

    /// Its functions take a copy of it for as long as a response lives.
    fn of(echo: Echo) -> Self {
        Fake(Box::leak(Box::new(echo)))
    }

    fn send(self, request: Request<Body>) -> Result<Response<Body>> {
        let timeouts = Timeouts::of(request.extensions());
        block_on(start(self, request, timeouts))
    }

    fn all_closed(self) -> bool {
        self.0.open.borrow().is_empty()
    }
}

impl Abi for Fake {
    fn req(self, url: &str, method: &str, headers: &str, body: &[u8]) -> Result<(u16, u32), u32> {
        if let Some(code) = self.0.refuses {
            return Err(code);
        }
        std::thread::sleep(self.0.takes);
        self.0.seen.borrow_mut().push(format!("{method} {url}"));
        let mut open = self.0.open.borrow_mut();
        let handle = (0..).find(|handle| !open.contains_key(handle)).unwrap();
        open.insert(handle, (headers.to_owned(), body.to_vec()));
        Ok((207, handle))
    }

    fn close(self, handle: u32) {
        self.0.open.borrow_mut().remove(&handle).expect("a handle is closed once");
    }

    fn headers_get_all(self, handle: u32, buffer: &mut [u8]) -> Result<usize, u32> {
        let open = self.0.open.borrow();
        let (headers, _) = open.get(&handle).ok_or(1_u32)?;
        buffer.get_mut(..headers.len()).ok_or(BUFFER_TOO_SMALL)?.copy_from_slice(headers.as_bytes());
        Ok(headers.len() + self.0.claims * (buffer.len() + 1))
    }

    fn body_read(self, handle: u32, buffer: &mut [u8]) -> Result<usize, u32> {
        let mut open = self.0.open.borrow_mut();
        let (_, body) = open.get_mut(&handle).ok_or(1_u32)?;
        let len = body.len().min(self.0.piece).min(buffer.len());
        buffer[..len].copy_from_slice(&body[..len]);
        body.drain(..len);
        Ok(len)
    }
}

fn request(body: impl Into<Body>) -> Request<Body> {
    Request::put("http://origin.example/path?q").body(body.into()).unwrap()
}

/// Any headers that the ABI can carry, with repeated names.
fn headers() -> impl Strategy<Value = HeaderMap> {
    let value = prop_oneof!["[ -~]{0,40}", "[\\t -~\\u{a0}-\\u{ffff}]{0,20}", "a:b: c|\\t| x |"];
    vec(("[a-z][a-z0-9-]{0,3}", value), 0..12).prop_map(|pairs| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    })
}

proptest! {
    #[test]
    fn headers_survive_the_wire(headers in headers()) {
        prop_assert_eq!(wire::decode(wire::encode(&headers).unwrap().as_bytes()).unwrap(), headers);
    }

    #[test]
    fn no_headers_of_a_host_make_the_guest_panic(text in vec(any::<u8>(), 0..200)) {
        if let Ok(headers) = wire::decode(&text) {
            prop_assert!(headers.len() <= text.split(|byte| *byte == b'\n').count());
        }
    }

    #[test]
    fn a_message_comes_back_as_it_was_sent(
        headers in headers(),
        body in vec(any::<u8>(), 0..5000),
        piece in 1_usize..700,
        reads in vec(1_usize..900, 1..8),
    ) {
        let host = Fake::new(piece);
        let mut sent = request(body.clone());
        *sent.headers_mut() = headers.clone();
        let mut response = host.send(sent).unwrap();
        prop_assert_eq!(response.status(), 207);
        prop_assert_eq!(response.headers(), &headers);
        let mut received = Vec::new();
        for len in reads.into_iter().cycle() {
            let mut buffer = vec![0; len];
            match response.body_mut().read(&mut buffer).unwrap() {
                0 => break,
                read => received.extend_from_slice(&buffer[..read]),
            }
        }
        prop_assert_eq!(received, body);
        drop(response);
        prop_assert!(host.all_closed());
    }
}

#[test]
fn the_host_sees_method_and_url() {
    let host = Fake::new(1);
    host.send(request(())).unwrap();
    assert_eq!(*host.0.seen.borrow(), ["PUT http://origin.example/path?q"]);
}

#[test]
fn every_code_is_carried() {
    let kinds = [
        (1, ErrorKind::Internal),
        (6, ErrorKind::Invalid),
        (7, ErrorKind::Denied),
        (8, ErrorKind::Invalid),
        (9, ErrorKind::Invalid),
        (10, ErrorKind::Invalid),
        (11, ErrorKind::Failed),
        (12, ErrorKind::Internal),
        (13, ErrorKind::Limit),
        (99, ErrorKind::Internal),
    ];
    for (code, kind) in kinds {
        let host = Fake::of(Echo { refuses: Some(code), ..Echo::default() });
        let error = host.send(request(())).unwrap_err();
        assert_eq!((error.kind(), error.code()), (kind, Some(Code::Experimental(code))));
    }
}

#[test]
fn long_headers_fit_up_to_a_bound() {
    let host = Fake::new(1);
    let sent = |len: usize| {
        let mut request = request(());
        request.headers_mut().insert("x-long", HeaderValue::from_str(&"v".repeat(len)).unwrap());
        request
    };
    assert_eq!(host.send(sent(100_000)).unwrap().headers()["x-long"].len(), 100_000);
    let error = host.send(sent(HEADERS.1)).unwrap_err();
    assert_eq!(error.code(), Some(Code::Experimental(BUFFER_TOO_SMALL)));
    assert!(host.all_closed());
}

#[test]
fn a_value_that_is_no_text_is_refused_before_it_is_sent() {
    let host = Fake::new(1);
    let mut sent = request(());
    sent.headers_mut().insert("x-latin", HeaderValue::from_bytes(b"caf\xe9").unwrap());
    assert_eq!(host.send(sent).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(host.0.seen.borrow().is_empty());
}

#[test]
fn a_host_that_claims_too_much_is_at_fault() {
    let host = Fake::of(Echo { claims: 1, ..Echo::default() });
    assert_eq!(host.send(request("body")).unwrap_err().kind(), ErrorKind::Internal);
    assert!(host.all_closed());
}

#[test]
fn what_took_too_long_is_a_timeout() {
    let host = Fake::of(Echo { takes: Duration::from_millis(5), ..Echo::default() });
    let first_byte = Timeouts { first_byte: Some(Duration::from_millis(1)), ..Timeouts::default() };
    assert!(host.send(request(()).timeouts(first_byte)).unwrap_err().is_timeout());
    assert!(host.send(request(()).timeout(Duration::from_millis(1))).unwrap_err().is_timeout());
    assert!(host.all_closed());
}

#[test]
fn the_total_covers_the_body() {
    let host = Fake::new(1);
    let most = Duration::from_millis(200);
    let mut response = host.send(request("body").timeout(most)).unwrap();
    std::thread::sleep(most + Duration::from_millis(1));
    let error = Error::from(response.body_mut().read(&mut [0; 9]).unwrap_err());
    assert!(error.is_timeout(), "{error}");
    assert_eq!(response.body_mut().read(&mut [0; 9]).unwrap(), 0, "nothing comes after an error");
}
