//! Compiled code: what is stored runs as what was compiled does.

use crate::bare::{Compiled, Host, prepare};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::needs::COMPILED_CODE;
use crate::check_eq;
use crate::context::Context;
use wharf_core::{Caller, LoadOptions, TrapCode, TrustedCode};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("backend/code/round-trip", "backend interface: Module::serialize, Backend::load", round_trip)
        .needs(&[COMPILED_CODE]),
    Case::must("backend/code/loaded-code-traps", "backend interface: Backend::load", loaded_code_traps)
        .needs(&[COMPILED_CODE]),
    Case::must("backend/code/loaded-twice", "backend interface: Backend::load", loaded_twice).needs(&[COMPILED_CODE]),
    Case::must("backend/code/loaded-on-other-thread", "backend interface: Backend::load", other_thread)
        .needs(&[COMPILED_CODE]),
    Case::must("backend/code/loaded-code-serializes", "backend interface: Module::serialize", serializes_again)
        .needs(&[COMPILED_CODE]),
];

const WAT: &str = r#"(module (import "m" "f" (func $f (param i32) (result i32)))
  (memory (export "memory") 1 3) (data (i32.const 5) "\2a")
  (global $n (mut i32) (i32.const 100)) (table 1 funcref) (elem (i32.const 0) $f)
  (type $t (func (param i32) (result i32)))
  (func (export "go") (param i32) (result i32)
    (i32.add (call_indirect (type $t) (local.get 0) (i32.const 0)) (i32.add (global.get $n) (i32.load8_u (i32.const 5)))))
  (func (export "trap") unreachable))"#;

fn compiled(context: &Context) -> CaseResult<Compiled> {
    context.compile(WAT)
}

fn code(compiled: &Compiled) -> CaseResult<TrustedCode<'_>> {
    compiled.module().serialize()?.ok_or_else(|| Unmet::failed("the engine claims compiled code and gives none"))
}

fn load(context: &Context, code: &TrustedCode<'_>) -> CaseResult<Compiled> {
    let prepared = prepare(WAT, &LoadOptions::default())?;
    Ok(Compiled::new(context.backend().load(&prepared, code.clone())?, &prepared))
}

fn doubles(compiled: &Compiled) -> CaseResult {
    let mut live = compiled.instantiate(Host(|_: usize, _: &mut dyn Caller, slots: &mut [u64]| {
        slots[0] *= 2;
        Ok(())
    }))?;
    check_eq!(live.call1("go", &[50])?, 242, "the sum of a host function's, a global's and a data segment's value");
    live.traps("trap", &[], TrapCode::Unreachable)?;
    Ok(())
}

fn round_trip(context: &Context) -> CaseResult {
    doubles(&load(context, &code(&compiled(context)?)?)?)
}

fn loaded_code_traps(context: &Context) -> CaseResult {
    let loaded = load(context, &code(&compiled(context)?)?)?;
    for _ in 0..10 {
        doubles(&loaded)?;
    }
    Ok(())
}

fn loaded_twice(context: &Context) -> CaseResult {
    let compiled = compiled(context)?;
    let code = code(&compiled)?;
    let (one, two) = (load(context, &code)?, load(context, &code)?);
    doubles(&one)?;
    drop(one);
    doubles(&two)
}

fn other_thread(context: &Context) -> CaseResult {
    let compiled = compiled(context)?;
    let code = code(&compiled)?;
    let result = std::thread::scope(|scope| scope.spawn(|| doubles(&load(context, &code)?)).join());
    result.unwrap_or_else(|_| Err(Unmet::failed("loading on another thread panicked")))
}

fn serializes_again(context: &Context) -> CaseResult {
    let loaded = load(context, &code(&compiled(context)?)?)?;
    match loaded.module().serialize()? {
        Some(code) => doubles(&load(context, &code)?),
        // Not every engine keeps what it loaded; it has said so.
        None => Ok(()),
    }
}
