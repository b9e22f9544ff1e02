//! What a guest's own unit tests rely on: the interface, natively, against a mock origin.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream;
use http_body::Frame;
use proptest::collection::vec;
use proptest::prelude::*;
use wharf_guest::bytes::Bytes;
use wharf_guest::http::{Request, Response};
use wharf_guest::{Body, Code, Error, ErrorKind, IntoResponse, TimeoutExt, Timeouts, block_on, compat, mock, spawn};

/// An origin that sends back what it is sent.
fn echo() -> mock::Installed {
    mock::install(|request| {
        let (head, body) = request.into_parts();
        let mut response = Response::new(body);
        *response.headers_mut() = head.headers;
        response.into()
    })
}

fn pieces(body: Vec<Vec<u8>>) -> impl Iterator<Item = wharf_guest::Result<Bytes>> {
    body.into_iter().map(|piece| Ok(piece.into()))
}

/// The same bytes, as each kind of body.
fn bodies(pieces_of: &[Vec<u8>]) -> Vec<Body> {
    let frames = pieces(pieces_of.to_vec()).map(|piece| piece.map(Frame::data));
    vec![
        pieces_of.concat().into(),
        Body::from_reader(io::Cursor::new(pieces_of.concat())),
        Body::from_chunks(pieces(pieces_of.to_vec())),
        Body::wrap(StreamBody(Box::pin(stream::iter(frames)))),
    ]
}

/// A body of the ecosystem, over a stream.
struct StreamBody<S>(std::pin::Pin<Box<S>>);

impl<S: stream::Stream<Item = wharf_guest::Result<Frame<Bytes>>>> http_body::Body for StreamBody<S> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<wharf_guest::Result<Frame<Bytes>>>> {
        self.0.as_mut().poll_next(cx)
    }
}

