//! The body of a request, which its client gets back when the work on the request ends, though an instance goes on that
//! may have kept it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use wharf_core::http::{Body, HttpError, HttpErrorKind};

struct Held {
    body: Option<Body>,
    waker: Option<Waker>,
}

/// Ends a body, whoever has it.
pub(crate) struct Leash(Arc<Mutex<Held>>);

/// A body that may end before its end.
struct Leashed(Arc<Mutex<Held>>);

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leash {
    /// The body to be lent, and what ends it.
    pub(crate) fn new(body: Body) -> (Body, Self) {
        let held = Arc::new(Mutex::new(Held { body: Some(body), waker: None }));
        (Leashed(Arc::clone(&held)).boxed_unsync(), Leash(held))
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        let mut held = lock(&self.0);
        let (body, waker) = (held.body.take(), held.waker.take());
        drop(held);
        drop(body);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl http_body::Body for Leashed {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let mut held = lock(&self.0);
        let Some(body) = &mut held.body else {
            let over = HttpError::new(HttpErrorKind::RequestBodyAborted, "the work on the request has ended");
            return Poll::Ready(Some(Err(over)));
        };
        let polled = Pin::new(body).poll_frame(context);
        held.waker = polled.is_pending().then(|| context.waker().clone());
        polled
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).body.as_ref().is_some_and(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).body.as_ref().map_or_else(SizeHint::default, |body| body.size_hint())
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn a_body_ends_with_its_leash() {
        let whole = || Full::new(Bytes::from("all of it")).map_err(|never| match never {}).boxed_unsync();
        let (body, leash) = Leash::new(whole());
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(9), false));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "all of it");
        drop(leash);

        let (body, leash) = Leash::new(whole());
        drop(leash);
        assert!(!body.is_end_stream(), "it does not look whole");
        assert_eq!(body.collect().await.unwrap_err().kind(), HttpErrorKind::RequestBodyAborted);

        // Whoever waits for more is told.
        let (body, leash) = Leash::new(Silent.boxed_unsync());
        let reading = tokio::spawn(body.collect());
        tokio::task::yield_now().await;
        drop(leash);
        assert!(reading.await.unwrap().is_err());
    }

    /// A body of which nothing ever comes.
    struct Silent;

    impl http_body::Body for Silent {
        type Data = Bytes;
        type Error = HttpError;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
            Poll::Pending
        }
    }
}
