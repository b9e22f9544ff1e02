//! wharf's imports as an import object for an embedder's own WasmEdge.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use wasmedge_sdk::ImportObject;
use wasmedge_sys::ffi;
use wharf_core::abi::{Function, experimental};
use wharf_core::{Error, Kind, Result, Stop};

use crate::guest::{Guest, host_call, host_function};

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
    let failed =
        |error| Error::new(Kind::Engine, format!("WasmEdge cannot make the imports `{module}`")).with_source(error);
    let mut object = ImportObject::create(module, Box::new(state)).map_err(failed)?;
    for function in functions {
        let data = ptr::from_ref(object.get_host_data()).cast_mut().cast();
        let this = ptr::from_ref(function).cast_mut().cast();
        // SAFETY: `this` lives for ever. `data` is boxed in the object, which drops it after the functions, and only
        // shared references to it are made.
        let host = unsafe { wasmedge_sys::Function::from_raw(host_function(&function.ty(), enter::<C>, this, data)?) };
        object.add_func(function.name, host);
    }
    Ok(object)
}

/// The trampoline to every function.
unsafe extern "C" fn enter<C: 'static>(
    this: *mut c_void,
    data: *mut c_void,
    frame: *const ffi::WasmEdge_CallingFrameContext,
    params: *const ffi::WasmEdge_Value,
    params_len: u32,
    results: *mut ffi::WasmEdge_Value,
    results_len: u32,
) -> ffi::WasmEdge_Result {
    // SAFETY: as `function_imports` made them.
    let (function, state) = unsafe { (&*this.cast::<Function<C>>(), &*data.cast::<C>()) };
    let call = |guest: &mut Guest, slots: &mut [u64]| {
        // A panic must not unwind into the engine. The panic hook has reported it.
        match catch_unwind(AssertUnwindSafe(|| (function.call)(state, guest, slots))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Stop::Exit(status))) => {
                tracing::debug!("the guest exited with status {status} in `{}`", function.name);
                Err(ffi::WasmEdge_ErrCode_Terminated)
            }
            Ok(Err(Stop::Error(error))) => {
                tracing::error!(error = &error as &dyn std::error::Error, "`{}` ended the guest", function.name);
                Err(ffi::WasmEdge_ErrCode_HostFuncError)
            }
            Err(_) => Err(ffi::WasmEdge_ErrCode_HostFuncError),
        }
    };
    // SAFETY: as the engine gave them.
    unsafe { host_call(frame, (params, params_len), (results, results_len), call) }
}
