//! Host functions: the right one is called, with the right bits, and its results arrive.

use std::sync::{Arc, Mutex};

use crate::bare::internal;
use crate::case::{Case, CaseResult};
use crate::check_eq;
use crate::context::Context;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("backend/host/parameters-in-order", "backend interface: Imports::call", parameters_in_order),
    Case::must("backend/host/twenty-parameters", "backend interface: Imports::call", twenty_parameters),
    Case::must("backend/host/multi-value", "backend interface: Imports::call, slots", multi_value),
    Case::must("backend/host/float-bits", "backend interface: ValType::F32, ValType::F64", float_bits),
    Case::must("backend/host/i32-zero-extended", "backend interface: ValType::I32", i32_zero_extended),
    Case::must("backend/host/i32-result-high-bits", "backend interface: ValType::I32", i32_result_high_bits),
    Case::must("backend/host/import-order", "backend interface: Imports, indices", import_order),
    Case::must("backend/host/odd-import-names", "backend interface: Import names", odd_import_names),
    Case::must("backend/host/same-name-in-two-modules", "backend interface: Import names", same_name_in_two_modules),
    Case::must("backend/host/imported-twice", "backend interface: Import names", imported_twice),
    Case::must("backend/host/three-hundred-imports", "backend interface: Imports, indices", three_hundred_imports),
    Case::must(
        "backend/host/through-a-table",
        "backend interface: host functions in element segments",
        through_a_table,
    ),
    Case::must("backend/host/re-exported", "backend interface: Caller::call", re_exported),
    Case::must("backend/host/hundred-thousand-calls", "backend interface: Imports::call", hundred_thousand_calls),
];

type Log = Arc<Mutex<Vec<u64>>>;

fn record(log: &Log, slots: &[u64]) -> Result<(), wharf_core::Stop> {
    log.lock().map_err(|_| internal("the case's log is broken"))?.extend_from_slice(slots);
    Ok(())
}

fn recorded(log: &Log) -> Vec<u64> {
    log.lock().map(|log| log.clone()).unwrap_or_default()
}

fn parameters_in_order(context: &Context) -> CaseResult {
    let log = Log::default();
    let seen = log.clone();
    let mut live = context.live_with(
        r#"(module (import "m" "f" (func $f (param i32 i64 f32 f64 i32 i64)))
             (func (export "go") (call $f (i32.const -1) (i64.const -2) (f32.const 1.5) (f64.const -2.25) (i32.const 5) (i64.const 6))))"#,
        move |_, _, slots| record(&seen, slots),
    )?;
    live.call("go", &[], 0)?;
    let right = [0xffff_ffff, u64::MAX - 1, u64::from(1.5f32.to_bits()), (-2.25f64).to_bits(), 5, 6];
    check_eq!(recorded(&log), right, "what the host function got");
    Ok(())
}

fn twenty_parameters(context: &Context) -> CaseResult {
    let log = Log::default();
    let seen = log.clone();
    let arguments: String = (0..20).map(|index| format!("(i32.const {})", index * 3 + 1)).collect();
    let wat = format!(
        r#"(module (import "m" "f" (func $f (param {}))) (func (export "go") (call $f {arguments})))"#,
        "i32 ".repeat(20)
    );
    context.live_with(&wat, move |_, _, slots| record(&seen, slots))?.call("go", &[], 0)?;
    check_eq!(recorded(&log), (0..20).map(|index| index * 3 + 1).collect::<Vec<u64>>(), "what the host function got");
    Ok(())
}

fn multi_value(context: &Context) -> CaseResult {
    let mut live = context.live_with(
        r#"(module (import "m" "f" (func $f (param i32) (result i64 f64 i32)))
             (func (export "go") (param i32) (result i64 f64 i32) (call $f (local.get 0))))"#,
        |_, _, slots| {
            let given = slots[0];
            slots.copy_from_slice(&[u64::MAX - given, 0.5f64.to_bits(), given + 1]);
            Ok(())
        },
    )?;
    check_eq!(live.call("go", &[7], 3)?, [u64::MAX - 7, 0.5f64.to_bits(), 8], "the host function's three results");
    Ok(())
}

fn float_bits(context: &Context) -> CaseResult {
    let mut live = context.live_with(
        r#"(module (import "m" "f32" (func $s (param f32) (result f32))) (import "m" "f64" (func $d (param f64) (result f64)))
             (func (export "f32") (param f32) (result f32) (call $s (local.get 0)))
             (func (export "f64") (param f64) (result f64) (call $d (local.get 0))))"#,
        |_, _, _| Ok(()),
    )?;
    for bits in [0x7fc1_2345, 0x7fa1_2345, 0x8000_0000, 1] {
        check_eq!(live.call1("f32", &[bits])?, bits, "an f32 through the host and back");
    }
    for bits in [0x7ff8_0123_4567_89ab, 0x7ff4_0123_4567_89ab, 1 << 63, 1] {
        check_eq!(live.call1("f64", &[bits])?, bits, "an f64 through the host and back");
    }
    Ok(())
}

fn i32_zero_extended(context: &Context) -> CaseResult {
    let log = Log::default();
    let seen = log.clone();
    let mut live = context.live_with(
        r#"(module (import "m" "f" (func $f (param i32))) (func (export "go") (call $f (i32.const 0x80000001))))"#,
        move |_, _, slots| record(&seen, slots),
    )?;
    live.call("go", &[], 0)?;
    check_eq!(recorded(&log), [0x8000_0001], "a negative i32 argument's slot");
    Ok(())
}

