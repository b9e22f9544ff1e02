//! Connections: which protocol a client speaks, and an end to those who take nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What a client that speaks HTTP/2 without having asked for it says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until it is clear whether the client speaks HTTP/2, and returns what was read.
///
/// # Errors
/// The connection's.
pub(crate) async fn sniff(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Bytes, bool)> {
    let mut read = BytesMut::with_capacity(1024);
    loop {
        let ended = stream.read_buf(&mut read).await? == 0;
        if read.starts_with(PREFACE) {
            return Ok((read.freeze(), true));
        }
        if ended || !PREFACE.starts_with(&read) {
            return Ok((read.freeze(), false));
        }
    }
}

/// A connection some of which was read already. It fails if the other side takes nothing for too long.
pub(crate) struct Stream<S> {
    inner: S,
    read: Bytes,
    patience: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Stream<S> {
    pub(crate) fn new(inner: S, read: Bytes, patience: Duration) -> Self {
        Stream { inner, read, patience, stalled: None }
    }

    /// Makes a write that has waited for too long an error.
    fn unless_stalled<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.inner).poll_read(context, into);
        }
        let len = self.read.len().min(into.remaining());
        into.put_slice(&self.read[..len]);
        self.read.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.unless_stalled(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        self.unless_stalled(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.unless_stalled(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(context);
        self.unless_stalled(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn protocols_are_told_apart_and_nothing_is_lost() {
        for (sent, http2) in
            [("GET / HTTP/1.1\r\n", false), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", true), ("PRI", false), ("", false)]
        {
            let (mut client, mut server) = tokio::io::duplex(8);
            let sending = tokio::spawn(async move {
                client.write_all(sent.as_bytes()).await.unwrap();
            });
            let (read, is_http2) = sniff(&mut server).await.unwrap();
            assert_eq!(is_http2, http2, "{sent:?}");
            let mut all = String::new();
            Stream::new(server, read, Duration::MAX).read_to_string(&mut all).await.unwrap();
            assert_eq!(all, sent);
            sending.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_write_that_nobody_takes_fails() {
        let (_client, server) = tokio::io::duplex(8);
        let mut stream = Stream::new(server, Bytes::new(), Duration::from_millis(20));
        let error = stream.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
