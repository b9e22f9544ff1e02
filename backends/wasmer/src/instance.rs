//! Instances.

use std::sync::{Arc, OnceLock};

use wasmer::{AsStoreMut, Extern, Function, FunctionEnv, FunctionEnvMut, InstantiationError, Store, Value};
use wharf_core::{Caller, Error, Imports, Instance, Interrupt, Kind, Result, Trap};

use crate::backend::Compiled;
use crate::guest::{Guest, View};
use crate::interrupt::Flag;
use crate::values::{self, Stopped};

/// A guest and the store it lives in.
struct Owner {
    store: Store,
    guest: Arc<Guest>,
}

// SAFETY: nothing in a store is bound to the thread that made it: its pointers lead into what it owns, and the host
// functions put into it are `Send`. `Owner` lends the store to nobody for longer than a call.
unsafe impl Send for Owner {}

/// Makes an instance of `module` over `imports`.
pub(crate) fn new(module: &Compiled, imports: &Arc<Imports>) -> Result<Box<dyn Instance>> {
    let mut store = Store::new(module.engine.clone());
    let env = FunctionEnv::new(&mut store, ());
    // Host functions come before the instance, and need it: set below, before any guest code runs.
    let cell = Arc::default();
    let functions: Vec<Extern> =
        (0..imports.types().len()).map(|index| host_function(&mut store, &env, imports, index, &cell)).collect();
    let flag = Arc::<Flag>::default();
    let instance = wasmer::Instance::new_by_index(&mut store, &module.module, &functions).map_err(|error| {
        let InstantiationError::Start(trap) = error else {
            return Error::new(Kind::Engine, "wasmer cannot instantiate the module").with_source(error);
        };
        // A prepared module has no start function, so what trapped is the copying of a segment.
        let what = "a data or element segment does not fit into its memory or table";
        Error::new(Kind::Trap, what).with_source(values::trap(&trap, &flag))
    })?;
    flag.attach(&mut store);
    let guest = cell.get_or_init(|| Arc::new(Guest::new(&instance, flag)));
    Ok(Box::new(Owner { store, guest: Arc::clone(guest) }))
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
    let trampoline = move |mut env: FunctionEnvMut<'_, ()>, params: &[Value]| {
        let Some(guest) = cell.get() else { return Err(values::stop(Stopped::Halted)) };
        values::host_call(params, &imports.types()[index].ty.results, |slots| {
            let mut view = View { store: env.as_store_mut(), guest };
            imports.call(index, &mut view, slots).map_err(|_| values::stop(Stopped::Halted))?;
            // The guest may return without reaching a place where it looks at the flag.
            if guest.flag.asked() { Err(values::stop(Stopped::Interrupted)) } else { Ok(()) }
        })
    };
    Function::new_with_env(store, env, ty, trampoline).into()
}

impl Owner {
    fn view(&mut self) -> View<'_> {
        View { store: self.store.as_store_mut(), guest: &self.guest }
    }
}

impl Caller for Owner {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.guest.memory(&mut self.store)
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
