//! `proc_exit` and `proc_raise`: how a guest ends itself.

use wharf_core::grants::{Capture, Output, WasiConfig};
use wharf_core::{GuestConfig, Stop};

use super::probe::{Errno, WasiProbe};
use crate::case::{Case, CaseResult, Unmet};
use crate::check_eq;
use crate::context::Context;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("preview1/exit/code-passes-through", "wasi_snapshot_preview1: proc_exit", code),
    Case::must("preview1/exit/end-of-start-is-zero", "wasi_snapshot_preview1: proc_exit", end_of_start),
    Case::must("preview1/exit/through-nested-frames", "wasi_snapshot_preview1: proc_exit", nested),
    Case::must("preview1/exit/in-the-start-function", "wasi_snapshot_preview1: proc_exit", in_start),
    Case::must("preview1/exit/is-no-trap", "wasi_snapshot_preview1: proc_exit", no_trap),
    Case::must("preview1/exit/output-comes-before", "wasi_snapshot_preview1: proc_exit, fd_write", output_before),
    Case::must("preview1/exit/raise-is-not-supported", "wasi_snapshot_preview1: proc_raise", raise),
];

/// A command that exits with `code`, from `body`, which may call `$exit` and the functions of `fields`.
fn command(fields: &str, body: &str) -> String {
    format!(
        r#"(module
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
             (memory (export "memory") 1)
             {fields}
             (func (export "_start") {body}))"#
    )
}

fn runs_to(context: &Context, wat: &str, code: i32) -> CaseResult {
    check_eq!(context.guest(wat)?.run(GuestConfig::default(), None)?, code, "the exit code");
    Ok(())
}

fn code(context: &Context) -> CaseResult {
    for code in [0, 1, 2, 42, 125, 126, 127, 134, 255, 256, i32::MAX, i32::MIN, -1] {
        runs_to(context, &command("", &format!("(call $exit (i32.const {code})) unreachable")), code)?;
    }
    Ok(())
}

fn end_of_start(context: &Context) -> CaseResult {
    runs_to(context, &command("", ""), 0)
}

/// No frame between the exit and the host runs on, be it entered directly, through a table, or many times over.
fn nested(context: &Context) -> CaseResult {
    let fields = r#"
        (type $t (func (param i32)))
        (table 1 funcref) (elem (i32.const 0) $indirect)
        (func $indirect (type $t) (call $exit (local.get 0)) unreachable)
        (func $deep (param i32)
          (if (local.get 0)
            (then (call $deep (i32.sub (local.get 0) (i32.const 1))))
            (else (call_indirect (type $t) (i32.const 23) (i32.const 0))))
          unreachable)"#;
    for depth in [0, 1, 500] {
        runs_to(context, &command(fields, &format!("(call $deep (i32.const {depth})) unreachable")), 23)?;
    }
    Ok(())
}

fn in_start(context: &Context) -> CaseResult {
    let fields = "(func $s (call $exit (i32.const 5)) unreachable) (start $s)";
    runs_to(context, &command(fields, "unreachable"), 5)
}

/// The embedder who calls a function sees the exit as what it is, with any code.
fn no_trap(context: &Context) -> CaseResult {
    for code in [0_u64, 7, 0xffff_ffff] {
        let mut probe = WasiProbe::start(context, WasiConfig::new())?;
        match probe.probe.try_call("proc_exit", &[code]) {
            Err(Stop::Exit(seen)) => check_eq!(seen as u32, code as u32, "the exit code"),
            other => return Err(Unmet::failed(format!("`proc_exit` of {code} ended with {other:?}"))),
        }
    }
    Ok(())
}

fn output_before(context: &Context) -> CaseResult {
    let fields = r#"(data (i32.const 0) "\08\00\00\00\06\00\00\00before")"#;
    let body = "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))
                (call $exit (i32.const 3))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))";
    let out = Capture::new(100);
    let wasi = WasiConfig::new().stdout(Output::Capture(out.clone()));
    let guest = context.guest(&command(fields, body))?;
    check_eq!(guest.run(GuestConfig { wasi, ..GuestConfig::default() }, None)?, 3, "the exit code");
    check_eq!(out.contents(), b"before", "what was captured");
    Ok(())
}

fn raise(context: &Context) -> CaseResult {
    let mut probe = WasiProbe::start(context, WasiConfig::new())?;
    for (signal, errno) in
        [(0, Errno::NOTSUP), (6, Errno::NOTSUP), (30, Errno::NOTSUP), (31, Errno::INVAL), (0xffff_ffff, Errno::INVAL)]
    {
        probe.fails("proc_raise", &[signal], errno)?;
    }
    Ok(())
}
