//! HTTP/2: a connection and its streams.
//!
//! On h2 itself. hyper's server on it has no way to send `100 Continue` (RFC 9110, section 10.1.1), takes a request
//! body that was reset without an error for a whole one, and does not tell how long a stream waits for its client.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::answer::waits;
use crate::breaks::Wire;
use crate::options::ServerOptions;
use crate::passage::Passage;

/// How much of a request body a client may send before the guest takes it, in bytes, and how much of all bodies of a
/// connection: a guest that does not read holds up no other.
const WINDOW: u32 = 256 << 10;
const WINDOWS: u32 = 4 << 20;

/// How much of a response waits in memory for its connection to take it, in bytes.
const MAX_UNSENT: usize = 64 << 10;

/// How much of a response is handed over at once, in bytes: as much as a frame that every client accepts holds (RFC
/// 9113, section 4.2).
const PIECE: usize = 16 << 10;

/// How long a client that was told that the connection ends may take to open a last stream, once it has been sent all.
const LAST: Duration = Duration::from_secs(1);

/// How long a client may take to answer a ping.
const PONG: Duration = Duration::from_secs(20);

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Serves one stream after another with `answer`, until the client closes the connection, has had no stream for too
/// long, or the server is to stop. What is dropped of `answer` is what its client does not wait for any more.
pub(crate) async fn serve<S, F, B>(
    stream: S,
    options: &ServerOptions,
    stop: &CancellationToken,
    wire: &Wire,
    answer: impl Fn(Request<RequestBody>) -> F,
) -> Result<(), Failed>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = (Response<B>, Passage)> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    let mut builder = Builder::new();
    builder
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOWS)
        .max_send_buffer_size(MAX_UNSENT)
        .max_header_list_size(u32::try_from(options.max_header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(options.max_streams);
    let mut connection = timeout(options.header_timeout, builder.handshake(stream)).await??;
    let mut silent = pin!(silent(connection.ping_pong(), options.header_timeout, wire));
    let streams = Streams(watch::Sender::new(0));
    let mut idle = pin!(streams.idle(options.idle_timeout));
    let mut ending = false;
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(accepted) = accepted else { return Ok(()) };
                let (request, respond) = accepted?;
                let open = Arc::new(streams.open());
                let (request, wanted) = RequestBody::of(request, Arc::clone(&open));
                let (answer, patience) = (answer(request), options.stall_timeout);
                tokio::spawn(async move {
                    if let Err(error) = respond_with(answer, respond, wanted, patience).await {
                        tracing::debug!("a stream of HTTP/2 failed: {error}");
                    }
                    drop(open);
                });
                continue;
            }
            () = silent.as_mut() => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            () = stop.cancelled(), if !ending => {}
            () = idle.as_mut() => if ending { return Ok(()) }
        }
        // The client is told (RFC 9113, section 6.8). Streams that it has opened meanwhile are served, and so it has time
        // to take what it was sent.
        ending = true;
        connection.graceful_shutdown();
        idle.set(streams.idle(LAST));
    }
}

/// Waits until the client has not answered a ping, and nothing has moved on the connection meanwhile: a client that reads
/// slowly finds the ping behind all that was sent before.
async fn silent(pings: Option<PingPong>, interval: Duration, wire: &Wire) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        sleep(interval).await;
        let mut answered = pin!(pings.ping(Ping::opaque()));
        loop {
            let moved = wire.moved();
            match timeout(PONG, answered.as_mut()).await {
                Ok(Ok(_)) => break,
                Err(_) if wire.moved() != moved => {}
                _ => return,
            }
        }
    }
}

/// How many streams of a connection are open.
struct Streams(watch::Sender<usize>);

impl Streams {
    /// Counts one more, for as long as what comes back lives.
    fn open(&self) -> Open {
        self.0.send_modify(|open| *open += 1);
        Open(self.0.clone())
    }

