//! What an answer says for its client, beside what the guest says in it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, TE, TRAILER};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use wharf_core::http::trim_values;

use crate::handler::ResponseBody;

/// Who has asked, as far as it matters for the answer.
pub(crate) struct Asker {
    version: Version,
    /// Whether trailers can be sent over HTTP/1 (RFC 9110, section 6.5.1).
    takes_trailers: bool,
    /// Whether the body was asked for, where the client waits for that before it sends it (RFC 9110, section 10.1.1).
    awaited: Option<Arc<AtomicBool>>,
}

impl Asker {
    /// Who sent `request`; the result is watched for whether its body is asked for.
    pub(crate) fn of<B>(request: Request<B>) -> (Request<Asked<B>>, Self) {
        let version = request.version();
        let headers = request.headers();
        let awaited = (version == Version::HTTP_11 && waits(headers)).then(Arc::default);
        let takes_trailers = names(headers, &TE).any(|name| name == "trailers");
        let asker = Asker { version, takes_trailers, awaited: awaited.clone() };
        (request.map(|body| Asked { body, awaited }), asker)
    }

    /// The guest's answer as it goes to this client.
    pub(crate) fn answer(&self, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
        trim_values(response.headers_mut());
        if response.status() == StatusCode::RESET_CONTENT {
            // It has no content, and says so (RFC 9110, section 15.3.6).
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if self.awaited.as_ref().is_some_and(|awaited| !awaited.load(Ordering::Acquire)) {
            // The client may send its body or leave it out: what comes next could be either.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.version == Version::HTTP_2 {
            return response;
        }
        let announced = names(response.headers(), &TRAILER).collect();
        let takes = self.takes_trailers;
        response.map(|body| Trailing { body, announced, takes }.boxed_unsync())
    }
}

/// Whether a client waits to be asked for its body before it sends it (RFC 9110, section 10.1.1).
pub(crate) fn waits(headers: &HeaderMap) -> bool {
    let asks = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    headers.get_all(EXPECT).iter().any(asks)
}

/// The names in the fields of this name, which are lists of them.
fn names<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + use<'a> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase())
}

/// The body of a request, which tells whether it was asked for.
pub(crate) struct Asked<B> {
    body: B,
    awaited: Option<Arc<AtomicBool>>,
}

impl<B: Body + Unpin> Body for Asked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if let Some(awaited) = self.awaited.take() {
            awaited.store(true, Ordering::Release);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer over HTTP/1, which tells of trailers that hyper leaves out.
struct Trailing {
    body: ResponseBody,
    /// The names that the head announces.
    announced: Vec<String>,
    takes: bool,
}

impl Trailing {
    fn tell(&self, trailers: &HeaderMap) {
        let lost = |name: &&HeaderName| !self.announced.iter().any(|announced| announced == name.as_str());
        if !self.takes {
            tracing::debug!("trailers were not sent: the client does not say `TE: trailers`");
        } else if let Some(name) = trailers.keys().find(lost) {
            tracing::warn!(
                "the trailer `{name}` was not sent over HTTP/1.1: the head of the response did not announce it; have the \
                 guest name it in a field `trailer`"
            );
        }
    }
}

impl Body for Trailing {
    type Data = Bytes;
    type Error = <ResponseBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            self.tell(trailers);
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
