//! The three standard streams.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wharf_core::grants::{Capture, Input, Output, WasiConfig};
use wharf_core::{GuestConfig, Kind, Stop};

use super::probe::{Errno, NONBLOCK, READ, WRITE, WasiProbe, at, range};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::needs::INTERRUPT;
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("preview1/stdio/output-is-captured", "wasi_snapshot_preview1: fd_write", captured),
    Case::must("preview1/stdio/output-through-several-buffers", "wasi_snapshot_preview1: fd_write", scattered),
    Case::must("preview1/stdio/output-beyond-the-limit", "wasi_snapshot_preview1: fd_write", beyond_limit),
    Case::must("preview1/stdio/output-discarded-by-default", "wasi_snapshot_preview1: fd_write", discarded),
    Case::must("preview1/stdio/output-to-a-writer", "wasi_snapshot_preview1: fd_write", to_writer),
    Case::must("preview1/stdio/output-to-a-broken-writer", "wasi_snapshot_preview1: fd_write", broken_writer),
    Case::must("preview1/stdio/output-closed", "wasi_snapshot_preview1: fd_close", output_closed),
    Case::must("preview1/stdio/input-empty-by-default", "wasi_snapshot_preview1: fd_read", input_empty),
    Case::must("preview1/stdio/input-to-its-end", "wasi_snapshot_preview1: fd_read", input_to_end),
    Case::must("preview1/stdio/input-from-a-reader", "wasi_snapshot_preview1: fd_read", input_from_reader),
    Case::must("preview1/stdio/input-without-waiting", "wasi_snapshot_preview1: fd_fdstat_set_flags", nonblocking),
    Case::must("preview1/stdio/input-that-blocks-ends-with-the-run", "wasi_snapshot_preview1: fd_read", blocked_input)
        .needs(&[INTERRUPT]),
    Case::must("preview1/stdio/streams-go-one-way", "wasi_snapshot_preview1: fd_read, fd_write", one_way),
    Case::must("preview1/stdio/streams-have-no-position", "wasi_snapshot_preview1: fd_seek, fd_tell", no_position),
    Case::must("preview1/stdio/streams-are-no-files", "wasi_snapshot_preview1: fd_fdstat_get", no_files),
    Case::must("preview1/stdio/bad-buffers", "wasi_snapshot_preview1: fd_write, iovs", bad_buffers),
];

/// A probe whose two outputs are captured.
fn capturing(context: &Context, limit: usize) -> CaseResult<(WasiProbe, Capture, Capture)> {
    let (out, err) = (Capture::new(limit), Capture::new(limit));
    let config = WasiConfig::new().stdout(Output::Capture(out.clone())).stderr(Output::Capture(err.clone()));
    Ok((WasiProbe::start(context, config)?, out, err))
}

fn captured(context: &Context) -> CaseResult {
    let (mut probe, out, err) = capturing(context, 1 << 20)?;
    check_eq!(probe.write(1, b"to stdout, ")?, 11, "bytes written");
    check_eq!(probe.write(2, b"to stderr")?, 9, "bytes written");
    check_eq!(probe.write(1, b"\0\xff\n")?, 3, "bytes written");
    check_eq!(probe.write(1, b"")?, 0, "bytes written of none");
    check_eq!(out.contents(), b"to stdout, \0\xff\n", "what was captured of stdout");
    check_eq!(err.contents(), b"to stderr", "what was captured of stderr");
    Ok(())
}

