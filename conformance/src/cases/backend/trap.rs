//! Traps: each has its code, on every engine, and none harms another guest.

use wharf_core::TrapCode;

use crate::bare::{Live, no_host};
use crate::case::{Case, CaseResult, Unmet};
use crate::check_eq;
use crate::context::Context;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("backend/trap/unreachable", "backend interface: TrapCode::Unreachable", |c| {
        traps(c, "unreachable", TrapCode::Unreachable)
    }),
    Case::must("backend/trap/load-out-of-bounds", "backend interface: TrapCode::MemoryOutOfBounds", |c| {
        traps(c, "load", TrapCode::MemoryOutOfBounds)
    }),
    Case::must("backend/trap/store-across-the-end", "backend interface: TrapCode::MemoryOutOfBounds", |c| {
        traps(c, "store", TrapCode::MemoryOutOfBounds)
    }),
    Case::must("backend/trap/load-with-wrapping-offset", "backend interface: TrapCode::MemoryOutOfBounds", |c| {
        traps(c, "wrap", TrapCode::MemoryOutOfBounds)
    }),
    Case::must("backend/trap/bulk-out-of-bounds", "backend interface: TrapCode::MemoryOutOfBounds", |c| {
        traps(c, "fill", TrapCode::MemoryOutOfBounds)
    }),
    Case::must("backend/trap/table-out-of-bounds", "backend interface: TrapCode::TableOutOfBounds", |c| {
        traps(c, "table", TrapCode::TableOutOfBounds)
    }),
    Case::must("backend/trap/null-element", "backend interface: TrapCode::NullElement", |c| {
        traps(c, "null", TrapCode::NullElement)
    }),
    Case::must("backend/trap/bad-signature", "backend interface: TrapCode::BadSignature", |c| {
        traps(c, "signature", TrapCode::BadSignature)
    }),
    Case::must("backend/trap/division-by-zero", "backend interface: TrapCode::DivisionByZero", |c| {
        traps(c, "divide", TrapCode::DivisionByZero)
    }),
    Case::must("backend/trap/integer-overflow", "backend interface: TrapCode::IntegerOverflow", |c| {
        traps(c, "overflow", TrapCode::IntegerOverflow)
    }),
    Case::must("backend/trap/bad-conversion", "backend interface: TrapCode::BadConversion", |c| {
        traps(c, "nan", TrapCode::BadConversion)
    }),
    Case::must("backend/trap/conversion-out-of-range", "backend interface: TrapCode::IntegerOverflow", |c| {
        traps(c, "range", TrapCode::IntegerOverflow)
    }),
    Case::must("backend/trap/stack-overflow", "backend interface: TrapCode::StackOverflow", |c| {
        traps(c, "recurse", TrapCode::StackOverflow)
    }),
    Case::must(
        "backend/trap/stack-overflow-again-and-again",
        "backend interface: TrapCode::StackOverflow",
        stack_overflow_again,
    ),
    Case::must(
        "backend/trap/memory-is-still-there",
        "backend interface: Caller::memory after a trap",
        memory_is_still_there,
    ),
    Case::must(
        "backend/trap/same-instance-goes-on",
        "backend interface: Caller::call after a trap",
        same_instance_goes_on,
    ),
    Case::must("backend/trap/on-many-threads", "backend interface: traps beside each other", on_many_threads),
    Case::must("backend/trap/deep-but-finite-recursion", "backend interface: the guest's stack", deep_recursion),
];

