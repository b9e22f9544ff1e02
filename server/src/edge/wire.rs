//! A connection of HTTP/1, read so that each head is checked before hyper sees it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::io::poll_read_buf;

use super::chunked::{Chunked, Seen};
use super::ends::Ends;
use super::head::{self, Framing, Limits};
use super::refusal::Refusal;

/// How much is read at a time where it is looked at.
const PIECE: usize = 8 << 10;

/// How much, and for how long, is still read of a client that was refused, or whose body nobody has read, so that it gets
/// the answer before the connection is reset (RFC 9112, section 9.6).
const LINGER: (u64, Duration) = (1 << 20, Duration::from_secs(2));

/// The refusal that ends a connection, and the number of the request, counted from 0, that it is for.
pub(super) type Refused = Arc<OnceLock<(u64, Refusal)>>;

/// Passes on what a client sends, whole heads at a time. In place of one that is refused comes a request with nothing
/// but a method, and nothing after it.
pub(crate) struct Heads<S> {
    inner: S,
    limits: Limits,
    refused: Refused,
    state: State,
    /// Told where bodies end.
    ends: Ends,
    /// What was found in the chunked body that is being passed on.
    found: Seen,
    /// How many heads were passed on.
    passed: u64,
    /// What was read and not looked at, but for the first `seen` bytes of a head.
    held: BytesMut,
    seen: usize,
    /// What is to be passed on.
    ready: BytesMut,
    /// Runs while what a refused client sends is taken after the answer.
    linger: Option<(u64, Pin<Box<Sleep>>)>,
}

/// What comes next.
enum State {
    Head,
    Body(u64),
    Chunked(Chunked),
    /// The framing of a body was not valid.
    Broken,
    /// Nothing: a head was refused, or the client has ended.
    Ended,
}

impl<S> Heads<S> {
    pub(super) fn new(inner: S, limits: Limits, refused: Refused, ends: Ends) -> Self {
        let (held, ready) = (BytesMut::new(), BytesMut::new());
        Heads {
            inner,
            limits,
            refused,
            state: State::Head,
            ends,
            found: Seen::default(),
            passed: 0,
            held,
            seen: 0,
            ready,
            linger: None,
        }
    }

    /// Makes what can be passed on ready.
    fn advance(&mut self) {
        match &mut self.state {
            State::Head => {
                if let Err(refusal) = self.head() {
                    self.refuse(refusal);
                }
            }
            State::Body(left) => {
                let len = (*left).min(self.held.len() as u64);
                self.ready = self.held.split_to(len as usize);
                *left -= len;
                if *left == 0 {
                    self.state = State::Head;
                }
            }
            State::Chunked(chunked) => {
                let (len, valid) = chunked.advance(&self.held, &mut self.found);
                self.ready = self.held.split_to(len);
                if valid.is_err() {
                    self.state = State::Broken;
                } else if *chunked == Chunked::End {
                    let found = std::mem::take(&mut self.found);
                    self.ends.put(self.passed - 1, found.data, &found.trailers);
                    self.state = State::Head;
                }
            }
            State::Broken | State::Ended => {}
        }
    }

    fn head(&mut self) -> Result<(), Refusal> {
        // RFC 9112, section 2.2: empty lines before a request are ignored.
        while self.seen == 0 && self.held.starts_with(b"\r\n") {
            self.held.advance(2);
        }
        let Some(end) = head::end(&self.held, self.seen) else {
            // A CR may be the first byte of an empty line.
            self.seen = if &self.held[..] == b"\r" { 0 } else { self.held.len() };
            return head::may_go_on(&self.held, &self.limits);
        };
        let framing = head::check(&mut self.held[..end], &self.limits)?;
        self.ready = self.held.split_to(end);
        self.seen = 0;
        self.passed += 1;
        self.state = match framing {
            Framing::Length(0) => State::Head,
            Framing::Length(length) => {
                self.ends.put(self.passed - 1, length, &[]);
                State::Body(length)
            }
            Framing::Chunked => State::Chunked(Chunked::START),
        };
        Ok(())
    }

