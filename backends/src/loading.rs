//! What a runtime loads, on every backend that is compiled in.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use wharf_core::{Capability, GuestConfig, Kind, Linker};
use wharf_server::HandlerOptions;
use wit_component::ComponentEncoder;

use crate::{ComponentHost, Program, Runtime, backends};

fn runtime(backend: &str) -> Runtime {
    Runtime::builder().backend(backend).max_memory(64 << 20).build().unwrap()
}

fn core_module() -> Vec<u8> {
    wharf_guests::HELLO_HTTP.wasm().unwrap().into_owned()
}

/// The same guest, as its toolchain makes a component of it.
fn component() -> Vec<u8> {
    let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER;
    let encoder = ComponentEncoder::default().module(&core_module()).unwrap();
    encoder.adapter("wasi_snapshot_preview1", adapter).unwrap().encode().unwrap()
}

async fn ask(program: &Program) -> (StatusCode, Bytes) {
    let handler = program.handler(HandlerOptions::default(), |_| {
        Ok(GuestConfig { timeout: Some(Duration::from_secs(60)), ..GuestConfig::default() })
    });
    let handler = handler.unwrap();
    let response = handler.handle(Request::get("http://example.com/").body(Empty::<Bytes>::new()).unwrap()).await;
    (response.status(), response.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn modules_and_components_answer_on_every_backend() {
    for backend in backends() {
        for (what, wasm) in [("core module", core_module()), ("component", component())] {
            let program = runtime(backend).load(&wasm).unwrap();
            assert!(program.is_handler(), "{backend}, {what}");
            let (status, body) = ask(&program).await;
            assert_eq!(status, 200, "{backend}, {what}");
            assert!(body.starts_with(b"hello"), "{backend}, {what}: {body:?}");
        }
    }
}

#[cfg(feature = "wasmtime-component")]
#[tokio::test]
async fn a_component_answers_on_the_engines_own_host() {
    let runtime = Runtime::builder().component_host(ComponentHost::Wasmtime).build().unwrap();
    let (status, body) = ask(&runtime.load(&component()).unwrap()).await;
    assert_eq!((status, body.starts_with(b"hello")), (StatusCode::OK, true));
}

#[test]
fn a_host_that_does_not_fit_is_refused() {
    let three =
        wat::parse_str(r#"(component (instance $i) (export "wasi:http/handler@0.3.0" (instance $i)))"#).unwrap();
    let kind = |backend: &str, host: Option<ComponentHost>, wasm: &[u8]| {
        let builder = Runtime::builder().backend(backend);
        let builder = match host {
            Some(host) => builder.component_host(host),
            None => builder,
        };
        builder.build().unwrap().prepare(wasm).err().map(|error| error.kind())
    };
    for backend in backends() {
        let refused = (backend != "wasmtime").then_some(Kind::Config);
        assert_eq!(kind(backend, Some(ComponentHost::Wasmtime), &component()), refused, "{backend}");
        assert_eq!(kind(backend, Some(ComponentHost::Wasmtime), &core_module()), Some(Kind::Config), "{backend}");
        assert_eq!(kind(backend, Some(ComponentHost::Core), &three), None, "{backend}");
        assert_eq!(kind(backend, None, &three), None, "{backend}");
        for (wrong, expected) in [(&b""[..], Kind::Guest), (b"hello", Kind::Guest), (&component()[..1000], Kind::Guest)]
        {
            assert_eq!(kind(backend, None, wrong), Some(expected), "{backend}");
        }
    }
}

#[test]
fn what_cannot_be_run_or_served_is_told_before_it_is_compiled() {
    let library = wat::parse_str(r#"(module (func (export "f")))"#).unwrap();
    for backend in backends() {
        let prepared = runtime(backend).prepare(&library).unwrap();
        prepared.check_run(None).unwrap_err();
        prepared.check_run(Some("f")).unwrap();
        assert_eq!(prepared.check_serve().unwrap_err().kind(), Kind::Guest, "{backend}");
        let prepared = runtime(backend).prepare(&component()).unwrap();
        prepared.check_serve().unwrap();
    }
}

/// What is made is kept, for another runtime.
#[test]
fn code_is_kept() {
    for backend in backends() {
        let directory = tempfile::tempdir().unwrap();
        let runtime = || Runtime::builder().backend(backend).cache_dir(directory.path()).build().unwrap();
        assert!(runtime().info().can(Capability::CompiledCode), "{backend}");
        runtime().prepare(&component()).unwrap().keep().unwrap();
        let kept = || std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(kept(), 1, "{backend}: the flattened module and its code");
        runtime().load(&component()).unwrap();
        assert_eq!(kept(), 1, "{backend}");
        let error = Runtime::builder().backend(backend).build().unwrap().prepare(&component()).unwrap().keep();
        assert_eq!(error.unwrap_err().kind(), Kind::Config, "{backend}: there is no cache");
    }
}

#[tokio::test]
async fn a_command_runs_without_blocking_and_ends_with_its_future() {
    let seven = wat::parse_str(
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 7))))"#,
    )
    .unwrap();
    let spins =
        wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#).unwrap();
    for backend in backends() {
        let program = runtime(backend).load(&seven).unwrap();
        assert_eq!(program.run_async(GuestConfig::default(), None).await.unwrap(), 7, "{backend}");
        assert_eq!(program.run(GuestConfig::default(), None).unwrap(), 7, "{backend}");
        let program = runtime(backend).load(&spins).unwrap();
        let running = program.run_async(GuestConfig::default(), None);
        tokio::time::timeout(Duration::from_millis(100), running).await.unwrap_err();
        // Dropping the test's runtime waits for the guest's thread: this ends only if the guest has.
    }
}

