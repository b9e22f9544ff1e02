//! What a server tells of each request once it is over.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};

/// One request that is over.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Access {
    /// The client's address.
    pub peer: SocketAddr,
    /// The request's method.
    pub method: Method,
    /// The request's URI.
    pub uri: Uri,
    /// The request's version of HTTP.
    pub version: Version,
    /// The response's status; `None` if the client left before there was one.
    pub status: Option<StatusCode>,
    /// How many bytes of body were passed on to the connection.
    pub bytes: u64,
    /// Whether the response was complete: neither side broke it off.
    pub complete: bool,
    /// How long it took, from the head of the request to the end of the response.
    pub time: Duration,
}

/// Is told of each request.
pub(crate) type Log = Arc<dyn Fn(&Access) + Send + Sync>;

/// A request whose answer is yet to come.
pub(crate) struct Entry {
    log: Log,
    access: Access,
    start: Instant,
}

impl Entry {
    pub(crate) fn new<B>(log: &Log, peer: SocketAddr, request: &Request<B>) -> Self {
        let access = Access {
            peer,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            status: None,
            bytes: 0,
            complete: false,
            time: Duration::ZERO,
        };
        Entry { log: Arc::clone(log), access, start: Instant::now() }
    }

    /// Has the entry logged when the body of `response` ends.
    pub(crate) fn with<B: Body>(entry: Option<Self>, response: Response<B>) -> Response<Logged<B>> {
        let status = response.status();
        response.map(|body| {
            let mut entry = entry;
            if let Some(entry) = &mut entry {
                entry.access.status = Some(status);
                entry.access.complete = body.is_end_stream();
            }
            Logged { body, entry }
        })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.access.time = self.start.elapsed();
        (self.log)(&self.access);
    }
}

/// A body that is logged, if anything is, when it ends or is given up.
pub(crate) struct Logged<B> {
    body: B,
    entry: Option<Entry>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Logged<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        let ended = self.body.is_end_stream();
        if let (Poll::Ready(frame), Some(entry)) = (&frame, &mut self.entry) {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
            entry.access.bytes += data.map_or(0, |data| data.len() as u64);
            entry.access.complete = ended || frame.is_none();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
