//! The body that a guest writes: from its thread to whoever sends the message, with a bounded buffer between. What of
//! it may be sent when, and what becomes of a message that the guest leaves unfinished, is [`Progress`]'s to say.

mod reader;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::TRAILER;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::BodyExt;

pub(crate) use self::reader::Reader;
use super::code::ErrorCode;
use super::serving::{Reply, answer};
use crate::http::{HttpError, HttpErrorKind};
use crate::message::{Content, GuestEnd, Progress, Verdict};
use crate::run::{Kept, Run};

/// How many bytes wait to be sent before the guest has to: as many as it may write before it hands the message over.
const BUFFER: usize = 64 << 10;

/// What one waiting chunk costs beyond its bytes, so that a body of many tiny chunks is bounded too.
const CHUNK_COST: usize = 64;

/// Which message the body belongs to, for the error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    Request,
    Response,
}

/// A response that waits for its first byte, and whoever waits for it.
struct Held {
    response: Response<()>,
    reply: Reply,
}

struct State {
    message: Message,
    progress: Progress,
    /// The length that the head announces, whether there is content or not.
    announced: Option<u64>,
    chunks: VecDeque<Bytes>,
    /// What waits, in bytes.
    waiting: usize,
    /// How many bytes of the body the guest has flushed.
    flushed: u64,
    /// How many bytes of the body the sender has taken.
    taken: u64,
    trailers: Option<HeaderMap>,
    /// Whether the guest had finished the body when its head left. Only then does its length go out if the guest
    /// announces none: else it would be by chance whether the sender still learns it.
    finished_first: bool,
    /// Set once: how the body ended. Comes after everything that may be sent.
    end: Option<Result<(), HttpError>>,
    /// The response, while its head is kept back.
    held: Option<Held>,
    /// Whether the guest wants the head to be sent, though there are no bytes.
    wanted: bool,
    /// Whether the guest's next wait is to let go of what is kept back.
    kept: bool,
    /// Whether the message is on its way, so that somebody takes what is written.
    sending: bool,
    /// Whether the sender of the message is gone.
    gone: bool,
    /// Once the sender is done, whether it has taken all that there was: it may keep what is left of a body it has read.
    sent: Option<bool>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What both ends of a body share.
struct Pipe(Mutex<State>);

type Shared = Arc<Pipe>;

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands on what may be sent by now: the head to whoever waits for it, the body's bytes to who has the head.
    fn hand_on(self: &Arc<Self>) {
        let mut state = self.lock();
        let wakers = state.wakers();
        let head = state.head();
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
        if let Some(Held { response, reply, .. }) = head {
            let reader = Reader { pipe: self.clone(), given: false };
            if !answer(reply, Ok(response.map(|()| reader.boxed_unsync()))) {
                self.lock().sent = Some(false);
            }
        }
    }
}

impl Kept for Pipe {
    /// A guest that waits has nothing to add for now.
    fn let_go(self: Arc<Self>) {
        let mut state = self.lock();
        state.kept = false;
        state.flush();
        drop(state);
        self.hand_on();
    }
}

/// The two ends of one body, whose message announces a length or does not.
pub(crate) fn pipe(message: Message, announced: Option<u64>) -> (Writer, Reader) {
    let content = Content::announced(announced);
    let pipe = Arc::new(Pipe(Mutex::new(State {
        message,
        // A request's head does not wait for its body.
        progress: Progress { content, written: 0, head_sent: message == Message::Request },
        announced,
        chunks: VecDeque::new(),
        waiting: 0,
        flushed: 0,
        taken: 0,
        trailers: None,
        finished_first: message == Message::Request,
        end: None,
        held: None,
        wanted: false,
        kept: false,
        sending: false,
        gone: false,
        sent: None,
        reader: None,
        writer: None,
    })));
    (Writer(pipe.clone()), Reader { pipe, given: false })
}

/// The guest's end. The body's resource and its stream share it; only [`finish`](Writer::finish) makes the message
/// complete.
#[derive(Clone)]
pub(crate) struct Writer(Shared);

impl Writer {
    /// How many bytes may be written now; `None` if nobody will take any more.
    pub(crate) fn room(&self) -> Option<u64> {
        let state = self.0.lock();
        if state.gone || state.end.is_some() {
            return None;
        }
        Some(BUFFER.saturating_sub(state.waiting) as u64)
    }

    /// Takes bytes, which may be sent once they are flushed, or the guest waits, or the buffer is full.
    ///
    /// # Errors
    /// More than the message announces: it is broken off, and the code says how many were written.
    pub(crate) fn write(&self, run: &Run, bytes: Bytes) -> Result<(), ErrorCode> {
        let mut state = self.0.lock();
        state.progress.written = state.progress.written.saturating_add(bytes.len() as u64);
        let written = state.progress.written;
        if state.announced.is_some_and(|announced| written > announced) {
            let code = state.size_error();
            drop(state);
            self.end(GuestEnd::Dropped);
            return Err(code);
        }
        if state.progress.content == Content::None {
            return Ok(());
        }
        state.waiting += bytes.len() + CHUNK_COST;
        state.chunks.push_back(bytes);
        let full = state.waiting >= BUFFER;
        let keep = !full && !std::mem::replace(&mut state.kept, true);
        if full {
            state.flush();
        }
        drop(state);
        if keep {
            run.keep(self.0.clone());
        }
        if full {
            self.0.hand_on();
        }
        Ok(())
    }

    /// Lets what was written be sent.
    pub(crate) fn flush(&self) {
        self.0.lock().flush();
        self.0.hand_on();
    }

