//! Hands one response from the task that receives it to the guest's thread.
//!
//! Not a channel of tokio's: those count against the cooperative budget of the task that polls them. A guest that
//! runs inside a tokio task reads a whole response within one poll of that task, so it would use the budget up and
//! then wait forever for one that is never renewed. This one works the same from every thread.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Response};

use crate::error::{HttpError, HttpErrorKind};

/// How many bytes of a body wait for the guest before the origin has to.
const READ_AHEAD: usize = 64 << 10;

/// What one waiting chunk costs beyond its bytes, so that a body of many tiny chunks is bounded too.
const CHUNK_COST: usize = 64;

#[derive(Default)]
struct State {
    head: Option<Response<()>>,
    chunks: VecDeque<Bytes>,
    waiting: usize,
    trailers: Option<HeaderMap>,
    /// Set once: how the response ended. Comes after everything that is queued.
    end: Option<Result<(), HttpError>>,
    /// Whether the reader has seen the end.
    read: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

type Shared = Arc<Mutex<State>>;

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The two ends of one response.
pub(crate) fn exchange() -> (Writer, Reader) {
    let shared = Shared::default();
    (Writer { shared: shared.clone() }, Reader { shared })
}

/// The end that the receiving task holds. Dropping it without [`finish`](Writer::finish) is an error to the reader,
/// which therefore never waits for a task that is gone.
pub(crate) struct Writer {
    shared: Shared,
}

impl Writer {
    pub(crate) fn head(&self, head: Response<()>) {
        self.change(|state| state.head = Some(head));
    }

    /// Waits until the body may go on.
    pub(crate) async fn room(&self) {
        poll_fn(|context| {
            let mut state = lock(&self.shared);
            if state.waiting < READ_AHEAD {
                return Poll::Ready(());
            }
            state.writer = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn chunk(&self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.change(|state| {
            state.waiting += chunk.len() + CHUNK_COST;
            state.chunks.push_back(chunk);
        });
    }

    pub(crate) fn trailers(&self, trailers: HeaderMap) {
        self.change(|state| state.trailers = Some(trailers));
    }

    pub(crate) fn finish(self, end: Result<(), HttpError>) {
        self.end(end);
    }

    fn end(&self, end: Result<(), HttpError>) {
        self.change(|state| _ = state.end.get_or_insert(end));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.shared);
        change(&mut state);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Only a panic drops it unfinished while someone still reads: an aborted task has no reader left.
        self.end(Err(HttpError::new(HttpErrorKind::Internal, "the transport panicked before the response ended")));
    }
}

/// The end that the guest's thread holds.
pub(crate) struct Reader {
    shared: Shared,
}

impl Reader {
    pub(crate) fn poll_head(&self, context: &mut Context<'_>) -> Poll<Result<Response<()>, HttpError>> {
        let mut state = lock(&self.shared);
        if let Some(head) = state.head.take() {
            return Poll::Ready(Ok(head));
        }
        match &state.end {
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            Some(Ok(())) => {
                Poll::Ready(Err(HttpError::new(HttpErrorKind::Internal, "a response ended without a head")))
            }
            None => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn poll_chunk(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, HttpError>>> {
        let mut state = lock(&self.shared);
        if let Some(chunk) = state.chunks.pop_front() {
            state.waiting -= chunk.len() + CHUNK_COST;
            let writer = if state.waiting < READ_AHEAD { state.writer.take() } else { None };
            drop(state);
            if let Some(writer) = writer {
                writer.wake();
            }
            return Poll::Ready(Some(Ok(chunk)));
        }
        match &state.end {
            Some(Ok(())) => {
                state.read = true;
                Poll::Ready(None)
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error.clone()))),
            None => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Takes the trailers, once the end was read.
    pub(crate) fn trailers(&self) -> Option<HeaderMap> {
        let mut state = lock(&self.shared);
        if state.read { state.trailers.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn has_room(writer: &Writer) -> bool {
        std::pin::pin!(writer.room()).poll(&mut context()).is_ready()
    }

    #[test]
    fn everything_queued_comes_before_the_end_and_the_end_stays() {
        let (writer, reader) = exchange();
        assert!(reader.poll_head(&mut context()).is_pending());
        writer.head(Response::new(()));
        assert!(matches!(reader.poll_head(&mut context()), Poll::Ready(Ok(_))));
        writer.chunk(Bytes::from_static(b"a"));
        writer.chunk(Bytes::new());
        writer.trailers(HeaderMap::new());
        writer.finish(Ok(()));
        assert!(reader.trailers().is_none());
        assert!(matches!(reader.poll_chunk(&mut context()), Poll::Ready(Some(Ok(chunk))) if chunk == "a"));
        for _ in 0..2 {
            assert!(matches!(reader.poll_chunk(&mut context()), Poll::Ready(None)));
        }
        assert!(reader.trailers().is_some());
    }

    #[test]
    fn a_writer_that_is_gone_is_an_error_that_stays() {
        let (writer, reader) = exchange();
        writer.chunk(Bytes::from_static(b"a"));
        drop(writer);
        assert!(matches!(reader.poll_head(&mut context()), Poll::Ready(Err(_))));
        assert!(matches!(reader.poll_chunk(&mut context()), Poll::Ready(Some(Ok(_)))));
        for _ in 0..2 {
            let Poll::Ready(Some(Err(error))) = reader.poll_chunk(&mut context()) else { panic!("no error") };
            assert_eq!(error.kind(), HttpErrorKind::Internal);
        }
    }

    #[test]
    fn the_writer_waits_when_the_guest_does_not_read() {
        let (writer, reader) = exchange();
        assert!(has_room(&writer));
        writer.chunk(Bytes::from(vec![0; READ_AHEAD]));
        assert!(!has_room(&writer));
        assert!(reader.poll_chunk(&mut context()).is_ready());
        assert!(has_room(&writer));
        let mut chunks = 0;
        while has_room(&writer) {
            writer.chunk(Bytes::from_static(b"x"));
            chunks += 1;
        }
        assert!(chunks <= READ_AHEAD / CHUNK_COST, "{chunks}");
    }
}
