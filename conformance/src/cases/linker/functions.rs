//! Functions of an interface of the embedder's: what they get, what they give, and what ends a guest that calls one.

use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex};

use wharf_core::{Error, GuestConfig, Kind, Linker, LoadOptions, Result, Stop, TrapCode};
use wharf_guests::GREET_KV;
use wit_component::ComponentEncoder;

use super::probe::{ARGS, HEAP, Probe, RET, STORE, Text, ended, flat};
use crate::bare::assemble;
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("linker/func/string-to-bytes", "linker: func", string_to_bytes),
    Case::must("linker/func/nothing-to-nothing", "linker: func", nothing),
    Case::must("linker/func/needs-no-memory", "linker: func", no_memory),
    Case::must("linker/func/by-itself", "linker: func, $root", by_itself),
    Case::must("linker/func/by-bindings-of-a-core-module", "linker: func, core modules", bindings),
    Case::must("linker/func/by-bindings-of-rust", "linker: func, wit-bindgen", rust).guests(&[GREET_KV]),
    Case::must("linker/func/pointers-are-checked", "CanonicalABI.md: load_string", pointers),
    Case::must("linker/func/results-that-do-not-fit", "CanonicalABI.md: realloc", too_large),
    Case::must("linker/func/arguments-have-a-budget", "core: bytes lifted for one call", budget),
    Case::must("linker/data/each-run-has-its-own", "GuestConfig::data", data),
    Case::must("linker/data/is-not-there", "GuestConfig::data", no_data),
    Case::must("linker/error/is-the-source", "linker: what ends a guest", own_error),
    Case::must("linker/error/of-wharf-keeps-its-kind", "linker: what ends a guest", wharf_error),
    Case::must("linker/error/exits", "linker: what ends a guest", exits),
    Case::must("linker/error/panic-is-caught", "linker: what ends a guest", panics),
];

fn get() -> Text {
    Text::new().func("get", r#"(param "key" string) (result (option (list u8)))"#, "i32 i32 i32", "")
}

type Store = Arc<HashMap<String, Vec<u8>>>;

/// A store with one value, and what reads it.
fn store(key: &str, value: &[u8]) -> CaseResult<(Linker, GuestConfig)> {
    let mut linker = Linker::new();
    linker.func(STORE, "get", |call, (key,): (String,)| -> Result<Option<Vec<u8>>> {
        Ok(call.data::<Store>()?.get(&key).cloned())
    })?;
    Ok((linker, with(key, value)))
}

fn with(key: &str, value: &[u8]) -> GuestConfig {
    let mut config = GuestConfig::default();
    config.data.insert(Store::new(HashMap::from([(key.to_owned(), value.to_vec())])));
    config
}

/// What the guest finds at a key.
fn find(probe: &mut Probe, key: &str) -> CaseResult<Option<Vec<u8>>> {
    let [ptr, len] = probe.put(ARGS, key.as_bytes())?;
    probe.call("get", &[ptr, len, RET.into()])?;
    match probe.get(RET, 1)?[..] {
        [0] => Ok(None),
        [1] => probe.bytes_at(RET + 4).map(Some),
        ref other => Err(Unmet::failed(format!("the case of the option is {other:?}"))),
    }
}

fn string_to_bytes(context: &Context) -> CaseResult {
    let (linker, config) = store("grün", b"\0\xff!")?;
    let mut probe = Probe::start(context, &get(), &linker, config)?;
    check_eq!(find(&mut probe, "grün")?, Some(b"\0\xff!".to_vec()), "a value");
    check_eq!(find(&mut probe, "red")?, None, "no value");
    check_eq!(find(&mut probe, "")?, None, "an empty key");
    Ok(())
}

fn nothing(context: &Context) -> CaseResult {
    let mut linker = Linker::new();
    linker.func(STORE, "flush", |_, ()| -> Result<()> { Ok(()) })?;
    let mut probe = Probe::start(context, &Text::new().func("flush", "", "", ""), &linker, GuestConfig::default())?;
    probe.call("flush", &[])?;
    Ok(())
}

/// A component of numbers alone has no memory, and needs none.
fn no_memory(context: &Context) -> CaseResult {
    let mut linker = Linker::new();
    linker.func("my:math/add", "add", |_, (a, b): (u32, u64)| -> Result<u64> { Ok(u64::from(a) + b) })?;
    let component = assemble(
        r#"(component
            (import "my:math/add" (instance $i
                (export "add" (func (param "a" u32) (param "b" u64) (result u64)))))
            (core func $add (canon lower (func $i "add")))
            (core module $m
                (import "i" "add" (func $add (param i32 i64) (result i64)))
                (func (export "add") (param i32 i64) (result i64) (call $add (local.get 0) (local.get 1))))
            (core instance $m (instantiate $m (with "i" (instance (export "add" (func $add))))))
            (func (export "add") (param "a" u32) (param "b" u64) (result u64) (canon lift (core func $m "add"))))"#,
    )?;
    let mut session = context.load_component(&component, &linker)??.start(GuestConfig::default())?;
    check_eq!(session.call("add", &[7, 1 << 40])?, [(1 << 40) + 7], "the sum");
    Ok(())
}

