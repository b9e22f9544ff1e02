//! wharf's imports as an import object for an embedder's own WasmEdge.

use wharf_core::abi::{Function, experimental};
use wharf_core::{Error, Kind, Result, Stop};
use wharf_wasmedge_engine::{self as engine, Failure, Guest, Host, ImportModule, code};

use crate::guest::{Behind, number};

/// An import object, as `wasmedge-sdk` takes it, of functions over a state.
pub type ImportObject<C> = ImportModule<Table<C>>;

/// Makes the import object with the `wasi_experimental_http` functions, for the guests of one store.
///
/// `http` is what these guests may do: each object has a policy, limits and open responses of its own.
/// A host function that ends the guest (a deadline, a cancellation) makes the embedder's call fail with WasmEdge's host
/// function error, which has no room for the reason: the reason is logged as an error.
///
/// The host functions block the calling thread while they wait for the network, and never enter an async runtime.
///
/// # Errors
/// [`Kind::Engine`] if WasmEdge cannot make the object.
pub fn experimental_imports(http: experimental::Http) -> Result<ImportObject<experimental::Http>> {
    function_imports(experimental::MODULE, experimental::FUNCTIONS, http)
}

/// Makes an import object named `module` with the functions of any ABI, over `state`.
///
/// A call fails as [`experimental_imports`] has it if a function ends the guest, and ends the guest as WASI's
/// `proc_exit` does if the guest asked to exit.
///
/// # Errors
/// [`Kind::Engine`] if WasmEdge cannot make the object.
pub fn function_imports<C: Send + Sync + 'static>(
    module: &str,
    functions: &'static [Function<C>],
    state: C,
) -> Result<ImportObject<C>> {
    let signatures = functions.iter().map(|function| {
        let (ty, numbers) = (function.ty(), |types: &[_]| types.iter().map(number).collect());
        (function.name, numbers(&ty.params), numbers(&ty.results))
    });
    engine::imports(module, signatures, Table { functions, state }).map_err(|error| {
        Error::new(Kind::Engine, format!("WasmEdge cannot make the imports `{module}`")).with_source(error)
    })
}

/// The functions of an ABI, and what they work on.
pub struct Table<C: 'static> {
    functions: &'static [Function<C>],
    state: C,
}

impl<C: Send + Sync> Host for Table<C> {
    fn call(&self, index: usize, guest: &mut Guest<'_>, slots: &mut [u64]) -> Result<(), Failure> {
        let function = &self.functions[index];
        match (function.call)(&self.state, &mut Behind(guest), slots) {
            Ok(()) => Ok(()),
            Err(Stop::Exit(status)) => {
                tracing::debug!("the guest exited with status {status} in `{}`", function.name);
                Err(Failure(code::TERMINATED))
            }
            Err(Stop::Error(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "`{}` ended the guest", function.name);
                Err(Failure(code::HOST_FUNCTION_FAILED))
            }
        }
    }
}
