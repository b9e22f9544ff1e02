//! `wasi:cli`: arguments, environment, exit, and the standard streams, over the same grants as preview 1.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::canon::{Cx, Fault, Handle, Outcome, Own};
use super::io::{End, InputStream, OutputStream, Sink, Source};
use super::table::Resource;
use super::{drop_resource, interfaces};
use crate::run::Run;
use crate::stop::Stop;

/// How much a guest may write to a standard stream at once.
const ROOM: u64 = 64 << 10;

pub(crate) struct TerminalInput;

impl Resource for TerminalInput {
    const NAME: &'static str = "terminal-input";
}

pub(crate) struct TerminalOutput;

impl Resource for TerminalOutput {
    const NAME: &'static str = "terminal-output";
}

/// Standard input.
pub(crate) struct Stdin {
    pub(crate) stream: Arc<wharf_grants::InputStream>,
    pub(crate) wait: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send>>>,
}

impl Source for Stdin {
    fn read(&mut self, max: usize) -> Result<Bytes, End> {
        if max == 0 {
            return Ok(Bytes::new());
        }
        let mut buffer = vec![0; max];
        match self.stream.take(&mut buffer)? {
            Some(0) => Err(End::Closed),
            Some(len) => {
                buffer.truncate(len);
                Ok(buffer.into())
            }
            None => {
                self.stream.ask()?;
                Ok(Bytes::new())
            }
        }
    }

    /// A failure to wait is shown by the read that follows.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.stream.available().is_some() {
            return Poll::Ready(());
        }
        let stream = &self.stream;
        let wait = self.wait.get_or_insert_with(|| {
            let stream = stream.clone();
            Box::pin(async move { stream.ready().await })
        });
        match wait.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => {
                self.wait = None;
                Poll::Ready(())
            }
        }
    }
}

/// Standard output or error. A write is done when it returns, so there is always room for the next.
pub(crate) struct Stdout(pub(crate) Arc<wharf_grants::OutputStream>);

impl Sink for Stdout {
    fn room(&mut self) -> Result<u64, End> {
        Ok(ROOM)
    }

    fn write(&mut self, run: &Run, bytes: Bytes) -> Result<(), End> {
        Ok(run.wait(self.0.write(&bytes)).map_err(End::Stop)??)
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn stuck(&mut self) -> Option<&'static str> {
        None
    }
}

pub(crate) fn environment(cx: &mut Cx<'_>) -> Outcome<Vec<(String, String)>> {
    let pair = |entry: &String| {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        (name.to_owned(), value.to_owned())
    };
    Ok(cx.state.env.iter().map(pair).collect())
}

pub(crate) fn arguments(cx: &mut Cx<'_>) -> Outcome<Vec<String>> {
    Ok(cx.state.args.to_vec())
}

/// A guest has no working directory: what its paths start from are the granted directories.
pub(crate) fn initial_cwd(_: &mut Cx<'_>) -> Outcome<Option<String>> {
    Ok(None)
}

pub(crate) fn exit(_: &mut Cx<'_>, status: Result<(), ()>) -> Outcome {
    Err(Fault::Stop(Stop::Exit(i32::from(status.is_err()))))
}

pub(crate) fn exit_with_code(_: &mut Cx<'_>, status: u8) -> Outcome {
    Err(Fault::Stop(Stop::Exit(status.into())))
}

fn stdin(cx: &mut Cx<'_>) -> Outcome<Handle<InputStream>> {
    let stream = cx.state.stdin.clone();
    cx.push(InputStream::new(Stdin { stream, wait: None }))
}

/// Standard output or error, to be written to.
pub(super) fn output(stream: Arc<wharf_grants::OutputStream>) -> OutputStream {
    OutputStream::new(Stdout(stream))
}

fn stdout(cx: &mut Cx<'_>) -> Outcome<Handle<OutputStream>> {
    let stream = cx.state.stdout.clone();
    cx.push(output(stream))
}

fn stderr(cx: &mut Cx<'_>) -> Outcome<Handle<OutputStream>> {
    let stream = cx.state.stderr.clone();
    cx.push(output(stream))
}

pub(crate) fn terminal_stdin(cx: &mut Cx<'_>) -> Outcome<Option<Handle<TerminalInput>>> {
    if cx.state.stdin.terminal() { cx.push(TerminalInput).map(Some) } else { Ok(None) }
}

pub(crate) fn terminal_stdout(cx: &mut Cx<'_>) -> Outcome<Option<Handle<TerminalOutput>>> {
    if cx.state.stdout.terminal() { cx.push(TerminalOutput).map(Some) } else { Ok(None) }
}

pub(crate) fn terminal_stderr(cx: &mut Cx<'_>) -> Outcome<Option<Handle<TerminalOutput>>> {
    if cx.state.stderr.terminal() { cx.push(TerminalOutput).map(Some) } else { Ok(None) }
}

interfaces! { "wasi:cli/environment";
    "get-environment"() -> Vec<(String, String)> => environment;
    "get-arguments"() -> Vec<String> => arguments;
    "initial-cwd"() -> Option<String> => initial_cwd;
    @ "wasi:cli/exit";
    "exit"(status: Result<(), ()>) -> () => exit;
    "exit-with-code"(status: u8) -> () => exit_with_code;
    @ "wasi:cli/stdin";
    "get-stdin"() -> Handle<InputStream> => stdin;
    @ "wasi:cli/stdout";
    "get-stdout"() -> Handle<OutputStream> => stdout;
    @ "wasi:cli/stderr";
    "get-stderr"() -> Handle<OutputStream> => stderr;
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
