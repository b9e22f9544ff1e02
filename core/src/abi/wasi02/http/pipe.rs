//! The body that a guest writes: from its thread to whoever sends the message, with a bounded buffer between.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::code::ErrorCode;
use crate::http::{HttpError, HttpErrorKind};

/// How many bytes wait to be sent before the guest has to.
const BUFFER: usize = 64 << 10;

/// What one waiting chunk costs beyond its bytes, so that a body of many tiny chunks is bounded too.
const CHUNK_COST: usize = 64;

/// Which message the body belongs to, for the error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Request,
    Response,
}

struct State {
    message: Message,
    chunks: VecDeque<Bytes>,
    waiting: usize,
    written: u64,
    announced: Option<u64>,
    trailers: Option<HeaderMap>,
    /// Set once: how the body ended. Comes after everything that is queued, unless it is an error.
    end: Option<Result<(), HttpError>>,
    /// Whether the message is on its way, so that somebody takes what is written.
    sending: bool,
    /// Whether the message has no body on the wire, whatever the guest writes.
    left_out: bool,
    /// Whether whoever sent the message is gone.
    gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

type Shared = Arc<Mutex<State>>;

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The two ends of one body, whose message announces a length or does not.
pub(super) fn pipe(message: Message, announced: Option<u64>) -> (Writer, Reader) {
    let shared = Arc::new(Mutex::new(State {
        message,
        chunks: VecDeque::new(),
        waiting: 0,
        written: 0,
        announced,
        trailers: None,
        end: None,
        sending: false,
        left_out: false,
        gone: false,
        reader: None,
        writer: None,
    }));
    (Writer(shared.clone()), Reader(shared))
}

/// The guest's end. The body's resource and its stream share it; only [`finish`](Writer::finish) makes the message
/// complete.
#[derive(Clone)]
pub(super) struct Writer(Shared);

impl Writer {
    /// How many bytes may be written now; `None` if nobody will take any more.
    pub(super) fn room(&self) -> Option<u64> {
        let state = lock(&self.0);
        if state.gone || state.end.is_some() {
            return None;
        }
        Some(BUFFER.saturating_sub(state.waiting) as u64)
    }

