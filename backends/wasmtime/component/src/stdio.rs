//! A guest's grants, as Wasmtime's WASI takes them: the same streams that wharf's own host uses.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError};
use wasmtime_wasi::{FsPerms, WasiCtx};
use wharf_core::grants::{OpenInput, OpenOutput, WasiConfig};
use wharf_core::{Error, Kind, Result, io as io_threads};

/// How much is read or written at once, in bytes.
const CHUNK: usize = 64 << 10;
/// How much all streams of one output may have under way, in bytes.
const MOST: usize = 1 << 20;

/// What a guest is granted, and the streams that have to be waited for when it has ended.
pub(crate) fn grant(config: &WasiConfig) -> Result<(WasiCtx, [Writes; 2])> {
    let mut wasi = WasiCtx::builder();
    let granted = config.granted();
    for arg in &*granted.args {
        wasi.arg(arg);
    }
    for (name, value) in granted.variables() {
        wasi.env(name, value);
    }
    for directory in &*granted.directories {
        let perms = if directory.writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        wasi.preopened_dir(&directory.host, &*directory.guest, perms).map_err(|error| {
            let message = format!("cannot open directory {} to grant it to the guest", directory.host.display());
            Error::new(Kind::Config, message).with_source(error)
        })?;
    }
    let (stdout, stderr) = (Writes::new(config.open_stdout()), Writes::new(config.open_stderr()));
    wasi.stdin(Stdin(config.open_stdin())).stdout(stdout.clone()).stderr(stderr.clone());
    // The default already lets no address through; without these there is not even a socket.
    wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    Ok((wasi.build(), [stdout, stderr]))
}

struct Stdin(OpenInput);

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}

impl StdinStream for Stdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(Reads { input: self.0.clone(), waiting: None })
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(Demanded { input: self.0.clone(), closed: false })
    }
}

/// One of a guest's streams of standard input. They share the input, and none takes what its guest has not asked for:
/// only the wait for input is in a task, which ends with the stream.
struct Reads {
    input: OpenInput,
    waiting: Option<JoinHandle<io::Result<()>>>,
}

impl AsyncRead for Reads {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let limit = buffer.remaining().min(CHUNK);
        loop {
            if let Some(read) = self.input.take(limit)? {
                buffer.put_slice(&read);
                return Poll::Ready(Ok(()));
            }
            let input = self.input.clone();
            let waiting = self.waiting.get_or_insert_with(|| io_threads().spawn(async move { input.ready().await }));
            let waited = ready!(Pin::new(waiting).poll(context));
            self.waiting = None;
            waited.unwrap_or_else(|error| Err(io::Error::other(error)))?;
        }
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            waiting.abort();
        }
    }
}

/// The same as a stream of WASI 0.2, which is closed once it ended or failed.
struct Demanded {
    input: OpenInput,
    closed: bool,
}

#[async_trait]
impl InputStream for Demanded {
    fn read(&mut self, size: usize) -> std::result::Result<Bytes, StreamError> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        let read = match self.input.take(size.min(CHUNK)) {
            Ok(Some(bytes)) if bytes.is_empty() && size > 0 => Err(StreamError::Closed),
            Ok(bytes) => Ok(bytes.unwrap_or_default()),
            Err(error) => Err(failed(error)),
        };
        self.closed = read.is_err();
        read
    }
}

#[async_trait]
impl Pollable for Demanded {
    /// A failure to wait is shown by the read that follows.
    async fn ready(&mut self) {
        if !self.closed {
            _ = self.input.ready().await;
        }
    }
}

/// A guest's output. What it writes is under way in a task of wharf's I/O, so that the guest's deadline ends the
/// wait for it; every stream that the guest opens shares it, and so their order is kept.
#[derive(Clone)]
pub(crate) struct Writes {
    output: OpenOutput,
    state: Arc<Mutex<Writing>>,
}

#[derive(Default)]
struct Writing {
    task: Option<JoinHandle<io::Result<()>>>,
    /// How many bytes are under way.
    waiting: usize,
    /// What the last write failed with, until somebody is told.
    failed: Option<io::Error>,
}

