//! The end from which a message is sent.

use std::pin::Pin;
use std::sync::MutexGuard;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::super::code::ErrorCode;
use super::super::serving::{Reply, answer};
use super::{BUFFER, Held, Shared, State, Writer};
use crate::http::HttpError;
use crate::message::Content;
use crate::run::Run;

/// The sender's end: yields what the guest writes, and an error where the guest broke the message off.
pub(crate) struct Reader {
    pub(super) pipe: Shared,
    /// Whether another reader takes this one's place.
    pub(super) given: bool,
}

impl Reader {
    /// Says that the message is on its way.
    pub(crate) fn sending(self) -> Self {
        self.pipe.lock().sending = true;
        self
    }

    /// Says that the message has no content: what the guest writes is counted and goes nowhere.
    pub(crate) fn leave_out(&self) {
        let mut state = self.pipe.lock();
        state.progress.content = Content::None;
        state.chunks.clear();
        state.waiting = 0;
        wake_writer(state);
    }

    /// The guest's end, with which the body can be discarded once whoever was to send it is gone.
    pub(crate) fn writer(&self) -> Writer {
        Writer(self.pipe.clone())
    }

    /// Whether the message has no content.
    pub(crate) fn is_left_out(&self) -> bool {
        self.pipe.lock().progress.content == Content::None
    }

    /// Sends the body with this response, whose head goes to `reply` as soon as it may be sent.
    pub(crate) fn respond(mut self, run: &Run, response: Response<()>, reply: Reply) {
        self.given = true;
        let mut state = self.pipe.lock();
        state.sending = true;
        if let Some(Err(error)) = &state.end {
            let code = ErrorCode::InternalError(Some(error.to_string()));
            drop(state);
            answer(reply, Err(code));
            return;
        }
        // What was flushed before there was a response was flushed.
        state.wanted = state.flushed > 0;
        state.held = Some(Held { response, reply });
        let keep = !std::mem::replace(&mut state.kept, true);
        drop(state);
        if keep {
            run.keep(self.pipe.clone());
        }
        self.pipe.hand_on();
    }
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let mut state = self.pipe.lock();
        if let Some(chunk) = state.take() {
            if state.waiting < BUFFER {
                wake_writer(state);
            }
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &state.end {
            Some(Ok(())) => {
                let (trailers, sending) = (state.trailers.take(), state.sending);
                state.sent.get_or_insert(sending);
                wake_writer(state);
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error.clone()))),
            None => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.pipe.lock();
        let open = state.progress.content == Content::Open && !state.finished_first && state.taken == 0;
        matches!(state.end, Some(Ok(()))) && state.chunks.is_empty() && state.trailers.is_none() && !open
    }

    /// Exact where a length is announced, or the body was finished before its head left; and zero only if the body is
    /// whole: a sender that is told zero looks no further.
    fn size_hint(&self) -> SizeHint {
        let state = self.pipe.lock();
        let finished = matches!(state.end, Some(Ok(())));
        match state.progress.content {
            Content::None => SizeHint::with_exact(0),
            Content::Length(length) if finished || length > 0 => SizeHint::with_exact(length - state.taken),
            Content::Open if finished && state.finished_first && state.trailers.is_none() => {
                SizeHint::with_exact(state.progress.written - state.taken)
            }
            Content::Length(_) | Content::Open => SizeHint::default(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.given {
            return;
        }
        let mut state = self.pipe.lock();
        // A sender asks for no more once it has all there is, and the guest has finished by then.
        let content = state.progress.content;
        let taken = content == Content::None || state.ready() == 0;
        let sent = state.sending && matches!(state.end, Some(Ok(()))) && taken;
        state.sent.get_or_insert(sent);
        state.gone = content != Content::None && !matches!(state.end, Some(Ok(())));
        state.chunks.clear();
        state.waiting = 0;
        wake_writer(state);
    }
}

/// Wakes the guest, if it waits.
fn wake_writer(mut state: MutexGuard<'_, State>) {
    let writer = state.writer.take();
    drop(state);
    _ = writer.map(Waker::wake);
}
