//! `wasi:cli`: standard streams that end, fail, and are opened several times; and what else comes from the host's side of
//! a run, `wasi:random/insecure-seed` and `wasi:logging`.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use wharf_core::GuestConfig;
use wharf_core::grants::{Capture, Input, Output, WasiConfig};

use super::probe::{RET, Wasi02, module};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

const STREAMS: &str = "wasi:io/streams@0.2.12: stream-error";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/stdio/a-closed-pipe-is-closed", STREAMS, closed_pipe),
    Case::must("wasihttp/stdio/a-failed-write-has-its-code", STREAMS, failed_write),
    Case::must("wasihttp/stdio/a-directory-as-input", STREAMS, directory_as_input),
    Case::must("wasihttp/stdio/input-is-one", "wasi:cli/stdin@0.2.12", input_is_one),
    Case::must("wasihttp/stdio/input-is-read-on-demand", "wasi:cli/stdin@0.2.12", on_demand),
    Case::must("wasihttp/stdio/input-arrives-while-waiting", "wasi:cli/stdin@0.2.12", arrives),
    Case::must("wasihttp/random/insecure-seed-stays", "wasi:random/insecure-seed@0.2.12", seed_stays),
    Case::must("wasihttp/logging/goes-to-stderr", "wasi:logging/logging@0.1.0-draft: log", logging),
];

const INTERFACES: [&str; 7] = [
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:io/streams",
    "wasi:io/poll",
    "wasi:io/error",
    "wasi:filesystem/types",
];

// Numbers of `wasi:filesystem/types.error-code`.
const IS_DIRECTORY: u8 = 14;
const INSUFFICIENT_SPACE: u8 = 23;

fn probe(context: &Context, wasi: WasiConfig) -> CaseResult<Wasi02> {
    Wasi02::start(context, &module(&INTERFACES, ""), GuestConfig { wasi, ..GuestConfig::default() })
}

// Error numbers of every Unix.
const EISDIR: i32 = 21;
const ENOSPC: i32 = 28;

/// Reads and writes as the system does that has this error for everything.
struct Failing(i32);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(self.0))
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(self.0))
    }
}

impl Wasi02 {
    /// The call failed: not `closed`, but with an error that has this code.
    fn failed_with(&mut self, code: u8, what: &str) -> CaseResult {
        check_eq!((self.byte(0)?, self.byte(4)?), (1, 0), "error, and `last-operation-failed`, of {what}");
        let error = self.word(8)?.into();
        check_eq!(self.case("filesystem-error-code", &[error])?, 1, "whether there is a code for {what}");
        check_eq!(self.byte(1)?, code, "the error code of {what}");
        Ok(())
    }

    /// The call failed with `closed`.
    fn failed_closed(&mut self, what: &str) -> CaseResult {
        check_eq!((self.byte(0)?, self.byte(4)?), (1, 1), "error, and `closed`, of {what}");
        Ok(())
    }

    /// Reads once, waiting; gives what came.
    fn read_once(&mut self, stream: u64, len: u64) -> CaseResult<Vec<u8>> {
        check_eq!(self.case("[method]input-stream.blocking-read", &[stream, len])?, 0, "the answer of a read");
        self.string_at(RET + 4)
    }
}

/// `guest | head -1`: libraries make EPIPE of `closed`, and EIO of `last-operation-failed`.
fn closed_pipe(context: &Context) -> CaseResult {
    for get in ["get-stdout", "get-stderr"] {
        let (pipe, output) = io::pipe().map_err(Unmet::harness)?;
        drop(pipe);
        let output = Output::writer(output);
        let mut probe = probe(context, WasiConfig::new().stdout(output.clone()).stderr(output))?;
        let stream = probe.call(get, &[])?;
        probe.write(stream, b"nobody reads this")?;
        probe.failed_closed("a write to a pipe that nobody reads")?;
        probe.case("[method]output-stream.check-write", &[stream])?;
        check_eq!((probe.byte(0)?, probe.byte(8)?), (1, 1), "error, and `closed`, of the `check-write` that follows");
        probe.write(stream, b"more")?;
        probe.failed_closed("a second write")?;
    }
    Ok(())
}

fn failed_write(context: &Context) -> CaseResult {
    let output = Output::writer(Failing(ENOSPC));
    let mut probe = probe(context, WasiConfig::new().stdout(output))?;
    let stream = probe.call("get-stdout", &[])?;
    probe.write(stream, b"more than there is room for")?;
    probe.failed_with(INSUFFICIENT_SPACE, "a write to a full disk")
}

/// `guest < .`, which preview 1 answers with `isdir`.
fn directory_as_input(context: &Context) -> CaseResult {
    let input = Input::reader(Failing(EISDIR));
    let mut probe = probe(context, WasiConfig::new().stdin(input))?;
    let stream = probe.call("get-stdin", &[])?;
    probe.case("[method]input-stream.blocking-read", &[stream, 100])?;
    probe.failed_with(IS_DIRECTORY, "a read from a directory")?;
    probe.case("[method]input-stream.blocking-read", &[stream, 100])?;
    probe.failed_closed("the read that follows")
}

