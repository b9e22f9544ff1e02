//! What both ends of a body see of each other.

use std::pin::Pin;

use http::StatusCode;
use http_body::Body as HttpBody;
use tokio::sync::oneshot;

use super::super::serving::Answer;
use super::*;

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn frame(reader: &mut (impl HttpBody<Data = Bytes, Error = HttpError> + Unpin)) -> Poll<Option<Result<Bytes, ()>>> {
    let polled = Pin::new(reader).poll_frame(&mut context());
    polled.map(|frame| frame.map(|frame| frame.map(|frame| frame.into_data().unwrap()).map_err(drop)))
}

fn write(writer: &Writer, text: &'static str) -> Result<(), ErrorCode> {
    writer.write(&Run::default(), Bytes::from_static(text.as_bytes()))
}

fn ready(text: &'static str) -> Poll<Option<Result<Bytes, ()>>> {
    Poll::Ready(Some(Ok(Bytes::from_static(text.as_bytes()))))
}

const BROKEN: Poll<Option<Result<Bytes, ()>>> = Poll::Ready(Some(Err(())));
const END: Poll<Option<Result<Bytes, ()>>> = Poll::Ready(None);

#[test]
fn a_finished_body_ends_and_an_unfinished_one_is_an_error() {
    let (writer, mut reader) = pipe(Message::Request, None);
    write(&writer, "a").unwrap();
    assert!(frame(&mut reader).is_pending(), "it was not flushed");
    writer.flush();
    assert_eq!(frame(&mut reader), ready("a"));
    assert!(frame(&mut reader).is_pending());
    writer.finish(None).unwrap();
    writer.end(GuestEnd::Returned);
    assert_eq!(frame(&mut reader), END);
    for end in [GuestEnd::Dropped, GuestEnd::Returned] {
        let (writer, mut reader) = pipe(Message::Request, None);
        write(&writer, "a").unwrap();
        writer.flush();
        write(&writer, "b").unwrap();
        writer.end(end);
        assert_eq!(frame(&mut reader), ready("a"), "what was flushed");
        assert_eq!(frame(&mut reader), BROKEN, "and no more");
    }
}

#[test]
fn a_guest_that_waits_flushes() {
    let (run, (writer, mut reader)) = (Run::default(), pipe(Message::Request, None));
    writer.write(&run, Bytes::from_static(b"a")).unwrap();
    let taken = run.wait(std::future::poll_fn(|context| Pin::new(&mut reader).poll_frame(context)));
    assert_eq!(taken.unwrap().unwrap().unwrap().into_data().unwrap(), "a");
}

#[test]
fn the_announced_length_is_kept_and_its_last_byte_kept_back() {
    let (writer, mut reader) = pipe(Message::Request, Some(3));
    write(&writer, "ab").unwrap();
    assert_eq!(writer.finish(None), Err(ErrorCode::HttpRequestBodySize(Some(2))));
    assert_eq!(frame(&mut reader), BROKEN);
    let (writer, mut reader) = pipe(Message::Response, Some(3));
    assert_eq!(write(&writer, "abcd"), Err(ErrorCode::HttpResponseBodySize(Some(4))));
    assert_eq!(writer.room(), None);
    assert_eq!(frame(&mut reader), BROKEN);
    for finished in [true, false] {
        let (writer, mut reader) = pipe(Message::Response, Some(3));
        write(&writer, "abc").unwrap();
        writer.flush();
        assert_eq!(frame(&mut reader), ready("ab"));
        assert!(frame(&mut reader).is_pending());
        assert_eq!(reader.size_hint().exact(), Some(1));
        if finished {
            writer.finish(None).unwrap();
            assert_eq!(frame(&mut reader), ready("c"));
            assert_eq!((frame(&mut reader), reader.size_hint().exact()), (END, Some(0)));
        } else {
            writer.end(GuestEnd::Dropped);
            assert_eq!((frame(&mut reader), reader.size_hint().exact()), (BROKEN, Some(1)));
        }
    }
}

