//! Start functions and segments: in the order of the component, not of one module.

use crate::run::{flattened, start, start_with};

#[test]
fn start_functions_run_in_order_and_late_segments_between_them() {
    let flattened = flattened(
        r#"
(component
  (import "note" (func $note (param "n" u32)))
  (core func $note (canon lower (func $note)))
  (core module $first
    (import "" "note" (func $note (param i32)))
    (memory (export "memory") 1)
    (table (export "table") 2 funcref)
    (data (i32.const 0) "\01")
    (func $start
      (call $note (i32.load8_u (i32.const 0)))
      ;; What the second instance brings is not there yet.
      (call $note (i32.load8_u (i32.const 1)))
      (i32.store8 (i32.const 1) (i32.const 99)))
    (start $start))
  (core module $second
    (import "" "note" (func $note (param i32)))
    (import "first" "memory" (memory 1))
    (import "first" "table" (table 2 funcref))
    (data (i32.const 1) "\02")
    (type $t (func (result i32)))
    (func $five (result i32) i32.const 5)
    (elem (i32.const 1) func $five)
    (func $start
      (call $note (i32.load8_u (i32.const 1)))
      (call $note (call_indirect (type $t) (i32.const 1))))
    (start $start))
  (core module $third
    (import "" "note" (func $note (param i32)))
    (import "first" "memory" (memory 1))
    (data $passive "\07")
    (data $active (i32.const 2) "\06")
    (func (export "take") (memory.init $passive (i32.const 3) (i32.const 0) (i32.const 1)))
    (func (export "again") (memory.init $active (i32.const 3) (i32.const 0) (i32.const 1)))
    (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0))))
  (core instance $env (export "note" (func $note)))
  (core instance $first (instantiate $first (with "" (instance $env))))
  (core instance $second (instantiate $second (with "" (instance $env)) (with "first" (instance $first))))
  (core instance $third (instantiate $third (with "" (instance $env)) (with "first" (instance $first))))
  (func (export "take") (canon lift (core func $third "take")))
  (func (export "again") (canon lift (core func $third "again")))
  (func (export "peek") (param "n" u32) (result u32) (canon lift (core func $third "peek"))))
"#,
    );
    assert!(flattened.plan.start);
    let mut run = start(&flattened);
    assert_eq!(run.log(), ["$root#note(1)", "$root#note(0)", "$root#note(2)", "$root#note(5)"]);
    assert_eq!(run.call("peek", &[1]), [2]);
    assert_eq!(run.call("peek", &[2]), [6]);
    run.call("take", &[]);
    assert_eq!(run.call("peek", &[3]), [7]);
    assert!(run.try_call("again", &[]).is_err(), "an active segment is gone once it has been applied");
}

#[test]
fn a_late_segment_finds_the_memory_that_a_start_function_grew() {
    let text = |grow: u32| {
        format!(
            r#"
(component
  (core module $first
    (memory (export "memory") 1)
    (func $start (drop (memory.grow (i32.const {grow}))))
    (start $start))
  (core module $second
    (import "first" "memory" (memory 1))
    (data (i32.const 65536) "\2a")
    (func (export "peek") (result i32) (i32.load8_u (i32.const 65536))))
  (core instance $first (instantiate $first))
  (core instance $second (instantiate $second (with "first" (instance $first))))
  (func (export "peek") (result u32) (canon lift (core func $second "peek"))))
"#
        )
    };
    assert_eq!(start(&flattened(&text(1))).call("peek", &[]), [42]);
    assert!(start_with(&flattened(&text(0)), |_, _, _| vec![]).is_err(), "the segment is out of bounds");
}

#[test]
fn a_start_function_that_is_imported_runs() {
    let flattened = flattened(
        r#"
(component
  (import "go" (func $go))
  (core func $go (canon lower (func $go)))
  (core module $m (import "" "go" (func $go)) (start $go))
  (core instance (instantiate $m (with "" (instance (export "go" (func $go)))))))
"#,
    );
    assert_eq!(start(&flattened).log(), ["$root#go()"]);
}

#[test]
fn a_start_function_that_traps_stops_the_rest() {
    let flattened = flattened(
        r#"
(component
  (import "go" (func $go))
  (core func $go (canon lower (func $go)))
  (core module $bad (func $f unreachable) (start $f))
  (core module $m (import "" "go" (func $go)) (start $go))
  (core instance (instantiate $bad))
  (core instance (instantiate $m (with "" (instance (export "go" (func $go)))))))
"#,
    );
    assert!(start_with(&flattened, |_, _, _| panic!("the second start function runs")).is_err());
}
