//! Instances.

use std::sync::Arc;

use wasmtime::{AsContext, AsContextMut, Extern, InstancePre, Linker, Memory, PoolConcurrencyLimitError, Store};
use wharf_core::{Error, Imports, Instance, Interrupt, Kind, Result};

use crate::backend::Compiled;
use crate::guest::Guest;
use crate::interrupt::Handle;
use crate::values;

/// What an instance's store carries.
pub(crate) struct Data {
    handle: Arc<Handle>,
    imports: Arc<Imports>,
    /// Set once instantiation has ended; no guest code runs before.
    instance: Option<wasmtime::Instance>,
    memory: Option<Memory>,
}

/// Makes an instance of `module` over `imports`.
pub(crate) fn new(module: &Compiled, imports: &Arc<Imports>) -> Result<Box<dyn Instance>> {
    for (clock, linked) in &module.engines {
        let data = Data { handle: Handle::new(clock), imports: Arc::clone(imports), instance: None, memory: None };
        let mut store = Store::new(clock.engine(), data);
        Arc::clone(&store.data().handle).attach(&mut store);
        match linked.instantiate(&mut store) {
            Ok(instance) => {
                store.data_mut().memory = instance.get_memory(&mut store, "memory");
                store.data_mut().instance = Some(instance);
                return Ok(Box::new(Guest { store, find }));
            }
            // The pool is empty, and the next engine has none.
            Err(error) if error.is::<PoolConcurrencyLimitError>() => {}
            Err(error) if error.is::<wasmtime::Trap>() => return Err(values::trap(&error).in_instantiation()),
            Err(error) => return Err(Error::engine("wasmtime cannot instantiate the module", error)),
        }
    }
    Err(Error::new(Kind::Engine, "wasmtime has no room for another instance"))
}

/// An export of the instance in this store.
fn find(store: &mut impl AsContextMut<Data = Data>, export: &str) -> Option<Extern> {
    let data = store.as_context().data();
    match data.memory {
        // Nearly every host function asks for it.
        Some(memory) if export == "memory" => Some(memory.into()),
        _ => data.instance?.get_export(store, export),
    }
}

/// Links the imports of `module`, each with a name of its own, to trampolines to the functions with the same indices.
pub(crate) fn link(module: &wasmtime::Module) -> wasmtime::Result<InstancePre<Data>> {
    let mut linker = Linker::new(module.engine());
    for (index, import) in module.imports().enumerate() {
        let import_ty = import.ty();
        let Some((ty, slots)) = import_ty.func().and_then(|ty| Some((ty.clone(), values::func_type(ty)?))) else {
            wasmtime::bail!(
                "the import `{}::{}` has a type that cannot be passed to the host",
                import.module(),
                import.name()
            );
        };
        let trampoline = move |caller: wasmtime::Caller<'_, Data>, raw: &mut [_]| {
            let call = |slots: &mut [u64]| {
                let imports = Arc::clone(&caller.data().imports);
                let mut guest = Guest { store: caller, find };
                imports.call(index, &mut guest, slots).map_err(wasmtime::Error::new)?;
                // The guest may return without reaching a place where it looks at the epoch.
                if guest.store.data().handle.raised() { Err(wasmtime::Trap::Interrupt.into()) } else { Ok(()) }
            };
            // SAFETY: these are the module's types, which the engine calls this function with.
            unsafe { values::host_call(raw, &slots, call) }
        };
        // SAFETY: the trampoline reads its arguments and writes its results by `ty`, which are numbers.
        unsafe { linker.func_new_unchecked(import.module(), import.name(), ty, trampoline) }?;
    }
    linker.instantiate_pre(module)
}

impl Instance for Guest<Store<Data>> {
    fn interrupt(&self) -> Arc<dyn Interrupt> {
        Arc::clone(&self.store.data().handle) as Arc<dyn Interrupt>
    }
}
