//! The transport that wharf brings, on reqwest.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::TRANSFER_ENCODING;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use reqwest::{Client, redirect, retry};
use rustls::pki_types::CertificateDer;
use url::Url;

use super::classify::classify;
use super::connect::{self, ConnectLayer};
use super::error::{HttpError, HttpErrorKind};
use super::limits::{Limits, Timeouts};
use super::origin::{HostName, Origin};
use super::outgoing;
use super::policy::Policy;
use super::resolver::{Checked, Resolver, SystemResolver};
use super::tls;
use super::transport::{Body, Transport};
use crate::error::{Error, Kind};

/// How long an idle connection is kept. Less than the minute after which many origins close it, so that a request
/// seldom meets one that is about to go.
const IDLE: Duration = Duration::from_secs(50);

/// How many idle connections to one origin are kept.
const IDLE_CONNECTIONS: usize = 32;

/// How much of one HTTP/2 response may wait unread: what an origin can make us hold for a guest that does not read.
const STREAM_WINDOW: u32 = 256 << 10;

/// The same for all responses of one HTTP/2 connection: room for 64 that are not read, so that they do not hold up the
/// others.
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;

/// Sends over pooled connections: HTTP/1.1, and HTTP/2 where the origin offers it in the TLS handshake.
///
/// It uses no proxy of the system, follows no redirect, decompresses nothing and repeats nothing that an origin may
/// have seen. It adds `accept: */*` where a request has no Accept. A name is resolved once for each connection, every
/// address is checked against the policy, and only checked addresses are connected to.
///
/// The pool belongs to this transport, and the transport to one policy: tenants with different policies share no
/// connection.
pub struct ReqwestTransport {
    client: Client,
    policy: Arc<Policy>,
}

impl ReqwestTransport {
    /// Starts from the system's resolver, the system's certificate authorities, and the header limits of
    /// [`Limits::default`].
    pub fn builder(policy: Arc<Policy>) -> ReqwestBuilder {
        let limits = Limits::default();
        ReqwestBuilder {
            policy,
            resolver: Arc::new(SystemResolver::default()),
            roots: Vec::new(),
            header_count: limits.header_count,
            header_bytes: limits.header_bytes,
        }
    }
}

impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestTransport").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// Builds a [`ReqwestTransport`].
#[must_use]
pub struct ReqwestBuilder {
    policy: Arc<Policy>,
    resolver: Arc<dyn Resolver>,
    roots: Vec<CertificateDer<'static>>,
    header_count: u64,
    header_bytes: u64,
}

impl ReqwestBuilder {
    /// Resolves names with `resolver`. The policy checks its answers all the same.
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Trusts a certificate authority beside those of the system: one certificate in DER, or any number in PEM.
    ///
    /// # Errors
    /// [`Kind::Config`] if there is no certificate in `bytes`.
    pub fn root_certificate(mut self, bytes: &[u8]) -> Result<Self, Error> {
        self.roots.extend(tls::certificates(bytes)?);
        Ok(self)
    }

    /// How many headers of a response are parsed, and how many bytes of them over HTTP/2.
    /// [`Outbound`](super::Outbound) keeps its own [`Limits`] exactly; this lets an origin that goes beyond them fail
    /// before all of it is read.
    pub fn header_limits(mut self, count: u64, bytes: u64) -> Self {
        self.header_count = count;
        self.header_bytes = bytes;
        self
    }

    /// The transport.
    ///
    /// # Errors
    /// [`Kind::Config`] if a root certificate is not valid, or TLS cannot be set up.
    pub fn build(self) -> Result<ReqwestTransport, Error> {
        // HTTP/2 counts 32 bytes for each header beyond its own.
        let list_bytes = self.header_bytes.saturating_add(self.header_count.saturating_mul(32));
        let client = Client::builder()
            .tls_backend_preconfigured(tls::config(self.roots)?)
            .dns_resolver(Arc::new(Checked::new(self.policy.clone(), self.resolver)))
            .connector_layer(ConnectLayer)
            .no_proxy()
            .referer(false)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http1_max_headers(usize::try_from(self.header_count).unwrap_or(usize::MAX).clamp(1, MAX_HEADERS))
            .http2_max_header_list_size(u32::try_from(list_bytes).unwrap_or(u32::MAX).max(1))
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .build()
            .map_err(|error| Error::new(Kind::Config, "the http transport could not be set up").with_source(error))?;
        Ok(ReqwestTransport { client, policy: self.policy })
    }
}

/// How long a streamed body of a GET or HEAD, which seldom has any, may keep the request back.
const PEEK: Duration = Duration::from_millis(20);

/// As many headers as [`http::HeaderMap`] can hold.
const MAX_HEADERS: usize = 1 << 15;

#[async_trait]
impl Transport for ReqwestTransport {
    async fn send(&self, request: Request<Body>, timeouts: &Timeouts) -> Result<Response<Body>, HttpError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string())
            .map_err(|error| HttpError::new(HttpErrorKind::InvalidUrl, "the url does not parse").with_source(error))?;
        let origin = Origin::of(&url)?;
        // The connector resolves names but takes addresses as they are, so those are checked here.
        if let HostName::Ip(ip) = &origin.host {
            self.policy.check_address(&origin.host.to_string(), *ip)?;
        }
        let mut headers = parts.headers;
        // hyper leaves such a body away unless a header announces it; and announced, it is sent even when it turns out
        // empty, which some origins dislike. So look first whether there is one.
        let body = if matches!(parts.method, Method::GET | Method::HEAD) && body.size_hint().exact().is_none() {
            match outgoing::peek(body, PEEK).await? {
                Some(body) => {
                    headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
                    body
                }
                None => outgoing::whole(Bytes::new()),
            }
        } else {
            body
        };
        let response = connect::timed(body, timeouts, async |body| {
            let request = self
                .client
                .request(parts.method, url)
                .headers(headers)
                .body(reqwest::Body::wrap(body))
                .build()
                .map_err(|error| classify(error, false, &origin))?;
            self.client.execute(request).await.map_err(|error| classify(error, false, &origin))
        })
        .await?;
        let (parts, body) = Response::<reqwest::Body>::from(response).into_parts();
        let mut head = Response::new(());
        *head.status_mut() = parts.status;
        *head.version_mut() = parts.version;
        *head.headers_mut() = parts.headers;
        Ok(head.map(|()| body.map_err(move |error| classify(error, true, &origin)).boxed_unsync()))
    }
}