/// A sender that is told that nothing is left looks no further.
#[test]
fn no_broken_body_looks_empty() {
    for announced in [None, Some(0), Some(1), Some(5)] {
        let (writer, reader) = pipe(Message::Request, announced);
        write(&writer, "").unwrap();
        assert!(reader.size_hint().exact() != Some(0) && !reader.is_end_stream(), "{announced:?}");
        writer.end(GuestEnd::Dropped);
        assert!(reader.size_hint().exact() != Some(0) && !reader.is_end_stream(), "{announced:?}");
    }
}

type Answers = oneshot::Receiver<Answer>;

fn respond(announced: Option<u64>, left_out: bool) -> (Run, Writer, Answers) {
    let (run, (reply, answers), (writer, reader)) =
        (Run::default(), Reply::channel(), pipe(Message::Response, announced));
    if left_out {
        reader.leave_out();
    }
    reader.respond(&run, Response::new(()), reply);
    (run, writer, answers)
}

#[test]
fn a_head_is_kept_back_until_something_is_flushed_or_waited_for() {
    for (announced, left_out, leaves) in
        [(None, false, true), (Some(5), false, true), (Some(0), false, false), (Some(5), true, false)]
    {
        for wait in [false, true] {
            let (run, writer, mut answers) = respond(announced, left_out);
            assert!(answers.try_recv().is_err(), "nothing was flushed");
            if wait {
                run.sleep(std::time::Duration::from_millis(1)).unwrap();
            } else {
                writer.flush();
            }
            assert_eq!(answers.try_recv().is_ok(), leaves, "{announced:?}, {left_out}, {wait}");
            if !leaves {
                writer.finish(None).unwrap();
                assert_eq!(answers.try_recv().unwrap().unwrap().status(), StatusCode::OK);
            }
        }
    }
}

#[test]
fn a_head_that_was_kept_back_never_leaves_an_unfinished_message() {
    for (announced, left_out) in [(None, false), (Some(5), false), (Some(0), false), (Some(5), true)] {
        let (_, writer, mut answers) = respond(announced, left_out);
        writer.end(GuestEnd::Dropped);
        let code = answers.try_recv().unwrap().unwrap_err();
        assert_eq!(code.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let (_, writer, mut answers) = respond(announced, left_out);
        writer.end(GuestEnd::Returned);
        assert_eq!(answers.try_recv().err(), Some(oneshot::error::TryRecvError::Closed));
    }
}

#[test]
fn a_request_is_answered_once() {
    let (reply, mut answers) = Reply::channel();
    let other = reply.clone();
    assert!(!other.is_sent() && answers.try_recv().is_err());
    assert!(reply.send(Err(ErrorCode::DnsTimeout)) && other.is_sent());
    assert!(!other.send(Err(ErrorCode::ConnectionRefused)));
    assert!(matches!(answers.try_recv().unwrap(), Err(ErrorCode::DnsTimeout)));
}

#[test]
fn a_body_that_is_left_out_may_be_written_or_not() {
    for (part, ends) in [("", true), ("abc", true), ("ab", false)] {
        let (writer, reader) = pipe(Message::Response, Some(3));
        reader.leave_out();
        drop(reader);
        write(&writer, part).unwrap();
        assert_eq!(writer.room(), Some(BUFFER as u64), "{part}");
        assert_eq!(writer.finish(None).is_ok(), ends, "{part}");
    }
}

#[test]
fn the_guest_waits_when_nobody_takes() {
    let (writer, mut reader) = pipe(Message::Request, None);
    let room = writer.room().unwrap();
    assert!(room >= 4096);
    writer.write(&Run::default(), vec![0; room as usize].into()).unwrap();
    assert_eq!(writer.room(), Some(0));
    assert!(writer.poll_room(&mut context()).is_pending());
    assert!(writer.stuck());
    assert!(frame(&mut reader).is_ready());
    assert!(writer.poll_room(&mut context()).is_ready());
    assert!(!writer.stuck(), "there is room");
    drop(reader);
    assert_eq!(writer.room(), None);
}

/// Whether somebody was woken.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Woken {
    fn take(&self) -> bool {
        self.0.swap(false, std::sync::atomic::Ordering::SeqCst)
    }
}

