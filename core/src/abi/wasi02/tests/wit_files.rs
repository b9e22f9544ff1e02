//! The functions are those of the WIT files, each with the core signature that it is lowered to there.

use std::collections::BTreeMap;
use std::path::Path;

use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, TypeDefKind};

use crate::abi::wasi02::functions;
use crate::types::{FuncType, ValType};

const PACKAGES: [&str; 8] = ["io", "clocks", "random", "filesystem", "sockets", "cli", "http", "logging"];

/// Interfaces that a guest exports, and none imports.
const EXPORTED: [&str; 2] = ["wasi:cli/run", "wasi:http/incoming-handler"];

fn resolve() -> Resolve {
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    for package in PACKAGES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("wit/{package}.wit"));
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

fn declared() -> BTreeMap<String, FuncType> {
    let resolve = resolve();
    let mut declared = BTreeMap::new();
    for (id, interface) in resolve.interfaces.iter() {
        let package = &resolve.packages[interface.package.unwrap()].name;
        let name = format!("{}:{}/{}", package.namespace, package.name, interface.name.as_deref().unwrap());
        if EXPORTED.contains(&name.as_str()) {
            continue;
        }
        for (function_name, function) in &interface.functions {
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
            let list = |types: &[WasmType]| types.iter().map(val_type).collect();
            let ty = FuncType { params: list(&signature.params), results: list(&signature.results) };
            declared.insert(format!("{name}#{function_name}"), ty);
        }
        for (type_name, ty) in &interface.types {
            let ty = &resolve.types[*ty];
            assert!(matches!(ty.owner, wit_parser::TypeOwner::Interface(owner) if owner == id));
            if matches!(ty.kind, TypeDefKind::Resource) {
                let ty = FuncType { params: vec![ValType::I32], results: vec![] };
                declared.insert(format!("{name}#[resource-drop]{type_name}"), ty);
            }
        }
    }
    declared
}

#[test]
fn functions_are_those_of_the_wit_files() {
    let hosted: BTreeMap<String, FuncType> =
        functions().map(|f| (format!("{}#{}", f.interface, f.name), f.ty())).collect();
    assert_eq!(hosted.len(), functions().count(), "a function is listed twice");
    let declared = declared();
    assert!(declared.len() > 200, "{}", declared.len());
    for (name, ty) in &declared {
        let hosted = hosted.get(name).unwrap_or_else(|| panic!("{name} is not hosted"));
        assert_eq!(hosted, ty, "{name}");
    }
    for name in hosted.keys() {
        assert!(declared.contains_key(name), "{name} is in no WIT file");
    }
}
