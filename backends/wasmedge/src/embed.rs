//! wharf's imports as an import object for an embedder's own WasmEdge.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use wasmedge_sdk::ImportObject;
use wasmedge_sys::ffi;
use wharf_core::abi::{Function, experimental};
use wharf_core::{Error, Kind, Result, Stop};

use crate::guest::{Guest, Host, host_function};
use crate::raw::Code;

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
    let mut object = ImportObject::create(module, Box::new(state)).map_err(|error| {
        Error::new(Kind::Engine, format!("WasmEdge cannot make the imports `{module}`")).with_source(error)
    })?;
    for function in functions {
        // SAFETY: `function` lives for ever. The state is boxed in the object, which drops it after the functions, and
        // only shared references to it are made.
        let host = unsafe { host_function(&function.ty(), ptr::from_ref(function), object.get_host_data())? };
        object.add_func(function.name, host);
    }
    Ok(object)
}

impl<C> Host<C> for Function<C> {
    fn call(&self, state: &C, guest: &mut Guest, slots: &mut [u64]) -> Result<(), Code> {
        // A panic must not unwind into the engine. The panic hook has reported it.
        match catch_unwind(AssertUnwindSafe(|| (self.call)(state, guest, slots))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Stop::Exit(status))) => {
                tracing::debug!("the guest exited with status {status} in `{}`", self.name);
                Err(ffi::WasmEdge_ErrCode_Terminated)
            }
            Ok(Err(Stop::Error(error))) => {
                tracing::error!(error = &error as &dyn std::error::Error, "`{}` ended the guest", self.name);
                Err(ffi::WasmEdge_ErrCode_HostFuncError)
            }
            Err(_) => Err(ffi::WasmEdge_ErrCode_HostFuncError),
        }
    }
}
