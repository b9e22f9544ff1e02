//! Calls both ways between a guest and its host functions, in wharf's own instances and in an embedder's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use wasmer::{AsStoreMut, ExportIndex, Exports, Instance, Memory, Module, StoreMut};
use wharf_core::{Caller, Trap, TrapCode};

use crate::interrupt::Flag;
use crate::values::{self, Stopped};

/// How many calls into one guest may be under way, each made by a host function within the one before.
///
/// The engine gives each a stack of its own for guest code, but host functions use the thread's: without a bound, a
/// guest and a host function that call each other for ever would overflow that and end the process.
const MAX_NESTING: u32 = 64;

/// What calls into a guest need besides its store.
pub(crate) struct Guest {
    module: Module,
    exports: Exports,
    memory: Option<Memory>,
    nesting: AtomicU32,
    /// How the guest is interrupted.
    pub(crate) flag: Arc<Flag>,
}

impl Guest {
    /// The guest in `instance`, interrupted by `flag`.
    pub(crate) fn new(instance: &Instance, flag: Arc<Flag>) -> Self {
        let (module, exports) = (instance.module().clone(), instance.exports.clone());
        // Held as a handle: the engine does not tell a host function which instance called it.
        let memory = exports.get_memory("memory").ok().cloned();
        Guest { module, exports, memory, nesting: AtomicU32::new(0), flag }
    }

    /// The guest's memory, as it is now.
    pub(crate) fn memory<'a>(&self, store: &'a mut impl AsStoreMut) -> Option<&'a mut [u8]> {
        let view = self.memory.as_ref()?.view(store);
        let (start, len) = (view.data_ptr(), usize::try_from(view.data_size()).ok()?);
        if len == 0 {
            return Some(&mut []);
        }
        // SAFETY: the memory has `len` bytes from `start`, and stays where it is while its store is borrowed, as it is
        // for as long as the slice. No other thread has it: core admits no shared memory.
        Some(unsafe { std::slice::from_raw_parts_mut(start, len) })
    }

    /// Calls the export of that name.
    fn call(&self, store: &mut StoreMut<'_>, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        let (info, function) = (self.module.info(), self.exports.get_function(export));
        let (Ok(function), Some(ExportIndex::Function(index))) = (function, info.exports.get(export)) else {
            return Err(Trap::new(TrapCode::Other, format!("the guest exports no function `{export}`")));
        };
        let ty = &info.signatures[info.functions[*index]];
        let len = ty.params().len().max(ty.results().len());
        // The engine checks neither the number nor the types of raw arguments.
        if slots.len() < len || ty.params().iter().chain(ty.results()).any(|ty| values::val_type(*ty).is_none()) {
            let what = format!("the guest's export `{export}` is {ty}, which {} slots cannot call", slots.len());
            return Err(Trap::new(TrapCode::Other, what));
        }
        let raw = slots.iter().map(|slot| slot.cast_signed().into()).collect();
        let results = function.call_raw(store, raw).map_err(|error| values::trap(&error, &self.flag))?;
        for (slot, value) in slots.iter_mut().zip(&results) {
            *slot = values::to_slot(value).unwrap_or_default();
        }
        Ok(())
    }
}

/// A guest within its store, reached from outside or from a host function.
pub(crate) struct View<'a> {
    /// The store, whatever it was borrowed from.
    pub(crate) store: StoreMut<'a>,
    /// The guest.
    pub(crate) guest: &'a Guest,
}

impl Caller for View<'_> {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.guest.memory(&mut self.store)
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        let nesting = &self.guest.nesting;
        if self.guest.flag.asked() {
            return Err(Trap::new(TrapCode::Interrupted, Stopped::Interrupted.to_string()));
        }
        if nesting.load(Ordering::Relaxed) == MAX_NESTING {
            let what = format!("call stack exhausted: host functions call the guest {MAX_NESTING} deep");
            return Err(Trap::new(TrapCode::StackOverflow, what));
        }
        nesting.fetch_add(1, Ordering::Relaxed);
        let result = self.guest.call(&mut self.store, export, slots);
        nesting.fetch_sub(1, Ordering::Relaxed);
        result
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        let global = self.guest.exports.get_global(export).ok()?;
        values::to_slot(&global.get(&mut self.store))
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        let Ok(global) = self.guest.exports.get_global(export) else { return false };
        let value = values::val_type(global.ty(&self.store).ty).map(|ty| values::to_value(value, ty));
        value.is_some_and(|value| global.set(&mut self.store, value).is_ok())
    }
}
