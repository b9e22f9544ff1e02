//! Calls both ways between a guest and its host functions, in wharf's own instances and in an embedder's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use wasmer::{AsStoreMut, Exports, Instance, Memory, Value};
use wharf_core::meter::MAX_NESTED;
use wharf_core::{Caller, Trap, TrapCode};

use crate::values;

/// What calls into a guest need besides its store.
pub(crate) struct Guest {
    exports: Exports,
    memory: Option<Memory>,
    /// How many calls are under way, each made by a host function within the one before.
    ///
    /// The engine gives each a stack of its own for guest code, but host functions use the thread's: without a bound, a
    /// guest and a host function that call each other for ever would overflow that and end the process.
    nested: AtomicU32,
}

impl Guest {
    pub(crate) fn new(instance: &Instance) -> Self {
        let exports = instance.exports.clone();
        // Held as a handle: the engine does not tell a host function which instance called it.
        let memory = exports.get_memory("memory").ok().cloned();
        Guest { exports, memory, nested: AtomicU32::new(0) }
    }

    /// Calls the export of that name.
    fn call(&self, store: &mut impl AsStoreMut, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        let Ok(function) = self.exports.get_function(export) else { return Err(Trap::no_function(export)) };
        let ty = function.ty(store);
        if slots.len() < ty.params().len().max(ty.results().len()) {
            return Err(Trap::few_slots(export, slots.len()));
        }
        let params =
            ty.params().iter().zip(&*slots).map(|(ty, slot)| Some(values::to_value(*slot, values::val_type(*ty)?)));
        let params: Option<Vec<Value>> = params.collect();
        let Some(params) = params else { return Err(Trap::no_function(export)) };
        let results = function.call(store, &params).map_err(|error| values::trap(&error))?;
        for (slot, value) in slots.iter_mut().zip(&results) {
            *slot = values::to_slot(value).unwrap_or_default();
        }
        Ok(())
    }
}

/// A guest and its store, reached from outside (`S` is the store) or from a host function (`S` borrows it).
pub(crate) struct View<S> {
    pub(crate) store: S,
    pub(crate) guest: Arc<Guest>,
}

impl<S: AsStoreMut> Caller for View<S> {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.memory_named("memory")
    }

    fn memory_named(&mut self, export: &str) -> Option<&mut [u8]> {
        let default = if export == "memory" { self.guest.memory.as_ref() } else { None };
        let memory = default.or_else(|| self.guest.exports.get_memory(export).ok())?;
        let view = memory.view(&self.store);
        let (start, len) = (view.data_ptr(), usize::try_from(view.data_size()).ok()?);
        if len == 0 {
            return Some(&mut []);
        }
        // SAFETY: the memory has `len` bytes from `start`, and stays where it is while its store is borrowed, as it is
        // for as long as the slice. No other thread has it: neither core nor `Attachment` admits a shared memory.
        Some(unsafe { std::slice::from_raw_parts_mut(start, len) })
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        let nested = &self.guest.nested;
        if nested.load(Ordering::Relaxed) == MAX_NESTED {
            let what = format!("call stack exhausted: host functions call the guest, nested {MAX_NESTED} deep");
            return Err(Trap::new(TrapCode::StackOverflow, what));
        }
        nested.fetch_add(1, Ordering::Relaxed);
        let result = self.guest.call(&mut self.store, export, slots);
        nested.fetch_sub(1, Ordering::Relaxed);
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
