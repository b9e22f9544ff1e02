//! Bodies of requests and responses: in memory, from a reader, from a stream, or arriving.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use crate::{Error, ErrorKind, Result, block_on};

/// How much is read at a time from a [`Read`].
const PIECE: usize = 64 * 1024;

/// A body, sent or received. It is not held in memory unless it was made of bytes.
///
/// Read it with [`Read`], which blocks; or with [`chunk`](Body::chunk) or as an [`http_body::Body`], which do not.
pub struct Body {
    /// What was taken from the source and not yet read.
    rest: Bytes,
    source: Option<Box<dyn Source>>,
}

/// Where a body comes from.
pub(crate) trait Source {
    /// The next piece, which is not empty; nothing at the end. It is not called again after its end or an error.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>>;
}

impl Body {
    /// A body of no bytes.
    #[must_use]
    pub fn empty() -> Self {
        Bytes::new().into()
    }

    /// A body that is read, as it is sent, from `reader`.
    pub fn from_reader(reader: impl Read + 'static) -> Self {
        Body::from_source(Reader(reader))
    }

    /// A body whose pieces are what `chunks` yields, as it is sent. After an error the message ends broken.
    pub fn from_chunks<I>(chunks: I) -> Self
    where
        I: IntoIterator<Item = Result<Bytes>>,
        I::IntoIter: 'static,
    {
        Body::from_source(Chunks(chunks.into_iter()))
    }

    /// Any body of the ecosystem. Its trailers are left out.
    pub fn wrap<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Body::from_source(Wrapped(Box::pin(body)))
    }

    pub(crate) fn from_source(source: impl Source + 'static) -> Self {
        Body { rest: Bytes::new(), source: Some(Box::new(source)) }
    }

    /// How many bytes are left, where that is known: of bodies made of bytes.
    #[must_use]
    pub fn known_len(&self) -> Option<u64> {
        self.source.is_none().then_some(self.rest.len() as u64)
    }

    /// The next piece, which is not empty, or nothing at the end.
    ///
    /// # Errors
    /// If the body breaks off, comes too late, or cannot be read. There is nothing after an error.
    pub async fn chunk(&mut self) -> Option<Result<Bytes>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// The whole body.
    ///
    /// # Errors
    /// If it has more than `limit` bytes ([`ErrorKind::Limit`]), or like [`chunk`](Body::chunk).
    pub async fn collect(mut self, limit: u64) -> Result<Bytes> {
        if let Some(len) = self.known_len() {
            return if len <= limit { Ok(self.rest) } else { Err(Error::new(ErrorKind::Limit)) };
        }
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            let chunk = chunk?;
            if (all.len() + chunk.len()) as u64 > limit {
                return Err(Error::new(ErrorKind::Limit));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.rest))));
        }
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        let chunk = ready!(source.poll_chunk(cx));
        if !matches!(chunk, Some(Ok(_))) {
            self.source = None;
        }
        Poll::Ready(chunk)
    }
}

/// Blocks until there are bytes. Errors are [`Error`]s within an [`io::Error`].
impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.rest.is_empty() {
            match block_on(self.chunk()) {
                Some(chunk) => self.rest = chunk?,
                None => return Ok(0),
            }
        }
        let len = buffer.len().min(self.rest.len());
        buffer[..len].copy_from_slice(&self.rest.split_to(len));
        Ok(len)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.poll_chunk(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.known_len() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.known_len().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Default for Body {
    fn default() -> Self {
        Body::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("known_len", &self.known_len()).finish_non_exhaustive()
    }
}

impl From<Bytes> for Body {
    fn from(rest: Bytes) -> Self {
        Body { rest, source: None }
    }
}

/// Bodies from what holds bytes.
macro_rules! from_bytes {
    ($($from:ty),*) => {$(
        impl From<$from> for Body {
            fn from(bytes: $from) -> Self {
                Bytes::from(bytes).into()
            }
        }
    )*};
}

from_bytes!(Vec<u8>, String, &'static [u8], &'static str);

impl From<()> for Body {
    fn from((): ()) -> Self {
        Body::empty()
    }
}

impl<T: Into<Body>> From<Option<T>> for Body {
    fn from(body: Option<T>) -> Self {
        body.map_or_else(Body::empty, Into::into)
    }
}

struct Reader<R>(R);

impl<R: Read> Source for Reader<R> {
    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let mut piece = vec![0; PIECE];
        loop {
            match self.0.read(&mut piece) {
                Ok(0) => return Poll::Ready(None),
                Ok(len) => {
                    piece.truncate(len);
                    return Poll::Ready(Some(Ok(piece.into())));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }
}

struct Chunks<I>(I);

impl<I: Iterator<Item = Result<Bytes>>> Source for Chunks<I> {
    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        Poll::Ready(self.0.find(|chunk| !chunk.as_ref().is_ok_and(Bytes::is_empty)))
    }
}

struct Wrapped<B>(Pin<Box<B>>);

impl<B> Source for Wrapped<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            match ready!(self.0.as_mut().poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => {
                    return Poll::Ready(Some(Err(Error::new(ErrorKind::Body).with_source(error))));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                    _ => {}
                },
            }
        }
    }
}
