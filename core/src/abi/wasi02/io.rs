//! `wasi:io`: errors, waiting, and streams of bytes.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;

use super::canon::{Borrow, Cx, Fault, Handle, Outcome, Own, limit, rule};
use super::filesystem;
use super::http::ErrorCode;
use super::table::{MAX_HANDLES, Resource, Table};
use super::{drop_resource, interfaces};
use crate::run::Run;
use crate::stop::Stop;

/// The most bytes that one read gives, however many are asked for.
const MAX_READ: u64 = 64 << 10;

/// The most bytes that a guest may write and flush in one call, by the WIT text.
pub(super) const MAX_FLUSHED: u64 = 4096;

/// `wasi:io/error.error`: what a stream failed with.
pub(crate) struct IoError {
    pub(crate) message: String,
    pub(crate) http: Option<ErrorCode>,
    pub(crate) filesystem: Option<filesystem::ErrorCode>,
}

impl Resource for IoError {
    const NAME: &'static str = "error";
}

impl From<std::io::Error> for IoError {
    fn from(error: std::io::Error) -> Self {
        IoError { message: error.to_string(), http: None, filesystem: Some(error.into()) }
    }
}

/// How an operation on a stream ends other than well.
pub(crate) enum End {
    /// The stream is closed: at its end, or broken before.
    Closed,
    /// It breaks now, and is closed from here on.
    Failed(IoError),
    /// The guest ends.
    Stop(Stop),
}

impl From<std::io::Error> for End {
    /// A pipe that nobody reads from any more is closed, which is what guests' libraries make EPIPE of.
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => End::Closed,
            _ => End::Failed(error.into()),
        }
    }
}

/// Where an input stream's bytes come from. Nothing here waits.
pub(crate) trait Source: Send {
    /// At most `max` bytes, none if there are none yet.
    fn read(&mut self, max: usize) -> Result<Bytes, End>;

    /// Ready when a read would give bytes or an end.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

/// Where an output stream's bytes go.
pub(crate) trait Sink: Send {
    /// How many bytes a write may have now; zero if it is not ready.
    fn room(&mut self) -> Result<u64, End>;

    /// Takes bytes, no more than there is room for.
    fn write(&mut self, run: &Run, bytes: Bytes) -> Result<(), End>;

    /// Has what was taken go its way, if it does not already.
    fn flush(&mut self) {}

    /// Ready when there is room, or an end.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Why there will be no room however long the guest waits, if that is so.
    fn stuck(&mut self) -> Option<&'static str>;
}

/// `wasi:io/streams.input-stream`.
pub(crate) struct InputStream {
    source: Box<dyn Source>,
    closed: bool,
}

impl Resource for InputStream {
    const NAME: &'static str = "input-stream";
}

impl InputStream {
    pub(crate) fn new(source: impl Source + 'static) -> Self {
        InputStream { source: Box::new(source), closed: false }
    }

    fn read(&mut self, len: u64) -> Result<Bytes, End> {
        if self.closed {
            return Err(End::Closed);
        }
        let read = self.source.read(len.min(MAX_READ) as usize);
        self.closed = read.is_err();
        read
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.closed { Poll::Ready(()) } else { self.source.poll_ready(context) }
    }
}

/// `wasi:io/streams.output-stream`.
pub(crate) struct OutputStream {
    sink: Box<dyn Sink>,
    /// How much the last `check-write` allows the next write.
    permit: u64,
    closed: bool,
}

impl Resource for OutputStream {
    const NAME: &'static str = "output-stream";
}

impl OutputStream {
    pub(crate) fn new(sink: impl Sink + 'static) -> Self {
        OutputStream { sink: Box::new(sink), permit: 0, closed: false }
    }

    pub(super) fn room(&mut self) -> Result<u64, End> {
        self.unless_closed(|stream| {
            stream.permit = stream.sink.room()?;
            Ok(stream.permit)
        })
    }

