//! Makes a client that keeps to a policy.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{ClientBuilder, redirect, retry};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use wharf_http::sending::{certificates, client_config};
use wharf_http::{Limits, Policy, Resolver, SystemResolver, TlsConfigError};

use crate::connect::{CheckedConnections, CheckedNames};
use crate::transport::ReqwestTransport;

/// How long an idle connection is kept. The servers that are quickest to close one wait for 5 seconds, and a request that
/// meets one which is about to go may not be sent again, unless it is idempotent.
const IDLE: Duration = Duration::from_secs(4);

/// How many idle connections to one origin are kept.
const IDLE_CONNECTIONS: usize = 32;

/// How much of one HTTP/2 response may wait unread: what an origin can make us hold for a guest that does not read.
const STREAM_WINDOW: u32 = 256 << 10;

/// The same for all responses of one HTTP/2 connection: room for 64 that are not read, so that they do not hold up the
/// others.
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;

/// As many headers as [`http::HeaderMap`] can hold.
const MAX_HEADERS: usize = 1 << 15;

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReqwestBuildError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    /// reqwest refuses what its builder was told.
    #[error("reqwest could not make a client")]
    Client(#[from] reqwest::Error),
}

/// Builds a [`ReqwestTransport`].
#[must_use]
pub struct ReqwestBuilder {
    client: ClientBuilder,
    policy: Arc<Policy>,
    resolver: Option<Arc<dyn Resolver>>,
    roots: Vec<CertificateDer<'static>>,
    tls: Option<ClientConfig>,
    limits: Limits,
}

impl ReqwestTransport {
    /// Starts from a client that adds nothing of its own, the system's resolver, the system's certificate authorities, and
    /// [`Limits::default`].
    pub fn builder(policy: Arc<Policy>) -> ReqwestBuilder {
        let client = ClientBuilder::new().pool_idle_timeout(IDLE).pool_max_idle_per_host(IDLE_CONNECTIONS);
        ReqwestTransport::vouched(client, policy)
    }

    /// Starts from a client of the embedder's own, who vouches for what it adds to requests: its default headers, its user
    /// agent and what its cookie store holds go to every origin that a guest may reach, and into that store go the cookies
    /// that any guest is given.
    ///
    /// Its local address, pool, keep-alive, connector layers and HTTP/2 settings stay as they are. Redirects, retries,
    /// proxies, Referer, decompression, the resolver, TLS, the connect timeout, and the limits on headers and windows are set
    /// anew. Addresses that it has for names, and a socket to send everything to, are held to the policy.
    pub fn vouched(client: ClientBuilder, policy: Arc<Policy>) -> ReqwestBuilder {
        ReqwestBuilder { client, policy, resolver: None, roots: Vec::new(), tls: None, limits: Limits::default() }
    }
}

impl ReqwestBuilder {
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
        self.roots.extend(certificates(bytes)?);
        Ok(self)
    }

    /// Sets all of TLS: whom to trust, as whom, and with which protocols. It takes the place of the system's authorities and
    /// of [`root_certificate`](Self::root_certificate).
    pub fn tls(mut self, config: ClientConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// Takes from `limits` how many headers of a response are parsed, and how many bytes of them over HTTP/2, so that an
    /// origin that goes beyond them fails before all of it is read; and how long the addresses of one name may take together.
    /// [`Outbound`](wharf_http::Outbound) keeps its own limits exactly.
    pub fn limits(mut self, limits: &Limits) -> Self {
        self.limits = limits.clone();
        self
    }

    /// The transport.
    ///
    /// # Errors
    /// [`ReqwestBuildError`] if TLS cannot be set up, or reqwest refuses its own settings.
    pub fn build(self) -> Result<ReqwestTransport, ReqwestBuildError> {
        let tls = match self.tls {
            Some(tls) => tls,
            None => client_config(self.roots)?,
        };
        let limits = self.limits;
        // HTTP/2 counts 32 bytes for each header beyond its own.
        let list_bytes = limits.header_bytes.saturating_add(limits.header_count.saturating_mul(32));
        let resolver = self.resolver.clone().unwrap_or_else(|| Arc::new(SystemResolver::default()));
        let names = CheckedNames { policy: self.policy.clone(), resolver };
        let client = self
            .client
            .tls_backend_preconfigured(tls)
            .dns_resolver(Arc::new(names))
            .connector_layer(CheckedConnections { policy: self.policy.clone() })
            .connect_timeout(limits.connect_timeout)
            .no_proxy()
            .referer(false)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .http1_max_headers(usize::try_from(limits.header_count).unwrap_or(usize::MAX).clamp(1, MAX_HEADERS))
            .http2_max_header_list_size(u32::try_from(list_bytes).unwrap_or(u32::MAX).max(1))
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .build()?;
        Ok(ReqwestTransport { client, policy: self.policy, resolver: self.resolver })
    }
}
