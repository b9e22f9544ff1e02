//! The client of an HTTP/1 connection: whether it still waits for its answer.
//!
//! A reset says that a client has gone. The end of what it sends does not: it may have closed its side only and wait for
//! its answer (RFC 9112, section 9.6), or have closed the connection, which looks the same until something is sent to it
//! and a system that knows the connection no more resets it. So
//!
//! - a client that closes its side before its response begins is sent `100 Continue` if the guest takes its time, which
//!   a client has to be able to ignore (RFC 9110, sections 15.2 and 15.2.1), and goes on being served unless that is
//!   answered with a reset. HTTP/1.0 knows no such response: there, only a reset says that the client has gone;
//! - a client that closes its side while a response in chunks pauses is sent a zero, with which the length of the next
//!   chunk then begins (RFC 9112, section 7.1: `1*HEXDIG`, and `1*("0")` for the last), and goes on being served likewise;
//! - where neither can be sent, in a response whose length was announced, a client that closes its side later than
//!   [`DOUBT`] after it began is taken to have gone, unless the response goes on at once. Over HTTP/1.0 it is not.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http::Version;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use wharf_core::http::{HttpError, HttpErrorKind};

/// How long a response may take to begin, or to go on, once the client has closed its side, before it is in doubt that
/// there still is a client.
const DOUBT: Duration = Duration::from_millis(40);

/// What may be sent to a client at any time, and means nothing to one that is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    /// An interim response, before the response.
    Interim,
    /// The first digit of a chunk's length, between two chunks.
    Zero,
}

impl Question {
    fn bytes(self) -> &'static [u8] {
        match self {
            Question::Interim => b"HTTP/1.1 100 Continue\r\n\r\n",
            Question::Zero => b"0",
        }
    }
}

/// What a client is to be asked next. Clones share it.
#[derive(Clone, Default)]
struct Ask(Arc<AtomicU8>);

impl Ask {
    fn put(&self, question: Option<Question>) {
        let number = match question {
            None => 0,
            Some(Question::Interim) => 1,
            Some(Question::Zero) => 2,
        };
        self.0.store(number, Ordering::Relaxed);
    }

    fn take(&self) -> Option<Question> {
        match self.0.swap(0, Ordering::Relaxed) {
            1 => Some(Question::Interim),
            2 => Some(Question::Zero),
            _ => None,
        }
    }
}