/// All buffers count, in order; an empty one may point anywhere, and one may come twice.
fn scattered(context: &Context) -> CaseResult {
    let (mut probe, out, _) = capturing(context, 1 << 20)?;
    probe.probe.put(at::DATA, b"onetwothree")?;
    let list = [(at::DATA + 3, 3), (0xffff_fff0, 0), (at::DATA, 3), (at::DATA + 3, 8), (at::DATA, 3)];
    let [iovs, count] = probe.iovecs(&list)?;
    probe.ok("fd_write", &[1, iovs, count, at::OUT.into()], &[range(at::OUT, 4)])?;
    check_eq!(probe.probe.u32_at(at::OUT)?, 17, "bytes written");
    check_eq!(out.contents(), b"twoonetwothreeone", "what was captured");
    // As many buffers as POSIX allows, and one more.
    let [iovs, count] = probe.iovecs(&[(at::DATA, 1); 1024])?;
    probe.ok("fd_write", &[1, iovs, count, at::OUT.into()], &[range(at::OUT, 4)])?;
    check_eq!(probe.probe.u32_at(at::OUT)?, 1024, "bytes written from 1024 buffers");
    let [iovs, count] = probe.iovecs(&[(at::DATA, 1); 1025])?;
    probe.fails("fd_write", &[1, iovs, count, at::OUT.into()], Errno::INVAL)?;
    check_eq!(out.contents().len(), 17 + 1024, "bytes captured");
    Ok(())
}

fn beyond_limit(context: &Context) -> CaseResult {
    let (mut probe, out, _) = capturing(context, 8)?;
    for text in ["12345", "67890"] {
        check_eq!(probe.write(1, text.as_bytes())?, 5, "bytes written");
    }
    check_eq!((out.contents(), out.dropped()), (b"12345678".to_vec(), 2), "what was kept, and the count of the rest");
    Ok(())
}

fn discarded(context: &Context) -> CaseResult {
    let mut probe = WasiProbe::start(context, WasiConfig::new())?;
    for fd in [1, 2] {
        check_eq!(probe.write(fd, b"nobody reads this")?, 17, "bytes written to {fd}");
    }
    Ok(())
}

fn to_writer(context: &Context) -> CaseResult {
    let (mut reader, writer) = io::pipe().map_err(Unmet::harness)?;
    let mut probe = WasiProbe::start(context, WasiConfig::new().stderr(Output::writer(writer)))?;
    check_eq!(probe.write(2, b"through a pipe")?, 14, "bytes written");
    drop(probe);
    let mut text = String::new();
    reader.read_to_string(&mut text).map_err(Unmet::harness)?;
    check_eq!(text, "through a pipe", "what the writer got");
    Ok(())
}

fn broken_writer(context: &Context) -> CaseResult {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut probe = WasiProbe::start(context, WasiConfig::new().stdout(Output::writer(Broken)))?;
    let [iovs, count] = probe.iovecs(&[(at::DATA, 1)])?;
    for _ in 0..2 {
        probe.fails("fd_write", &[1, iovs, count, at::OUT.into()], Errno(64))?;
    }
    Ok(())
}

fn output_closed(context: &Context) -> CaseResult {
    let (mut probe, out, _) = capturing(context, 100)?;
    probe.ok("fd_close", &[1], &[])?;
    let [iovs, count] = probe.iovecs(&[(at::DATA, 1)])?;
    probe.fails("fd_write", &[1, iovs, count, at::OUT.into()], Errno::BADF)?;
    probe.fails("fd_close", &[1], Errno::BADF)?;
    check_eq!(out.contents(), b"", "what was captured after the guest closed its output");
    Ok(())
}

fn input_empty(context: &Context) -> CaseResult {
    let mut probe = WasiProbe::start(context, WasiConfig::new())?;
    for _ in 0..2 {
        check_eq!(probe.read(0, 64)?, b"", "the input by default");
    }
    Ok(())
}

