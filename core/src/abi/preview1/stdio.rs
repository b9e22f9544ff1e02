//! The three standard streams: where a guest's input comes from and where its output goes.
//!
//! Reading and writing of the host's streams, and of an embedder's [`Reader`] and [`Writer`], happens on threads of
//! wharf's own, so that a guest's deadline ends the wait however long the stream blocks. A stream that blocks for
//! ever holds one thread, however many guests wait for it.

use std::fmt;
use std::io::{self, IsTerminal, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::abi::preview1::errno::Outcome;
use crate::run::{Run, io as io_threads};

/// Where a guest's standard input comes from.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Input {
    /// It is empty.
    #[default]
    Empty,
    /// The host's standard input. Guests that inherit it at the same time compete for it.
    Inherit,
    /// These bytes.
    Bytes(Bytes),
    /// What the embedder's reader yields.
    Reader(Reader),
}

/// Where a guest's output goes.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Output {
    /// Nowhere.
    #[default]
    Discard,
    /// The host's stream of the same name.
    Inherit,
    /// Memory, up to a limit.
    Capture(Capture),
    /// The embedder's writer.
    Writer(Writer),
}

impl Input {
    /// Input from `reader`, which is read on a thread of its own, only when a guest asks.
    pub fn reader(reader: impl Read + Send + 'static) -> Self {
        Input::Reader(Reader::new(reader))
    }
}

impl Output {
    /// Output to `writer`, which is flushed after each of the guest's writes.
    pub fn writer(writer: impl Write + Send + 'static) -> Self {
        Output::Writer(Writer::new(writer))
    }
}

/// Keeps the first bytes a guest writes, up to a limit, and counts the rest. Clones share them.
#[derive(Clone)]
pub struct Capture {
    limit: usize,
    state: Arc<Mutex<Captured>>,
}

#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    dropped: u64,
}

