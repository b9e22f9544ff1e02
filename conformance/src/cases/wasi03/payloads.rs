//! What streams and futures have in them: each number, nothing, and what a component may not pass to itself.

use super::probe::{component_returns, component_traps};
use crate::case::Case;

const ENDS: &str = "CanonicalABI.md: canon {stream,future}.{read,write}, Buffer State";

/// A component of streams and futures of `VALUE`, which takes `SIZE` bytes. Values are written from 0x10000 and read to
/// 0x80000; the memory ends at 0x100000.
const COMPONENT: &str = r#"(component
    (core module $memory
        (memory (export "memory") 16)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
    (core instance $memory (instantiate $memory))
    TYPE
    (type $stream (stream VALUE))
    (type $future (future VALUE))
    (core func $return (canon task.return (result u32)))
    (core func $set-new (canon waitable-set.new))
    (core func $set-wait (canon waitable-set.wait (memory (core memory $memory "memory"))))
    (core func $join (canon waitable.join))
    (core func $s-new (canon stream.new $stream))
    (core func $s-read (canon stream.read $stream async (memory (core memory $memory "memory"))
        (realloc (core func $memory "realloc"))))
    (core func $s-write (canon stream.write $stream async (memory (core memory $memory "memory"))))
    (core func $s-cancel-read (canon stream.cancel-read $stream))
    (core func $s-drop-readable (canon stream.drop-readable $stream))
    (core func $s-drop-writable (canon stream.drop-writable $stream))
    (core func $f-new (canon future.new $future))
    (core func $f-read (canon future.read $future async (memory (core memory $memory "memory"))
        (realloc (core func $memory "realloc"))))
    (core func $f-write (canon future.write $future async (memory (core memory $memory "memory"))))
    (core func $f-drop-readable (canon future.drop-readable $future))
    (core func $f-drop-writable (canon future.drop-writable $future))
    (core module $main
        (import "memory" "memory" (memory 16))
        (import "" "return" (func $return (param i32)))
        (import "" "set-new" (func $set-new (result i32)))
        (import "" "set-wait" (func $set-wait (param i32 i32) (result i32)))
        (import "" "join" (func $join (param i32 i32)))
        (import "" "s-new" (func $s-new (result i64)))
        (import "" "s-read" (func $s-read (param i32 i32 i32) (result i32)))
        (import "" "s-write" (func $s-write (param i32 i32 i32) (result i32)))
        (import "" "s-cancel-read" (func $s-cancel-read (param i32) (result i32)))
        (import "" "s-drop-readable" (func $s-drop-readable (param i32)))
        (import "" "s-drop-writable" (func $s-drop-writable (param i32)))
        (import "" "f-new" (func $f-new (result i64)))
        (import "" "f-read" (func $f-read (param i32 i32) (result i32)))
        (import "" "f-write" (func $f-write (param i32 i32) (result i32)))
        (import "" "f-drop-readable" (func $f-drop-readable (param i32)))
        (import "" "f-drop-writable" (func $f-drop-writable (param i32)))
        (global $readable (mut i32) (i32.const 0))
        (global $writable (mut i32) (i32.const 0))
        (global $set (mut i32) (i32.const 0))
        (func $is (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
        ;; The next event of the set is this one, of this end.
        (func $event (param $code i32) (param $end i32) (param $payload i32)
            (call $is (call $set-wait (global.get $set) (i32.const 64)) (local.get $code))
            (call $is (i32.load (i32.const 64)) (local.get $end))
            (call $is (i32.load (i32.const 68)) (local.get $payload)))
        ;; Puts something else into both buffers, from here on.
        (func $fill (param $bytes i32) (param $first i32)
            (local $at i32)
            (memory.fill (i32.const 0x80000) (i32.const 0) (i32.add (local.get $bytes) (i32.const 8)))
            (block $end (loop $again
                (br_if $end (i32.ge_u (local.get $at) (local.get $bytes)))
                (i32.store8 (i32.add (i32.const 0x10000) (local.get $at))
                    (i32.add (local.get $first) (i32.mul (local.get $at) (i32.const 7))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br $again))))
        ;; So many bytes were passed and no more.
        (func $passed (param $bytes i32)
            (local $at i32)
            (block $end (loop $again
                (br_if $end (i32.ge_u (local.get $at) (local.get $bytes)))
                (call $is (i32.load8_u (i32.add (i32.const 0x10000) (local.get $at)))
                    (i32.load8_u (i32.add (i32.const 0x80000) (local.get $at))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br $again)))
            (call $is (i32.load8_u (i32.add (i32.const 0x80000) (local.get $bytes))) (i32.const 0)))
        (func $use (param $ends i64)
            (global.set $readable (i32.wrap_i64 (local.get $ends)))
            (global.set $writable (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
            (global.set $set (call $set-new))
            (call $join (global.get $readable) (global.get $set))
            (call $join (global.get $writable) (global.get $set)))
        ;; So many values pass, whoever comes first.
        (func $pass (param $count i32)
            (local $bytes i32)
            (local $all i32)
            (local.set $bytes (i32.mul (local.get $count) (i32.const SIZE)))
            (local.set $all (i32.shl (local.get $count) (i32.const 4)))
            (call $fill (local.get $bytes) (i32.const 1))
            (call $is (call $s-write (global.get $writable) (i32.const 0x10000) (local.get $count)) (i32.const -1))
            (call $is (call $s-read (global.get $readable) (i32.const 0x80000) (local.get $count)) (local.get $all))
            (call $passed (local.get $bytes))
            (call $event (i32.const 3) (global.get $writable) (local.get $all))
            (call $fill (local.get $bytes) (i32.const 2))
            (call $is (call $s-read (global.get $readable) (i32.const 0x80000) (local.get $count)) (i32.const -1))
            (call $is (call $s-write (global.get $writable) (i32.const 0x10000) (local.get $count)) (local.get $all))
            (call $passed (local.get $bytes))
            (call $event (i32.const 2) (global.get $readable) (local.get $all)))
        (func (export "f") (result i32)
            BODY
            (i32.const 0))
        (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
    (core instance $main (instantiate $main
        (with "memory" (instance $memory))
        (with "" (instance
            (export "return" (func $return))
            (export "set-new" (func $set-new))
            (export "set-wait" (func $set-wait))
            (export "join" (func $join))
            (export "s-new" (func $s-new))
            (export "s-read" (func $s-read))
            (export "s-write" (func $s-write))
            (export "s-cancel-read" (func $s-cancel-read))
            (export "s-drop-readable" (func $s-drop-readable))
            (export "s-drop-writable" (func $s-drop-writable))
            (export "f-new" (func $f-new))
            (export "f-read" (func $f-read))
            (export "f-write" (func $f-write))
            (export "f-drop-readable" (func $f-drop-readable))
            (export "f-drop-writable" (func $f-drop-writable))))))
    (func (export "f") async (result u32)
        (canon lift (core func $main "f") async (callback (core func $main "callback")))))"#;

/// The component for values of this type and size, whose task does this.
fn of(ty: &str, size: u32, body: &str) -> String {
    let (named, value) = match ty.strip_prefix('(') {
        Some(_) => (format!("(type $value {ty})"), "$value"),
        None => (String::new(), ty),
    };
    let text = COMPONENT.replace("BODY", body).replace("TYPE", &named).replace("VALUE", value);
    text.replace("SIZE", &size.to_string())
}

/// Nothing, one, some, and more than is moved at once.
const STREAM: &str = r#"(call $use (call $s-new))
    (call $is (call $s-write (global.get $writable) (i32.const 0x10000) (i32.const 0)) (i32.const -1))
    (call $is (call $s-read (global.get $readable) (i32.const 0x80000) (i32.const 0)) (i32.const -1))
    (call $event (i32.const 3) (global.get $writable) (i32.const 0))
    (call $join (global.get $readable) (i32.const 0))
    (call $is (call $s-cancel-read (global.get $readable)) (i32.const 2))
    (call $join (global.get $readable) (global.get $set))
    (call $pass (i32.const 1))
    (call $pass (i32.const 2))
    (call $pass (i32.const 333))
    (call $pass (i32.div_u (i32.const 0x24680) (i32.const SIZE)))
    (call $s-drop-writable (global.get $writable))
    (call $s-drop-readable (global.get $readable))
    (call $return (i32.const 1))"#;

/// One, whoever comes first.
const FUTURE: &str = r#"(call $use (call $f-new))
    (call $fill (i32.const SIZE) (i32.const 1))
    (call $is (call $f-write (global.get $writable) (i32.const 0x10000)) (i32.const -1))
    (call $is (call $f-read (global.get $readable) (i32.const 0x80000)) (i32.const 0))
    (call $passed (i32.const SIZE))
    (call $event (i32.const 5) (global.get $writable) (i32.const 0))
    (call $f-drop-writable (global.get $writable))
    (call $f-drop-readable (global.get $readable))
    (call $use (call $f-new))
    (call $fill (i32.const SIZE) (i32.const 2))
    (call $is (call $f-read (global.get $readable) (i32.const 0x80000)) (i32.const -1))
    (call $is (call $f-write (global.get $writable) (i32.const 0x10000)) (i32.const 0))
    (call $passed (i32.const SIZE))
    (call $event (i32.const 4) (global.get $readable) (i32.const 0))
    (call $f-drop-readable (global.get $readable))
    (call $f-drop-writable (global.get $writable))
    (call $return (i32.const 1))"#;

/// Two that are the last which the memory has room for, and one more.
const STREAM_END: &str = r#"(call $use (call $s-new))
    (call $is (call $s-write (global.get $writable)
        (i32.sub (i32.const 0x100000) (i32.const SIZE)) (i32.const 1)) (i32.const -1))
    (call $is (call $s-read (global.get $readable)
        (i32.sub (i32.const 0x100000) (i32.const SIZE)) (i32.const 1)) (i32.const 0x10))
    (drop (call $s-read (global.get $readable) (i32.sub (i32.const 0x100000) (i32.const SIZE)) (i32.const 2)))"#;

const FUTURE_END: &str = r#"(call $use (call $f-new))
    (call $is (call $f-write (global.get $writable) (i32.sub (i32.const 0x100000) (i32.const SIZE))) (i32.const -1))
    (drop (call $f-read (global.get $readable) (i32.const 0x100000)))"#;

macro_rules! cases {
    (
        numbers { $(($ty:literal, $size:literal))* }
        aligned { $(($wide:literal, $bytes:literal))* }
        others { $(($name:literal, $other:literal))* }
        $($case:expr,)*
    ) => {
        &[
            $(
                Case::must(concat!("wasi03/payloads/a-stream-of-", $ty), ENDS, |context| {
                    component_returns(context, &of($ty, $size, STREAM), 1)
                }),
                Case::must(concat!("wasi03/payloads/a-future-of-", $ty), ENDS, |context| {
                    component_returns(context, &of($ty, $size, FUTURE), 1)
                }),
                Case::must(concat!("wasi03/payloads/a-stream-of-", $ty, "-within-the-memory"), ENDS, |context| {
                    let rule = "not within the guest's memory";
                    component_traps(context, &of($ty, $size, STREAM_END), "stream.read", rule)
                }),
                Case::must(concat!("wasi03/payloads/a-future-of-", $ty, "-within-the-memory"), ENDS, |context| {
                    let rule = "not within the guest's memory";
                    component_traps(context, &of($ty, $size, FUTURE_END), "future.read", rule)
                }),
            )*
            $(
                Case::must(concat!("wasi03/payloads/a-stream-of-", $wide, "-is-aligned"), ENDS, |context| {
                    let rule = concat!("not aligned to ", $bytes);
                    component_traps(context, &of($wide, $bytes, STREAM_BETWEEN), "stream.write", rule)
                }),
                Case::must(concat!("wasi03/payloads/a-future-of-", $wide, "-is-aligned"), ENDS, |context| {
                    let rule = concat!("not aligned to ", $bytes);
                    component_traps(context, &of($wide, $bytes, FUTURE_BETWEEN), "future.write", rule)
                }),
            )*
            $(
                Case::must(concat!("wasi03/payloads/no-stream-of-", $name, "-within-a-component"), ENDS, |context| {
                    component_traps(context, &of($other, 0, STREAM_WITHIN), "stream.read", "only numbers")
                }),
                Case::must(concat!("wasi03/payloads/no-future-of-", $name, "-within-a-component"), ENDS, |context| {
                    component_traps(context, &of($other, 0, FUTURE_WITHIN), "future.write", "only numbers")
                }),
            )*
            $($case,)*
        ]
    };
}

/// Between two places where a value may be.
const STREAM_BETWEEN: &str = r#"(call $use (call $s-new))
    (drop (call $s-write (global.get $writable)
        (i32.add (i32.const 0x10000) (i32.div_u (i32.const SIZE) (i32.const 2))) (i32.const 1)))"#;

const FUTURE_BETWEEN: &str = r#"(call $use (call $f-new))
    (drop (call $f-write (global.get $writable)
        (i32.add (i32.const 0x10000) (i32.div_u (i32.const SIZE) (i32.const 2)))))"#;

/// From a component to itself.
const STREAM_WITHIN: &str = r#"(call $use (call $s-new))
    (drop (call $s-write (global.get $writable) (i32.const 0x10000) (i32.const 1)))
    (drop (call $s-read (global.get $readable) (i32.const 0x80000) (i32.const 1)))"#;

const FUTURE_WITHIN: &str = r#"(call $use (call $f-new))
    (drop (call $f-read (global.get $readable) (i32.const 0x80000)))
    (drop (call $f-write (global.get $writable) (i32.const 0x10000)))"#;

/// The cases of this file.
pub(super) const CASES: &[Case] = cases! {
    numbers {
        ("u8", 1) ("s8", 1) ("u16", 2) ("s16", 2) ("u32", 4) ("s32", 4) ("u64", 8) ("s64", 8) ("f32", 4) ("f64", 8)
    }
    aligned { ("u16", 2) ("u32", 4) ("u64", 8) ("f64", 8) }
    others {
        ("bool", "bool")
        ("string", "string")
        ("lists", "(list u8)")
        ("records", "(record (field \"a\" u8) (field \"b\" u32))")
        ("tuples", "(tuple u8 u8)")
        ("variants", "(variant (case \"a\") (case \"b\" u64))")
        ("enums", "(enum \"a\" \"b\")")
        ("options", "(option u8)")
        ("results", "(result u8 (error u16))")
        ("flags", "(flags \"a\" \"b\")")
        ("streams", "(stream u8)")
        ("futures", "(future u8)")
    }
    Case::must("wasi03/payloads/a-stream-of-nothing", ENDS, |context| {
        // As many as one copy may have, wherever they are said to lie.
        let body = r#"(call $use (call $s-new))
            (call $is (call $s-write (global.get $writable) (i32.const -1) (i32.const 0xfffffff)) (i32.const -1))
            (call $is (call $s-read (global.get $readable) (i32.const -3) (i32.const 0xffffffe)) (i32.const 0xffffffe0))
            (call $is (call $s-read (global.get $readable) (i32.const -3) (i32.const 5)) (i32.const 0x10))
            (call $event (i32.const 3) (global.get $writable) (i32.const 0xfffffff0))
            (call $return (i32.const 1))"#;
        component_returns(context, &of("", 0, body), 1)
    }),
    Case::must("wasi03/payloads/a-future-of-nothing", ENDS, |context| {
        let body = r#"(call $use (call $f-new))
            (call $is (call $f-write (global.get $writable) (i32.const -1)) (i32.const -1))
            (call $is (call $f-read (global.get $readable) (i32.const -3)) (i32.const 0))
            (call $event (i32.const 5) (global.get $writable) (i32.const 0))
            (call $return (i32.const 1))"#;
        component_returns(context, &of("", 0, body), 1)
    }),
    Case::must("wasi03/payloads/even-nothing-has-a-largest-size", ENDS, |context| {
        let body = "(call $use (call $s-new))
            (drop (call $s-write (global.get $writable) (i32.const 0) (i32.const 0x10000000)))";
        component_traps(context, &of("", 0, body), "stream.write", "more than one copy may have")
    }),
    Case::must("wasi03/payloads/sizes-do-not-wrap-around", ENDS, |context| {
        // In 32 bits, so many values of eight bytes take none.
        let body = "(call $use (call $s-new))
            (drop (call $s-write (global.get $writable) (i32.const 0x10000) (i32.const 0x8000000)))";
        component_traps(context, &of("u64", 8, body), "stream.write", "not within the guest's memory")
    }),
    Case::must("wasi03/payloads/buffers-may-overlap-forwards", ENDS, |context| overlap(context, 0x10000, 0x10010)),
    Case::must("wasi03/payloads/buffers-may-overlap-backwards", ENDS, |context| overlap(context, 0x10010, 0x10000)),
};

/// Values are read to where some of them are written from.
fn overlap(context: &crate::context::Context, from: u32, to: u32) -> crate::case::CaseResult {
    let body = r#"(local $at i32)
        (local.set $at (i32.const 0x40000))
        (call $use (call $s-new))
        (loop $again
            (local.set $at (i32.sub (local.get $at) (i32.const 4)))
            (i32.store (i32.add (i32.const FROM) (local.get $at)) (local.get $at))
            (br_if $again (local.get $at)))
        (call $is (call $s-write (global.get $writable) (i32.const FROM) (i32.const 0x10000)) (i32.const -1))
        (call $is (call $s-read (global.get $readable) (i32.const TO) (i32.const 0x10000)) (i32.const 0x100000))
        (local.set $at (i32.const 0x40000))
        (loop $again
            (local.set $at (i32.sub (local.get $at) (i32.const 4)))
            (call $is (i32.load (i32.add (i32.const TO) (local.get $at))) (local.get $at))
            (br_if $again (local.get $at)))
        (call $return (i32.const 1))"#;
    let body = body.replace("FROM", &from.to_string()).replace("TO", &to.to_string());
    component_returns(context, &of("u32", 4, &body), 1)
}
