//! Files that are not guests: each kind of bad file is reported in one clear line.

use wharf_core::{GuestConfig, Kind, LoadOptions};

use crate::bare::assemble;
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::probe::Wat;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("guest/load/empty-file", "bad input: not wasm", |c| refused(c, b"", Kind::Guest, &["\\0asm"])),
    Case::must("guest/load/not-wasm", "bad input: not wasm", |c| {
        refused(c, b"#!/bin/sh\necho hello\n", Kind::Guest, &["WebAssembly"])
    }),
    Case::must("guest/load/text-format", "bad input: not wasm", |c| {
        refused(c, b"(module)", Kind::Guest, &["WebAssembly"])
    }),
    Case::must("guest/load/magic-only", "bad input: truncated wasm", |c| refused(c, b"\0asm", Kind::Guest, &[])),
    Case::must("guest/load/truncated-anywhere", "bad input: truncated wasm", truncated_anywhere),
    Case::must("guest/load/wrong-version", "bad input: not wasm", |c| {
        refused(c, b"\0asm\x02\0\0\0", Kind::Guest, &["version"])
    }),
    Case::must("guest/load/invalid-body", "bad input: invalid wasm", invalid_body),
    Case::must("guest/load/flipped-bytes", "bad input: invalid wasm", flipped_bytes),
    Case::must("guest/load/component", "bad input: a component", component),
    Case::must("guest/load/too-large", "LoadOptions::max_module_bytes", too_large),
    Case::must("guest/load/no-start-function", "bad input: missing _start", no_start),
    Case::must("guest/load/missing-export", "bad input: missing export", missing_export),
    Case::must("guest/load/unknown-imports", "bad input: unknown imports", unknown_imports),
    Case::must("guest/load/missing-memory", "bad input: missing memory", missing_memory),
    Case::must("guest/load/reserved-export-name", "backend interface: START_EXPORT", reserved_name),
];

/// Loading must fail with this kind and say each of `words`, on one line.
fn refused(context: &Context, wasm: &[u8], kind: Kind, words: &[&str]) -> CaseResult {
    let Err(error) = context.load(wasm) else { return Err(Unmet::failed("it was loaded")) };
    told(&error, kind, words)
}

fn told(error: &wharf_core::Error, kind: Kind, words: &[&str]) -> CaseResult {
    let text = wharf_core::chain(error);
    check_eq!(error.kind(), kind, "the kind of the error {text:?}");
    check!(!text.contains('\n'), "the error has several lines: {text:?}");
    for word in words {
        check!(text.contains(word), "the error does not say {word:?}: {text}");
    }
    Ok(())
}

const SMALL: &str = r#"(module (memory (export "memory") 1) (data (i32.const 0) "data")
  (func (export "_start") (i32.store (i32.const 0) (i32.const 1))))"#;

fn truncated_anywhere(context: &Context) -> CaseResult {
    let whole = assemble(SMALL)?;
    context.load(&whole)?;
    for length in 0..whole.len() {
        // A file that ends between two sections may be a valid, smaller module, unless what it lacks is declared.
        if let Err(error) = context.load(&whole[..length]) {
            told(&error, Kind::Guest, &[]).map_err(|unmet| unmet.context(format_args!("cut to {length} bytes")))?;
        }
    }
    refused(context, &whole[..whole.len() - 1], Kind::Guest, &["0x"])
}

fn invalid_body(context: &Context) -> CaseResult {
    refused(context, &assemble("(module (func (result i32) (i64.const 1)))")?, Kind::Guest, &["type mismatch", "0x"])
}

/// Whatever a file holds, the answer is a guest or a typed error; nothing panics.
fn flipped_bytes(context: &Context) -> CaseResult {
    let whole = assemble(SMALL)?;
    for at in 8..whole.len() {
        for mask in [0x01, 0x40, 0x80, 0xff] {
            let mut bad = whole.clone();
            bad[at] ^= mask;
            if let Err(error) = context.load(&bad) {
                check!(
                    matches!(error.kind(), Kind::Guest | Kind::Unsupported | Kind::Limit),
                    "byte {at} changed by {mask:#x} gives an error of kind {:?}: {}",
                    error.kind(),
                    wharf_core::chain(&error)
                );
            }
        }
    }
    Ok(())
}

fn component(context: &Context) -> CaseResult {
    refused(context, &assemble("(component)")?, Kind::Unsupported, &["component"])
}

fn too_large(context: &Context) -> CaseResult {
    let wasm = assemble(SMALL)?;
    let options = LoadOptions { max_module_bytes: wasm.len() as u64 - 1, ..LoadOptions::default() };
    match wharf_core::Guest::load(&**context.backend(), &wasm, &options) {
        Err(error) => told(&error, Kind::Limit, &[&wasm.len().to_string()]),
        Ok(_) => Err(Unmet::failed("a module one byte above the limit was loaded")),
    }
}

fn no_start(context: &Context) -> CaseResult {
    let guest = context.guest(r#"(module (func (export "main")))"#)?;
    match guest.run(GuestConfig::default(), None) {
        Err(error) => told(&error, Kind::Guest, &["_start", "main"]),
        Ok(code) => Err(Unmet::failed(format!("a guest without `_start` ran and exited with {code}"))),
    }
}

fn missing_export(context: &Context) -> CaseResult {
    let guest = context.guest(r#"(module (memory (export "memory") 1) (func (export "main") (param i32)))"#)?;
    for (name, words) in
        [("nope", ["nope", "main"]), ("memory", ["memory", "function"]), ("main", ["main", "parameter"])]
    {
        match guest.run(GuestConfig::default(), Some(name)) {
            Err(error) => told(&error, Kind::Guest, &words)?,
            Ok(_) => return Err(Unmet::failed(format!("the export {name:?} ran as a command"))),
        }
    }
    Ok(())
}

fn unknown_imports(context: &Context) -> CaseResult {
    let wat = Wat::new()
        .import("wasi_snapshot_preview1", "fd_writ", "i32 i32 i32 i32", "i32")
        .import("env", "log", "i32", "");
    let words = ["wasi_snapshot_preview1::fd_writ", "wasi_snapshot_preview1::fd_write", "env::log"];
    refused(context, &assemble(&wat.text())?, Kind::Unsupported, &words)
}

fn missing_memory(context: &Context) -> CaseResult {
    let wat = Wat::bare().import("wasi_snapshot_preview1", "sched_yield", "", "i32");
    refused(context, &assemble(&wat.text())?, Kind::Unsupported, &["memory"])
}

fn reserved_name(context: &Context) -> CaseResult {
    let wat = r#"(module (func $s) (start $s) (func (export "$start")))"#;
    refused(context, &assemble(wat)?, Kind::Unsupported, &["$start"])
}
