//! A new instance has nothing of one that there was before, whatever that has changed and however it has ended.

use wharf_core::TrapCode;

use crate::bare::{Host, Live, expect_trap, internal, no_host};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::needs::{INTERRUPT, MULTI_MEMORY};
use crate::context::Context;
use crate::{check, check_eq};

const ABOUT: &str = "backend interface: Module::instantiate";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("backend/fresh/globals", ABOUT, globals),
    Case::must("backend/fresh/globals-the-host-writes", ABOUT, written),
    Case::must("backend/fresh/memory", ABOUT, memory),
    Case::must("backend/fresh/grown-memory", ABOUT, grown),
    Case::must("backend/fresh/several-memories", ABOUT, memories).needs(&[MULTI_MEMORY]),
    Case::must("backend/fresh/overlapping-data", ABOUT, overlapping),
    Case::must("backend/fresh/tables", ABOUT, tables),
    Case::must("backend/fresh/grown-table", ABOUT, grown_table),
    Case::must("backend/fresh/dropped-segments", ABOUT, dropped),
    Case::must("backend/fresh/references-and-vectors", ABOUT, references),
    Case::must("backend/fresh/after-a-trap", ABOUT, trapped),
    Case::must("backend/fresh/host-functions", ABOUT, host_functions),
    Case::must("backend/fresh/several-at-a-time", ABOUT, several),
    Case::must("backend/fresh/handles-of-others", ABOUT, handles).needs(&[INTERRUPT]),
];

/// How many instances there are, one after the other.
const ROUNDS: usize = 4;

/// Has instances found in the same state by `look`, each of which then changes it by `change`.
fn each(
    context: &Context,
    wat: &str,
    look: impl Fn(&mut Live) -> CaseResult,
    change: impl Fn(&mut Live) -> CaseResult,
) -> CaseResult {
    let compiled = context.compile(wat)?;
    for _ in 0..ROUNDS {
        let mut live = compiled.instantiate(no_host())?;
        look(&mut live)?;
        change(&mut live)?;
    }
    Ok(())
}

/// Globals of all types of numbers, with bits that a copy by another type would change, and one that is not exported.
const GLOBALS: &str = r#"(module
    (global $i (export "i") (mut i32) (i32.const -7)) (global $j (export "j") (mut i64) (i64.const 0x8123456789abcdef))
    (global $x (export "x") (mut f32) (f32.const nan:0x212345)) (global $y (export "y") (mut f64) (f64.const -0))
    (global $hidden (mut i32) (i32.const 9)) (global $const i32 (i32.const 3))
    (func (export "hidden") (result i32) (i32.add (global.get $hidden) (global.get $const)))
    (func (export "change")
      (global.set $i (i32.const 1)) (global.set $j (i64.const 2)) (global.set $x (f32.const 3)) (global.set $y (f64.const 4))
      (global.set $hidden (i32.const 5))))"#;

fn initial_globals(live: &mut Live) -> CaseResult {
    check_eq!(live.instance.global("i"), Some(0xffff_fff9), "the i32");
    check_eq!(live.instance.global("j"), Some(0x8123_4567_89ab_cdef), "the i64");
    check_eq!(live.instance.global("x"), Some(0x7fa1_2345), "the f32");
    check_eq!(live.instance.global("y"), Some(1 << 63), "the f64");
    check_eq!(live.call1("hidden", &[])?, 12, "the global that is not exported");
    Ok(())
}

fn globals(context: &Context) -> CaseResult {
    each(context, GLOBALS, initial_globals, |live| {
        live.call("change", &[], 0)?;
        check_eq!(live.call1("hidden", &[])?, 8, "the global that is not exported, changed");
        Ok(())
    })
}

fn written(context: &Context) -> CaseResult {
    each(context, GLOBALS, initial_globals, |live| {
        check!(live.instance.set_global("x", 1) && live.instance.set_global("j", 1), "globals cannot be written");
        Ok(())
    })
}

fn memory(context: &Context) -> CaseResult {
    let wat = r#"(module (memory (export "memory") 3) (data (i32.const 65530) "some data")
        (func (export "fill") (memory.fill (i32.const 0) (i32.const 0xee) (i32.const 0x30000))))"#;
    let look = |live: &mut Live| {
        let memory = live.memory()?;
        check_eq!(&memory[65_530..65_539], b"some data", "the data");
        check_eq!(memory.iter().filter(|byte| **byte != 0).count(), 9, "bytes that are not zero");
        Ok(())
    };
    each(context, wat, look, |live| {
        drop(live.call("fill", &[], 0)?);
        Ok(())
    })?;
    each(context, wat, look, |live| {
        live.memory()?.fill(1);
        Ok(())
    })
}