    /// Takes bytes. A permit is for one write, which uses it up however little it writes.
    pub(super) fn write(&mut self, run: &Run, bytes: Bytes) -> Result<(), End> {
        self.permit = 0;
        self.unless_closed(|stream| if bytes.is_empty() { Ok(()) } else { stream.sink.write(run, bytes) })
    }

    fn unless_closed<T>(&mut self, action: impl FnOnce(&mut Self) -> Result<T, End>) -> Result<T, End> {
        if self.closed {
            return Err(End::Closed);
        }
        let result = action(self);
        self.closed = result.is_err();
        result
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.closed { Poll::Ready(()) } else { self.sink.poll_ready(context) }
    }
}

/// `wasi:io/streams.stream-error`, a variant that is laid out as a `result`: its cases are `last-operation-failed`,
/// with an error, and `closed`.
type StreamError = Result<Handle<IoError>, ()>;

/// What the guest gets of a stream's result.
fn answer<T>(cx: &mut Cx<'_>, result: Result<T, End>) -> Outcome<Result<T, StreamError>> {
    Ok(match result {
        Ok(value) => Ok(value),
        Err(End::Closed) => Err(Err(())),
        Err(End::Failed(error)) => Err(Ok(cx.push(error)?)),
        Err(End::Stop(stop)) => return Err(Fault::Stop(stop)),
    })
}

type Input = Borrow<InputStream>;
type Output = Borrow<OutputStream>;
type Streamed<T> = Outcome<Result<T, StreamError>>;

fn read(cx: &mut Cx<'_>, this: Input, len: u64) -> Streamed<Bytes> {
    let read = cx.get(this)?.read(len);
    answer(cx, read)
}

fn blocking_read(cx: &mut Cx<'_>, this: Input, len: u64) -> Streamed<Bytes> {
    let read = wait_read(cx, this, len)?;
    answer(cx, read)
}

/// Reads when there is something to read.
fn wait_read(cx: &mut Cx<'_>, this: Input, len: u64) -> Outcome<Result<Bytes, End>> {
    loop {
        let read = cx.get(this)?.read(len);
        match &read {
            Ok(bytes) if bytes.is_empty() && len > 0 => cx.wait(|table, context| {
                let stream = table.get::<InputStream>(this.index())?;
                Ok(stream.poll_ready(context).is_ready())
            })?,
            _ => return Ok(read),
        }
    }
}

fn skip(cx: &mut Cx<'_>, this: Input, len: u64) -> Streamed<u64> {
    let read = cx.get(this)?.read(len);
    answer(cx, read.map(|bytes| bytes.len() as u64))
}

fn blocking_skip(cx: &mut Cx<'_>, this: Input, len: u64) -> Streamed<u64> {
    let read = wait_read(cx, this, len)?;
    answer(cx, read.map(|bytes| bytes.len() as u64))
}

fn subscribe_input(cx: &mut Cx<'_>, this: Input) -> Outcome<Handle<Pollable>> {
    cx.subscribe(this, |stream: &mut InputStream, context| stream.poll_ready(context))
}

fn check_write(cx: &mut Cx<'_>, this: Output) -> Streamed<u64> {
    let room = cx.get(this)?.room();
    answer(cx, room)
}

fn write(cx: &mut Cx<'_>, this: Output, contents: Bytes) -> Streamed<()> {
    let run = cx.state.run.clone();
    let stream = cx.get(this)?;
    // A stream that has closed meanwhile took its permit back, which the guest could not know.
    if !stream.closed && contents.len() as u64 > stream.permit {
        return rule(format!("{} bytes were written, but `check-write` allowed {}", contents.len(), stream.permit));
    }
    let written = stream.write(&run, contents);
    answer(cx, written)
}

fn blocking_write_and_flush(cx: &mut Cx<'_>, this: Output, mut contents: Bytes) -> Streamed<()> {
    flushable(contents.len() as u64)?;
    if contents.is_empty() {
        return flush(cx, this);
    }
    while !contents.is_empty() {
        let room = match wait_room(cx, this)? {
            Ok(room) => room,
            Err(end) => return answer(cx, Err(end)),
        };
        let part = contents.split_to(contents.len().min(room as usize));
        let run = cx.state.run.clone();
        let written = cx.get(this)?.write(&run, part);
        if written.is_err() {
            return answer(cx, written);
        }
    }
    cx.get(this)?.sink.flush();
    // A stream that closes with that has taken all of it, and says so at the next call.
    Ok(Ok(()))
}

/// Whether a guest may write and flush this many bytes in one call.
fn flushable(len: u64) -> Outcome {
    if len > MAX_FLUSHED {
        return rule(format!("{len} bytes were to be written and flushed at once; at most {MAX_FLUSHED} are allowed"));
    }
    Ok(())
}

/// How much may be written, once that is something.
fn wait_room(cx: &mut Cx<'_>, this: Output) -> Outcome<Result<u64, End>> {
    loop {
        let stream = cx.get(this)?;
        match stream.room() {
            Ok(0) => {
                if let Some(why) = stream.sink.stuck() {
                    return rule(why);
                }
                cx.wait(|table, context| {
                    let stream = table.get::<OutputStream>(this.index())?;
                    Ok(stream.poll_ready(context).is_ready())
                })?;
            }
            room => return Ok(room),
        }
    }
}

/// Nothing here waits: a sink hands on what it has taken, and says whether it still works.
fn flush(cx: &mut Cx<'_>, this: Output) -> Streamed<()> {
    let stream = cx.get(this)?;
    stream.sink.flush();
    let permit = stream.permit;
    let flushed = stream.room().map(drop);
    // Asking for room is not the guest's own `check-write`.
    stream.permit = permit.min(stream.permit);
    answer(cx, flushed)
}

fn subscribe_output(cx: &mut Cx<'_>, this: Output) -> Outcome<Handle<Pollable>> {
    cx.subscribe(this, |stream: &mut OutputStream, context| stream.poll_ready(context))
}

fn write_zeroes(cx: &mut Cx<'_>, this: Output, len: u64) -> Streamed<()> {
    let stream = cx.get(this)?;
    if !stream.closed && len > stream.permit {
        return rule(format!("{len} zeroes were written, but `check-write` allowed {}", stream.permit));
    }
    let zeroes = zeroes(len.min(stream.permit));
    write(cx, this, zeroes)
}

fn blocking_write_zeroes_and_flush(cx: &mut Cx<'_>, this: Output, len: u64) -> Streamed<()> {
    flushable(len)?;
    blocking_write_and_flush(cx, this, zeroes(len))
}

/// No more than a sink has room for.
fn zeroes(len: u64) -> Bytes {
    vec![0; len as usize].into()
}

fn splice(cx: &mut Cx<'_>, this: Output, src: Input, len: u64) -> Streamed<u64> {
    let room = cx.get(this)?.room();
    spliced(cx, this, src, len, room, false)
}

fn blocking_splice(cx: &mut Cx<'_>, this: Output, src: Input, len: u64) -> Streamed<u64> {
    let room = if len == 0 { cx.get(this)?.room() } else { wait_room(cx, this)? };
    spliced(cx, this, src, len, room, true)
}

fn spliced(cx: &mut Cx<'_>, this: Output, src: Input, len: u64, room: Result<u64, End>, wait: bool) -> Streamed<u64> {
    let len = match room {
        Ok(room) => room.min(len),
        Err(end) => return answer(cx, Err(end)),
    };
    // What was asked on the way is not the guest's own `check-write`.
    cx.get(this)?.permit = 0;
    let read = if wait { wait_read(cx, src, len)? } else { cx.get(src)?.read(len) };
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(end) => return answer(cx, Err(end)),
    };
    let count = bytes.len() as u64;
    let run = cx.state.run.clone();
    let written = cx.get(this)?.write(&run, bytes);
    answer(cx, written.map(|()| count))
}