/// The README shows these programs, which `./check` runs.
#[test]
fn the_examples_are_the_readmes() {
    for example in [include_str!("../examples/answer.rs"), include_str!("../examples/kv.rs")] {
        let example = example.split_once("\n\n").unwrap().1;
        assert!(include_str!("../README.md").contains(example), "{example}");
    }
}

/// A component that imports a function of the embedder's.
const OFFERED: &str = r#"(component
    (import "my:kv/store@1.0.0" (instance $i (export "size" (func (result u32)))))
    (core func $size (canon lower (func $i "size")))
    (core module $m (import "i" "size" (func $size (result i32))) (func (export "size") (result i32) (call $size)))
    (core instance $m (instantiate $m (with "i" (instance (export "size" (func $size))))))
    (func (export "size") (result u32) (canon lift (core func $m "size"))))"#;

fn offering() -> Linker {
    let mut linker = Linker::new();
    linker.func("my:kv/store@1.0.0", "size", |_, ()| -> wharf_core::Result<u32> { Ok(7) }).unwrap();
    linker
}

#[test]
fn an_embedders_function_is_there_on_every_backend() {
    let component = wat::parse_str(OFFERED).unwrap();
    for backend in backends() {
        let directory = tempfile::tempdir().unwrap();
        let builder = || Runtime::builder().backend(backend).cache_dir(directory.path());
        let refused = builder().build().unwrap().load(&component).unwrap_err();
        assert_eq!(refused.kind(), Kind::Unsupported, "{backend}");
        // The first time it is flattened and compiled, the second time it was kept.
        for _ in 0..2 {
            let program = builder().linker(offering()).build().unwrap().load(&component).unwrap();
            let mut session = program.start(GuestConfig::default()).unwrap();
            assert_eq!(session.call("size", &[]).unwrap(), [7], "{backend}");
        }
        let mut other = Linker::new();
        other.func("my:kv/store@1.0.0", "size", |_, ()| -> wharf_core::Result<i32> { Ok(7) }).unwrap();
        let refused = builder().linker(other).build().unwrap().load(&component).unwrap_err().to_string();
        assert!(refused.contains("`func() -> u32`") && refused.contains("`func() -> s32`"), "{backend}: {refused}");
    }
}

#[cfg(feature = "wasmtime-component")]
#[test]
fn an_embedders_function_is_not_there_on_the_engines_own_host() {
    let runtime = Runtime::builder().component_host(ComponentHost::Wasmtime).linker(offering()).build().unwrap();
    let refused = runtime.load(&wat::parse_str(OFFERED).unwrap()).unwrap_err();
    assert_eq!(refused.kind(), Kind::Unsupported, "{refused}");
    assert!(refused.to_string().contains("`my:kv/store@1.0.0`, which the embedder offers"), "{refused}");
    // What imports nothing of the embedder's runs there as ever.
    runtime.load(&component()).unwrap();
}
