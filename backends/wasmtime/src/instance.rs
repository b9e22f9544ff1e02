//! Instances, and calls both ways.

use std::sync::Arc;

use wasmtime::{AsContextMut, Extern, Func, Memory, Store};
use wharf_core::{Caller, Error, Imports, Instance, Interrupt, Kind, Result, Trap};

use crate::backend::{Compiled, Exports, engine_error};
use crate::interrupt::Handle;
use crate::values::{self, Halted};

/// What an instance's store carries.
struct Data {
    handle: Arc<Handle>,
    exports: Arc<Exports>,
    /// Set once instantiation has ended; no guest code runs before.
    instance: Option<wasmtime::Instance>,
    memory: Option<Memory>,
}

/// The guest, reached from outside (`S` is the store) or from a host function (`S` is the engine's caller).
struct Guest<S>(S);

/// Makes an instance of `module` over `imports`.
pub(crate) fn new(module: &Compiled, imports: &Arc<Imports>) -> Result<Box<dyn Instance>> {
    // The trampolines read raw arguments by the module's types and core indexes by its own: they must be the same.
    if !imports.types().iter().map(|import| &import.ty).eq(module.imports.iter().map(|(_, slots)| slots)) {
        return Err(Error::new(Kind::Internal, "the imports given are not those that the module declares"));
    }
    let handle = Handle::new(&module.clock);
    let data = Data { handle, exports: Arc::clone(&module.exports), instance: None, memory: None };
    let mut store = Store::new(module.clock.engine(), data);
    Arc::clone(&store.data().handle).attach(&mut store);
    let functions: Vec<Extern> = module
        .imports
        .iter()
        .enumerate()
        .map(|(index, (ty, _))| host_function(&mut store, ty, index, imports))
        .collect();
    let instance = wasmtime::Instance::new(&mut store, &module.code, &functions).map_err(|error| {
        if error.is::<wasmtime::Trap>() {
            let what = "a data or element segment does not fit into its memory or table";
            return Error::new(Kind::Trap, what).with_source(values::trap(&error));
        }
        engine_error("wasmtime cannot instantiate the module", error)
    })?;
    let memory = instance.get_memory(&mut store, "memory");
    let data = store.data_mut();
    (data.instance, data.memory) = (Some(instance), memory);
    Ok(Box::new(Guest(store)))
}

/// The trampoline to function `index` of `imports`.
fn host_function(store: &mut Store<Data>, ty: &wasmtime::FuncType, index: usize, imports: &Arc<Imports>) -> Extern {
    let imports = Arc::clone(imports);
    let trampoline = move |mut caller: wasmtime::Caller<'_, Data>, raw: &mut [_]| {
        let ty = &imports.types()[index].ty;
        let call = |slots: &mut [u64]| {
            imports.call(index, &mut Guest(&mut caller), slots).map_err(|_| wasmtime::Error::new(Halted))?;
            // The guest may return without reaching a place where it looks at the epoch.
            if caller.data().handle.raised() { Err(wasmtime::Trap::Interrupt.into()) } else { Ok(()) }
        };
        // SAFETY: `new` has compared these types with the module's, which the engine calls this function with.
        unsafe { values::host_call(raw, ty, call) }
    };
    // SAFETY: the trampoline reads its arguments and writes its results by `ty`, which are numbers.
    unsafe { Func::new_unchecked(store, ty.clone(), trampoline) }.into()
}

impl<S: AsContextMut<Data = Data>> Caller for Guest<S> {
    fn memory(&mut self) -> Option<&mut [u8]> {
        let memory = self.0.as_context().data().memory?;
        Some(memory.data_mut(self.0.as_context_mut()))
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        let mut store = self.0.as_context_mut();
        let data = store.data();
        if data.handle.raised() {
            return Err(values::trap(&wasmtime::Trap::Interrupt.into()));
        }
        let exports = Arc::clone(&data.exports);
        let function = data.instance.zip(exports.get(export)).and_then(|(instance, (index, ty))| {
            Some((instance.get_module_export(&mut store, index)?.into_func()?, ty))
        });
        let Some((function, ty)) = function else { return Err(values::no_function(export)) };
        // SAFETY: `ty` is the type of this export in the module that the instance was made of.
        unsafe { values::guest_call(&mut store, &function, ty, slots) }
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        let mut store = self.0.as_context_mut();
        let global = store.data().instance?.get_global(&mut store, export)?;
        values::read_global(&mut store, global)
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        let mut store = self.0.as_context_mut();
        let global = store.data().instance.and_then(|instance| instance.get_global(&mut store, export));
        global.is_some_and(|global| values::write_global(&mut store, global, value))
    }
}

impl Instance for Guest<Store<Data>> {
    fn interrupt(&self) -> Arc<dyn Interrupt> {
        Arc::clone(&self.0.data().handle) as Arc<dyn Interrupt>
    }
}
