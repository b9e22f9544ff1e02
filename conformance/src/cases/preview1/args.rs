//! Arguments and environment.

use wharf_core::Kind;
use wharf_core::grants::{GrantError, MAX_STRINGS, WasiConfig};

use super::probe::{Errno, WasiProbe, at, range};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("preview1/args/empty-by-default", "wasi_snapshot_preview1: args_sizes_get", |c| empty(c, ARGS)),
    Case::must("preview1/args/sizes", "wasi_snapshot_preview1: args_sizes_get", |c| sizes(c, ARGS)),
    Case::must("preview1/args/contents", "wasi_snapshot_preview1: args_get", |c| contents(c, ARGS)),
    Case::must("preview1/args/no-room", "wasi_snapshot_preview1: args_get", |c| no_room(c, ARGS)),
    Case::must("preview1/args/oversize", "wasi_snapshot_preview1: args_get", args_oversize),
    Case::must("preview1/environ/empty-by-default", "wasi_snapshot_preview1: environ_sizes_get", |c| empty(c, ENVIRON)),
    Case::must("preview1/environ/sizes", "wasi_snapshot_preview1: environ_sizes_get", |c| sizes(c, ENVIRON)),
    Case::must("preview1/environ/contents", "wasi_snapshot_preview1: environ_get", |c| contents(c, ENVIRON)),
    Case::must("preview1/environ/no-room", "wasi_snapshot_preview1: environ_get", |c| no_room(c, ENVIRON)),
    Case::must("preview1/environ/oversize", "wasi_snapshot_preview1: environ_get", environ_oversize),
    Case::must("preview1/environ/set-twice", "wasi_snapshot_preview1: environ_get", set_twice),
];

/// Arguments or environment: two functions each, and a configuration with the strings to expect of them.
struct Strings {
    sizes: &'static str,
    get: &'static str,
    config: fn() -> Result<WasiConfig, GrantError>,
    expected: &'static [&'static str],
}

const ARGS: Strings = Strings {
    sizes: "args_sizes_get",
    get: "args_get",
    config: || WasiConfig::new().args(["guest.wasm", "", "-x", "ünï ço∂é", "a=b"])?.env("NOT", "an argument"),
    expected: &["guest.wasm", "", "-x", "ünï ço∂é", "a=b"],
};

const ENVIRON: Strings = Strings {
    sizes: "environ_sizes_get",
    get: "environ_get",
    config: || WasiConfig::new().arg("no variable")?.env("HOME", "/")?.env("EMPTY", "")?.env("Ü", "=ö="),
    expected: &["HOME=/", "EMPTY=", "Ü==ö="],
};

/// What the function for sizes answers: count and bytes.
fn told(probe: &mut WasiProbe, function: &str) -> CaseResult<(u32, u32)> {
    let outs = [range(at::OUT, 4), range(at::OUT_2, 4)];
    probe.ok(function, &[at::OUT.into(), at::OUT_2.into()], &outs)?;
    Ok((probe.probe.u32_at(at::OUT)?, probe.probe.u32_at(at::OUT_2)?))
}

/// Has the strings put in memory, and reads them back by their pointers.
fn strings(probe: &mut WasiProbe, which: &Strings) -> CaseResult<Vec<String>> {
    let (count, size) = told(probe, which.sizes)?;
    probe.probe.canary()?;
    let outs = [range(at::LIST, count * 4), range(at::DATA, size)];
    probe.ok(which.get, &[at::LIST.into(), at::DATA.into()], &outs)?;
    let bytes = probe.probe.bytes(at::DATA, size)?;
    let mut strings = Vec::new();
    let mut next = at::DATA;
    for index in 0..count {
        check_eq!(probe.probe.u32_at(at::LIST + index * 4)?, next, "the pointer to string {index}");
        let rest = &bytes[(next - at::DATA) as usize..];
        let end = rest.iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| Unmet::failed(format!("string {index} has no terminator")))?;
        strings.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        next += u32::try_from(end).map_err(Unmet::harness)? + 1;
    }
    check_eq!(next, at::DATA + size, "the end of the last string");
    Ok(strings)
}

