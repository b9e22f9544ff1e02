//! The canonical ABI where a guest does something with it that bindings never do: each time a trap that names the
//! function and the rule, and never a byte written where none may be.

use wharf_core::grants::WasiConfig;
use wharf_core::{GuestConfig, Kind, Stop};

use super::probe::{MEMORY, RET, Wasi02};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/canon/allocator-gives-what-is-not-aligned", "CanonicalABI.md: realloc", unaligned),
    Case::must("wasihttp/canon/allocator-gives-what-is-not-there", "CanonicalABI.md: realloc", out_of_bounds),
    Case::must("wasihttp/canon/allocator-that-grows-the-memory", "CanonicalABI.md: realloc", grows),
    Case::must("wasihttp/canon/allocator-that-overlaps", "CanonicalABI.md: realloc", overlaps),
    Case::must("wasihttp/canon/allocator-gets-size-and-alignment", "CanonicalABI.md: realloc", arguments),
    Case::must("wasihttp/canon/allocator-is-not-called-for-nothing", "CanonicalABI.md: lower_flat_values", not_called),
    Case::must("wasihttp/canon/arguments-have-a-budget", "core: bytes lifted for one call", budget),
    Case::must("wasihttp/canon/lists-of-handles", "CanonicalABI.md: load_list", handle_lists),
    Case::must("wasihttp/canon/lists-of-strings", "CanonicalABI.md: load_list", string_lists),
    Case::must("wasihttp/canon/booleans-are-0-or-1", "CanonicalABI.md: lower_flat", booleans),
    Case::must("wasihttp/canon/high-bits-are-ignored", "CanonicalABI.md: lift_flat_unsigned", high_bits),
    Case::must("wasihttp/canon/option-and-result-cases", "CanonicalABI.md: lift_flat_variant", cases),
    Case::must("wasihttp/canon/utf-16", "CanonicalABI.md: load_string", utf16),
    Case::must("wasihttp/canon/latin-1-or-utf-16", "CanonicalABI.md: load_string", compact),
    Case::must("wasihttp/canon/utf-8-is-checked", "CanonicalABI.md: load_string", utf8),
    Case::must("wasihttp/canon/zero-length-anywhere-inside", "CanonicalABI.md: load_string", empty),
];

const ENVIRONMENT: &str = "wasi:cli/environment@0.2.0";

/// A guest that asks for its arguments with an allocator that does this, and counts its calls.
fn allocating(context: &Context, options: &str, body: &str, args: &[&str]) -> CaseResult<Wasi02> {
    let text = format!(
        r#"(module
            (import "{ENVIRONMENT}" "get-arguments{options}" (func $f (param i32)))
            (memory (export "memory") 4 8)
            (global $next (mut i32) (i32.const 0x20000))
            (global $calls (mut i32) (i32.const 0))
            (func (export "reset"))
            (func (export "calls") (result i32) (global.get $calls))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                (local.set $at (i32.and
                    (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
                    (i32.sub (i32.const 0) (local.get 2))))
                (global.set $next (i32.add (local.get $at) (local.get 3)))
                {body})
            (func (export "get-arguments") (param i32) (call $f (local.get 0))))"#
    );
    let wasi = WasiConfig::new().args(args.iter().copied())?;
    Wasi02::start(context, &text, GuestConfig { wasi, ..GuestConfig::default() })
}

fn unaligned(context: &Context) -> CaseResult {
    for wrong in [1, 2, 3] {
        let body = format!("(i32.add (local.get $at) (i32.const {wrong}))");
        let mut probe = allocating(context, "", &body, &["a"])?;
        let before = probe.before_a_trap();
        probe.traps("get-arguments", &[RET.into()], "`cabi_realloc` returned")?;
        probe.wrote_nothing(before)?;
    }
    Ok(())
}

fn out_of_bounds(context: &Context) -> CaseResult {
    for at in [MEMORY - 4, MEMORY, 0xffff_fff8, 0xffff_fffc] {
        let mut probe = allocating(context, "", &format!("(i32.const {})", at as i32), &["a"])?;
        let before = probe.before_a_trap();
        probe.traps("get-arguments", &[RET.into()], "not within the guest's memory")?;
        probe.wrote_nothing(before)?;
    }
    Ok(())
}

/// What it gives lies in a page that was not there when the call began.
fn grows(context: &Context) -> CaseResult {
    let body = "(i32.add (i32.mul (memory.grow (i32.const 1)) (i32.const 0x10000)) (i32.const 8))";
    let mut probe = allocating(context, "", body, &["first", "second"])?;
    probe.call("get-arguments", &[RET.into()])?;
    let (list, count) = (probe.word(0)?, probe.word(4)?);
    check_eq!((list, count), (MEMORY + 8, 2), "the list, in the first new page");
    for (at, expected) in [(list, &b"first"[..]), (list + 8, b"second")] {
        check_eq!(probe.string_at(at)?, expected, "an argument");
    }
    // No page is left, and what the allocator gives then is not there.
    let mut probe = allocating(context, "", body, &["a", "b", "c", "d", "e"])?;
    probe.traps("get-arguments", &[RET.into()], "not within the guest's memory")
}

