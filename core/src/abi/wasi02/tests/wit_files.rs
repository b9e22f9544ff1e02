//! The functions are those of the WIT files, each with the core signature that it is lowered to there.

use std::collections::BTreeMap;

use wit_parser::TypeDefKind;
use wit_parser::abi::AbiVariant;

use crate::abi::testing::{lowered, packages};
use crate::abi::wasi02::functions;
use crate::types::{FuncType, ValType};

const PACKAGES: [&str; 8] = ["io", "clocks", "random", "filesystem", "sockets", "cli", "http", "logging"];

/// Interfaces that a guest exports, and none imports.
const EXPORTED: [&str; 2] = ["wasi:cli/run", "wasi:http/incoming-handler"];

fn declared() -> BTreeMap<String, FuncType> {
    let resolve = packages("", &PACKAGES);
    let mut declared = BTreeMap::new();
    for (id, interface) in resolve.interfaces.iter() {
        let package = &resolve.packages[interface.package.unwrap()].name;
        let name = format!("{}:{}/{}", package.namespace, package.name, interface.name.as_deref().unwrap());
        if EXPORTED.contains(&name.as_str()) {
            continue;
        }
        for (function_name, function) in &interface.functions {
            declared.insert(format!("{name}#{function_name}"), lowered(&resolve, AbiVariant::GuestImport, function));
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
