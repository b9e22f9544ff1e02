//! Calls both ways between a guest and its host functions.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use smallvec::{SmallVec, smallvec};
use wasmedge_sys::{ImportModule, ffi};

use crate::error::Error;
use crate::library;
use crate::raw::{self, Failure, Owned, code};
use crate::signals::as_guest;
use crate::stack::Stack;

const NO_TYPE: ffi::WasmEdge_ValType = ffi::WasmEdge_ValType { Data: [0; 8] };
const NO_VALUE: ffi::WasmEdge_Value = ffi::WasmEdge_Value { Value: 0, Type: NO_TYPE };

/// The values of one call, without an allocation for the signatures that there commonly are.
type Values<T> = SmallVec<[T; 16]>;

/// A type of numbers. References do not cross this interface: a made-up one would be a made-up pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// 32-bit integer; its slot holds the bits zero-extended.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float; its slot holds the bits zero-extended.
    F32,
    /// 64-bit float; its slot holds the bits.
    F64,
}

impl Number {
    fn ty(self) -> ffi::WasmEdge_ValType {
        // SAFETY: these calls return a constant.
        unsafe {
            match self {
                Number::I32 => ffi::WasmEdge_ValTypeGenI32(),
                Number::I64 => ffi::WasmEdge_ValTypeGenI64(),
                Number::F32 => ffi::WasmEdge_ValTypeGenF32(),
                Number::F64 => ffi::WasmEdge_ValTypeGenF64(),
            }
        }
    }

    /// Its bytes do not tell: the same type may have several forms.
    fn of(ty: ffi::WasmEdge_ValType) -> Option<Self> {
        // SAFETY: these calls look at the value they are given.
        unsafe {
            match () {
                () if ffi::WasmEdge_ValTypeIsI32(ty) => Some(Number::I32),
                () if ffi::WasmEdge_ValTypeIsI64(ty) => Some(Number::I64),
                () if ffi::WasmEdge_ValTypeIsF32(ty) => Some(Number::F32),
                () if ffi::WasmEdge_ValTypeIsF64(ty) => Some(Number::F64),
                () => None,
            }
        }
    }

    fn is_short(self) -> bool {
        matches!(self, Number::I32 | Number::F32)
    }
}

/// Why a call from the host did not return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no such export, or it is not a function of numbers.
    #[error("there is no such function, or it takes or returns something other than numbers")]
    NoFunction,
    /// The function has more parameters or results than slots were given.
    #[error("there are too few slots for the call")]
    FewSlots,
    /// The guest trapped, or a host function stopped it.
    #[error(transparent)]
    Trap(#[from] Failure),
}

/// A guest, to be called and looked into: from outside through an [`Instance`](crate::Instance), or by one of its host
/// functions.
pub struct Guest<'a> {
    executor: *mut ffi::WasmEdge_ExecutorContext,
    module: *const ffi::WasmEdge_ModuleInstanceContext,
    /// Where compiled code runs; `None` if the caller is on such a stack, or for an interpreted guest.
    stack: Option<&'a mut Stack>,
}

/// Anything that gives access to a [`Guest`].
pub trait AsGuest {
    /// The guest, for one use.
    fn guest(&mut self) -> Guest<'_>;
}

impl AsGuest for Guest<'_> {
    fn guest(&mut self) -> Guest<'_> {
        Guest { executor: self.executor, module: self.module, stack: self.stack.as_deref_mut() }
    }
}

impl<G: AsGuest> AsGuest for &mut G {
    fn guest(&mut self) -> Guest<'_> {
        (**self).guest()
    }
}

impl<'a> Guest<'a> {
    /// # Safety
    /// Both pointers are valid as long as the value is used, and nobody else uses the guest meanwhile.
    pub(crate) unsafe fn new(
        executor: *mut ffi::WasmEdge_ExecutorContext,
        module: *const ffi::WasmEdge_ModuleInstanceContext,
        stack: Option<&'a mut Stack>,
    ) -> Self {
        Guest { executor, module, stack }
    }