/// A connection, shared with whoever watches over it.
#[derive(Clone)]
pub(crate) struct Socket(Arc<TcpStream>);

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Socket(Arc::new(stream))
    }

    /// Waits until the other side has closed, if only its own side. Returns whether it is gone for certain.
    async fn closed(&self) -> bool {
        /// What is waited for; also where data are there that nobody has read.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const CLOSED: Interest = Interest::PRIORITY.add(Interest::ERROR);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        const CLOSED: Interest = Interest::READABLE.add(Interest::ERROR);
        loop {
            match self.0.ready(CLOSED).await {
                Ok(ready) if ready.is_error() => return true,
                Ok(ready) if ready.is_read_closed() => return false,
                // There is something to read, and this system does not tell what comes behind it.
                Ok(_) => tokio::time::sleep(DOUBT).await,
                // The runtime ends.
                Err(_) => return true,
            }
        }
    }

    /// Waits until the other side has reset the connection.
    async fn reset(&self) {
        // An error says that the runtime ends.
        let _ = self.0.ready(Interest::ERROR).await;
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            match self.0.try_read(into.initialize_unfilled()) {
                Ok(count) => {
                    into.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Socket {
    fn poll_try_write<T>(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match write(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_try_write(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_try_write(context, |stream| stream.try_write_vectored(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is buffered here.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(rustix::net::shutdown(&*self.0, rustix::net::Shutdown::Write).map_err(Into::into))
    }
}

/// The client of one connection.
#[derive(Clone)]
pub(crate) struct Client {
    socket: Socket,
    ask: Ask,
}

impl Client {
    pub(crate) fn new(socket: Socket) -> Self {
        Client { socket, ask: Ask::default() }
    }

    /// Has what the client is asked written to `inner`, the connection's stream.
    pub(crate) fn asked_on<S>(&self, inner: S) -> Asked<S> {
        Asked { inner, ask: self.ask.clone(), unwritten: Bytes::new() }
    }

    /// Waits for a response, unless the client leaves. Such a response ends early where the client leaves then.
    ///
    /// # Errors
    /// [`Left`].
    pub(crate) async fn attend<B: Body<Data = Bytes, Error = HttpError> + Unpin>(
        &self,
        version: Version,
        response: impl Future<Output = http::Response<B>>,
    ) -> Result<http::Response<Attended<B>>, Left> {
        let response = tokio::select! {
            biased;
            response = response => response,
            () = self.left(version >= Version::HTTP_11) => return Err(Left),
        };
        self.ask.put(None);
        // What begins now is refused if there is nobody any more.
        let closed = tokio::select! {
            biased;
            _ = self.socket.closed() => true,
            () = std::future::ready(()) => false,
        };
        let in_chunks = version >= Version::HTTP_11
            && !response.headers().contains_key(CONTENT_LENGTH)
            && response.body().size_hint().exact().is_none();
        let (socket, ask, frames) = (self.socket.clone(), self.ask.clone(), Arc::new(AtomicU64::new(0)));
        let (counted, begun) = (Arc::clone(&frames), Instant::now());
        let left = Box::pin(async move {
            if !closed && !socket.closed().await {
                let (before, late) = (counted.load(Ordering::Relaxed), begun.elapsed() > DOUBT);
                tokio::time::sleep(DOUBT).await;
                if counted.load(Ordering::Relaxed) == before {
                    if in_chunks {
                        ask.put(Some(Question::Zero));
                    } else if late && version >= Version::HTTP_11 {
                        return;
                    }
                }
            }
            socket.reset().await;
        });
        let ask = self.ask.clone();
        Ok(response.map(|body| Attended { attended: Some((body, left)), frames, ask }))
    }

    /// Waits until the client has left before its response has begun.
    async fn left(&self, may_ask: bool) {
        if self.socket.closed().await {
            return;
        }
        if may_ask {
            tokio::time::sleep(DOUBT).await;
            self.ask.put(Some(Question::Interim));
        }
        self.socket.reset().await;
    }
}

/// The client has left before its response began.
#[derive(Debug, thiserror::Error)]
#[error("the client left before it was answered")]
pub(crate) struct Left;

/// A connection on which a client is asked whether it is there, where all that hyper had to write was written: that is
/// between two messages, or two chunks.
pub(crate) struct Asked<S> {
    inner: S,
    ask: Ask,
    /// What is left to write of a question.
    unwritten: Bytes,
}

impl<S: AsyncWrite + Unpin> Asked<S> {
    fn poll_ask(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unwritten.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(context, &self.unwritten))?;
            self.unwritten.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Asked<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Asked<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_ask(context))?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ask(context))?;
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// hyper flushes whenever it has polled the service and has nothing to write: this is where the client is asked.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(question) = self.ask.take() {
            self.unwritten = Bytes::from_static(question.bytes());
        }
        ready!(self.poll_ask(context))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// A response's body that breaks off when the client leaves while the guest has nothing to send.
pub(crate) struct Attended<B> {
    /// The body, and what ends when the client has left; `None` once it has.
    attended: Option<(B, Leaving)>,
    /// How many frames were given on.
    frames: Arc<AtomicU64>,
    ask: Ask,
}

type Leaving = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<B: Body<Data = Bytes, Error = HttpError> + Unpin> Body for Attended<B> {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let Some((body, left)) = &mut self.attended else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            self.frames.fetch_add(1, Ordering::Relaxed);
            // What comes now asks as well; after the last chunk there must be nothing.
            self.ask.put(None);
            return Poll::Ready(frame);
        }
        ready!(left.as_mut().poll(context));
        // The guest goes now, whenever it is that whoever sends the body does.
        self.attended = None;
        let message = "the client left before its answer was complete";
        Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::ConnectionClosed, message))))
    }

    fn is_end_stream(&self) -> bool {
        self.attended.as_ref().is_some_and(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.attended.as_ref().map_or_else(SizeHint::default, |(body, _)| body.size_hint())
    }
}
