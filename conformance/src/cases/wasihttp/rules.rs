//! The canonical ABI, versions, options, and commands.

use wharf_core::grants::{Capture, Output, WasiConfig};
use wharf_core::{GuestConfig, Kind, LoadOptions};

use super::probe::{MEMORY, RET, Wasi02, http_module, module};
use crate::bare::assemble;
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/load/every-release-of-0-2", "semantic versioning of WIT packages", versions),
    Case::must("wasihttp/load/no-other-version", "semantic versioning of WIT packages", other_versions),
    Case::must("wasihttp/load/canonical-options", "CanonicalABI.md: canonopt", canonical_options),
    Case::must("wasihttp/load/an-allocator-is-needed", "CanonicalABI.md: canon lower", no_allocator),
    Case::must("wasihttp/canon/result-pointers", "CanonicalABI.md: lower_flat_values", result_pointers),
    Case::must("wasihttp/canon/arguments", "CanonicalABI.md: load_string, load_list", arguments),
    Case::must("wasihttp/canon/handles", "CanonicalABI.md: lift_own, lift_borrow", handles),
    Case::must("wasihttp/canon/cases", "CanonicalABI.md: lift_flat_variant", no_such_case),
    Case::must("wasihttp/canon/no-call-from-the-allocator", "CanonicalABI.md: may_leave", reentry),
    Case::must("wasihttp/canon/an-allocator-that-traps", "CanonicalABI.md: realloc", allocator_traps),
    Case::must("wasihttp/command/run", "wasi:cli/run@0.2.12", command),
    Case::must("wasihttp/command/exit", "wasi:cli/exit@0.2.12", exit),
    Case::must("wasihttp/command/stdout", "wasi:cli/stdout@0.2.12", stdout),
    Case::must("wasihttp/command/initialises", "the wrapping of a core module", initialises),
];

const NAMES: &str = "it is about what a core module may import, and what it has to export for that";

fn importing(module: &str, name: &str, ty: &str, fields: &str) -> String {
    format!(
        r#"(module (import "{module}" "{name}" (func $f {ty})) (memory (export "memory") 1) {fields}
            (func (export "call") (call $f (i32.const 64))))"#
    )
}

const ALLOCATOR: &str = r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))"#;
const ARGUMENTS: (&str, &str) = ("get-arguments", "(param i32)");

fn versions(context: &Context) -> CaseResult {
    context.not_for_components(NAMES)?;
    for version in ["0.2.0", "0.2.3", "0.2.12", "0.2.99"] {
        let interface = format!("wasi:cli/environment@{version}");
        let guest = context.hosted(&importing(&interface, ARGUMENTS.0, ARGUMENTS.1, ALLOCATOR))?;
        guest.start(GuestConfig::default())?.call("call", &[])?;
    }
    Ok(())
}

fn refused(context: &Context, text: &str, kind: Kind, says: &str) -> CaseResult {
    match wharf_core::Guest::load(&**context.backend(), &assemble(text)?, &LoadOptions::default()) {
        Ok(_) => Err(Unmet::failed(format!("a guest was loaded that should be refused because of {says}"))),
        Err(error) => {
            check_eq!(error.kind(), kind, "the kind of `{error}`");
            check!(error.to_string().contains(says), "the refusal says `{error}`, not {says}");
            Ok(())
        }
    }
}

fn other_versions(context: &Context) -> CaseResult {
    context.not_for_components(NAMES)?;
    for version in ["@0.4.0", "@0.3.0-rc-2025-09-16", "@0.2.0-rc-2023-11-10", ""] {
        let interface = format!("wasi:cli/environment{version}");
        let text = importing(&interface, ARGUMENTS.0, ARGUMENTS.1, ALLOCATOR);
        refused(context, &text, Kind::Unsupported, "WASI 0.2.0 and 0.3.0")?;
    }
    let text = importing("wasi:filesystem/types@0.3.0", ARGUMENTS.0, ARGUMENTS.1, ALLOCATOR);
    refused(context, &text, Kind::Unsupported, "has of WASI 0.3")?;
    let text = importing("wasi:cli/environment@0.2.0", "get-argument", ARGUMENTS.1, ALLOCATOR);
    refused(context, &text, Kind::Unsupported, "get-arguments")
}

