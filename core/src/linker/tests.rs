//! What can be offered, and what a stranger's plan may say of it.

use super::*;
use crate::limits::LoadOptions;
use crate::link::{self, Status};
use crate::prepare::Prepared;

struct Bucket;
struct Key;

const STORE: &str = "my:kv/store@1.0.0";

fn config<T>(result: Result<T>, words: &[&str]) {
    let Err(error) = result else { panic!("it is offered") };
    let text = crate::error::chain(&error);
    assert_eq!(error.kind(), Kind::Config, "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

fn offer(linker: &mut Linker, interface: &str) -> Result<()> {
    linker.func(interface, "get", |_, (_,): (String,)| -> Result<Option<Vec<u8>>> { Ok(None) })
}

#[test]
fn nothing_of_wharfs_own_is_offered() {
    let mut linker = Linker::new();
    for reserved in [
        "wasi:http/types@0.2.3",
        "wasi:keyvalue/store@0.2.0-draft",
        "wasi_snapshot_preview1",
        "wasi_experimental_http",
        "wharf:component/intrinsics",
    ] {
        let own = reserved.split('@').next().unwrap();
        config(offer(&mut linker, reserved), &[own, "wharf's own"]);
        config(linker.resource::<Bucket>(reserved, "bucket"), &[own, "wharf's own"]);
        config(linker.core_func(reserved, "f", |_, ()| -> Result<()> { Ok(()) }), &[own, "wharf's own"]);
    }
    assert_eq!(linker.names().count(), 0);
    // What failed has left nothing behind.
    linker.resource::<Bucket>(STORE, "bucket").unwrap();
}

#[test]
fn nothing_is_offered_twice() {
    let mut linker = Linker::new();
    offer(&mut linker, STORE).unwrap();
    offer(&mut linker, "my:kv/store@2.0.0").unwrap();
    offer(&mut linker, "my:kv/store").unwrap();
    config(offer(&mut linker, STORE), &["my:kv/store@1.0.0#get", "already"]);
    config(offer(&mut linker, "my:kv/store@1.3.0"), &["my:kv/store@1.3.0#get", "compatible"]);
    config(linker.core_func(STORE, "get", |_, ()| -> Result<()> { Ok(()) }), &["my:kv/store@1.0.0::get", "already"]);
    linker.core_func("env", "get", |_, ()| -> Result<()> { Ok(()) }).unwrap();
    config(linker.core_func("env", "get", |_, ()| -> Result<u32> { Ok(0) }), &["env::get", "already"]);
    config(offer(&mut linker, "env"), &["env#get", "already"]);

    linker.resource::<Bucket>(STORE, "bucket").unwrap();
    config(linker.resource::<Key>("my:kv/store@1.1.0", "bucket"), &["[resource-drop]bucket", "already"]);
    config(linker.resource::<Bucket>(STORE, "key"), &["Bucket", "my:kv/store@1.0.0.{bucket}", "already"]);
    linker.resource::<Key>(STORE, "key").unwrap();
}

#[test]
fn a_type_stands_for_a_resource_before_a_function_has_it() {
    let mut linker = Linker::new();
    let size = |linker: &mut Linker| {
        linker.func(STORE, "[method]bucket.size", |_, (_,): (Borrow<Bucket>,)| -> Result<u32> { Ok(0) })
    };
    config(size(&mut linker), &["[method]bucket.size", "Bucket", "Linker::resource"]);
    linker.resource::<Bucket>(STORE, "bucket").unwrap();
    size(&mut linker).unwrap();
}

#[test]
fn a_clone_goes_its_own_way() {
    let mut one = Linker::new();
    offer(&mut one, STORE).unwrap();
    let mut other = one.clone();
    other.core_func("env", "log", |_, ()| -> Result<()> { Ok(()) }).unwrap();
    assert_eq!(format!("{one:?}"), r#"Linker(["my:kv/store@1.0.0::get"])"#);
    assert_eq!(format!("{other:?}"), r#"Linker(["env::log", "my:kv/store@1.0.0::get"])"#);
    assert!(one.offers("my:kv/store@1.9.0") && !one.offers("my:kv/store@2.0.0") && !one.offers("env"));
}

/// What a plan says of the import `get`, whose type is the first function of the plan.
const CALL: &str = r#"{"kind":"call","interface":"my:kv/store@1.0.0","function":"get","ty":0,
    "options":{"instance":0,"memory":"memory","realloc":null,"encoding":"utf8","post_return":null,
    "asynchronous":false,"callback":null}}"#;

/// A module that imports `get`, with a plan that says this of its type.
fn planned(types: &str, function: &str, kind: &str) -> Vec<u8> {
    let plan = format!(
        r#"{{"version":{},"imports":[{{"module":"{STORE}","name":"get","kind":{kind}}}],"exports":[],
            "memories":["memory"],"memory_count":1,"tables":0,"start":false,"instances":[{{"may_leave":null}}],
            "resources":[],"handle_tables":[],"streams":[],"futures":[],"types":[{types}],"functions":[{function}],"traps":[],
            "component_imports":[]}}"#,
        wharf_plan::PLAN_VERSION
    );
    let plan = plan.replace('"', "\\22").replace('\n', " ");
    let get = format!(r#"(import "{STORE}" "get" (func (param i32 i32 i32)))"#);
    wat::parse_str(format!(r#"(module {get} (memory (export "memory") 1) (@custom "wharf.plan" "{plan}"))"#)).unwrap()
}

/// What a linker that offers `get` makes of such a module.
fn status(wasm: &[u8]) -> Result<Status> {
    let mut linker = Linker::new();
    offer(&mut linker, STORE)?;
    let prepared = Prepared::new(wasm, &LoadOptions::default())?;
    let bound = link::bind(&prepared.own_imports()[0], 0, &linker, prepared.declared().map(|declared| &**declared));
    Ok(bound.map_or_else(|status| status, |binding| binding.status()))
}

#[test]
fn a_plan_says_what_a_module_imports() {
    let types = r#""string","u8",{"list":{"element":1}},{"option":{"some":2}}"#;
    let function = |param: u32, result: &str| {
        format!(r#"{{"params":[{{"name":"key","ty":{param}}}],"result":{result},"asynchronous":false}}"#)
    };
    let fits = status(&planned(types, &function(0, "3"), CALL)).unwrap();
    assert_eq!(fits, Status::Offered { needs_memory: true });
    let wrong = |param, result: &str| match status(&planned(types, &function(param, result), CALL)).unwrap() {
        Status::WrongWit { guest, host } => {
            assert_eq!(host, "func(string) -> option<list<u8>>");
            guest
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(wrong(2, "3"), "func(key: list<u8>) -> option<list<u8>>");
    assert_eq!(wrong(0, "null"), "func(key: string)");
    assert_eq!(wrong(0, "2"), "func(key: string) -> list<u8>");
}

/// Types that double with each level are not followed to their end, neither when they are compared nor when they are told.
#[test]
fn a_strangers_plan_is_not_followed_for_ever() {
    let doubling = |first: &str, next: &dyn Fn(u32) -> String| {
        let types: Vec<String> = [first.to_owned()].into_iter().chain((0..60).map(next)).collect();
        (types.join(","), 60)
    };
    for (types, last) in [
        doubling(r#""u8""#, &|n| format!(r#"{{"tuple":{{"types":[{n},{n}]}}}}"#)),
        doubling(r#"{"tuple":{"types":[]}}"#, &|n| format!(r#"{{"tuple":{{"types":[{n},{n},{n}]}}}}"#)),
        doubling(r#""u8""#, &|n| format!(r#"{{"record":{{"fields":[["a",{n}],["b",{n}]]}}}}"#)),
        doubling(r#""u8""#, &|n| format!(r#"{{"variant":{{"cases":[["a",{n}],["b",{n}]]}}}}"#)),
        doubling(r#""u8""#, &|n| format!(r#"{{"result":{{"ok":{n},"err":{n}}}}}"#)),
    ] {
        let function = format!(r#"{{"params":[{{"name":"key","ty":{last}}}],"result":{last},"asynchronous":false}}"#);
        match status(&planned(&types, &function, CALL)).unwrap() {
            Status::WrongWit { guest, .. } => assert!(guest.len() < 1100, "{} bytes: {guest}", guest.len()),
            other => panic!("{types}: {other:?}"),
        }
    }
}

#[test]
fn a_plan_that_does_not_fit_its_module_is_refused() {
    let function = r#"{"params":[],"result":0,"asynchronous":false}"#;
    for (types, function, kind) in [
        ("", "", CALL),
        ("", function, CALL),
        (r#""no-type""#, function, CALL),
        (r#"{"option":{"some":0}}"#, function, CALL),
        (r#""u8""#, function, r#"{"kind":"resource-drop","table":0}"#),
    ] {
        let error = status(&planned(types, function, kind)).unwrap_err();
        assert_eq!(error.kind(), Kind::Guest, "{error}");
    }
}
