//! `wasi:cli`: what WASI 0.2 has of it, with streams of the component model.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use wharf_grants::OutputStream;

use super::interfaces;
use crate::abi::concurrent::{ByteStream, FutureOut, HostBytes, Moved, PIECES, Promise, Pump, Settle, Sink, promise};
use crate::abi::wasi02::canon::{Cx, Fault, Handle, Outcome, Own, variant};
use crate::abi::wasi02::cli::{
    Stdin, Stdout, TerminalInput, TerminalOutput, arguments, environment, exit, exit_with_code, initial_cwd,
    terminal_stderr, terminal_stdin, terminal_stdout,
};
use crate::abi::wasi02::drop_resource;
use crate::abi::wasi02::io::{End, Sink as _};
use crate::run::Run;

/// How much of what a guest writes is taken at once.
const MAX_WRITE: u32 = 64 << 10;

variant! {
    /// `wasi:cli/types.error-code`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum ErrorCode as "error-code" {
        Io,
        IllegalByteSequence,
        Pipe,
    }
}

type Ended = Result<(), ErrorCode>;

/// A future of what becomes of a stream.
fn outcome(promise: Promise<Ended>) -> FutureOut<Ended> {
    let waits = promise.clone();
    let ended = FutureOut::new(move |context| promise.poll(context).map(|ended| ended.unwrap_or(Ok(()))));
    ended.stuck_while(move || waits.is_stuck())
}

fn read_via_stream(cx: &mut Cx<'_>) -> Outcome<(ByteStream, FutureOut<Ended>)> {
    let source = Stdin { stream: cx.state.stdin.clone(), wait: None };
    let (settle, promise) = promise();
    let ended = move |end: Option<End>| settle.settle(if end.is_some() { Err(ErrorCode::Io) } else { Ok(()) });
    Ok((ByteStream::new(Box::new(source), ended), outcome(promise)))
}

/// Writes what a guest writes to a stream. A write is done when it has returned.
struct Writing {
    sink: Stdout,
    settle: Settle<Ended>,
}

impl Sink for Writing {
    fn poll(&mut self, cx: &mut Cx<'_>, ptr: u32, count: u32, _: &mut Context<'_>) -> Outcome<Poll<Moved>> {
        let count = count.min(MAX_WRITE);
        let bytes = Bytes::copy_from_slice(cx.memory()?.slice(ptr, count)?);
        if bytes.is_empty() {
            return Ok(Poll::Ready(Moved::Values(0)));
        }
        match self.sink.write(&cx.state.run, bytes) {
            Ok(()) => Ok(Poll::Ready(Moved::Values(count))),
            Err(End::Stop(stop)) => Err(Fault::Stop(stop)),
            Err(End::Closed) => {
                self.settle.settle(Err(ErrorCode::Pipe));
                Ok(Poll::Ready(Moved::Ended))
            }
            Err(End::Failed(_)) => {
                self.settle.settle(Err(ErrorCode::Io));
                Ok(Poll::Ready(Moved::Ended))
            }
        }
    }

    fn close(&mut self) {
        self.settle.settle(Ok(()));
    }
}

/// Standard output or error, as a stream that the guest gives away.
fn write_to(cx: &mut Cx<'_>, sink: Arc<OutputStream>, data: ByteStream) -> Outcome<FutureOut<Ended>> {
    let (settle, promise) = promise();
    if let Some(source) = data.take_source() {
        // What the host writes itself goes there without the guest.
        settle.begin();
        cx.state.concurrent.pump(Copying { source, sink, run: cx.run(), settle })?;
        return Ok(outcome(promise));
    }
    data.keep(Writing { sink: Stdout(sink), settle });
    Ok(outcome(promise))
}

/// Copies what the host reads to where it writes.
struct Copying {
    source: HostBytes,
    sink: Arc<OutputStream>,
    run: Run,
    settle: Settle<Ended>,
}

impl Pump for Copying {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..PIECES {
            let ended = match self.source.poll_read(MAX_WRITE as usize, context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => Ok(()),
                Poll::Ready(Some(bytes)) => match Stdout(self.sink.clone()).write(&self.run, bytes) {
                    Ok(()) => continue,
                    Err(End::Closed) => Err(ErrorCode::Pipe),
                    Err(_) => Err(ErrorCode::Io),
                },
            };
            self.settle.settle(ended);
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn stuck(&self) -> bool {
        false
    }
}

fn stdout(cx: &mut Cx<'_>, data: ByteStream) -> Outcome<FutureOut<Ended>> {
    let sink = cx.state.stdout.clone();
    write_to(cx, sink, data)
}

fn stderr(cx: &mut Cx<'_>, data: ByteStream) -> Outcome<FutureOut<Ended>> {
    let sink = cx.state.stderr.clone();
    write_to(cx, sink, data)
}

interfaces! { "wasi:cli/environment";
    "get-environment"() -> Vec<(String, String)> => environment;
    "get-arguments"() -> Vec<String> => arguments;
    "get-initial-cwd"() -> Option<String> => initial_cwd;
    @ "wasi:cli/exit";
    "exit"(status: Result<(), ()>) -> () => exit;
    "exit-with-code"(status: u8) -> () => exit_with_code;
    @ "wasi:cli/stdin";
    "read-via-stream"() -> (ByteStream, FutureOut<Ended>) => read_via_stream;
    @ "wasi:cli/stdout";
    "write-via-stream"(data: ByteStream) -> FutureOut<Ended> => stdout;
    @ "wasi:cli/stderr";
    "write-via-stream"(data: ByteStream) -> FutureOut<Ended> => stderr;
    @ "wasi:cli/terminal-input";
    "[resource-drop]terminal-input"(this: Own<TerminalInput>) -> () => drop_resource;
    @ "wasi:cli/terminal-output";
    "[resource-drop]terminal-output"(this: Own<TerminalOutput>) -> () => drop_resource;
    @ "wasi:cli/terminal-stdin";
    "get-terminal-stdin"() -> Option<Handle<TerminalInput>> => terminal_stdin;
    @ "wasi:cli/terminal-stdout";
    "get-terminal-stdout"() -> Option<Handle<TerminalOutput>> => terminal_stdout;
    @ "wasi:cli/terminal-stderr";
    "get-terminal-stderr"() -> Option<Handle<TerminalOutput>> => terminal_stderr;
}
