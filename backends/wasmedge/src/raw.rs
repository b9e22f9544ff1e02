//! Owners for the engine's objects, and the view of a running guest that the adapter and [`embed`](crate::embed) share.
//!
//! The safe wrappers of `wasmedge-sys` are not used for these: its executor blocks and unblocks a signal around every
//! host call, and its calls allocate several vectors each.

use std::cell::Cell;
use std::ffi::CStr;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Once;

use wasmedge_sys::ffi;
use wharf_core::{Error, Kind, Result, Trap, TrapCode};

/// An object of the engine's C interface.
pub(crate) trait Context {
    /// Frees the object.
    ///
    /// # Safety
    /// `this` came from the engine, is owned by the caller and not used afterwards.
    unsafe fn delete(this: *mut Self);
}

/// An object of the engine that is freed with this value.
pub(crate) struct Owned<T: Context>(NonNull<T>);

impl<T: Context> Owned<T> {
    /// Takes over what a creating function of the engine returned.
    pub(crate) fn new(created: *mut T) -> Result<Self> {
        NonNull::new(created)
            .map(Owned)
            .ok_or_else(|| Error::new(Kind::Engine, "WasmEdge could not allocate an object"))
    }

    pub(crate) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T: Context> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the object is owned and goes out of scope.
        unsafe { T::delete(self.0.as_ptr()) }
    }
}

// SAFETY: no object of the engine is bound to the thread that made it.
unsafe impl<T: Context> Send for Owned<T> {}
// SAFETY: these two are only read once they are set up: a configuration by the creation of other objects, a module by
// instantiation and export queries. Both take them as const and the engine documents the calls as thread-safe.
unsafe impl Sync for Owned<ffi::WasmEdge_ConfigureContext> {}
// SAFETY: as above.
unsafe impl Sync for Owned<ffi::WasmEdge_ASTModuleContext> {}

macro_rules! contexts {
    ($($context:ident: $delete:ident),* $(,)?) => {
        $(impl Context for ffi::$context {
            unsafe fn delete(this: *mut Self) {
                // SAFETY: as the trait demands.
                unsafe { ffi::$delete(this) }
            }
        })*
    };
}

contexts! {
    WasmEdge_ConfigureContext: WasmEdge_ConfigureDelete,
    WasmEdge_CompilerContext: WasmEdge_CompilerDelete,
    WasmEdge_LoaderContext: WasmEdge_LoaderDelete,
    WasmEdge_ValidatorContext: WasmEdge_ValidatorDelete,
    WasmEdge_ASTModuleContext: WasmEdge_ASTModuleDelete,
    WasmEdge_ExecutorContext: WasmEdge_ExecutorDelete,
    WasmEdge_StoreContext: WasmEdge_StoreDelete,
    WasmEdge_ModuleInstanceContext: WasmEdge_ModuleInstanceDelete,
    WasmEdge_FunctionTypeContext: WasmEdge_FunctionTypeDelete,
}

/// A result as the engine codes it: its category in the upper 8 bits, 0 for success.
pub(crate) type Code = u32;

/// Our own results live in the category that the engine leaves to its users.
const USER: Code = ffi::WasmEdge_ErrCategory_UserLevelError << 24;
/// A host function stopped the guest.
pub(crate) const HALT: Code = USER | 1;
/// The instance was interrupted.
pub(crate) const INTERRUPTED: Code = USER | 2;
/// The guest's stack is used up.
pub(crate) const STACK_OVERFLOW: Code = USER | 3;

/// Turns a result into `Err` of its code.
pub(crate) fn check(result: ffi::WasmEdge_Result) -> Result<(), Code> {
    if result.Code == 0 { Ok(()) } else { Err(result.Code) }
}

/// The engine's words for a code.
pub(crate) fn message(code: Code) -> String {
    match code {
        HALT => "a host function stopped the guest".to_owned(),
        INTERRUPTED => "interrupted".to_owned(),
        STACK_OVERFLOW => "call stack exhausted".to_owned(),
        _ => {
            // SAFETY: returns null or a static string for any code.
            let text = unsafe { ffi::WasmEdge_ResultGetMessage(ffi::WasmEdge_Result { Code: code }) };
            // SAFETY: as above, and the string ends with a zero.
            let text = NonNull::new(text.cast_mut()).map(|text| unsafe { CStr::from_ptr(text.as_ptr()) });
            text.map_or_else(|| format!("code {code:#x}"), |text| text.to_string_lossy().into_owned())
        }
    }
}

