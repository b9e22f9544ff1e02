//! A server on hyper for a [`Handler`].

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, Log};
use crate::answer::Asker;
use crate::breaks::{Breaking, Wire, Wired};
use crate::client::{Client, Left, Socket};
use crate::edge::Edge;
use crate::handler::{Handler, ResponseBody};
use crate::http2::{self, RequestBody};
use crate::options::ServerOptions;
use crate::passage::Passage;
use crate::request::Peer;
use crate::stream::{Stream, sniff};
use crate::tally::Tally;

/// How long accepting pauses after it failed, for example because the process has no descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a server cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}; choose another address, or a port that nothing else uses")]
    Bind(SocketAddr, #[source] std::io::Error),
}

/// How many connections may wait to be accepted; the operating system may let less.
const BACKLOG: u32 = 1024;

/// A bound address that accepts no connections yet. So problems with the address are known before a guest is compiled,
/// and no client waits in the meantime.
#[derive(Debug)]
pub struct Bound {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Bound {
    /// Binds `address`; port 0 chooses a free port.
    ///
    /// # Errors
    /// [`ServerError::Bind`].
    pub fn new(address: SocketAddr) -> Result<Self, ServerError> {
        let bind = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // Connections that an earlier server has ended are in nobody's way.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let address = socket.local_addr()?;
            Ok(Bound { socket, address })
        };
        bind().map_err(|error| ServerError::Bind(address, error))
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens: from here on clients can connect, and wait until [`Server::run`] accepts them.
    ///
    /// # Errors
    /// [`ServerError::Bind`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn listen(self, options: ServerOptions) -> Result<Server, ServerError> {
        let Bound { socket, address } = self;
        let listener = socket.listen(BACKLOG).map_err(|error| ServerError::Bind(address, error))?;
        Ok(Server { listener, address, options, tls: None, log: None })
    }
}

/// A server that listens, but does not accept connections yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    options: ServerOptions,
    tls: Option<TlsAcceptor>,
    log: Option<Log>,
}

impl Server {
    /// Listens on `address`; port 0 chooses a free port.
    ///
    /// # Errors
    /// [`ServerError::Bind`].
    pub async fn bind(address: SocketAddr, options: ServerOptions) -> Result<Self, ServerError> {
        Bound::new(address)?.listen(options)
    }

    /// Serves TLS only. [`tls_from_pem`](crate::tls_from_pem) makes a configuration; which protocols clients
    /// may choose is part of it.
    pub fn tls(mut self, config: Arc<ServerConfig>) -> Self {
        self.tls = Some(TlsAcceptor::from(config));
        self
    }

