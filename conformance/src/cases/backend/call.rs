//! Calling a guest: values cross bit for bit, and instances are apart.

use crate::bare::no_host;
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("backend/call/nothing", "backend interface: Caller::call", nothing),
    Case::must("backend/call/i32-zero-extended", "backend interface: ValType::I32", i32_zero_extended),
    Case::must("backend/call/i32-ignores-high-bits", "backend interface: ValType::I32", i32_ignores_high_bits),
    Case::must("backend/call/i64-bits", "backend interface: ValType::I64", i64_bits),
    Case::must("backend/call/f32-bits", "backend interface: ValType::F32", f32_bits),
    Case::must("backend/call/f64-bits", "backend interface: ValType::F64", f64_bits),
    Case::must("backend/call/twenty-parameters", "backend interface: Caller::call", twenty_parameters),
    Case::must("backend/call/multi-value", "backend interface: Caller::call, slots", multi_value),
    Case::must("backend/call/more-results-than-parameters", "backend interface: Caller::call, slots", more_results),
    Case::must("backend/call/state-persists", "backend interface: Instance", state_persists),
    Case::must("backend/call/instances-are-apart", "backend interface: Module::instantiate", instances_are_apart),
    Case::must("backend/call/moves-between-threads", "backend interface: Instance is Send", moves_between_threads),
    Case::must("backend/call/one-module-on-many-threads", "backend interface: Module is Sync", many_threads),
    Case::must("backend/call/odd-export-names", "backend interface: Caller::call", odd_export_names),
    Case::must("backend/call/thousand-instances", "backend interface: Module::instantiate", thousand_instances),
];

fn nothing(context: &Context) -> CaseResult {
    let mut live = context.live(r#"(module (func (export "nothing")))"#)?;
    check_eq!(live.call("nothing", &[], 0)?, Vec::<u64>::new(), "results of a function without any");
    Ok(())
}

const IDENTITIES: &str = r#"(module
  (func (export "i32") (param i32) (result i32) (local.get 0))
  (func (export "i64") (param i64) (result i64) (local.get 0))
  (func (export "f32") (param f32) (result f32) (local.get 0))
  (func (export "f64") (param f64) (result f64) (local.get 0))
  (func (export "wrapped") (param i32) (result i64) (i64.extend_i32_u (local.get 0))))"#;

fn unchanged(context: &Context, export: &str, values: &[u64]) -> CaseResult {
    let mut live = context.live(IDENTITIES)?;
    for value in values {
        check_eq!(live.call1(export, &[*value])?, *value, "{export} {value:#x}");
    }
    Ok(())
}

fn i32_zero_extended(context: &Context) -> CaseResult {
    unchanged(context, "i32", &[0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])
}

fn i32_ignores_high_bits(context: &Context) -> CaseResult {
    let mut live = context.live(IDENTITIES)?;
    check_eq!(live.call1("wrapped", &[0xdead_beef_0000_0007])?, 7, "an i32 slot with bits above the low 32");
    Ok(())
}

fn i64_bits(context: &Context) -> CaseResult {
    unchanged(context, "i64", &[0, 1, u64::MAX, 1 << 63, 0x0123_4567_89ab_cdef])
}

fn f32_bits(context: &Context) -> CaseResult {
    // Both zeros, infinities, the smallest subnormal, a quiet and a signalling NaN with a payload.
    unchanged(context, "f32", &[0, 0x8000_0000, 0x7f80_0000, 0xff80_0000, 1, 0x7fc1_2345, 0x7fa1_2345])
}

fn f64_bits(context: &Context) -> CaseResult {
    let values = [0, 1 << 63, 0x7ff0 << 48, 0xfff0 << 48, 1, 0x7ff8_0123_4567_89ab, 0x7ff4_0123_4567_89ab];
    unchanged(context, "f64", &values)
}

