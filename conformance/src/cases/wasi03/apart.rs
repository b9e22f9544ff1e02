//! What one component of a composition may not do to another, or to the host: take over its task, run within it, take time.

use std::time::Duration;

use wharf_core::{Kind, Stop, chain};

use super::pair::{call_for, call_text, returns, traps_text};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::needs::MULTI_MEMORY;
use crate::context::Context;
use crate::{check, check_eq};

const SPEC: &str = "CanonicalABI.md: tasks, canon resource.drop, lifting of streams and lists";

const fn case(id: &'static str, run: fn(&Context) -> CaseResult) -> Case {
    Case::must(id, SPEC, run).needs(&[MULTI_MEMORY])
}

/// A service whose things this destroys, and a front that drops one and returns its context, which is 4.
fn dtor(body: &str) -> String {
    format!(
        r#"(component
  (component $service
    (core func $return (canon task.return (result u32)))
    (core func $get (canon context.get i32 0))
    (core func $set (canon context.set i32 0))
    (core module $dropper
        (import "" "return" (func $return (param i32)))
        (import "" "get" (func $get (result i32)))
        (import "" "set" (func $set (param i32)))
        (func (export "destroy") (param i32) {body}))
    (core instance $dropper (instantiate $dropper (with "" (instance
        (export "return" (func $return)) (export "get" (func $get)) (export "set" (func $set))))))
    (type $thing (resource (rep i32) (dtor (core func $dropper "destroy"))))
    (core func $new (canon resource.new $thing))
    (core module $m (import "" "new" (func $new (param i32) (result i32)))
        (func (export "make") (result i32) (call $new (i32.const 5)))
        (func (export "go") (result i32) (i32.const 1))
        (func (export "cb") (param i32 i32 i32) (result i32) (unreachable)))
    (core instance $m (instantiate $m (with "" (instance (export "new" (func $new))))))
    (export $exported "thing" (type $thing))
    (func (export "make") (result (own $exported)) (canon lift (core func $m "make")))
    (func (export "go") async (result u32) (canon lift (core func $m "go") async (callback (core func $m "cb"))))
  )
  (component $front
    (import "thing" (type $thing (sub resource)))
    (import "make" (func $make (result (own $thing))))
    (import "go" (func $go async (result u32)))
    (core func $make (canon lower (func $make)))
    (core func $drop (canon resource.drop $thing))
    (core func $return (canon task.return (result u32)))
    (core func $get (canon context.get i32 0))
    (core func $set (canon context.set i32 0))
    (core module $m
        (import "" "return" (func $return (param i32)))
        (import "" "make" (func $make (result i32)))
        (import "" "drop" (func $drop (param i32)))
        (import "" "get" (func $get (result i32)))
        (import "" "set" (func $set (param i32)))
        (func (export "f") (result i32)
            (call $set (i32.const 4))
            (call $drop (call $make))
            (call $return (call $get))
            (i32.const 0))
        (func (export "cb") (param i32 i32 i32) (result i32) (unreachable)))
    (core instance $m (instantiate $m (with "" (instance
        (export "return" (func $return)) (export "make" (func $make)) (export "drop" (func $drop))
        (export "get" (func $get)) (export "set" (func $set))))))
    (func (export "f") async (result u32) (canon lift (core func $m "f") async (callback (core func $m "cb")))))
  (instance $service (instantiate $service))
  (instance $front (instantiate $front (with "thing" (type $service "thing")) (with "make" (func $service "make"))
    (with "go" (func $service "go"))))
  (export "f" (func $front "f")))"#
    )
}

