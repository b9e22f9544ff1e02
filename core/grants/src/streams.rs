//! A guest's open standard streams.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use crate::stdio::{Capture, Input, Lines, Output, Reader, Writer, take};

/// A guest's open input.
pub struct InputStream(Mutex<Source>);

enum Source {
    Bytes(Bytes),
    Reader { reader: Reader, terminal: bool },
}

impl From<Input> for Source {
    fn from(input: Input) -> Self {
        static STDIN: OnceLock<Reader> = OnceLock::new();
        match input {
            Input::Empty => Source::Bytes(Bytes::new()),
            Input::Bytes(bytes) => Source::Bytes(bytes),
            Input::Reader(reader) => Source::Reader { reader, terminal: false },
            Input::Inherit => {
                let reader = STDIN.get_or_init(|| Reader::new(io::stdin())).clone();
                Source::Reader { reader, terminal: io::stdin().is_terminal() }
            }
        }
    }
}

impl InputStream {
    /// Opens `input`.
    pub fn new(input: Input) -> Self {
        InputStream(Mutex::new(input.into()))
    }

    /// Reads from `input` from now on.
    pub fn replace(&self, input: Input) {
        *self.lock() = input.into();
    }

    fn lock(&self) -> MutexGuard<'_, Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> Option<Reader> {
        match &*self.lock() {
            Source::Bytes(_) => None,
            Source::Reader { reader, .. } => Some(reader.clone()),
        }
    }

    /// Whether it is a terminal.
    pub fn terminal(&self) -> bool {
        matches!(*self.lock(), Source::Reader { terminal: true, .. })
    }

    /// Fills `buffer` with what is there, and says how much that is; `None` if a read would wait. Zero is the end of the
    /// input.
    ///
    /// # Errors
    /// The stream's.
    pub fn take(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match &mut *self.lock() {
            Source::Bytes(bytes) => Ok(Some(take(bytes, buffer))),
            Source::Reader { reader, .. } => reader.take(buffer),
        }
    }

    /// How many bytes are there; zero at the end, `None` if a read would wait.
    pub fn available(&self) -> Option<usize> {
        match &*self.lock() {
            Source::Bytes(bytes) => Some(bytes.len()),
            Source::Reader { reader, .. } => reader.arrived(),
        }
    }

    /// Has input read ahead, for a guest that does not wait.
    ///
    /// # Errors
    /// If the thread that reads cannot be started.
    pub fn ask(&self) -> io::Result<()> {
        self.reader().map_or(Ok(()), |reader| reader.ask())
    }

    /// Waits until a read would not wait.
    ///
    /// # Errors
    /// If the thread that reads cannot be started.
    pub async fn ready(&self) -> io::Result<()> {
        match self.reader() {
            None => Ok(()),
            Some(reader) => reader.ready().await,
        }
    }
}

/// Which of the host's streams [`Output::Inherit`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say all")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A guest's open output.
pub struct OutputStream {
    sink: Mutex<Sink>,
    stream: Stream,
}

#[derive(Clone)]
enum Sink {
    Discard,
    Capture(Capture),
    Writer { writer: Writer, terminal: bool },
    Lines(Lines),
}

impl Sink {
    fn new(output: Output, stream: Stream) -> Self {
        static STDOUT: OnceLock<Writer> = OnceLock::new();
        static STDERR: OnceLock<Writer> = OnceLock::new();
        match (output, stream) {
            (Output::Discard, _) => Sink::Discard,
            (Output::Capture(capture), _) => Sink::Capture(capture),
            (Output::Lines(lines), _) => Sink::Lines(lines),
            (Output::Writer(writer), _) => Sink::Writer { writer, terminal: false },
            (Output::Inherit, Stream::Stdout) => {
                let writer = STDOUT.get_or_init(|| Writer::new(io::stdout())).clone();
                Sink::Writer { writer, terminal: io::stdout().is_terminal() }
            }
            (Output::Inherit, Stream::Stderr) => {
                let writer = STDERR.get_or_init(|| Writer::new(io::stderr())).clone();
                Sink::Writer { writer, terminal: io::stderr().is_terminal() }
            }
        }
    }
}

impl OutputStream {
    /// Opens `output`; `stream` is the host's where it is [`Output::Inherit`].
    pub fn new(output: Output, stream: Stream) -> Self {
        OutputStream { sink: Mutex::new(Sink::new(output, stream)), stream }
    }

    /// Writes to `output` from now on.
    pub fn replace(&self, output: Output) {
        *self.sink() = Sink::new(output, self.stream);
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is a terminal.
    pub fn terminal(&self) -> bool {
        matches!(*self.sink(), Sink::Writer { terminal: true, .. })
    }

    /// Writes all of `bytes`.
    ///
    /// # Cancel safety
    /// The bytes may be written after the future is dropped.
    ///
    /// # Errors
    /// The stream's.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        // Not under the lock: writing may wait.
        let sink = self.sink().clone();
        match sink {
            Sink::Discard => Ok(()),
            Sink::Capture(capture) => {
                capture.write(bytes);
                Ok(())
            }
            Sink::Lines(lines) => lines.write(bytes).await,
            Sink::Writer { writer, .. } => writer.write(bytes.to_vec()).await,
        }
    }

    /// The same without a copy of them.
    ///
    /// # Errors
    /// The stream's.
    pub async fn write_owned(&self, bytes: Bytes) -> io::Result<()> {
        let writer = match &*self.sink() {
            Sink::Writer { writer, .. } => Some(writer.clone()),
            _ => None,
        };
        match writer {
            Some(writer) => writer.write(bytes).await,
            None => self.write(&bytes).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;

    #[test]
    fn a_stream_goes_elsewhere_once_it_is_replaced() {
        let (first, second) = (Capture::new(10), Capture::new(10));
        let stream = OutputStream::new(Output::Capture(first.clone()), Stream::Stdout);
        block_on(stream.write(b"1")).unwrap();
        stream.replace(Output::Capture(second.clone()));
        block_on(stream.write_owned(Bytes::from_static(b"2"))).unwrap();
        assert_eq!((first.contents(), second.contents()), (b"1".to_vec(), b"2".to_vec()));
    }
}
