//! What segments put into a new memory, be they few bytes or more than an engine should copy for every instance.

use wharf_core::{Kind, TrapCode};

use crate::bare::{Live, no_host};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::needs::MULTI_MEMORY;
use crate::check_eq;
use crate::context::Context;

const ABOUT: &str = "backend interface: Module::instantiate, data segments";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("backend/data/overlapping", ABOUT, overlapping),
    Case::must("backend/data/borders-of-pages", ABOUT, borders),
    Case::must("backend/data/end-of-memory", ABOUT, end_of_memory),
    Case::must("backend/data/does-not-fit", ABOUT, does_not_fit),
    Case::must("backend/data/named-by-instructions", ABOUT, named),
    Case::must("backend/data/each-instance-its-own", ABOUT, own),
    Case::must("backend/data/grown", ABOUT, grown),
    Case::must("backend/data/far-apart", ABOUT, far_apart),
    Case::must("backend/data/several-memories", ABOUT, several).needs(&[MULTI_MEMORY]),
];

/// A page of memory.
const PAGE: usize = 65_536;
/// Of eight pages, the third to sixth are filled by [`filler`].
const FILLED: std::ops::Range<usize> = 2 * PAGE + 16..6 * PAGE - 16;

/// A segment that is worth not to be copied.
fn filler() -> String {
    format!("(data (i32.const {}) \"{}\")", FILLED.start, "~".repeat(FILLED.len()))
}

/// What the memory has in the end, but for the case's own bytes.
fn filled(much: bool) -> Vec<u8> {
    let mut bytes = vec![0; 8 * PAGE];
    if much {
        bytes[FILLED].fill(b'~');
    }
    bytes
}

/// A module of eight pages with `fields`, behind little or much data.
fn module(much: bool, fields: &str) -> String {
    let filler = if much { filler() } else { String::new() };
    format!("(module (memory (export \"memory\") 8 10) {filler} {fields})")
}

/// Checks what two instances find in their memories.
fn holds(context: &Context, segments: &[(usize, &str)]) -> CaseResult {
    let text: String =
        segments.iter().map(|(offset, bytes)| format!("(data (i32.const {offset}) \"{bytes}\")")).collect();
    for much in [false, true] {
        let mut expected = filled(much);
        for (offset, bytes) in segments {
            expected[*offset..offset + bytes.len()].copy_from_slice(bytes.as_bytes());
        }
        let compiled = context.compile(&module(much, &text))?;
        for _ in 0..2 {
            has(&mut compiled.instantiate(no_host())?, &expected)?;
        }
    }
    Ok(())
}

/// Checks the whole memory, and names the first byte that is wrong.
fn has(live: &mut Live, expected: &[u8]) -> CaseResult {
    let memory = live.memory()?;
    check_eq!(memory.len(), expected.len(), "the size of the memory");
    let wrong = memory.iter().zip(expected).position(|(found, expected)| found != expected);
    check_eq!(wrong, None, "the first byte of the memory that is wrong");
    Ok(())
}

fn overlapping(context: &Context) -> CaseResult {
    let start = FILLED.start;
    holds(
        context,
        &[(start + 2, "later wins"), (start, "first"), (start + 8, "!"), (start + 9, ""), (7, "ab"), (6, "cd")],
    )
}

fn borders(context: &Context) -> CaseResult {
    let segments = [
        (0, "first"),
        (4095, "ab"),
        (PAGE - 1, "cd"),
        (2 * PAGE - 2, "efgh"),
        (2 * PAGE + 4094, "ijkl"),
        (6 * PAGE - 1, "m"),
        (7 * PAGE, "n"),
        (8 * PAGE - 1, "o"),
    ];
    holds(context, &segments)
}

fn end_of_memory(context: &Context) -> CaseResult {
    holds(context, &[(8 * PAGE, ""), (8 * PAGE - 3, "end"), (8 * PAGE, "")])
}

/// One that is too long, one without a byte, and one that would begin beyond the address space if it were signed.
fn does_not_fit(context: &Context) -> CaseResult {
    for much in [false, true] {
        for (offset, bytes) in [(8 * PAGE - 3, "four"), (8 * PAGE + 1, ""), (0xffff_ffff, "x")] {
            let compiled = context.compile(&module(much, &format!("(data (i32.const {offset}) \"{bytes}\")")))?;
            let Err(error) = compiled.instantiate(no_host()) else {
                return Err(Unmet::failed(format!("a module with `{bytes}` at {offset} was instantiated")));
            };
            check_eq!(error.kind(), Kind::Trap, "the kind of the error for `{bytes}` at {offset}");
        }
    }
    Ok(())
}

