//! Calls both ways between a guest and its host functions, in wharf's own instances and in an embedder's.

use std::ffi::c_void;
use std::ptr::NonNull;

use wasmedge_sys::{Function, ffi};
use wharf_core::{Caller, Error, FuncType, Kind, Result, Trap, ValType, with_buffer};

use crate::raw::{self, Code};
use crate::signals::as_guest;

const NO_TYPE: ffi::WasmEdge_ValType = ffi::WasmEdge_ValType { Data: [0; 8] };
const NO_VALUE: ffi::WasmEdge_Value = ffi::WasmEdge_Value { Value: 0, Type: NO_TYPE };

/// A module instance and the executor that runs it. Whoever holds one keeps both alive.
pub(crate) struct Guest {
    executor: *mut ffi::WasmEdge_ExecutorContext,
    module: *const ffi::WasmEdge_ModuleInstanceContext,
}

impl Guest {
    /// # Safety
    /// Both pointers are valid as long as the value is used, and nobody else uses the guest meanwhile.
    pub(crate) unsafe fn new(
        executor: *mut ffi::WasmEdge_ExecutorContext,
        module: *const ffi::WasmEdge_ModuleInstanceContext,
    ) -> Self {
        Guest { executor, module }
    }

    /// An exported global of a number type, and that type.
    fn find_global(&self, export: &str) -> Option<(*mut ffi::WasmEdge_GlobalInstanceContext, ffi::WasmEdge_ValType)> {
        // SAFETY: the module instance is valid; a global found in it, and the type of that, live as long.
        unsafe {
            let global = ffi::WasmEdge_ModuleInstanceFindGlobal(self.module, raw::name(export));
            let ty = NonNull::new(ffi::WasmEdge_GlobalInstanceGetGlobalType(global).cast_mut())?;
            let ty = ffi::WasmEdge_GlobalTypeGetValType(ty.as_ptr());
            let is_number = is_short(ty) || ffi::WasmEdge_ValTypeIsI64(ty) || ffi::WasmEdge_ValTypeIsF64(ty);
            is_number.then_some((global, ty))
        }
    }
}

/// Whether values of this type have 32 bits.
fn is_short(ty: ffi::WasmEdge_ValType) -> bool {
    // SAFETY: these calls look at the value they are given.
    unsafe { ffi::WasmEdge_ValTypeIsI32(ty) || ffi::WasmEdge_ValTypeIsF32(ty) }
}

impl Caller for Guest {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.memory_named("memory")
    }

    fn memory_named(&mut self, export: &str) -> Option<&mut [u8]> {
        // SAFETY: the module instance is valid. The memory stays where it is until the guest runs, which it does not
        // while it is borrowed here. The engine returns null for an empty range at the very start.
        unsafe {
            let memory = ffi::WasmEdge_ModuleInstanceFindMemory(self.module, raw::name(export));
            let memory = NonNull::new(memory)?.as_ptr();
            let len = ffi::WasmEdge_MemoryInstanceGetPageSize(memory) * 65_536;
            let start = NonNull::new(ffi::WasmEdge_MemoryInstanceGetPointer(memory, 0, len));
            Some(start.map_or(&mut [], |start| std::slice::from_raw_parts_mut(start.as_ptr(), len as usize)))
        }
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        // SAFETY: the module instance is valid; a function found in it, and the type of that, live as long.
        let (function, ty, params, results) = unsafe {
            let function = ffi::WasmEdge_ModuleInstanceFindFunction(self.module, raw::name(export));
            let Some(function) = NonNull::new(function) else { return Err(Trap::no_function(export)) };
            let ty = ffi::WasmEdge_FunctionInstanceGetFunctionType(function.as_ptr());
            let params = ffi::WasmEdge_FunctionTypeGetParametersLength(ty);
            (function.as_ptr(), ty, params, ffi::WasmEdge_FunctionTypeGetReturnsLength(ty))
        };
        if slots.len() < params.max(results) as usize {
            return Err(Trap::few_slots(export, slots.len()));
        }
        with_buffer(params as usize, NO_TYPE, |types| {
            // SAFETY: `types` has room for `params` entries.
            unsafe { ffi::WasmEdge_FunctionTypeGetParameters(ty, types.as_mut_ptr(), params) };
            with_buffer((params + results) as usize, NO_VALUE, |values| {
                let (arguments, returns) = values.split_at_mut(params as usize);
                for ((value, ty), slot) in arguments.iter_mut().zip(types).zip(&*slots) {
                    *value = ffi::WasmEdge_Value { Value: u128::from(*slot), Type: *ty };
                }
                let (arguments, returned) = (arguments.as_ptr(), returns.as_mut_ptr());
                // SAFETY: the pointers are valid for their lengths; the executor and the function are valid.
                let invoke = || unsafe {
                    ffi::WasmEdge_ExecutorInvoke(self.executor, function, arguments, params, returned, results)
                };
                raw::check(as_guest(true, invoke)).map_err(raw::trap)?;
                for (slot, value) in slots.iter_mut().zip(&*returns) {
                    *slot = value.Value as u64;
                }
                Ok(())
            })
        })
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        let (global, ty) = self.find_global(export)?;
        // SAFETY: the global is valid; the call reads it.
        let value = unsafe { ffi::WasmEdge_GlobalInstanceGetValue(global) }.Value as u64;
        Some(if is_short(ty) { u64::from(value as u32) } else { value })
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        let Some((global, ty)) = self.find_global(export) else { return false };
        let value = ffi::WasmEdge_Value { Value: u128::from(value), Type: ty };
        // SAFETY: the global is valid; the engine refuses a write to an immutable one.
        unsafe { ffi::WasmEdge_GlobalInstanceSetValue(global, value) }.Code == 0
    }
}