    /// Waits until no stream has been open for so long.
    fn idle(&self, limit: Duration) -> impl Future<Output = ()> + use<> {
        let open = self.0.clone();
        async move {
            let mut open = open.subscribe();
            loop {
                // The sender is here: neither of these fails.
                if *open.borrow_and_update() > 0 {
                    _ = open.changed().await;
                } else if timeout(limit, open.changed()).await.is_err() {
                    return;
                }
            }
        }
    }
}

struct Open(watch::Sender<usize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// Answers one stream, unless its client resets it first.
async fn respond_with<B: Body<Data = Bytes> + Unpin>(
    answer: impl Future<Output = (Response<B>, Passage)>,
    mut respond: SendResponse<Bytes>,
    mut wanted: oneshot::Receiver<()>,
    patience: Duration,
) -> Result<(), h2::Error> {
    let mut answer = pin!(answer);
    let mut told = false;
    let (response, mut passage) = loop {
        tokio::select! {
            biased;
            answered = answer.as_mut() => break answered,
            reset = poll_fn(|context| respond.poll_reset(context)) => return reset.map(drop),
            Ok(()) = &mut wanted, if !told => {
                told = true;
                let mut interim = Response::new(());
                *interim.status_mut() = StatusCode::CONTINUE;
                respond.send_informational(interim)?;
            }
        }
    };
    let (head, body) = response.into_parts();
    let mut head = Response::from_parts(head, ());
    let (ended, length) = (body.is_end_stream(), body.size_hint().exact());
    complete(head.headers_mut(), length.filter(|_| !ended));
    let status = head.status();
    let stream = respond.send_response(head, ended)?;
    passage.answered(status);
    if ended {
        passage.ended();
    } else {
        send(body, stream, patience, &mut passage).await?;
    }
    // Until then it is open: what is on its way to a client is not cut off. A client that takes nothing ends itself.
    _ = timeout(patience, passage.written()).await;
    Ok(())
}

/// Adds what a response says by itself, and takes out what HTTP/2 has no place for (RFC 9113, section 8.2.2).
fn complete(fields: &mut HeaderMap, length: Option<u64>) {
    for name in [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        fields.remove(name);
    }
    for name in ["keep-alive", "proxy-connection"] {
        fields.remove(name);
    }
    if !fields.contains_key(DATE)
        && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
    {
        fields.insert(DATE, date);
    }
    if let Some(length) = length {
        fields.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
}

/// Sends a body as its client takes it. One that breaks off, or that the client takes nothing of for too long, is
/// reset.
async fn send<B: Body<Data = Bytes> + Unpin>(
    mut body: B,
    mut stream: SendStream<Bytes>,
    patience: Duration,
    passage: &mut Passage,
) -> Result<(), h2::Error> {
    loop {
        let frame = tokio::select! {
            biased;
            reset = poll_fn(|context| stream.poll_reset(context)) => return reset.map(drop),
            frame = body.frame() => frame,
        };
        let mut data = match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => data,
            Some(Ok(Err(other))) => match other.into_trailers() {
                Ok(trailers) => {
                    stream.send_trailers(trailers)?;
                    passage.ended();
                    return Ok(());
                }
                Err(_unknown) => continue,
            },
            Some(Err(_broken_off)) => {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            None => {
                stream.send_data(Bytes::new(), true)?;
                passage.ended();
                return Ok(());
            }
        };
        let last = body.is_end_stream();
        while !data.is_empty() {
            let Ok(taken) = timeout(patience, capacity(&mut stream, data.len().min(PIECE))).await else {
                tracing::debug!("a client read nothing of a response for {patience:?}");
                stream.send_reset(Reason::CANCEL);
                return Ok(());
            };
            let Some(taken) = taken.transpose()? else { return Ok(()) };
            let piece = data.split_to(taken.min(data.len()));
            let length = piece.len();
            stream.send_data(piece, last && data.is_empty())?;
            passage.passed(length);
        }
        if last {
            passage.ended();
            return Ok(());
        }
    }
}

/// Waits until the client takes some of so many bytes: how many. `None` if the stream is closed.
async fn capacity(stream: &mut SendStream<Bytes>, bytes: usize) -> Option<Result<usize, h2::Error>> {
    stream.reserve_capacity(bytes);
    poll_fn(|context| {
        loop {
            if stream.capacity() > 0 {
                return Poll::Ready(Some(Ok(stream.capacity())));
            }
            match ready!(stream.poll_capacity(context)) {
                Some(Ok(_)) => {}
                closed => return Poll::Ready(closed),
            }
        }
    })
    .await
}

/// The body of a request. It ends well only if its client ended the stream.
pub(crate) struct RequestBody {
    stream: RecvStream,
    /// Whether all data was given on.
    data_ended: bool,
    /// The length that it announces.
    length: Option<u64>,
    /// Tells that the guest waits for it, where the client waits for that before it sends it.
    wanted: Option<oneshot::Sender<()>>,
    /// The stream is open for as long as its body is read.
    _open: Arc<Open>,
}

impl RequestBody {
    /// Takes the body from a request; the receiver is told once the client should be asked for it.
    fn of(request: Request<RecvStream>, open: Arc<Open>) -> (Request<Self>, oneshot::Receiver<()>) {
        let fields = request.headers();
        // h2 has checked it.
        let length = fields.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let (wanted, told) = oneshot::channel();
        let wanted = waits(fields).then_some(wanted);
        (request.map(|stream| RequestBody { stream, data_ended: false, length, wanted, _open: open }), told)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = &mut *self;
        if !this.data_ended {
            let data = this.stream.poll_data(context);
            if data.is_pending()
                && let Some(wanted) = this.wanted.take()
            {
                // The stream may be over.
                _ = wanted.send(());
            }
            match ready!(data) {
                Some(data) => {
                    let data = data?;
                    this.length = this.length.map(|length| length.saturating_sub(data.len() as u64));
                    this.stream.flow_control().release_capacity(data.len())?;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                None => this.data_ended = true,
            }
        }
        let trailers = ready!(this.stream.poll_trailers(context))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http_body_util::Empty;
    use tokio::sync::mpsc;

    use super::*;

    /// A body is whole if its client ended the stream, and not if it was reset, without an error or with one.
    #[tokio::test]
    async fn a_request_body_that_was_reset_is_not_whole() {
        for reason in [None, Some(Reason::NO_ERROR), Some(Reason::CANCEL)] {
            let (client, server) = tokio::io::duplex(1 << 16);
            let (seen, mut ended) = mpsc::channel(1);
            let seen = Arc::new(Mutex::new(Some(seen)));
            tokio::spawn(async move {
                let answer = move |request: Request<RequestBody>| {
                    let seen = seen.lock().unwrap().take();
                    // Not with the answer, which a reset ends.
                    tokio::spawn(async move {
                        let whole = request.into_body().collect().await.is_ok();
                        seen.unwrap().send(whole).await.unwrap();
                    });
                    std::future::pending::<(Response<Empty<Bytes>>, Passage)>()
                };
                serve(server, &ServerOptions::default(), &CancellationToken::new(), &Wire::default(), answer).await
            });
            let (mut sender, connection) = h2::client::handshake(client).await.unwrap();
            tokio::spawn(connection);
            let request = Request::post("http://a/").body(()).unwrap();
            let (_answer, mut stream) = sender.send_request(request, false).unwrap();
            stream.send_data(Bytes::from_static(b"part"), reason.is_none()).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            if let Some(reason) = reason {
                stream.send_reset(reason);
            }
            let whole = timeout(PONG, ended.recv()).await.unwrap().unwrap();
            assert_eq!(whole, reason.is_none(), "{reason:?}");
        }
    }
}
