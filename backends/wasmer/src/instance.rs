//! Instances.

use std::sync::{Arc, OnceLock};

use wasmer::{
    AsStoreMut, Extern, Function, FunctionEnv, FunctionEnvMut, InstantiationError, RuntimeError, Store, Value,
};
use wharf_core::{Error, Halt, Imports, Instance, Result};

use crate::backend::Compiled;
use crate::guest::{Guest, View};
use crate::values;

/// Makes an instance of `module` over `imports`.
pub(crate) fn new(module: &Compiled, imports: &Arc<Imports>) -> Result<Box<dyn Instance>> {
    let mut store = Store::new(module.engine.clone());
    // Host functions come before the instance, and need it: set below, before any guest code runs.
    let env = FunctionEnv::new(&mut store, OnceLock::new());
    let functions: Vec<Extern> =
        (0..imports.types().len()).map(|index| host_function(&mut store, &env, imports, index)).collect();
    let instance = wasmer::Instance::new_by_index(&mut store, &module.module, &functions).map_err(|error| {
        let InstantiationError::Start(trap) = error else {
            return Error::engine("wasmer cannot instantiate the module", error);
        };
        values::trap(&trap).in_instantiation()
    })?;
    let guest = Arc::clone(env.as_ref(&store).get_or_init(|| Arc::new(Guest::new(&instance))));
    Ok(Box::new(View { store, guest }))
}

/// The trampoline to function `index` of `imports`.
fn host_function(
    store: &mut Store,
    env: &FunctionEnv<OnceLock<Arc<Guest>>>,
    imports: &Arc<Imports>,
    index: usize,
) -> Extern {
    let imports = Arc::clone(imports);
    let ty = values::engine_type(&imports.types()[index].ty);
    let trampoline = move |mut env: FunctionEnvMut<'_, OnceLock<Arc<Guest>>>, params: &[Value]| {
        let halt = |halt: Halt| RuntimeError::user(Box::new(halt));
        let guest = Arc::clone(env.data().get().ok_or_else(|| halt(Halt))?);
        values::host_call(params, &imports.types()[index].ty.results, |slots| {
            imports.call(index, &mut View { store: env.as_store_mut(), guest }, slots).map_err(halt)
        })
    };
    Function::new_with_env(store, env, ty, trampoline).into()
}

// SAFETY: nothing in a store is bound to the thread that made it: its pointers lead into what it owns, and the host
// functions put into it are `Send`. The view lends the store to nobody for longer than a call.
unsafe impl Send for View<Store> {}

impl Instance for View<Store> {}