fn grown(context: &Context) -> CaseResult {
    let wat = r#"(module (memory (export "memory") 1 9)
        (func (export "grow") (result i32) (memory.grow (i32.const 2))) (func (export "size") (result i32) (memory.size))
        (func (export "load") (param i32) (drop (i32.load8_u (local.get 0)))))"#;
    let look = |live: &mut Live| {
        check_eq!(live.call1("size", &[])?, 1, "the pages that the guest finds");
        check_eq!(live.memory()?.len(), 65_536, "the bytes that the host finds");
        check_eq!(live.memory()?.iter().find(|byte| **byte != 0), None, "a byte that is not zero");
        Ok(())
    };
    each(context, wat, look, |live| {
        check_eq!(live.call1("grow", &[])?, 1, "the pages before it grows");
        live.memory()?.fill(0xee);
        Ok(())
    })?;
    let compiled = context.compile(wat)?;
    compiled.instantiate(no_host())?.call1("grow", &[])?;
    compiled.instantiate(no_host())?.traps("load", &[65_536], TrapCode::MemoryOutOfBounds)?;
    Ok(())
}

/// One that is not exported, one without pages, one that cannot grow.
fn memories(context: &Context) -> CaseResult {
    for hidden in ["", r#"(export "hidden" (memory $hidden))"#] {
        let wat = format!(
            r#"(module (memory (export "memory") 1) (memory $hidden 1 1) (memory $none (export "none") 0 2) {hidden}
                (data (memory $hidden) (i32.const 65532) "last")
                (func (export "look") (result i32 i32 i32)
                    (i32.load (i32.const 65532)) (i32.load $hidden (i32.const 65532)) (memory.size $none))
                (func (export "write")
                    (i32.store (i32.const 65532) (i32.const 1)) (i32.store $hidden (i32.const 65532) (i32.const 2)))
                (func (export "grow") (result i32) (memory.grow $none (i32.const 1))))"#
        );
        let look = |live: &mut Live| {
            check_eq!(live.call("look", &[], 3)?, [0, u64::from(u32::from_le_bytes(*b"last")), 0], "the memories");
            Ok(())
        };
        for change in ["write", "grow"] {
            let results = usize::from(change == "grow");
            each(context, &wat, look, |live| {
                drop(live.call(change, &[], results)?);
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// What is copied later hides what was before, up to the last byte that there is.
fn overlapping(context: &Context) -> CaseResult {
    let wat = r#"(module (memory (export "memory") 2 2) (data (i32.const 131060) "aaaaaaaaaaaa") (data (i32.const 131066) "bb")
        (data (i32.const 131064) "cccc") (data (i32.const 131071) "d") (data (i32.const 131072) "")
        (func (export "zero") (memory.fill (i32.const 0) (i32.const 0) (i32.const 131072))))"#;
    let look = |live: &mut Live| {
        check_eq!(&live.memory()?[131_056..], b"\0\0\0\0aaaaccccaaad", "the data");
        Ok(())
    };
    each(context, wat, look, |live| {
        drop(live.call("zero", &[], 0)?);
        Ok(())
    })
}

/// By each instruction that there is for it.
fn tables(context: &Context) -> CaseResult {
    for change in [
        "(table.set (i32.const 0) (ref.func $three))",
        "(table.fill (i32.const 0) (ref.func $three) (i32.const 1))",
        "(table.init $passive (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $passive)",
        "(table.copy (i32.const 0) (i32.const 2) (i32.const 1))",
    ] {
        let wat = format!(
            r#"(module (type $t (func (result i32))) (table 3 funcref) (elem (i32.const 0) $one $two $three)
                (elem $passive funcref (ref.func $three))
                (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
                (func $three (result i32) (i32.const 3)) (func (export "change") {change})
                (func (export "call") (param i32) (result i32) (call_indirect (type $t) (local.get 0))))"#
        );
        let calls =
            |live: &mut Live| -> CaseResult<[u64; 2]> { Ok([live.call1("call", &[0])?, live.call1("call", &[1])?]) };
        let look = |live: &mut Live| -> CaseResult {
            check_eq!(calls(live)?, [1, 2], "what the table's functions answer");
            Ok(())
        };
        each(context, &wat, look, |live| {
            live.call("change", &[], 0)?;
            check_eq!(calls(live)?, [3, 2], "what they answer after {change}");
            Ok(())
        })?;
    }
    Ok(())
}

fn grown_table(context: &Context) -> CaseResult {
    let wat = r#"(module (table 1 9 funcref)
        (func (export "grow") (result i32) (table.grow (ref.null func) (i32.const 2))))"#;
    each(
        context,
        wat,
        |live| {
            check_eq!(live.call1("grow", &[])?, 1, "the table's size");
            Ok(())
        },
        |_| Ok(()),
    )
}

fn dropped(context: &Context) -> CaseResult {
    let wat = r#"(module (memory (export "memory") 1) (data $d "data")
        (func (export "init") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 4)))
        (func (export "drop") (data.drop $d)))"#;
    let look = |live: &mut Live| {
        drop(live.call("init", &[], 0)?);
        Ok(())
    };
    each(context, wat, look, |live| {
        drop(live.call("drop", &[], 0)?);
        Ok(())
    })
}

