//! Instances, and calls both ways.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use wasmer::{
    AsStoreMut, ExportIndex, Exports, Extern, Function, FunctionEnv, FunctionEnvMut, InstantiationError, Memory, Module,
    Store, StoreMut, Value,
};
use wasmer_types::RawValue;
use wharf_core::{Caller, Error, Imports, Instance, Interrupt, Kind, Result, Trap, TrapCode};

use crate::backend::Compiled;
use crate::interrupt::Flag;
use crate::values::{self, Stopped};

/// How deep host functions and guest calls may nest. Each level takes a stack of its own from the engine.
const MAX_NESTING: u32 = 64;

/// What a host function needs of the instance that calls it; set once instantiation has ended.
struct Guest {
    module: Module,
    exports: Exports,
    memory: Option<Memory>,
    flag: Arc<Flag>,
    nesting: AtomicU32,
}

/// An instance and the store it lives in.
struct Owner {
    store: Store,
    guest: Arc<Guest>,
}

// SAFETY: nothing in a store is bound to the thread that made it; all its pointers are into what it owns. `Owner` is
// used by one thread at a time, and lends the store to nobody for longer than a call.
unsafe impl Send for Owner {}

/// The guest, reached from outside or from a host function.
struct View<'a> {
    store: StoreMut<'a>,
    guest: &'a Guest,
}

/// Makes an instance of `module` over `imports`.
pub(crate) fn new(module: &Compiled, imports: Arc<Imports>) -> Result<Box<dyn Instance>> {
    let mut store = Store::new(module.engine.clone());
    let cell = Arc::<OnceLock<Arc<Guest>>>::default();
    let env = FunctionEnv::new(&mut store, ());
    let functions: Vec<Extern> =
        (0..imports.types().len()).map(|index| host_function(&mut store, &env, &imports, index, &cell)).collect();
    let instance =
        wasmer::Instance::new_by_index(&mut store, &module.module, &functions).map_err(|error| match error {
            // A prepared module has no start function, so what trapped is the copying of a segment.
            InstantiationError::Start(trap) => {
                Error::new(Kind::Trap, "a data or element segment does not fit into its memory or table")
                    .with_source(values::trap(&trap, false))
            }
            error => Error::new(Kind::Engine, "wasmer cannot instantiate the module").with_source(error),
        })?;
    let flag = Arc::<Flag>::default();
    flag.attach(&mut store);
    let memory = instance.exports.get_memory("memory").ok().cloned();
    let module = module.module.clone();
    let guest = Arc::new(Guest { module, exports: instance.exports, memory, flag, nesting: AtomicU32::new(0) });
    if cell.set(Arc::clone(&guest)).is_err() {
        return Err(Error::new(Kind::Internal, "an instance was set up twice"));
    }
    Ok(Box::new(Owner { store, guest }))
}

/// The trampoline to function `index` of `imports`.
fn host_function(
    store: &mut Store,
    env: &FunctionEnv<()>,
    imports: &Arc<Imports>,
    index: usize,
    cell: &Arc<OnceLock<Arc<Guest>>>,
) -> Extern {
    let (imports, cell) = (Arc::clone(imports), Arc::clone(cell));
    let ty = values::engine_type(&imports.types()[index].ty);
    let call = move |mut env: FunctionEnvMut<'_, ()>, params: &[Value]| {
        // No guest code runs before instantiation has ended.
        let Some(guest) = cell.get() else { return Err(values::stop(Stopped::Halted)) };
        let ty = &imports.types()[index].ty;
        let (_, store) = env.data_and_store_mut();
        values::with_slots(ty.params.len().max(ty.results.len()), |slots| {
            for (slot, value) in slots.iter_mut().zip(params) {
                *slot = values::to_slot(value).unwrap_or(0);
            }
            imports
                .call(index, &mut View { store, guest }, slots)
                .map_err(|_| values::stop(Stopped::Halted))?;
            if guest.flag.asked() {
                return Err(values::stop(Stopped::Interrupted));
            }
            Ok(ty.results.iter().zip(&*slots).map(|(ty, slot)| values::to_value(*slot, *ty)).collect())
        })
    };
    Function::new_with_env(store, env, ty, call).into()
}