/// A guest may spoil its own memory; the host does not mind.
fn overlaps(context: &Context) -> CaseResult {
    let mut probe = allocating(context, "", "(i32.const 0x4000)", &["one", "two"])?;
    probe.call("get-arguments", &[RET.into()])?;
    check_eq!(probe.word(4)?, 2, "the count, which was written last");
    Ok(())
}

fn arguments(context: &Context) -> CaseResult {
    // Each call leaves its four arguments at 0x1000 and on.
    let body = "(i32.store (i32.mul (global.get $calls) (i32.const 0x1000)) (local.get 0))
        (i32.store offset=4 (i32.mul (global.get $calls) (i32.const 0x1000)) (local.get 1))
        (i32.store offset=8 (i32.mul (global.get $calls) (i32.const 0x1000)) (local.get 2))
        (i32.store offset=12 (i32.mul (global.get $calls) (i32.const 0x1000)) (local.get 3))
        (local.get $at)";
    let mut probe = allocating(context, "", body, &["abc"])?;
    probe.call("get-arguments", &[0x3_8000])?;
    check_eq!(probe.call("calls", &[])?, 2, "the calls of the allocator: one list, one string");
    for (at, expected) in [(0x1000, [0, 0, 4, 8]), (0x2000, [0, 0, 1, 3])] {
        let mut seen = Vec::new();
        for word in 0..4 {
            seen.push(probe.probe.u32_at(at + word * 4)?);
        }
        check_eq!(seen, expected, "the old pointer and size, the alignment and the size");
    }
    Ok(())
}

/// A result that does not fit its place is refused before the allocator is asked for anything.
fn not_called(context: &Context) -> CaseResult {
    let mut probe = allocating(context, "", "(unreachable)", &["a"])?;
    probe.traps("get-arguments", &[u64::from(RET) + 1], "aligned")?;
    let mut probe = allocating(context, "", "(unreachable)", &["a"])?;
    probe.traps("get-arguments", &[u64::from(MEMORY) - 4], "not within the guest's memory")
}

