//! The C interface: its objects, its result codes, its strings and its log.

use std::cell::Cell;
use std::ffi::CStr;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Once;

use wasmedge_sys::ffi;

use crate::error::Error;
use crate::library;

/// An object of the engine that is freed with this value, by the function that belongs to it.
pub(crate) struct Owned<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    /// Takes over what a creating function of the engine returned.
    ///
    /// # Safety
    /// `created` is null or belongs to the caller, and `delete` is the function that frees it.
    pub(crate) unsafe fn new(created: *mut T, delete: unsafe extern "C" fn(*mut T)) -> Result<Self, Error> {
        NonNull::new(created).map(|created| Owned(created, delete)).ok_or(Error::Allocation)
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

/// What the engine answers when something fails: a code, whose category is in the upper 8 bits.
///
/// `Display` is the engine's own text, if the engine is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure(
    /// The code, one of [`code`] or another of the engine's.
    pub u32,
);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = library::open().ok().and_then(|()| {
            // SAFETY: for any code this returns null or a static string that ends with a zero.
            unsafe {
                let text = ffi::WasmEdge_ResultGetMessage(ffi::WasmEdge_Result { Code: self.0 });
                NonNull::new(text.cast_mut()).map(|text| CStr::from_ptr(text.as_ptr()))
            }
        });
        match text {
            Some(text) => f.write_str(&text.to_string_lossy()),
            None => write!(f, "code {:#x}", self.0),
        }
    }
}

impl std::error::Error for Failure {}

/// Result codes: the engine's, which its manual explains, and one of this crate.
pub mod code {
    use wasmedge_sys::ffi;
    pub use wasmedge_sys::ffi::{
        WasmEdge_ErrCode_AccessNullFunc as NULL_FUNCTION, WasmEdge_ErrCode_DataSegDoesNotFit as DATA_DOES_NOT_FIT,
        WasmEdge_ErrCode_DivideByZero as DIVIDE_BY_ZERO, WasmEdge_ErrCode_ElemSegDoesNotFit as ELEMENTS_DO_NOT_FIT,
        WasmEdge_ErrCode_HostFuncError as HOST_FUNCTION_FAILED,
        WasmEdge_ErrCode_IndirectCallTypeMismatch as BAD_SIGNATURE,
        WasmEdge_ErrCode_IntegerOverflow as INTEGER_OVERFLOW, WasmEdge_ErrCode_InvalidConvToInt as BAD_CONVERSION,
        WasmEdge_ErrCode_MemoryOutOfBounds as MEMORY_OUT_OF_BOUNDS,
        WasmEdge_ErrCode_TableOutOfBounds as TABLE_OUT_OF_BOUNDS, WasmEdge_ErrCode_Terminated as TERMINATED,
        WasmEdge_ErrCode_UndefinedElement as UNDEFINED_ELEMENT,
        WasmEdge_ErrCode_UninitializedElement as UNINITIALIZED_ELEMENT, WasmEdge_ErrCode_Unreachable as UNREACHABLE,
    };

    /// A host function stopped the guest: in the category that the engine leaves to its users.
    pub const HALT: u32 = (ffi::WasmEdge_ErrCategory_UserLevelError << 24) | 1;
}

/// Turns a result into `Err` of its code.
pub(crate) fn check(result: ffi::WasmEdge_Result) -> Result<(), Failure> {
    if result.Code == 0 { Ok(()) } else { Err(Failure(result.Code)) }
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
