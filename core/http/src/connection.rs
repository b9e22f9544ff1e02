//! One connection to an origin, over HTTP/1.1 or HTTP/2: what goes onto it and what comes off it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, TE, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Request, Response, Uri, Version};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::time::{Sleep, sleep};

use crate::classify::{Phase, classify, is_unprocessed};
use crate::error::{HttpError, HttpErrorKind};
use crate::origin::Origin;
use crate::pool::{Connection, Pool};
use crate::progress::Watched;
use crate::target::Target;
use crate::trailers::announced_trailers;
use crate::transport::Body;

/// How long the end of a body waits for its connection to be ready for the next request, so that who sends one at once
/// finds it.
const SETTLE: Duration = Duration::from_millis(10);

/// Why a request was not answered.
pub(crate) struct Unanswered {
    pub(crate) error: HttpError,
    /// Whether nothing of the request has left.
    pub(crate) unsent: bool,
    /// Whether the origin says that it has not looked at the request (RFC 9113, sections 6.8 and 8.7).
    pub(crate) refused: bool,
}

impl Unanswered {
    fn invalid(error: HttpError) -> Self {
        Unanswered { error, unsent: false, refused: false }
    }
}

impl Connection {
    /// Sends a request, and gives its response when the head is there.
    pub(crate) async fn send(
        self,
        target: &Target,
        parts: &Parts,
        body: Watched,
        pool: &Arc<Pool>,
    ) -> Result<Response<Body>, Unanswered> {
        match self {
            Connection::Http1(mut sender) => {
                let request = http1_request(target, parts, body).map_err(Unanswered::invalid)?;
                let response = sender.try_send_request(request).await.map_err(|error| unanswered(error, target))?;
                Ok(returning(response, sender, target.origin(), pool))
            }
            Connection::Http2(mut sender) => {
                let request = http2_request(target, parts, body).map_err(Unanswered::invalid)?;
                let response = sender.try_send_request(request).await.map_err(|error| unanswered(error, target))?;
                let origin = target.origin().clone();
                Ok(response.map(|body| Returning { body, http2: true, lease: None, origin }.boxed_unsync()))
            }
        }
    }
}

fn unanswered(mut error: hyper::client::conn::TrySendError<Request<Watched>>, target: &Target) -> Unanswered {
    let unsent = error.take_message().is_some();
    let error = error.into_error();
    let refused = is_unprocessed(&error);
    Unanswered { error: classify(error, Phase::Head, target.origin()), unsent, refused }
}

fn broken(error: hyper::Error, origin: &Origin) -> HttpError {
    classify(error, Phase::Body, origin)
}

/// A request in the form that HTTP/1.1 has for an origin (RFC 9112, section 3.2.1). A body whose length no header
/// announces is sent in chunks.
fn http1_request(target: &Target, parts: &Parts, mut body: Watched) -> Result<Request<Watched>, HttpError> {
    let host = HeaderValue::from_str(target.authority().as_str())
        .map_err(|error| HttpError::new(HttpErrorKind::InvalidUrl, "the host cannot be sent").with_source(error))?;
    let mut headers = HeaderMap::with_capacity(parts.headers.len() + 2);
    headers.insert(HOST, host);
    headers.extend(parts.headers.clone());
    let has_body = !body.is_end_stream();
    if has_body && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if headers.contains_key(TE) {
        // RFC 9110, section 10.1.4: it speaks of this connection only, which has to be said.
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    // hyper sends the trailers that are announced, in chunks, and passes over others without a word.
    let announced = if headers.contains_key(TRANSFER_ENCODING) { announced_trailers(&headers) } else { Vec::new() };
    body.allow_trailers(Some(announced));
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = Uri::from(target.path_and_query().clone());
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    Ok(request)
}

fn http2_request(target: &Target, parts: &Parts, body: Watched) -> Result<Request<Watched>, HttpError> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = target.uri()?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = parts.headers.clone();
    Ok(request)
}

/// A response whose connection goes back into the pool once its body has ended.
fn returning(
    response: Response<Incoming>,
    sender: http1::SendRequest<Watched>,
    origin: &Origin,
    pool: &Arc<Pool>,
) -> Response<Body> {
    let headers = response.headers();
    // Where both say how long the body is, who is right decides what comes next on the connection: nothing shall.
    let ambiguous = headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH);
    let lease = (!ambiguous).then(|| Lease {
        sender,
        kept: kept(headers),
        origin: origin.clone(),
        pool: pool.clone(),
        settle: None,
    });
    let origin = origin.clone();
    response.map(|body| Returning { body, http2: false, lease, origin }.boxed_unsync())
}

/// How long the origin says that it keeps a connection: the parameter `timeout` of the field Keep-Alive (RFC 2068,
/// section 19.7.1.1), which origins still send.
fn kept(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("keep-alive")?.to_str().ok()?;
    let seconds = value.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// A connection on its way back into the pool.
struct Lease {
    sender: http1::SendRequest<Watched>,
    kept: Option<Duration>,
    origin: Origin,
    pool: Arc<Pool>,
    settle: Option<Pin<Box<Sleep>>>,
}

impl Lease {
    fn give_back(self) {
        if self.sender.is_ready() {
            self.pool.put(self.origin, self.sender, self.kept);
        }
    }

    /// Waits for a connection that is not ready yet, such as one that still sends its request.
    fn give_back_later(mut self) {
        tokio::spawn(async move {
            if self.sender.ready().await.is_ok() {
                self.give_back();
            }
        });
    }
}

/// Why a response that gives no more is not whole all the same: only END_STREAM ends a message of HTTP/2 (RFC 9113, section
/// 8.1), and hyper takes a reset without an error, by which an origin asks for no more of a request, for an end of its
/// response, too.
pub fn reset_taken_for_the_end(http2: bool, body: &impl HttpBody, origin: &Origin) -> Option<HttpError> {
    (http2 && !body.is_end_stream()).then(|| {
        let message = format!("{origin} reset the stream before the response was complete");
        HttpError::new(HttpErrorKind::ConnectionReset, message)
    })
}

/// The body of a response.
struct Returning {
    body: Incoming,
    http2: bool,
    lease: Option<Lease>,
    origin: Origin,
}

impl HttpBody for Returning {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(context)) {
            return Poll::Ready(Some(frame.map_err(|error| {
                this.lease = None;
                broken(error, &this.origin)
            })));
        }
        if let Some(reset) = reset_taken_for_the_end(this.http2, &this.body, &this.origin) {
            return Poll::Ready(Some(Err(reset)));
        }
        let Some(lease) = &mut this.lease else { return Poll::Ready(None) };
        let ready = lease.sender.poll_ready(context);
        let settle = lease.settle.get_or_insert_with(|| Box::pin(sleep(SETTLE)));
        if ready.is_pending() {
            ready!(settle.as_mut().poll(context));
        }
        if let Some(lease) = this.lease.take() {
            match ready {
                Poll::Ready(_) => lease.give_back(),
                Poll::Pending => lease.give_back_later(),
            }
        }
        Poll::Ready(None)
    }
}

/// A body that is dropped leaves its connection behind, if that can be used again: hyper closes one that has much left to
/// be read.
impl Drop for Returning {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            lease.give_back_later();
        }
    }
}
