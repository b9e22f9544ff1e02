//! The ill-behaved origin: a script of bytes over bare TCP, or inside TLS.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{Gate, MAX_BODY, PATIENCE, Received, Seen, accept};

/// The most that a raw origin reads of a request's head.
const MAX_HEAD: usize = 1 << 20;

/// The most trailers that a raw origin reads of a request.
const MAX_TRAILERS: usize = 1000;

/// One thing that a raw origin does. A script that has ended closes the connection.
#[derive(Debug, Clone)]
pub enum Step {
    /// Reads a request's head, and its body by `content-length` or chunks, and records it.
    ReadRequest,
    /// Reads only the head and records it.
    ReadHead,
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes one by one, with a pause after each.
    Drip(Vec<u8>, Duration),
    /// Sends these bytes again and again, until the client is gone or [`PATIENCE`] is over.
    Flood(Vec<u8>),
    /// Does nothing for this long, [`PATIENCE`] at most.
    Wait(Duration),
    /// Waits until the gate is open.
    Gate(Gate),
    /// Closes with a reset instead of an end.
    Reset,
    /// Ends what the origin sends in good order, which over TLS includes to say so.
    Finish,
    /// Keeps the connection open and silent until the client is gone or [`PATIENCE`] is over.
    Hold,
}

impl Step {
    /// Sends this text.
    pub fn text(text: impl Into<String>) -> Self {
        Step::Send(text.into().into_bytes())
    }

    /// Reads a request, then sends a whole answer: a status line's `200 OK`, header lines, a body; its
    /// `content-length` is added.
    pub fn exchange(status: &str, headers: &[&str], body: &str) -> Vec<Step> {
        let mut text = format!("HTTP/1.1 {status}\r\n");
        for line in headers {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        vec![Step::ReadRequest, Step::Send(text.into_bytes())]
    }
}

type Script = Arc<dyn Fn(usize) -> Vec<Step> + Send + Sync>;

/// Serves until stopped.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    script: Script,
    seen: Arc<Seen>,
    stop: CancellationToken,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let log = seen.clone();
    accept(listener, seen, stop, move |stream, number| {
        let (acceptor, steps, seen) = (acceptor.clone(), script(number), log.clone());
        async move {
            let _best_effort = stream.set_nodelay(true);
            let stream: Box<dyn Stream> = match acceptor {
                None => Box::new(stream),
                Some(acceptor) => match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => Box::new(stream),
                    // The client's side tells of a handshake that fails.
                    _ => return,
                },
            };
            let mut peer = Peer { stream, number, read: Vec::new() };
            for step in steps {
                // A step that fails finds the client gone: the script is over.
                match tokio::time::timeout(PATIENCE, peer.play(step, &seen)).await {
                    Ok(Some(())) => {}
                    _ => break,
                }
            }
        }
    })
    .await;
}

/// What a script is played on.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// The connection underneath.
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

struct Peer {
    stream: Box<dyn Stream>,
    number: usize,
    /// Read from the client and not yet used.
    read: Vec<u8>,
}

impl Peer {
    async fn play(&mut self, step: Step, seen: &Seen) -> Option<()> {
        match step {
            Step::ReadHead => {
                let request = self.head().await?;
                seen.push(request);
            }
            Step::ReadRequest => {
                let mut request = self.head().await?;
                (request.body, request.trailers) = self.body(&request).await?;
                seen.push(request);
            }
            Step::Send(bytes) => self.send(&bytes).await?,
            Step::Drip(bytes, pause) => {
                for byte in bytes {
                    self.send(&[byte]).await?;
                    tokio::time::sleep(pause).await;
                }
            }
            Step::Flood(bytes) => loop {
                self.send(&bytes).await?;
            },
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::Gate(gate) => gate.pass().await,
            Step::Reset => {
                // A lingering time of zero makes the close a reset.
                self.stream.tcp().set_zero_linger().ok()?;
                return None;
            }
            Step::Finish => self.stream.shutdown().await.ok()?,
            Step::Hold => loop {
                let mut ignored = [0; 4096];
                if self.stream.read(&mut ignored).await.ok()? == 0 {
                    return None;
                }
            },
        }
        Some(())
    }

    /// Sends; a TLS stream keeps bytes until it is flushed.
    async fn send(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.write_all(bytes).await.ok()?;
        self.stream.flush().await.ok()
    }

    /// Reads more; `None` at the end of the stream.
    async fn fill(&mut self) -> Option<()> {
        let mut chunk = [0; 16 << 10];
        let count = self.stream.read(&mut chunk).await.ok()?;
        self.read.extend_from_slice(&chunk[..count]);
        (count > 0).then_some(())
    }

    async fn head(&mut self) -> Option<Received> {
        let end = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at + 4;
            }
            if self.read.len() > MAX_HEAD {
                return None;
            }
            self.fill().await?;
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = String::from_utf8_lossy(lines.next()?).into_owned();
        let mut words = first.splitn(3, ' ').map(str::to_owned);
        let mut request = Received {
            connection: self.number,
            method: words.next().unwrap_or_default(),
            target: words.next().unwrap_or_default(),
            version: words.next().unwrap_or_default(),
            ..Received::default()
        };
        request.headers = lines.filter(|line| !line.is_empty()).map(field).collect();
        request.authority = request.header("host").unwrap_or_default().to_owned();
        request.head = head;
        Some(request)
    }

    async fn body(&mut self, request: &Received) -> Option<(Vec<u8>, Vec<(String, Vec<u8>)>)> {
        if request.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            let mut body = Vec::new();
            loop {
                let line = self.line().await?;
                let size = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?;
                if body.len().checked_add(size)? > MAX_BODY {
                    return None;
                }
                if size == 0 {
                    let mut trailers = Vec::new();
                    loop {
                        match self.line().await? {
                            line if line.is_empty() => return Some((body, trailers)),
                            line if trailers.len() < MAX_TRAILERS => trailers.push(field(&line)),
                            _ => return None,
                        }
                    }
                }
                body.extend(self.take(size).await?);
                self.line().await?;
            }
        }
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if length > MAX_BODY { None } else { Some((self.take(length).await?, Vec::new())) }
    }

    async fn line(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            if let Some(at) = find(&self.read, b"\r\n") {
                break at;
            }
            if self.read.len() > MAX_HEAD {
                return None;
            }
            self.fill().await?;
        };
        let line = self.read.drain(..end).collect();
        self.read.drain(..2);
        Some(line)
    }

    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            self.fill().await?;
        }
        Some(self.read.drain(..count).collect())
    }
}

/// The name and the value of a header line.
fn field(line: &[u8]) -> (String, Vec<u8>) {
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    let (name, value) = line.split_at(colon);
    let value = value.strip_prefix(b":").unwrap_or(value);
    let value = value.strip_prefix(b" ").unwrap_or(value);
    (String::from_utf8_lossy(name).into_owned(), value.to_vec())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
