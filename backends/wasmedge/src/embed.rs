//! wharf's imports as an import object for an embedder's own WasmEdge.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use wasmedge_sdk::ImportObject;
use wasmedge_sys::ffi;
use wharf_core::abi::{Function, experimental};
use wharf_core::{Caller, Error, Kind, Result, Stop, Trap, ValType};

use crate::raw::{self, Guest};

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
        let ty = wasmedge_sdk::FuncType::new(types(function.params), types(function.results));
        let data = ptr::from_ref(object.get_host_data()).cast_mut().cast();
        let this = ptr::from_ref(function).cast_mut().cast();
        // SAFETY: `this` lives for ever. `data` is boxed in the object, which drops it after the functions, and only
        // shared references to it are made.
        let host = unsafe { wasmedge_sys::Function::create_with_custom_wrapper(&ty, call_host::<C>, this, data, 0) };
        object.add_func(function.name, host.map_err(failed)?);
    }
    Ok(object)
}

fn types(types: &[ValType]) -> Vec<wasmedge_sdk::ValType> {
    let engine_type = |ty: &ValType| match ty {
        ValType::I32 => wasmedge_sdk::ValType::I32,
        ValType::I64 => wasmedge_sdk::ValType::I64,
        ValType::F32 => wasmedge_sdk::ValType::F32,
        ValType::F64 => wasmedge_sdk::ValType::F64,
    };
    types.iter().map(engine_type).collect()
}

/// The trampoline to every function.
unsafe extern "C" fn call_host<C: 'static>(
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
    // SAFETY: the frame, and what it leads to, are valid during the call.
    let guest = unsafe {
        Guest::new(ffi::WasmEdge_CallingFrameGetExecutor(frame), ffi::WasmEdge_CallingFrameGetModuleInstance(frame))
    };
    let call = || {
        raw::with_scratch(0u64, params_len.max(results_len) as usize, |slots| {
            // SAFETY: the engine passes as many values as it says.
            unsafe { raw::read_params(slots, params, params_len) };
            (function.call)(state, &mut View(guest), slots)?;
            // SAFETY: as above.
            unsafe { raw::write_results(slots, results, results_len) };
            Ok(())
        })
    };
    // A panic must not unwind into the engine. The panic hook has reported it.
    let code = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => 0,
        Ok(Err(Stop::Exit(status))) => {
            tracing::debug!("the guest exited with status {status} in `{}`", function.name);
            ffi::WasmEdge_ErrCode_Terminated
        }
        Ok(Err(Stop::Error(error))) => {
            tracing::error!(error = &error as &dyn std::error::Error, "`{}` ended the guest", function.name);
            ffi::WasmEdge_ErrCode_HostFuncError
        }
        Err(_) => ffi::WasmEdge_ErrCode_HostFuncError,
    };
    ffi::WasmEdge_Result { Code: code }
}

/// The embedder's guest, seen from a host function.
struct View(Guest);

impl Caller for View {
    fn memory(&mut self) -> Option<&mut [u8]> {
        // SAFETY: the guest waits for this host function, and the slice ends with the borrow of the view.
        unsafe { self.0.memory() }
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        self.0.call(export, slots).map_err(raw::trap)
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        self.0.global(export)?.value()
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        self.0.global(export).is_some_and(|global| global.set(value))
    }
}
