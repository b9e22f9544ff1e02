//! The transport that wharf brings, on hyper.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio_rustls::TlsConnector;

use crate::connector::Connector;
use crate::error::{HttpError, HttpErrorKind};
use crate::limits::{Limits, Timeouts};
use crate::origin::Origin;
use crate::policy::Policy;
use crate::pool::{Connection, Pool};
use crate::progress::{self, Watched};
use crate::resolver::{Resolver, SystemResolver};
use crate::target::Target;
use crate::tls::{self, TlsConfigError};
use crate::transport::{Body, Transport};

/// How much of one HTTP/2 response may wait unread: what an origin can make us hold for a guest that does not read.
const STREAM_WINDOW: u32 = 256 << 10;

/// The same for all responses of one HTTP/2 connection: room for 64 that are not read, so that they do not hold up the
/// others.
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;

/// Sends over pooled connections: HTTP/1.1, and HTTP/2 where the origin offers it in the TLS handshake.
///
/// It uses no proxy of the system, follows no redirect and decompresses nothing. Beside the guest's own fields it sends
/// those of the connection only: Host, Transfer-Encoding, and `connection: te` where the guest has a TE. A name is
/// resolved once for each connection, every address is checked against the policy, and only checked addresses are
/// connected to.
///
/// An origin may close an idle connection just when a request is sent on it. Where nothing of the request has left, it
/// goes out again on another connection. Where something has, it does once, if its method is idempotent (RFC 9110,
/// section 9.2.2) and it has no body. One without a body also does where an origin says that it has not looked at it (RFC
/// 9113, sections 6.8 and 8.7). Any other request is given only a connection that was used within the last 4
/// seconds, since the servers that are quickest to close one wait for 5; what an origin says in `keep-alive: timeout=`
/// is heeded.
///
/// The pool belongs to this transport, and the transport to one policy: tenants with different policies share no
/// connection.
pub struct PooledTransport {
    connector: Connector,
    resolver: Option<Arc<dyn Resolver>>,
    pool: Arc<Pool>,
}

impl PooledTransport {
    /// Starts from the system's resolver, the system's certificate authorities, and the header limits of
    /// [`Limits::default`].
    pub fn builder(policy: Arc<Policy>) -> PooledBuilder {
        let limits = Limits::default();
        PooledBuilder {
            policy,
            resolver: None,
            roots: Vec::new(),
            header_count: limits.header_count,
            header_bytes: limits.header_bytes,
        }
    }
}

impl fmt::Debug for PooledTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledTransport").field("policy", &self.connector.policy).finish_non_exhaustive()
    }
}

/// Builds a [`PooledTransport`].
#[must_use]
pub struct PooledBuilder {
    policy: Arc<Policy>,
    resolver: Option<Arc<dyn Resolver>>,
    roots: Vec<CertificateDer<'static>>,
    header_count: u64,
    header_bytes: u64,
}

impl PooledBuilder {
    /// Resolves names with `resolver`. The policy checks its answers all the same.
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Trusts a certificate authority beside those of the system: one certificate in DER, or any number in PEM.
    ///
    /// # Errors
    /// [`TlsConfigError`] if there is no certificate in `bytes`.
    pub fn root_certificate(mut self, bytes: &[u8]) -> Result<Self, TlsConfigError> {
        self.roots.extend(tls::certificates(bytes)?);
        Ok(self)
    }

    /// How many headers of a response are parsed, and how many bytes of them over HTTP/2.
    /// [`Outbound`](crate::Outbound) keeps its own [`Limits`] exactly; this lets an origin that goes beyond them fail
    /// before all of it is read.
    pub fn header_limits(mut self, count: u64, bytes: u64) -> Self {
        self.header_count = count;
        self.header_bytes = bytes;
        self
    }

    /// The transport.
    ///
    /// # Errors
    /// [`TlsConfigError`] if a root certificate is not valid, or TLS cannot be set up.
    pub fn build(self) -> Result<PooledTransport, TlsConfigError> {
        // HTTP/2 counts 32 bytes for each header beyond its own.
        let list_bytes = self.header_bytes.saturating_add(self.header_count.saturating_mul(32));
        let mut http1 = http1::Builder::new();
        http1.max_headers(usize::try_from(self.header_count).unwrap_or(usize::MAX).clamp(1, MAX_HEADERS));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(list_bytes).unwrap_or(u32::MAX).max(1))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let tls = TlsConnector::from(Arc::new(tls::client_config(self.roots)?));
        let resolver = self.resolver.clone().unwrap_or_else(|| Arc::new(SystemResolver::default()));
        let connector = Connector { policy: self.policy, resolver, tls, http1, http2 };
        Ok(PooledTransport { connector, resolver: self.resolver, pool: Arc::default() })
    }
}

/// How often a request goes out again that the origin says it has not looked at.
const REFUSALS: u32 = 1;

/// As many headers as [`http::HeaderMap`] can hold.
const MAX_HEADERS: usize = 1 << 15;

impl PooledTransport {
    async fn exchange(
        &self,
        target: &Target,
        parts: &Parts,
        mut body: Watched,
        timeouts: &Timeouts,
    ) -> Result<Response<Body>, HttpError> {
        let origin = target.origin();
        let is_empty = body.is_end_stream();
        let repeatable = parts.method.is_idempotent() && is_empty;
        let (mut pooled, mut refusals) = (true, 0);
        loop {
            let taken = if pooled { self.pool.take(origin, repeatable) } else { None };
            let is_fresh = taken.is_none();
            let connection = match taken {
                Some(connection) => connection,
                None => self.connect(origin, &body, timeouts).await?,
            };
            let again = body.again();
            let failed = match connection.send(target, parts, body, &self.pool).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            body = again;
            if failed.refused && is_empty && refusals < REFUSALS {
                refusals += 1;
            } else if is_fresh || failed.refused {
                return Err(failed.error);
            } else if !failed.unsent {
                if !(repeatable && is_closed(failed.error.kind())) {
                    return Err(failed.error);
                }
                pooled = false;
            }
        }
    }

    async fn connect(&self, origin: &Origin, body: &Watched, timeouts: &Timeouts) -> Result<Connection, HttpError> {
        let _not_counted_as_waiting_for_the_response = body.pause();
        let connection = self.connector.connect(origin, timeouts.connect).await?;
        if let Connection::Http2(sender) = &connection {
            self.pool.share(origin, sender);
        }
        Ok(connection)
    }
}

/// Whether the origin may have closed a connection for no other reason than that it was idle.
fn is_closed(kind: HttpErrorKind) -> bool {
    matches!(kind, HttpErrorKind::ConnectionClosed | HttpErrorKind::ConnectionReset)
}

#[async_trait]
impl Transport for PooledTransport {
    async fn send(&self, request: Request<Body>, timeouts: &Timeouts) -> Result<Response<Body>, HttpError> {
        let target = Target::of(request.uri())?;
        let (parts, body) = request.into_parts();
        progress::timed(body, timeouts.first_byte, async |body| self.exchange(&target, &parts, body, timeouts).await)
            .await
    }

    fn resolver(&self) -> Option<&Arc<dyn Resolver>> {
        self.resolver.as_ref()
    }
}
