//! One request, or one after another where redirects are followed, until there is a response for the guest; and then
//! its body.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, TRAILER, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::error::{HttpError, HttpErrorKind};
use crate::exchange::Writer;
use crate::headers::{announced_length, check_size, strip, trim_values};
use crate::limits::{Limits, Timeouts};
use crate::origin::Origin;
use crate::outgoing::{Counted, Outgoing, peek, too_large, whole, wrong_length};
use crate::policy::{Policy, Redirects};
use crate::progress::deadline;
use crate::redirect;
use crate::target::Target;
use crate::trailers::keep_trailers;
use crate::transport::{Body, Transport};

/// A request that has been checked, ready for the transport.
pub(crate) struct Hop {
    method: Method,
    target: Target,
    headers: HeaderMap,
    body: HopBody,
}

/// What is left of a request's body.
enum HopBody {
    Whole(Bytes),
    /// Streamed, with the length that was announced for it.
    Once(Body, Option<u64>),
    Gone,
}

impl Hop {
    /// Checks a guest's request.
    pub(crate) fn first(
        request: Request<Outgoing>,
        policy: &Arc<Policy>,
        limits: &Limits,
        check: impl Fn(&Target) -> Result<(), HttpError>,
    ) -> Result<Hop, HttpError> {
        let (parts, body) = request.into_parts();
        let target = Target::of(&parts.uri)?;
        check(&target)?;
        if parts.method == Method::CONNECT {
            let message = "the method CONNECT is not allowed: it would open a tunnel past the policy";
            return Err(HttpError::new(HttpErrorKind::InvalidMethod, message));
        }
        if target.path_and_query() == "*" && parts.method != Method::OPTIONS {
            let message = "the path * means the server as a whole, and is only valid with the method OPTIONS";
            return Err(HttpError::new(HttpErrorKind::InvalidUrl, message));
        }
        let mut headers = parts.headers;
        trim_values(&mut headers);
        let kind = HttpErrorKind::RequestHeadersTooLarge;
        check_size(&headers, limits.header_count, limits.header_bytes, kind, "request headers")?;
        strip(&mut headers, |name| policy.forbids_header(name));
        let announced = announced_length(&headers).map_err(|value| {
            HttpError::new(HttpErrorKind::InvalidRequest, format!("the content-length {value} is not a valid length"))
        })?;
        headers.remove(CONTENT_LENGTH);
        let body = match body {
            Outgoing::Bytes(bytes) => {
                let length = bytes.len() as u64;
                if length > limits.request_body_bytes {
                    return Err(too_large(limits.request_body_bytes));
                }
                match announced.filter(|announced| *announced != length) {
                    Some(announced) => return Err(wrong_length(length, announced)),
                    None => HopBody::Whole(bytes),
                }
            }
            Outgoing::Stream(body) => {
                if announced.is_some_and(|announced| announced > limits.request_body_bytes) {
                    return Err(too_large(limits.request_body_bytes));
                }
                HopBody::Once(Counted::new(body, policy.clone(), limits, announced).boxed_unsync(), announced)
            }
        };
        Ok(Hop { method: parts.method, target, headers, body })
    }

    /// The request for the transport; `None` if its body was sent before.
    ///
    /// How the body is framed is decided here and by one rule, whenever the guest wrote what:
    /// - a body held whole, or streamed with a length that the guest announced, has that length;
    /// - one that is streamed without, or with trailers announced, has none, and goes out in chunks over HTTP/1.1;
    /// - an empty one has the length 0 where the method gives content a meaning (RFC 9110, section 8.6: POST, PUT,
    ///   PATCH), else no length and no body. Whether a streamed one is empty, its first part or end tells.
    async fn request(&mut self) -> Result<Option<Request<Body>>, HttpError> {
        let (body, length) = match std::mem::replace(&mut self.body, HopBody::Gone) {
            HopBody::Whole(bytes) => {
                self.body = HopBody::Whole(bytes.clone());
                let length = bytes.len() as u64;
                (whole(bytes), Some(length))
            }
            HopBody::Once(body, Some(length)) if !self.headers.contains_key(TRAILER) => (body, Some(length)),
            HopBody::Once(body, _) => match peek(body).await? {
                Some(body) => (body, None),
                None => (whole(Bytes::new()), Some(0)),
            },
            HopBody::Gone => return Ok(None),
        };
        let says_none = matches!(self.method, Method::POST | Method::PUT | Method::PATCH);
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.uri()?;
        *request.headers_mut() = self.headers.clone();
        if let Some(length) = length.filter(|length| *length > 0 || says_none) {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Ok(Some(request))
    }
}

/// Everything a request is sent with.
pub(crate) struct Context<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) limits: &'a Limits,
    pub(crate) transport: &'a dyn Transport,
    pub(crate) report: &'a (dyn Fn(&Origin) + Send + Sync),
    pub(crate) timeouts: Timeouts,
    /// What is done about redirects.
    pub(crate) redirects: Redirects,
}

