//! The engine's guests, host functions, types and traps as core knows them.

use std::sync::Arc;

use wharf_core::{Caller, Halt, Imports, Trap, TrapCode, ValType};
use wharf_wasmedge_engine::{AsGuest, CallError, Failure, Guest, Host, Instance, Number, code};

/// A guest as core sees it: an instance, or what a host function was called by.
pub(crate) struct Behind<G>(pub(crate) G);

impl<G: AsGuest> Caller for Behind<G> {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.memory_named("memory")
    }

    fn memory_named(&mut self, export: &str) -> Option<&mut [u8]> {
        self.0.guest().memory(export)
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        self.0.guest().call(export, slots).map_err(|error| match error {
            CallError::NoFunction => Trap::no_function(export),
            CallError::FewSlots => Trap::few_slots(export, slots.len()),
            CallError::Trap(failure) => trap(failure),
        })
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        self.0.guest().global(export)
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        self.0.guest().set_global(export, value)
    }
}

impl wharf_core::Instance for Behind<Instance<Hosts>> {}

/// The host functions of a guest of wharf's.
pub(crate) struct Hosts(pub(crate) Arc<Imports>);

impl Host for Hosts {
    fn call(&self, index: usize, guest: &mut Guest<'_>, slots: &mut [u64]) -> Result<(), Failure> {
        self.0.call(index, &mut Behind(guest), slots).map_err(|Halt| Failure(code::HALT))
    }
}

pub(crate) fn number(ty: &ValType) -> Number {
    match ty {
        ValType::I32 => Number::I32,
        ValType::I64 => Number::I64,
        ValType::F32 => Number::F32,
        ValType::F64 => Number::F64,
    }
}

/// The trap that a failure is.
pub(crate) fn trap(failure: Failure) -> Trap {
    let kind = match failure.0 {
        code::HALT => return Trap::new(TrapCode::Host, Halt.to_string()),
        code::UNREACHABLE => TrapCode::Unreachable,
        code::MEMORY_OUT_OF_BOUNDS | code::DATA_DOES_NOT_FIT => TrapCode::MemoryOutOfBounds,
        code::TABLE_OUT_OF_BOUNDS | code::UNDEFINED_ELEMENT | code::ELEMENTS_DO_NOT_FIT => TrapCode::TableOutOfBounds,
        code::UNINITIALIZED_ELEMENT | code::NULL_FUNCTION => TrapCode::NullElement,
        code::BAD_SIGNATURE => TrapCode::BadSignature,
        code::DIVIDE_BY_ZERO => TrapCode::DivisionByZero,
        code::INTEGER_OVERFLOW => TrapCode::IntegerOverflow,
        code::BAD_CONVERSION => TrapCode::BadConversion,
        _ => TrapCode::Other,
    };
    Trap::new(kind, failure.to_string())
}