    /// Takes bytes.
    ///
    /// # Errors
    /// More than the message announces: it is broken off, and the code says how many were written.
    pub(super) fn write(&self, bytes: Bytes) -> Result<(), ErrorCode> {
        let mut state = lock(&self.0);
        state.written = state.written.saturating_add(bytes.len() as u64);
        if state.announced.is_some_and(|announced| state.written > announced) {
            let code = state.size_error();
            let error = state.length_error();
            drop(state);
            self.end(Err(error));
            return Err(code);
        }
        if state.left_out {
            return Ok(());
        }
        state.waiting += bytes.len() + CHUNK_COST;
        state.chunks.push_back(bytes);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Ready when there is room, or nobody to write for.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.gone || state.end.is_some() || state.waiting < BUFFER {
            return Poll::Ready(());
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether the buffer is full and the message not on its way: then only the guest itself could go on.
    pub(super) fn stuck(&self) -> bool {
        let state = lock(&self.0);
        !state.sending && !state.gone && state.end.is_none() && state.waiting >= BUFFER
    }

    /// Ends the body, with trailers or without.
    ///
    /// # Errors
    /// Fewer bytes than the message announces: it is broken off, and the code says how many were written.
    pub(super) fn finish(&self, trailers: Option<HeaderMap>) -> Result<(), ErrorCode> {
        let mut state = lock(&self.0);
        let unwritten = state.left_out && state.written == 0;
        if state.end.is_none() && !unwritten && state.announced.is_some_and(|announced| state.written != announced) {
            let (code, error) = (state.size_error(), state.length_error());
            drop(state);
            self.end(Err(error));
            return Err(code);
        }
        if let Some(Err(_)) = state.end {
            return Err(state.size_error());
        }
        state.trailers = trailers;
        drop(state);
        self.end(Ok(()));
        Ok(())
    }

    /// Breaks the message off, unless it is complete.
    pub(super) fn abort(&self) {
        let message = "the guest dropped the body before it finished it";
        self.end(Err(HttpError::new(HttpErrorKind::RequestBodyAborted, message)));
    }

    fn end(&self, end: Result<(), HttpError>) {
        let mut state = lock(&self.0);
        if end.is_err() && state.end.is_none() {
            // What waits is not sent: the message must not look longer than what the guest vouched for.
            state.chunks.clear();
            state.waiting = 0;
        }
        _ = state.end.get_or_insert(end);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl State {
    fn size_error(&self) -> ErrorCode {
        match self.message {
            Message::Request => ErrorCode::HttpRequestBodySize(Some(self.written)),
            Message::Response => ErrorCode::HttpResponseBodySize(Some(self.written)),
        }
    }

    fn length_error(&self) -> HttpError {
        let announced = self.announced.unwrap_or_default();
        HttpError::new(
            HttpErrorKind::RequestBodyLength(self.written),
            format!("the guest wrote {} bytes of a body whose content-length announces {announced}", self.written),
        )
    }
}

/// The sender's end: yields what the guest writes, and an error where the guest broke the message off.
pub(super) struct Reader(Shared);

impl Reader {
    /// Says that the message is on its way.
    pub(super) fn sending(self) -> Self {
        lock(&self.0).sending = true;
        self
    }

    /// Says that the message has no body: what the guest writes is counted and goes nowhere.
    pub(super) fn leave_out(&self) {
        let mut state = lock(&self.0);
        state.left_out = true;
        state.chunks.clear();
        state.waiting = 0;
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let mut state = lock(&self.0);
        if let Some(chunk) = state.chunks.pop_front() {
            state.waiting -= chunk.len() + CHUNK_COST;
            let writer = if state.waiting < BUFFER { state.writer.take() } else { None };
            drop(state);
            if let Some(writer) = writer {
                writer.wake();
            }
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &state.end {
            Some(Ok(())) => Poll::Ready(state.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
            Some(Err(error)) => Poll::Ready(Some(Err(error.clone()))),
            None => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.0);
        matches!(state.end, Some(Ok(()))) && state.chunks.is_empty() && state.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let state = lock(&self.0);
        match (state.announced, &state.end) {
            (Some(announced), _) => SizeHint::with_exact(announced - (state.written - state.queued()).min(announced)),
            (None, Some(Ok(()))) if state.trailers.is_none() => SizeHint::with_exact(state.queued()),
            _ => SizeHint::default(),
        }
    }
}

impl State {
    /// How many bytes wait.
    fn queued(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.len() as u64).sum()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        // A sender asks for no more once it has all that was announced: nothing is lost then, and the guest has yet to finish.
        state.gone = !state.left_out && (state.announced != Some(state.written) || !state.chunks.is_empty());
        state.chunks.clear();
        state.waiting = 0;
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn frame(reader: &mut Reader) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        Pin::new(reader).poll_frame(&mut context())
    }

    #[test]
    fn a_finished_body_ends_and_a_dropped_one_is_an_error() {
        let (writer, mut reader) = pipe(Message::Request, None);
        writer.write(Bytes::from_static(b"a")).unwrap();
        assert!(matches!(frame(&mut reader), Poll::Ready(Some(Ok(_)))));
        assert!(frame(&mut reader).is_pending());
        writer.finish(None).unwrap();
        writer.abort();
        assert!(matches!(frame(&mut reader), Poll::Ready(None)));
        let (writer, mut reader) = pipe(Message::Request, None);
        writer.abort();
        assert!(matches!(frame(&mut reader), Poll::Ready(Some(Err(_)))));
    }

    #[test]
    fn the_announced_length_is_kept() {
        let (writer, _reader) = pipe(Message::Request, Some(3));
        writer.write(Bytes::from_static(b"ab")).unwrap();
        assert_eq!(writer.finish(None), Err(ErrorCode::HttpRequestBodySize(Some(2))));
        let (writer, mut reader) = pipe(Message::Response, Some(3));
        assert_eq!(writer.write(Bytes::from_static(b"abcd")), Err(ErrorCode::HttpResponseBodySize(Some(4))));
        assert_eq!(writer.room(), None);
        assert!(matches!(frame(&mut reader), Poll::Ready(Some(Err(_)))));
    }

    #[test]
    fn a_sender_that_has_all_that_was_announced_may_go() {
        let (writer, mut reader) = pipe(Message::Request, Some(2));
        writer.write(Bytes::from_static(b"a")).unwrap();
        assert!(frame(&mut reader).is_ready());
        writer.write(Bytes::from_static(b"b")).unwrap();
        assert!(frame(&mut reader).is_ready());
        drop(reader);
        assert!(writer.room().is_some(), "the write of the last byte succeeded");
        writer.finish(None).unwrap();
        let (writer, reader) = pipe(Message::Request, Some(2));
        writer.write(Bytes::from_static(b"ab")).unwrap();
        drop(reader);
        assert_eq!(writer.room(), None, "what waits was lost");
    }

    #[test]
    fn a_body_that_is_left_out_may_be_written_or_not() {
        for (part, ends) in [("", true), ("abc", true), ("ab", false)] {
            let (writer, reader) = pipe(Message::Response, Some(3));
            reader.leave_out();
            drop(reader);
            writer.write(Bytes::from_static(part.as_bytes())).unwrap();
            assert_eq!(writer.room(), Some(BUFFER as u64), "{part}");
            assert_eq!(writer.finish(None).is_ok(), ends, "{part}");
        }
    }

    #[test]
    fn the_guest_waits_when_nobody_takes() {
        let (writer, mut reader) = pipe(Message::Request, None);
        let room = writer.room().unwrap();
        assert!(room >= 4096);
        writer.write(vec![0; room as usize].into()).unwrap();
        assert_eq!(writer.room(), Some(0));
        assert!(writer.poll_room(&mut context()).is_pending());
        assert!(writer.stuck());
        assert!(frame(&mut reader).is_ready());
        assert!(writer.poll_room(&mut context()).is_ready());
        drop(reader);
        assert_eq!(writer.room(), None);
    }
}