proptest! {
    #[test]
    fn a_body_of_any_kind_comes_back(body in vec(vec(any::<u8>(), 0..300), 0..20), len in 1_usize..500) {
        let _installed = echo();
        for sent in bodies(&body) {
            let mut received = Vec::new();
            let mut response = wharf_guest::send(Request::post("http://o.example/").body(sent).unwrap()).unwrap();
            let mut buffer = vec![0; len];
            loop {
                match response.body_mut().read(&mut buffer).unwrap() {
                    0 => break,
                    read => received.extend_from_slice(&buffer[..read]),
                }
            }
            prop_assert_eq!(&received, &body.concat());
        }
    }

    #[test]
    fn chunks_are_never_empty_and_limits_hold(body in vec(vec(any::<u8>(), 0..30), 0..10), limit in 0_u64..200) {
        let all = body.concat();
        for mut body in bodies(&body) {
            let mut received = Vec::new();
            block_on(async {
                while let Some(chunk) = body.chunk().await {
                    let chunk = chunk.unwrap();
                    assert!(!chunk.is_empty());
                    received.extend_from_slice(&chunk);
                }
            });
            prop_assert_eq!(&received, &all);
        }
        for body in bodies(&body) {
            match block_on(body.collect(limit)) {
                Ok(collected) => prop_assert_eq!(&collected, &all),
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::Limit);
                    prop_assert!(all.len() as u64 > limit);
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_the_body(body in vec(vec(any::<u8>(), 0..300), 0..20)) {
        let _installed = echo();
        let mut outgoing = wharf_guest::open(Request::put("http://o.example/").body(()).unwrap()).unwrap();
        for (index, piece) in body.iter().enumerate() {
            if index % 2 == 0 {
                outgoing.write_all(piece).unwrap();
            } else {
                block_on(outgoing.write_chunk(piece)).unwrap();
            }
        }
        let response = outgoing.finish().wait().unwrap();
        prop_assert_eq!(block_on(response.into_body().collect(u64::MAX)).unwrap(), body.concat());
    }
}

#[test]
fn requests_are_under_way_together() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let _installed = mock::install({
        let seen = seen.clone();
        move |request| {
            seen.borrow_mut().push(request.uri().path().to_owned());
            Response::new(request.uri().path().to_owned()).into()
        }
    });
    let all = ["/1", "/2", "/3"]
        .map(|path| wharf_guest::start(Request::get(format!("http://o.example{path}")).body(()).unwrap()));
    assert_eq!(*seen.borrow(), ["/1", "/2", "/3"], "each is started before any is waited for");
    let mut texts = Vec::new();
    for response in block_on(join_all(all)) {
        let mut text = String::new();
        response.unwrap().body_mut().read_to_string(&mut text).unwrap();
        texts.push(text);
    }
    assert_eq!(texts, ["/1", "/2", "/3"]);
}

#[test]
fn timeouts_are_errors_of_their_own() {
    let _installed = mock::install(|_| mock::Answer::from(Response::new("late")).takes(Duration::from_secs(3)));
    let get = || Request::get("http://o.example/").body(()).unwrap();
    let late = wharf_guest::send(get().timeout(Duration::from_secs(2))).unwrap_err();
    assert!(late.is_timeout() && late.code().is_none());
    let first_byte = Timeouts { first_byte: Some(Duration::from_secs(2)), ..Timeouts::default() };
    assert!(wharf_guest::send(get().timeouts(first_byte)).unwrap_err().is_timeout());
    assert!(wharf_guest::send(get().timeout(Duration::from_secs(3))).is_ok());
    assert!(wharf_guest::send(get()).is_ok());
}

#[test]
fn errors_go_through_io_as_they_are() {
    let denied = || Error::new(ErrorKind::Denied).with_code(Code::Experimental(7));
    let through = io::Error::from(denied());
    assert_eq!(through.kind(), io::ErrorKind::PermissionDenied);
    let back = Error::from(through);
    assert_eq!((back.kind(), back.code()), (ErrorKind::Denied, Some(Code::Experimental(7))));
    assert_eq!(back.to_string(), "the destination is not allowed (code 7)");
    let invalid = Error::new(ErrorKind::Invalid);
    assert_eq!(invalid.to_string(), "the request is not valid");
    assert_eq!(invalid.with_code(Code::Experimental(9)).to_string(), "invalid header (code 9)");
    let broken = Error::new(ErrorKind::Failed).with_code(Code::WasiHttp("HTTP-response-incomplete"));
    assert_eq!(broken.to_string(), "the request failed (code HTTP-response-incomplete)");
    assert_eq!(Error::from(io::Error::other("disk")).kind(), ErrorKind::Body);
}

#[test]
fn a_body_that_fails_ends_the_request_before_it_is_sent() {
    let _installed = mock::install(|_| panic!("the origin is not asked"));
    let broken = Body::from_chunks([Ok(Bytes::from("a")), Err(io::Error::other("disk").into()), Ok(Bytes::from("b"))]);
    let error = wharf_guest::send(Request::post("http://o.example/").body(broken).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Body);
}

#[test]
fn an_origin_is_there_until_it_is_dropped() {
    let status =
        || wharf_guest::send(Request::get("http://o.example/").body(()).unwrap()).map(|it| it.status().as_u16());
    let answering = |status: u16| mock::install(move |_| Response::builder().status(status).body(()).unwrap().into());
    let first = answering(201);
    let second = answering(202);
    assert_eq!(status().unwrap(), 202);
    drop(second);
    assert_eq!(status().unwrap(), 201);
    drop(first);
    assert_eq!(status().unwrap_err().kind(), ErrorKind::Internal);
}

#[wharf_guest::handler]
async fn shout(request: Request<Body>) -> Result<Response<String>, Error> {
    let body = request.into_body().collect(10).await?;
    Ok(Response::new(String::from_utf8_lossy(&body).to_uppercase()))
}

#[test]
fn a_handler_is_called_like_a_function() {
    let loud = mock::call(shout, Request::post("/").body("quiet").unwrap()).unwrap();
    assert_eq!((loud.status().as_u16(), &loud.body()[..]), (200, &b"QUIET"[..]));
    let failed = mock::call(shout, Request::post("/").body("much too long").unwrap()).unwrap();
    assert_eq!((failed.status().as_u16(), failed.body().len()), (500, 0));
    fn is_response(_: impl IntoResponse) {}
    is_response(Response::new("text"));
}

#[test]
fn what_is_spawned_runs_beside_even_from_within() {
    let done = Rc::new(RefCell::new(Vec::new()));
    let note = |what: &'static str| {
        let done = done.clone();
        async move { done.borrow_mut().push(what) }
    };
    spawn(note("first"));
    let (within, outer) = (note("within"), done.clone());
    block_on(async move {
        // A body that is read with `Read` does this.
        block_on(async {
            spawn(within);
            std::future::ready(()).await;
        });
        let mut turns = 0;
        std::future::poll_fn(|cx| {
            turns += 1;
            cx.waker().wake_by_ref();
            if outer.borrow().len() == 2 || turns > 10 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    });
    assert_eq!(*done.borrow(), ["first", "within"]);
}

#[test]
fn another_thread_may_wake_a_future() {
    let (sender, receiver) = futures_util::future::abortable(std::future::pending::<()>());
    let thread = std::thread::spawn(move || receiver.abort());
    assert!(block_on(sender).is_err());
    thread.join().unwrap();
}

#[test]
fn the_published_crates_functions_are_there() {
    let _installed = mock::install(|_| {
        let response = Response::builder().status(203).header("X-Twice", "1").header("x-twice", "2");
        response.body("the body").unwrap().into()
    });
    let get = || Request::get("http://o.example/").body(None::<Bytes>).unwrap();
    let mut response = compat::request(get()).unwrap();
    assert_eq!(response.status_code, 203);
    assert_eq!(response.header_get("X-TWICE".to_owned()).unwrap(), "1");
    let missing = response.header_get("absent".to_owned()).unwrap_err();
    assert_eq!(missing.code(), Some(Code::Experimental(5)));
    assert_eq!(response.headers_get_all().unwrap().get_all("x-twice").iter().count(), 2);
    let mut piece = [0; 3];
    assert_eq!(response.body_read(&mut piece).unwrap(), 3);
    assert_eq!(response.body_read_all().unwrap(), b" body");
    assert_eq!(response.body_read(&mut piece).unwrap(), 0);
    let whole = compat::send_request(get()).unwrap();
    assert_eq!((whole.status().as_u16(), whole.body().as_deref()), (203, Some(&b"the body"[..])));
}
