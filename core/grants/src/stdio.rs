//! The three standard streams: where a guest's input comes from and where its output goes.
//!
//! Reading and writing of the host's streams, and of an embedder's [`Reader`] and [`Writer`], happens on threads of
//! wharf's own, so that a guest's deadline ends the wait however long the stream blocks. A stream that blocks for
//! ever holds one thread, however many guests wait for it.

use std::fmt;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;

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
    /// A queue of lines.
    Lines(Lines),
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

    pub(crate) fn write(&self, bytes: &[u8]) {
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
    pub(crate) async fn write(&self, bytes: impl AsRef<[u8]> + Send + 'static) -> io::Result<()> {
        // The lock is waited for without a thread: only the guest that holds it takes one.
        let mut writer = self.0.clone().lock_owned().await;
        let written =
            wharf_http::io().spawn_blocking(move || writer.write_all(bytes.as_ref()).and_then(|()| writer.flush()));
        written.await.unwrap_or_else(|_| Err(io::Error::other("the writer panicked")))
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

/// The longest line that is kept together, in bytes.
const MAX_LINE: usize = 8 << 10;

/// Splits what guests write into lines, each with a prefix that tells whose it is, and puts them into a queue that many
/// guests share. A guest waits only while the queue is full. Clones share an unfinished line.
///
/// The embedder empties the queue. Lines are without their ends, longer ones are cut into several, and what is not UTF-8
/// is replaced. A line that was not ended comes when the last clone is dropped, if there is room for it.
#[derive(Clone)]
pub struct Lines(Arc<Unfinished>);

struct Unfinished {
    queue: Sender<String>,
    prefix: String,
    line: Mutex<Vec<u8>>,
}

impl Lines {
    /// Lines that begin with `prefix`, into `queue`.
    pub fn new(queue: Sender<String>, prefix: impl Into<String>) -> Self {
        Lines(Arc::new(Unfinished { queue, prefix: prefix.into(), line: Mutex::default() }))
    }

    /// Puts whole lines into the queue, as it has room for them.
    pub(crate) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some(whole) = self.whole(&mut bytes) {
            self.0.queue.send(whole).await.map_err(|_| io::Error::other("nothing reads the lines any more"))?;
        }
        Ok(())
    }

    /// Takes from `bytes` what makes the line whole, or all that is there.
    fn whole(&self, bytes: &mut &[u8]) -> Option<String> {
        let mut line = self.0.line.lock().unwrap_or_else(PoisonError::into_inner);
        let room = bytes.len().min(MAX_LINE - line.len());
        let end = bytes[..room].iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&bytes[..end.unwrap_or(room)]);
        *bytes = &bytes[end.map_or(room, |end| end + 1)..];
        if end.is_none() && line.len() < MAX_LINE {
            return None;
        }
        let whole = self.0.text(&line);
        line.clear();
        Some(whole)
    }
}

impl Unfinished {
    fn text(&self, line: &[u8]) -> String {
        format!("{}{}", self.prefix, String::from_utf8_lossy(line))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let line = std::mem::take(self.line.get_mut().unwrap_or_else(PoisonError::into_inner));
        if !line.is_empty() && self.queue.try_send(self.text(&line)).is_err() {
            tracing::debug!("dropped the last line of a guest's output: the queue is full");
        }
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("prefix", &self.0.prefix).finish_non_exhaustive()
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
    pub(crate) fn take(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
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
    pub(crate) fn arrived(&self) -> Option<usize> {
        let state = self.0.0.lock();
        (!state.chunk.is_empty() || state.outcome.is_some()).then_some(state.chunk.len())
    }

    /// Asks for input, and does not wait for it.
    pub(crate) fn ask(&self) -> io::Result<()> {
        self.0.0.ask()
    }

    /// Asks for input and waits until there is some, or the end, or an error.
    pub(crate) async fn ready(&self) -> io::Result<()> {
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

/// Moves as much into `buffer` as it has room for, and says how much.
pub(crate) fn take(from: &mut Bytes, buffer: &mut [u8]) -> usize {
    let head = from.split_to(buffer.len().min(from.len()));
    buffer[..head.len()].copy_from_slice(&head);
    head.len()
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;

    fn lines(capacity: usize) -> (Lines, tokio::sync::mpsc::Receiver<String>) {
        let (queue, lines) = tokio::sync::mpsc::channel(capacity);
        (Lines::new(queue, "> "), lines)
    }

    #[test]
    fn output_is_cut_into_lines() {
        let (output, mut queue) = lines(8);
        let long = "x".repeat(MAX_LINE + 1);
        for part in ["a", "b\n\nc", &long, "\n", "end"] {
            block_on(output.write(part.as_bytes())).unwrap();
        }
        drop(output);
        let all: Vec<String> = std::iter::from_fn(|| queue.try_recv().ok()).collect();
        let cut = format!("> c{}", "x".repeat(MAX_LINE - 1));
        assert_eq!(all, ["> ab", "> ", &cut, "> xx", "> end"]);
    }

    #[test]
    fn a_full_queue_is_waited_for() {
        let (output, mut queue) = lines(1);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut writing = std::pin::pin!(output.write(b"1\n2\n"));
        assert!(writing.as_mut().poll(&mut context).is_pending());
        assert_eq!(queue.try_recv().unwrap(), "> 1");
        assert!(writing.as_mut().poll(&mut context).is_ready());
        assert_eq!(queue.try_recv().unwrap(), "> 2");
        drop(queue);
        assert!(block_on(output.write(b"3\n")).is_err());
    }
}
