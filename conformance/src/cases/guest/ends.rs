//! How a guest ends: by itself, by a trap, by its time limit, by the embedder. Each is told apart.

use std::error::Error as StdError;
use std::thread;
use std::time::{Duration, Instant};

use wharf_core::{Error, GuestConfig, Kind, Stop, Trap, TrapCode};

use crate::case::{Case, CaseResult, Unmet};
use crate::cases::needs::INTERRUPT;
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("guest/run/returns-zero", "Guest::run", returns_zero),
    Case::must("guest/run/invoke", "Guest::run, invoke", invoke),
    Case::must("guest/run/twice", "Guest::run", twice),
    Case::must("guest/run/start-function-first", "Guest::start", start_first),
    Case::must("guest/run/wrong-argument-count", "Session::call", wrong_count),
    Case::must("guest/trap/is-typed", "Session::call, errors", trap_is_typed),
    Case::must("guest/trap/in-start-function", "Guest::start, errors", trap_in_start),
    Case::must("guest/trap/stack-overflow", "Session::call, errors", stack_overflow),
    Case::must("guest/time-limit/endless-loop", "GuestConfig::timeout", |c| limited(c, LOOP)).needs(&[INTERRUPT]),
    Case::must("guest/time-limit/start-function", "GuestConfig::timeout", |c| limited(c, LOOP_IN_START))
        .needs(&[INTERRUPT]),
    Case::must("guest/time-limit/endless-recursion-through-table", "GuestConfig::timeout", |c| limited(c, BOUNCE))
        .needs(&[INTERRUPT]),
    Case::must("guest/time-limit/not-reached", "GuestConfig::timeout", not_reached).needs(&[INTERRUPT]),
    Case::must("guest/time-limit/zero", "GuestConfig::timeout", zero).needs(&[INTERRUPT]),
    Case::must("guest/time-limit/over-several-calls", "GuestConfig::timeout", several_calls).needs(&[INTERRUPT]),
    Case::must("guest/cancel/endless-loop", "GuestConfig::cancel", cancel).needs(&[INTERRUPT]),
    Case::must("guest/cancel/before-the-start", "GuestConfig::cancel", cancelled_before),
];

fn returns_zero(context: &Context) -> CaseResult {
    let guest = context.guest(r#"(module (func (export "_start")))"#)?;
    check_eq!(guest.run(GuestConfig::default(), None)?, 0, "the exit code");
    Ok(())
}

fn invoke(context: &Context) -> CaseResult {
    let guest = context.guest(r#"(module (func (export "_start") unreachable) (func (export "other")))"#)?;
    check_eq!(guest.run(GuestConfig::default(), Some("other"))?, 0, "the exit code of the function invoked");
    Ok(())
}

fn twice(context: &Context) -> CaseResult {
    // Traps on its second entry, so each run needs an instance of its own.
    let guest = context.guest(
        r#"(module (global $n (mut i32) (i32.const 0))
             (func (export "_start") (if (global.get $n) (then unreachable)) (global.set $n (i32.const 1))))"#,
    )?;
    for _ in 0..3 {
        check_eq!(guest.run(GuestConfig::default(), None)?, 0, "the exit code");
    }
    Ok(())
}

fn start_first(context: &Context) -> CaseResult {
    let guest = context.guest(
        r#"(module (memory (export "memory") 1) (func $s (i32.store8 (i32.const 3) (i32.const 7))) (start $s)
             (func (export "get") (result i32) (i32.load8_u (i32.const 3))))"#,
    )?;
    check_eq!(guest.start(GuestConfig::default())?.call("get", &[])?, [7], "what the start function stored");
    Ok(())
}

