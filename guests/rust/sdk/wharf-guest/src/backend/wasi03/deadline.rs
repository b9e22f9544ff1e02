//! When a request must be over.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use wasip3::clocks::monotonic_clock;

use super::super::convert::nanoseconds;
use crate::{Error, ErrorKind, Result};

/// When a request must be over, if ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Option<monotonic_clock::Mark>);

impl Deadline {
    pub(super) fn after(duration: Option<Duration>) -> Self {
        Deadline(duration.map(|duration| monotonic_clock::now().saturating_add(nanoseconds(duration))))
    }

    /// There is none.
    pub(super) fn never() -> Self {
        Deadline(None)
    }

    /// What a future comes to.
    ///
    /// # Errors
    /// If the deadline passes first. The future is dropped then.
    pub(super) async fn within<F: Future>(self, future: F) -> Result<F::Output> {
        let Some(mark) = self.0 else { return Ok(future.await) };
        // An origin that keeps sending would never be waited for.
        if monotonic_clock::now() >= mark {
            return Err(Error::new(ErrorKind::Timeout));
        }
        let (mut future, mut late) = (pin!(future), pin!(monotonic_clock::wait_until(mark)));
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            late.as_mut().poll(cx).map(|()| Err(Error::new(ErrorKind::Timeout)))
        })
        .await
    }
}
