//! The component model's concurrency: what is imported for it, and what the plan says.

use wharf_component::plan::{Builtin, EndFunction, ImportKind, Passing, Payload, Type};
use wharf_component::{ASYNC_MODULE, Plan};

use crate::run::{flattened, start, start_with};

/// One function that is lifted with a callback, one import that is lowered without waiting, and every built-in function.
const EVERYTHING: &str = r#"(component
    (import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock
        (export "wait-for" (func async (param "how-long" u64)))))
    (core module $memory
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
    (core instance $memory (instantiate $memory))
    (type $bytes (stream u8))
    (type $result (result u32 (error string)))
    (type $future (future $result))
    (core func $wait-for (canon lower (func $clock "wait-for") async (memory (core memory $memory "memory"))))
    (core func $return (canon task.return (result u32) (memory (core memory $memory "memory"))))
    (core func $cancel (canon task.cancel))
    (core func $set-new (canon waitable-set.new))
    (core func $set-wait (canon waitable-set.wait (memory (core memory $memory "memory"))))
    (core func $set-poll (canon waitable-set.poll (memory (core memory $memory "memory"))))
    (core func $set-drop (canon waitable-set.drop))
    (core func $join (canon waitable.join))
    (core func $subtask-drop (canon subtask.drop))
    (core func $subtask-cancel (canon subtask.cancel))
    (core func $inc (canon backpressure.inc))
    (core func $dec (canon backpressure.dec))
    (core func $yield (canon thread.yield))
    (core func $stream-new (canon stream.new $bytes))
    (core func $stream-read (canon stream.read $bytes async (memory (core memory $memory "memory"))))
    (core func $stream-write (canon stream.write $bytes async (memory (core memory $memory "memory"))))
    (core func $stream-cancel-read (canon stream.cancel-read $bytes))
    (core func $stream-cancel-write (canon stream.cancel-write $bytes))
    (core func $stream-drop-readable (canon stream.drop-readable $bytes))
    (core func $stream-drop-writable (canon stream.drop-writable $bytes))
    (core func $future-new (canon future.new $future))
    (core func $future-read (canon future.read $future async
        (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
    (core func $future-write (canon future.write $future async (memory (core memory $memory "memory"))))
    (core func $future-cancel-read (canon future.cancel-read $future))
    (core func $future-cancel-write (canon future.cancel-write $future))
    (core func $future-drop-readable (canon future.drop-readable $future))
    (core func $future-drop-writable (canon future.drop-writable $future))
    (core func $get (canon context.get i32 0))
    (core func $set (canon context.set i32 0))
    (core func $get1 (canon context.get i32 1))
    (core module $main
        (import "" "wait-for" (func $wait-for (param i64) (result i32)))
        (import "" "return" (func $return (param i32)))
        (import "" "cancel" (func $cancel))
        (import "" "set-new" (func $set-new (result i32)))
        (import "" "set-wait" (func $set-wait (param i32 i32) (result i32)))
        (import "" "set-poll" (func $set-poll (param i32 i32) (result i32)))
        (import "" "set-drop" (func $set-drop (param i32)))
        (import "" "join" (func $join (param i32 i32)))
        (import "" "subtask-drop" (func $subtask-drop (param i32)))
        (import "" "subtask-cancel" (func $subtask-cancel (param i32) (result i32)))
        (import "" "inc" (func $inc))
        (import "" "dec" (func $dec))
        (import "" "yield" (func $yield (result i32)))
        (import "" "stream-new" (func $stream-new (result i64)))
        (import "" "stream-read" (func $stream-read (param i32 i32 i32) (result i32)))
        (import "" "stream-write" (func $stream-write (param i32 i32 i32) (result i32)))
        (import "" "stream-cancel-read" (func $stream-cancel-read (param i32) (result i32)))
        (import "" "stream-cancel-write" (func $stream-cancel-write (param i32) (result i32)))
        (import "" "stream-drop-readable" (func $stream-drop-readable (param i32)))
        (import "" "stream-drop-writable" (func $stream-drop-writable (param i32)))
        (import "" "future-new" (func $future-new (result i64)))
        (import "" "future-read" (func $future-read (param i32 i32) (result i32)))
        (import "" "future-write" (func $future-write (param i32 i32) (result i32)))
        (import "" "future-cancel-read" (func $future-cancel-read (param i32) (result i32)))
        (import "" "future-cancel-write" (func $future-cancel-write (param i32) (result i32)))
        (import "" "future-drop-readable" (func $future-drop-readable (param i32)))
        (import "" "future-drop-writable" (func $future-drop-writable (param i32)))
        (import "" "get" (func $get (result i32)))
        (import "" "set" (func $set (param i32)))
        (import "" "get1" (func $get1 (result i32)))
        (table (export "t") funcref (elem $get $set))
        (func (export "f") (param i32) (result i32)
            (call $set (local.get 0))
            (call $return (i32.add (call $get) (call $get1)))
            ;; By way of the table it is the same.
            (call_indirect (param i32) (i32.const 7) (i32.const 1))
            (i32.shl (call_indirect (result i32) (i32.const 0)) (i32.const 4)))
        (func (export "callback") (param i32 i32 i32) (result i32) (local.get 1)))
    (core instance $main (instantiate $main (with "" (instance
        (export "wait-for" (func $wait-for))
        (export "return" (func $return))
        (export "cancel" (func $cancel))
        (export "set-new" (func $set-new))
        (export "set-wait" (func $set-wait))
        (export "set-poll" (func $set-poll))
        (export "set-drop" (func $set-drop))
        (export "join" (func $join))
        (export "subtask-drop" (func $subtask-drop))
        (export "subtask-cancel" (func $subtask-cancel))
        (export "inc" (func $inc))
        (export "dec" (func $dec))
        (export "yield" (func $yield))
        (export "stream-new" (func $stream-new))
        (export "stream-read" (func $stream-read))
        (export "stream-write" (func $stream-write))
        (export "stream-cancel-read" (func $stream-cancel-read))
        (export "stream-cancel-write" (func $stream-cancel-write))
        (export "stream-drop-readable" (func $stream-drop-readable))
        (export "stream-drop-writable" (func $stream-drop-writable))
        (export "future-new" (func $future-new))
        (export "future-read" (func $future-read))
        (export "future-write" (func $future-write))
        (export "future-cancel-read" (func $future-cancel-read))
        (export "future-cancel-write" (func $future-cancel-write))
        (export "future-drop-readable" (func $future-drop-readable))
        (export "future-drop-writable" (func $future-drop-writable))
        (export "get" (func $get))
        (export "set" (func $set))
        (export "get1" (func $get1))))))
    (func (export "f") async (param "x" u32) (result u32)
        (canon lift (core func $main "f") async (memory (core memory $memory "memory")) (callback (core func $main "callback")))))"#;

#[test]
fn every_function_is_named() {
    let plan = flattened(EVERYTHING).plan;
    let mut names: Vec<&str> = plan.imports.iter().filter(|i| i.module == ASYNC_MODULE).map(|i| &*i.name).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "[async-lower]future.read[0]",
            "[async-lower]future.write[0]",
            "[async-lower]stream.read[0]",
            "[async-lower]stream.write[0]",
            "backpressure.dec",
            "backpressure.inc",
            "future.cancel-read[0]",
            "future.cancel-write[0]",
            "future.drop-readable[0]",
            "future.drop-writable[0]",
            "future.new[0]",
            "stream.cancel-read[0]",
            "stream.cancel-write[0]",
            "stream.drop-readable[0]",
            "stream.drop-writable[0]",
            "stream.new[0]",
            "subtask.cancel",
            "subtask.drop",
            "task.cancel",
            &format!("task.return[{}]", plan.functions[plan.exports[0].ty as usize].result.unwrap()),
            "thread.yield",
            "waitable-set.drop",
            "waitable-set.new",
            "waitable-set.poll",
            "waitable-set.wait",
            "waitable.join",
        ]
    );
    let wait_for = plan.imports.iter().find(|i| i.module == "wasi:clocks/monotonic-clock@0.3.0").unwrap();
    assert_eq!(wait_for.name, "[async-lower]wait-for");
    assert!(matches!(&wait_for.kind, ImportKind::Call { options, .. } if options.asynchronous));
    assert!(plan.imports.iter().all(|import| !import.name.contains("context")), "contexts are globals");
}

#[test]
fn the_plan_says_what_passes() {
    let plan = flattened(EVERYTHING).plan;
    let read = plan.imports.iter().find(|import| import.name.contains("future.read")).unwrap();
    let ImportKind::Async { builtin, options } = &read.kind else { panic!("{read:?}") };
    assert_eq!(*builtin, Builtin::End { of: Passing::Future, table: 0, what: EndFunction::Read });
    assert_eq!((options.memory.as_deref(), options.realloc.as_deref()), (Some("memory"), Some("cabi_realloc")));
    assert!(options.asynchronous);
    let [Payload { ty: Some(byte), .. }] = plan.streams[..] else { panic!("{:?}", plan.streams) };
    assert_eq!(plan.types[byte as usize], Type::U8);
    let [Payload { ty: Some(result), .. }] = plan.futures[..] else { panic!("{:?}", plan.futures) };
    assert!(matches!(plan.types[result as usize], Type::Result { ok: Some(_), err: Some(_) }));
    let export = &plan.exports[0];
    assert_eq!((&*export.name, &*export.function), ("[async-lift]f", "f"));
    assert_eq!(export.options.callback.as_deref(), Some("[callback][async-lift]f"));
    assert!(export.options.asynchronous && export.options.post_return.is_none());
}

#[test]
fn a_stranger_s_plan_is_checked() {
    let flattened = flattened(EVERYTHING);
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut plan = serde_json::to_value(&flattened.plan).unwrap();
        change(&mut plan);
        let mut module = flattened.wasm[..].to_vec();
        // The first section of the name counts.
        let section = wasm_encoder::CustomSection {
            name: wharf_component::PLAN_SECTION.into(),
            data: serde_json::to_vec(&plan).unwrap().into(),
        };
        let mut first = wasm_encoder::Module::new();
        first.section(&section);
        let mut bytes = first.finish();
        bytes.extend(module.drain(8..));
        Plan::read(&bytes)
    };
    let at = |plan: &serde_json::Value, name: &str| {
        plan["imports"].as_array().unwrap().iter().position(|i| i["name"].as_str().unwrap().contains(name)).unwrap()
    };
    assert_eq!(with(&|_| {}).unwrap(), flattened.plan);
    let table = with(&|plan| {
        let read = at(plan, "stream.read");
        plan["imports"][read]["kind"]["builtin"]["table"] = 9.into();
    });
    assert!(table.unwrap_err().to_string().contains("stream 9 is out of range"));
    let payload = with(&|plan| plan["futures"][0]["ty"] = 99.into());
    assert!(payload.unwrap_err().to_string().contains("type 99 is out of range"));
    let callback = with(&|plan| plan["exports"][0]["options"]["callback"] = "memory".into());
    assert!(callback.unwrap_err().to_string().contains("exports no func `memory`"));
}