    /// Calls `log` for each request, when its response ends. The server's tasks call it, and wait for it.
    pub fn access_log(mut self, log: impl Fn(&Access) + Send + Sync + 'static) -> Self {
        self.log = Some(Arc::new(log));
        self
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled, then lets the requests in progress finish, and what guests still do after
    /// their response.
    ///
    /// Returns whether all of them did within [`ServerOptions::drain`].
    pub async fn run(self, handler: Handler, stop: CancellationToken) -> bool {
        let Server { listener, options, tls, log, .. } = self;
        let handled = handler.clone();
        let (alive, mut ended) = mpsc::channel::<()>(1);
        let failures = Tally::default();
        let places = Arc::new(Semaphore::new(options.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
        let server = Arc::new(Shared { handler, options, tls, log });
        loop {
            let accepted = async {
                // The semaphore is never closed.
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (listener.accept().await, place)
            };
            let ((stream, peer), place) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accepted => match accepted {
                    (Ok(accepted), place) => (accepted, place),
                    (Err(error), _) => {
                        failures.add(move |count| {
                            tracing::warn!("accepting a connection failed, {count} times within a second: {error}");
                        });
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            let (server, alive, stop) = (Arc::clone(&server), alive.clone(), stop.clone());
            tokio::spawn(async move {
                let begun = tokio::select! {
                    begun = server.begin(stream) => begun,
                    // Nothing was asked on it yet.
                    () = stop.cancelled() => return,
                };
                let ended = match begun {
                    Ok(begun) => server.serve(begun, peer, &stop).await,
                    Err(error) => Err(error.into()),
                };
                if let Err(error) = ended {
                    tracing::debug!("the connection from {peer} failed: {error}");
                }
                drop((place, alive));
            });
        }
        drop((listener, alive));
        let drained = async {
            // Nothing is sent: it ends with the last connection.
            _ = ended.recv().await;
            handled.settled().await;
        };
        tokio::time::timeout(options.drain, drained).await.is_ok()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tls, log) = (self.tls.is_some(), self.log.is_some());
        let mut out = f.debug_struct("Server");
        out.field("address", &self.address).field("options", &self.options);
        out.field("tls", &tls).field("log", &log).finish_non_exhaustive()
    }
}

/// How much the system may hold that it has not sent, in bytes.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 << 10;

/// Has the system take more of a response as its client reads, however slowly. By itself it waits until much of what it
/// holds was sent, which may be megabytes, and a client that reads would look like one that does not.
#[cfg(target_os = "linux")]
fn keep_little_unsent(stream: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!("the system may hold much of a response: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn keep_little_unsent(_: &TcpStream) {}

/// What all connections share.
struct Shared {
    handler: Handler,
    options: ServerOptions,
    tls: Option<TlsAcceptor>,
    log: Option<Log>,
}

/// A connection on which it is known what is spoken.
struct Begun {
    stream: Box<dyn Connection>,
    socket: Socket,
    http2: bool,
    wire: Wire,
}

/// A stream of bytes, of either kind.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for S {}

type Failed = Box<dyn std::error::Error + Send + Sync>;

impl Shared {
    /// Does what comes before the first request.
    async fn begin(&self, stream: TcpStream) -> io::Result<Begun> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("cannot turn off Nagle's algorithm on a connection: {error}");
        }
        keep_little_unsent(&stream);
        let patience = self.options.stall_timeout;
        let socket = Socket::new(stream);
        let wire = Wire::default();
        let mut stream = Wired::new(socket.clone(), wire.clone());
        let begin = async {
            let Some(tls) = &self.tls else {
                let (read, http2) = sniff(&mut stream).await?;
                return Ok(Begun { stream: Box::new(Stream::new(stream, read, patience)), socket, http2, wire });
            };
            let stream = tls.accept(Stream::new(stream, Bytes::new(), patience)).await?;
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Ok(Begun { stream: Box::new(stream), socket, http2, wire })
        };
        tokio::time::timeout(self.options.header_timeout, begin).await?
    }

    /// Serves one request after another, until there is none or the server is to stop.
    async fn serve(self: Arc<Self>, begun: Begun, peer: SocketAddr, stop: &CancellationToken) -> Result<(), Failed> {
        let Begun { stream, socket, http2, wire } = begun;
        if http2 {
            self.serve_http2(stream, wire, peer, stop).await
        } else {
            self.serve_http1(stream, socket, wire, peer, stop).await
        }
    }

    async fn serve_http1(
        self: Arc<Self>,
        stream: Box<dyn Connection>,
        socket: Socket,
        wire: Wire,
        peer: SocketAddr,
        stop: &CancellationToken,
    ) -> Result<(), Failed> {
        let client = Client::new(socket);
        let edge = Arc::new(Edge::new(&self.options, self.tls.is_some()));
        let stream = TokioIo::new(edge.heads(client.asked_on(stream)));
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.header_timeout)
            .max_headers(self.options.max_header_fields)
            // Heads were found to be small enough before; some room for what follows one.
            .max_buf_size(self.options.max_header_bytes.max(8192).saturating_add(8192))
            .half_close(true);
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, client, wire) = (Arc::clone(&self), client.clone(), wire.clone());
            let (edge, version) = (Arc::clone(&edge), request.version());
            let passage = Passage::new(server.log.as_ref(), peer, &request, &wire);
            async move {
                let response = client.attend(version, server.answer(&edge, request, peer)).await?;
                Ok::<_, Left>(Breaking::answer(passage.follow(response), version, &wire))
            }
        });
        let mut connection = pin!(builder.serve_connection(stream, service));
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        Ok(connection.await?)
    }

    async fn serve_http2(
        self: Arc<Self>,
        stream: Box<dyn Connection>,
        wire: Wire,
        peer: SocketAddr,
        stop: &CancellationToken,
    ) -> Result<(), Failed> {
        let edge = Arc::new(Edge::new(&self.options, self.tls.is_some()));
        let options = self.options;
        let wired = wire.clone();
        let answer = move |request: Request<RequestBody>| {
            let (server, edge, wire) = (Arc::clone(&self), Arc::clone(&edge), wire.clone());
            let passage = Passage::new(server.log.as_ref(), peer, &request, &wire);
            let version = request.version();
            async move {
                let response = server.answer(&edge, request, peer).await;
                (Breaking::answer(response, version, &wire), passage)
            }
        };
        http2::serve(stream, &options, stop, &wired, answer).await
    }

    /// Answers a request with the guest, if it may reach it.
    async fn answer<B>(&self, edge: &Edge, mut request: Request<B>, peer: SocketAddr) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Failed>,
    {
        let version = request.version();
        request.extensions_mut().insert(Peer(peer));
        let (request, asker) = Asker::of(request);
        match edge.admit(request) {
            Ok(request) => asker.answer(self.handler.handle(request).await),
            Err(refusal) => refusal.response(version),
        }
    }
}