impl Capture {
    /// Keeps at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Capture { limit, state: Arc::default() }
    }

    /// What was written so far, up to the limit.
    pub fn contents(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// How many bytes were written beyond the limit, and not kept.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Captured> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let kept = bytes.len().min(self.limit.saturating_sub(state.bytes.len()));
        state.bytes.extend_from_slice(&bytes[..kept]);
        state.dropped = state.dropped.saturating_add((bytes.len() - kept) as u64);
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// An embedder's writer. Clones share it, and their writes do not mix.
#[derive(Clone)]
pub struct Writer(Arc<tokio::sync::Mutex<Box<dyn Write + Send>>>);

impl Writer {
    /// Output to `writer`.
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        Writer(Arc::new(tokio::sync::Mutex::new(Box::new(writer))))
    }

    /// Writes and flushes all of `bytes`; they may still be written when nobody waits any more.
    async fn write(&self, bytes: impl AsRef<[u8]> + Send + 'static) -> io::Result<()> {
        // The lock is waited for without a thread: only the guest that holds it takes one.
        let mut writer = self.0.clone().lock_owned().await;
        let written =
            io_threads().spawn_blocking(move || writer.write_all(bytes.as_ref()).and_then(|()| writer.flush()));
        written.await.unwrap_or_else(|_| Err(io::Error::other("the writer panicked")))
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

/// An embedder's reader. Clones share it and compete for what it yields.
#[derive(Clone)]
pub struct Reader(Arc<Handle>);

struct Handle(Arc<Pump>);

/// Reads ahead by one chunk, when a guest waits for input.
struct Pump {
    reader: Mutex<Box<dyn Read + Send>>,
    state: Mutex<PumpState>,
    /// Tells the thread that a guest waits, or that nobody will any more.
    wanted: Condvar,
    /// Tells guests that there is something to read.
    arrived: Notify,
}

#[derive(Default)]
struct PumpState {
    /// Whether the thread that reads runs.
    started: bool,
    chunk: Bytes,
    /// The end of the input or an error, reported once `chunk` is used up.
    outcome: Option<io::Result<()>>,
    wanted: bool,
    closed: bool,
}

/// How much is read from a [`Reader`] at once.
const CHUNK: usize = 64 << 10;

impl Reader {
    /// Input from `reader`.
    pub fn new(reader: impl Read + Send + 'static) -> Self {
        Reader(Arc::new(Handle(Arc::new(Pump {
            reader: Mutex::new(Box::new(reader)),
            state: Mutex::default(),
            wanted: Condvar::new(),
            arrived: Notify::new(),
        }))))
    }

    /// Fills `buffer` with what has arrived; `None` if nothing has. Zero is the end of the input.
    fn take(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut state = self.0.0.lock();
        if !state.chunk.is_empty() {
            return Ok(Some(take(&mut state.chunk, buffer)));
        }
        match state.outcome.take() {
            Some(outcome) => outcome.map(|()| Some(0)),
            None => Ok(None),
        }
    }

    /// How many bytes have arrived; zero if the next read reports the end or an error, `None` if it would wait.
    fn arrived(&self) -> Option<usize> {
        let state = self.0.0.lock();
        (!state.chunk.is_empty() || state.outcome.is_some()).then_some(state.chunk.len())
    }

    /// Asks for input and waits until there is some, or the end, or an error.
    async fn ready(&self) -> io::Result<()> {
        let pump = &self.0.0;
        loop {
            let arrived = pump.arrived.notified();
            if self.arrived().is_some() {
                return Ok(());
            }
            pump.ask()?;
            arrived.await;
        }
    }
}

impl Pump {
    fn lock(&self) -> std::sync::MutexGuard<'_, PumpState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wants a chunk, and starts the thread that reads it.
    fn ask(self: &Arc<Self>) -> io::Result<()> {
        let mut state = self.lock();
        state.wanted = true;
        self.wanted.notify_one();
        if !state.started {
            let pump = self.clone();
            std::thread::Builder::new().name("wharf-input".into()).spawn(move || pump.run())?;
            state.started = true;
        }
        Ok(())
    }

    fn run(&self) {
        let mut buffer = vec![0; CHUNK];
        loop {
            let mut state = self.lock();
            while !(state.closed || state.wanted && state.chunk.is_empty() && state.outcome.is_none()) {
                state = self.wanted.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closed {
                return;
            }
            drop(state);
            let read = self.read(&mut buffer);
            let mut state = self.lock();
            match read {
                Ok(0) => state.outcome = Some(Ok(())),
                Ok(len) => state.chunk = Bytes::copy_from_slice(&buffer[..len]),
                Err(error) => state.outcome = Some(Err(error)),
            }
            state.wanted = false;
            drop(state);
            self.arrived.notify_waiters();
        }
    }

    /// Reads from the embedder's reader, which may panic, or claim more than it was given room for.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match catch_unwind(AssertUnwindSafe(|| reader.read(buffer))) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(read) => return read.map(|len| len.min(buffer.len())),
                Err(_) => return Err(io::Error::other("the reader panicked")),
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wanted.notify_one();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

fn take(from: &mut Bytes, buffer: &mut [u8]) -> usize {
    let head = from.split_to(buffer.len().min(from.len()));
    buffer[..head.len()].copy_from_slice(&head);
    head.len()
}

/// A guest's open input.
pub(in crate::abi) enum InputStream {
    Bytes(Mutex<Bytes>),
    Reader { reader: Reader, terminal: bool },
}

impl InputStream {
    pub(in crate::abi) fn new(input: Input) -> Self {
        static STDIN: OnceLock<Reader> = OnceLock::new();
        match input {
            Input::Empty => InputStream::Bytes(Mutex::default()),
            Input::Bytes(bytes) => InputStream::Bytes(Mutex::new(bytes)),
            Input::Reader(reader) => InputStream::Reader { reader, terminal: false },
            Input::Inherit => {
                let reader = STDIN.get_or_init(|| Reader::new(io::stdin())).clone();
                InputStream::Reader { reader, terminal: io::stdin().is_terminal() }
            }
        }
    }

    pub(in crate::abi) fn terminal(&self) -> bool {
        matches!(self, InputStream::Reader { terminal: true, .. })
    }

    /// Fills `buffer` with what is there; `None` if a read would wait. Zero is the end of the input.
    pub(in crate::abi) fn take(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            InputStream::Bytes(bytes) => {
                Ok(Some(take(&mut bytes.lock().unwrap_or_else(PoisonError::into_inner), buffer)))
            }
            InputStream::Reader { reader, .. } => reader.take(buffer),
        }
    }

    /// How many bytes are there; zero at the end, `None` if a read would wait.
    pub(in crate::abi) fn available(&self) -> Option<usize> {
        match self {
            InputStream::Bytes(bytes) => Some(bytes.lock().unwrap_or_else(PoisonError::into_inner).len()),
            InputStream::Reader { reader, .. } => reader.arrived(),
        }
    }

    /// Has input read ahead, for a guest that does not wait.
    pub(in crate::abi) fn ask(&self) -> io::Result<()> {
        match self {
            InputStream::Bytes(_) => Ok(()),
            InputStream::Reader { reader, .. } => reader.0.0.ask(),
        }
    }

    /// Waits until a read would not wait.
    pub(in crate::abi) async fn ready(&self) -> io::Result<()> {
        match self {
            InputStream::Bytes(_) => Ok(()),
            InputStream::Reader { reader, .. } => reader.ready().await,
        }
    }
}

/// Which of the host's streams [`Output::Inherit`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::abi) enum Stream {
    Stdout,
    Stderr,
}

/// A guest's open output.
pub(in crate::abi) struct OutputStream {
    output: Sink,
    terminal: bool,
}

enum Sink {
    Discard,
    Capture(Capture),
    Writer(Writer),
}

impl OutputStream {
    pub(in crate::abi) fn new(output: Output, stream: Stream) -> Self {
        static STDOUT: OnceLock<Writer> = OnceLock::new();
        static STDERR: OnceLock<Writer> = OnceLock::new();
        let (output, terminal) = match (output, stream) {
            (Output::Discard, _) => (Sink::Discard, false),
            (Output::Capture(capture), _) => (Sink::Capture(capture), false),
            (Output::Writer(writer), _) => (Sink::Writer(writer), false),
            (Output::Inherit, Stream::Stdout) => {
                let writer = STDOUT.get_or_init(|| Writer::new(io::stdout()));
                (Sink::Writer(writer.clone()), io::stdout().is_terminal())
            }
            (Output::Inherit, Stream::Stderr) => {
                let writer = STDERR.get_or_init(|| Writer::new(io::stderr()));
                (Sink::Writer(writer.clone()), io::stderr().is_terminal())
            }
        };
        OutputStream { output, terminal }
    }

    pub(in crate::abi) fn terminal(&self) -> bool {
        self.terminal
    }

    /// Writes all of `bytes`.
    pub(in crate::abi) fn write(&self, run: &Run, bytes: &[u8]) -> Outcome {
        match &self.output {
            Sink::Discard => Ok(()),
            Sink::Capture(capture) => {
                capture.write(bytes);
                Ok(())
            }
            Sink::Writer(writer) => Ok(run.wait(writer.write(bytes.to_vec()))??),
        }
    }

    /// The same, for whoever waits in a task.
    pub(super) async fn write_async(&self, bytes: Bytes) -> io::Result<()> {
        match &self.output {
            Sink::Discard => Ok(()),
            Sink::Capture(capture) => {
                capture.write(&bytes);
                Ok(())
            }
            Sink::Writer(writer) => writer.write(bytes).await,
        }
    }
}