fn to_debug_string(cx: &mut Cx<'_>, this: Borrow<IoError>) -> Outcome<String> {
    Ok(cx.get(this)?.message.clone())
}

/// `wasi:io/poll.pollable`.
pub(crate) enum Pollable {
    /// Ready at a moment; `None` is later than the host's clock can tell.
    At(Option<Instant>),
    /// Ready when its parent is.
    Child { parent: u32, ready: Ready },
}

/// Whether the resource behind a handle is ready.
type Ready = Box<dyn Fn(&mut Table, u32, &mut Context<'_>) -> Outcome<bool> + Send>;

impl Resource for Pollable {
    const NAME: &'static str = "pollable";
}

/// The most pollables of one `poll`: each that a guest can have, several times over. The WIT text allows any number; a
/// host that looks at all of them, whenever it wakes up, needs a bound.
const MAX_POLLED: usize = 4 * MAX_HANDLES;

impl Cx<'_> {
    /// Opens a pollable for a resource, as its child.
    pub(crate) fn subscribe<T: Resource>(
        &mut self,
        of: Borrow<T>,
        ready: fn(&mut T, &mut Context<'_>) -> Poll<()>,
    ) -> Outcome<Handle<Pollable>> {
        let ready: Ready = Box::new(move |table, handle, context| Ok(ready(table.get(handle)?, context).is_ready()));
        self.push_child(Pollable::Child { parent: of.index(), ready }, of)
    }

    /// Waits until `ready`.
    pub(crate) fn wait(&mut self, mut ready: impl FnMut(&mut Table, &mut Context<'_>) -> Outcome<bool>) -> Outcome {
        let run = self.state.run.clone();
        let table = &mut self.state.table;
        run.wait(std::future::poll_fn(|context| match ready(table, context) {
            Ok(false) => Poll::Pending,
            Ok(true) => Poll::Ready(Ok(())),
            Err(fault) => Poll::Ready(Err(fault)),
        }))?
    }
}

/// Whether a pollable is ready now; its own moment is looked at, or its parent asked.
fn is_ready(table: &mut Table, handle: u32, context: &mut Context<'_>) -> Outcome<bool> {
    let pollable = table.get::<Pollable>(handle)?;
    match std::mem::replace(pollable, Pollable::At(None)) {
        Pollable::At(moment) => {
            *pollable = Pollable::At(moment);
            Ok(moment.is_some_and(|moment| moment <= Instant::now()))
        }
        Pollable::Child { parent, ready } => {
            let result = unconstrained(context, |context| ready(table, parent, context));
            *table.get::<Pollable>(handle)? = Pollable::Child { parent, ready };
            result
        }
    }
}

/// Polls outside of tokio's budget: within one of its tasks it would make what is ready look pending.
pub(crate) fn unconstrained<T>(context: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let mut poll = Some(poll);
    let future = std::future::poll_fn(|context| match poll.take() {
        Some(poll) => Poll::Ready(poll(context)),
        None => Poll::Pending,
    });
    match Future::poll(std::pin::pin!(tokio::task::coop::unconstrained(future)), context) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the closure is there for the first poll"),
    }
}

fn ready(cx: &mut Cx<'_>, this: Borrow<Pollable>) -> Outcome<bool> {
    is_ready(&mut cx.state.table, this.index(), &mut Context::from_waker(Waker::noop()))
}

fn block(cx: &mut Cx<'_>, this: Borrow<Pollable>) -> Outcome {
    wait_any(cx, &[this]).map(drop)
}

fn poll(cx: &mut Cx<'_>, list: Vec<Borrow<Pollable>>) -> Outcome<Vec<u32>> {
    if list.is_empty() {
        return rule("the list is empty, so the wait would never end");
    }
    if list.len() > MAX_POLLED {
        return limit(format!(
            "{} pollables were polled at once, but this host allows at most {MAX_POLLED}; a guest has at most \
             {MAX_HANDLES} handles, so most are in the list more than once: leave out the repetitions",
            list.len()
        ));
    }
    wait_any(cx, &list)
}

/// Waits until any is ready and tells which are, by their place in the list.
fn wait_any(cx: &mut Cx<'_>, list: &[Borrow<Pollable>]) -> Outcome<Vec<u32>> {
    let run = cx.state.run.clone();
    let table = &mut cx.state.table;
    let mut first: Option<Instant> = None;
    for pollable in list {
        if let Pollable::At(Some(moment)) = table.get::<Pollable>(pollable.index())? {
            first = Some(first.map_or(*moment, |first| first.min(*moment)));
        }
    }
    loop {
        let wait = std::future::poll_fn(|context| match all_ready(table, list, context) {
            Ok(ready) if ready.is_empty() => Poll::Pending,
            ready => Poll::Ready(ready),
        });
        // Without an answer a moment has come, and the next look finds it.
        if let Some(ready) = run.wait_until(wait, first)? {
            return ready;
        }
    }
}

fn all_ready(table: &mut Table, list: &[Borrow<Pollable>], context: &mut Context<'_>) -> Outcome<Vec<u32>> {
    let mut ready = Vec::new();
    for (at, pollable) in (0u32..).zip(list) {
        if is_ready(table, pollable.index(), context)? {
            ready.push(at);
        }
    }
    Ok(ready)
}

interfaces! { "wasi:io/error";
    "[method]error.to-debug-string"(this: Borrow<IoError>) -> String => to_debug_string;
    "[resource-drop]error"(this: Own<IoError>) -> () => drop_resource;
    @ "wasi:io/poll";
    "[method]pollable.ready"(this: Borrow<Pollable>) -> bool => ready;
    "[method]pollable.block"(this: Borrow<Pollable>) -> () => block;
    "poll"(list: Vec<Borrow<Pollable>>) -> Vec<u32> => poll;
    "[resource-drop]pollable"(this: Own<Pollable>) -> () => drop_resource;
    @ "wasi:io/streams";
    "[method]input-stream.read"(this: Input, len: u64) -> Result<Bytes, StreamError> => read;
    "[method]input-stream.blocking-read"(this: Input, len: u64) -> Result<Bytes, StreamError> => blocking_read;
    "[method]input-stream.skip"(this: Input, len: u64) -> Result<u64, StreamError> => skip;
    "[method]input-stream.blocking-skip"(this: Input, len: u64) -> Result<u64, StreamError> => blocking_skip;
    "[method]input-stream.subscribe"(this: Input) -> Handle<Pollable> => subscribe_input;
    "[resource-drop]input-stream"(this: Own<InputStream>) -> () => drop_resource;
    "[method]output-stream.check-write"(this: Output) -> Result<u64, StreamError> => check_write;
    "[method]output-stream.write"(this: Output, contents: Bytes) -> Result<(), StreamError> => write;
    "[method]output-stream.blocking-write-and-flush"(
        this: Output, contents: Bytes
    ) -> Result<(), StreamError> => blocking_write_and_flush;
    "[method]output-stream.flush"(this: Output) -> Result<(), StreamError> => flush;
    "[method]output-stream.blocking-flush"(this: Output) -> Result<(), StreamError> => flush;
    "[method]output-stream.subscribe"(this: Output) -> Handle<Pollable> => subscribe_output;
    "[method]output-stream.write-zeroes"(this: Output, len: u64) -> Result<(), StreamError> => write_zeroes;
    "[method]output-stream.blocking-write-zeroes-and-flush"(
        this: Output, len: u64
    ) -> Result<(), StreamError> => blocking_write_zeroes_and_flush;
    "[method]output-stream.splice"(this: Output, src: Input, len: u64) -> Result<u64, StreamError> => splice;
    "[method]output-stream.blocking-splice"(
        this: Output, src: Input, len: u64
    ) -> Result<u64, StreamError> => blocking_splice;
    "[resource-drop]output-stream"(this: Own<OutputStream>) -> () => drop_resource;
}
