//! wharf's imports in an embedder's own linker, beside whatever else the embedder has put there.

use wasmtime::Linker;
use wharf_core::abi::{Function, experimental};
use wharf_core::{Error, Exit, Kind, Result, Stop};

use crate::guest::Guest;
use crate::values;

/// Adds the `wasi_experimental_http` imports to `linker`.
///
/// `http` finds, in the embedder's data, what the guest of that store may do: each store has a policy, limits and
/// open responses of its own. A host function that ends the guest (a deadline, a cancellation) makes the embedder's
/// call fail with an error that downcasts to [`wharf_core::Error`].
///
/// The host functions block the calling thread while they wait for the network, and never enter an async runtime.
///
/// # Errors
/// [`Kind::Config`] if the linker has functions of these names already.
pub fn add_experimental_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    http: impl Fn(&T) -> &experimental::Http + Clone + Send + Sync + 'static,
) -> Result<()> {
    add_functions_to_linker(linker, experimental::MODULE, experimental::FUNCTIONS, http)
}

/// Adds the functions of any ABI to `linker`, as imports from `module`; `state` finds a guest's state in the
/// embedder's data.
///
/// A call fails with an error that downcasts to [`wharf_core::Error`] if a function ends the guest, and to [`Exit`]
/// if the guest asked to exit.
///
/// # Errors
/// [`Kind::Config`] if the linker has functions of these names already.
pub fn add_functions_to_linker<T: 'static, C: Clone + Send + Sync + 'static>(
    linker: &mut Linker<T>,
    module: &str,
    functions: &'static [Function<C>],
    state: impl Fn(&T) -> &C + Clone + Send + Sync + 'static,
) -> Result<()> {
    for function in functions {
        let (ty, state) = (function.ty(), state.clone());
        let params = ty.params.iter().copied().map(values::engine_type);
        let results = ty.results.iter().copied().map(values::engine_type);
        let engine_ty = wasmtime::FuncType::new(linker.engine(), params, results);
        let trampoline = move |caller: wasmtime::Caller<'_, T>, raw: &mut [_]| {
            let state = state(caller.data()).clone();
            let call = |slots: &mut [u64]| {
                let mut guest = Guest { store: caller, find: wasmtime::Caller::get_export };
                (function.call)(&state, &mut guest, slots).map_err(|stop| match stop {
                    Stop::Exit(status) => wasmtime::Error::new(Exit(status)),
                    Stop::Error(error) => wasmtime::Error::new(error),
                })
            };
            // SAFETY: `ty` is what `engine_ty`, the type that the linker checks imports against, was made of.
            unsafe { values::host_call(raw, &ty, call) }
        };
        // SAFETY: the trampoline reads its arguments and writes its results by the same type, which has only numbers.
        unsafe { linker.func_new_unchecked(module, function.name, engine_ty, trampoline) }.map_err(|error| {
            let what = format!("the linker cannot take `{module}::{}`", function.name);
            Error::new(Kind::Config, what).with_source(error)
        })?;
    }
    Ok(())
}
