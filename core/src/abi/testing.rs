//! What tests of the ABIs share: a guest that is nothing but memory and an allocator, and what WIT files say.

use std::path::Path;
use std::time::{Duration, Instant};

use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Resolve};

use crate::abi::wasi02::Host;
use crate::budget::Budget;
use crate::grants::WasiConfig;
use crate::run::Run;
use crate::types::{Caller, FuncType, Trap, TrapCode, ValType};

/// A guest's memory, and its allocator.
pub(super) struct Fake {
    pub(super) memory: Vec<u8>,
    pub(super) next: u32,
    /// What each call of the allocator asked for: alignment and size.
    pub(super) asked: Vec<(u32, u32)>,
    /// What the allocator answers instead of what is right.
    pub(super) wrong: Option<u32>,
    /// How the allocator ends instead of answering.
    pub(super) ends: Option<TrapCode>,
}

impl Fake {
    /// A guest of which this is the memory, and whose allocator gives what lies from `heap` on.
    pub(super) fn new(memory: Vec<u8>, heap: u32) -> Self {
        Fake { memory, next: heap, asked: Vec::new(), wrong: None, ends: None }
    }
}

impl Caller for Fake {
    fn memory(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.memory)
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        if export != "cabi_realloc" {
            return Err(Trap::new(TrapCode::Other, format!("{export} was called")));
        }
        if let Some(code) = self.ends {
            return Err(Trap::new(code, "in the allocator"));
        }
        let (align, size) = (slots[2] as u32, slots[3] as u32);
        self.asked.push((align, size));
        let at = self.next.next_multiple_of(align);
        self.next = at + size;
        slots[0] = u64::from(self.wrong.unwrap_or(at));
        Ok(())
    }

    fn global(&mut self, _: &str) -> Option<u64> {
        None
    }

    fn set_global(&mut self, _: &str, _: u64) -> bool {
        false
    }
}

/// A host in which no test waits longer than a minute, whatever goes wrong.
pub(super) fn host(config: &WasiConfig, budget: Budget) -> Host {
    let run = Run::default();
    run.set_deadline(Some(Instant::now() + Duration::from_secs(60)));
    Host::new(config, None, run, None, Default::default(), budget)
}

/// The packages of these names, each behind those that it uses, from a directory of `wit/`.
pub(super) fn packages(directory: &str, names: &[&str]) -> Resolve {
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    for name in names {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("wit/{directory}{name}.wit"));
        resolve.push_file(&path).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
    resolve
}

/// The core signature that a function is lowered to.
pub(super) fn lowered(resolve: &Resolve, variant: AbiVariant, function: &Function) -> FuncType {
    let signature = resolve.wasm_signature(variant, function);
    let list = |types: &[WasmType]| types.iter().map(val_type).collect();
    FuncType { params: list(&signature.params), results: list(&signature.results) }
}

fn val_type(ty: &WasmType) -> ValType {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => ValType::I32,
        WasmType::I64 | WasmType::PointerOrI64 => ValType::I64,
        WasmType::F32 => ValType::F32,
        WasmType::F64 => ValType::F64,
    }
}