#[test]
fn who_waits_for_room_is_woken_by_whatever_ends_the_wait() {
    type Ends = fn(&Writer, &mut Option<Reader>);
    let ends: [(&str, Ends); 4] = [
        ("somebody takes", |_, reader| assert!(frame(reader.as_mut().unwrap()).is_ready())),
        ("nobody will", |_, reader| *reader = None),
        ("the body ends", |writer, _| writer.end(GuestEnd::Dropped)),
        ("it goes nowhere", |writer, _| writer.discard()),
    ];
    for (how, end) in ends {
        let (writer, reader) = pipe(Message::Request, None);
        let (woken, mut reader) = (Arc::new(Woken::default()), Some(reader));
        writer.write(&Run::default(), vec![0; BUFFER].into()).unwrap();
        assert!(writer.poll_room(&mut Context::from_waker(&woken.clone().into())).is_pending());
        assert!(!woken.take());
        end(&writer, &mut reader);
        assert!(woken.take(), "{how}");
    }
}

#[test]
fn who_waits_for_bytes_is_woken_by_a_flush_or_the_end() {
    type Gives = fn(&Writer);
    let gives: [(&str, Gives); 3] = [
        ("a flush", Writer::flush),
        ("the end", |writer| writer.finish(None).unwrap()),
        ("no end", |writer| writer.end(GuestEnd::Dropped)),
    ];
    for (how, give) in gives {
        let (writer, mut reader) = pipe(Message::Request, None);
        let woken = Arc::new(Woken::default());
        assert!(Pin::new(&mut reader).poll_frame(&mut Context::from_waker(&woken.clone().into())).is_pending());
        write(&writer, "a").unwrap();
        assert!(!woken.take(), "what was not flushed may not be sent");
        give(&writer);
        assert!(woken.take(), "{how}");
    }
}

/// Whether a body without an announced length has one must not depend on whether its sender is late.
#[test]
fn only_a_body_that_ended_before_its_head_left_is_known_to_be_empty() {
    let (_, writer, mut answers) = respond(None, false);
    writer.finish(None).unwrap();
    let body = answers.try_recv().unwrap().unwrap().into_body();
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    let (_, writer, mut answers) = respond(None, false);
    writer.flush();
    let mut body = answers.try_recv().unwrap().unwrap().into_body();
    writer.finish(None).unwrap();
    assert!(!body.is_end_stream());
    assert_eq!(body.size_hint().exact(), None);
    assert_eq!(frame(&mut body), END);
}

#[test]
fn trailers_come_before_the_end_and_are_announced() {
    let (_, writer, mut answers) = respond(None, false);
    write(&writer, "a").unwrap();
    let trailers = [("x-sum", "1"), ("x-more", "2")]
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    writer.finish(Some(trailers.into_iter().collect())).unwrap();
    let (head, mut body) = answers.try_recv().unwrap().unwrap().into_parts();
    assert_eq!(head.headers[TRAILER], "x-sum, x-more");
    assert_eq!(body.size_hint().exact(), None, "trailers are sent in chunks");
    assert_eq!(frame(&mut body), ready("a"));
    assert!(!body.is_end_stream());
    let polled = Pin::new(&mut body).poll_frame(&mut context());
    let Poll::Ready(Some(Ok(frame))) = polled else { panic!("no trailers") };
    assert_eq!(frame.into_trailers().unwrap().len(), 2);
    assert!(body.is_end_stream());
}

#[test]
fn a_message_is_sent_once_its_body_was_read_to_the_end() {
    let (writer, reader) = pipe(Message::Request, None);
    let mut reader = reader.sending();
    write(&writer, "a").unwrap();
    assert_eq!(writer.poll_sent(&mut context()), Poll::Pending);
    writer.finish(None).unwrap();
    assert_eq!(frame(&mut reader), ready("a"));
    assert_eq!(writer.poll_sent(&mut context()), Poll::Pending);
    // Its reader may keep what is left of it.
    assert_eq!(frame(&mut reader), Poll::Ready(None));
    assert_eq!(writer.poll_sent(&mut context()), Poll::Ready(true));
    drop(reader);
    assert_eq!(writer.poll_sent(&mut context()), Poll::Ready(true));
}

#[test]
fn many_small_chunks_fill_the_buffer_too() {
    let (writer, _reader) = pipe(Message::Request, None);
    let mut chunks = 0;
    while writer.room().unwrap() > 0 {
        write(&writer, "x").unwrap();
        chunks += 1;
        assert!(chunks <= BUFFER / CHUNK_COST, "{chunks}");
    }
}