fn wrong_count(context: &Context) -> CaseResult {
    let guest = context.guest(r#"(module (func (export "two") (param i32 i32)))"#)?;
    let mut session = guest.start(GuestConfig::default())?;
    for params in [&[][..], &[1], &[1, 2, 3]] {
        match session.call("two", params) {
            Err(Stop::Error(error)) => check_eq!(error.kind(), Kind::Config, "the kind of the error"),
            other => return Err(Unmet::failed(format!("a call with {} arguments gave {other:?}", params.len()))),
        }
    }
    session.call("two", &[1, 2])?;
    Ok(())
}

/// The error must be a trap whose source is a backend's, with this code.
fn expect_trap(error: &Error, code: TrapCode) -> CaseResult {
    check_eq!(error.kind(), Kind::Trap, "the kind of the error {:?}", wharf_core::chain(error));
    match error.source().and_then(|source| source.downcast_ref::<Trap>()) {
        Some(trap) => check_eq!(trap.code, code, "the trap's code"),
        None => return Err(Unmet::failed("the error's source is not a trap")),
    }
    Ok(())
}

fn trap_is_typed(context: &Context) -> CaseResult {
    let guest = context.guest(r#"(module (func (export "_start") unreachable))"#)?;
    match guest.run(GuestConfig::default(), None) {
        Err(error) => expect_trap(&error, TrapCode::Unreachable),
        Ok(code) => Err(Unmet::failed(format!("`unreachable` exited with {code}"))),
    }
}

fn trap_in_start(context: &Context) -> CaseResult {
    let guest = context.guest(r#"(module (func $s (drop (i32.div_u (i32.const 1) (i32.const 0)))) (start $s))"#)?;
    match guest.start(GuestConfig::default()) {
        Err(Stop::Error(error)) => expect_trap(&error, TrapCode::DivisionByZero),
        Err(Stop::Exit(code)) => Err(Unmet::failed(format!("a division by zero exited with {code}"))),
        Ok(_) => Err(Unmet::failed("a guest whose start function traps was started")),
    }
}

fn stack_overflow(context: &Context) -> CaseResult {
    let guest = context.guest(r#"(module (func $f (export "_start") (call $f)))"#)?;
    match guest.run(GuestConfig::default(), None) {
        Err(error) => expect_trap(&error, TrapCode::StackOverflow),
        Ok(code) => Err(Unmet::failed(format!("an endless recursion exited with {code}"))),
    }
}

const LOOP: &str = r#"(module (func (export "_start") (loop $l (br $l))))"#;
const LOOP_IN_START: &str = r#"(module (func $s (loop $l (br $l))) (start $s) (func (export "_start")))"#;
const BOUNCE: &str = r#"(module (type $t (func)) (table 1 funcref) (elem (i32.const 0) $leaf)
  (func $leaf) (func (export "_start") (loop $l (call_indirect (type $t) (i32.const 0)) (br $l))))"#;

const LIMIT: Duration = Duration::from_millis(200);

/// The guest runs for good; a limit of 200 ms must end it within a second.
fn limited(context: &Context, wat: &str) -> CaseResult {
    let guest = context.guest(wat)?;
    let before = Instant::now();
    let result = guest.run(GuestConfig { timeout: Some(LIMIT), ..GuestConfig::default() }, None);
    let took = before.elapsed();
    match result {
        Err(error) => check_eq!(error.kind(), Kind::Timeout, "the kind of the error {:?}", wharf_core::chain(&error)),
        Ok(code) => return Err(Unmet::failed(format!("a guest that runs for good exited with {code}"))),
    }
    check!(took >= LIMIT, "a limit of {LIMIT:?} ended the guest after {took:?}");
    check!(took < Duration::from_secs(1), "a limit of {LIMIT:?} ended the guest after {took:?}");
    Ok(())
}

fn not_reached(context: &Context) -> CaseResult {
    let guest = context.guest(r#"(module (func (export "_start")))"#)?;
    for _ in 0..20 {
        let config = GuestConfig { timeout: Some(Duration::from_secs(60)), ..GuestConfig::default() };
        check_eq!(guest.run(config, None)?, 0, "the exit code under a limit that is not reached");
    }
    Ok(())
}

fn zero(context: &Context) -> CaseResult {
    let guest = context.guest(LOOP)?;
    match guest.run(GuestConfig { timeout: Some(Duration::ZERO), ..GuestConfig::default() }, None) {
        Err(error) if error.kind() == Kind::Timeout => Ok(()),
        other => Err(Unmet::failed(format!("a guest with no time at all ended with {other:?}"))),
    }
}

/// The limit is the session's, not each call's.
fn several_calls(context: &Context) -> CaseResult {
    let guest = context.guest(r#"(module (func (export "quick")))"#)?;
    let mut session = guest.start(GuestConfig { timeout: Some(LIMIT), ..GuestConfig::default() })?;
    let before = Instant::now();
    while before.elapsed() < Duration::from_secs(2) {
        match session.call("quick", &[]) {
            Ok(_) => thread::sleep(Duration::from_millis(5)),
            Err(Stop::Error(error)) => {
                check_eq!(error.kind(), Kind::Timeout, "the kind of the error");
                return Ok(());
            }
            Err(stop) => return Err(stop.into()),
        }
    }
    Err(Unmet::failed("calls went on two seconds after a limit of 200 ms"))
}

fn cancel(context: &Context) -> CaseResult {
    let guest = context.guest(LOOP)?;
    let config = GuestConfig::default();
    let token = config.cancel.clone();
    let canceller = thread::spawn(move || {
        thread::sleep(LIMIT);
        token.cancel();
    });
    let before = Instant::now();
    let result = guest.run(config, None);
    let took = before.elapsed();
    canceller.join().map_err(|_| Unmet::failed("cancelling panicked"))?;
    match result {
        Err(error) => check_eq!(error.kind(), Kind::Cancelled, "the kind of the error {:?}", wharf_core::chain(&error)),
        Ok(code) => return Err(Unmet::failed(format!("a guest that runs for good exited with {code}"))),
    }
    check!(took < Duration::from_millis(1200), "a guest cancelled after {LIMIT:?} ended after {took:?}");
    Ok(())
}

fn cancelled_before(context: &Context) -> CaseResult {
    let guest = context.guest(r#"(module (func (export "_start") unreachable))"#)?;
    let config = GuestConfig::default();
    config.cancel.cancel();
    match guest.run(config, None) {
        Err(error) if error.kind() == Kind::Cancelled => Ok(()),
        other => Err(Unmet::failed(format!("a run that was cancelled before it began ended with {other:?}"))),
    }
}
