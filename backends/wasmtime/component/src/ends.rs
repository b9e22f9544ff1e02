//! How a guest ended.

use wasmtime::WasmBacktrace;
use wasmtime_wasi::I32Exit;
use wharf_core::{Error, Kind, Stop, Trap, TrapCode};

/// What ended a call, as core reports it: an exit, or a trap. An error of a host function is a trap, as the component
/// model has it.
pub(crate) fn stop(error: &wasmtime::Error) -> Stop {
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return Stop::Exit(*code);
    }
    Error::new(Kind::Trap, "the guest trapped").with_source(trap(error)).into()
}

fn trap(error: &wasmtime::Error) -> Trap {
    let (code, mut message) = match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => (code(*trap), trap.to_string()),
        None => (TrapCode::Other, error.root_cause().to_string()),
    };
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        message.push('\n');
        message.push_str(backtrace.to_string().trim_end());
    }
    Trap::new(code, message)
}

fn code(trap: wasmtime::Trap) -> TrapCode {
    use wasmtime::Trap as T;
    match trap {
        T::UnreachableCodeReached => TrapCode::Unreachable,
        T::MemoryOutOfBounds => TrapCode::MemoryOutOfBounds,
        T::TableOutOfBounds => TrapCode::TableOutOfBounds,
        T::IndirectCallToNull => TrapCode::NullElement,
        T::BadSignature => TrapCode::BadSignature,
        T::IntegerDivisionByZero => TrapCode::DivisionByZero,
        T::IntegerOverflow => TrapCode::IntegerOverflow,
        T::BadConversionToInteger => TrapCode::BadConversion,
        T::StackOverflow => TrapCode::StackOverflow,
        T::Interrupt => TrapCode::Interrupted,
        _ => TrapCode::Other,
    }
}
