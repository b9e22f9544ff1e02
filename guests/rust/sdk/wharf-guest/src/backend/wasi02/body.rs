//! Bodies on their way in and out.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use wasip2::http::types::{IncomingBody, OutgoingBody, http_error_code};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

use super::reactor::{self, Deadline};
use crate::body::Source;
use crate::{Error, ErrorKind, Result};

/// How much of a body is read at a time.
const PIECE: u64 = 64 << 10;

/// A body that arrives. What the host lends from a parent is dropped before it: the order of the fields matters.
pub(super) struct Incoming {
    waiting: Option<Pin<Box<dyn Future<Output = Result<()>>>>>,
    stream: InputStream,
    _body: IncomingBody,
    deadline: Option<Deadline>,
}

impl Incoming {
    pub(super) fn new(body: IncomingBody, deadline: Option<Deadline>) -> Self {
        let stream = body.stream().expect("the stream is taken once");
        Incoming { waiting: None, stream, _body: body, deadline }
    }
}

impl Source for Incoming {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                let waited = ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
                if let Err(error) = waited {
                    return Poll::Ready(Some(Err(error)));
                }
            }
            // An origin that keeps sending would never be waited for.
            if self.deadline.is_some_and(|deadline| deadline.passed()) {
                return Poll::Ready(Some(Err(Error::new(ErrorKind::Timeout))));
            }
            match self.stream.read(PIECE) {
                Ok(bytes) if bytes.is_empty() => {
                    let (pollable, deadline) = (self.stream.subscribe(), self.deadline);
                    self.waiting = Some(Box::pin(async move { reactor::ready(pollable, deadline.as_ref()).await }));
                }
                Ok(bytes) => return Poll::Ready(Some(Ok(bytes.into()))),
                Err(StreamError::Closed) => return Poll::Ready(None),
                Err(error) => return Poll::Ready(Some(Err(broken(error)))),
            }
        }
    }
}

/// A body that is being sent. Dropped before its [`end`](Upload::end), it breaks off, and the other side sees that.
pub(super) struct Upload {
    stream: OutputStream,
    body: OutgoingBody,
    deadline: Option<Deadline>,
}

impl Upload {
    pub(super) fn new(body: OutgoingBody, deadline: Option<Deadline>) -> Self {
        Upload { stream: body.write().expect("the stream is taken once"), body, deadline }
    }

    /// Writes all of `bytes`, as fast as the other side takes them.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = usize::try_from(self.room().await?).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.stream.write(now).map_err(broken)?;
            bytes = later;
        }
        Ok(())
    }

    /// Ends the body, and keeps why that failed.
    pub(super) async fn end(self, failed: &RefCell<Option<Error>>) {
        if let Err(error) = self.finish().await {
            failed.borrow_mut().get_or_insert(error);
        }
    }

    /// Ends the body, once all of it is on its way.
    pub(super) async fn finish(mut self) -> Result<()> {
        self.stream.flush().map_err(broken)?;
        self.room().await?;
        let Upload { stream, body, .. } = self;
        drop(stream);
        OutgoingBody::finish(body, None).map_err(Error::from)
    }

    /// Waits until something can be written: how much.
    async fn room(&mut self) -> Result<u64> {
        loop {
            match self.stream.check_write().map_err(broken)? {
                0 => reactor::ready(self.stream.subscribe(), self.deadline.as_ref()).await?,
                room => return Ok(room),
            }
        }
    }
}

/// Why a stream of a body broke off.
fn broken(error: StreamError) -> Error {
    match error {
        StreamError::Closed => Error::new(ErrorKind::Failed).with_source("the other side takes no more of the body"),
        StreamError::LastOperationFailed(error) => match http_error_code(&error) {
            Some(code) => code.into(),
            None => Error::new(ErrorKind::Failed).with_source(error.to_debug_string()),
        },
    }
}
