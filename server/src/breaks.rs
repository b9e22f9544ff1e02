//! How a message that its guest left unfinished breaks off on the wire, so that no client takes it for a whole one.
//!
//! A body's error has hyper close the connection, or reset the stream, at once: what it had buffered is lost, the head with
//! it, and a client that gets nothing at all may ask again. So the error waits until what came before it was written.
//! What ends with its connection (RFC 9112, section 6.3, rule 8: an answer to HTTP/1.0 of no announced length) looks
//! whole however it ends, unless the connection is reset. So its socket is set to reset while such a body is under way,
//! and to close once the body is whole: that holds for a server that is stopped as well.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Response, Version};
use http_body::{Body, Frame, SizeHint};
use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::access::Entry;
use crate::client::Socket;

/// What the bodies of a connection and its stream of bytes tell each other.
#[derive(Clone, Default)]
pub(crate) struct Wire(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The connection's task.
    connection: Option<Waker>,
    /// How often the connection has read, and how often it has flushed all that it had.
    reads: u64,
    flushes: u64,
    /// How many bytes were read and written.
    moved: u64,
    /// How often it had read when it flushed last.
    reads_flushed: u64,
    /// Bodies that wait for a flush.
    waiting: Vec<Waker>,
    /// Answers that are complete once what there was at that moment is written.
    ending: Vec<(Entry, Mark, bool)>,
    /// Whether the connection is to be reset when it is closed.
    resets: bool,
    /// Whether it is gone.
    closed: bool,
}

impl State {
    fn moment(&self) -> Mark {
        Mark { reads: self.reads, flushes: self.flushes }
    }

    /// This moment, before a flush that is to come.
    fn mark(&self) -> Mark {
        // In HTTP/2 the connection is a task of its own, which may have nothing else to do.
        if let Some(connection) = &self.connection {
            connection.wake_by_ref();
        }
        self.moment()
    }

    /// Whether everything was written that was there at `mark`.
    fn is_written(&self, mark: Mark, http2: bool) -> bool {
        // An HTTP/2 connection reads, collects what its streams have, and flushes that. A flush may belong to a round that
        // began before the mark, and collected too early.
        if http2 { self.reads_flushed > mark.reads } else { self.flushes > mark.flushes }
    }
}

impl Wire {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection reads.
    pub(crate) fn reads(&self, context: &Context<'_>) {
        let mut state = self.lock();
        state.reads += 1;
        if !state.connection.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.connection = Some(context.waker().clone());
        }
    }

    /// The connection has flushed all that it had.
    pub(crate) fn flushed(&self) {
        let mut state = self.lock();
        state.flushes += 1;
        state.reads_flushed = state.reads;
        let waiting = std::mem::take(&mut state.waiting);
        let ending = std::mem::take(&mut state.ending);
        let (written, ending) = ending.into_iter().partition(|(_, mark, http2)| state.is_written(*mark, *http2));
        state.ending = ending;
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        let written: Vec<(Entry, Mark, bool)> = written;
        written.into_iter().for_each(|(entry, ..)| entry.written());
    }

    /// An answer has gone to the connection, which has not written it yet.
    pub(crate) fn when_written(&self, entry: Entry, http2: bool) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return;
        }
        let mark = if http2 { state.mark() } else { state.moment() };
        state.ending.push((entry, mark, http2));
    }

    /// The connection is gone, and what it has not written is never written.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let (ending, waiting) = (std::mem::take(&mut state.ending), std::mem::take(&mut state.waiting));
        drop(state);
        drop(ending);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// How many bytes have moved, in either direction.
    pub(crate) fn moved(&self) -> u64 {
        self.lock().moved
    }

    fn moves(&self, bytes: usize) {
        self.lock().moved += bytes as u64;
    }

    /// Waits until the connection has written all that it has by now, or is gone.
    pub(crate) async fn written(&self, http2: bool) {
        let mark = self.mark();
        poll_fn(|context| self.poll_written(mark, http2, context)).await;
    }

    /// Whether the connection is to be reset when it is closed.
    pub(crate) fn resets(&self) -> bool {
        self.lock().resets
    }

    fn set_resets(&self, resets: bool) {
        self.lock().resets = resets;
    }

    /// What is there before a flush that is yet to come.
    fn mark(&self) -> Mark {
        self.lock().mark()
    }

    /// Ready once everything was written that was there at `mark`.
    fn poll_written(&self, mark: Mark, http2: bool, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.closed || state.is_written(mark, http2) {
            return Poll::Ready(());
        }
        state.waiting.push(context.waker().clone());
        Poll::Pending
    }
}

/// A connection's socket, whose bodies are told what was written.
pub(crate) struct Wired {
    stream: Socket,
    wire: Wire,
    resets: bool,
}

impl Wired {
    pub(crate) fn new(stream: Socket, wire: Wire) -> Self {
        Wired { stream, wire, resets: false }
    }

    /// Has closing it mean what it is to mean by now.
    fn settle(&mut self) -> io::Result<()> {
        let resets = self.wire.resets();
        if resets != self.resets {
            set_socket_linger(&self.stream, resets.then_some(Duration::ZERO))?;
            self.resets = resets;
        }
        Ok(())
    }
}

impl Drop for Wired {
    fn drop(&mut self) {
        self.wire.close();
    }
}

impl AsyncRead for Wired {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.wire.reads(context);
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        self.wire.moves(into.filled().len() - before);
        read
    }
}

impl AsyncWrite for Wired {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.settle()?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wire.moves(if let Poll::Ready(Ok(written)) = written { written } else { 0 });
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.settle()?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.wire.moves(if let Poll::Ready(Ok(written)) = written { written } else { 0 });
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.wire.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.settle()?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A moment in the life of a connection.
#[derive(Clone, Copy)]
struct Mark {
    reads: u64,
    flushes: u64,
}

/// A body whose error waits for what came before.
pub(crate) struct Breaking<B: Body> {
    body: B,
    wire: Wire,
    http2: bool,
    /// Whether the body ends with its connection.
    to_the_end: bool,
    /// What the body broke off with.
    broken: Option<(B::Error, Mark)>,
}

impl<B: Body> Breaking<B> {
    /// The answer to a request of this version.
    pub(crate) fn answer(mut response: Response<B>, version: Version, wire: &Wire) -> Response<Self> {
        let to_the_end = version < Version::HTTP_11 && response.body().size_hint().exact().is_none();
        if to_the_end {
            // Of another version, hyper would have it say that the connection is kept.
            *response.version_mut() = Version::HTTP_10;
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|body| {
            wire.set_resets(to_the_end);
            Breaking { body, wire: wire.clone(), http2: version == Version::HTTP_2, to_the_end, broken: None }
        })
    }

    fn is_whole(&self) {
        if self.to_the_end {
            self.wire.set_resets(false);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Breaking<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.broken.is_none() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Err(error))) => {
                    let mark = self.wire.mark();
                    self.broken = Some((error, mark));
                }
                polled => {
                    if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
                        self.is_whole();
                    }
                    return polled;
                }
            }
        }
        match self.broken.take() {
            Some((error, mark)) => match self.wire.poll_written(mark, self.http2, context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(error))),
                Poll::Pending => {
                    self.broken = Some((error, mark));
                    Poll::Pending
                }
            },
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.broken.is_none() && self.body.is_end_stream();
        if ended {
            self.is_whole();
        }
        ended
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
