//! Origins that do as the case says: well-behaved ones on hyper, ill-behaved ones as a script over bare TCP.
//!
//! Each is bound to a free port of the loopback interface, keeps what it received, and is gone when dropped. They run
//! on a runtime of the suite's own, so that an origin that hangs never holds up the I/O threads of what is tested.
//! Nothing here waits without a bound.

mod http;
mod raw;
mod tls;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::case::{CaseResult, Unmet};

pub use http::{Body, Reply};
pub use raw::Step;
pub use tls::{Certificate, TestCa};

/// The longest that any step of an origin lasts.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The most that an origin reads of a request's body.
const MAX_BODY: usize = 64 << 20;

/// A request as the origin received it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// Which of the origin's connections it came over, counted from 0.
    pub connection: usize,
    /// The method.
    pub method: String,
    /// The request target, as in the request line (on HTTP/2, path and query).
    pub target: String,
    /// The authority asked for: the `host` header, or `:authority`.
    pub authority: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// The headers in order; their names as sent if the origin is [raw](Origin::raw), else in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The head's bytes up to and with the empty line, if the origin is [raw](Origin::raw).
    pub head: Vec<u8>,
    /// The body, decoded.
    pub body: Vec<u8>,
    /// The trailers in order, named as the headers are.
    pub trailers: Vec<(String, Vec<u8>)>,
}

impl Received {
    /// All values of the header `name`, in order.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.headers
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
            .collect()
    }

    /// The first value of the header `name`, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// Holds an origin back until the case opens it.
#[derive(Debug, Clone, Default)]
pub struct Gate(CancellationToken);

impl Gate {
    /// A shut gate.
    pub fn new() -> Self {
        Gate::default()
    }

    /// Opens it, for good.
    pub fn open(&self) {
        self.0.cancel();
    }

    /// Waits until it is open, at most for [`PATIENCE`].
    async fn pass(&self) {
        let _too_long = tokio::time::timeout(PATIENCE, self.0.cancelled()).await;
    }
}

/// What an origin has seen so far.
#[derive(Debug, Default)]
struct Seen {
    requests: Mutex<Vec<Received>>,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

impl Seen {
    fn push(&self, request: Received) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }
}

/// Counts a connection as open for as long as it lives.
struct Open(Arc<Seen>);