/// The trap that a code stands for.
pub(crate) fn trap(code: Code) -> Trap {
    let kind = match code {
        HALT => TrapCode::Host,
        INTERRUPTED | ffi::WasmEdge_ErrCode_Interrupted => TrapCode::Interrupted,
        STACK_OVERFLOW => TrapCode::StackOverflow,
        ffi::WasmEdge_ErrCode_Unreachable => TrapCode::Unreachable,
        ffi::WasmEdge_ErrCode_MemoryOutOfBounds | ffi::WasmEdge_ErrCode_DataSegDoesNotFit => {
            TrapCode::MemoryOutOfBounds
        }
        ffi::WasmEdge_ErrCode_TableOutOfBounds
        | ffi::WasmEdge_ErrCode_UndefinedElement
        | ffi::WasmEdge_ErrCode_ElemSegDoesNotFit => TrapCode::TableOutOfBounds,
        ffi::WasmEdge_ErrCode_UninitializedElement | ffi::WasmEdge_ErrCode_AccessNullFunc => TrapCode::NullElement,
        ffi::WasmEdge_ErrCode_IndirectCallTypeMismatch => TrapCode::BadSignature,
        ffi::WasmEdge_ErrCode_DivideByZero => TrapCode::DivisionByZero,
        ffi::WasmEdge_ErrCode_IntegerOverflow => TrapCode::IntegerOverflow,
        ffi::WasmEdge_ErrCode_InvalidConvToInt => TrapCode::BadConversion,
        _ => TrapCode::Other,
    };
    Trap::new(kind, message(code))
}

/// A string for the engine to read during one call.
pub(crate) struct Name<'a>(ffi::WasmEdge_String, std::marker::PhantomData<&'a str>);

impl<'a> Name<'a> {
    pub(crate) fn new(name: &'a str) -> Self {
        // SAFETY: wraps the pointer and the length without reading; a WebAssembly name is shorter than 4 GiB.
        let wrapped = unsafe { ffi::WasmEdge_StringWrap(name.as_ptr().cast(), name.len() as u32) };
        Name(wrapped, std::marker::PhantomData)
    }
}

impl Deref for Name<'_> {
    type Target = ffi::WasmEdge_String;

    fn deref(&self) -> &ffi::WasmEdge_String {
        &self.0
    }
}

/// How many values a call may have before it takes memory from the heap.
pub(crate) const INLINE: usize = 16;

const NO_TYPE: ffi::WasmEdge_ValType = ffi::WasmEdge_ValType { Data: [0; 8] };
const NO_VALUE: ffi::WasmEdge_Value = ffi::WasmEdge_Value { Value: 0, Type: NO_TYPE };

/// Lends `f` `len` copies of `fill`, from the stack if they are few.
pub(crate) fn with_scratch<T: Copy, R>(fill: T, len: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    let mut few = [fill; INLINE];
    match few.get_mut(..len) {
        Some(scratch) => f(scratch),
        None => f(&mut vec![fill; len]),
    }
}

/// A module instance and the executor that runs it. Whoever holds one keeps both alive.
#[derive(Clone, Copy)]
pub(crate) struct Guest {
    executor: *mut ffi::WasmEdge_ExecutorContext,
    module: *const ffi::WasmEdge_ModuleInstanceContext,
    memory: *mut ffi::WasmEdge_MemoryInstanceContext,
}

impl Guest {
    /// # Safety
    /// Both pointers are valid as long as the value is used.
    pub(crate) unsafe fn new(
        executor: *mut ffi::WasmEdge_ExecutorContext,
        module: *const ffi::WasmEdge_ModuleInstanceContext,
    ) -> Self {
        // SAFETY: the module instance is valid; the memory lives as long as it does.
        let memory = unsafe { ffi::WasmEdge_ModuleInstanceFindMemory(module, *Name::new("memory")) };
        Guest { executor, module, memory }
    }

