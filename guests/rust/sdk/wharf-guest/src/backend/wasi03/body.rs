//! Bodies on their way in and out.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use wasip3::http::types::{ErrorCode, Trailers};
use wasip3::wit_bindgen::StreamResult;
use wasip3::wit_bindgen::rt::async_support::{FutureReader, FutureWriter, StreamReader, StreamWriter};
use wasip3::{wit_future, wit_stream};

use super::deadline::Deadline;
use crate::body::Source;
use crate::{Error, ErrorKind, Result};

/// How much of a body is read at a time.
const PIECE: usize = 64 << 10;

/// What a body ends with.
type End = Result<Option<Trailers>, ErrorCode>;

/// What a message that is taken as it is says of itself.
pub(super) fn accepted() -> FutureReader<Result<(), ErrorCode>> {
    wit_future::new(|| Ok(())).1
}

/// A body that arrives.
pub(super) struct Incoming {
    /// What is left of the body, while nothing is being read.
    rest: Option<Rest>,
    reading: Option<Pin<Box<dyn Future<Output = Read>>>>,
    deadline: Deadline,
}

struct Rest {
    stream: StreamReader<u8>,
    end: FutureReader<End>,
}

/// A piece, or nothing at the end; and what is left.
type Read = (Option<Result<Bytes>>, Option<Rest>);

impl Incoming {
    pub(super) fn new(stream: StreamReader<u8>, end: FutureReader<End>, deadline: Deadline) -> Self {
        Incoming { rest: Some(Rest { stream, end }), reading: None, deadline }
    }
}

impl Source for Incoming {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if let Some(rest) = self.rest.take() {
            self.reading = Some(Box::pin(read(rest, self.deadline)));
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let (piece, rest) = ready!(reading.as_mut().poll(cx));
        (self.reading, self.rest) = (None, rest);
        Poll::Ready(piece)
    }
}

async fn read(mut rest: Rest, deadline: Deadline) -> Read {
    loop {
        let (result, piece) = match deadline.within(rest.stream.read(Vec::with_capacity(PIECE))).await {
            Ok(read) => read,
            Err(error) => return (Some(Err(error)), None),
        };
        if !piece.is_empty() {
            return (Some(Ok(piece.into())), Some(rest));
        }
        if result == StreamResult::Dropped {
            break;
        }
    }
    let Rest { stream, end } = rest;
    drop(stream);
    match deadline.within(end.into_future()).await {
        Ok(Ok(_trailers)) => (None, None),
        Ok(Err(code)) => (Some(Err(code.into())), None),
        Err(error) => (Some(Err(error)), None),
    }
}

/// A body that is being sent. Dropped before its [`finish`](Upload::finish), it breaks off, and the other side sees that.
pub(super) struct Upload {
    /// There is none if the body is of no bytes.
    stream: Option<StreamWriter<u8>>,
    end: FutureWriter<End>,
    deadline: Deadline,
}

impl Upload {
    /// A body, and what a message is made of for it.
    pub(super) fn new(streams: bool, deadline: Deadline) -> (Self, Option<StreamReader<u8>>, FutureReader<End>) {
        let (stream, contents) = streams.then(wit_stream::new).unzip();
        let (end, trailers) = wit_future::new(|| Err(ErrorCode::InternalError(Some("the body broke off".to_owned()))));
        (Upload { stream, end, deadline }, contents, trailers)
    }

    /// Writes all of `bytes`, as fast as the other side takes them.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let rest = self.deadline.within(stream.write_all(bytes.to_vec())).await?;
        if rest.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Failed).with_source("the other side takes no more of the body"))
    }

    /// Ends the body. Whoever takes no more of it has said why elsewhere.
    pub(super) async fn finish(self) {
        let Upload { stream, end, .. } = self;
        drop(stream);
        _ = end.write(Ok(None)).await;
    }
}
