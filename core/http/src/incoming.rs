//! The body of a response, read while it arrives.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;

use crate::error::HttpError;
use crate::exchange::Reader;

/// The body of a response. It arrives with a bounded read-ahead, so that it costs the same little memory whatever its
/// size, and may be read from any thread, inside or outside an async runtime.
///
/// Dropping it ends the exchange: what has not arrived is given up, and the connection with it.
pub struct Incoming {
    reader: Reader,
    _exchange: Exchange,
}

/// What an exchange holds for as long as its response is open.
pub(crate) struct Exchange {
    task: AbortHandle,
    _open: OwnedSemaphorePermit,
}

impl Exchange {
    pub(crate) fn new(task: AbortHandle, open: OwnedSemaphorePermit) -> Self {
        Exchange { task, _open: open }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Incoming {
    pub(crate) fn new(reader: Reader, exchange: Exchange) -> Self {
        Incoming { reader, _exchange: exchange }
    }

    /// The next part of the body, never empty; `None` at its end. Both the end and an error stay.
    ///
    /// Cancel-safe: a part is not lost when the future is dropped.
    ///
    /// # Errors
    /// What broke the body off.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, HttpError>> {
        poll_fn(|context| self.poll_chunk(context)).await
    }

    /// [`chunk`](Incoming::chunk) as a poll: with a no-op waker it tells what is there now.
    ///
    /// # Errors
    /// What broke the body off.
    pub fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, HttpError>>> {
        self.reader.poll_chunk(context)
    }

    /// Takes the trailers, without forbidden headers. `None` before the end of the body was reached, if there are
    /// none, and after they were taken.
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        self.reader.trailers()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

/// After an error every further poll yields it again, as [`chunk`](Incoming::chunk) does.
impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        self.poll_chunk(context).map(|chunk| match chunk {
            Some(chunk) => Some(chunk.map(Frame::data)),
            None => self.trailers().map(|trailers| Ok(Frame::trailers(trailers))),
        })
    }
}
