//! Sending requests.

use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};

use crate::{Body, Result, Timeouts, backend, block_on};

/// Sends a request and waits for the head of its response. The body of the response arrives as it is read.
///
/// ```no_run
/// use std::io::Read;
///
/// let request = http::Request::get("https://api.example.com/things").body(())?;
/// let mut response = wharf_guest::send(request)?;
/// let mut text = String::new();
/// response.body_mut().read_to_string(&mut text)?;
/// println!("{}: {text}", response.status());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With `wasi:http` the body of the request streams. `wasi_experimental_http` takes the whole body with the request: there,
/// this function reads it into memory first.
///
/// # Errors
/// If the host does not allow the destination, the request is not valid, or the exchange fails or takes too long.
/// A response with an error status is no error.
pub fn send<B: Into<Body>>(request: Request<B>) -> Result<Response<Body>> {
    start(request).wait()
}

/// Starts a request. Several can be under way at a time: start them all, then wait for each.
///
/// With `wasi:http` they run beside each other. A host of `wasi_experimental_http` returns from one when it has the head of
/// its response: heads come one after the other, and bodies arrive beside each other.
pub fn start<B: Into<Body>>(request: Request<B>) -> Sending {
    let request = request.map(Into::into);
    let timeouts = Timeouts::of(request.extensions());
    Sending(backend::start(request, timeouts))
}

/// Starts a request whose body is then written, with [`Write`] or [`write_chunk`](Outgoing::write_chunk).
///
/// ```no_run
/// use std::io::Write;
///
/// let mut upload = wharf_guest::open(http::Request::post("https://api.example.com/things").body(())?)?;
/// for i in 0..1_000_000 {
///     writeln!(upload, "line {i}")?;
/// }
/// let response = upload.finish().wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With `wasi_experimental_http` what is written is kept in memory, and sent by [`finish`](Outgoing::finish).
///
/// # Errors
/// If the host does not allow the destination or the request is not valid, and the host says so at once.
pub fn open(request: Request<()>) -> Result<Outgoing> {
    let timeouts = Timeouts::of(request.extensions());
    Ok(Outgoing(backend::open(request, timeouts)?))
}

/// A request under way. It is a future of the response; [`wait`](Sending::wait) blocks. Dropped, it is cancelled.
#[must_use = "a request that is not waited for is cancelled"]
pub struct Sending(pub(crate) Pin<Box<dyn Future<Output = Result<Response<Body>>>>>);

impl Sending {
    /// Waits for the head of the response.
    ///
    /// # Errors
    /// Those of [`send`].
    pub fn wait(self) -> Result<Response<Body>> {
        block_on(self)
    }
}

impl Future for Sending {
    type Output = Result<Response<Body>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

/// A request whose body is being written. Dropped before [`finish`](Outgoing::finish), it is cancelled.
pub struct Outgoing(backend::Outgoing);

impl Outgoing {
    /// Writes a piece of the body.
    ///
    /// # Errors
    /// If the origin no longer takes it. [`finish`](Outgoing::finish) then says why.
    pub async fn write_chunk(&mut self, chunk: &[u8]) -> Result<()> {
        self.0.write(chunk).await
    }

    /// Ends the body.
    pub fn finish(self) -> Sending {
        Sending(self.0.finish())
    }
}

/// Blocks until all bytes are taken.
impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        block_on(self.0.write(bytes))?;
        Ok(bytes.len())
    }

    /// Does nothing: what was written is under way.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").finish_non_exhaustive()
    }
}
