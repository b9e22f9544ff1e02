//! The shims that component tools make: taken out where that changes nothing, kept where it would.

use crate::run::{flattened, start_with};

/// A core module whose import exists before its memory, as `wit-component` arranges it. `extra` goes into the core
/// module, `fixups` are the elements of the table.
fn with_shim(extra: &str, fixups: &str) -> String {
    format!(
        r#"
(component
  (import "h:h/log@0.2.0" (instance $log
    (export "write" (func (param "text" string)))
    (export "level" (func (param "n" u32) (result u32)))))
  (core module $main
    (import "h:h/log@0.2.0" "write" (func $write (param i32 i32)))
    (import "h:h/log@0.2.0" "level" (func $level (param i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 8) "hello")
    {extra}
    (func (export "run") (result i32)
      (call $write (i32.const 8) (i32.const 5))
      (call $level (i32.const 3))))
  (core module $shim
    (type $write (func (param i32 i32)))
    (type $level (func (param i32) (result i32)))
    (table (export "$imports") 2 2 funcref)
    (func (export "0") (type $write) local.get 0 local.get 1 i32.const 0 call_indirect (type $write))
    (func (export "1") (type $level) local.get 0 i32.const 1 call_indirect (type $level)))
  (core module $fixup
    (import "" "$imports" (table 2 2 funcref))
    (import "" "0" (func $write (param i32 i32)))
    (import "" "1" (func $level (param i32) (result i32)))
    (elem (i32.const 0) {fixups}))
  (core instance $shim (instantiate $shim))
  (core instance $main (instantiate $main (with "h:h/log@0.2.0" (instance
    (export "write" (func $shim "0"))
    (export "level" (func $shim "1"))))))
  (core func $write (canon lower (func $log "write") (memory (core memory $main "memory"))))
  (core func $level (canon lower (func $log "level")))
  (core instance (instantiate $fixup (with "" (instance
    (export "$imports" (table $shim "$imports"))
    (export "0" (func $write))
    (export "1" (func $level))))))
  (func (export "run") (result u32) (canon lift (core func $main "run"))))
"#
    )
}

fn runs(text: &str) -> u32 {
    let flattened = flattened(text);
    let mut run = start_with(&flattened, |caller, name, params| {
        if name.ends_with("#write") {
            let memory = caller.get_export("memory").unwrap().into_memory().unwrap();
            let (at, length) = (crate::run::number(&params[0]) as usize, crate::run::number(&params[1]) as usize);
            assert_eq!(&memory.data(&*caller)[at..at + length], b"hello");
        }
        vec![30]
    })
    .unwrap();
    assert_eq!(run.call("run", &[]), [30]);
    assert_eq!(run.log(), ["h:h/log@0.2.0#write(8,5)", "h:h/log@0.2.0#level(3)"]);
    flattened.plan.tables
}

#[test]
fn a_shim_disappears_with_its_table() {
    let text = with_shim("", "func $write $level");
    assert_eq!(runs(&text), 0);
    assert!(!calls_through_a_table(&text));
}

/// Whether any function of the result calls through a table.
fn calls_through_a_table(text: &str) -> bool {
    let flattened = flattened(text);
    let bodies = wasmparser::Parser::new(0).parse_all(&flattened.wasm).filter_map(|payload| match payload.unwrap() {
        wasmparser::Payload::CodeSectionEntry(body) => Some(body),
        _ => None,
    });
    bodies
        .flat_map(|body| body.get_operators_reader().unwrap().into_iter().collect::<Vec<_>>())
        .any(|operator| matches!(operator.unwrap(), wasmparser::Operator::CallIndirect { .. }))
}

#[test]
fn expressions_as_elements_are_understood() {
    assert_eq!(runs(&with_shim("", "funcref (ref.func $write) (item (ref.func $level))")), 0);
}

#[test]
fn a_table_of_the_main_module_stays() {
    assert_eq!(runs(&with_shim("(table 1 funcref) (func $f) (elem (i32.const 0) func $f)", "func $write $level")), 1);
}

#[test]
fn a_shim_whose_table_is_looked_at_stays() {
    let text = with_shim("", "func $write $level").replace(
        "(table (export \"$imports\") 2 2 funcref)",
        "(table (export \"$imports\") 2 2 funcref) (func (export \"size\") (result i32) table.size)",
    );
    assert_eq!(runs(&text), 1);
}

#[test]
fn a_shim_that_would_trap_stays() {
    let text = with_shim("", "funcref (item (ref.func $write)) (item (ref.null func))");
    let flattened = flattened(&text);
    assert_eq!(flattened.plan.tables, 1);
    let mut run = start_with(&flattened, |_, _, _| vec![]).unwrap();
    assert!(run.try_call("run", &[]).is_err());
    assert_eq!(run.log(), ["h:h/log@0.2.0#write(8,5)"]);
}

#[test]
fn a_shim_with_the_wrong_signature_stays() {
    let flattened = flattened(&with_shim("", "func $level $write"));
    assert_eq!(flattened.plan.tables, 1);
    let mut run = start_with(&flattened, |_, _, _| vec![]).unwrap();
    assert!(run.try_call("run", &[]).is_err());
}

#[test]
fn shims_that_call_each_other_stay() {
    let flattened = flattened(
        r#"
(component
  (core module $m
    (type $t (func))
    (table $a 1 funcref)
    (table $b 1 funcref)
    (func $f (export "f") i32.const 0 call_indirect $a (type $t))
    (func $g i32.const 0 call_indirect $b (type $t))
    (elem (table $a) (i32.const 0) func $g)
    (elem (table $b) (i32.const 0) func $f))
  (core instance $i (instantiate $m))
  (func (export "f") (canon lift (core func $i "f"))))
"#,
    );
    assert_eq!(flattened.plan.tables, 2);
}
