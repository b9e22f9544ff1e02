//! The well-behaved origin: hyper, plain or over TLS, answering what the case says.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Gate, MAX_BODY, PATIENCE, Received, Seen, accept};

/// What an origin answers.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Body,
    delay: Duration,
    gate: Option<Gate>,
}

/// The body of a [`Reply`].
#[derive(Debug, Clone)]
pub enum Body {
    /// These bytes, with their `content-length`.
    Full(Bytes),
    /// This many bytes, all `x`, made as they are sent, with their `content-length`.
    Filler(u64),
    /// Pieces of unknown total length, each sent when the pause before it is over.
    Pieces(Vec<(Duration, Bytes)>),
    /// A first piece at once, the rest once the gate is open.
    Gated(Bytes, Gate, Bytes),
    /// A first piece, then the connection breaks.
    Broken(Bytes),
    /// Bytes without end.
    Endless,
}

impl Reply {
    /// An answer with this status and no body.
    pub fn status(status: u16) -> Self {
        Reply { status, headers: Vec::new(), body: Body::Full(Bytes::new()), delay: Duration::ZERO, gate: None }
    }

    /// 200 with this body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Reply::status(200).body(Body::Full(body.into()))
    }

    /// A redirect with this status to `location`.
    pub fn redirect(status: u16, location: impl AsRef<str>) -> Self {
        Reply::status(status).header("location", location.as_ref())
    }

    /// Adds a header; the value may be any bytes that HTTP allows in a value.
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Waits this long before the head is sent.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sends the head only once the gate is open.
    pub fn once(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }
}

type Answer = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

/// Serves until stopped.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    answer: Answer,
    seen: Arc<Seen>,
    stop: CancellationToken,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let log = seen.clone();
    accept(listener, seen, stop, move |stream, number| {
        let (acceptor, answer, seen) = (acceptor.clone(), answer.clone(), log.clone());
        async move {
            let _best_effort = stream.set_nodelay(true);
            match acceptor {
                None => connection(stream, number, answer, seen).await,
                Some(acceptor) => {
                    // A handshake that fails is what some cases are about; the client's side tells of it.
                    if let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
                        connection(stream, number, answer, seen).await;
                    }
                }
            }
        }
    })
    .await;
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    number: usize,
    answer: Answer,
    seen: Arc<Seen>,
) {
    let service = service_fn(move |request| respond(request, number, answer.clone(), seen.clone()));
    // How a connection ends is the client's affair; the case looks at what was received.
    let _ended = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(
    request: Request<Incoming>,
    connection: usize,
    answer: Answer,
    seen: Arc<Seen>,
) -> Result<Response<ScriptedBody>, Infallible> {
    let (head, body) = request.into_parts();
    let body = tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await;
    let Ok(Ok(body)) = body else { return Ok(text(400, "the request's body did not arrive")) };
    let lines = |headers: &HeaderMap| -> Vec<(String, Vec<u8>)> {
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
    };
    let (headers, trailers) = (lines(&head.headers), body.trailers().map(lines).unwrap_or_default());
    let body = body.to_bytes().to_vec();
    let host = head.headers.get("host").and_then(|value| value.to_str().ok());
    let received = Received {
        connection,
        method: head.method.to_string(),
        target: head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string),
        authority: head.uri.authority().map(|authority| authority.as_str()).or(host).unwrap_or_default().to_owned(),
        version: format!("{:?}", head.version),
        headers,
        head: Vec::new(),
        body,
        trailers,
    };
    let reply = answer(&received);
    seen.push(received);
    tokio::time::sleep(reply.delay).await;
    if let Some(gate) = &reply.gate {
        gate.pass().await;
    }
    let mut response = Response::new(ScriptedBody::start(reply.body));
    match hyper::StatusCode::from_u16(reply.status) {
        Ok(status) => *response.status_mut() = status,
        Err(error) => return Ok(text(500, &format!("the case's reply has a bad status: {error}"))),
    }
    for (name, value) in reply.headers {
        match (HeaderName::try_from(&name), HeaderValue::from_bytes(&value)) {
            (Ok(name), Ok(value)) => response.headers_mut().append(name, value),
            _ => return Ok(text(500, &format!("the case's reply has a bad header {name:?}"))),
        };
    }
    Ok(response)
}

fn text(status: u16, text: &str) -> Response<ScriptedBody> {
    let mut response = Response::new(ScriptedBody::start(Body::Full(Bytes::copy_from_slice(text.as_bytes()))));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response
}

/// A body that a task feeds, one piece at a time.
struct ScriptedBody {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: Option<u64>,
}

impl ScriptedBody {
    fn start(body: Body) -> Self {
        let left = match &body {
            Body::Full(bytes) => Some(bytes.len() as u64),
            Body::Filler(count) => Some(*count),
            _ => None,
        };
        let (send, pieces) = mpsc::channel(1);
        // Ends by itself when the receiver is dropped: `play` stops at the first piece that cannot be sent.
        tokio::spawn(play(body, send));
        ScriptedBody { pieces, left }
    }
}

/// Feeds the pieces of `body`; `None` once nobody takes them.
async fn play(body: Body, send: mpsc::Sender<io::Result<Bytes>>) -> Option<()> {
    match body {
        Body::Full(bytes) => send.send(Ok(bytes)).await.ok(),
        Body::Filler(mut left) => {
            let filler = Bytes::from_static(&[b'x'; 16 << 10]);
            while left > 0 {
                let size = filler.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                send.send(Ok(filler.slice(..size))).await.ok()?;
                left -= size as u64;
            }
            Some(())
        }
        Body::Pieces(pieces) => {
            for (pause, piece) in pieces {
                tokio::time::sleep(pause.min(PATIENCE)).await;
                send.send(Ok(piece)).await.ok()?;
            }
            Some(())
        }
        Body::Gated(first, gate, rest) => {
            send.send(Ok(first)).await.ok()?;
            gate.pass().await;
            send.send(Ok(rest)).await.ok()
        }
        Body::Broken(first) => {
            send.send(Ok(first)).await.ok()?;
            // Time for the first piece to leave, so that it is the body that breaks and not the head.
            tokio::time::sleep(Duration::from_millis(50)).await;
            send.send(Err(io::Error::other("the case breaks the connection here"))).await.ok()
        }
        Body::Endless => loop {
            send.send(Ok(Bytes::from_static(&[b'x'; 16 << 10]))).await.ok()?;
        },
    }
}

impl http_body::Body for ScriptedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.left == Some(0) {
            return Poll::Ready(None);
        }
        self.pieces.poll_recv(context).map(|piece| {
            piece.map(|piece| {
                piece.map(|bytes| {
                    if let Some(left) = &mut self.left {
                        *left = left.saturating_sub(bytes.len() as u64);
                    }
                    Frame::data(bytes)
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
