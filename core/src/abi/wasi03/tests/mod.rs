//! Drives the functions as an adapter would, over a guest that is nothing but memory and an allocator.

mod messages;
mod wit_files;

use std::sync::Arc;

use wharf_plan::{Builtin, EndFunction, Passing};

use super::functions;
use crate::abi::concurrent::{Element, Function};
use crate::abi::testing::{self, Fake};
use crate::abi::wasi02::Host;
use crate::abi::wasi02::options::Options;
use crate::budget::Budget;
use crate::grants::WasiConfig;

/// Where results go, and what is read.
const RET: u32 = 0x1000;
const BUFFER: u32 = 0x2000;

/// From where the allocator gives.
const HEAP: u32 = 0x8000;

/// The answer that something is under way.
const BLOCKED: u64 = u32::MAX as u64;

const BYTE: Element = Element { size: 1, align: 1, plain: true, realloc: false, ty: None };

struct Guest {
    host: Host,
    fake: Fake,
}

impl Guest {
    fn new() -> Self {
        let host = testing::host(&WasiConfig::new(), Budget::unlimited());
        Guest { host, fake: Fake::new(vec![0; 64 << 10], HEAP) }
    }

    /// Calls a function of `wasi:http/types` that is lowered synchronously.
    #[track_caller]
    fn call(&mut self, name: &str, args: &[u64]) -> u64 {
        let function = functions()
            .find(|function| function.interface == "wasi:http/types" && function.name == name)
            .unwrap_or_else(|| panic!("{name} is not a function"));
        let ty = function.ty(false);
        assert_eq!(args.len(), ty.params.len(), "{name}");
        let mut slots = args.to_vec();
        slots.resize(ty.params.len().max(1), 0);
        function.call(&self.host, &Options::default(), false, &mut self.fake, &mut slots).unwrap();
        slots[0]
    }

    /// Calls a function of the component model's concurrency.
    #[track_caller]
    fn builtin(&mut self, builtin: Builtin, element: Element, args: &[u64]) -> u64 {
        let asynchronous = matches!(builtin, Builtin::End { what: EndFunction::Read | EndFunction::Write, .. });
        let options = Arc::new(Options::default());
        let function =
            Function { builtin, name: builtin.to_string(), options, asynchronous, element, names_memory: true };
        let mut slots = args.to_vec();
        slots.resize(args.len().max(1), 0);
        function.call(&self.host, &mut self.fake, &mut slots).unwrap();
        slots[0]
    }

    #[track_caller]
    fn stream(&mut self, what: EndFunction, args: &[u64]) -> u64 {
        self.builtin(Builtin::End { of: Passing::Stream, table: 0, what }, BYTE, args)
    }

    /// Of futures whose values have this size and alignment; `table` tells their types apart.
    #[track_caller]
    fn future(&mut self, what: EndFunction, (table, size, align): (u32, u32, u32), args: &[u64]) -> u64 {
        let element = Element { size, align, plain: false, realloc: true, ty: None };
        self.builtin(Builtin::End { of: Passing::Future, table, what }, element, args)
    }

    /// Puts bytes into memory; their address and count are the two arguments.
    fn bytes(&mut self, bytes: &[u8]) -> [u64; 2] {
        let at = self.fake.next.next_multiple_of(8);
        self.fake.next = at + bytes.len() as u32;
        self.fake.memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
        [at.into(), bytes.len() as u64]
    }

    fn get(&self, at: u32, len: u32) -> &[u8] {
        &self.fake.memory[at as usize..][..len as usize]
    }

    fn u32(&self, at: u32) -> u64 {
        u64::from(u32::from_le_bytes(self.get(at, 4).try_into().unwrap()))
    }
}