    /// The exported memory `export`, as it is now; `None` if there is none, or it is shared between threads.
    pub fn memory(self, export: &str) -> Option<&'a mut [u8]> {
        // SAFETY: the module instance is valid. The memory stays where it is until the guest runs, which it does not
        // while it is borrowed here, and no other thread has it. The engine returns null for an empty range at the very start.
        unsafe {
            let memory = ffi::WasmEdge_ModuleInstanceFindMemory(self.module, raw::name(export));
            let memory = NonNull::new(memory)?.as_ptr();
            let limit = ffi::WasmEdge_MemoryTypeGetLimit(ffi::WasmEdge_MemoryInstanceGetMemoryType(memory));
            if ffi::WasmEdge_LimitIsShared(NonNull::new(limit.cast_mut())?.as_ptr()) {
                return None;
            }
            let len = ffi::WasmEdge_MemoryInstanceGetPageSize(memory) * 65_536;
            let start = NonNull::new(ffi::WasmEdge_MemoryInstanceGetPointer(memory, 0, len));
            Some(start.map_or(&mut [], |start| std::slice::from_raw_parts_mut(start.as_ptr(), len as usize)))
        }
    }

    /// Calls the exported function `export`. `slots` holds the parameters and receives the results; it is as long as
    /// the longer of the two.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call(self, export: &str, slots: &mut [u64]) -> Result<(), CallError> {
        // SAFETY: the module instance is valid; a function found in it, and the type of that, live as long.
        let (function, ty, params, results) = unsafe {
            let function = ffi::WasmEdge_ModuleInstanceFindFunction(self.module, raw::name(export));
            let function = NonNull::new(function).ok_or(CallError::NoFunction)?.as_ptr();
            let ty = ffi::WasmEdge_FunctionInstanceGetFunctionType(function);
            let params = ffi::WasmEdge_FunctionTypeGetParametersLength(ty);
            (function, ty, params, ffi::WasmEdge_FunctionTypeGetReturnsLength(ty))
        };
        if slots.len() < params.max(results) as usize {
            return Err(CallError::FewSlots);
        }
        let mut types: Values<_> = smallvec![NO_TYPE; params as usize];
        // SAFETY: `types` has room for `params` entries.
        unsafe { ffi::WasmEdge_FunctionTypeGetParameters(ty, types.as_mut_ptr(), params) };
        if types.iter().any(|ty| Number::of(*ty).is_none()) {
            return Err(CallError::NoFunction);
        }
        let arguments: Values<_> = types
            .iter()
            .zip(&*slots)
            .map(|(ty, slot)| ffi::WasmEdge_Value { Value: u128::from(*slot), Type: *ty })
            .collect();
        let mut returned: Values<_> = smallvec![NO_VALUE; results as usize];
        let (from, to, executor) = (arguments.as_ptr(), returned.as_mut_ptr(), self.executor);
        // SAFETY: the pointers are valid for their lengths; the executor and the function are valid.
        let invoke = || unsafe { ffi::WasmEdge_ExecutorInvoke(executor, function, from, params, to, results) };
        raw::check(match self.stack {
            Some(stack) => stack.run(|| as_guest(true, invoke)),
            None => as_guest(true, invoke),
        })?;
        for (slot, value) in slots.iter_mut().zip(&returned) {
            *slot = value.Value as u64;
        }
        Ok(())
    }

    /// Reads the exported global `export`; `None` if there is no such global of a number type.
    pub fn global(self, export: &str) -> Option<u64> {
        let (global, number) = self.find_global(export)?;
        // SAFETY: the global is valid; the call reads it.
        let value = unsafe { ffi::WasmEdge_GlobalInstanceGetValue(global) }.Value as u64;
        Some(if number.is_short() { u64::from(value as u32) } else { value })
    }

    /// Writes the exported global `export`; false if there is no such global of a number type, or it is immutable.
    pub fn set_global(self, export: &str, value: u64) -> bool {
        let Some((global, number)) = self.find_global(export) else { return false };
        let value = ffi::WasmEdge_Value { Value: u128::from(value), Type: number.ty() };
        // SAFETY: the global is valid; the engine refuses a write to an immutable one.
        unsafe { ffi::WasmEdge_GlobalInstanceSetValue(global, value) }.Code == 0
    }

    fn find_global(&self, export: &str) -> Option<(*mut ffi::WasmEdge_GlobalInstanceContext, Number)> {
        // SAFETY: the module instance is valid; a global found in it, and the type of that, live as long.
        unsafe {
            let global = ffi::WasmEdge_ModuleInstanceFindGlobal(self.module, raw::name(export));
            let ty = NonNull::new(ffi::WasmEdge_GlobalInstanceGetGlobalType(global).cast_mut())?;
            Some((global, Number::of(ffi::WasmEdge_GlobalTypeGetValType(ty.as_ptr()))?))
        }
    }
}