    /// Ready when there is room, or nobody to write for.
    pub(crate) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.gone || state.end.is_some() || state.waiting < BUFFER {
            return Poll::Ready(());
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    /// Ready when nobody will take any more of a body that has not ended.
    pub(crate) fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.gone {
            return Poll::Ready(());
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    /// Ready when the sender is done with the message: whether all of it was taken to be sent.
    pub(crate) fn poll_sent(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.0.lock();
        if let Some(sent) = state.sent {
            return Poll::Ready(sent);
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether the buffer is full and the message not on its way: then only the guest itself could go on.
    pub(crate) fn stuck(&self) -> bool {
        let state = self.0.lock();
        !state.sending && !state.gone && state.end.is_none() && state.waiting >= BUFFER
    }

    /// Takes what the guest writes from now on, and sends it nowhere: the message itself goes nowhere, which the guest
    /// is told elsewhere.
    pub(crate) fn discard(&self) {
        let mut state = self.0.lock();
        state.progress.content = Content::None;
        state.gone = false;
        state.chunks.clear();
        state.waiting = 0;
        let wakers = state.wakers();
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Ends the body, with trailers or without.
    ///
    /// # Errors
    /// Fewer bytes than the message announces: it is broken off, and the code says how many were written.
    pub(crate) fn finish(&self, trailers: Option<HeaderMap>) -> Result<(), ErrorCode> {
        let mut state = self.0.lock();
        if state.end.is_none() && state.progress.content != Content::None {
            state.trailers = trailers;
        }
        drop(state);
        self.end(GuestEnd::Finished);
        let state = self.0.lock();
        // Where there is no content, what the guest writes for it may be left out, but is not to be something else.
        let left_out = state.progress.content == Content::None && state.progress.written == 0;
        let wrong = state.announced.is_some_and(|announced| state.progress.written != announced);
        match state.end {
            Some(Err(_)) => Err(state.size_error()),
            _ if wrong && !left_out => Err(state.size_error()),
            _ => Ok(()),
        }
    }

    /// Ends the body as the guest ended its part in it. Only the first end counts.
    pub(crate) fn end(&self, end: GuestEnd) {
        let mut state = self.0.lock();
        if state.end.is_some() {
            return;
        }
        let verdict = state.progress.verdict(end);
        let whole = verdict == Verdict::Whole;
        let error = state.unfinished(end);
        state.end = Some(if whole { Ok(()) } else { Err(error.clone()) });
        if whole {
            state.flush();
        } else {
            state.trailers = None;
            state.sent = Some(false);
        }
        let held = if let Verdict::Replaced(_) = verdict { state.held.take() } else { None };
        drop(state);
        match held {
            // How the guest itself ended is known to whoever ran it.
            Some(held) if end == GuestEnd::Returned => drop(held),
            Some(held) => _ = answer(held.reply, Err(ErrorCode::InternalError(Some(error.to_string())))),
            None => self.0.hand_on(),
        }
    }
}

impl State {
    /// Everything that was written may be sent.
    fn flush(&mut self) {
        self.flushed = self.progress.written;
        self.wanted = true;
    }

    /// How many bytes may be sent and were not.
    fn ready(&self) -> u64 {
        let sendable = match self.end {
            Some(Ok(())) => self.progress.written,
            _ => self.progress.sendable(self.flushed),
        };
        sendable.saturating_sub(self.taken)
    }

    /// The head, if it is kept back and may be sent.
    fn head(&mut self) -> Option<Held> {
        let finished = matches!(self.end, Some(Ok(())));
        if !(finished || self.progress.head_may_leave() && self.wanted) {
            return None;
        }
        let mut held = self.held.take()?;
        if let Some(trailers) = &self.trailers {
            announce(held.response.headers_mut(), trailers);
        }
        self.progress.head_sent = true;
        self.finished_first = finished;
        Some(held)
    }

    /// What to wake when something has changed.
    fn wakers(&mut self) -> [Option<Waker>; 2] {
        let reader = if self.ready() > 0 || self.end.is_some() { self.reader.take() } else { None };
        let writer = if self.gone || self.end.is_some() || self.waiting < BUFFER { self.writer.take() } else { None };
        [reader, writer]
    }

    fn size_error(&self) -> ErrorCode {
        match self.message {
            Message::Request => ErrorCode::HttpRequestBodySize(Some(self.progress.written)),
            Message::Response => ErrorCode::HttpResponseBodySize(Some(self.progress.written)),
        }
    }

    /// What is wrong with a message that is not whole, after this end.
    fn unfinished(&self, end: GuestEnd) -> HttpError {
        let written = self.progress.written;
        match self.announced {
            Some(length) if end == GuestEnd::Finished || written > length => HttpError::new(
                HttpErrorKind::RequestBodyLength(written),
                format!("the guest wrote {written} bytes of a body whose content-length announces {length}"),
            ),
            _ => HttpError::new(
                HttpErrorKind::RequestBodyAborted,
                "the guest dropped the body, or ended, before finishing it; finish it (in WASI 0.3: write its trailers)",
            ),
        }
    }

    /// The next bytes that may be sent.
    fn take(&mut self) -> Option<Bytes> {
        let ready = usize::try_from(self.ready()).unwrap_or(usize::MAX);
        if ready == 0 {
            return None;
        }
        let mut chunk = self.chunks.pop_front()?;
        if chunk.len() > ready {
            let rest = chunk.split_off(ready);
            self.chunks.push_front(rest);
        } else {
            self.waiting -= CHUNK_COST;
        }
        self.waiting -= chunk.len();
        self.taken += chunk.len() as u64;
        Some(chunk)
    }
}

/// Names the trailers in the head, if the guest has not: over HTTP/1.1 others are not sent (RFC 9110, section 6.6.2).
fn announce(head: &mut HeaderMap, trailers: &HeaderMap) {
    let names: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
    if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
        head.entry(TRAILER).or_insert(names);
    }
}