/// Segments keep their indices; what was active is as good as dropped.
fn named(context: &Context) -> CaseResult {
    let fields = r#"(data $active (i32.const 3) "active") (data $passive "passive") (data (i32.const 32) "last")
        (func (export "active") (param i32) (memory.init $active (i32.const 64) (i32.const 0) (local.get 0)))
        (func (export "passive") (param i32) (memory.init $passive (i32.const 64) (i32.const 0) (local.get 0)))
        (func (export "drop") (data.drop $passive) (data.drop $active))"#;
    for much in [false, true] {
        let compiled = context.compile(&module(much, fields))?;
        for _ in 0..2 {
            let mut live = compiled.instantiate(no_host())?;
            let mut expected = filled(much);
            expected[3..9].copy_from_slice(b"active");
            expected[32..36].copy_from_slice(b"last");
            has(&mut live, &expected)?;
            live.call("active", &[0], 0)?;
            live.call("passive", &[7], 0)?;
            live.traps("passive", &[8], TrapCode::MemoryOutOfBounds)?;
            live.traps("active", &[1], TrapCode::MemoryOutOfBounds)?;
            live.call("drop", &[], 0)?;
            live.call("passive", &[0], 0)?;
            live.traps("passive", &[1], TrapCode::MemoryOutOfBounds)?;
            expected[64..71].copy_from_slice(b"passive");
            has(&mut live, &expected)?;
        }
    }
    Ok(())
}

/// What one instance writes, the guest or the host, no other finds: neither one that there is, nor one that is made later.
fn own(context: &Context) -> CaseResult {
    let fields = r#"(data (i32.const 5) "five")
        (func (export "fill") (memory.fill (i32.const 0) (i32.const 0xee) (i32.const 0x80000)))
        (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))"#;
    for much in [false, true] {
        let compiled = context.compile(&module(much, fields))?;
        let mut expected = filled(much);
        expected[5..9].copy_from_slice(b"five");
        let mut before = compiled.instantiate(no_host())?;
        for round in 0..3 {
            let mut live = compiled.instantiate(no_host())?;
            has(&mut live, &expected)?;
            if round == 1 {
                live.memory()?.fill(0xdd);
                check_eq!(live.call1("load", &[FILLED.start as u64])?, 0xdd, "what the host has written");
            } else {
                live.call("fill", &[], 0)?;
                check_eq!(live.memory()?.iter().find(|byte| **byte != 0xee), None, "what the guest has not written");
            }
        }
        has(&mut before, &expected)?;
        check_eq!(before.call1("load", &[6])?, u64::from(b'i'), "what a guest finds that there was all the time");
    }
    Ok(())
}

fn grown(context: &Context) -> CaseResult {
    let fields = r#"(data (i32.const 0x7fffc) "last") (func (export "grow") (result i32) (memory.grow (i32.const 2)))"#;
    for much in [false, true] {
        let compiled = context.compile(&module(much, fields))?;
        for _ in 0..2 {
            let mut live = compiled.instantiate(no_host())?;
            live.memory()?[FILLED.start] = b'!';
            check_eq!(live.call1("grow", &[])?, 8, "the size before growing");
            let mut expected = filled(much);
            expected[8 * PAGE - 4..].copy_from_slice(b"last");
            expected[FILLED.start] = b'!';
            expected.resize(10 * PAGE, 0);
            has(&mut live, &expected)?;
            live.memory()?.fill(0xee);
        }
    }
    Ok(())
}

/// In more places than there had better be mappings.
fn far_apart(context: &Context) -> CaseResult {
    let bytes = "x".repeat(8192);
    let place = |page: usize| page * 2 * PAGE + 5;
    let segments: String = (0..100).map(|page| format!("(data (i32.const {}) \"{bytes}\")", place(page))).collect();
    let compiled = context.compile(&format!("(module (memory (export \"memory\") 200) {segments})"))?;
    let mut expected = vec![0; 200 * PAGE];
    for page in 0..100 {
        expected[place(page)..place(page) + bytes.len()].fill(b'x');
    }
    for _ in 0..2 {
        let mut live = compiled.instantiate(no_host())?;
        has(&mut live, &expected)?;
        live.memory()?.fill(0xee);
    }
    Ok(())
}

/// Much data in two of them, and some in one that nobody but the guest sees.
fn several(context: &Context) -> CaseResult {
    let much = |byte: &str| byte.repeat(FILLED.len());
    let compiled = context.compile(&format!(
        r#"(module (memory (export "memory") 8) (memory $hidden 1) (memory $second (export "second") 8)
             (data (memory $second) (i32.const {start}) "{}") (data (memory $hidden) (i32.const 9) "hidden")
             (data (i32.const {start}) "{}") (data (memory $second) (i32.const {start}) "second")
             (func (export "hidden") (result i64) (i64.load $hidden (i32.const 9))))"#,
        much("b"),
        much("a"),
        start = FILLED.start,
    ))?;
    for _ in 0..2 {
        let mut live = compiled.instantiate(no_host())?;
        let mut expected = vec![0; 8 * PAGE];
        expected[FILLED].fill(b'a');
        has(&mut live, &expected)?;
        live.memory()?.fill(0xee);
        let none = || Unmet::failed("the instance exports `second`, and the backend finds none");
        let second = live.instance.memory_named("second").ok_or_else(none)?;
        expected[FILLED].fill(b'b');
        expected[FILLED.start..FILLED.start + 6].copy_from_slice(b"second");
        let wrong = second.iter().zip(&expected).position(|(found, expected)| found != expected);
        check_eq!((second.len(), wrong), (8 * PAGE, None), "the size of the second memory, and what is wrong in it");
        second.fill(0xdd);
        check_eq!(live.call1("hidden", &[])?, u64::from_le_bytes(*b"hidden\0\0"), "the memory that is not exported");
    }
    Ok(())
}
