//! What a guest is granted, for a host other than wharf's own: an engine's WASI that is to be granted the same.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::abi::preview1::config::WasiConfig;
use crate::abi::preview1::stdio::{InputStream, OutputStream, Stream};

/// A granted directory.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Directory<'a> {
    /// Where it is.
    pub host: &'a Path,
    /// The guest's name for it.
    pub guest: &'a str,
    /// Whether it may be written.
    pub writable: bool,
}

impl WasiConfig {
    /// The arguments.
    pub fn granted_args(&self) -> impl Iterator<Item = &str> {
        self.args.iter().map(String::as_str)
    }

    /// The environment: names and values.
    pub fn granted_env(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().filter_map(|entry| entry.split_once('='))
    }

    /// The directories.
    pub fn granted_directories(&self) -> impl Iterator<Item = Directory<'_>> {
        self.preopens.iter().map(|preopen| Directory {
            host: &preopen.path,
            guest: &preopen.name,
            writable: preopen.writable,
        })
    }

    /// Opens standard input.
    pub fn open_stdin(&self) -> OpenInput {
        OpenInput(Arc::new(InputStream::new(self.stdin.clone())))
    }

    /// Opens standard output.
    pub fn open_stdout(&self) -> OpenOutput {
        OpenOutput(Arc::new(OutputStream::new(self.stdout.clone(), Stream::Stdout)))
    }

    /// Opens standard error.
    pub fn open_stderr(&self) -> OpenOutput {
        OpenOutput(Arc::new(OutputStream::new(self.stderr.clone(), Stream::Stderr)))
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
        self.0.write_async(bytes).await
    }
}