fn canonical_options(context: &Context) -> CaseResult {
    context.not_for_components(NAMES)?;
    let other = r#"(global $called (mut i32) (i32.const 0))
        (func (export "other") (param i32 i32 i32 i32) (result i32)
            (global.set $called (i32.add (global.get $called) (i32.const 1)))
            (i32.mul (global.get $called) (i32.const 1024)))
        (func (export "called") (result i32) (global.get $called))"#;
    let name = "get-arguments;realloc=other;encoding=utf16";
    let guest = context.hosted(&importing("wasi:cli/environment@0.2.0", name, ARGUMENTS.1, other))?;
    let mut session = guest.start(GuestConfig { wasi: WasiConfig::new().arg("ab")?, ..GuestConfig::default() })?;
    session.call("call", &[])?;
    check_eq!(session.call("called", &[])?, [2], "how often the allocator named was called");
    let memory = session.memory().ok_or_else(|| Unmet::failed("no memory"))?;
    check_eq!(&memory[2048..2052], &b"a\0b\0"[..], "the string");
    let text = importing("wasi:cli/environment@0.2.0", "get-arguments;memory=memory_1", ARGUMENTS.1, other);
    refused(context, &text, Kind::Unsupported, "memory")
}

fn no_allocator(context: &Context) -> CaseResult {
    context.not_for_components(NAMES)?;
    let text = importing("wasi:cli/environment@0.2.0", ARGUMENTS.0, ARGUMENTS.1, "");
    refused(context, &text, Kind::Guest, "cabi_realloc")?;
    let wrong = r#"(func (export "cabi_realloc") (param i32) (result i32) (i32.const 0))"#;
    refused(
        context,
        &importing("wasi:cli/environment@0.2.0", ARGUMENTS.0, ARGUMENTS.1, wrong),
        Kind::Guest,
        "allocator",
    )
}

fn probe(context: &Context) -> CaseResult<Wasi02> {
    Wasi02::http(context, GuestConfig::default())
}

fn result_pointers(context: &Context) -> CaseResult {
    let outside = "not within the guest's memory";
    for (bad, says) in [(RET + 1, "aligned"), (RET + 2, "aligned"), (MEMORY - 4, outside), (0xffff_fffc, outside)] {
        let mut probe = probe(context)?;
        let fields = probe.fields(&[])?;
        let before = probe.before_a_trap();
        probe.traps("[method]fields.entries", &[fields, bad.into()], says)?;
        probe.wrote_nothing(before)?;
    }
    let mut probe = probe(context)?;
    let fields = probe.fields(&[])?;
    probe.call("[method]fields.entries", &[fields, u64::from(MEMORY) - 8])?;
    Ok(())
}

fn arguments(context: &Context) -> CaseResult {
    for [ptr, len] in [[u64::from(MEMORY), 1], [u64::from(MEMORY) - 1, 2], [0xffff_ffff, 2], [1, 0xffff_ffff]] {
        let mut probe = probe(context)?;
        let fields = probe.fields(&[])?;
        probe.traps("[method]fields.has", &[fields, ptr, len], "not within the guest's memory")?;
    }
    let mut probe = probe(context)?;
    let fields = probe.fields(&[])?;
    let [ptr, len] = probe.bytes([b'a', 0xff])?;
    probe.traps("[method]fields.has", &[fields, ptr, len], "UTF-8")?;
    let outside = "not within the guest's memory";
    for (list, count, says) in [(2u64, 1u64, "aligned"), (0, 0x2000_0001, outside), (0xffff_fff8, 1, outside)] {
        let mut probe = self::probe(context)?;
        let fields = probe.fields(&[])?;
        let [name, len] = probe.bytes("a")?;
        probe.traps("[method]fields.set", &[fields, name, len, list, count, RET.into()], says)?;
    }
    Ok(())
}

