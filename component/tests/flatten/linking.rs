//! Several core instances, linked to each other.

use crate::run::{flattened, start};

#[test]
fn two_instances_share_memory_table_and_globals() {
    let flattened = flattened(
        r#"
(component
  (core module $lib
    (memory (export "memory") 1)
    (table (export "table") 4 funcref)
    (global (export "base") i32 (i32.const 100))
    (global (export "count") (mut i32) (i32.const 5))
    (data (i32.const 0) "\01\02\03\04")
    (func $seven (result i32) i32.const 7)
    (elem (i32.const 0) func $seven)
    (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0))))
  (core instance $lib (instantiate $lib))
  (core module $app
    (import "lib" "memory" (memory 1))
    (import "lib" "table" (table 1 funcref))
    (import "lib" "base" (global $base i32))
    (import "lib" "count" (global $count (mut i32)))
    (import "lib" "load" (func $load (param i32) (result i32)))
    (type $number (func (result i32)))
    (global $end i32 (i32.add (global.get $base) (i32.mul (i32.const 2) (i32.const 4))))
    (data (global.get $base) "\2a")
    (data (i32.add (global.get $base) (i32.const 1)) "\2b")
    (func $eight (result i32) i32.const 8)
    (elem (i32.const 1) func $eight $load)
    (func (export "at") (param i32) (result i32) local.get 0 call $load)
    (func (export "indirect") (param i32) (result i32) local.get 0 call_indirect (type $number))
    (func (export "end") (result i32) global.get $end)
    (func (export "count") (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      global.get $count))
  (core instance $app (instantiate $app (with "lib" (instance $lib))))
  (func (export "at") (param "n" u32) (result u32) (canon lift (core func $app "at")))
  (func (export "indirect") (param "n" u32) (result u32) (canon lift (core func $app "indirect")))
  (func (export "end") (result u32) (canon lift (core func $app "end")))
  (func (export "count") (result u32) (canon lift (core func $app "count"))))
"#,
    );
    assert_eq!((flattened.plan.memory_count, flattened.plan.tables), (1, 1));
    let mut run = start(&flattened);
    assert_eq!(run.call("at", &[2]), [3]);
    assert_eq!(run.call("at", &[100]), [42]);
    assert_eq!(run.call("at", &[101]), [43]);
    assert_eq!(run.call("indirect", &[0]), [7]);
    assert_eq!(run.call("indirect", &[1]), [8]);
    assert!(run.try_call("indirect", &[2]).is_err(), "another signature traps");
    assert!(run.try_call("indirect", &[3]).is_err(), "a null element traps");
    assert_eq!(run.call("end", &[]), [108]);
    assert_eq!(run.call("count", &[]), [6]);
    assert_eq!(run.call("count", &[]), [7]);
}

#[test]
fn a_module_instantiated_twice_has_two_states() {
    let flattened = flattened(
        r#"
(component
  (core module $counter
    (global $n (mut i32) (i32.const 0))
    (func (export "next") (result i32)
      (global.set $n (i32.add (global.get $n) (i32.const 1)))
      global.get $n))
  (core instance $a (instantiate $counter))
  (core instance $b (instantiate $counter))
  (func (export "a") (result u32) (canon lift (core func $a "next")))
  (func (export "b") (result u32) (canon lift (core func $b "next"))))
"#,
    );
    let mut run = start(&flattened);
    assert_eq!(run.call("a", &[]), [1]);
    assert_eq!(run.call("a", &[]), [2]);
    assert_eq!(run.call("b", &[]), [1]);
}

#[test]
fn references_to_functions_survive() {
    let flattened = flattened(
        r#"
(component
  (core module $lib
    (func $two (export "two") (result i32) i32.const 2)
    (global (export "f") funcref (ref.func $two)))
  (core instance $lib (instantiate $lib))
  (core module $app
    (import "lib" "f" (global $f funcref))
    (import "lib" "two" (func $two (result i32)))
    (type $number (func (result i32)))
    (table $t 3 funcref)
    (elem $passive func $two $three)
    (elem (table $t) (i32.const 0) funcref (item global.get $f) (item ref.null func))
    (func $three (result i32) i32.const 3)
    (func (export "fill")
      (table.set $t (i32.const 1) (ref.func $three))
      (table.init $t $passive (i32.const 2) (i32.const 0) (i32.const 1)))
    (func (export "call") (param i32) (result i32) local.get 0 call_indirect $t (type $number))
    (func (export "shapes") (param i32) (result i32)
      (block (param) (result i32)
        i32.const 1
        (if (param i32) (result i32) (local.get 0) (then) (else (i32.add (i32.const 10)))))))
  (core instance $app (instantiate $app (with "lib" (instance $lib))))
  (func (export "fill") (canon lift (core func $app "fill")))
  (func (export "call") (param "n" u32) (result u32) (canon lift (core func $app "call")))
  (func (export "shapes") (param "n" u32) (result u32) (canon lift (core func $app "shapes"))))
"#,
    );
    let mut run = start(&flattened);
    assert_eq!(run.call("call", &[0]), [2]);
    assert!(run.try_call("call", &[1]).is_err());
    run.call("fill", &[]);
    assert_eq!(run.call("call", &[1]), [3]);
    assert_eq!(run.call("call", &[2]), [2]);
    assert_eq!(run.call("shapes", &[1]), [1]);
    assert_eq!(run.call("shapes", &[0]), [11]);
}

#[test]
fn nested_components_are_resolved() {
    let flattened = flattened(
        r#"
(component
  (import "base" (func $base (result u32)))
  (core module $m
    (import "" "f" (func $f (result i32)))
    (func (export "plus") (result i32) (i32.add (call $f) (i32.const 1))))
  (component $outer
    (import "f" (func $f (result u32)))
    (component $inner
      (import "f" (func $f (result u32)))
      (alias outer 2 $m (core module $m))
      (core func $f (canon lower (func $f)))
      (core instance $i (instantiate $m (with "" (instance (export "f" (func $f))))))
      (func (export "plus") (result u32) (canon lift (core func $i "plus"))))
    (instance $i (instantiate $inner (with "f" (func $f))))
    (export "plus" (func $i "plus")))
  (instance $once (instantiate $outer (with "f" (func $base))))
  (instance $twice (instantiate $outer (with "f" (func $once "plus"))))
  (export "once" (func $once "plus"))
  (export "twice" (func $twice "plus")))
"#,
    );
    let mut run =
        crate::run::start_with(&flattened, |_, name, _| vec![if name.contains("base") { 40 } else { 0 }]).unwrap();
    assert_eq!(run.call("once", &[]), [41]);
    assert_eq!(run.call("twice", &[]), [42]);
}
