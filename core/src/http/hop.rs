//! One request after another until there is a response for the guest, and then its body.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use percent_encoding::percent_decode_str;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::connect::deadline;
use super::error::{HttpError, HttpErrorKind};
use super::exchange::Writer;
use super::headers::{announced_length, check_size, strip};
use super::limits::{Limits, Timeouts};
use super::origin::Origin;
use super::outgoing::{Counted, Outgoing, too_large, whole, wrong_length};
use super::policy::{Policy, Redirects};
use super::redirect;
use super::transport::{Body, Transport};

/// A request that has been checked, ready for the transport.
pub(super) struct Hop {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: HopBody,
}

/// What is left of a request's body.
enum HopBody {
    Whole(Bytes),
    Once(Body),
    Gone,
}

impl HopBody {
    fn take(&mut self) -> Option<Body> {
        match std::mem::replace(self, HopBody::Gone) {
            HopBody::Whole(bytes) => {
                *self = HopBody::Whole(bytes.clone());
                Some(whole(bytes))
            }
            HopBody::Once(body) => Some(body),
            HopBody::Gone => None,
        }
    }
}

impl Hop {
    /// Checks a guest's request.
    pub(super) fn first(
        request: Request<Outgoing>,
        policy: &Arc<Policy>,
        limits: &Limits,
        check: impl Fn(&Url) -> Result<(), HttpError>,
    ) -> Result<Hop, HttpError> {
        let (parts, body) = request.into_parts();
        let mut url = parse(&parts.uri)?;
        check(&url)?;
        if parts.method == Method::CONNECT {
            let message = "the method CONNECT is not sent: it would make a tunnel past the policy";
            return Err(HttpError::new(HttpErrorKind::InvalidMethod, message));
        }
        let mut headers = parts.headers;
        let kind = HttpErrorKind::RequestHeadersTooLarge;
        check_size(&headers, limits.header_count, limits.header_bytes, kind, "request headers")?;
        strip(&mut headers, policy);
        let announced = announced_length(&headers).map_err(|value| {
            HttpError::new(HttpErrorKind::InvalidRequest, format!("the content-length {value} is no length"))
        })?;
        // The transport frames the message by the size of its body, which is exact where a length was announced.
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
                HopBody::Once(Counted::new(body, policy.clone(), limits, announced).boxed_unsync())
            }
        };
        move_credentials(&mut url, &mut headers);
        Ok(Hop { method: parts.method, url, headers, body })
    }

    /// The request for the transport; `None` if its body was sent before.
    fn request(&mut self) -> Result<Option<Request<Body>>, HttpError> {
        // RFC 9110, 8.6: a method that gives content a meaning says when there is none, which no transport does by itself.
        let says_none = matches!(self.method, Method::POST | Method::PUT | Method::PATCH)
            && matches!(&self.body, HopBody::Whole(bytes) if bytes.is_empty());
        let Some(body) = self.body.take() else { return Ok(None) };
        let uri: Uri = self.url.as_str().parse().map_err(|error: http::uri::InvalidUri| {
            HttpError::new(HttpErrorKind::InvalidUrl, "the url cannot be sent").with_source(error)
        })?;
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        if says_none {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok(Some(request))
    }
}

fn parse(uri: &Uri) -> Result<Url, HttpError> {
    let invalid = |message: &str| HttpError::new(HttpErrorKind::InvalidUrl, message);
    if uri.scheme().is_none() || uri.authority().is_none() {
        return Err(invalid("the url is not absolute: it needs a scheme and a host"));
    }
    Url::parse(&uri.to_string()).map_err(|error| invalid("the url does not parse").with_source(error))
}

/// Makes a user name and password in the URL an Authorization, as user agents do: they are no part of a request's
/// target.
fn move_credentials(url: &mut Url, headers: &mut HeaderMap) {
    if url.username().is_empty() && url.password().is_none() {
        return;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    // A URL with a host has a place for both, so neither call can fail.
    _ = url.set_username("");
    _ = url.set_password(None);
    if !headers.contains_key(AUTHORIZATION)
        && let Ok(mut value) = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)))
    {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
}

/// Everything a request is sent with.
pub(super) struct Context<'a> {
    pub(super) policy: &'a Policy,
    pub(super) limits: &'a Limits,
    pub(super) transport: &'a dyn Transport,
    pub(super) check: &'a (dyn Fn(&Url) -> Result<(), HttpError> + Send + Sync),
    pub(super) timeouts: Timeouts,
    /// What is done about redirects.
    pub(super) redirects: Redirects,
}

impl Context<'_> {
    /// Sends, and hands the response to `writer` while it arrives.
    pub(super) async fn run(
        &self,
        hop: Hop,
        in_flight: OwnedSemaphorePermit,
        writer: &Writer,
    ) -> Result<(), HttpError> {
        let exchange = async {
            let (response, is_head) = self.follow(hop).await?;
            let (head, body) = response.into_parts();
            let expected = self.expected_length(&head.headers, head.status, is_head)?;
            // Given back first: who has the response may send the next request.
            drop(in_flight);
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
        let mut request = hop.request()?.ok_or_else(|| HttpError::new(HttpErrorKind::Internal, "a body was lost"))?;
        loop {
            let response = self.transport.send(request, &self.timeouts).await?;
            let response = self.accept(response)?;
            request = match self.next(&mut hop, &response, followed)? {
                Some(request) => request,
                None => return Ok((response, hop.method == Method::HEAD)),
            };
            followed += 1;
        }
    }

    /// The request that a redirect asks for; `None` if the response is for the guest.
    fn next(
        &self,
        hop: &mut Hop,
        response: &Response<Body>,
        followed: u32,
    ) -> Result<Option<Request<Body>>, HttpError> {
        let status = response.status();
        let Redirects::Follow(limit) = self.redirects else { return Ok(None) };
        if !redirect::is_redirect(status) {
            return Ok(None);
        }
        let Some(mut url) = redirect::target(&hop.url, response.headers())? else { return Ok(None) };
        let drops_body = redirect::drops_body(status, &hop.method);
        if !drops_body && matches!(hop.body, HopBody::Gone) {
            return Ok(None);
        }
        if followed == limit {
            let message = format!("the origin redirects more than {limit} times");
            return Err(HttpError::new(HttpErrorKind::TooManyRedirects, message));
        }
        (self.check)(&url).map_err(|error| redirect_denied(&hop.url, error))?;
        hop.method = redirect::method(status, &hop.method);
        if drops_body {
            redirect::strip_body_headers(&mut hop.headers);
            hop.body = HopBody::Whole(Bytes::new());
        }
        redirect::strip_credentials(&mut hop.headers, &hop.url, &url);
        move_credentials(&mut url, &mut hop.headers);
        hop.url = url;
        hop.request()
    }

    /// Checks the head of a response and removes what is not for the guest.
    fn accept(&self, mut response: Response<Body>) -> Result<Response<Body>, HttpError> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let message = "the origin switches to another protocol, which nobody asked for";
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
        }
        strip(response.headers_mut(), self.policy);
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
            HttpError::new(HttpErrorKind::Protocol, format!("the response's content-length {value} is no length"))
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
                        strip(&mut trailers, self.policy);
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
fn redirect_denied(from: &Url, error: HttpError) -> HttpError {
    let kind = match error.kind() {
        HttpErrorKind::Denied => HttpErrorKind::RedirectDenied,
        _ => HttpErrorKind::InvalidRedirect,
    };
    let from = Origin::of(from).map_or_else(|_| "the origin".to_owned(), |origin| origin.to_string());
    HttpError::new(kind, format!("{from} redirects to where the guest may not go: {error}"))
}
