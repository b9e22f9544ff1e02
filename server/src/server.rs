//! A server on hyper for a [`Handler`].

use std::net::SocketAddr;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::handler::Handler;

/// How long accepting pauses after it failed, for example because there are too many connections.
const PAUSE: Duration = Duration::from_millis(50);

/// What a server allows its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerOptions {
    /// How long a client may take to send the head of a request.
    pub header_timeout: Duration,
    /// How large the head of a request may be, in bytes; at least 8192.
    pub max_header_bytes: usize,
    /// How long requests under way get to finish once the server is to stop.
    pub drain: Duration,
}

impl Default for ServerOptions {
    /// 10 s for a head of 64 KiB, 10 s to drain.
    fn default() -> Self {
        ServerOptions {
            header_timeout: Duration::from_secs(10),
            max_header_bytes: 64 << 10,
            drain: Duration::from_secs(10),
        }
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}; choose another address, or a port that nothing else uses")]
    Bind(SocketAddr, #[source] std::io::Error),
}

/// A server, bound and not yet accepting.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    options: ServerOptions,
}

impl Server {
    /// Listens on `address`; port 0 takes one that is free.
    ///
    /// # Errors
    /// [`ServerError::Bind`].
    pub async fn bind(address: SocketAddr, options: ServerOptions) -> Result<Self, ServerError> {
        let failed = |error| ServerError::Bind(address, error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Server { listener, address, options })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled, then lets the requests under way finish.
    ///
    /// Returns whether all of them did within [`ServerOptions::drain`].
    pub async fn run(self, handler: Handler, stop: CancellationToken) -> bool {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.header_timeout)
            .max_buf_size(self.options.max_header_bytes.max(8192));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(self.options.max_header_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(Some(self.options.header_timeout));
        let connections = GracefulShutdown::new();
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!("a connection cannot be accepted: {error}");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!("a connection keeps Nagle's algorithm: {error}");
            }
            let service = TowerToHyperService::new(handler.clone());
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!("a connection failed: {error}");
                }
            });
        }
        drop(self.listener);
        tokio::time::timeout(self.options.drain, connections.shutdown()).await.is_ok()
    }
}