/// The code behind host functions, which are known by their index.
pub trait Host: Send + Sync + 'static {
    /// Runs host function `index` for `guest`: `slots` holds the parameters and receives the results.
    ///
    /// A panic does not cross the engine's frames: it ends the guest with [`code::HOST_FUNCTION_FAILED`].
    ///
    /// # Errors
    /// The code that the guest ends with.
    fn call(&self, index: usize, guest: &mut Guest<'_>, slots: &mut [u64]) -> Result<(), Failure>;
}

/// A host function's name, parameters and results.
pub type Signature<'a> = (&'a str, Vec<Number>, Vec<Number>);

/// Makes the module instance `module` whose functions, in order, are those of `host`.
///
/// # Errors
/// [`Error::NoLibrary`] and [`Error::OtherLibrary`]; [`Error::Allocation`].
pub fn imports<'a, H: Host>(
    module: &str,
    functions: impl IntoIterator<Item = Signature<'a>>,
    host: H,
) -> Result<ImportModule<H>, Error> {
    library::open()?;
    let object = ImportModule::create(module, Box::new(host)).map_err(|_| Error::Allocation)?;
    let data: *const H = object.get_host_data();
    for (index, (name, params, results)) in functions.into_iter().enumerate() {
        let types = |numbers: &[Number]| numbers.iter().map(|number| number.ty()).collect::<Vec<_>>();
        let (params, results) = (types(&params), types(&results));
        // The index travels in the place of the function's address.
        let (key, data) = (ptr::without_provenance_mut(index), data.cast_mut().cast());
        // SAFETY: the pointers are valid for their lengths. The object drops the host after the functions, only shared
        // references to it are made, and `enter` takes the two for what they are.
        unsafe {
            let (from, to) = (params.as_ptr(), results.as_ptr());
            let ty = ffi::WasmEdge_FunctionTypeCreate(from, params.len() as u32, to, results.len() as u32);
            let ty = Owned::new(ty, ffi::WasmEdge_FunctionTypeDelete)?;
            let function = ffi::WasmEdge_FunctionInstanceCreateBinding(ty.as_ptr(), Some(enter::<H>), key, data, 0);
            let function = NonNull::new(function).ok_or(Error::Allocation)?;
            ffi::WasmEdge_ModuleInstanceAddFunction(object.as_raw(), raw::name(name), function.as_ptr());
        }
    }
    Ok(object)
}

/// The trampoline to every host function.
unsafe extern "C" fn enter<H: Host>(
    key: *mut c_void,
    data: *mut c_void,
    frame: *const ffi::WasmEdge_CallingFrameContext,
    params: *const ffi::WasmEdge_Value,
    params_len: u32,
    results: *mut ffi::WasmEdge_Value,
    results_len: u32,
) -> ffi::WasmEdge_Result {
    // SAFETY: as `imports` passed it on.
    let host = unsafe { &*data.cast::<H>() };
    // SAFETY: the frame, and what it leads to, are valid during the call, for which the guest waits.
    let mut guest = unsafe {
        let executor = ffi::WasmEdge_CallingFrameGetExecutor(frame);
        Guest::new(executor, ffi::WasmEdge_CallingFrameGetModuleInstance(frame), None)
    };
    let mut slots: Values<u64> = smallvec![0; params_len.max(results_len) as usize];
    for (index, slot) in slots.iter_mut().take(params_len as usize).enumerate() {
        // SAFETY: the engine passes as many values as it says.
        *slot = unsafe { (*params.add(index)).Value } as u64;
    }
    let call = AssertUnwindSafe(|| host.call(key.addr(), &mut guest, &mut slots));
    // The panic hook has reported a panic.
    let called = as_guest(false, || catch_unwind(call)).unwrap_or(Err(Failure(code::HOST_FUNCTION_FAILED)));
    for (index, slot) in slots.iter().take(results_len as usize).enumerate() {
        // SAFETY: as above. The engine knows the type.
        unsafe { (*results.add(index)).Value = u128::from(*slot) };
    }
    ffi::WasmEdge_Result { Code: called.err().map_or(0, |failure| failure.0) }
}
