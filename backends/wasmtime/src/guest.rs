//! A guest as a host function or its owner sees it, in wharf's own stores and in an embedder's.

use wasmtime::{AsContextMut, Extern, Mutability, Val};
use wharf_core::{Caller, Trap};

use crate::values;

/// A guest, reached from outside (`S` is its store) or from a host function (`S` is the engine's caller).
///
/// The store may be an embedder's, who may have entered it in ways that forbid some calls, so only the engine's checked
/// calls are used.
pub(crate) struct Guest<S> {
    pub(crate) store: S,
    /// Finds an export.
    pub(crate) find: fn(&mut S, &str) -> Option<Extern>,
}

impl<S: AsContextMut> Guest<S> {
    fn find(&mut self, export: &str) -> Option<Extern> {
        (self.find)(&mut self.store, export)
    }
}

impl<S: AsContextMut> Caller for Guest<S> {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.memory_named("memory")
    }

    fn memory_named(&mut self, export: &str) -> Option<&mut [u8]> {
        let memory = self.find(export)?.into_memory()?;
        Some(memory.data_mut(&mut self.store))
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        let function = self.find(export).and_then(Extern::into_func);
        let typed = function.and_then(|function| Some((function, values::func_type(&function.ty(&self.store))?)));
        let Some((function, ty)) = typed else { return Err(Trap::no_function(export)) };
        if slots.len() < ty.slots() {
            return Err(Trap::few_slots(export, slots.len()));
        }
        let params: Vec<Val> = slots.iter().zip(&ty.params).map(|(slot, ty)| values::to_val(*slot, *ty)).collect();
        let mut results = vec![Val::I32(0); ty.results.len()];
        function.call(&mut self.store, &params, &mut results).map_err(|error| values::trap(&error))?;
        for (slot, value) in slots.iter_mut().zip(results.iter().filter_map(values::to_slot)) {
            *slot = value;
        }
        Ok(())
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        let global = self.find(export)?.into_global()?;
        values::to_slot(&global.get(&mut self.store))
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        let Some(global) = self.find(export).and_then(Extern::into_global) else { return false };
        let ty = global.ty(&self.store);
        ty.mutability() == Mutability::Var
            && values::val_type(ty.content())
                .is_some_and(|ty| global.set(&mut self.store, values::to_val(value, ty)).is_ok())
    }
}
