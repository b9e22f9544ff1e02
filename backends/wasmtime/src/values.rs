//! The engine's types and values as slots, and its errors as traps.

use std::fmt::Write;
use std::mem::MaybeUninit;

use wasmtime::{Val, ValRaw, WasmBacktrace};
use wharf_core::{FuncType, Halt, Trap, TrapCode, ValType, with_buffer};

/// Trap messages carry names that the guest chose: longer ones are cut, in bytes.
const MAX_MESSAGE: usize = 8 << 10;

/// The signature in core's terms; `None` if it has references or vectors.
pub(crate) fn func_type(ty: &wasmtime::FuncType) -> Option<FuncType> {
    let params = ty.params().map(|ty| val_type(&ty)).collect::<Option<_>>()?;
    let results = ty.results().map(|ty| val_type(&ty)).collect::<Option<_>>()?;
    Some(FuncType { params, results })
}

/// The type in core's terms; `None` if it is not a number type.
pub(crate) fn val_type(ty: &wasmtime::ValType) -> Option<ValType> {
    match ty {
        wasmtime::ValType::I32 => Some(ValType::I32),
        wasmtime::ValType::I64 => Some(ValType::I64),
        wasmtime::ValType::F32 => Some(ValType::F32),
        wasmtime::ValType::F64 => Some(ValType::F64),
        wasmtime::ValType::V128 | wasmtime::ValType::Ref(_) => None,
    }
}

/// The type in the engine's terms.
pub(crate) fn engine_type(ty: ValType) -> wasmtime::ValType {
    match ty {
        ValType::I32 => wasmtime::ValType::I32,
        ValType::I64 => wasmtime::ValType::I64,
        ValType::F32 => wasmtime::ValType::F32,
        ValType::F64 => wasmtime::ValType::F64,
    }
}

/// A slot as a value of type `ty`.
pub(crate) fn to_val(slot: u64, ty: ValType) -> Val {
    match ty {
        ValType::I32 => Val::I32(slot as i32),
        ValType::I64 => Val::I64(slot as i64),
        ValType::F32 => Val::F32(slot as u32),
        ValType::F64 => Val::F64(slot),
    }
}

/// A value as a slot; `None` if it is not a number.
pub(crate) fn to_slot(val: &Val) -> Option<u64> {
    match *val {
        Val::I32(value) => Some(u64::from(value as u32)),
        Val::I64(value) => Some(value as u64),
        Val::F32(bits) => Some(u64::from(bits)),
        Val::F64(bits) => Some(bits),
        _ => None,
    }
}

fn from_raw(raw: &ValRaw, ty: ValType) -> u64 {
    match ty {
        ValType::I32 | ValType::F32 => u64::from(raw.get_u32()),
        ValType::I64 | ValType::F64 => raw.get_u64(),
    }
}

fn to_raw(slot: u64, ty: ValType) -> ValRaw {
    match ty {
        ValType::I32 | ValType::F32 => ValRaw::u32(slot as u32),
        ValType::I64 | ValType::F64 => ValRaw::u64(slot),
    }
}

/// Runs a host function of type `ty` on the engine's raw arguments, and leaves its results there.
///
/// # Safety
/// `raw` holds arguments of the types `ty` names, and is as long as the longer of parameters and results.
pub(crate) unsafe fn host_call(
    raw: &mut [MaybeUninit<ValRaw>],
    ty: &FuncType,
    call: impl FnOnce(&mut [u64]) -> wasmtime::Result<()>,
) -> wasmtime::Result<()> {
    with_buffer(raw.len(), 0, |slots| {
        for ((slot, raw), ty) in slots.iter_mut().zip(&*raw).zip(&ty.params) {
            // SAFETY: the caller has initialised the parameters, and this reads no more bytes than their type has.
            *slot = from_raw(unsafe { raw.assume_init_ref() }, *ty);
        }
        call(slots)?;
        for ((slot, raw), ty) in slots.iter().zip(raw).zip(&ty.results) {
            raw.write(to_raw(*slot, *ty));
        }
        Ok(())
    })
}

/// What ended a call, as core has it.
pub(crate) fn trap(error: &wasmtime::Error) -> Trap {
    if error.is::<Halt>() {
        return Trap::new(TrapCode::Host, Halt.to_string());
    }
    let (code, mut message) = match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => (trap_code(*trap), trap.to_string()),
        None => (TrapCode::Other, error.root_cause().to_string()),
    };
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        // Writing to a string does not fail.
        let _ = write!(message, "\n{backtrace}");
    }
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    Trap::new(code, message)
}

fn trap_code(trap: wasmtime::Trap) -> TrapCode {
    match trap {
        wasmtime::Trap::UnreachableCodeReached => TrapCode::Unreachable,
        wasmtime::Trap::MemoryOutOfBounds => TrapCode::MemoryOutOfBounds,
        wasmtime::Trap::TableOutOfBounds => TrapCode::TableOutOfBounds,
        wasmtime::Trap::IndirectCallToNull => TrapCode::NullElement,
        wasmtime::Trap::BadSignature => TrapCode::BadSignature,
        wasmtime::Trap::IntegerDivisionByZero => TrapCode::DivisionByZero,
        wasmtime::Trap::IntegerOverflow => TrapCode::IntegerOverflow,
        wasmtime::Trap::BadConversionToInteger => TrapCode::BadConversion,
        wasmtime::Trap::StackOverflow => TrapCode::StackOverflow,
        wasmtime::Trap::Interrupt => TrapCode::Interrupted,
        _ => TrapCode::Other,
    }
}
