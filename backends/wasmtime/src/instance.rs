//! Instances.

use std::sync::Arc;

use wasmtime::{AsContext, AsContextMut, Extern, Func, Store};
use wharf_core::{Error, Imports, Instance, Interrupt, Kind, Result};

use crate::backend::{Compiled, engine_error};
use crate::guest::Guest;
use crate::interrupt::Handle;
use crate::values;

/// What an instance's store carries.
struct Data {
    handle: Arc<Handle>,
    /// Set once instantiation has ended; no guest code runs before.
    instance: Option<wasmtime::Instance>,
}

/// Makes an instance of `module` over `imports`.
pub(crate) fn new(module: &Compiled, imports: &Arc<Imports>) -> Result<Box<dyn Instance>> {
    // The trampolines read raw arguments by the module's types and core indexes by its own: they must be the same.
    if !imports.types().iter().map(|import| &import.ty).eq(module.imports.iter().map(|(_, slots)| slots)) {
        return Err(Error::new(Kind::Internal, "the imports given are not those that the module declares"));
    }
    let mut store = Store::new(module.clock.engine(), Data { handle: Handle::new(&module.clock), instance: None });
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
    store.data_mut().instance = Some(instance);
    Ok(Box::new(Guest { store, find }))
}

/// An export of the instance in this store.
fn find(store: &mut impl AsContextMut<Data = Data>, export: &str) -> Option<Extern> {
    store.as_context().data().instance?.get_export(store, export)
}

/// The trampoline to function `index` of `imports`.
fn host_function(store: &mut Store<Data>, ty: &wasmtime::FuncType, index: usize, imports: &Arc<Imports>) -> Extern {
    let imports = Arc::clone(imports);
    let trampoline = move |caller: wasmtime::Caller<'_, Data>, raw: &mut [_]| {
        let ty = &imports.types()[index].ty;
        let call = |slots: &mut [u64]| {
            let mut guest = Guest { store: caller, find };
            imports.call(index, &mut guest, slots).map_err(wasmtime::Error::new)?;
            // The guest may return without reaching a place where it looks at the epoch.
            if guest.store.data().handle.raised() { Err(wasmtime::Trap::Interrupt.into()) } else { Ok(()) }
        };
        // SAFETY: `new` has compared these types with the module's, which the engine calls this function with.
        unsafe { values::host_call(raw, ty, call) }
    };
    // SAFETY: the trampoline reads its arguments and writes its results by `ty`, which are numbers.
    unsafe { Func::new_unchecked(store, ty.clone(), trampoline) }.into()
}

impl Instance for Guest<Store<Data>> {
    fn interrupt(&self) -> Arc<dyn Interrupt> {
        Arc::clone(&self.store.data().handle) as Arc<dyn Interrupt>
    }
}
