//! The engine's C interface: its objects, its result codes and its log.

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::Once;

use wasmedge_sys::ffi;
use wharf_core::{Error, Kind, Result, Trap, TrapCode};

/// An object of the engine that is freed with this value, by the function it was made with.
pub(crate) struct Owned<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    /// Takes over what a creating function of the engine returned.
    ///
    /// # Safety
    /// `created` is null or belongs to the caller, and `delete` is the function that frees it.
    pub(crate) unsafe fn new(created: *mut T, delete: unsafe extern "C" fn(*mut T)) -> Result<Self> {
        let created = NonNull::new(created);
        created
            .map(|created| Owned(created, delete))
            .ok_or_else(|| Error::new(Kind::Engine, "WasmEdge could not allocate an object"))
    }

    pub(crate) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the object is owned and goes out of scope.
        unsafe { self.1(self.0.as_ptr()) }
    }
}

// SAFETY: no object of the engine is bound to the thread that made it.
unsafe impl<T> Send for Owned<T> {}

/// A result as the engine codes it: its category in the upper 8 bits, 0 for success.
pub(crate) type Code = u32;

/// A host function stopped the guest: in the category that the engine leaves to its users.
pub(crate) const HALT: Code = (ffi::WasmEdge_ErrCategory_UserLevelError << 24) | 1;

/// Turns a result into `Err` of its code.
pub(crate) fn check(result: ffi::WasmEdge_Result) -> Result<(), Code> {
    if result.Code == 0 { Ok(()) } else { Err(result.Code) }
}

/// The trap that a code stands for.
pub(crate) fn trap(code: Code) -> Trap {
    let kind = match code {
        HALT => return Trap::new(TrapCode::Host, wharf_core::Halt.to_string()),
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
    // SAFETY: for any code this returns null or a static string that ends with a zero.
    let text = unsafe {
        let text = ffi::WasmEdge_ResultGetMessage(ffi::WasmEdge_Result { Code: code });
        NonNull::new(text.cast_mut()).map(|text| CStr::from_ptr(text.as_ptr()))
    };
    Trap::new(kind, text.map_or_else(|| format!("code {code:#x}"), |text| text.to_string_lossy().into_owned()))
}

/// A name, for the engine to read during one call.
pub(crate) fn name(name: &str) -> ffi::WasmEdge_String {
    // SAFETY: wraps the pointer and the length without reading; a WebAssembly name is shorter than 4 GiB.
    unsafe { ffi::WasmEdge_StringWrap(name.as_ptr().cast(), name.len() as u32) }
}

thread_local! {
    static FELL_BACK: Cell<bool> = const { Cell::new(false) };
}

/// Sends what the engine logs to `tracing`. The engine has one logger for the whole process.
///
/// It logs every trap as an error, which is a guest's business and not the host's: so all of it is at level debug.
pub(crate) fn capture_log() {
    static ONCE: Once = Once::new();
    // SAFETY: the callback is a function that lives for ever and does not unwind.
    ONCE.call_once(|| unsafe {
        ffi::WasmEdge_LogSetCallback(Some(log));
        ffi::WasmEdge_LogSetLevel(ffi::WasmEdge_LogLevel_Warn);
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
