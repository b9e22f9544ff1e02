//! What a server tells of each request once it is over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode, Uri, Version};

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
    /// The response's status; `None` if the client left, or the connection failed, before there was one.
    pub status: Option<StatusCode>,
    /// How many bytes of the response's body were passed on to the connection. If the response is not complete, the
    /// connection may not have sent all of them.
    pub bytes: u64,
    /// Whether the response was complete: neither side broke it off, and all of it was handed to the operating system.
    pub complete: bool,
    /// How long it took, from the head of the request to the end of the response.
    pub time: Duration,
}

/// Is told of each request.
pub(crate) type Log = Arc<dyn Fn(&Access) + Send + Sync>;

/// A request that is not over. When it is dropped it is.
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

    /// The head of its answer goes to the connection.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.access.status = Some(status);
    }

    /// So many bytes of the answer's body go to the connection.
    pub(crate) fn passed(&mut self, bytes: usize) {
        self.access.bytes += bytes as u64;
    }

    /// What was sent of its answer has all been written.
    pub(crate) fn written(mut self) {
        self.access.complete = true;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.access.time = self.start.elapsed();
        (self.log)(&self.access);
    }
}