/// A front that writes a list of lists, which are all the same memory, to a service whose allocator always gives the same.
fn lists(element: &str, outer: u32, inner: u32) -> String {
    format!(
        r#"(component
  (component $service
    (type $x (future (list (list {element}))))
    (core module $memory (memory (export "memory") 512)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (select (i32.const 1024) (i32.const 8388608) (i32.gt_u (local.get 3) (i32.const {outer8})))))
    (core instance $memory (instantiate $memory))
    (core func $read (canon future.read $x async (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
    (core func $return (canon task.return (result u32)))
    (core module $m
        (import "" "read" (func $read (param i32 i32) (result i32)))
        (import "" "return" (func $return (param i32)))
        (func (export "go") (param i32) (result i32)
            (drop (call $read (local.get 0) (i32.const 16)))
            (call $return (i32.const 1)) (i32.const 0))
        (func (export "cb") (param i32 i32 i32) (result i32) (unreachable)))
    (core instance $m (instantiate $m (with "" (instance (export "read" (func $read)) (export "return" (func $return))))))
    (func (export "go") async (param "x" $x) (result u32) (canon lift (core func $m "go") async (callback (core func $m "cb")))))
  (component $front
    (type $x (future (list (list {element}))))
    (import "go" (func $go async (param "x" $x) (result u32)))
    (core module $memory (memory (export "memory") 512))
    (core instance $memory (instantiate $memory))
    (core func $go (canon lower (func $go)))
    (core func $new (canon future.new $x))
    (core func $write (canon future.write $x async (memory (core memory $memory "memory"))))
    (core func $return (canon task.return (result u32)))
    (core module $m
        (import "memory" "memory" (memory 512))
        (import "" "go" (func $go (param i32) (result i32)))
        (import "" "new" (func $new (result i64)))
        (import "" "write" (func $write (param i32 i32) (result i32)))
        (import "" "return" (func $return (param i32)))
        (func (export "f") (result i32)
            (local i64 i32)
            (local.set 0 (call $new))
            (drop (call $go (i32.wrap_i64 (local.get 0))))
            (i32.store (i32.const 16) (i32.const 1024))
            (i32.store (i32.const 20) (i32.const {outer}))
            (loop $l
                (i32.store offset=1024 (i32.mul (local.get 1) (i32.const 8)) (i32.const 8388608))
                (i32.store offset=1028 (i32.mul (local.get 1) (i32.const 8)) (i32.const {inner}))
                (local.set 1 (i32.add (local.get 1) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get 1) (i32.const {outer}))))
            (drop (call $write (i32.wrap_i64 (i64.shr_u (local.get 0) (i64.const 32))) (i32.const 16)))
            (call $return (i32.const 7))
            (i32.const 0))
        (func (export "cb") (param i32 i32 i32) (result i32) (unreachable)))
    (core instance $m (instantiate $m (with "memory" (instance $memory)) (with "" (instance
        (export "go" (func $go)) (export "new" (func $new)) (export "write" (func $write)) (export "return" (func $return))))))
    (func (export "f") async (result u32) (canon lift (core func $m "f") async (callback (core func $m "cb")))))
  (instance $service (instantiate $service))
  (instance $front (instantiate $front (with "go" (func $service "go"))))
  (export "f" (func $front "f")))"#,
        outer8 = outer * 8
    )
}