fn input_to_end(context: &Context) -> CaseResult {
    let input = Input::Bytes(Bytes::from_static(b"0123456789"));
    let mut probe = WasiProbe::start(context, WasiConfig::new().stdin(input))?;
    // The first buffer is filled before the second is begun; buffers that touch make one answer.
    let [iovs, count] = probe.iovecs(&[(at::DATA, 1), (0xffff_ffff, 0), (at::DATA + 1, 3)])?;
    check_eq!(probe.fill("fd_read", &[0, iovs, count, at::OUT.into()], 4)?, b"0123", "the first bytes");
    check_eq!(probe.read(0, 0)?, b"", "a read of nothing");
    check_eq!(probe.read(0, 64)?, b"456789", "the rest");
    check_eq!(probe.read(0, 64)?, b"", "the end");
    check_eq!(probe.read(0, 64)?, b"", "the end once more");
    Ok(())
}

fn input_from_reader(context: &Context) -> CaseResult {
    let (reader, mut writer) = io::pipe().map_err(Unmet::harness)?;
    let mut probe = WasiProbe::start(context, WasiConfig::new().stdin(Input::reader(reader)))?;
    writer.write_all(b"first").map_err(Unmet::harness)?;
    check_eq!(probe.read(0, 64)?, b"first", "what was there, though there was room for more");
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        writer.write_all(b"late")
    });
    check_eq!(probe.read(0, 2)?, b"la", "what the read waited for");
    check_eq!(probe.read(0, 64)?, b"te", "the rest of it");
    late.join().map_err(|_| Unmet::harness("the writer panicked"))?.map_err(Unmet::harness)?;
    check_eq!(probe.read(0, 64)?, b"", "the end");
    Ok(())
}

fn nonblocking(context: &Context) -> CaseResult {
    let (reader, mut writer) = io::pipe().map_err(Unmet::harness)?;
    let mut probe = WasiProbe::start(context, WasiConfig::new().stdin(Input::reader(reader)))?;
    probe.ok("fd_fdstat_set_flags", &[0, NONBLOCK.into()], &[])?;
    let [iovs, count] = probe.iovecs(&[(at::DATA, 8)])?;
    let args = [0, iovs, count, at::OUT.into()];
    probe.fails("fd_read", &args, Errno::AGAIN)?;
    writer.write_all(b"now").map_err(Unmet::harness)?;
    let outs = [range(at::DATA, 3), range(at::OUT, 4)];
    let before = Instant::now();
    while probe.call("fd_read", &args, &outs)? == Errno::AGAIN {
        check!(before.elapsed() < Duration::from_secs(10), "input that has arrived is still not readable");
        std::thread::sleep(Duration::from_millis(1));
    }
    check_eq!(probe.probe.bytes(at::DATA, 3)?, b"now", "the input that arrived");
    Ok(())
}

fn blocked_input(context: &Context) -> CaseResult {
    // Held open for as long as the guest waits.
    let (reader, _writer) = io::pipe().map_err(Unmet::harness)?;
    let wasi = WasiConfig::new().stdin(Input::reader(reader));
    let limit = Duration::from_millis(150);
    let config = GuestConfig { wasi, timeout: Some(limit), ..GuestConfig::default() };
    let mut probe = WasiProbe::start_with(context, config)?;
    let [iovs, count] = probe.iovecs(&[(at::DATA, 8)])?;
    let before = Instant::now();
    match probe.probe.try_call("fd_read", &[0, iovs, count, at::OUT.into()]) {
        Err(Stop::Error(error)) => check_eq!(error.kind(), Kind::Timeout, "the kind of the error"),
        other => return Err(Unmet::failed(format!("a read that blocks ended with {other:?}"))),
    }
    let took = before.elapsed();
    check!(took < limit + Duration::from_secs(1), "a limit of {limit:?} ended the read after {took:?}");
    Ok(())
}

fn one_way(context: &Context) -> CaseResult {
    let (mut probe, out, err) = capturing(context, 100)?;
    let [iovs, count] = probe.iovecs(&[(at::DATA, 4)])?;
    probe.fails("fd_write", &[0, iovs, count, at::OUT.into()], Errno::BADF)?;
    for fd in [1, 2] {
        probe.fails("fd_read", &[fd, iovs, count, at::OUT.into()], Errno::BADF)?;
    }
    check_eq!((out.contents(), err.contents()), (vec![], vec![]), "what was captured");
    Ok(())
}

