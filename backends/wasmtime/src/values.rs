//! The engine's types and values as slots, and its errors as traps.

use std::fmt::Write;
use std::mem::MaybeUninit;

use wasmtime::{AsContextMut, Func, Global, Mutability, Val, ValRaw, WasmBacktrace};
use wharf_core::{FuncType, Trap, TrapCode, ValType};

/// How many values are converted on the stack; longer signatures are rare and use the heap.
const INLINE: usize = 16;

/// Trap messages carry names that the guest chose: longer ones are cut, in bytes.
const MAX_MESSAGE: usize = 8 << 10;

/// Ends the guest's frames after a host function has halted it; core knows why.
#[derive(Debug, thiserror::Error)]
#[error("a host function stopped the guest")]
pub(crate) struct Halted;

/// The signature as the seam has it; `None` if it has references or vectors.
pub(crate) fn func_type(ty: &wasmtime::FuncType) -> Option<FuncType> {
    let params = ty.params().map(|ty| val_type(&ty)).collect::<Option<_>>()?;
    let results = ty.results().map(|ty| val_type(&ty)).collect::<Option<_>>()?;
    Some(FuncType { params, results })
}

fn val_type(ty: &wasmtime::ValType) -> Option<ValType> {
    match ty {
        wasmtime::ValType::I32 => Some(ValType::I32),
        wasmtime::ValType::I64 => Some(ValType::I64),
        wasmtime::ValType::F32 => Some(ValType::F32),
        wasmtime::ValType::F64 => Some(ValType::F64),
        wasmtime::ValType::V128 | wasmtime::ValType::Ref(_) => None,
    }
}

/// The type as the engine has it.
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

/// A value as a slot; `None` if it is no number.
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

fn with_buffer<T: Copy, R>(len: usize, fill: T, run: impl FnOnce(&mut [T]) -> R) -> R {
    match [fill; INLINE].get_mut(..len) {
        Some(buffer) => run(buffer),
        None => run(&mut vec![fill; len]),
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

/// Calls `function` with the parameters in `slots`, and leaves its results there.
///
/// # Safety
/// `ty` is the type of `function`.
pub(crate) unsafe fn guest_call(
    store: impl AsContextMut,
    function: &Func,
    ty: &FuncType,
    slots: &mut [u64],
) -> Result<(), Trap> {
    let len = ty.params.len().max(ty.results.len());
    if slots.len() < len {
        return Err(Trap::new(TrapCode::Other, format!("{} slots given where a call needs {len}", slots.len())));
    }
    with_buffer(len, ValRaw::u64(0), |raw| {
        for ((raw, slot), ty) in raw.iter_mut().zip(&*slots).zip(&ty.params) {
            *raw = to_raw(*slot, *ty);
        }
        // SAFETY: `raw` has room for the parameters, which have their types, and for the results; none of them are
        // references. Stores of this crate are never entered asynchronously.
        unsafe { function.call_unchecked(store, raw) }.map_err(|error| trap(&error))?;
        for ((slot, raw), ty) in slots.iter_mut().zip(raw).zip(&ty.results) {
            *slot = from_raw(raw, *ty);
        }
        Ok(())
    })
}

/// Reads a global; `None` if it holds no number.
pub(crate) fn read_global(store: impl AsContextMut, global: Global) -> Option<u64> {
    to_slot(&global.get(store))
}

/// Writes a global; false if it is immutable or holds no number.
pub(crate) fn write_global(mut store: impl AsContextMut, global: Global, value: u64) -> bool {
    let ty = global.ty(&store);
    ty.mutability() == Mutability::Var
        && val_type(ty.content()).is_some_and(|ty| global.set(&mut store, to_val(value, ty)).is_ok())
}

/// The answer to a call of an export that is not there.
pub(crate) fn no_function(export: &str) -> Trap {
    let what = format!("the guest exports no function `{export}` that takes and returns numbers");
    Trap::new(TrapCode::Other, what)
}

/// What ended a call, as the seam reports it.
pub(crate) fn trap(error: &wasmtime::Error) -> Trap {
    if error.is::<Halted>() {
        return Trap::new(TrapCode::Host, Halted.to_string());
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
    Trap { code, message }
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