fn empty(context: &Context, which: Strings) -> CaseResult {
    let mut probe = WasiProbe::start(context, WasiConfig::new())?;
    check_eq!(told(&mut probe, which.sizes)?, (0, 0), "count and size by default");
    // Nothing is asked for, so the memory's end is as good a place as any.
    probe.ok(which.get, &[at::DATA.into(), at::DATA.into()], &[])?;
    probe.ok(which.get, &[at::END.into(), at::END.into()], &[])
}

fn sizes(context: &Context, which: Strings) -> CaseResult {
    let mut probe = WasiProbe::start(context, (which.config)()?)?;
    let size: usize = which.expected.iter().map(|string| string.len() + 1).sum();
    let (told_count, told_size) = told(&mut probe, which.sizes)?;
    check_eq!((told_count as usize, told_size as usize), (which.expected.len(), size), "count and size");
    Ok(())
}

fn contents(context: &Context, which: Strings) -> CaseResult {
    let mut probe = WasiProbe::start(context, (which.config)()?)?;
    for round in 1..=2 {
        check_eq!(strings(&mut probe, &which)?, which.expected, "the strings, asked for {round} times");
    }
    Ok(())
}

/// One byte too few at the memory's end: nothing at all is written. The exact room will do.
fn no_room(context: &Context, which: Strings) -> CaseResult {
    let mut probe = WasiProbe::start(context, (which.config)()?)?;
    let (count, size) = told(&mut probe, which.sizes)?;
    let (pointers, bytes) = (at::END - count * 4, at::END - size);
    probe.fails(which.get, &[(pointers + 1).into(), at::DATA.into()], Errno::FAULT)?;
    probe.fails(which.get, &[at::LIST.into(), (bytes + 1).into()], Errno::FAULT)?;
    probe.ok(which.get, &[pointers.into(), at::DATA.into()], &[range(pointers, count * 4), range(at::DATA, size)])?;
    probe.ok(which.get, &[at::LIST.into(), bytes.into()], &[range(at::LIST, count * 4), range(bytes, size)])
}

/// More than the embedder may pass is its mistake. As much as it may, and more than the guest's memory, is an error
/// number.
fn oversize(context: &Context, which: Strings, of: impl Fn(usize) -> Result<WasiConfig, GrantError>) -> CaseResult {
    match of(MAX_STRINGS) {
        Err(error) => {
            check_eq!(wharf_core::Error::from(error).kind(), Kind::Config, "the kind of the error for too much")
        }
        Ok(_) => return Err(Unmet::failed("more strings than there may be were accepted")),
    }
    let mut probe = WasiProbe::start(context, of(MAX_STRINGS - 1)?)?;
    check_eq!(told(&mut probe, which.sizes)?, (1, MAX_STRINGS as u32), "count and size");
    probe.fails(which.get, &[at::LIST.into(), at::DATA.into()], Errno::FAULT)?;
    probe.fails(which.get, &[at::LIST.into(), 0], Errno::FAULT)?;
    check_eq!(probe.probe.call_i32("grow", &[16])?, 1, "the memory's size in pages before it grew");
    let pages = at::END..at::END + MAX_STRINGS as u32;
    probe.ok(which.get, &[at::LIST.into(), at::END.into()], &[range(at::LIST, 4), pages.clone()])?;
    check_eq!(probe.probe.u32_at(at::LIST)?, at::END, "the pointer to the string");
    let bytes = probe.probe.bytes(at::END, MAX_STRINGS as u32)?;
    check!(bytes.ends_with(b"xx\0"), "the string's end is not there");
    Ok(())
}

fn args_oversize(context: &Context) -> CaseResult {
    oversize(context, ARGS, |len| WasiConfig::new().arg("x".repeat(len)))
}

fn environ_oversize(context: &Context) -> CaseResult {
    oversize(context, ENVIRON, |len| WasiConfig::new().env("N", "x".repeat(len - 2)))
}

fn set_twice(context: &Context) -> CaseResult {
    let config = WasiConfig::new().env("A", "1")?.env("AB", "2")?.env("A", "3")?;
    let mut probe = WasiProbe::start(context, config)?;
    check_eq!(strings(&mut probe, &ENVIRON)?, ["AB=2", "A=3"], "the variables, one of them set twice");
    Ok(())
}