fn handles(context: &Context) -> CaseResult {
    for bad in [0, 77, 0xffff_ffff] {
        probe(context)?.traps("[method]fields.clone", &[bad], "not an open handle")?;
    }
    let mut probe = probe(context)?;
    let stdout = probe.call("get-stdout", &[])?;
    probe.traps("[method]fields.clone", &[stdout], "not `fields`")?;
    let mut probe = self::probe(context)?;
    let fields = probe.fields(&[])?;
    probe.call("[resource-drop]fields", &[fields])?;
    check_eq!(probe.probe.session.open_handles(), 0, "the open handles");
    probe.traps("[resource-drop]fields", &[fields], "not an open handle")
}

fn no_such_case(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let fields = probe.fields(&[])?;
    let request = probe.call("[constructor]outgoing-request", &[fields])?;
    probe.traps("[method]outgoing-request.set-method", &[request, 10, 0, 0], "no case 10")
}

fn reentry(context: &Context) -> CaseResult {
    let text = r#"(module
        (import "wasi:cli/environment@0.2.0" "get-arguments" (func $f (param i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (call $f (i32.const 64)) (i32.const 1024))
        (func (export "get-arguments") (call $f (i32.const 64))))"#;
    Wasi02::start(context, text, GuestConfig::default())?.traps("get-arguments", &[], "allocator")
}

fn allocator_traps(context: &Context) -> CaseResult {
    let trapping = r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (unreachable))"#;
    let guest = context.hosted(&importing("wasi:cli/environment@0.2.0", ARGUMENTS.0, ARGUMENTS.1, trapping))?;
    match guest.start(GuestConfig::default())?.call("call", &[]) {
        Err(wharf_core::Stop::Error(error)) => {
            check_eq!(error.kind(), Kind::Trap, "the kind of `{error}`");
            Ok(())
        }
        other => Err(Unmet::failed(format!("a trap in the allocator came out as {other:?}"))),
    }
}

fn command(context: &Context) -> CaseResult {
    for (result, code) in [(0, 0), (1, 1)] {
        let text = format!(r#"(module (func (export "wasi:cli/run@0.2.4#run") (result i32) (i32.const {result})))"#);
        check_eq!(context.hosted(&text)?.run(GuestConfig::default(), None)?, code, "the exit code of {result}");
    }
    Ok(())
}

fn exit(context: &Context) -> CaseResult {
    for (name, status, code) in [("exit", 0, 0), ("exit", 1, 1), ("exit-with-code", 42, 42)] {
        let run = format!(
            r#"(func (export "wasi:cli/run@0.2.4#run") (result i32) (call $"{name}" (i32.const {status})) (unreachable))"#
        );
        let guest = context.hosted(&module(&["wasi:cli/exit"], &run))?;
        check_eq!(guest.run(GuestConfig::default(), None)?, code, "the exit code of {name}({status})");
    }
    Ok(())
}

fn stdout(context: &Context) -> CaseResult {
    let capture = Capture::new(1 << 16);
    let wasi = WasiConfig::new().stdout(Output::Capture(capture.clone()));
    let mut probe = Wasi02::http(context, GuestConfig { wasi, ..GuestConfig::default() })?;
    let stdout = probe.call("get-stdout", &[])?;
    let [ptr, len] = probe.bytes("early")?;
    probe.case("[method]output-stream.check-write", &[stdout])?;
    check!(probe.probe.u64_at(RET + 8)? >= 4096, "`check-write` gives less than 4096");
    check_eq!(probe.case("[method]output-stream.write", &[stdout, ptr, len])?, 0, "the answer of `write`");
    check_eq!(probe.write(stdout, b", late")?, 0, "the answer of `blocking-write-and-flush`");
    check_eq!(capture.contents(), b"early, late", "what was written");
    probe.traps("[method]output-stream.write", &[stdout, 0, 0x1_0000, RET.into()], "check-write")
}

fn initialises(context: &Context) -> CaseResult {
    context.not_for_components("what wraps a module calls its initialiser")?;
    let text = http_module(
        r#"(global $ready (mut i32) (i32.const 1))
        (func (export "_initialize") (global.set $ready (i32.const 0)))
        (func (export "wasi:cli/run@0.2.0#run") (result i32) (global.get $ready))"#,
    );
    check_eq!(context.hosted(&text)?.run(GuestConfig::default(), None)?, 0, "the exit code");
    Ok(())
}
