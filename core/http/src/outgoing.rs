//! The body of a request, as a guest gives it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::time::timeout;

use crate::error::{HttpError, HttpErrorKind};
use crate::headers::{check_size, strip};
use crate::limits::Limits;
use crate::policy::Policy;
use crate::trailers::keep_trailers;
use crate::transport::Body;

/// The body of a request.
pub enum Outgoing {
    /// Held whole, so that a redirect that keeps the body can send it again.
    Bytes(Bytes),
    /// Made while it is sent. It can be sent once, so a redirect that keeps the body is not followed: the guest gets
    /// the redirect itself.
    Stream(Body),
}

impl Outgoing {
    /// No body.
    pub fn empty() -> Self {
        Outgoing::Bytes(Bytes::new())
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Outgoing::empty()
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outgoing::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Outgoing::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl From<()> for Outgoing {
    fn from((): ()) -> Self {
        Outgoing::empty()
    }
}

impl From<Bytes> for Outgoing {
    fn from(bytes: Bytes) -> Self {
        Outgoing::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Outgoing {
    fn from(bytes: Vec<u8>) -> Self {
        Outgoing::Bytes(bytes.into())
    }
}

impl From<&'static str> for Outgoing {
    fn from(text: &'static str) -> Self {
        Outgoing::Bytes(Bytes::from_static(text.as_bytes()))
    }
}

impl From<Body> for Outgoing {
    fn from(body: Body) -> Self {
        Outgoing::Stream(body)
    }
}

/// A body that is held whole, as a transport takes it.
pub(crate) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A streamed body that keeps the limit and the length that its Content-Length announces. It fails as soon as one is
/// exceeded, so that the message is broken off on the wire and no origin takes the part for the whole.
pub(crate) struct Counted {
    body: Body,
    policy: Arc<Policy>,
    limits: Limits,
    sent: u64,
    announced: Option<u64>,
    ended: bool,
}

impl Counted {
    pub(crate) fn new(body: Body, policy: Arc<Policy>, limits: &Limits, announced: Option<u64>) -> Self {
        Counted { body, policy, limits: limits.clone(), sent: 0, announced, ended: false }
    }

    /// Counts data, and has trailers keep what headers keep.
    fn check(&mut self, frame: &mut Frame<Bytes>) -> Result<(), HttpError> {
        if let Some(data) = frame.data_ref() {
            return self.count(data.len());
        }
        let Some(trailers) = frame.trailers_mut() else { return Ok(()) };
        let kind = HttpErrorKind::RequestTrailersTooLarge;
        check_size(trailers, self.limits.header_count, self.limits.header_bytes, kind, "request trailers")?;
        strip(trailers, |name| self.policy.forbids_header(name));
        keep_trailers(trailers);
        Ok(())
    }

    fn count(&mut self, length: usize) -> Result<(), HttpError> {
        self.sent = self.sent.saturating_add(length as u64);
        if self.sent > self.limits.request_body_bytes {
            Err(too_large(self.limits.request_body_bytes))
        } else if self.announced.is_some_and(|announced| self.sent > announced) {
            Err(self.wrong_length())
        } else {
            Ok(())
        }
    }

    fn wrong_length(&self) -> HttpError {
        wrong_length(self.sent, self.announced.unwrap_or_default())
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(frame) => frame,
        };
        let result = match frame {
            Some(Ok(mut frame)) => self.check(&mut frame).map(|()| Some(frame)),
            Some(Err(error)) => Err(error),
            None if self.announced.is_some_and(|announced| self.sent < announced) => Err(self.wrong_length()),
            None => Ok(None),
        };
        self.ended = !matches!(result, Ok(Some(_)));
        Poll::Ready(result.transpose())
    }

    fn is_end_stream(&self) -> bool {
        let complete = self.announced.is_none_or(|announced| self.sent == announced);
        self.ended || complete && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // An announced length is what the message is framed with, so it is the size, whatever the body knows of itself.
        match self.announced {
            // A sender that is told that there is nothing looks no further, and the guest has yet to finish.
            Some(0) if !self.body.is_end_stream() => SizeHint::default(),
            Some(announced) => SizeHint::with_exact(announced.saturating_sub(self.sent)),
            None => self.body.size_hint(),
        }
    }
}

/// How long a streamed body may keep its request back before it is taken to have a part that is yet to come. A guest may
/// want to see the response before it writes anything.
const PEEK: Duration = Duration::from_millis(200);

/// Waits for the first part of a body; `None` if it ends without one. What comes back does not know its length.
pub(crate) async fn peek(mut body: Body) -> Result<Option<Body>, HttpError> {
    let first = match timeout(PEEK, body.frame()).await {
        Err(_) => None,
        Ok(None) => return Ok(None),
        Ok(Some(first)) => Some(first?),
    };
    Ok(Some(Peeked { first, rest: body }.boxed_unsync()))
}

/// A body whose first part has been taken out, if it had one by then.
struct Peeked {
    first: Option<Frame<Bytes>>,
    rest: Body,
}

impl HttpBody for Peeked {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        match self.first.take() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }
}

pub(crate) fn too_large(limit: u64) -> HttpError {
    HttpError::new(
        HttpErrorKind::RequestBodyTooLarge,
        format!("the request body is larger than the limit of {limit} bytes"),
    )
}

pub(crate) fn wrong_length(sent: u64, announced: u64) -> HttpError {
    HttpError::new(
        HttpErrorKind::RequestBodyLength(sent),
        format!("the request body has {sent} bytes where its content-length announces {announced}"),
    )
}
