//! The published adapters for preview 1: left out where they are known, and kept where anything is not.

use wasi_preview1_component_adapter_provider as provider;
use wharf_component::plan::{Adapter, AdapterVariant, ImportKind};
use wharf_component::{FlattenOptions, Flattened, flatten};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const ADAPTERS: [(AdapterVariant, &[u8]); 3] = [
    (AdapterVariant::Command, provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER),
    (AdapterVariant::Reactor, provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER),
    (AdapterVariant::Proxy, provider::WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER),
];

const ALLOCATOR: &str = r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#;

/// A component that imports functions of preview 1, by name and parameters, and calls each.
fn component(functions: &[(&str, &str)], adapter: &[u8], more: &str) -> Vec<u8> {
    let (mut imports, mut calls) = (String::new(), String::new());
    for (name, params) in functions {
        let result = if *name == "proc_exit" { "" } else { "(result i32)" };
        imports += &format!(r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {params}) {result}))"#);
        let zeros: String = params.split_whitespace().map(|ty| format!("({ty}.const 0)")).collect();
        let call = format!("(call ${name} {zeros})");
        calls += &if result.is_empty() { call } else { format!("(drop {call})") };
    }
    let text = format!(
        r#"(module {imports} (memory (export "memory") 1) {more}
            (func (export "_start")) (func (export "calls") {calls}))"#
    );
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let package = resolve.push_str("calls.wit", "package test:calls; world calls { export calls: func(); }").unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let encoder = ComponentEncoder::default().module(&module).unwrap();
    encoder.adapter("wasi_snapshot_preview1", adapter).unwrap().encode().unwrap()
}

fn flat(component: &[u8]) -> Flattened {
    flatten(component, &FlattenOptions::default()).unwrap()
}

fn left_out(flattened: &Flattened) -> (Vec<&str>, Vec<&str>) {
    let Some(Adapter { left_out, kept, .. }) = &flattened.plan.adapter else { return (Vec::new(), Vec::new()) };
    (left_out.iter().map(String::as_str).collect(), kept.iter().map(String::as_str).collect())
}

const WRITE: (&str, &str) = ("fd_write", "i32 i32 i32 i32");
const RANDOM: (&str, &str) = ("random_get", "i32 i32");
const ENVIRON: (&str, &str) = ("environ_sizes_get", "i32 i32");
const EXIT: (&str, &str) = ("proc_exit", "i32");

#[test]
fn an_adapter_of_which_nothing_is_used_is_gone() {
    for (variant, adapter) in ADAPTERS {
        for more in ["", ALLOCATOR] {
            let flattened = flat(&component(&[WRITE, RANDOM, ENVIRON, EXIT], adapter, more));
            let plan = &flattened.plan;
            let known = plan.adapter.as_ref().expect("it is recognised");
            assert_eq!(known.left_out.len(), 4, "{variant}: {known:?}");
            let proxy = |variant| variant == AdapterVariant::Proxy;
            assert_eq!(proxy(known.variant), proxy(variant));
            let adapted: Vec<_> = plan.imports.iter().filter(|import| import.kind == ImportKind::Adapted).collect();
            assert!(adapted.iter().all(|import| import.module == known.variant.module()), "{adapted:?}");
            if variant == AdapterVariant::Command {
                assert!(matches!(known.kept.as_slice(), [run] if run.starts_with("wasi:cli/run@0.2.")), "{known:?}");
                continue;
            }
            assert_eq!(known.kept, [""; 0], "{variant}");
            assert_eq!(plan.imports.len(), 4, "nothing else is imported: {:?}", plan.imports);
            assert!(!plan.start, "nothing allocates a stack");
            let smaller = flatten(
                &component(&[WRITE], adapter, more),
                &FlattenOptions { keep_adapter: true, ..Default::default() },
            );
            assert!(flattened.wasm.len() < smaller.unwrap().wasm.len() / 2, "its code is gone");
        }
    }
}

#[test]
fn it_is_kept_when_asked() {
    let component = component(&[WRITE], ADAPTERS[2].1, "");
    let kept = flatten(&component, &FlattenOptions { keep_adapter: true, ..FlattenOptions::default() }).unwrap().plan;
    assert_eq!(kept.adapter, None);
    assert!(kept.imports.iter().all(|import| import.kind != ImportKind::Adapted), "{:?}", kept.imports);
}

/// What has to do with descriptors stays together, whatever else is left out.
#[test]
fn functions_that_share_state_stay_together() {
    for (_, adapter) in ADAPTERS {
        for shares in [("fd_close", "i32"), ("poll_oneoff", "i32 i32 i32 i32"), ("fd_fdstat_get", "i32 i32")] {
            let flattened = flat(&component(&[WRITE, RANDOM, shares], adapter, ALLOCATOR));
            let (out, kept) = left_out(&flattened);
            assert_eq!(out, ["random_get"], "{shares:?}");
            assert!(kept.contains(&"fd_write") && kept.contains(&shares.0), "{kept:?}");
        }
    }
}

/// Every byte of the adapter's code that is another, or does something else, makes it one that is not known.
#[test]
fn an_adapter_that_differs_is_kept() {
    let adapter = ADAPTERS[2].1;
    // Answers in the code of `sched_yield`, `args_get` and others are constants, which another can take the place of.
    let (mut tried, mut kept) = (0, 0);
    let original = component(&[WRITE, RANDOM, ENVIRON], adapter, ALLOCATOR);
    let known = flat(&original);
    assert_eq!(left_out(&known).0.len(), 3);
    for at in (0..original.len()).step_by(7) {
        let mut other = original.clone();
        other[at] ^= 1;
        let Ok(flattened) = flatten(&other, &FlattenOptions::default()) else { continue };
        tried += 1;
        match &flattened.plan.adapter {
            None => kept += 1,
            // It was not in the adapter's code: that is gone, and what is left is as it was written.
            Some(adapter) => assert_eq!(Some(adapter), known.plan.adapter.as_ref(), "byte {at:#x}"),
        }
    }
    assert!(tried > 200 && kept > 100, "{kept} of {tried} were kept");
}
