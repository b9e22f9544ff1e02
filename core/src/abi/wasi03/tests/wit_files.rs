//! The functions are those of the WIT files, each with the core signatures that it is lowered to there.

use std::collections::BTreeMap;
use std::path::Path;

use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, TypeDefKind};

use crate::abi::wasi03::functions;
use crate::types::{FuncType, ValType};

/// The packages, each behind those that it uses.
const PACKAGES: [&str; 6] = ["clocks", "random", "filesystem", "sockets", "cli", "http"];

/// The interface that a guest exports, and none imports.
const EXPORTED: &str = "wasi:cli/run";

/// What this host does not have yet.
const MISSING: [&str; 3] = ["wasi:filesystem/", "wasi:sockets/", "wasi:clocks/timezone"];

fn resolve() -> Resolve {
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    for package in PACKAGES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("wit/0.3/{package}.wit"));
        resolve.push_file(&path).unwrap_or_else(|error| panic!("{package}: {error:?}"));
    }
    resolve
}

fn val_type(ty: &WasmType) -> ValType {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => ValType::I32,
        WasmType::I64 | WasmType::PointerOrI64 => ValType::I64,
        WasmType::F32 => ValType::F32,
        WasmType::F64 => ValType::F64,
    }
}

/// Each function as it is lowered synchronously and, where it has something to wait for or not, asynchronously.
fn declared() -> BTreeMap<String, (FuncType, Option<FuncType>)> {
    let resolve = resolve();
    let mut declared = BTreeMap::new();
    for (_, interface) in resolve.interfaces.iter() {
        let package = &resolve.packages[interface.package.unwrap()].name;
        let name = format!("{}:{}/{}", package.namespace, package.name, interface.name.as_deref().unwrap());
        if name == EXPORTED || MISSING.iter().any(|missing| name.starts_with(missing)) {
            continue;
        }
        for (function_name, function) in &interface.functions {
            let signature = |variant| {
                let signature = resolve.wasm_signature(variant, function);
                let list = |types: &[WasmType]| types.iter().map(val_type).collect();
                FuncType { params: list(&signature.params), results: list(&signature.results) }
            };
            let asynchronous = signature(AbiVariant::GuestImportAsync);
            // The WIT tools put `[async]` into the name of what is async; it is no part of the function's own.
            let function_name = function_name.replace("[async]", "").replace("[async method]", "[method]");
            declared
                .insert(format!("{name}#{function_name}"), (signature(AbiVariant::GuestImport), Some(asynchronous)));
        }
        for (type_name, ty) in &interface.types {
            if matches!(resolve.types[*ty].kind, TypeDefKind::Resource) {
                let ty = FuncType { params: vec![ValType::I32], results: vec![] };
                declared.insert(format!("{name}#[resource-drop]{type_name}"), (ty, None));
            }
        }
    }
    declared
}

#[test]
fn functions_are_those_of_the_wit_files() {
    let hosted: BTreeMap<String, _> = functions().map(|f| (format!("{}#{}", f.interface, f.name), f)).collect();
    assert_eq!(hosted.len(), functions().count(), "a function is listed twice");
    let declared = declared();
    assert!(declared.len() > 60, "{}", declared.len());
    for (name, (synchronous, asynchronous)) in &declared {
        let hosted = hosted.get(name).unwrap_or_else(|| panic!("{name} is not hosted"));
        assert_eq!(hosted.ty(false), *synchronous, "{name}");
        if let Some(asynchronous) = asynchronous {
            assert_eq!(hosted.ty(true), *asynchronous, "{name}, lowered asynchronously");
        }
    }
    for name in hosted.keys() {
        assert!(declared.contains_key(name), "{name} is in no WIT file");
    }
}