fn by_itself(context: &Context) -> CaseResult {
    let mut linker = Linker::new();
    linker.func("$root", "twice", |_, (n,): (u32,)| -> Result<u32> { Ok(n.wrapping_mul(2)) })?;
    let component = assemble(
        r#"(component
            (import "twice" (func $f (param "n" u32) (result u32)))
            (core func $f (canon lower (func $f)))
            (core module $m
                (import "i" "twice" (func $f (param i32) (result i32)))
                (func (export "twice") (param i32) (result i32) (call $f (local.get 0))))
            (core instance $m (instantiate $m (with "i" (instance (export "twice" (func $f))))))
            (func (export "call-twice") (param "n" u32) (result u32) (canon lift (core func $m "twice"))))"#,
    )?;
    let mut session = context.load_component(&component, &linker)??.start(GuestConfig::default())?;
    check_eq!(session.call("call-twice", &[21])?, [42], "the answer");
    Ok(())
}

/// As bindings make it before it is wrapped as a component: there is no plan, and the signature decides.
fn bindings(context: &Context) -> CaseResult {
    let (linker, config) = store("k", b"v")?;
    let module = assemble(&format!(
        r#"(module
            (import "{STORE}" "get" (func $get (param i32 i32 i32)))
            (memory (export "memory") 1)
            (data (i32.const {ARGS}) "k")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const {HEAP}))
            (func (export "get") (call $get (i32.const {ARGS}) (i32.const 1) (i32.const {RET}))))"#
    ))?;
    let mut session = context.load_with(&module, &linker)?.start(config)?;
    session.call("get", &[])?;
    let memory = session.memory().ok_or_else(|| Unmet::failed("there is no memory"))?;
    check_eq!(memory[RET as usize..][..12], [1, 0, 0, 0, 0, 0x80, 0, 0, 1, 0, 0, 0], "the option");
    check_eq!(memory[HEAP as usize], b'v', "the value");
    Ok(())
}

/// What a toolchain makes of the interface: the core module that it compiles, and the component that becomes of it.
fn rust(context: &Context) -> CaseResult {
    type Store = Arc<Mutex<HashMap<String, String>>>;
    type Answer<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
    let mut linker = Linker::new();
    linker.func(STORE, "get", |call, (key,): (String,)| -> Answer<Option<String>> {
        Ok(call.data::<Store>()?.lock().map_err(|error| error.to_string())?.get(&key).cloned())
    })?;
    linker.func(STORE, "set", |call, (key, value): (String, String)| -> Answer<()> {
        call.data::<Store>()?.lock().map_err(|error| error.to_string())?.insert(key, value);
        Ok(())
    })?;
    let module = crate::prebuilt::read(GREET_KV)?;
    let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
    let component = ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", adapter))
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| Unmet::harness(format!("the guest is not wrapped as a component: {error:#}")))?;
    for (what, wasm) in [("the core module", module), ("the component", flat(&component)?)] {
        let guest = context.load_with(&wasm, &linker)?;
        for (name, greeting) in [(None, "hello, nobody"), (Some("grün"), "hello, grün")] {
            let (mut config, store) = (GuestConfig::default(), Store::default());
            let mut values = store.lock().map_err(Unmet::harness)?;
            values.extend(name.map(|name| ("name".to_owned(), name.to_owned())));
            drop(values);
            config.data.insert(store.clone());
            guest.start(config)?.call("greet", &[])?;
            let set = store.lock().map_err(Unmet::harness)?.get("greeting").cloned();
            check_eq!(set.as_deref(), Some(greeting), "what {what} sets");
        }
    }
    Ok(())
}

fn pointers(context: &Context) -> CaseResult {
    let (linker, config) = store("k", b"v")?;
    let last = 2 * 65536_u64;
    for (args, rule) in [
        ([last - 1, 2, RET.into()], "a string at 0x1ffff is not within the guest's memory"),
        ([0xffff_ffff, 0xffff_ffff, RET.into()], "is not within the guest's memory"),
        ([ARGS.into(), 1, last - 8], "for the result are not within the guest's memory"),
        ([ARGS.into(), 1, RET as u64 + 2], "for the result is not aligned to 4"),
        ([ARGS as u64 + 8, 1, RET.into()], "a string is not UTF-8"),
    ] {
        let mut probe = Probe::start(context, &get(), &linker, config.clone())?;
        probe.put(ARGS, b"k\0\0\0\0\0\0\0\xff")?;
        let before = probe.get(0, HEAP)?;
        probe.ends("get", &args, Kind::Trap, &["my:kv/store@1.0.0#get", rule])?;
        check!(probe.get(0, HEAP)? == before, "{args:?}: something was written");
    }
    Ok(())
}

