//! Interruption: whatever guest code does, it ends soon after it is asked to.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wharf_core::{Interrupt, TrapCode};

use crate::bare::{Live, expect_trap, internal, no_host};
use crate::case::{Case, CaseResult};
use crate::cases::needs::INTERRUPT;
use crate::check;
use crate::context::Context;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("backend/interrupt/endless-loop", "backend interface: Interrupt::interrupt", |c| ends(c, "spin"))
        .needs(&[INTERRUPT]),
    Case::must("backend/interrupt/endless-calls", "backend interface: Interrupt::interrupt", |c| ends(c, "calls"))
        .needs(&[INTERRUPT]),
    Case::must("backend/interrupt/endless-host-calls", "backend interface: Interrupt::interrupt", |c| ends(c, "host"))
        .needs(&[INTERRUPT]),
    Case::must("backend/interrupt/endless-memory-work", "backend interface: Interrupt::interrupt", |c| ends(c, "fill"))
        .needs(&[INTERRUPT]),
    Case::must(
        "backend/interrupt/before-entry",
        "backend interface: Interrupt::interrupt, what is entered next",
        before_entry,
    )
    .needs(&[INTERRUPT]),
    Case::must(
        "backend/interrupt/during-host-function",
        "backend interface: Interrupt::interrupt",
        during_host_function,
    )
    .needs(&[INTERRUPT]),
    Case::must("backend/interrupt/nested-call", "backend interface: Interrupt::interrupt", nested_call)
        .needs(&[INTERRUPT]),
    Case::must("backend/interrupt/start-function", "backend interface: START_EXPORT", start_function)
        .needs(&[INTERRUPT]),
    Case::must("backend/interrupt/only-its-own-instance", "backend interface: Interrupt::interrupt", only_its_own)
        .needs(&[INTERRUPT]),
    Case::must("backend/interrupt/after-the-end", "backend interface: Interrupt outlives its instance", after_the_end)
        .needs(&[INTERRUPT]),
    Case::must("backend/interrupt/many-at-once", "backend interface: Interrupt::interrupt", many_at_once)
        .needs(&[INTERRUPT]),
];

/// How soon an interrupted guest has to end. The machine may be busy with other cases.
const SOON: Duration = Duration::from_secs(1);

const ENDLESS: &str = r#"(module
  (import "m" "f" (func $f))
  (memory (export "memory") 16)
  (func (export "spin") (loop $l (br $l)))
  (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (export "calls") (local $n i32) (loop $l (local.set $n (call $leaf (local.get $n))) (br $l)))
  (func (export "host") (loop $l (call $f) (br $l)))
  (func (export "fill") (loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 1048576)) (br $l)))
  (func (export "once") (call $f) (loop $l (br $l)))
  (func (export "fine")))"#;

fn endless(context: &Context) -> CaseResult<Live> {
    context.live_with(ENDLESS, |_, _, _| Ok(()))
}

/// Interrupts after `pause` and returns when that was.
fn interrupt_after(pause: Duration, interrupt: Arc<dyn Interrupt>) -> thread::JoinHandle<Instant> {
    thread::spawn(move || {
        thread::sleep(pause);
        let at = Instant::now();
        interrupt.interrupt();
        at
    })
}

/// Calls `export`, which only ends by being interrupted, and checks that it ends soon after.
fn ends_soon(live: &mut Live, export: &str) -> CaseResult {
    let interrupter = interrupt_after(Duration::from_millis(50), live.instance.interrupt());
    let result = live.call(export, &[], 0);
    let ended = Instant::now();
    let at = interrupter.join().map_err(|_| crate::Unmet::failed("interrupting panicked"))?;
    expect_trap(result, TrapCode::Interrupted)?;
    let took = ended.saturating_duration_since(at);
    check!(took < SOON, "the guest ended {took:?} after it was interrupted, where {SOON:?} is the limit");
    Ok(())
}

fn ends(context: &Context, export: &str) -> CaseResult {
    ends_soon(&mut endless(context)?, export)
}

fn before_entry(context: &Context) -> CaseResult {
    let mut live = endless(context)?;
    live.instance.interrupt().interrupt();
    expect_trap(live.call("spin", &[], 0), TrapCode::Interrupted).map(|_| ())
}

fn during_host_function(context: &Context) -> CaseResult {
    let mut live = context.live_with(ENDLESS, |_, _, _| {
        thread::sleep(Duration::from_millis(200));
        Ok(())
    })?;
    ends_soon(&mut live, "once")
}

fn nested_call(context: &Context) -> CaseResult {
    let mut live = context.live_with(ENDLESS, |_, caller, _| match caller.call("spin", &mut []) {
        Err(trap) if trap.code == TrapCode::Interrupted => Ok(()),
        other => Err(internal(format!("the nested call ended with {other:?}"))),
    })?;
    let result = ends_soon(&mut live, "once");
    match live.imports.take_stop() {
        Some(stop) => Err(stop.into()),
        None => result,
    }
}

fn start_function(context: &Context) -> CaseResult {
    let compiled = context.compile("(module (func $s (loop $l (br $l))) (start $s))")?;
    let before = Instant::now();
    let mut live = compiled.instantiate(no_host())?;
    check!(before.elapsed() < SOON, "instantiating ran the start function");
    ends_soon(&mut live, wharf_core::START_EXPORT)
}

fn only_its_own(context: &Context) -> CaseResult {
    let compiled = context.compile(ENDLESS)?;
    let host = || crate::bare::Host(|_: usize, _: &mut dyn wharf_core::Caller, _: &mut [u64]| Ok(()));
    let (mut one, mut two) = (compiled.instantiate(host())?, compiled.instantiate(host())?);
    one.instance.interrupt().interrupt();
    two.call("fine", &[], 0)?;
    expect_trap(one.call("spin", &[], 0), TrapCode::Interrupted)?;
    two.call("fine", &[], 0)?;
    ends_soon(&mut two, "spin")
}

fn after_the_end(context: &Context) -> CaseResult {
    let mut live = endless(context)?;
    let interrupt = live.instance.interrupt();
    live.call("fine", &[], 0)?;
    drop(live);
    interrupt.interrupt();
    interrupt.interrupt();
    endless(context)?.call("fine", &[], 0)?;
    Ok(())
}

fn many_at_once(context: &Context) -> CaseResult {
    let results: Vec<CaseResult> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| ends(context, "spin"))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(crate::Unmet::failed("a thread panicked"))))
            .collect()
    });
    results.into_iter().collect()
}