/// Each stream goes on where another was, and one that nobody read from has taken nothing.
fn input_is_one(context: &Context) -> CaseResult {
    let inputs = [Input::Bytes(Bytes::from_static(b"hello")), Input::reader(&b"hello"[..])];
    for input in inputs {
        let mut probe = probe(context, WasiConfig::new().stdin(input))?;
        let unused = probe.call("get-stdin", &[])?;
        let pollable = probe.call("[method]input-stream.subscribe", &[unused])?;
        probe.call("[method]pollable.block", &[pollable])?;
        probe.call("[resource-drop]pollable", &[pollable])?;
        let first = probe.call("get-stdin", &[])?;
        check_eq!(probe.read_once(first, 2)?, b"he", "what the first stream read");
        probe.call("[resource-drop]input-stream", &[first])?;
        let second = probe.call("get-stdin", &[])?;
        check_eq!(probe.read_once(second, 2)?, b"ll", "what the second stream read");
        check_eq!(probe.read_all(unused)?, (b"o".to_vec(), true), "what is left, by the stream that was opened first");
        check_eq!(probe.read_all(second)?, (Vec::new(), true), "what is left after that");
    }
    Ok(())
}

/// Nothing is read from the host before the guest asks for it.
fn on_demand(context: &Context) -> CaseResult {
    struct Counting(Arc<AtomicUsize>);
    impl Read for Counting {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.fetch_add(1, Ordering::SeqCst);
            buffer[0] = b'x';
            Ok(1)
        }
    }
    let reads = Arc::<AtomicUsize>::default();
    let mut probe = probe(context, WasiConfig::new().stdin(Input::reader(Counting(reads.clone()))))?;
    let seen = || reads.load(Ordering::SeqCst);
    let stream = probe.call("get-stdin", &[])?;
    let stdout = probe.call("get-stdout", &[])?;
    check_eq!(probe.write(stdout, b"a prompt")?, 0, "the answer of a write");
    let other = probe.call("get-stdin", &[])?;
    probe.call("[resource-drop]input-stream", &[other])?;
    check_eq!(seen(), 0, "reads of the host's before the guest's first");
    check_eq!(probe.read_once(stream, 10)?, b"x", "what was read");
    check_eq!(seen(), 1, "reads of the host's after the guest's first");
    Ok(())
}

fn arrives(context: &Context) -> CaseResult {
    let (input, mut far) = io::pipe().map_err(Unmet::harness)?;
    let mut probe = probe(context, WasiConfig::new().stdin(Input::reader(input)))?;
    let stream = probe.call("get-stdin", &[])?;
    check_eq!(probe.case("[method]input-stream.read", &[stream, 10])?, 0, "the answer of a read of nothing yet");
    check_eq!(probe.word(8)?, 0, "the bytes it gave");
    far.write_all(b"now").map_err(Unmet::harness)?;
    probe.wait("[method]input-stream.subscribe", stream)?;
    check_eq!(probe.read_once(stream, 10)?, b"now", "what has arrived");
    drop(far);
    check_eq!(probe.read_all(stream)?, (Vec::new(), true), "what comes after the end");
    Ok(())
}

fn seed_stays(context: &Context) -> CaseResult {
    let mut seeds = Vec::new();
    for _ in 0..2 {
        let mut probe = Wasi02::start(context, &module(&["wasi:random/insecure-seed"], ""), GuestConfig::default())?;
        let mut seed = || {
            probe.case("insecure-seed", &[])?;
            Ok::<_, Unmet>((probe.probe.u64_at(RET)?, probe.probe.u64_at(RET + 8)?))
        };
        let first = seed()?;
        check_eq!(seed()?, first, "the seed, asked for again");
        seeds.push(first);
    }
    check!(seeds[0] != seeds[1], "two guests have the same seed, {:?}", seeds[0]);
    Ok(())
}

/// As published components import it: without a version, or as the draft.
fn logging(context: &Context) -> CaseResult {
    let plain = module(&["wasi:logging/logging"], "");
    for text in [plain.replace("@0.1.0-draft", ""), plain] {
        let (out, err) = (Capture::new(1000), Capture::new(1000));
        let wasi = WasiConfig::new().stdout(Output::Capture(out.clone())).stderr(Output::Capture(err.clone()));
        let mut probe = Wasi02::start(context, &text, GuestConfig { wasi, ..GuestConfig::default() })?;
        for (level, context, message) in [(0, "", "first"), (3, "disk", "nearly full"), (5, "", "two\nlines")] {
            let ([ptr, len], [ptr_2, len_2]) = (probe.bytes(context)?, probe.bytes(message)?);
            probe.call("log", &[level, ptr, len, ptr_2, len_2])?;
        }
        drop(probe);
        let expected = "trace: first\nwarn: disk: nearly full\ncritical: two\nlines\n";
        check_eq!(String::from_utf8_lossy(&err.contents()), expected, "standard error");
        check_eq!(out.contents(), b"", "standard output");
    }
    let mut probe = Wasi02::start(context, &module(&["wasi:logging/logging"], ""), GuestConfig::default())?;
    probe.traps("log", &[6, 0, 0, 0, 0], "`level` has no case 6")
}
