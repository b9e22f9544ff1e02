//! The server of the demonstration: HTTP/1.1 on a port of the loopback address, which greets whoever posts a name.

use std::convert::Infallible;
use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

/// What every answer begins with.
pub(super) const GREETING: &str = "Hello, ";

/// The demonstration's own guest sends a few bytes.
const BODY_LIMIT: usize = 64 << 10;

/// Answers on wharf's I/O threads until it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    seen: Seen,
    accepting: AbortHandle,
}

/// The requests that arrived, as text.
type Seen = Arc<Mutex<Vec<String>>>;

impl Server {
    pub(super) fn start() -> anyhow::Result<Self> {
        let io = wharf::core::io();
        let _entered = io.enter();
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("the server cannot listen on 127.0.0.1")?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let seen = Seen::default();
        let accepting = io.spawn(accept(listener, seen.clone())).abort_handle();
        Ok(Server { address, seen, accepting })
    }

    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests since the last call, each as its head and its body.
    pub(super) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: tokio::net::TcpListener, seen: Seen) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("the server of the demonstration cannot accept a connection: {error}");
                return;
            }
        };
        let seen = seen.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &seen));
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!("a connection to the server of the demonstration failed: {error}");
            }
        });
    }
}

async fn answer(request: Request<Incoming>, seen: &Seen) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut text = format!("{} {} {:?}\n", head.method, head.uri, head.version);
    for (name, value) in &head.headers {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    let (status, answer) = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            let name = String::from_utf8_lossy(&body);
            let _ = write!(text, "\n{name}\n");
            // A request without a body has no name in it.
            let name = if name.is_empty() { "whoever you are".into() } else { name };
            (StatusCode::OK, format!("{GREETING}{name}!\n"))
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}\n")),
    };
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    let mut response = Response::new(Full::new(answer.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, "text/plain; charset=utf-8".parse().expect("a literal that is a value"));
    Ok(response)
}
