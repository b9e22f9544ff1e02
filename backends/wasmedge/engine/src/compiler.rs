//! The ahead-of-time compiler, here or in a process of its own.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;

use wasmedge_sys::ffi;

use crate::engine::{Code, configure, version as engine_version};
use crate::error::Error;
use crate::process::Helper;
use crate::raw::{self, Owned};
use crate::scratch::Scratch;

/// Where and how modules are compiled.
///
/// The compiler is LLVM. It takes minutes and gigabytes for large modules, and has been seen to crash.
#[derive(Debug, Clone, Default)]
pub struct Compiler {
    helper: Option<Helper>,
    baseline: bool,
}

impl Compiler {
    /// In this process: nothing has to be set up, and a crash of the compiler is a crash of the process.
    pub fn in_process() -> Self {
        Compiler::default()
    }

    /// In a process of its own, bounded in time and memory: if it crashes, that is only an error.
    pub fn process(helper: Helper) -> Self {
        Compiler { helper: Some(helper), baseline: false }
    }

    /// Optimises nothing: compiling takes a fifth to a tenth of the time, and the code runs slower.
    pub fn baseline(mut self) -> Self {
        self.baseline = true;
        self
    }

    /// All that shapes the code, except the engine's version and the processor: for the key of a cache.
    pub(crate) fn settings(&self) -> &'static str {
        if self.baseline { "O0" } else { "O2-to-1MiB-else-O0" }
    }

    /// Compiles into a directory for temporary files, and reads what was written.
    pub(crate) fn compile(&self, wasm: &[u8]) -> Result<Code, Error> {
        let scratch = Scratch::new()?;
        scratch.reserve(wasm.len())?;
        let optimises = !self.baseline && wasm.len() <= LARGE;
        let code = match &self.helper {
            None => compile(wasm, &scratch.path(CODE), optimises),
            Some(helper) => helper.compile(wasm, &scratch, optimises),
        };
        let code = code.and_then(|()| {
            let compiled = scratch.read(CODE).unwrap_or_default();
            // SAFETY: the compiler has just written it, into a directory that is its own.
            if is_complete(wasm, &compiled) { Ok(unsafe { Code::new(compiled) }) } else { Err(Error::Incomplete) }
        });
        if code.is_err() {
            // If others have taken the space since, that is why.
            scratch.empty();
            scratch.reserve(wasm.len())?;
        }
        code
    }
}

/// The file that the compiler writes.
pub(crate) const CODE: &str = "code.wasm";

/// Modules of up to this many bytes are optimised, if any are.
///
/// Others are not: a JavaScript engine of 13 MB took 24 seconds of a processor without optimisation, 334 at O1, for
/// code that is two thirds as large; either took 2.4 GiB of memory and more. LLVM has been seen to crash when it
/// optimised guests of that size.
const LARGE: usize = 1 << 20;

/// Compiles a module into the file `out`, in this process.
pub(crate) fn compile(wasm: &[u8], out: &Path, optimises: bool) -> Result<(), Error> {
    let level =
        if optimises { ffi::WasmEdge_CompilerOptimizationLevel_O2 } else { ffi::WasmEdge_CompilerOptimizationLevel_O0 };
    let path = CString::new(out.as_os_str().as_bytes()).map_err(|_| Error::Incomplete)?;
    let compile = || {
        let config = configure(true)?;
        // SAFETY: setting values, creating an object, and compiling what stays where it is meanwhile.
        unsafe {
            ffi::WasmEdge_ConfigureCompilerSetOptimizationLevel(config.as_ptr(), level);
            let format = ffi::WasmEdge_CompilerOutputFormat_Wasm;
            ffi::WasmEdge_ConfigureCompilerSetOutputFormat(config.as_ptr(), format);
            let compiler = Owned::new(ffi::WasmEdge_CompilerCreate(config.as_ptr()), ffi::WasmEdge_CompilerDelete)?;
            let len = u32::try_from(wasm.len()).map_err(|_| Error::TooLarge)?;
            let bytes = ffi::WasmEdge_BytesWrap(wasm.as_ptr(), len);
            Ok(raw::check(ffi::WasmEdge_CompilerCompileFromBytes(compiler.as_ptr(), bytes, path.as_ptr()))?)
        }
    };
    // The compiler recurses over the guest's code; on a thread of its own it has the room.
    thread::scope(|scope| {
        let compiler = thread::Builder::new().name("wasmedge-compile".to_owned()).stack_size(256 << 20);
        let thread =
            compiler.spawn_scoped(scope, compile).map_err(Error::system("cannot start a thread for the compiler"))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Whether `compiled` is the module with the engine's custom section behind it, whole. What was cut off, or lacks it,
/// would be interpreted; and the engine does not look whether all arrives that it writes.
fn is_complete(wasm: &[u8], compiled: &[u8]) -> bool {
    let Some([0, section @ ..]) = compiled.strip_prefix(wasm) else { return false };
    let Some(end) = section.iter().take(5).position(|byte| byte & 0x80 == 0) else { return false };
    let (size, content) = section.split_at(end + 1);
    let size = size.iter().rev().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f));
    size == content.len() as u64 && content.starts_with(b"\x08wasmedge")
}

/// What is passed to a helper, besides the module.
pub(crate) fn version() -> Result<OsString, Error> {
    Ok(format!("{}/{}", engine_version()?, env!("CARGO_PKG_VERSION")).into())
}

#[cfg(test)]
mod tests {
    use super::is_complete;

    #[test]
    fn code_that_was_cut_off_is_not_taken() {
        let module = &b"\0asm\x01\0\0\0"[..];
        let compiled = |size: &[u8]| [module, &[0][..], size, b"\x08wasmedge\x02"].concat();
        for compiled in [compiled(&[10]), compiled(&[0x8a, 0])] {
            assert!(is_complete(module, &compiled));
            for cut in 0..compiled.len() {
                assert!(!is_complete(module, &compiled[..cut]), "{cut}");
            }
            assert!(!is_complete(b"\0asm\x02\0\0\0", &compiled));
        }
        for size in [&[11][..], &[0x8a, 1], &[0x8a, 0x80, 0x80, 0x80, 0x80, 0]] {
            assert!(!is_complete(module, &compiled(size)), "{size:?}");
        }
        assert!(!is_complete(module, &[module, b"\0\x0a\x08wasmtime\x02"].concat()));
    }
}