fn i32_result_high_bits(context: &Context) -> CaseResult {
    let mut live = context.live_with(
        r#"(module (import "m" "f" (func $f (result i32)))
             (func (export "go") (result i64) (i64.extend_i32_u (call $f))))"#,
        |_, _, slots| {
            slots[0] = 0xdead_beef_0000_0009;
            Ok(())
        },
    )?;
    check_eq!(live.call1("go", &[])?, 9, "an i32 result whose slot has bits above the low 32");
    Ok(())
}

fn import_order(context: &Context) -> CaseResult {
    let mut live = context.live_with(
        r#"(module (import "z" "c" (func $c (result i32))) (import "a" "b" (func $b (result i32))) (import "m" "a" (func $a (result i32)))
             (func (export "go") (result i32 i32 i32) (call $c) (call $b) (call $a)))"#,
        |index, _, slots| {
            slots[0] = index as u64 + 10;
            Ok(())
        },
    )?;
    check_eq!(live.call("go", &[], 3)?, [10, 11, 12], "the indices of three imports, in the module's order");
    Ok(())
}

/// Imports each of `names`, and checks that each reaches the host function of its own index.
fn each_reaches_its_own(context: &Context, names: &[(&str, &str)]) -> CaseResult {
    let mut wat = String::from("(module");
    for (index, (module, name)) in names.iter().enumerate() {
        wat.push_str(&format!(r#" (import "{module}" "{name}" (func $f{index} (result i32)))"#));
    }
    for index in 0..names.len() {
        wat.push_str(&format!(r#" (func (export "go{index}") (result i32) (call $f{index}))"#));
    }
    wat.push(')');
    let mut live = context.live_with(&wat, |index, _, slots| {
        slots[0] = index as u64;
        Ok(())
    })?;
    for (index, (module, name)) in names.iter().enumerate() {
        check_eq!(live.call1(&format!("go{index}"), &[])?, index as u64, "the import {module:?} {name:?}");
    }
    Ok(())
}

fn odd_import_names(context: &Context) -> CaseResult {
    each_reaches_its_own(
        context,
        &[
            ("wasi:http/types@0.2.0", "[method]fields.get"),
            ("wasi:http/types@0.2.0", "[resource-drop]fields"),
            ("[export]wasi:http/types", "[static]response-outparam.set"),
            ("", ""),
            ("naïve", "☃"),
            ("$root", "with space"),
        ],
    )
}

fn same_name_in_two_modules(context: &Context) -> CaseResult {
    each_reaches_its_own(context, &[("one", "f"), ("two", "f"), ("one", "g"), ("two", "g")])
}

fn imported_twice(context: &Context) -> CaseResult {
    let mut live = context.live_with(
        r#"(module (import "m" "f" (func $a (param i32) (result i32))) (import "m" "g" (func $g (param i32) (result i32)))
             (import "m" "f" (func $b (param i32) (result i32)))
             (func (export "go") (result i32 i32 i32) (call $a (i32.const 1)) (call $b (i32.const 2)) (call $g (i32.const 3))))"#,
        |index, _, slots| {
            slots[0] = slots[0] * 10 + u64::from(index == 1);
            Ok(())
        },
    )?;
    check_eq!(live.call("go", &[], 3)?, [10, 20, 31], "one function imported twice, another between");
    Ok(())
}

fn three_hundred_imports(context: &Context) -> CaseResult {
    let names: Vec<String> = (0..300).map(|index| format!("f{index}")).collect();
    let names: Vec<(&str, &str)> = names.iter().map(|name| ("many", name.as_str())).collect();
    each_reaches_its_own(context, &names)
}

fn through_a_table(context: &Context) -> CaseResult {
    let mut live = context.live_with(
        r#"(module (type $t (func (param i32) (result i32)))
             (import "m" "f" (func $f (type $t))) (import "m" "g" (func $g (type $t)))
             (table 2 funcref) (elem (i32.const 0) $g $f)
             (func (export "go") (param i32 i32) (result i32) (call_indirect (type $t) (local.get 1) (local.get 0))))"#,
        |index, _, slots| {
            slots[0] += 100 * (index as u64 + 1);
            Ok(())
        },
    )?;
    check_eq!(live.call1("go", &[0, 5])?, 205, "the table's first element");
    check_eq!(live.call1("go", &[1, 5])?, 105, "the table's second element");
    Ok(())
}

fn re_exported(context: &Context) -> CaseResult {
    let mut live = context.live_with(
        r#"(module (import "m" "f" (func $f (param i32) (result i32))) (export "f" (func $f)))"#,
        |_, _, slots| {
            slots[0] += 1;
            Ok(())
        },
    )?;
    check_eq!(live.call1("f", &[41])?, 42, "a host function that the guest exports");
    Ok(())
}

fn hundred_thousand_calls(context: &Context) -> CaseResult {
    let mut live = context.live_with(
        r#"(module (import "m" "f" (func $f (param i32) (result i32)))
             (func (export "go") (param $n i32) (result i32) (local $sum i32)
               (loop $again
                 (local.set $sum (i32.add (local.get $sum) (call $f (local.get $n))))
                 (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
               (local.get $sum)))"#,
        |_, _, slots| {
            slots[0] &= 1;
            Ok(())
        },
    )?;
    check_eq!(live.call1("go", &[100_000])?, 50_000, "odd numbers up to a hundred thousand");
    Ok(())
}