impl View<'_> {
    fn enter(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        let guest = self.guest;
        let info = guest.module.info();
        let no_function = || {
            let what = format!("the guest exports no function `{export}` that takes and returns numbers");
            Trap::new(TrapCode::Other, what)
        };
        let Some(ExportIndex::Function(index)) = info.exports.get(export) else { return Err(no_function()) };
        let ty = &info.signatures[info.functions[*index]];
        let function = guest.exports.get_function(export).map_err(|_| no_function())?;
        let len = ty.params().len().max(ty.results().len());
        if slots.len() < len {
            return Err(Trap::new(TrapCode::Other, format!("{} slots given where a call needs {len}", slots.len())));
        }
        let raw: Vec<RawValue> = slots[..len].iter().map(|slot| RawValue { u64: *slot }).collect();
        let results =
            function.call_raw(&mut self.store, raw).map_err(|error| values::trap(&error, guest.flag.seen()))?;
        for (slot, value) in slots.iter_mut().zip(results.iter().filter_map(values::to_slot)) {
            *slot = value;
        }
        Ok(())
    }
}

impl Caller for View<'_> {
    fn memory(&mut self) -> Option<&mut [u8]> {
        let view = self.guest.memory.as_ref()?.view(&self.store);
        let (start, len) = (view.data_ptr(), view.data_size() as usize);
        if len == 0 {
            return Some(&mut []);
        }
        // SAFETY: the memory has `len` bytes from `start`, does not move while the store is borrowed as it is by the
        // slice, and belongs to this store alone: a prepared module has no shared memory.
        Some(unsafe { std::slice::from_raw_parts_mut(start, len) })
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        if self.guest.flag.asked() {
            return Err(Trap::new(TrapCode::Interrupted, Stopped::Interrupted.to_string()));
        }
        if self.guest.nesting.fetch_add(1, Ordering::Relaxed) >= MAX_NESTING {
            self.guest.nesting.fetch_sub(1, Ordering::Relaxed);
            let what = format!("host functions and guest calls are nested more than {MAX_NESTING} deep");
            return Err(Trap::new(TrapCode::StackOverflow, what));
        }
        let result = self.enter(export, slots);
        self.guest.nesting.fetch_sub(1, Ordering::Relaxed);
        result
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        values::to_slot(&self.guest.exports.get_global(export).ok()?.get(&mut self.store))
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        let Ok(global) = self.guest.exports.get_global(export) else { return false };
        values::val_type(global.ty(&self.store).ty)
            .is_some_and(|ty| global.set(&mut self.store, values::to_value(value, ty)).is_ok())
    }
}

impl Owner {
    fn view(&mut self) -> View<'_> {
        View { store: self.store.as_store_mut(), guest: &self.guest }
    }
}

impl Caller for Owner {
    fn memory(&mut self) -> Option<&mut [u8]> {
        let view = self.guest.memory.as_ref()?.view(&self.store);
        let (start, len) = (view.data_ptr(), view.data_size() as usize);
        if len == 0 {
            return Some(&mut []);
        }
        // SAFETY: as in `View::memory`; here the slice borrows the store's owner.
        Some(unsafe { std::slice::from_raw_parts_mut(start, len) })
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        self.view().call(export, slots)
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        self.view().global(export)
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        self.view().set_global(export, value)
    }
}

impl Instance for Owner {
    fn interrupt(&self) -> Arc<dyn Interrupt> {
        Arc::clone(&self.guest.flag) as Arc<dyn Interrupt>
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // The handle may outlive the instance, whose memory the flag is in.
        self.guest.flag.detach();
    }
}
