//! A body that is sent in parts, so that it is seen how it moves.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use wharf_http::HttpError;

/// The most bytes of a part.
const PART: usize = 64 << 10;

/// A body, which is taken part by part.
pub(super) struct Parts {
    left: Bytes,
    taken: Taken,
}

/// When the last part was taken; none before the first, and after the last.
#[derive(Clone, Default)]
pub(super) struct Taken(Arc<Mutex<Option<Instant>>>);

impl Parts {
    pub(super) fn of(content: Bytes) -> (Self, Taken) {
        let taken = Taken::default();
        (Parts { left: content, taken: taken.clone() }, taken)
    }
}

impl Taken {
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when no part was taken for `limit`, although one is left. It has to run where tokio does.
    pub(super) async fn stalled(self, limit: Duration) {
        loop {
            let waited = self.lock().map_or(Duration::ZERO, |since| since.elapsed());
            match limit.checked_sub(waited) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return,
            }
        }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let length = self.left.len().min(PART);
        let part = self.left.split_to(length);
        *self.taken.lock() = (!self.left.is_empty()).then(Instant::now);
        Poll::Ready((!part.is_empty()).then(|| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}