fn no_position(context: &Context) -> CaseResult {
    let mut probe = WasiProbe::start(context, WasiConfig::new())?;
    let [iovs, count] = probe.iovecs(&[(at::DATA, 4)])?;
    for fd in [0, 1, 2] {
        probe.fails("fd_seek", &[fd, 0, 0, at::OUT.into()], Errno::SPIPE)?;
        probe.fails("fd_tell", &[fd, at::OUT.into()], Errno::SPIPE)?;
        probe.fails("fd_pread", &[fd, iovs, count, 0, at::OUT.into()], Errno::SPIPE)?;
        probe.fails("fd_pwrite", &[fd, iovs, count, 0, at::OUT.into()], Errno::SPIPE)?;
    }
    Ok(())
}

/// No position, and a kind that is not a file: by these wasi-libc decides how to buffer.
fn no_files(context: &Context) -> CaseResult {
    const SEEK: u64 = 1 << 2;
    const TELL: u64 = 1 << 5;
    let mut probe = WasiProbe::start(context, WasiConfig::new())?;
    for (fd, right) in [(0, READ), (1, WRITE), (2, WRITE)] {
        probe.ok("fd_fdstat_get", &[fd, at::OUT.into()], &[range(at::OUT, 24)])?;
        check_eq!(probe.probe.bytes(at::OUT, 1)?, [0], "the kind of {fd}, which is not a terminal");
        let rights = probe.probe.u64_at(at::OUT + 8)?;
        check_eq!(rights & (READ | WRITE | SEEK | TELL), right, "the rights of {fd}");
        probe.ok("fd_filestat_get", &[fd, at::OUT.into()], &[range(at::OUT, 64)])?;
        check_eq!(probe.probe.bytes(at::OUT + 16, 1)?, [0], "the kind of {fd}");
        for function in ["fd_prestat_get", "fd_readdir", "fd_filestat_set_size"] {
            let args: &[u64] = match function {
                "fd_prestat_get" => &[fd, at::OUT as u64],
                "fd_readdir" => &[fd, at::DATA as u64, 64, 0, at::OUT as u64],
                _ => &[fd, 0],
            };
            probe.fails(function, args, Errno::BADF)?;
        }
    }
    Ok(())
}

/// Every buffer is checked before a byte is written or read.
fn bad_buffers(context: &Context) -> CaseResult {
    let (out, input) = (Capture::new(100), Input::Bytes(Bytes::from_static(b"input")));
    let config = WasiConfig::new().stdout(Output::Capture(out.clone())).stdin(input);
    let mut probe = WasiProbe::start(context, config)?;
    for bad in [(at::END - 3, 4), (at::END, 1), (0xffff_fff0, 0x20), (1, 0xffff_ffff), (0xffff_ffff, 0xffff_ffff)] {
        let [iovs, count] = probe.iovecs(&[(at::DATA, 2), bad])?;
        probe.fails("fd_write", &[1, iovs, count, at::OUT.into()], Errno::FAULT)?;
        probe.fails("fd_read", &[0, iovs, count, at::OUT.into()], Errno::FAULT)?;
    }
    let [iovs, _] = probe.iovecs(&[(at::DATA, 2)])?;
    for (iovs, count) in [(iovs, 0x2000_0001), (iovs, 0xffff_ffff), (0xffff_fff0, 0x2000_0000)] {
        probe.fails("fd_write", &[1, iovs, count, at::OUT.into()], Errno::INVAL)?;
        probe.fails("fd_read", &[0, iovs, count, at::OUT.into()], Errno::INVAL)?;
    }
    check_eq!(out.contents(), b"", "what was captured");
    check_eq!(probe.read(0, 64)?, b"input", "the input, of which nothing was lost");
    Ok(())
}