/// A front that passes the host's stream on as one of another type.
const ANOTHER_TYPE: &str = r#"(component
  (import "wasi:cli/types@0.3.0" (instance $types
     (type $e (enum "io" "illegal-byte-sequence" "pipe")) (export "error-code" (type (eq $e)))))
  (alias export $types "error-code" (type $error))
  (import "wasi:cli/stdin@0.3.0" (instance $stdin
     (alias outer 1 $error (type $e1)) (export "error-code" (type $e2 (eq $e1)))
     (type $s (stream u8)) (type $r (result (error $e2))) (type $fu (future $r)) (type $t (tuple $s $fu))
     (export "read-via-stream" (func (result $t)))))
  (component $service
    (type $x (stream u64))
    (core func $return (canon task.return (result u32)))
    (core module $m
        (import "" "return" (func $return (param i32)))
        (func (export "go") (param i32) (result i32)
            (call $return (i32.const 55)) (i32.const 0))
        (func (export "cb") (param i32 i32 i32) (result i32) (unreachable)))
    (core instance $m (instantiate $m (with "" (instance (export "return" (func $return))))))
    (func (export "go") async (param "x" $x) (result u32) (canon lift (core func $m "go") async (callback (core func $m "cb")))))
  (component $front
    (type $x (stream u64))
    (import "go" (func $go async (param "x" $x) (result u32)))
    (type $en (enum "io" "illegal-byte-sequence" "pipe")) (import "error-code" (type $error (eq $en)))
    (import "stdin" (func $stdin (result (tuple (stream u8) (future (result (error $error)))))))
    (core module $memory (memory (export "memory") 1))
    (core instance $memory (instantiate $memory))
    (core func $stdin (canon lower (func $stdin) (memory (core memory $memory "memory"))))
    (core func $go (canon lower (func $go)))
    (core func $return (canon task.return (result u32)))
    (core module $m
        (import "memory" "memory" (memory 1))
        (import "" "go" (func $go (param i32) (result i32)))
        (import "" "stdin" (func $stdin (param i32)))
        (import "" "return" (func $return (param i32)))
        (func (export "f") (result i32)
            (call $stdin (i32.const 16))
            (call $return (call $go (i32.load (i32.const 16))))
            (i32.const 0))
        (func (export "cb") (param i32 i32 i32) (result i32) (unreachable)))
    (core instance $m (instantiate $m (with "memory" (instance $memory)) (with "" (instance
        (export "go" (func $go)) (export "stdin" (func $stdin)) (export "return" (func $return))))))
    (func (export "f") async (result u32) (canon lift (core func $m "f") async (callback (core func $m "cb")))))
  (instance $service (instantiate $service))
  (instance $front (instantiate $front (with "go" (func $service "go")) (with "error-code" (type $error)) (with "stdin" (func $stdin "read-via-stream"))))
  (export "f" (func $front "f")))"#;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    case("wasi03/apart/a-destructor-does-not-return-for-who-drops", |context| {
        traps_text(context, &dtor("(call $return (i32.const 66))"), "no asynchronous function is being called")
    }),
    case("wasi03/apart/a-destructor-has-its-own-context", |context| {
        let text = dtor("(call $set (i32.add (i32.const 50) (call $get)))");
        check_eq!(call_text(context, &text)??, vec![4], "the context of who drops");
        Ok(())
    }),
    case("wasi03/apart/nobody-has-a-turn-within-a-function-that-may-not-wait", |context| {
        returns(
            context,
            r#"(func (export "go") (param i32) (result i32) (i32.const 1))
            (func (export "go-callback") (param i32 i32 i32) (result i32)
                (global.set $a (i32.const 5)) (call $return (i32.const 3)) (i32.const 0))
            (func (export "quick") (param i32) (result i32)
                (drop (call $set-poll (call $set-new) (i32.const 512))) (global.get $a))"#,
            r#"(func (export "f") (result i32)
                (local i32 i32)
                (local.set 0 (call $go (i32.const 1) (i32.const 256)))
                (local.set 1 (call $quick-sync (i32.const 1)))
                (call $finish (local.get 0))
                (call $return (local.get 1))
                (i32.const 0))"#,
            0,
        )
    }),
    case("wasi03/apart/a-set-in-which-many-wait-is-looked-at-once", |context| {
        returns(
            context,
            r#"(func (export "quick") (param i32) (result i32)
                (local i64)
                (global.set $a (call $set-new))
                (loop $again
                    (local.set 1 (call $f-new))
                    (call $join (call $readable (local.get 1)) (global.get $a))
                    (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                    (br_if $again (local.get 0)))
                (i32.const 0))
            (func (export "go") (param i32) (result i32) (call $return (i32.const 1)) (call $wait-in (global.get $a)))"#,
            r#"(func (export "f") (result i32)
                (local i32)
                (drop (call $quick-sync (i32.const 1900)))
                (local.set 0 (i32.const 4000))
                (loop $again
                    (call $is (call $go (i32.const 1) (i32.const 256)) (i32.const 2))
                    (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                    (br_if $again (local.get 0)))
                (local.set 0 (i32.const 10))
                (loop $again
                    (drop (call $yield))
                    (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                    (br_if $again (local.get 0)))
                (call $return (i32.const 3))
                (i32.const 0))"#,
            3,
        )
    }),
    case("wasi03/apart/lists-that-are-copied-end-with-the-guests-time", |context| {
        // Small in memory, and long on its way.
        let element = (0..8).fold("bool".to_owned(), |inner, _| format!("(tuple {inner})"));
        let text = lists(&element, 1000, 16_000_000);
        match call_for(context, &text, Duration::from_millis(300))? {
            Err(Stop::Error(error)) => {
                let native = context.subject().component_host().is_some();
                check!(native || error.kind() == Kind::Timeout, "the error is `{}`", chain(&error));
                Ok(())
            }
            other => Err(Unmet::failed(format!("it should run out of time, and gave {other:?}"))),
        }
    }),
    case("wasi03/apart/the-hosts-stream-does-not-become-one-of-another-type", |context| {
        traps_text(context, ANOTHER_TYPE, "of another type")
    }),
];