    /// The exported memory, as it is now.
    ///
    /// # Safety
    /// The guest does not run and no other slice of its memory is held while this one is.
    pub(crate) unsafe fn memory<'a>(&self) -> Option<&'a mut [u8]> {
        if self.memory.is_null() {
            return None;
        }
        // SAFETY: the memory instance is valid. The engine returns null for an empty range at the very start.
        unsafe {
            let len = ffi::WasmEdge_MemoryInstanceGetPageSize(self.memory) * 65_536;
            let start = ffi::WasmEdge_MemoryInstanceGetPointer(self.memory, 0, len);
            Some(match NonNull::new(start) {
                Some(start) => std::slice::from_raw_parts_mut(start.as_ptr(), len as usize),
                None => &mut [],
            })
        }
    }

    /// Calls the exported function `export`; `slots` holds the parameters and receives the results.
    pub(crate) fn call(&self, export: &str, slots: &mut [u64]) -> Result<(), Code> {
        // SAFETY: the module instance is valid; a function found in it, and the type of that, live as long.
        let (function, ty) = unsafe {
            let function = ffi::WasmEdge_ModuleInstanceFindFunction(self.module, *Name::new(export));
            if function.is_null() {
                return Err(ffi::WasmEdge_ErrCode_FuncNotFound);
            }
            (function, ffi::WasmEdge_FunctionInstanceGetFunctionType(function))
        };
        // SAFETY: the type is valid.
        let (params, results) = unsafe {
            (ffi::WasmEdge_FunctionTypeGetParametersLength(ty), ffi::WasmEdge_FunctionTypeGetReturnsLength(ty))
        };
        if slots.len() < params.max(results) as usize {
            return Err(ffi::WasmEdge_ErrCode_FuncSigMismatch);
        }
        with_scratch(NO_TYPE, params as usize, |types| {
            // SAFETY: `types` has room for `params` entries.
            unsafe { ffi::WasmEdge_FunctionTypeGetParameters(ty, types.as_mut_ptr(), params) };
            with_scratch(NO_VALUE, (params + results) as usize, |values| {
                let (arguments, returns) = values.split_at_mut(params as usize);
                for ((value, ty), slot) in arguments.iter_mut().zip(&*types).zip(&*slots) {
                    *value = ffi::WasmEdge_Value { Value: u128::from(*slot), Type: *ty };
                }
                // SAFETY: the pointers are valid for their lengths; the executor and the function are valid.
                check(unsafe {
                    ffi::WasmEdge_ExecutorInvoke(
                        self.executor,
                        function,
                        arguments.as_ptr(),
                        params,
                        returns.as_mut_ptr(),
                        results,
                    )
                })?;
                for (slot, value) in slots.iter_mut().zip(&*returns) {
                    *slot = value.Value as u64;
                }
                Ok(())
            })
        })
    }

    /// Finds an exported global.
    pub(crate) fn global(&self, export: &str) -> Option<Global> {
        // SAFETY: the module instance is valid; the global lives as long as it does.
        let global = unsafe { ffi::WasmEdge_ModuleInstanceFindGlobal(self.module, *Name::new(export)) };
        NonNull::new(global).map(Global)
    }
}

/// An exported global. Whoever holds one keeps its module instance alive.
#[derive(Clone, Copy)]
pub(crate) struct Global(NonNull<ffi::WasmEdge_GlobalInstanceContext>);

impl Global {
    /// Its value, if it is a number.
    pub(crate) fn value(self) -> Option<u64> {
        // SAFETY: the global is valid; the calls read it.
        unsafe {
            let ty = ffi::WasmEdge_GlobalTypeGetValType(ffi::WasmEdge_GlobalInstanceGetGlobalType(self.0.as_ptr()));
            let value = ffi::WasmEdge_GlobalInstanceGetValue(self.0.as_ptr()).Value as u64;
            if ffi::WasmEdge_ValTypeIsI32(ty) || ffi::WasmEdge_ValTypeIsF32(ty) {
                Some(u64::from(value as u32))
            } else if ffi::WasmEdge_ValTypeIsI64(ty) || ffi::WasmEdge_ValTypeIsF64(ty) {
                Some(value)
            } else {
                None
            }
        }
    }