impl Context<'_> {
    /// Sends, and hands the response to `writer` while it arrives.
    pub(crate) async fn run(
        &self,
        hop: Hop,
        in_flight: OwnedSemaphorePermit,
        writer: &Writer,
    ) -> Result<(), HttpError> {
        let exchange = async {
            let (response, is_head) = self.follow(hop).await?;
            let (mut head, body) = response.into_parts();
            let expected = self.expected_length(&head.headers, head.status, is_head)?;
            // Given back first: who has the response may send the next request.
            drop(in_flight);
            if expected.is_some() && head.headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
                // The same, said more than once: for the guest it is one length (RFC 9110, section 8.6).
                let length = head.headers[CONTENT_LENGTH].clone();
                head.headers.insert(CONTENT_LENGTH, length);
            }
            writer.head(Response::from_parts(head, ()));
            self.pump(body, expected, writer).await
        };
        match self.timeouts.total {
            Some(total) => timeout_at(deadline(total), exchange).await.unwrap_or_else(|_| {
                let message = format!("the request and its response were not complete within {total:?}");
                Err(HttpError::new(HttpErrorKind::TotalTimeout, message))
            }),
            None => exchange.await,
        }
    }

    /// Sends one request after another until there is a response for the guest; also says whether it answers a HEAD.
    async fn follow(&self, mut hop: Hop) -> Result<(Response<Body>, bool), HttpError> {
        let mut followed = 0;
        loop {
            let lost = || HttpError::new(HttpErrorKind::Internal, "a body was lost");
            let request = hop.request().await?.ok_or_else(lost)?;
            let response = self.transport.send(request, &self.timeouts).await?;
            let response = self.accept(response)?;
            if !self.redirect(&mut hop, &response, followed)? {
                return Ok((response, hop.method == Method::HEAD));
            }
            redirect::pass_over(response.into_body()).await;
            followed += 1;
        }
    }

    /// Makes `hop` the request that a redirect asks for; false if the response is for the guest.
    fn redirect(&self, hop: &mut Hop, response: &Response<Body>, followed: u32) -> Result<bool, HttpError> {
        let status = response.status();
        let Redirects::Follow(limit) = self.redirects else { return Ok(false) };
        if !redirect::is_redirect(status) {
            return Ok(false);
        }
        let Some(target) = redirect::target(&hop.target, response.headers())? else { return Ok(false) };
        let drops_body = redirect::drops_body(status, &hop.method);
        if !drops_body && matches!(hop.body, HopBody::Gone) {
            return Ok(false);
        }
        if followed == limit {
            let message = format!("the origin redirects more than {limit} times");
            return Err(HttpError::new(HttpErrorKind::TooManyRedirects, message));
        }
        let (from, to) = (hop.target.origin(), target.origin());
        self.policy.check_redirect(from, to).map_err(|error| {
            (self.report)(to);
            redirect_denied(from, error)
        })?;
        hop.method = redirect::method(status, &hop.method);
        if drops_body {
            redirect::strip_body_headers(&mut hop.headers);
            hop.body = HopBody::Whole(Bytes::new());
        }
        redirect::strip_credentials(&mut hop.headers, hop.target.origin(), target.origin());
        hop.target = target;
        Ok(true)
    }

    /// Checks the head of a response and removes what is not for the guest.
    fn accept(&self, mut response: Response<Body>) -> Result<Response<Body>, HttpError> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let message = "the origin switches to another protocol, which was not requested";
            return Err(HttpError::new(HttpErrorKind::Upgraded, message));
        }
        if response.status().is_informational() {
            let message =
                format!("the origin answered with status {} and nothing after it", response.status().as_u16());
            return Err(HttpError::new(HttpErrorKind::Protocol, message));
        }
        let kind = HttpErrorKind::ResponseHeadersTooLarge;
        let limits = self.limits;
        check_size(response.headers(), limits.header_count, limits.header_bytes, kind, "response headers")?;
        let mut codings = response.headers().get_all(TRANSFER_ENCODING).iter();
        if let Some(first) = codings.next() {
            let chunked = first.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
            if !chunked || codings.next().is_some() {
                let message = "the response has a transfer coding other than chunked";
                return Err(HttpError::new(HttpErrorKind::TransferCoding, message));
            }
            // RFC 9112, section 6.3: the chunks decide, and a length beside them says nothing.
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        strip(response.headers_mut(), |name| self.policy.forbids_header(name));
        trim_values(response.headers_mut());
        Ok(response)
    }

    /// The length that the body of a response must have, if one is announced for it.
    fn expected_length(
        &self,
        headers: &HeaderMap,
        status: StatusCode,
        is_head: bool,
    ) -> Result<Option<u64>, HttpError> {
        if is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok(None);
        }
        let expected = announced_length(headers).map_err(|value| {
            HttpError::new(
                HttpErrorKind::Protocol,
                format!("the response's content-length {value} is not a valid length"),
            )
        })?;
        match expected {
            Some(length) if length > self.limits.response_body_bytes => Err(self.body_too_large()),
            expected => Ok(expected),
        }
    }

    /// Hands the body over while it arrives, at the guest's pace.
    async fn pump(&self, mut body: Body, expected: Option<u64>, writer: &Writer) -> Result<(), HttpError> {
        let mut received: u64 = 0;
        loop {
            writer.room().await;
            let limit = deadline(self.timeouts.between_bytes);
            let Some(frame) = self.next_frame(&mut body, limit).await? else { break };
            match frame.into_data() {
                Ok(data) => {
                    received = received.saturating_add(data.len() as u64);
                    if received > self.limits.response_body_bytes {
                        return Err(self.body_too_large());
                    }
                    writer.chunk(data);
                }
                Err(frame) => {
                    if let Ok(mut trailers) = frame.into_trailers() {
                        let kind = HttpErrorKind::ResponseTrailersTooLarge;
                        let limits = self.limits;
                        check_size(&trailers, limits.header_count, limits.header_bytes, kind, "response trailers")?;
                        strip(&mut trailers, |name| self.policy.forbids_header(name));
                        keep_trailers(&mut trailers);
                        writer.trailers(trailers);
                    }
                }
            }
        }
        match expected {
            Some(expected) if expected != received => Err(HttpError::new(
                HttpErrorKind::IncompleteResponse,
                format!("the response body ended after {received} of {expected} bytes"),
            )),
            _ => Ok(()),
        }
    }

    /// The next frame that is not empty. An empty one moves nothing, so it does not renew the time.
    async fn next_frame(&self, body: &mut Body, limit: Instant) -> Result<Option<http_body::Frame<Bytes>>, HttpError> {
        loop {
            let frame = timeout_at(limit, body.frame()).await.map_err(|_| {
                let message = format!("the response body paused for more than {:?}", self.timeouts.between_bytes);
                HttpError::new(HttpErrorKind::BetweenBytesTimeout, message)
            })?;
            match frame.transpose()? {
                Some(frame) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
                frame => return Ok(frame),
            }
        }
    }

    fn body_too_large(&self) -> HttpError {
        let limit = self.limits.response_body_bytes;
        let message = format!("the response body is larger than the limit of {limit} bytes");
        HttpError::new(HttpErrorKind::ResponseBodyTooLarge, message)
    }
}

/// Says of a hop that may not be made where it comes from.
fn redirect_denied(from: &Origin, error: HttpError) -> HttpError {
    let kind = match error.kind() {
        HttpErrorKind::Denied => HttpErrorKind::RedirectDenied,
        kind => kind,
    };
    HttpError::new(kind, format!("{from} redirects to where the guest may not go: {error}"))
}