const TRAPS: &str = r#"(module
  (memory (export "memory") 1)
  (type $none (func)) (type $one (func (param i32)))
  (table 3 funcref) (elem (i32.const 0) $one)
  (func $one (type $one))
  (func (export "unreachable") unreachable)
  (func (export "load") (drop (i32.load (i32.const 65536))))
  (func (export "store") (i64.store (i32.const 65529) (i64.const -1)))
  (func (export "wrap") (drop (i32.load offset=0xffffffff (i32.const 0xffffffff))))
  (func (export "fill") (memory.fill (i32.const 65000) (i32.const 7) (i32.const 1000)))
  (func (export "table") (call_indirect (type $none) (i32.const 3)))
  (func (export "null") (call_indirect (type $none) (i32.const 1)))
  (func (export "signature") (call_indirect (type $none) (i32.const 0)))
  (func (export "divide") (drop (i32.div_s (i32.const 1) (i32.load (i32.const 0)))))
  (func (export "overflow") (drop (i32.div_s (i32.const 0x80000000) (i32.sub (i32.load (i32.const 0)) (i32.const 1)))))
  (func (export "nan") (drop (i32.trunc_f32_s (f32.div (f32.convert_i32_s (i32.load (i32.const 0))) (f32.const 0)))))
  (func (export "range") (drop (i32.trunc_f64_s (f64.mul (f64.const 1e9) (f64.add (f64.const 1e9) (f64.convert_i32_s (i32.load (i32.const 0))))))))
  (func $recurse (export "recurse") (call $recurse) (i32.store (i32.const 16) (i32.const 1)))
  (func $depth (export "depth") (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
      (else (i32.add (i32.const 1) (call $depth (i32.sub (local.get 0) (i32.const 1)))))))
  (func (export "fine") (result i32) (i32.const 42)))"#;

fn traps(context: &Context, export: &str, code: TrapCode) -> CaseResult {
    context.live(TRAPS)?.traps(export, &[], code).map(|_| ())
}

fn fine(live: &mut Live, when: &str) -> CaseResult {
    check_eq!(live.call1("fine", &[])?, 42, "a call {when}");
    Ok(())
}

fn stack_overflow_again(context: &Context) -> CaseResult {
    let compiled = context.compile(TRAPS)?;
    for round in 0..5 {
        let mut live = compiled.instantiate(no_host())?;
        live.traps("recurse", &[], TrapCode::StackOverflow)?;
        live.traps("recurse", &[], TrapCode::StackOverflow)?;
        fine(&mut live, "after two stack overflows")?;
        fine(&mut compiled.instantiate(no_host())?, &format!("of another instance after round {round}"))?;
    }
    Ok(())
}

fn memory_is_still_there(context: &Context) -> CaseResult {
    let mut live = context.live(TRAPS)?;
    live.memory()?[100] = 9;
    live.traps("unreachable", &[], TrapCode::Unreachable)?;
    check_eq!(live.memory()?[100], 9, "a byte from before the trap");
    Ok(())
}

fn same_instance_goes_on(context: &Context) -> CaseResult {
    let mut live = context.live(TRAPS)?;
    for _ in 0..3 {
        live.traps("load", &[], TrapCode::MemoryOutOfBounds)?;
        fine(&mut live, "after a trap")?;
    }
    Ok(())
}

fn on_many_threads(context: &Context) -> CaseResult {
    let compiled = context.compile(TRAPS)?;
    let results: Vec<CaseResult> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|thread| {
                let compiled = &compiled;
                scope.spawn(move || -> CaseResult {
                    for round in 0..20 {
                        let mut live = compiled.instantiate(no_host())?;
                        match (thread + round) % 4 {
                            0 => live.traps("unreachable", &[], TrapCode::Unreachable)?,
                            1 => live.traps("load", &[], TrapCode::MemoryOutOfBounds)?,
                            2 => live.traps("divide", &[], TrapCode::DivisionByZero)?,
                            _ => live.traps("recurse", &[], TrapCode::StackOverflow)?,
                        };
                        fine(&mut live, "beside other threads' traps")?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(Unmet::failed("a thread panicked"))))
            .collect()
    });
    results.into_iter().collect()
}

fn deep_recursion(context: &Context) -> CaseResult {
    check_eq!(context.live(TRAPS)?.call1("depth", &[5000])?, 5000, "a recursion 5000 calls deep");
    Ok(())
}
