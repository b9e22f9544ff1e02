//! wharf's imports among an embedder's own, beside whatever else the embedder has put there.

use std::sync::{Arc, OnceLock};

use wasmer::{AsStoreMut, AsStoreRef, Function, FunctionEnv, FunctionEnvMut, Imports, Instance, RuntimeError, Value};
use wharf_core::abi::{self, experimental};
use wharf_core::{Error, Exit, Kind, Result, Stop};

use crate::guest::{Guest, View};
use crate::values;

/// Joins imports to the instance that was made with them.
///
/// Wasmer does not tell a host function which instance called it, so the functions know no memory until then.
#[must_use = "attach it to the instance, or every call of the functions fails"]
pub struct Attachment(Arc<OnceLock<Arc<Guest>>>);

impl Attachment {
    /// Tells the functions that they serve `instance`, which is in `store`.
    ///
    /// An instance that calls one of them before, from a start function, fails with [`Kind::Config`].
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if the instance exports a shared memory: other threads could write to it while a host
    /// function reads it.
    ///
    /// # Panics
    /// If `instance` is in another store: Wasmer says so, here or when the guest first calls one of the functions.
    pub fn attach(self, store: &impl AsStoreRef, instance: &Instance) -> Result<()> {
        if let Some((name, _)) = instance.exports.iter().memories().find(|(_, memory)| memory.ty(store).shared) {
            let what = format!("the memory `{name}` is shared between threads, which host functions do not support");
            return Err(Error::new(Kind::Unsupported, what));
        }
        self.0.get_or_init(|| Arc::new(Guest::new(instance)));
        Ok(())
    }
}

/// Adds the `wasi_experimental_http` imports to `imports`, for one instance in `store`.
///
/// `http` finds, in the embedder's data behind `env`, what the guest may do: each has a policy, limits and open
/// responses of its own. A host function that ends the guest (a deadline, a cancellation) makes the embedder's call
/// fail with an error that downcasts to [`wharf_core::Error`].
///
/// The host functions block the calling thread while they wait for the network, and never enter an async runtime.
///
/// # Errors
/// [`Kind::Config`] if imports of these names exist already.
pub fn add_experimental_to_imports<T: Send + 'static>(
    store: &mut impl AsStoreMut,
    env: &FunctionEnv<T>,
    imports: &mut Imports,
    http: impl Fn(&T) -> &experimental::Http + Clone + Send + Sync + 'static,
) -> Result<Attachment> {
    add_functions_to_imports(store, env, imports, experimental::MODULE, experimental::FUNCTIONS, http)
}

/// Adds the functions of any ABI to `imports`, as imports from `module`, for one instance in `store`; `state` finds
/// the guest's state in the embedder's data behind `env`.
///
/// A call fails with an error that downcasts to [`wharf_core::Error`] if a function ends the guest, and to [`Exit`]
/// if the guest asked to exit.
///
/// # Errors
/// [`Kind::Config`] if imports of these names exist already.
pub fn add_functions_to_imports<T: Send + 'static, C: Clone + Send + Sync + 'static>(
    store: &mut impl AsStoreMut,
    env: &FunctionEnv<T>,
    imports: &mut Imports,
    module: &str,
    functions: &'static [abi::Function<C>],
    state: impl Fn(&T) -> &C + Clone + Send + Sync + 'static,
) -> Result<Attachment> {
    let cell = Arc::<OnceLock<Arc<Guest>>>::default();
    for function in functions {
        if imports.exists(module, function.name) {
            let what = format!("the import `{module}::{}` is already defined; add wharf's only once", function.name);
            return Err(Error::new(Kind::Config, what));
        }
        let (state, cell) = (state.clone(), Arc::clone(&cell));
        let trampoline = move |mut env: FunctionEnvMut<'_, T>, params: &[Value]| {
            let state = state(env.data()).clone();
            let Some(guest) = cell.get() else {
                let what = format!("the guest called `{}` before its imports were attached to it", function.name);
                return Err(RuntimeError::user(Box::new(Error::new(Kind::Config, what))));
            };
            values::host_call(params, function.results, |slots| {
                let mut view = View { store: env.as_store_mut(), guest: Arc::clone(guest) };
                (function.call)(&state, &mut view, slots).map_err(|stop| match stop {
                    Stop::Exit(status) => RuntimeError::user(Box::new(Exit(status))),
                    Stop::Error(error) => RuntimeError::user(Box::new(error)),
                })
            })
        };
        let host = Function::new_with_env(store, env, values::engine_type(&function.ty()), trampoline);
        imports.define(module, function.name, host);
    }
    Ok(Attachment(cell))
}
