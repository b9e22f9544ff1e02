//! The engine's types and values as slots, and its errors as traps.

use wasmer::sys::vm::TrapCode as Code;
use wasmer::{FunctionType, RuntimeError, Type, Value};
use wharf_core::{FuncType, Halt, Trap, TrapCode, ValType, with_buffer};

/// Runs a host function: `run` finds `params` in its slots and leaves there the results, of the types `results`.
pub(crate) fn host_call(
    params: &[Value],
    results: &[ValType],
    run: impl FnOnce(&mut [u64]) -> Result<(), RuntimeError>,
) -> Result<Vec<Value>, RuntimeError> {
    with_buffer(params.len().max(results.len()), 0, |slots| {
        for (slot, value) in slots.iter_mut().zip(params) {
            *slot = to_slot(value).unwrap_or_default();
        }
        run(slots)?;
        Ok(results.iter().zip(slots).map(|(ty, slot)| to_value(*slot, *ty)).collect())
    })
}

/// The signature in the engine's types.
pub(crate) fn engine_type(ty: &FuncType) -> FunctionType {
    let number = |ty: &ValType| match ty {
        ValType::I32 => Type::I32,
        ValType::I64 => Type::I64,
        ValType::F32 => Type::F32,
        ValType::F64 => Type::F64,
    };
    let types = |types: &[ValType]| types.iter().map(number).collect::<Vec<_>>();
    FunctionType::new(types(&ty.params), types(&ty.results))
}

/// The type in core's terms; `None` if it is not a number type.
pub(crate) fn val_type(ty: Type) -> Option<ValType> {
    match ty {
        Type::I32 => Some(ValType::I32),
        Type::I64 => Some(ValType::I64),
        Type::F32 => Some(ValType::F32),
        Type::F64 => Some(ValType::F64),
        _ => None,
    }
}

/// A value as a slot; `None` if it is not a number.
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

/// What ended a call, as core has it.
pub(crate) fn trap(error: &RuntimeError) -> Trap {
    let code = match error.clone().to_trap() {
        _ if error.downcast_ref::<Halt>().is_some() => TrapCode::Host,
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
    };
    Trap::new(code, error.to_string())
}