fn probe(context: &Context) -> CaseResult<Wasi02> {
    Wasi02::http(context, GuestConfig::default())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Thousands of entries whose values are the same bytes: small in the guest, gigabytes on the host.
fn budget(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let entry = words(&[0x100, 1, 0, 0x2_0000]);
    probe.probe.put(0x100, b"a")?;
    probe.probe.put(0x2_0000, &entry.repeat(4096))?;
    match probe.probe.try_call("[static]fields.from-list", &[0x2_0000, 4096, RET.into()]) {
        Err(Stop::Error(error)) => {
            check_eq!(error.kind(), Kind::Limit, "the kind of `{error}`");
            check!(error.to_string().contains("arguments of one call"), "it says `{error}`");
            Ok(())
        }
        other => Err(Unmet::failed(format!("half a gigabyte of arguments gave {other:?}"))),
    }
}

fn handle_lists(context: &Context) -> CaseResult {
    for (list, count, says) in [
        (0x102, 1, "not aligned to 4"),
        (MEMORY - 4, 2, "not within the guest's memory"),
        (0x100, 0x4000_0000, "not within the guest's memory"),
        (0x100, 1, "not an open handle"),
    ] {
        let mut probe = probe(context)?;
        probe.probe.put(0x100, &words(&[77, 0]))?;
        probe.traps("poll", &[list.into(), count, RET.into()], says)?;
    }
    let mut probe = probe(context)?;
    let fields = probe.fields(&[])?;
    probe.probe.put(0x100, &words(&[fields as u32]))?;
    probe.traps("poll", &[0x100, 1, RET.into()], "not `pollable`")
}

/// The lists inside a list are checked as one that stands alone is.
fn string_lists(context: &Context) -> CaseResult {
    for (entry, says) in [
        ([MEMORY, 1, 0, 0], "a string at 0x40000 is not within the guest's memory"),
        ([0x200, 1, 0xffff_ffff, 2], "a list at 0xffffffff is not within the guest's memory"),
        ([0x300, 1, 0, 0], "not UTF-8"),
    ] {
        let mut probe = probe(context)?;
        probe.probe.put(0x100, &words(&entry))?;
        probe.probe.put(0x200, b"a")?;
        probe.probe.put(0x300, &[0xff])?;
        probe.traps("[static]fields.from-list", &[0x100, 1, RET.into()], says)?;
    }
    let mut probe = probe(context)?;
    probe.traps("[static]fields.from-list", &[0x101, 1, RET.into()], "not aligned to 4")
}

/// An option is there, or is not: its case is 0 or 1 and nothing else.
fn cases(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let request = probe.request("example.com", "/", &[])?;
    probe.traps("[method]outgoing-request.set-authority", &[request, 2, 0, 0], "`option` has no case 2")?;
    let mut probe = self::probe(context)?;
    let request = probe.request("example.com", "/", &[])?;
    probe.traps("[method]outgoing-request.set-scheme", &[request, 1, 3, 0, 0], "`scheme` has no case 3")?;
    let mut probe = self::probe(context)?;
    let request = probe.request("example.com", "/", &[])?;
    probe.traps("handle", &[request, 7, 0, RET.into()], "`option` has no case 7")?;
    let mut probe = self::probe(context)?;
    let zeros = [0; 7];
    let arguments = [&[77, 5][..], &zeros].concat();
    probe.traps("[static]response-outparam.set", &arguments, "not an open handle")
}

/// A name given as this many bytes, whatever they are, to a function that looks for it.
fn has(probe: &mut Wasi02, fields: u64, ptr: u64, len: u64) -> CaseResult<u64> {
    probe.call("[method]fields.has", &[fields, ptr, len])
}

fn booleans(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let fields = probe.fields(&[("a", "1")])?;
    let [ptr, len] = probe.bytes("a")?;
    // What comes back is 0 or 1, in a slot whose other bits are clear.
    check_eq!(has(&mut probe, fields, ptr, len)?, 1, "`has` of a name that is there");
    check_eq!(has(&mut probe, fields, ptr, 0)?, 0, "`has` of no name");
    Ok(())
}

/// A `u16` is the low half of what the guest passes.
fn high_bits(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let fields = probe.fields(&[])?;
    let response = probe.call("[constructor]outgoing-response", &[fields])?;
    let set = "[method]outgoing-response.set-status-code";
    check_eq!(probe.call(set, &[response, 0x1_0000 + 404])?, 0, "the answer of setting the status");
    check_eq!(probe.call("[method]outgoing-response.status-code", &[response])?, 404, "the status");
    Ok(())
}

/// Moves what the host had before to the new place, as it may ask while it does not know how long a text will be.
const MOVE: &str = "
    (memory.copy (local.get $at) (local.get 0)
        (select (local.get 1) (local.get 3) (i32.lt_u (local.get 1) (local.get 3))))
    (local.get $at)";

/// The one argument of a guest whose strings are encoded so.
fn argument(context: &Context, encoding: &str, text: &str) -> CaseResult<(u32, u32, Wasi02)> {
    let mut probe = allocating(context, &format!(";encoding={encoding}"), MOVE, &[text])?;
    probe.call("get-arguments", &[RET.into()])?;
    let list = probe.word(0)?;
    let (at, units) = (probe.probe.u32_at(list)?, probe.probe.u32_at(list + 4)?);
    Ok((at, units, probe))
}

fn utf16(context: &Context) -> CaseResult {
    for text in ["plain", "gr\u{fc}n", "\u{20ac}\u{1f600}", ""] {
        let (at, units, mut probe) = argument(context, "utf16", text)?;
        let expected: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        check_eq!(units as usize * 2, expected.len(), "the units of {text:?}");
        check_eq!((at % 2, probe.probe.bytes(at, units * 2)?), (0, expected), "{text:?}");
    }
    Ok(())
}

fn compact(context: &Context) -> CaseResult {
    const TAG: u32 = 1 << 31;
    for (text, expected) in [("plain", &b"plain"[..]), ("gr\u{fc}n", b"gr\xfcn"), ("", b"")] {
        let (at, units, mut probe) = argument(context, "latin1+utf16", text)?;
        check_eq!((units, probe.probe.bytes(at, units)?), (expected.len() as u32, expected.to_vec()), "{text:?}");
    }
    let (at, units, mut probe) = argument(context, "latin1+utf16", "\u{20ac}u")?;
    check_eq!(units, TAG | 2, "the units of what Latin-1 has not, with the tag");
    check_eq!(probe.probe.bytes(at, 4)?, [0xac, 0x20, b'u', 0], "its bytes");
    Ok(())
}

fn utf8(context: &Context) -> CaseResult {
    for bytes in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xe2\x82"] {
        let mut probe = probe(context)?;
        let fields = probe.fields(&[])?;
        let [ptr, len] = probe.bytes(bytes)?;
        probe.traps("[method]fields.has", &[fields, ptr, len], "a string is not UTF-8")?;
    }
    Ok(())
}

/// Nothing at all may lie at the very end of memory, and not behind it.
fn empty(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let fields = probe.fields(&[])?;
    for ptr in [0, MEMORY] {
        check_eq!(has(&mut probe, fields, ptr.into(), 0)?, 0, "`has` of no bytes at {ptr:#x}");
    }
    probe.traps("[method]fields.has", &[fields, u64::from(MEMORY) + 1, 0], "not within the guest's memory")
}
