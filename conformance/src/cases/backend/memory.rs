//! The guest's memory and globals, as the host sees them.

use wharf_core::{Kind, LoadOptions};

use crate::bare::no_host;
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("backend/memory/none", "backend interface: Caller::memory", none),
    Case::must("backend/memory/not-exported", "backend interface: Caller::memory", not_exported),
    Case::must("backend/memory/other-name", "backend interface: Caller::memory", other_name),
    Case::must("backend/memory/function-of-that-name", "backend interface: Caller::memory", function_of_that_name),
    Case::must("backend/memory/host-and-guest-see-the-same", "backend interface: Caller::memory", same_bytes),
    Case::must("backend/memory/inside-host-function", "backend interface: Caller::memory", inside_host_function),
    Case::must("backend/memory/grown-by-guest", "backend interface: Caller::memory", grown_by_guest),
    Case::must(
        "backend/memory/grown-during-host-function",
        "backend interface: Caller::memory after Caller::call",
        grown_during,
    ),
    Case::must("backend/memory/cap-holds", "LoadOptions::max_memory", cap_holds),
    Case::must("backend/memory/cap-below-declared-maximum", "LoadOptions::max_memory", cap_below_maximum),
    Case::must("backend/memory/starts-above-cap", "LoadOptions::max_memory", starts_above_cap),
    Case::must("backend/memory/table-cap-holds", "LoadOptions::max_table_elements", table_cap_holds),
    Case::must("backend/memory/fresh-instance-is-zeroed", "backend interface: Module::instantiate", fresh_is_zeroed),
    Case::must("backend/memory/data-segments", "backend interface: Module::instantiate", data_segments),
    Case::must(
        "backend/memory/segment-out-of-bounds",
        "backend interface: Module::instantiate, errors",
        segment_out_of_bounds,
    ),
    Case::must("backend/memory/empty", "backend interface: Caller::memory", empty),
    Case::must("backend/global/read", "backend interface: Caller::global", global_read),
    Case::must("backend/global/written-by-host", "backend interface: Caller::set_global", global_written),
    Case::must("backend/global/inside-host-function", "backend interface: Caller::global", global_inside),
    Case::must("backend/global/immutable", "backend interface: Caller::set_global", global_immutable),
    Case::must("backend/global/missing", "backend interface: Caller::global", global_missing),
];

/// The host must find no memory, from outside a call and from inside one.
fn finds_no_memory(context: &Context, fields: &str) -> CaseResult {
    let wat = format!(
        r#"(module (import "m" "f" (func $f (result i32))) {fields} (func (export "go") (result i32) (call $f)))"#
    );
    let mut live = context.live_with(&wat, |_, caller, slots| {
        slots[0] = u64::from(caller.memory().is_some());
        Ok(())
    })?;
    check!(live.instance.memory().is_none(), "the backend hands out a memory that is not exported as `memory`");
    check_eq!(live.call1("go", &[])?, 0, "memories found from inside a host function");
    Ok(())
}

fn none(context: &Context) -> CaseResult {
    finds_no_memory(context, "")
}

fn not_exported(context: &Context) -> CaseResult {
    finds_no_memory(context, "(memory 1)")
}