/// What cannot be read from outside.
fn references(context: &Context) -> CaseResult {
    let wat = r#"(module (global $f (mut funcref) (ref.null func)) (global $v (mut v128) (v128.const i32x4 1 2 3 4))
        (elem declare func $change)
        (func (export "look") (result i32 i32) (ref.is_null (global.get $f)) (i32x4.extract_lane 2 (global.get $v)))
        (func $change (export "change") (global.set $f (ref.func $change)) (global.set $v (v128.const i32x4 0 0 0 0))))"#;
    let look = |live: &mut Live| {
        check_eq!(live.call("look", &[], 2)?, [1, 3], "no reference, and the third lane");
        Ok(())
    };
    each(context, wat, look, |live| {
        live.call("change", &[], 0)?;
        check_eq!(live.call("look", &[], 2)?, [0, 0], "the same, changed");
        Ok(())
    })
}

fn trapped(context: &Context) -> CaseResult {
    let wat = r#"(module (memory (export "memory") 1) (global $g (mut i32) (i32.const 1))
        (func (export "look") (result i32 i32) (global.get $g) (i32.load (i32.const 8)))
        (func (export "trap") (global.set $g (i32.const 2)) (i32.store (i32.const 8) (i32.const 3)) (unreachable)))"#;
    let look = |live: &mut Live| {
        check_eq!(live.call("look", &[], 2)?, [1, 0], "the global and the memory");
        Ok(())
    };
    each(context, wat, look, |live| {
        drop(live.traps("trap", &[], TrapCode::Unreachable)?);
        Ok(())
    })
}

/// Each instance calls the functions that it was made with, and ends for their reasons.
fn host_functions(context: &Context) -> CaseResult {
    let wat = r#"(module (import "m" "f" (func $f (result i32))) (func (export "go") (result i32) (call $f)))"#;
    let compiled = context.compile(wat)?;
    for round in 0..ROUNDS as u64 {
        let mut live = compiled.instantiate(Host(move |_, _: &mut dyn wharf_core::Caller, slots: &mut [u64]| {
            slots[0] = round;
            Ok(())
        }))?;
        check_eq!(live.call1("go", &[])?, round, "what the host function answers");
        drop(live);
        let ends = move |_, _: &mut dyn wharf_core::Caller, _: &mut [u64]| Err(internal(format!("round {round}")));
        let mut live = compiled.instantiate(Host(ends))?;
        expect_trap(live.call1("go", &[]), TrapCode::Host)?;
        let stop = live.imports.take_stop().map(|stop| stop.to_string());
        check!(stop.as_ref().is_some_and(|stop| stop.contains(&format!("round {round}"))), "the reason is {stop:?}");
    }
    Ok(())
}

/// More at a time than any host keeps for later, which are then used in another order.
fn several(context: &Context) -> CaseResult {
    let wat = r#"(module (memory (export "memory") 1) (data (i32.const 0) "\01") (global $g (mut i32) (i32.const 1))
        (func (export "next") (result i32)
          (global.set $g (i32.add (global.get $g) (i32.const 1)))
          (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1)))
          (i32.mul (global.get $g) (i32.load8_u (i32.const 0)))))"#;
    let compiled = context.compile(wat)?;
    for _ in 0..ROUNDS {
        let mut lives = (0..40).map(|_| compiled.instantiate(no_host())).collect::<wharf_core::Result<Vec<Live>>>()?;
        for calls in [4, 9] {
            for live in &mut lives {
                check_eq!(live.call1("next", &[])?, calls, "what each has counted");
            }
        }
        lives.swap(3, 30);
    }
    Ok(())
}

/// Who may interrupt one, and goes on to hold that right, interrupts none that comes after it.
fn handles(context: &Context) -> CaseResult {
    let wat = r#"(module (func (export "work") (result i32) (local $n i32)
        (loop $next (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if $next (i32.lt_u (local.get $n) (i32.const 5000))))
        (local.get $n)))"#;
    let compiled = context.compile(wat)?;
    let mut held = Vec::new();
    for round in 0..ROUNDS * ROUNDS {
        let mut live = compiled.instantiate(no_host())?;
        held.push(live.instance.interrupt());
        let (now, before) = held.split_last().ok_or_else(|| Unmet::harness("there is none"))?;
        before.iter().for_each(|other| other.interrupt());
        check_eq!(live.call1("work", &[])?, 5000, "what it has counted");
        if round % 3 == 0 {
            now.interrupt();
            expect_trap(live.call1("work", &[]), TrapCode::Interrupted)?;
        }
        // From another thread than it was made and used on.
        std::thread::scope(|scope| scope.spawn(move || drop(live)).join())
            .map_err(|_| Unmet::failed("dropping it panicked"))?;
    }
    Ok(())
}
