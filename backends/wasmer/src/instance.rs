//! Instances, calls both ways, and traps.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use wasmer::sys::vm::TrapCode as Code;
use wasmer::{
    AsStoreMut, Exports, Extern, Function, FunctionEnv, FunctionEnvMut, FunctionType, InstantiationError, Memory,
    Mutability, RawValue, RuntimeError, Store, StoreMut, Type, Value,
};
use wharf_core::{Caller, Error, FuncType, Imports, Instance, Interrupt, Kind, Result, Trap, TrapCode, ValType};

use crate::backend::Compiled;
use crate::interrupt::Flag;

/// How many calls into one guest may be under way, each made by a host function within the one before.
///
/// Each has a stack of its own for the guest, so only this bounds what a guest and a host function that call each
/// other for ever use of the thread's stack.
const MAX_NESTING: u32 = 64;

/// What calls into a guest need beside its store.
struct Guest {
    exports: Exports,
    memory: Option<Memory>,
    flag: Arc<Flag>,
    nesting: AtomicU32,
}

/// A guest and its store.
struct Owner {
    store: Store,
    guest: Arc<OnceLock<Guest>>,
}
