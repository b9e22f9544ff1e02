//! Checks a table of host functions against the WITX file that declares them.

use std::collections::BTreeMap;

use super::Function;
use crate::types::{FuncType, ValType};

/// Asserts that `functions` and the functions of `witx` are the same, each with the same core signature.
pub(crate) fn assert_declared<C>(witx: &str, module: &str, functions: &[Function<C>]) {
    let document = witx::parse(witx).expect("the WITX file parses");
    let module = document.module(&witx::Id::new(module)).expect("the WITX file declares the module");
    let declared: BTreeMap<String, FuncType> = module
        .funcs()
        .map(|function| {
            let (params, results) = function.wasm_signature();
            let list = |types: &[witx::WasmType]| types.iter().map(val_type).collect();
            (function.name.as_str().to_owned(), FuncType { params: list(&params), results: list(&results) })
        })
        .collect();
    let hosted: BTreeMap<String, FuncType> = functions.iter().map(|f| (f.name.to_owned(), f.ty())).collect();
    assert_eq!(hosted.len(), functions.len(), "a function is listed twice");
    assert_eq!(declared, hosted);
}

fn val_type(ty: &witx::WasmType) -> ValType {
    match ty {
        witx::WasmType::I32 => ValType::I32,
        witx::WasmType::I64 => ValType::I64,
        witx::WasmType::F32 => ValType::F32,
        witx::WasmType::F64 => ValType::F64,
    }
}