    fn refuse(&mut self, refusal: Refusal) {
        // The answer to HEAD has no body, whatever else is wrong.
        let method = if self.held.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
        self.ready = BytesMut::from(format!("{method} * HTTP/1.1\r\n\r\n").as_bytes());
        // Nothing is refused after it.
        _ = self.refused.set((self.passed, refusal));
        self.held = BytesMut::new();
        self.state = State::Ended;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heads<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.ready.is_empty() && !this.held.is_empty() {
                this.advance();
            }
            if !this.ready.is_empty() {
                let len = this.ready.len().min(into.remaining());
                into.put_slice(&this.ready[..len]);
                this.ready.advance(len);
                return Poll::Ready(Ok(()));
            }
            match &mut this.state {
                State::Broken => {
                    let message = "the chunked coding of the request body is not valid";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
                }
                // The answer ends the connection, and not that there is nothing more to read.
                State::Ended if this.refused.get().is_some() => return Poll::Pending,
                State::Ended => return Poll::Ready(Ok(())),
                // All that there is room for belongs to the body.
                State::Body(left) if this.held.is_empty() && into.remaining() as u64 <= *left => {
                    let before = into.filled().len();
                    ready!(Pin::new(&mut this.inner).poll_read(context, into))?;
                    *left -= (into.filled().len() - before) as u64;
                    if *left == 0 {
                        this.state = State::Head;
                    }
                    return Poll::Ready(Ok(()));
                }
                _ => {
                    this.held.reserve(PIECE);
                    if ready!(poll_read_buf(Pin::new(&mut this.inner), context, &mut this.held))? == 0 {
                        // What is left is not a head; hyper says so.
                        this.ready = this.held.split();
                        this.state = State::Ended;
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Heads<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
            // A body that nobody read would have the system reset the connection, and the answer go with it.
            let unread = matches!(this.state, State::Body(_) | State::Chunked(_));
            if this.refused.get().is_none() && !unread {
                return Poll::Ready(Ok(()));
            }
        }
        let (left, ends) = this.linger.get_or_insert_with(|| (LINGER.0, Box::pin(sleep(LINGER.1))));
        let mut piece = BytesMut::with_capacity(PIECE);
        while *left > 0 && ends.as_mut().poll(context).is_pending() {
            piece.clear();
            match ready!(poll_read_buf(Pin::new(&mut this.inner), context, &mut piece)) {
                Ok(0) | Err(_) => break,
                Ok(len) => *left = left.saturating_sub(len as u64),
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMITS: Limits = Limits { target: 1000, head: 4000, fields: 10 };

    /// What is passed on of what a client sends before it ends, and which request is refused.
    async fn passed(sent: &str, buffer: usize) -> (String, io::Result<()>, Option<u64>) {
        let (mut client, server) = tokio::io::duplex(buffer);
        let sent = sent.to_owned();
        tokio::spawn(async move { client.write_all(sent.as_bytes()).await });
        let refused = Refused::default();
        let mut heads = Heads::new(server, LIMITS, refused.clone(), Ends::default());
        let (mut all, mut piece, mut waits) = (Vec::new(), [0; 16], 0);
        let end = loop {
            let reading = tokio::time::timeout(Duration::from_millis(200), heads.read(&mut piece));
            match reading.await {
                // Nothing follows what was refused.
                Err(_) if refused.get().is_some() => break Ok(()),
                Err(_) if waits < 50 => waits += 1,
                Err(_) => panic!("reading does not end"),
                Ok(Ok(0)) => break Ok(()),
                Ok(Ok(len)) => all.extend_from_slice(&piece[..len]),
                Ok(Err(error)) => break Err(error),
            }
        };
        (String::from_utf8(all).unwrap(), end, refused.get().map(|(number, _)| *number))
    }

    #[tokio::test]
    async fn requests_pass_unchanged_up_to_the_one_that_is_refused() {
        let good = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 40\r\n\r\n0123456789\n\n\r\n\r\n678901234567890123456789\
            POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;a\r\n\n\n\r\n1\r\n0\r\na: b\r\n\r\n\
            GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        for buffer in [1, 7, 64, 4096] {
            let (all, end, refused) = passed(good, buffer).await;
            assert_eq!((all.as_str(), end.is_ok(), refused), (good, true, None));
            let (all, end, refused) =
                passed(&format!("\r\n\r\n{good}\r\nHEAD / HTTP/1.1\na: b\r\n\r\nmore"), buffer).await;
            assert_eq!((all, end.is_ok(), refused), (format!("{good}HEAD * HTTP/1.1\r\n\r\n"), true, Some(3)));
        }
    }

    #[tokio::test]
    async fn a_body_whose_chunks_are_not_valid_breaks_off() {
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let (all, end, refused) = passed(&format!("{head}1\r\na\r\n2\nbc"), 4096).await;
        assert_eq!((all, refused), (format!("{head}1\r\na\r\n2"), None));
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_passed_on_as_it_is() {
        let (all, end, refused) = passed("GET / HTTP/1.1\r\nhost", 4096).await;
        assert_eq!((all.as_str(), end.is_ok(), refused), ("GET / HTTP/1.1\r\nhost", true, None));
    }
}
