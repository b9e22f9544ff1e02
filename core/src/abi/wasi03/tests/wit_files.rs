//! The functions are those of the WIT files, each with the core signatures that it is lowered to there.

use std::collections::BTreeMap;

use wit_parser::TypeDefKind;
use wit_parser::abi::AbiVariant;

use crate::abi::testing::{lowered, packages};
use crate::abi::wasi03::functions;
use crate::types::{FuncType, ValType};

/// The packages, each behind those that it uses.
const PACKAGES: [&str; 6] = ["clocks", "random", "filesystem", "sockets", "cli", "http"];

/// The interface that a guest exports, and none imports.
const EXPORTED: &str = "wasi:cli/run";

/// What this host does not have yet.
const MISSING: [&str; 3] = ["wasi:filesystem/", "wasi:sockets/", "wasi:clocks/timezone"];

/// Each function as it is lowered synchronously and, where it has something to wait for or not, asynchronously.
fn declared() -> BTreeMap<String, (FuncType, Option<FuncType>)> {
    let resolve = packages("0.3/", &PACKAGES);
    let mut declared = BTreeMap::new();
    for (_, interface) in resolve.interfaces.iter() {
        let package = &resolve.packages[interface.package.unwrap()].name;
        let name = format!("{}:{}/{}", package.namespace, package.name, interface.name.as_deref().unwrap());
        if name == EXPORTED || MISSING.iter().any(|missing| name.starts_with(missing)) {
            continue;
        }
        for (function_name, function) in &interface.functions {
            let signature = |variant| lowered(&resolve, variant, function);
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