fn twenty_parameters(context: &Context) -> CaseResult {
    // Weighted by position, so that any two swapped arguments change the sum.
    let mut body = String::from("(i64.const 0)");
    for index in 0..20 {
        let value = if index % 2 == 0 {
            format!("(i64.extend_i32_u (local.get {index}))")
        } else {
            format!("(local.get {index})")
        };
        body.push_str(&format!("(i64.add (i64.mul {value} (i64.const {})))", index * index + 1));
    }
    let wat = format!(r#"(module (func (export "sum") (param {}) (result i64) {body}))"#, "i32 i64 ".repeat(10));
    let params: Vec<u64> = (0..20).map(|index| 1000 + index * 7).collect();
    let right: u64 = (0..20).map(|index| (index * index + 1) * (1000 + index * 7)).sum();
    check_eq!(context.live(&wat)?.call1("sum", &params)?, right, "a sum weighted by position");
    Ok(())
}

fn multi_value(context: &Context) -> CaseResult {
    let mut live = context.live(
        r#"(module (func (export "turn") (param i32 i64 f64) (result f64 i32 i64)
             (local.get 2) (local.get 0) (local.get 1)))"#,
    )?;
    let (a, b, c) = (0xffff_fffe, u64::MAX - 5, (-2.5f64).to_bits());
    check_eq!(live.call("turn", &[a, b, c], 3)?, [c, a, b], "three results in order");
    Ok(())
}

fn more_results(context: &Context) -> CaseResult {
    let mut live = context.live(
        r#"(module (func (export "count") (param i32) (result i32 i32 i32 i32)
             (local.get 0) (i32.const 2) (i32.const 3) (i32.const 4)))"#,
    )?;
    check_eq!(live.call("count", &[1], 4)?, [1, 2, 3, 4], "four results of one parameter");
    Ok(())
}

const COUNTER: &str = r#"(module
  (memory (export "memory") 1)
  (global $count (mut i32) (i32.const 0))
  (func (export "next") (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store (i32.const 0) (global.get $count))
    (i32.load (i32.const 0))))"#;

fn state_persists(context: &Context) -> CaseResult {
    let mut live = context.live(COUNTER)?;
    for right in 1..=100 {
        check_eq!(live.call1("next", &[])?, right, "call number {right}");
    }
    Ok(())
}

fn instances_are_apart(context: &Context) -> CaseResult {
    let compiled = context.compile(COUNTER)?;
    let (mut one, mut two) = (compiled.instantiate(no_host())?, compiled.instantiate(no_host())?);
    check_eq!((one.call1("next", &[])?, one.call1("next", &[])?), (1, 2), "the first instance");
    check_eq!(two.call1("next", &[])?, 1, "the second instance");
    check_eq!(one.memory()?[0], 2, "the first instance's memory");
    check_eq!(two.memory()?[0], 1, "the second instance's memory");
    Ok(())
}

fn moves_between_threads(context: &Context) -> CaseResult {
    let mut live = context.live(COUNTER)?;
    for right in 1..=4 {
        let (back, seen) = std::thread::spawn(move || {
            let seen = live.call1("next", &[]);
            (live, seen)
        })
        .join()
        .map_err(|_| crate::Unmet::failed("calling on another thread panicked"))?;
        live = back;
        check_eq!(seen?, right, "the call on thread number {right}");
    }
    Ok(())
}

fn many_threads(context: &Context) -> CaseResult {
    let compiled = context.compile(COUNTER)?;
    let results: Vec<CaseResult> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| -> CaseResult {
                    for _ in 0..20 {
                        let mut live = compiled.instantiate(no_host())?;
                        for right in 1..=50 {
                            check_eq!(live.call1("next", &[])?, right, "call number {right} beside other threads");
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(crate::Unmet::failed("a thread panicked"))))
            .collect()
    });
    results.into_iter().collect()
}

fn odd_export_names(context: &Context) -> CaseResult {
    let names = ["", "wasi:http/incoming-handler@0.2.0#handle", "cabi_realloc", "naïve ☃", "a b\\n"];
    let mut wat = String::from("(module");
    for (index, name) in names.iter().enumerate() {
        wat.push_str(&format!(r#" (func (export "{name}") (result i32) (i32.const {index}))"#));
    }
    wat.push(')');
    let mut live = context.live(&wat)?;
    for (index, name) in names.iter().enumerate() {
        let name = name.replace("\\n", "\n");
        check_eq!(live.call1(&name, &[])?, index as u64, "the export {name:?}");
    }
    Ok(())
}

fn thousand_instances(context: &Context) -> CaseResult {
    let compiled = context.compile(COUNTER)?;
    for number in 0..1000 {
        let mut live = compiled.instantiate(no_host())?;
        check!(live.call1("next", &[])? == 1, "instance number {number} does not start afresh");
    }
    Ok(())
}