    /// Sets it; false if it is immutable or not a number.
    pub(crate) fn set(self, value: u64) -> bool {
        if self.value().is_none() {
            return false;
        }
        // SAFETY: the global is valid; the engine refuses a write to an immutable one.
        unsafe {
            let ty = ffi::WasmEdge_GlobalTypeGetValType(ffi::WasmEdge_GlobalInstanceGetGlobalType(self.0.as_ptr()));
            let value = ffi::WasmEdge_Value { Value: u128::from(value), Type: ty };
            ffi::WasmEdge_GlobalInstanceSetValue(self.0.as_ptr(), value).Code == 0
        }
    }
}

/// Copies parameters into `slots`.
///
/// # Safety
/// `params` points to `len` values.
pub(crate) unsafe fn read_params(slots: &mut [u64], params: *const ffi::WasmEdge_Value, len: u32) {
    for (index, slot) in slots.iter_mut().take(len as usize).enumerate() {
        // SAFETY: within the array.
        *slot = unsafe { (*params.add(index)).Value } as u64;
    }
}

/// Copies results out of `slots`. The engine knows their types.
///
/// # Safety
/// `returns` points to `len` values.
pub(crate) unsafe fn write_results(slots: &[u64], returns: *mut ffi::WasmEdge_Value, len: u32) {
    for (index, slot) in slots.iter().take(len as usize).enumerate() {
        // SAFETY: within the array.
        unsafe { (*returns.add(index)).Value = u128::from(*slot) };
    }
}

/// Makes a function type.
pub(crate) fn function_type(ty: &wharf_core::FuncType) -> Result<Owned<ffi::WasmEdge_FunctionTypeContext>> {
    let (params, results) = (val_types(&ty.params), val_types(&ty.results));
    // SAFETY: the pointers are valid for their lengths; the engine copies the lists.
    Owned::new(unsafe {
        ffi::WasmEdge_FunctionTypeCreate(params.as_ptr(), params.len() as u32, results.as_ptr(), results.len() as u32)
    })
}

fn val_types(types: &[wharf_core::ValType]) -> Vec<ffi::WasmEdge_ValType> {
    types
        .iter()
        // SAFETY: these calls make a value and touch nothing.
        .map(|ty| unsafe {
            match ty {
                wharf_core::ValType::I32 => ffi::WasmEdge_ValTypeGenI32(),
                wharf_core::ValType::I64 => ffi::WasmEdge_ValTypeGenI64(),
                wharf_core::ValType::F32 => ffi::WasmEdge_ValTypeGenF32(),
                wharf_core::ValType::F64 => ffi::WasmEdge_ValTypeGenF64(),
            }
        })
        .collect()
}

thread_local! {
    static FELL_BACK: Cell<bool> = const { Cell::new(false) };
}

/// Sends what the engine logs to `tracing`. The engine has one logger for the whole process.
///
/// It logs every trap as an error, which is a guest's business and not the host's: so all of it is at level debug.
pub(crate) fn capture_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the callback is a function that lives for ever and does not unwind.
        unsafe {
            ffi::WasmEdge_LogSetCallback(Some(log));
            ffi::WasmEdge_LogSetLevel(ffi::WasmEdge_LogLevel_Warn);
        }
    });
}

unsafe extern "C" fn log(message: *const ffi::WasmEdge_LogMessage) {
    // SAFETY: the engine passes a message that is valid during the call.
    let text = unsafe {
        let text = (*message).Message;
        std::slice::from_raw_parts(text.Buf.cast::<u8>(), text.Length as usize)
    };
    let text = String::from_utf8_lossy(text);
    if text.contains("falling back to interpreter") {
        FELL_BACK.set(true);
    }
    // A subscriber that panics must not unwind into the engine.
    let _ignored = std::panic::catch_unwind(|| tracing::debug!(target: "wasmedge", "{}", text.trim()));
}

/// Runs `load`, and says whether the engine logged that it does without the compiled code.
pub(crate) fn noting_fallback<R>(load: impl FnOnce() -> R) -> (R, bool) {
    FELL_BACK.set(false);
    let result = load();
    (result, FELL_BACK.take())
}