impl Writes {
    fn new(output: OpenOutput) -> Self {
        Writes { output, state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Writing> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes behind what is under way already.
    fn start(&self, bytes: Bytes) {
        let output = self.output.clone();
        let mut state = self.lock();
        state.waiting += bytes.len();
        let before = state.task.take();
        state.task = Some(io_threads().spawn(async move {
            if let Some(before) = before {
                before.await.unwrap_or_else(|error| Err(io::Error::other(error)))?;
            }
            output.write(bytes).await
        }));
    }

    /// Waits for what is under way, and leaves what came of it.
    fn poll_settled(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if let Some(task) = &mut state.task {
            let written = ready!(Pin::new(task).poll(context));
            state.task = None;
            state.waiting = 0;
            state.failed = written.unwrap_or_else(|error| Err(io::Error::other(error))).err();
        }
        Poll::Ready(())
    }

    fn poll_done(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_settled(context));
        Poll::Ready(self.lock().failed.take().map_or(Ok(()), Err))
    }

    /// Writes behind what is under way already, and waits for it.
    pub(crate) async fn write(&self, bytes: Bytes) -> io::Result<()> {
        self.done().await?;
        self.start(bytes);
        self.done().await
    }

    /// Whether something is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.lock().task.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// Waits until everything is written.
    pub(crate) async fn done(&self) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_done(context)).await
    }
}

impl IsTerminal for Writes {
    fn is_terminal(&self) -> bool {
        self.output.is_terminal()
    }
}

impl StdoutStream for Writes {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Permitted { writes: self.clone(), permit: 0, closed: false })
    }
}

impl AsyncWrite for Writes {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_done(context))?;
        let count = bytes.len().min(CHUNK);
        self.start(Bytes::copy_from_slice(&bytes[..count]));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_done(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_done(context)
    }
}

fn failed(error: io::Error) -> StreamError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => StreamError::Closed,
        _ => StreamError::LastOperationFailed(error.into()),
    }
}

/// A stream of WASI 0.2, which writes no more than `check-write` permitted, and is closed once it failed.
struct Permitted {
    writes: Writes,
    permit: usize,
    closed: bool,
}

impl Permitted {
    /// What the guest is told of an operation.
    fn told<T>(&mut self, result: io::Result<T>) -> std::result::Result<T, StreamError> {
        self.closed |= result.is_err();
        result.map_err(failed)
    }

    fn unless_closed(&self) -> std::result::Result<(), StreamError> {
        if self.closed { Err(StreamError::Closed) } else { Ok(()) }
    }
}

#[async_trait]
impl OutputStream for Permitted {
    fn write(&mut self, bytes: Bytes) -> std::result::Result<(), StreamError> {
        self.unless_closed()?;
        // Each of the guest's streams may have a permit at the same time, and there may be many.
        if bytes.len() > self.permit || self.writes.lock().waiting > MOST {
            return Err(StreamError::Trap(wasmtime::format_err!("more was written than `check-write` permitted")));
        }
        if !bytes.is_empty() {
            self.permit = 0;
            self.writes.start(bytes);
        }
        Ok(())
    }

    /// Leaves no permit behind.
    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> std::result::Result<(), StreamError> {
        self.unless_closed()?;
        self.permit = 0;
        let written = self.writes.write(bytes).await;
        self.told(written)
    }

    /// Everything is on its way already; `check-write` gives nothing until it has arrived.
    fn flush(&mut self) -> std::result::Result<(), StreamError> {
        self.unless_closed()
    }

    fn check_write(&mut self) -> std::result::Result<usize, StreamError> {
        self.unless_closed()?;
        let mut context = Context::from_waker(std::task::Waker::noop());
        self.permit = match self.writes.poll_done(&mut context) {
            Poll::Pending => 0,
            Poll::Ready(Ok(())) => CHUNK,
            Poll::Ready(Err(error)) => return self.told(Err(error)),
        };
        Ok(self.permit)
    }
}

#[async_trait]
impl Pollable for Permitted {
    async fn ready(&mut self) {
        std::future::poll_fn(|context| self.writes.poll_settled(context)).await;
    }
}