/// A host function, over what it works on.
pub(crate) trait Host<D> {
    /// Runs it for `guest`: `slots` holds the parameters and receives the results. Does not panic.
    fn call(&self, data: &D, guest: &mut Guest, slots: &mut [u64]) -> Result<(), Code>;
}

/// Makes a function of `host` over `data`.
///
/// # Safety
/// Both live longer than the function, and nobody changes them meanwhile.
pub(crate) unsafe fn host_function<H: Host<D>, D>(ty: &FuncType, host: *const H, data: *const D) -> Result<Function> {
    let types = |types: &[ValType]| types.iter().map(engine_type).collect::<Vec<_>>();
    let ty = wasmedge_sys::FuncType::new(types(&ty.params), types(&ty.results));
    let (host, data) = (host.cast_mut().cast(), data.cast_mut().cast());
    // SAFETY: `enter` makes of the two pointers what they are here.
    unsafe { Function::create_with_custom_wrapper(&ty, enter::<H, D>, host, data, 0) }
        .map_err(|error| Error::new(Kind::Engine, "WasmEdge could not make a host function").with_source(error))
}

fn engine_type(ty: &ValType) -> wasmedge_sdk::ValType {
    match ty {
        ValType::I32 => wasmedge_sdk::ValType::I32,
        ValType::I64 => wasmedge_sdk::ValType::I64,
        ValType::F32 => wasmedge_sdk::ValType::F32,
        ValType::F64 => wasmedge_sdk::ValType::F64,
    }
}

/// The trampoline to every host function.
unsafe extern "C" fn enter<H: Host<D>, D>(
    host: *mut c_void,
    data: *mut c_void,
    frame: *const ffi::WasmEdge_CallingFrameContext,
    params: *const ffi::WasmEdge_Value,
    params_len: u32,
    results: *mut ffi::WasmEdge_Value,
    results_len: u32,
) -> ffi::WasmEdge_Result {
    // SAFETY: as `host_function` passed them on.
    let (host, data) = unsafe { (&*host.cast::<H>(), &*data.cast::<D>()) };
    // SAFETY: the frame, and what it leads to, are valid during the call, for which the guest waits.
    let mut guest = unsafe {
        Guest::new(ffi::WasmEdge_CallingFrameGetExecutor(frame), ffi::WasmEdge_CallingFrameGetModuleInstance(frame))
    };
    let called = with_buffer(params_len.max(results_len) as usize, 0, |slots| {
        for (index, slot) in slots.iter_mut().take(params_len as usize).enumerate() {
            // SAFETY: the engine passes as many values as it says.
            *slot = unsafe { (*params.add(index)).Value } as u64;
        }
        as_guest(false, || host.call(data, &mut guest, slots))?;
        for (index, slot) in slots.iter().take(results_len as usize).enumerate() {
            // SAFETY: as above. The engine knows the type.
            unsafe { (*results.add(index)).Value = u128::from(*slot) };
        }
        Ok(())
    });
    ffi::WasmEdge_Result { Code: called.err().unwrap_or(0) }
}
