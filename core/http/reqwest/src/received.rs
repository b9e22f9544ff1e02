//! What comes of a request: a response, or why there is none.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Response, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use wharf_http::sending::{Phase, classify, reset_taken_for_the_end};
use wharf_http::{Body, HttpError, HttpErrorKind, Origin};

/// What reqwest's `error` means for the exchange with `origin`, once its response had begun or before.
pub(crate) fn failed(error: reqwest::Error, begun: bool, origin: &Origin) -> HttpError {
    let phase = match begun {
        true => Phase::Body,
        false if error.is_connect() => Phase::Connect,
        false => Phase::Head,
    };
    let timeout = error.is_timeout();
    // A path may hold what is not for a log.
    let error = error.without_url();
    if timeout {
        let kind = match phase {
            Phase::Connect => HttpErrorKind::ConnectionTimeout,
            Phase::Head => HttpErrorKind::FirstByteTimeout,
            Phase::Body => HttpErrorKind::BetweenBytesTimeout,
        };
        return HttpError::new(kind, format!("{origin} took longer than the client allows")).with_source(error);
    }
    if error.is_builder() {
        let message = format!("the client does not send this request to {origin}");
        return HttpError::new(HttpErrorKind::InvalidRequest, message).with_source(error);
    }
    classify(error, phase, origin)
}

/// The response without what reqwest knows of it.
pub(crate) fn response(response: reqwest::Response, origin: &Origin) -> Response<Body> {
    let (parts, body) = Response::<reqwest::Body>::from(response).into_parts();
    let http2 = parts.version == Version::HTTP_2;
    let mut response = Response::new(Received { body, http2, origin: origin.clone() }.boxed_unsync());
    *response.status_mut() = parts.status;
    *response.version_mut() = parts.version;
    *response.headers_mut() = parts.headers;
    response
}

/// The body of a response.
struct Received {
    body: reqwest::Body,
    http2: bool,
    origin: Origin,
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        match ready!(Pin::new(&mut this.body).poll_frame(context)) {
            Some(frame) => Poll::Ready(Some(frame.map_err(|error| failed(error, true, &this.origin)))),
            None => Poll::Ready(reset_taken_for_the_end(this.http2, &this.body, &this.origin).map(Err)),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