fn other_name(context: &Context) -> CaseResult {
    finds_no_memory(context, r#"(memory (export "mem") 1)"#)
}

fn function_of_that_name(context: &Context) -> CaseResult {
    finds_no_memory(context, r#"(memory 1) (func (export "memory"))"#)
}

const LOAD_STORE: &str = r#"(module (memory (export "memory") 1 10)
  (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;

fn same_bytes(context: &Context) -> CaseResult {
    let mut live = context.live(LOAD_STORE)?;
    check_eq!(live.memory()?.len(), 65_536, "the size of one page");
    live.memory()?[65_535] = 200;
    check_eq!(live.call1("load", &[65_535])?, 200, "a byte the host wrote, read by the guest");
    live.call("store", &[0, 77], 0)?;
    check_eq!(live.memory()?[0], 77, "a byte the guest wrote, read by the host");
    Ok(())
}

fn inside_host_function(context: &Context) -> CaseResult {
    let mut live = context.live_with(
        r#"(module (import "m" "f" (func $f)) (memory (export "memory") 1)
             (func (export "go") (result i32)
               (i32.store8 (i32.const 10) (i32.const 5)) (call $f) (i32.load8_u (i32.const 11))))"#,
        |_, caller, _| {
            if let Some(memory) = caller.memory() {
                memory[11] = memory[10] * 2;
            }
            Ok(())
        },
    )?;
    check_eq!(live.call1("go", &[])?, 10, "what the host function made of the guest's byte");
    Ok(())
}

fn grown_by_guest(context: &Context) -> CaseResult {
    let mut live = context.live(LOAD_STORE)?;
    live.memory()?[3] = 33;
    check_eq!(live.call1("grow", &[2])?, 1, "the size before growing");
    check_eq!(live.memory()?.len(), 3 * 65_536, "the size the host sees after growing");
    check_eq!(live.memory()?[3], 33, "a byte from before growing");
    live.memory()?[3 * 65_536 - 1] = 44;
    check_eq!(live.call1("load", &[3 * 65_536 - 1])?, 44, "the last byte of the grown memory");
    check_eq!(live.call1("grow", &[100])?, 0xffff_ffff, "growing beyond the module's own maximum");
    Ok(())
}

fn grown_during(context: &Context) -> CaseResult {
    let mut live = context.live_with(
        r#"(module (import "m" "f" (func $f (result i32))) (memory (export "memory") 1)
             (func (export "grow") (result i32) (memory.grow (i32.const 40)))
             (func (export "go") (result i32) (drop (call $f)) (i32.load8_u (i32.const 2686975))))"#,
        |_, caller, _| {
            caller.call("grow", &mut [0]).map_err(|trap| crate::bare::internal(trap.message))?;
            let memory = caller.memory().ok_or_else(|| crate::bare::internal("no memory after growing"))?;
            let last = memory.len() - 1;
            memory[last] = 99;
            Ok(())
        },
    )?;
    check_eq!(live.call1("go", &[])?, 99, "the last byte of a memory that grew during the host function");
    Ok(())
}

fn cap(pages: u64) -> LoadOptions {
    LoadOptions { max_memory: pages * 65_536, ..LoadOptions::default() }
}

fn cap_holds(context: &Context) -> CaseResult {
    let wat = r#"(module (memory (export "memory") 1) (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;
    let mut live = context.compile_with(wat, &cap(3))?.instantiate(no_host())?;
    check_eq!(live.call1("grow", &[3])?, 0xffff_ffff, "growing to four pages under a cap of three");
    check_eq!(live.call1("grow", &[2])?, 1, "growing to three pages under a cap of three");
    check_eq!(live.call1("grow", &[1])?, 0xffff_ffff, "growing once more");
    check_eq!(live.memory()?.len(), 3 * 65_536, "the memory's size");
    Ok(())
}

fn cap_below_maximum(context: &Context) -> CaseResult {
    let mut live = context.compile_with(LOAD_STORE, &cap(2))?.instantiate(no_host())?;
    check_eq!(live.call1("grow", &[2])?, 0xffff_ffff, "growing to three pages, cap two, declared maximum ten");
    check_eq!(live.call1("grow", &[1])?, 1, "growing to two pages");
    Ok(())
}

fn starts_above_cap(context: &Context) -> CaseResult {
    match context.compile_with("(module (memory 5))", &cap(4)).err() {
        Some(Unmet::Failed(message)) if message.contains("Limit") => Ok(()),
        other => Err(Unmet::failed(format!("expected an error of kind {:?}, saw {other:?}", Kind::Limit))),
    }
}

fn table_cap_holds(context: &Context) -> CaseResult {
    let wat = r#"(module (table 1 funcref) (func (export "grow") (param i32) (result i32) (table.grow (ref.null func) (local.get 0))))"#;
    let options = LoadOptions { max_table_elements: 10, ..LoadOptions::default() };
    let mut live = context.compile_with(wat, &options)?.instantiate(no_host())?;
    check_eq!(live.call1("grow", &[10])?, 0xffff_ffff, "growing a table to eleven under a cap of ten");
    check_eq!(live.call1("grow", &[9])?, 1, "growing a table to ten");
    Ok(())
}

fn fresh_is_zeroed(context: &Context) -> CaseResult {
    let compiled = context.compile(LOAD_STORE)?;
    for round in 0..20 {
        let mut live = compiled.instantiate(no_host())?;
        let dirty = live.memory()?.iter().position(|byte| *byte != 0);
        check_eq!(dirty, None, "the first byte that is not zero in instance {round}");
        check_eq!(live.memory()?.len(), 65_536, "the size of instance {round}'s memory");
        live.call("grow", &[1], 1)?;
        live.memory()?.fill(0xee);
    }
    Ok(())
}

fn data_segments(context: &Context) -> CaseResult {
    let wat = r#"(module (memory (export "memory") 1) (data (i32.const 8) "first") (data (i32.const 65531) "last!"))"#;
    let compiled = context.compile(wat)?;
    for _ in 0..2 {
        let mut live = compiled.instantiate(no_host())?;
        let memory = live.memory()?;
        check_eq!(&memory[8..13], b"first", "the first segment");
        check_eq!(&memory[65_531..], b"last!", "the last segment");
        memory.fill(0);
    }
    Ok(())
}

fn segment_out_of_bounds(context: &Context) -> CaseResult {
    let compiled = context.compile(r#"(module (memory (export "memory") 1) (data (i32.const 65532) "five!"))"#)?;
    match compiled.instantiate(no_host()) {
        Err(error) if error.kind() == Kind::Trap => Ok(()),
        Err(error) => Err(Unmet::failed(format!("expected an error of kind Trap, saw {:?}: {error}", error.kind()))),
        Ok(_) => Err(Unmet::failed("a module with a data segment beyond its memory was instantiated")),
    }
}

fn empty(context: &Context) -> CaseResult {
    let mut live = context.live(r#"(module (memory (export "memory") 0))"#)?;
    check_eq!(live.memory()?.len(), 0, "the size of an empty memory");
    Ok(())
}

const GLOBALS: &str = r#"(module
  (global (export "i32") (mut i32) (i32.const -1)) (global (export "i64") (mut i64) (i64.const -2))
  (global (export "f32") (mut f32) (f32.const 1.5)) (global (export "f64") (mut f64) (f64.const -2.25))
  (global $const (export "const") i32 (i32.const 7)) (func (export "func"))
  (global $n (export "n") (mut i32) (i32.const 1))
  (func (export "bump") (result i32) (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))"#;

fn global_read(context: &Context) -> CaseResult {
    let mut live = context.live(GLOBALS)?;
    check_eq!(live.instance.global("i32"), Some(0xffff_ffff), "an i32 global");
    check_eq!(live.instance.global("i64"), Some(u64::MAX - 1), "an i64 global");
    check_eq!(live.instance.global("f32"), Some(u64::from(1.5f32.to_bits())), "an f32 global");
    check_eq!(live.instance.global("f64"), Some((-2.25f64).to_bits()), "an f64 global");
    check_eq!(live.instance.global("const"), Some(7), "an immutable global");
    Ok(())
}

fn global_written(context: &Context) -> CaseResult {
    let mut live = context.live(GLOBALS)?;
    for (name, bits) in
        [("i32", 0x8000_0000), ("i64", 0x8123_4567_89ab_cdef), ("f32", 0x7fa1_2345), ("f64", 0x7ff4_0123_4567_89ab)]
    {
        check!(live.instance.set_global(name, bits), "the mutable global {name} cannot be written");
        check_eq!(live.instance.global(name), Some(bits), "the global {name} after writing it");
    }
    check!(live.instance.set_global("n", 41), "the mutable global n cannot be written");
    check_eq!(live.call1("bump", &[])?, 42, "the guest's own view of a global the host wrote");
    check_eq!(live.instance.global("n"), Some(42), "the host's view of a global the guest wrote");
    Ok(())
}

fn global_inside(context: &Context) -> CaseResult {
    let mut live = context.live_with(
        r#"(module (import "m" "f" (func $f)) (global $n (export "n") (mut i64) (i64.const 20))
             (func (export "go") (result i64) (call $f) (global.get $n)))"#,
        |_, caller, _| {
            let n = caller.global("n").unwrap_or(0);
            caller.set_global("n", n * 2 + 2);
            Ok(())
        },
    )?;
    check_eq!(live.call1("go", &[])?, 42, "a global read and written by a host function");
    Ok(())
}

fn global_immutable(context: &Context) -> CaseResult {
    let mut live = context.live(GLOBALS)?;
    check!(!live.instance.set_global("const", 8), "an immutable global was said to be written");
    check_eq!(live.instance.global("const"), Some(7), "the immutable global");
    Ok(())
}

fn global_missing(context: &Context) -> CaseResult {
    let mut live = context.live(GLOBALS)?;
    for name in ["nothing", "", "func"] {
        check_eq!(live.instance.global(name), None, "reading the global {name:?}, which does not exist");
        check!(
            !live.instance.set_global(name, 1),
            "writing the global {name:?}, which does not exist, was said to work"
        );
    }
    Ok(())
}
