//! Makes connections: the one place where a name, the policy, an address, the time and TLS meet.

use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::classify::{Phase, classify};
use crate::error::chain;
use crate::error::{HttpError, HttpErrorKind};
use crate::origin::{HostName, Origin, Scheme};
use crate::policy::Policy;
use crate::pool::Connection;
use crate::progress::deadline;
use crate::resolver::Resolver;

/// How long a connection may be silent before the system looks whether the other side is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Makes connections for one transport.
pub(crate) struct Connector {
    pub(crate) policy: Arc<Policy>,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) tls: TlsConnector,
    pub(crate) http1: http1::Builder,
    pub(crate) http2: http2::Builder<TokioExecutor>,
}

impl Connector {
    /// A connection to `origin`, over HTTP/2 if the origin chooses it in the TLS handshake.
    ///
    /// # Errors
    /// What is in the way. The name is resolved once, and only addresses that the policy allows are connected to.
    pub(crate) async fn connect(&self, origin: &Origin, limit: Duration) -> Result<Connection, HttpError> {
        let deadline = deadline(limit);
        let addresses = self.addresses(origin, deadline).await?;
        timeout_at(deadline, self.open(origin, addresses, limit)).await.unwrap_or_else(|_| {
            let message = format!("no connection to {origin} was made within {limit:?}");
            Err(HttpError::new(HttpErrorKind::ConnectionTimeout, message))
        })
    }

    async fn addresses(&self, origin: &Origin, deadline: Instant) -> Result<Vec<IpAddr>, HttpError> {
        let name = match &origin.host {
            HostName::Ip(ip) => {
                self.policy.check_address(&origin.host.to_string(), *ip)?;
                return Ok(vec![*ip]);
            }
            HostName::Name(name) => name,
        };
        let found = timeout_at(deadline, self.resolver.resolve(name)).await.unwrap_or_else(|_| {
            let message = format!("the name {name} was not resolved within the connect timeout");
            Err(HttpError::new(HttpErrorKind::DnsTimeout, message))
        })?;
        self.policy.allowed_addresses(name, found)
    }

    async fn open(&self, origin: &Origin, addresses: Vec<IpAddr>, limit: Duration) -> Result<Connection, HttpError> {
        let failed = |error: io::Error| classify(error, Phase::Connect, origin);
        let tcp = tcp(origin, addresses, limit).await?;
        if origin.scheme == Scheme::Http {
            return self.over_http1(origin, tcp).await;
        }
        let name = match &origin.host {
            HostName::Ip(ip) => ServerName::IpAddress((*ip).into()),
            HostName::Name(name) => ServerName::try_from(name.clone()).map_err(|error| {
                let message = format!("{name} is not a name that a certificate can be for");
                HttpError::new(HttpErrorKind::InvalidUrl, message).with_source(error)
            })?,
        };
        let tls = self.tls.connect(name, tcp).await.map_err(failed)?;
        match tls.get_ref().1.alpn_protocol() {
            Some(b"h2") => self.over_http2(origin, tls).await,
            _ => self.over_http1(origin, tls).await,
        }
    }

    async fn over_http1<S>(&self, origin: &Origin, stream: S) -> Result<Connection, HttpError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = self.http1.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| classify(error, Phase::Connect, origin))?;
        drive(connection);
        Ok(Connection::Http1(sender))
    }

    async fn over_http2<S>(&self, origin: &Origin, stream: S) -> Result<Connection, HttpError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = self.http2.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| classify(error, Phase::Connect, origin))?;
        drive(connection);
        Ok(Connection::Http2(sender))
    }
}

/// Moves what goes over a connection, for as long as it lasts.
fn drive(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        // The request that it broke off under has the reason.
        if let Err(error) = connection.await {
            tracing::trace!("a connection broke off: {}", chain(&error));
        }
    });
}

/// Connects to the first of `addresses` that answers, as RFC 8305 tries them.
async fn tcp(origin: &Origin, addresses: Vec<IpAddr>, limit: Duration) -> Result<TcpStream, HttpError> {
    let mut connector = HttpConnector::new_with_resolver(Known(addresses));
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEP_ALIVE));
    // Shared out among the addresses, so that one of several that does not answer does not use it all up.
    connector.set_connect_timeout(Some(limit));
    let uri = format!("http://{}:{}/", origin.host, origin.port).parse().map_err(|error: http::uri::InvalidUri| {
        HttpError::new(HttpErrorKind::InvalidUrl, "the host of the url cannot be connected to").with_source(error)
    })?;
    let stream = connector.call(uri).await.map_err(|error| classify(error, Phase::Connect, origin))?;
    Ok(stream.into_inner())
}

/// Answers the connector's question with the addresses that have been checked.
#[derive(Clone)]
struct Known(Vec<IpAddr>);

impl Service<Name> for Known {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Response, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        let addresses: Vec<SocketAddr> = self.0.iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
        ready(Ok(addresses.into_iter()))
    }
}
