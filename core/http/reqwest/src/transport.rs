//! The transport.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body as _;
use reqwest::Client;
use url::{Host, Url};
use wharf_http::sending::{Watched, announced_trailers, is_unprocessed, timed};
use wharf_http::{Body, HttpError, HttpErrorKind, Policy, Resolver, Scheme, Target, Timeouts, Transport};

use crate::connect::Asked;
use crate::received;

/// Sends through a client of reqwest's, over HTTP/1.1, or HTTP/2 where the origin offers it in the TLS handshake.
///
/// The [crate] says what it keeps to and what it cannot do.
///
/// An origin may close an idle connection just when a request is sent on it. Where nothing of the request has left, it
/// goes out again on another connection. Where something has, it does once, if its method is idempotent (RFC 9110, section
/// 9.2.2) and it has no body. One without a body also does where an origin says that it has not looked at it (RFC 9113,
/// sections 6.8 and 8.7).
///
/// The pool belongs to this transport, and the transport to one policy: tenants with different policies share no
/// connection.
pub struct ReqwestTransport {
    pub(crate) client: Client,
    pub(crate) policy: Arc<Policy>,
    pub(crate) resolver: Option<Arc<dyn Resolver>>,
}

impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestTransport").field("policy", &self.policy).finish_non_exhaustive()
    }
}

#[async_trait]
impl Transport for ReqwestTransport {
    async fn send(&self, request: Request<Body>, timeouts: &Timeouts) -> Result<Response<Body>, HttpError> {
        let target = Target::of(request.uri())?;
        let url = url(&target)?;
        // reqwest asks no resolver about an address.
        if let Some(ip) = address(&url) {
            self.policy.check_address(target.authority().host(), ip)?;
        }
        let (parts, body) = request.into_parts();
        timed(body, timeouts.first_byte, async |body| {
            self.exchange(&target, &url, &parts, body, timeouts.connect).await
        })
        .await
    }

    fn resolver(&self) -> Option<&Arc<dyn Resolver>> {
        self.resolver.as_ref()
    }
}

impl ReqwestTransport {
    async fn exchange(
        &self,
        target: &Target,
        url: &Url,
        parts: &Parts,
        mut body: Watched,
        connect: Duration,
    ) -> Result<Response<Body>, HttpError> {
        let origin = target.origin();
        let is_empty = body.is_end_stream();
        let mut repeated = false;
        loop {
            let again = body.again();
            let asked = Asked::new(target.authority().host(), connect, body.again());
            let request = prepared(target, url, parts, body);
            let error = match asked.scope(async { self.client.execute(request).await }).await {
                Ok(response) => return Ok(received::response(response, origin)),
                Err(error) => error,
            };
            let refused = is_unprocessed(&error);
            let error = received::failed(error, false, origin);
            let idle = !asked.connects() && parts.method.is_idempotent() && is_closed(error.kind());
            if repeated || !is_empty || !(refused || idle) {
                return Err(error);
            }
            (repeated, body) = (true, again);
        }
    }
}

/// Whether the origin may have closed a connection for no other reason than that it was idle.
fn is_closed(kind: HttpErrorKind) -> bool {
    matches!(kind, HttpErrorKind::ConnectionClosed | HttpErrorKind::ConnectionReset)
}

/// The URL of a target, which is all that a client of reqwest's takes. The URL Standard may write a target in another way;
/// then it is refused, since signatures are made over targets.
fn url(target: &Target) -> Result<Url, HttpError> {
    let text = target.uri()?.to_string();
    let invalid = |message: &str| HttpError::new(HttpErrorKind::InvalidUrl, message);
    let url = Url::parse(&text).map_err(|error| invalid("reqwest cannot send this target").with_source(error))?;
    if url.as_str() == text {
        Ok(url)
    } else {
        Err(invalid(
            "reqwest would send another path or query than was set: remove dot segments, and percent-encode what the URL \
             Standard does",
        ))
    }
}

/// The address that a URL names.
fn address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(ip) => Some(ip.into()),
        Host::Ipv6(ip) => Some(ip.into()),
        Host::Domain(_) => None,
    }
}

/// The request as reqwest takes it.
fn prepared(target: &Target, url: &Url, parts: &Parts, mut body: Watched) -> reqwest::Request {
    let mut request = reqwest::Request::new(parts.method.clone(), url.clone());
    let headers = request.headers_mut();
    *headers = parts.headers.clone();
    if headers.contains_key(TE) && target.origin().scheme() == Scheme::Http {
        // RFC 9110, section 10.1.4: it speaks of this connection only, which has to be said; but not over HTTP/2, which
        // only TLS leads to.
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if body.is_end_stream() {
        return request;
    }
    let chunked = !headers.contains_key(CONTENT_LENGTH);
    if chunked && matches!(parts.method, Method::GET | Method::HEAD) {
        // hyper leaves such a body away unless a header announces it.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    // hyper sends the trailers that are announced, in chunks, and passes over others without a word.
    body.allow_trailers(Some(if chunked { announced_trailers(headers) } else { Vec::new() }));
    *request.body_mut() = Some(reqwest::Body::wrap(body));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_sent_as_it_is_or_refused() {
        for text in [
            "http://a.example/",
            "http://a.example:81/x?y",
            "https://[::1]:80/%7e~%41",
            "http://127.0.0.1/!$&()*+,;=:@-._~",
            "http://xn--bcher-kva.example/100%?%zz",
            "http://a.example/'?a?b",
            "http://a.example/a//b/?",
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!(url(&target).unwrap_or_else(|error| panic!("{text}: {error}")).as_str(), text);
        }
        for text in [
            "http://a.example/a/../b",
            "http://a.example/a/%2e%2e/b",
            "http://a.example/./",
            "http://a.example/?'",
            "http://a.example/a\\b",
            "http://a.example/\"",
            "http://a.example/{}",
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!(url(&target).unwrap_err().kind(), HttpErrorKind::InvalidUrl, "{text}");
        }
        let star = http::Uri::builder().scheme("http").authority("a.example").path_and_query("*").build().unwrap();
        let star = Target::of(&star).unwrap();
        assert_eq!(star.path_and_query(), "*");
        assert_eq!(url(&star).unwrap_err().kind(), HttpErrorKind::InvalidUrl);
    }
}
