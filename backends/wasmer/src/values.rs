//! The engine's types and values as slots, and its errors as traps.

use wasmer::sys::vm::TrapCode as Code;
use wasmer::{FunctionType, RuntimeError, Type, Value};
use wharf_core::{FuncType, Trap, TrapCode, ValType};

use crate::interrupt::Flag;

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

/// Runs a host function: `run` finds `params` in its slots and leaves there the results, of the types `results`.
pub(crate) fn host_call(
    params: &[Value],
    results: &[ValType],
    run: impl FnOnce(&mut [u64]) -> Result<(), RuntimeError>,
) -> Result<Vec<Value>, RuntimeError> {
    let len = params.len().max(results.len());
    let (mut inline, mut heap) = ([0; INLINE], Vec::new());
    let slots = match inline.get_mut(..len) {
        Some(slots) => slots,
        None => {
            heap.resize(len, 0);
            &mut heap[..]
        }
    };
    for (slot, value) in slots.iter_mut().zip(params) {
        *slot = to_slot(value).unwrap_or_default();
    }
    run(slots)?;
    Ok(results.iter().zip(slots).map(|(ty, slot)| to_value(*slot, *ty)).collect())
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

/// What ended a call of the guest that `flag` interrupts, as the seam reports it.
pub(crate) fn trap(error: &RuntimeError, flag: &Flag) -> Trap {
    let code = match error.downcast_ref::<Stopped>() {
        Some(Stopped::Halted) => TrapCode::Host,
        Some(Stopped::Interrupted) => TrapCode::Interrupted,
        None => match error.clone().to_trap() {
            Some(Code::UnreachableCodeReached) if flag.seen() => TrapCode::Interrupted,
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
