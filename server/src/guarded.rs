//! The body of a response, with whose client the guest goes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio_util::sync::DropGuard;
use wharf_core::http::{Body, HttpError};

/// A body that cancels its guest if it is given up before its end: by whoever was to send it, as when the client has
/// left.
pub(crate) struct Guarded {
    body: Body,
    /// Gone once the guest may do as it likes.
    guest: Option<DropGuard>,
}

impl Guarded {
    pub(crate) fn new(body: Body, guest: DropGuard) -> Self {
        Guarded { body, guest: Some(guest) }
    }

    /// The body has ended: what the guest still does is its own business.
    fn release(&mut self) {
        if let Some(guest) = self.guest.take() {
            guest.disarm();
        }
    }
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream() {
            self.release();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.release();
        }
    }
}
