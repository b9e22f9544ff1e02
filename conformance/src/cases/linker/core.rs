//! Functions for core modules: numbers, and checked memory.

use std::sync::{Arc, Mutex};

use wharf_core::linker::CoreCall;
use wharf_core::{Error, GuestConfig, Kind, Linker, MemoryError, Result};

use super::probe::ended;
use crate::bare::assemble;
use crate::case::{Case, CaseResult, Unmet};
use crate::check_eq;
use crate::context::Context;
use crate::probe::Wat;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("linker/core/numbers", "linker: core_func", numbers),
    Case::must("linker/core/memory", "linker: core_func", memory),
    Case::must("linker/core/out-of-bounds", "linker: core_func", out_of_bounds),
    Case::must("linker/core/without-a-memory", "linker: core_func", without),
    Case::must("linker/core/beside-wharfs-own", "linker: core_func", beside),
];

fn numbers(context: &Context) -> CaseResult {
    let mut linker = Linker::new();
    linker.core_func("env", "sum", |_, (a, b, c, d): (i32, i64, f32, f64)| -> Result<f64> {
        Ok(f64::from(a) + b as f64 + f64::from(c) + d)
    })?;
    linker.core_func("env", "negate", |_, (a, b): (i32, u64)| -> Result<i64> { Ok(-(i64::from(a) + b as i64)) })?;
    linker.core_func("env", "bits", |_, (a,): (f32,)| -> Result<f32> { Ok(a) })?;
    linker.core_func("env", "sign", |_, (a,): (i32,)| -> Result<i32> { Ok(a.signum()) })?;
    let text = Wat::bare()
        .import("env", "sum", "i32 i64 f32 f64", "f64")
        .import("env", "negate", "i32 i64", "i64")
        .import("env", "bits", "f32", "f32")
        .import("env", "sign", "i32", "i32")
        .text();
    let mut session = context.load_with(&assemble(&text)?, &linker)?.start(GuestConfig::default())?;
    let args = [(-1_i32) as u32 as u64, (-20_i64) as u64, 0.5_f32.to_bits().into(), (-100.25_f64).to_bits()];
    check_eq!(session.call("sum", &args)?, [(-120.75_f64).to_bits()], "the sum");
    check_eq!(session.call("negate", &[5, 1 << 40])?, [(-((1_i64 << 40) + 5)) as u64], "the negated sum");
    // A signalling NaN may become quiet on its way; its sign and payload stay.
    let nan = session.call("bits", &[0xffc0_1234])?;
    check_eq!(nan, [0xffc0_1234], "the bits of a NaN");
    check_eq!(session.call("sign", &[0xffff_fff0])?, [0xffff_ffff], "the sign");
    Ok(())
}

/// What the guest said.
type Log = Arc<Mutex<Vec<String>>>;

fn log(call: &mut CoreCall<'_>, (ptr, len): (u32, u32)) -> Result<u32> {
    let line = String::from_utf8(call.memory()?.slice(ptr, len)?.to_vec());
    let line = line.map_err(|error| Error::new(Kind::Guest, "a line is not UTF-8").with_source(error))?;
    let log = call.data::<Log>()?;
    log.lock().map_err(|_| Error::new(Kind::Internal, "the log is poisoned"))?.push(line);
    Ok(len)
}

fn logging() -> CaseResult<(Linker, GuestConfig, Log)> {
    let mut linker = Linker::new();
    linker.core_func("env", "log", log)?;
    linker.core_func("env", "fill", |call, (ptr, len, byte): (u32, u32, u32)| -> Result<(), MemoryError> {
        call.memory()?.slice_mut(ptr, len)?.fill(byte as u8);
        Ok(())
    })?;
    let (mut config, log) = (GuestConfig::default(), Log::default());
    config.data.insert(log.clone());
    Ok((linker, config, log))
}

fn text(memory: &str) -> String {
    let text = Wat::bare().import("env", "log", "i32 i32", "i32").import("env", "fill", "i32 i32 i32", "");
    text.field(memory).text()
}

const MEMORY: &str = r#"(memory (export "memory") 1) (data (i32.const 16) "hello, wörld\ff")"#;

fn memory(context: &Context) -> CaseResult {
    let (linker, config, log) = logging()?;
    let mut session = context.load_with(&assemble(&text(MEMORY))?, &linker)?.start(config)?;
    check_eq!(session.call("log", &[16, 13])?, [13], "the answer");
    session.call("fill", &[20, 3, u64::from(b'x')])?;
    check_eq!(session.call("log", &[16, 8])?, [8], "the answer");
    session.call("log", &[65536, 0])?;
    let lines = log.lock().map_err(Unmet::harness)?.clone();
    check_eq!(lines, ["hello, wörld", "hellxxxw", ""], "the lines");
    ended(session.call("log", &[16, 14]), Kind::Guest, &["the host function env::log failed", "not UTF-8"])?;
    Ok(())
}

fn out_of_bounds(context: &Context) -> CaseResult {
    let (linker, config, log) = logging()?;
    let guest = context.load_with(&assemble(&text(MEMORY))?, &linker)?;
    for (ptr, len) in [(65536, 1), (65535, 2), (0, 65537), (u32::MAX, 1), (u32::MAX, u32::MAX), (1, u32::MAX)] {
        for (function, args) in [("log", &[ptr, len][..]), ("fill", &[ptr, len, 7])] {
            let mut session = guest.start(config.clone())?;
            let args: Vec<u64> = args.iter().copied().map(u64::from).collect();
            let name = format!("env::{function}");
            ended(session.call(function, &args), Kind::Trap, &[&name, "not within the guest's memory"])?;
            let memory = session.memory().ok_or_else(|| Unmet::failed("there is no memory"))?;
            check_eq!(memory.iter().filter(|byte| **byte == 7).count(), 0, "{args:?}: bytes that were written");
        }
    }
    check_eq!(log.lock().map_err(Unmet::harness)?.len(), 0, "the lines");
    Ok(())
}

/// It loads, and ends where the memory is asked for.
fn without(context: &Context) -> CaseResult {
    let (linker, config, _) = logging()?;
    let mut session = context.load_with(&assemble(&text("(memory 1)"))?, &linker)?.start(config)?;
    ended(session.call("log", &[0, 0]), Kind::Trap, &["env::log", "exports no memory"])?;
    Ok(())
}

fn beside(context: &Context) -> CaseResult {
    let (linker, config, log) = logging()?;
    let module = assemble(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "env" "log" (func $log (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "bye")
            (func (export "_start") (call $exit (call $log (i32.const 0) (i32.const 3)))))"#,
    )?;
    check_eq!(context.load_with(&module, &linker)?.run(config, None)?, 3, "the exit code");
    check_eq!(log.lock().map_err(Unmet::harness)?[..], ["bye".to_owned()], "the lines");
    Ok(())
}
