//! Calling back into the guest from a host function.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wharf_core::{Stop, TrapCode};

use crate::bare::{expect_trap, internal};
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("backend/nested/realloc", "backend interface: Caller::call from a host function", realloc),
    Case::must("backend/nested/twice", "backend interface: Caller::call from a host function", twice),
    Case::must("backend/nested/fifty-deep", "backend interface: Caller::call from a host function", fifty_deep),
    Case::must("backend/nested/trap-is-seen", "backend interface: Caller::call, errors", trap_is_seen),
    Case::must("backend/nested/trap-ends-outer", "backend interface: Caller::call, errors", trap_ends_outer),
    Case::must("backend/nested/stop-ends-both", "backend interface: Imports::call, Halt", stop_ends_both),
    Case::must("backend/nested/first-stop-stands", "backend interface: Imports::take_stop", first_stop_stands),
];

fn failed(trap: wharf_core::Trap) -> Stop {
    internal(format!("the nested call trapped with {:?}: {}", trap.code, trap.message))
}

/// A host function asks the guest for memory, as the canonical ABI's does, and writes there.
fn realloc(context: &Context) -> CaseResult {
    let mut live = context.live_with(
        r#"(module (import "m" "f" (func $f (param i32) (result i32)))
             (memory (export "memory") 1) (global $top (mut i32) (i32.const 65536))
             (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
               (local.set $at (global.get $top))
               (global.set $top (i32.add (global.get $top) (local.get 3)))
               (drop (memory.grow (i32.const 1)))
               (local.get $at))
             (func (export "go") (param i32) (result i32) (i32.load8_u (call $f (local.get 0)))))"#,
        |_, caller, slots| {
            let mut call = [0, 0, 1, 100];
            caller.call("realloc", &mut call).map_err(failed)?;
            let at = usize::try_from(call[0]).map_err(|_| internal("a pointer above 4 GiB"))?;
            let memory = caller.memory().ok_or_else(|| internal("no memory"))?;
            let given = u8::try_from(slots[0]).map_err(|_| internal("the argument changed"))?;
            memory.get_mut(at..at + 100).ok_or_else(|| internal("the grown memory is not seen"))?.fill(given);
            slots[0] = call[0] + 99;
            Ok(())
        },
    )?;
    for value in [7, 8, 9] {
        check_eq!(live.call1("go", &[value])?, value, "a byte written where the guest allocated");
    }
    Ok(())
}

const COUNTDOWN: &str = r#"(module (import "m" "f" (func $f (param i32) (result i32)))
  (func (export "down") (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0))
      (then (i32.const 1))
      (else (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1))))))))"#;

/// Guest and host call each other `depth` times.
fn countdown(context: &Context, depth: u64) -> CaseResult {
    let mut live = context.live_with(COUNTDOWN, |_, caller, slots| caller.call("down", slots).map_err(failed))?;
    check_eq!(live.call1("down", &[depth])?, depth + 1, "the depth reached");
    check_eq!(live.call1("down", &[depth])?, depth + 1, "the depth reached the second time");
    Ok(())
}

fn twice(context: &Context) -> CaseResult {
    countdown(context, 2)
}

fn fifty_deep(context: &Context) -> CaseResult {
    countdown(context, 50)
}

const FRAGILE: &str = r#"(module (import "m" "f" (func $f (result i32)))
  (global $after (export "after") (mut i32) (i32.const 0))
  (func (export "fragile") unreachable)
  (func (export "go") (result i32) (call $f) (global.set $after (i32.const 1))))"#;

fn trap_is_seen(context: &Context) -> CaseResult {
    let mut live = context.live_with(FRAGILE, |_, caller, slots| {
        slots[0] = match caller.call("fragile", &mut []) {
            Err(trap) if trap.code == TrapCode::Unreachable => 42,
            Err(trap) => return Err(failed(trap)),
            Ok(()) => 0,
        };
        Ok(())
    })?;
    let seen = live.call1("go", &[]);
    if let Some(Stop::Error(error)) = live.imports.take_stop() {
        return Err(error.into());
    }
    check_eq!(seen?, 42, "what the host function made of the guest's trap");
    check_eq!(live.instance.global("after"), Some(1), "the guest went on after a host function that caught a trap");
    Ok(())
}

fn trap_ends_outer(context: &Context) -> CaseResult {
    let mut live = context.live_with(FRAGILE, |_, caller, _| caller.call("fragile", &mut []).map_err(failed))?;
    expect_trap(live.call("go", &[], 1), TrapCode::Host)?;
    check_eq!(live.instance.global("after"), Some(0), "the guest went on after the host ended it");
    Ok(())
}

const TWO_LEVELS: &str = r#"(module (import "m" "outer" (func $outer)) (import "m" "inner" (func $inner))
  (global $after (export "after") (mut i32) (i32.const 0))
  (func (export "nested") (call $inner) (global.set $after (i32.const 1)))
  (func (export "go") (call $outer) (global.set $after (i32.const 2))))"#;

fn stop_ends_both(context: &Context) -> CaseResult {
    let nested_saw_host = Arc::new(AtomicBool::new(false));
    let seen = nested_saw_host.clone();
    let mut live = context.live_with(TWO_LEVELS, move |index, caller, _| {
        if index == 1 {
            return Err(Stop::Exit(17));
        }
        let Err(trap) = caller.call("nested", &mut []) else { return Ok(()) };
        seen.store(trap.code == TrapCode::Host, Ordering::SeqCst);
        Err(failed(trap))
    })?;
    expect_trap(live.call("go", &[], 0), TrapCode::Host)?;
    check!(nested_saw_host.load(Ordering::SeqCst), "the nested call did not end with the code Host");
    check_eq!(live.instance.global("after"), Some(0), "guest code ran after it was ended");
    Ok(())
}

fn first_stop_stands(context: &Context) -> CaseResult {
    let mut live = context.live_with(TWO_LEVELS, |index, caller, _| match index {
        1 => Err(Stop::Exit(17)),
        _ => caller.call("nested", &mut []).map_err(failed),
    })?;
    expect_trap(live.call("go", &[], 0), TrapCode::Host)?;
    match live.imports.take_stop() {
        Some(Stop::Exit(17)) => Ok(()),
        other => Err(crate::Unmet::failed(format!("expected the inner function's exit with 17, saw {other:?}"))),
    }
}