impl Open {
    fn new(seen: &Arc<Seen>) -> (Self, usize) {
        seen.open.fetch_add(1, Ordering::SeqCst);
        (Open(seen.clone()), seen.accepted.fetch_add(1, Ordering::SeqCst))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A server on the loopback interface, for one case.
pub struct Origin {
    scheme: &'static str,
    host: String,
    address: SocketAddr,
    seen: Arc<Seen>,
    /// Kept so that nothing else gets the port, or that its queue stays full.
    _held: Vec<Held>,
    _stop: DropGuard,
}

/// A socket that is only kept, never served.
#[expect(dead_code, reason = "what matters is that it is not closed")]
enum Held {
    Bound(TcpSocket),
    Listening(TcpListener),
    Queued(TcpStream),
}

impl Origin {
    /// Answers each request with what `answer` says, over HTTP/1.1, or HTTP/2 if the client starts with it.
    ///
    /// # Errors
    /// [`Unmet::Harness`] if no port is available.
    pub fn http(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> CaseResult<Origin> {
        Self::http_at(Ipv4Addr::LOCALHOST.into(), answer)
    }

    /// As [`http`](Self::http), at another address of this machine, for example `::1`.
    ///
    /// # Errors
    /// [`Unmet::Skipped`] if this machine does not have the address; [`Unmet::Harness`] if no port is available.
    pub fn http_at(ip: IpAddr, answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> CaseResult<Origin> {
        let socket = bind(ip)?;
        Self::listen("http", socket, move |listener, seen, stop| {
            http::serve(listener, None, Arc::new(answer), seen, stop)
        })
    }

    /// Answers every request with `reply`.
    ///
    /// # Errors
    /// As for [`http`](Self::http).
    pub fn replying(reply: Reply) -> CaseResult<Origin> {
        Self::http(move |_| reply.clone())
    }

    /// As [`http`](Self::http), over TLS, with a certificate for `localhost` and 127.0.0.1 that `ca` made as
    /// `certificate` says. `protocols` is what it offers through ALPN, for example `["h2", "http/1.1"]`.
    ///
    /// # Errors
    /// [`Unmet::Harness`] if no port or no certificate is available.
    pub fn https(
        ca: &TestCa,
        certificate: Certificate,
        protocols: &[&str],
        answer: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> CaseResult<Origin> {
        let config = ca.server(certificate, protocols)?;
        let origin = Self::listen("https", bind(Ipv4Addr::LOCALHOST.into())?, move |listener, seen, stop| {
            http::serve(listener, Some(config), Arc::new(answer), seen, stop)
        })?;
        Ok(origin.named("localhost"))
    }

    /// Plays the same script on every connection, byte for byte.
    ///
    /// # Errors
    /// [`Unmet::Harness`] if no port is available.
    pub fn raw(script: impl Into<Vec<Step>>) -> CaseResult<Origin> {
        let script = script.into();
        Self::raw_each(move |_| script.clone())
    }

    /// Plays on each connection the script that `script` gives for its number, counted from 0.
    ///
    /// # Errors
    /// [`Unmet::Harness`] if no port is available.
    pub fn raw_each(script: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static) -> CaseResult<Origin> {
        Self::listen("http", bind(Ipv4Addr::LOCALHOST.into())?, move |listener, seen, stop| {
            raw::serve(listener, None, Arc::new(script), seen, stop)
        })
    }

    /// As [`raw`](Self::raw), over TLS, with a good certificate that `ca` made. A script that ends without
    /// [`Step::Finish`] closes the connection as an attacker would who cuts it: TLS is not told of the end.
    ///
    /// # Errors
    /// As for [`https`](Self::https).
    pub fn raw_tls(ca: &TestCa, script: impl Into<Vec<Step>>) -> CaseResult<Origin> {
        let config = ca.server(Certificate::Good, &["http/1.1"])?;
        let script = script.into();
        let origin = Self::listen("https", bind(Ipv4Addr::LOCALHOST.into())?, move |listener, seen, stop| {
            raw::serve(listener, Some(config), Arc::new(move |_| script.clone()), seen, stop)
        })?;
        Ok(origin.named("localhost"))
    }

    /// An address where connections are refused.
    ///
    /// # Errors
    /// [`Unmet::Harness`] if no port is available.
    pub fn refusing() -> CaseResult<Origin> {
        let socket = bind(Ipv4Addr::LOCALHOST.into())?;
        let address = socket.local_addr().map_err(Unmet::harness)?;
        Ok(Self::at(address, vec![Held::Bound(socket)]))
    }

    /// An address where connecting never ends: its queue of connections is full.
    ///
    /// # Errors
    /// [`Unmet::Harness`] if no port is available; [`Unmet::Skipped`] where the system's queues work otherwise.
    pub fn unconnectable() -> CaseResult<Origin> {
        let socket = bind(Ipv4Addr::LOCALHOST.into())?;
        let address = socket.local_addr().map_err(Unmet::harness)?;
        let _runtime = handle().enter();
        let mut held = vec![Held::Listening(socket.listen(1).map_err(Unmet::harness)?)];
        for _ in 0..16 {
            let attempt = async { tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await };
            match handle().block_on(attempt) {
                Ok(Ok(stream)) => held.push(Held::Queued(stream)),
                Ok(Err(error)) => return Err(Unmet::harness(error)),
                Err(_too_long) => return Ok(Self::at(address, held)),
            }
        }
        Err(Unmet::Skipped("this system accepts connections that nobody takes".to_owned()))
    }

    /// `scheme://host:port` followed by `path`, which starts with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base())
    }

    /// `scheme://host:port`, as an allow-list has it.
    pub fn base(&self) -> String {
        format!("{}://{}", self.scheme, self.authority())
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port())
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests received so far, in order.
    pub fn requests(&self) -> Vec<Received> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The one request received.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if there was none, or more than one.
    pub fn request(&self) -> CaseResult<Received> {
        let mut requests = self.requests();
        match (requests.pop(), requests.len()) {
            (Some(request), 0) => Ok(request),
            (request, before) => Err(Unmet::Failed(format!(
                "the origin received {} requests, where there should be one",
                before + usize::from(request.is_some())
            ))),
        }
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.seen.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Waits until `condition` holds, at most for five seconds; false if it never did.
    pub fn wait_until(&self, condition: impl Fn(&Origin) -> bool) -> bool {
        let end = Instant::now() + Duration::from_secs(5);
        while !condition(self) {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    fn at(address: SocketAddr, held: Vec<Held>) -> Origin {
        Origin {
            scheme: "http",
            host: host(address.ip()),
            address,
            seen: Arc::default(),
            _held: held,
            _stop: CancellationToken::new().drop_guard(),
        }
    }

    fn named(mut self, host: &str) -> Origin {
        host.clone_into(&mut self.host);
        self
    }

    fn listen<F, Serving>(scheme: &'static str, socket: TcpSocket, serve: F) -> CaseResult<Origin>
    where
        F: FnOnce(TcpListener, Arc<Seen>, CancellationToken) -> Serving,
        Serving: Future<Output = ()> + Send + 'static,
    {
        let _runtime = handle().enter();
        let listener = socket.listen(128).map_err(Unmet::harness)?;
        let address = listener.local_addr().map_err(Unmet::harness)?;
        let seen = Arc::new(Seen::default());
        let stop = CancellationToken::new();
        handle().spawn(serve(listener, seen.clone(), stop.clone()));
        Ok(Origin { scheme, host: host(address.ip()), address, seen, _held: Vec::new(), _stop: stop.drop_guard() })
    }
}

/// An address as the host of a URL.
fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// A socket bound to a free port of this address.
fn bind(ip: IpAddr) -> CaseResult<TcpSocket> {
    let _runtime = handle().enter();
    let socket = if ip.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = match socket {
        Err(error) if ip.is_ipv6() => return Err(Unmet::Skipped(format!("this machine has no IPv6: {error}"))),
        socket => socket.map_err(Unmet::harness)?,
    };
    match socket.bind((ip, 0).into()) {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            Err(Unmet::Skipped(format!("this machine does not have the address {ip}")))
        }
        bound => bound.map(|()| socket).map_err(Unmet::harness),
    }
}

/// The runtime that origins run on.
fn handle() -> &'static Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("conformance-origin")
                .enable_all()
                .build()
                .expect("the process can start threads")
        })
        .handle()
}

/// Accepts until stopped, and runs `connection` for each; all end with the origin.
async fn accept<F, Serving>(listener: TcpListener, seen: Arc<Seen>, stop: CancellationToken, connection: F)
where
    F: Fn(TcpStream, usize) -> Serving,
    Serving: Future<Output = ()> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, say: others may close some.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (open, number) = Open::new(&seen);
        let serving = connection(stream, number);
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = serving => {}
                () = stop.cancelled() => {}
            }
            drop(open);
        });
    }
}
