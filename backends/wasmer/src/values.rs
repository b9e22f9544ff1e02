//! The engine's types and values as slots, and its errors as traps.

use wasmer::sys::vm::TrapCode as Code;
use wasmer::{FunctionType, RuntimeError, Type, Value};
use wharf_core::{FuncType, Trap, TrapCode, ValType};

/// How many values a host function's slots hold on the stack; longer signatures are rare and use the heap.
const INLINE: usize = 16;

/// Why the adapter ends a guest's frames.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(crate) enum Stopped {
    /// Core knows why.
    #[error("a host function stopped the guest")]
    Halted,
    /// The instance's handle was used.
    #[error("the guest was interrupted")]
    Interrupted,
}

/// As the error that a host function returns to the engine.
pub(crate) fn stop(why: Stopped) -> RuntimeError {
    RuntimeError::user(Box::new(why))
}

/// Lends `run` `len` zeroed slots.
pub(crate) fn with_slots<R>(len: usize, run: impl FnOnce(&mut [u64]) -> R) -> R {
    match [0; INLINE].get_mut(..len) {
        Some(slots) => run(slots),
        None => run(&mut vec![0; len]),
    }
}

/// The signature as the engine has it.
pub(crate) fn engine_type(ty: &FuncType) -> FunctionType {
    let types = |types: &[ValType]| -> Vec<Type> {
        types
            .iter()
            .map(|ty| match ty {
                ValType::I32 => Type::I32,
                ValType::I64 => Type::I64,
                ValType::F32 => Type::F32,
                ValType::F64 => Type::F64,
            })
            .collect()
    };
    FunctionType::new(types(&ty.params), types(&ty.results))
}

/// The type as the seam has it; `None` if it is no number.
pub(crate) fn val_type(ty: Type) -> Option<ValType> {
    match ty {
        Type::I32 => Some(ValType::I32),
        Type::I64 => Some(ValType::I64),
        Type::F32 => Some(ValType::F32),
        Type::F64 => Some(ValType::F64),
        _ => None,
    }
}

/// A value as a slot; `None` if it is no number.
pub(crate) fn to_slot(value: &Value) -> Option<u64> {
    match value {
        Value::I32(value) => Some(u64::from(*value as u32)),
        Value::I64(value) => Some(*value as u64),
        Value::F32(value) => Some(u64::from(value.to_bits())),
        Value::F64(value) => Some(value.to_bits()),
        _ => None,
    }
}

/// A slot as a value of type `ty`.
pub(crate) fn to_value(slot: u64, ty: ValType) -> Value {
    match ty {
        ValType::I32 => Value::I32(slot as i32),
        ValType::I64 => Value::I64(slot as i64),
        ValType::F32 => Value::F32(f32::from_bits(slot as u32)),
        ValType::F64 => Value::F64(f64::from_bits(slot)),
    }
}

/// What ended a call, as the seam reports it. `interrupted`: compiled code has seen the instance's flag, and ended
/// itself by the instruction that also stands for `unreachable`.
pub(crate) fn trap(error: &RuntimeError, interrupted: bool) -> Trap {
    let code = match error.downcast_ref::<Stopped>() {
        Some(Stopped::Halted) => TrapCode::Host,
        Some(Stopped::Interrupted) => TrapCode::Interrupted,
        None => match error.clone().to_trap() {
            Some(Code::UnreachableCodeReached) if interrupted => TrapCode::Interrupted,
            Some(Code::UnreachableCodeReached) => TrapCode::Unreachable,
            Some(Code::HeapAccessOutOfBounds) => TrapCode::MemoryOutOfBounds,
            Some(Code::TableAccessOutOfBounds) => TrapCode::TableOutOfBounds,
            Some(Code::IndirectCallToNull) => TrapCode::NullElement,
            Some(Code::BadSignature) => TrapCode::BadSignature,
            Some(Code::IntegerDivisionByZero) => TrapCode::DivisionByZero,
            Some(Code::IntegerOverflow) => TrapCode::IntegerOverflow,
            Some(Code::BadConversionToInteger) => TrapCode::BadConversion,
            Some(Code::StackOverflow) => TrapCode::StackOverflow,
            _ => TrapCode::Other,
        },
    };
    Trap::new(code, error.to_string())
}