/// Contexts are read and written without the host, directly and by way of tables.
#[test]
fn contexts_are_globals() {
    let mut run = start(&flattened(EVERYTHING));
    assert_eq!(run.call("[async-lift]f", &[5]), [7 << 4]);
    assert_eq!((run.global("$context_0"), run.global("$context_1")), (7, 0));
    let returns: Vec<_> = run.log().iter().filter(|call| call.contains("task.return")).collect();
    assert!(returns.len() == 1 && returns[0].ends_with("(5)"), "{returns:?}");
    assert_eq!(run.call("[callback][async-lift]f", &[1, 2, 3]), [2]);
}

#[test]
fn host_functions_are_reached() {
    let flattened = flattened(EVERYTHING);
    let mut run = start_with(&flattened, |_, _, _| vec![0]).unwrap();
    run.call("[async-lift]f", &[1]);
    assert_eq!(run.log().len(), 1);
}

/// A component that calls another one asynchronously, and never waits for it.
const COMPOSED: &str = r#"(component
        (component $inner
            (core module $m
                (import "" "return" (func $return (param i32)))
                (func (export "f") (param i64) (result i32) (call $return (i32.const 1)) (i32.const 0))
                (func (export "callback") (param i32 i32 i32) (result i32) (i32.const 0)))
            (core func $return (canon task.return (result u32)))
            (core instance $i (instantiate $m (with "" (instance (export "return" (func $return))))))
            (func (export "f") async (param "x" u64) (result u32)
                (canon lift (core func $i "f") async (callback (core func $i "callback")))))
        (component $outer
            (import "f" (func $f async (param "x" u64) (result u32)))
            (core module $memory (memory (export "memory") 1))
            (core instance $memory (instantiate $memory))
            (core func $f (canon lower (func $f) async (memory (core memory $memory "memory"))))
            (core func $wait (canon lower (func $f)))
            (core module $m
                (import "" "f" (func $f (param i64 i32) (result i32)))
                (import "" "wait" (func $wait (param i64) (result i32)))
                (func (export "g") (drop (call $f (i64.const 5) (i32.const 8))) (drop (call $wait (i64.const 6)))))
            (core instance $i (instantiate $m
                (with "" (instance (export "f" (func $f)) (export "wait" (func $wait))))))
            (func (export "g") (canon lift (core func $i "g"))))
        (instance $inner (instantiate $inner))
        (instance $outer (instantiate $outer (with "f" (func $inner "f"))))
        (export "g" (func $outer "g")))"#;

#[test]
fn calls_between_components_pass_functions_by_number() {
    let flattened = flattened(COMPOSED);
    let plan = &flattened.plan;
    let calls = plan.calls.as_ref().unwrap();
    // Two that pass parameters on, two that pass results on, and the callee.
    assert_eq!(calls.functions, ["$passed_0", "$passed_1", "$passed_2", "$passed_3", "$passed_4"]);
    assert_eq!(calls.results.len(), 1);
    assert!(plan.functions.iter().any(|function| !function.asynchronous), "g is not an async func");
    let names: Vec<&str> = plan.imports.iter().map(|import| import.name.as_str()).collect();
    for name in [
        "prepare-call;params=li",
        "prepare-call;params=l",
        "start-call;callback=$callback_0",
        "start-call-and-wait;callback=$callback_0;result=i",
    ] {
        assert!(names.contains(&name), "{name} is not one of {names:?}");
    }
    let mut run = start_with(&flattened, |_, _, _| vec![0]).unwrap();
    run.call("g", &[]);
    let prepared = run.log().iter().filter(|call| call.contains("prepare-call")).count();
    assert_eq!(prepared, 2, "{:?}", run.log());
}
