//! What `wasi_experimental_http` is made use of for, over any implementation of its functions.

use std::future::{Future, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::body::Source;
use crate::{Body, Error, ErrorKind, Result, Timeouts, block_on, wire};

/// The first try of a buffer for headers, and the largest.
const HEADERS: (usize, usize) = (4 << 10, 4 << 20);
/// How much of a body is read at a time.
const PIECE: usize = 64 << 10;
/// The code for a buffer that does not hold what is asked for.
const BUFFER_TOO_SMALL: u32 = 4;

/// The functions of the ABI that are used. An error is the code that a function returned.
pub(crate) trait Abi: Copy + 'static {
    /// Sends a request: the status and the handle of its response.
    fn req(self, url: &str, method: &str, headers: &str, body: &[u8]) -> Result<(u16, u32), u32>;
    /// Closes a response.
    fn close(self, handle: u32);
    /// All headers of a response.
    fn headers_get_all(self, handle: u32, buffer: &mut [u8]) -> Result<usize, u32>;
    /// The next piece of a body; 0 bytes at its end.
    fn body_read(self, handle: u32, buffer: &mut [u8]) -> Result<usize, u32>;
}

/// The host returns when it has the head of the response, so that all is done when this returns.
pub(super) fn start<A: Abi>(
    abi: A,
    request: Request<Body>,
    timeouts: Timeouts,
) -> Pin<Box<dyn Future<Output = Result<Response<Body>>>>> {
    Box::pin(ready(exchange(abi, request, timeouts)))
}

fn exchange<A: Abi>(abi: A, request: Request<Body>, timeouts: Timeouts) -> Result<Response<Body>> {
    let started = Instant::now();
    let (head, body) = request.into_parts();
    let url = head.uri.to_string();
    let headers = wire::encode(&head.headers)?;
    let body = block_on(body.collect(u64::MAX))?;
    let (status, handle) = abi.req(&url, head.method.as_str(), &headers, &body).map_err(Error::experimental)?;
    let mut incoming = Incoming { abi, handle, timeouts, started, since: started };
    incoming.in_time(timeouts.first_byte)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() =
        StatusCode::from_u16(status).map_err(|error| Error::new(ErrorKind::Internal).with_source(error))?;
    *response.headers_mut() = incoming.headers()?;
    *response.body_mut() = Body::from_source(incoming);
    Ok(response)
}

/// A response that is open, and its body.
struct Incoming<A: Abi> {
    abi: A,
    handle: u32,
    timeouts: Timeouts,
    started: Instant,
    /// When the call in hand began.
    since: Instant,
}

impl<A: Abi> Incoming<A> {
    fn headers(&self) -> Result<http::HeaderMap> {
        let (mut len, most) = HEADERS;
        loop {
            let mut buffer = vec![0; len];
            match self.abi.headers_get_all(self.handle, &mut buffer) {
                Ok(written) => return wire::decode(written_of(&buffer, written)?),
                Err(BUFFER_TOO_SMALL) if len < most => len *= 2,
                Err(code) => return Err(Error::experimental(code)),
            }
        }
    }

    /// Whether the call in hand, and the whole exchange, took no longer than they may.
    fn in_time(&mut self, call: Option<std::time::Duration>) -> Result<()> {
        let now = Instant::now();
        let late = |since: Instant, most: Option<_>| most.is_some_and(|most| now.duration_since(since) > most);
        if late(self.since, call) || late(self.started, self.timeouts.total) {
            return Err(Error::new(ErrorKind::Timeout));
        }
        Ok(())
    }
}

impl<A: Abi> Source for Incoming<A> {
    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.since = Instant::now();
        // What is late already is not waited for.
        let chunk = self.in_time(None).and_then(|()| {
            let mut buffer = vec![0; PIECE];
            let read = self.abi.body_read(self.handle, &mut buffer).map_err(Error::experimental)?;
            self.in_time(self.timeouts.between_bytes)?;
            let len = written_of(&buffer, read)?.len();
            buffer.truncate(len);
            Ok(Bytes::from(buffer))
        });
        Poll::Ready(match chunk {
            Ok(chunk) if chunk.is_empty() => None,
            chunk => Some(chunk),
        })
    }
}

impl<A: Abi> Drop for Incoming<A> {
    fn drop(&mut self) {
        self.abi.close(self.handle);
    }
}

/// What the host says that it wrote. It is not relied on to know where the buffer ends.
fn written_of(buffer: &[u8], written: usize) -> Result<&[u8]> {
    buffer
        .get(..written)
        .ok_or_else(|| Error::new(ErrorKind::Internal).with_source("more was written than there is room"))
}

#[cfg(test)]
mod tests;