/// What is more than the guest's allocator finds room for is not written.
fn too_large(context: &Context) -> CaseResult {
    let (linker, config) = store("k", &vec![b'v'; 2 * 65536])?;
    let mut probe = Probe::start(context, &get(), &linker, config)?;
    let [ptr, len] = probe.put(ARGS, b"k")?;
    let words = ["my:kv/store@1.0.0#get", "`cabi_realloc` returned 131072 bytes", "not within the guest's memory"];
    probe.ends("get", &[ptr, len, RET.into()], Kind::Trap, &words)?;
    check_eq!(probe.get(HEAP, 1)?, [0], "what was written");
    Ok(())
}

/// What the host makes of a list counts against the guest's memory, until the call ends.
fn budget(context: &Context) -> CaseResult {
    let mut linker = Linker::new();
    linker.func(STORE, "count", |_, (keys,): (Vec<String>,)| -> Result<u32> { Ok(keys.len() as u32) })?;
    let text = Text::new().func("count", r#"(param "keys" (list string)) (result u32)"#, "i32 i32", "i32");
    let wasm = flat(&text.of(STORE)?)?;
    let options = LoadOptions { max_memory: 256 << 10, linker, ..LoadOptions::default() };
    let guest = wharf_core::Guest::load(&**context.backend(), &wasm, &options)?;
    let mut probe = Probe(guest.start(GuestConfig::default())?);
    for _ in 0..3 {
        check_eq!(probe.call("count", &[0, 7000])?, 7000, "the strings");
    }
    probe.ends("count", &[0, 14_000], Kind::Limit, &["max-memory"])?;
    Ok(())
}

fn data(context: &Context) -> CaseResult {
    let (linker, config) = store("k", b"one")?;
    let guest = context.load_component(&get().of(STORE)?, &linker)??;
    let mut first = Probe(guest.start(config)?);
    let mut second = Probe(guest.start(with("k", b"two"))?);
    check_eq!(find(&mut first, "k")?, Some(b"one".to_vec()), "the first run's value");
    check_eq!(find(&mut second, "k")?, Some(b"two".to_vec()), "the second run's value");
    check!(first.0.recycle(), "the instance cannot be used again");
    first.0.reset_for(with("k", b"three"))?;
    check_eq!(find(&mut first, "k")?, Some(b"three".to_vec()), "the value when it is used again");
    Ok(())
}

fn no_data(context: &Context) -> CaseResult {
    let (linker, _) = store("k", b"v")?;
    let mut probe = Probe::start(context, &get(), &linker, GuestConfig::default())?;
    probe.ends("get", &[ARGS.into(), 0, RET.into()], Kind::Config, &["HashMap", "GuestConfig::data"])?;
    Ok(())
}

/// A component whose function fails as `fail` does, called once.
fn failing<E>(context: &Context, fail: fn() -> Result<(), E>) -> CaseResult<Result<u64, Stop>>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
{
    let mut linker = Linker::new();
    linker.func(STORE, "fail", move |_, ()| fail())?;
    let text = Text::new().func("fail", "", "", "");
    let mut probe = Probe::start(context, &text, &linker, GuestConfig::default())?;
    let result = probe.try_call("fail", &[]);
    check!(probe.try_call("fail", &[]).is_err(), "the guest goes on after it was ended");
    Ok(result)
}

fn own_error(context: &Context) -> CaseResult {
    let result = failing(context, || Err(io::Error::new(io::ErrorKind::AddrInUse, "the disk is gone")))?;
    let error = ended(result, Kind::Host, &["my:kv/store@1.0.0#fail", "the disk is gone"])?;
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    check_eq!(source.map(io::Error::kind), Some(io::ErrorKind::AddrInUse), "the source");
    // One that is no type of its own.
    ended(failing(context, || Err("out of luck"))?, Kind::Host, &["my:kv/store@1.0.0#fail", "out of luck"])?;
    Ok(())
}

fn wharf_error(context: &Context) -> CaseResult {
    let denied = failing(context, || Err(Error::new(Kind::Denied, "not for you")))?;
    ended(denied, Kind::Denied, &["my:kv/store@1.0.0#fail", "not for you"])?;
    let stopped = failing(context, || Err(Stop::from(Error::new(Kind::Limit, "enough"))))?;
    ended(stopped, Kind::Limit, &["my:kv/store@1.0.0#fail", "enough"])?;
    Ok(())
}

fn exits(context: &Context) -> CaseResult {
    match failing(context, || Err(Stop::Exit(7)))? {
        Err(Stop::Exit(7)) => Ok(()),
        other => Err(Unmet::failed(format!("expected exit 7, saw {other:?}"))),
    }
}

fn panics(context: &Context) -> CaseResult {
    let panicked = failing(context, || -> Result<()> { std::panic::resume_unwind(Box::new("as the case wants")) })?;
    let error = ended(panicked, Kind::Internal, &["my:kv/store@1.0.0::fail", "panicked", "as the case wants"])?;
    let trap = error.source().and_then(|source| source.downcast_ref::<wharf_core::Trap>());
    check!(trap.is_none_or(|trap| trap.code != TrapCode::Interrupted), "it was interrupted");
    Ok(())
}
