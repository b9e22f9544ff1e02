//! A guest's open streams, for a host that waits for them in tasks.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::WasiConfig;
use crate::streams::{InputStream, OutputStream, Stream};

impl WasiConfig {
    /// Opens standard input.
    pub fn open_stdin(&self) -> OpenInput {
        OpenInput(Arc::new(InputStream::new(self.granted().stdin.clone())))
    }

    /// Opens standard output.
    pub fn open_stdout(&self) -> OpenOutput {
        OpenOutput(Arc::new(OutputStream::new(self.granted().stdout.clone(), Stream::Stdout)))
    }

    /// Opens standard error.
    pub fn open_stderr(&self) -> OpenOutput {
        OpenOutput(Arc::new(OutputStream::new(self.granted().stderr.clone(), Stream::Stderr)))
    }
}

/// A guest's open standard input. Clones read the same stream.
#[derive(Clone)]
pub struct OpenInput(Arc<InputStream>);

impl OpenInput {
    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.0.terminal()
    }

    /// Takes at most `limit` bytes of what has arrived; empty at the end of the input. `None` if nothing has arrived
    /// yet: more is then requested.
    ///
    /// # Errors
    /// The stream's.
    pub fn take(&self, limit: usize) -> io::Result<Option<Bytes>> {
        let mut buffer = vec![0; limit];
        match self.0.take(&mut buffer)? {
            Some(read) => {
                buffer.truncate(read);
                Ok(Some(buffer.into()))
            }
            None => self.0.ask().map(|()| None),
        }
    }

    /// Waits until [`take`](Self::take) has something to return, without taking it.
    ///
    /// # Errors
    /// If the host cannot wait; errors of the stream itself are returned by `take`.
    pub async fn ready(&self) -> io::Result<()> {
        self.0.ready().await
    }
}

/// A guest's open standard output or error. Clones write to the same stream.
#[derive(Clone)]
pub struct OpenOutput(Arc<OutputStream>);

impl OpenOutput {
    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.0.terminal()
    }

    /// Writes all of `bytes`.
    ///
    /// # Cancel safety
    /// The bytes may be written after the future is dropped.
    ///
    /// # Errors
    /// The stream's.
    pub async fn write(&self, bytes: Bytes) -> io::Result<()> {
        self.0.write_owned(bytes).await
    }
}
