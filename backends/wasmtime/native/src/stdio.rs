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
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};
use wasmtime_wasi::{FsPerms, WasiCtx};
use wharf_core::abi::preview1::{OpenInput, OpenOutput, WasiConfig};
use wharf_core::{Error, Kind, Result, io as io_threads};

/// How much is read or written at once, in bytes.
const CHUNK: usize = 64 << 10;

/// What a guest is granted, and the streams that have to be waited for when it has ended.
pub(crate) fn grant(config: &WasiConfig) -> Result<(WasiCtx, [Writes; 2])> {
    let mut wasi = WasiCtx::builder();
    for arg in config.granted_args() {
        wasi.arg(arg);
    }
    for (name, value) in config.granted_env() {
        wasi.env(name, value);
    }
    for directory in config.granted_directories() {
        let perms = if directory.writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        wasi.preopened_dir(directory.host, directory.guest, perms).map_err(|error| {
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
        Box::new(Reads { input: self.0.clone(), reading: None })
    }
}

/// Reads in a task, which ends with it.
struct Reads {
    input: OpenInput,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl AsyncRead for Reads {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let limit = buffer.remaining().min(CHUNK);
        let input = self.input.clone();
        let reading = self.reading.get_or_insert_with(|| io_threads().spawn(async move { input.read(limit).await }));
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        buffer.put_slice(&read.unwrap_or_else(|error| Err(io::Error::other(error)))?);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        if let Some(reading) = &self.reading {
            reading.abort();
        }
    }
}

/// A guest's output. One write at a time is under way, in a task of wharf's I/O, so that the guest's deadline ends the
/// wait for it; every stream that the guest opens shares it, and so their order is kept.
#[derive(Clone)]
pub(crate) struct Writes {
    output: OpenOutput,
    state: Arc<Mutex<Writing>>,
}

#[derive(Default)]
struct Writing {
    task: Option<JoinHandle<io::Result<()>>>,
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

    fn start(&self, bytes: Bytes) {
        let output = self.output.clone();
        self.lock().task = Some(io_threads().spawn(async move { output.write(bytes).await }));
    }

    /// Waits for what is under way, and leaves what came of it.
    fn poll_settled(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if let Some(task) = &mut state.task {
            let written = ready!(Pin::new(task).poll(context));
            state.task = None;
            state.failed = written.unwrap_or_else(|error| Err(io::Error::other(error))).err();
        }
        Poll::Ready(())
    }

    fn poll_done(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_settled(context));
        Poll::Ready(self.lock().failed.take().map_or(Ok(()), Err))
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
        Box::new(self.clone())
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

impl OutputStream for Writes {
    fn write(&mut self, bytes: Bytes) -> std::result::Result<(), StreamError> {
        if self.lock().task.is_some() || bytes.len() > CHUNK {
            return Err(StreamError::Trap(wasmtime::format_err!("more was written than `check-write` permitted")));
        }
        if !bytes.is_empty() {
            self.start(bytes);
        }
        Ok(())
    }

    /// Everything is on its way already; `check-write` gives nothing until it has arrived.
    fn flush(&mut self) -> std::result::Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> std::result::Result<usize, StreamError> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match self.poll_done(&mut context) {
            Poll::Pending => Ok(0),
            Poll::Ready(Ok(())) => Ok(CHUNK),
            Poll::Ready(Err(error)) => Err(failed(error)),
        }
    }
}

#[async_trait]
impl Pollable for Writes {
    async fn ready(&mut self) {
        std::future::poll_fn(|context| self.poll_settled(context)).await;
    }
}
