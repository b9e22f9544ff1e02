//! The engine's settings, and the modules it loads and compiles.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::thread;

use wasmedge_sys::ffi;
use wharf_core::meter::{self, Frames, Metered};
use wharf_core::{Backend, BackendInfo, Capability, Error, Imports, Kind, Result};

use crate::instance::Instance;
use crate::raw::{self, Owned};
use crate::signals;

/// How WasmEdge runs guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Mode {
    /// Guests are compiled to native code before they start.
    #[default]
    Aot,
    /// Guests are interpreted: they start at once and run a hundred times slower.
    Interpreter,
}

/// WasmEdge as a backend.
pub struct WasmEdge {
    native: Option<Arc<Config>>,
    interpreter: Arc<Config>,
    info: BackendInfo,
}

impl WasmEdge {
    /// Makes the backend.
    ///
    /// The first one with [`Mode::Aot`] in a process takes over the signals `SIGSEGV`, `SIGBUS` and `SIGFPE`, and passes
    /// on what is not a WasmEdge guest's to the handlers it found. It is best made before other engines run
    /// guests, and never while the embedder runs code that its own WasmEdge compiled.
    ///
    /// # Errors
    /// [`Kind::Engine`] if the engine cannot be set up.
    pub fn new(mode: Mode) -> Result<Self> {
        raw::capture_log();
        // SAFETY: the engine returns a static string.
        let version = unsafe { CStr::from_ptr(ffi::WasmEdge_VersionGet()) };
        let mut capabilities = vec![Capability::Interrupt, Capability::MultiMemory];
        let (native, code_key) = match mode {
            Mode::Interpreter => (None, "interpreter".to_owned()),
            Mode::Aot => {
                capabilities.push(Capability::CompiledCode);
                let code_key = format!("aot-{OPTIMIZATION}-{}-{}", env!("CARGO_PKG_VERSION"), cpu());
                (Some(Arc::new(Config::new(Frames::Native)?)), code_key)
            }
        };
        let engine_version = version.to_string_lossy().into_owned();
        let info = BackendInfo { name: "wasmedge", engine_version, code_key, capabilities };
        let backend = WasmEdge { native, interpreter: Arc::new(Config::new(Frames::Interpreter)?), info };
        if mode == Mode::Aot {
            signals::share(&backend)?;
        }
        Ok(backend)
    }
}

/// The compiler's level: measured on a guest of 190 kB, level 0 compiles ten times faster than level 3.
const OPTIMIZATION: ffi::WasmEdge_CompilerOptimizationLevel = ffi::WasmEdge_CompilerOptimizationLevel_O2;

/// What the engine compiles for: the features of this machine's processor.
#[cfg(target_arch = "x86_64")]
fn cpu() -> String {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    let (model, features, more) = (__cpuid(1), __cpuid_count(7, 0), __cpuid(0x8000_0001));
    // The upper half of leaf 1's ebx differs from core to core.
    format!(
        "x86_64-{:x}-{:x}-{:x}-{:x}-{:x}-{:x}-{:x}-{:x}",
        model.eax, model.ecx, model.edx, features.ebx, features.ecx, features.edx, more.ecx, more.edx
    )
}

/// What the engine compiles for: the features of this machine's processor.
#[cfg(not(target_arch = "x86_64"))]
fn cpu() -> String {
    // SAFETY: reads values that the kernel passed to the process.
    let (first, second) = unsafe { (libc::getauxval(libc::AT_HWCAP), libc::getauxval(libc::AT_HWCAP2)) };
    format!("{}-{first:x}-{second:x}", std::env::consts::ARCH)
}

/// The engine's settings for one way of running guests.
struct Config {
    context: Owned<ffi::WasmEdge_ConfigureContext>,
    frames: Frames,
}

impl Config {
    fn new(frames: Frames) -> Result<Self> {
        // SAFETY: creating an object, then setting it up.
        let context = unsafe {
            let context = Owned::new(ffi::WasmEdge_ConfigureCreate(), ffi::WasmEdge_ConfigureDelete)?;
            let config = context.as_ptr();
            ffi::WasmEdge_ConfigureSetWASMStandard(config, ffi::WasmEdge_Standard_WASM_2);
            ffi::WasmEdge_ConfigureAddProposal(config, ffi::WasmEdge_Proposal_MultiMemories);
            if frames == Frames::Native {
                ffi::WasmEdge_ConfigureSetRunMode(config, ffi::WasmEdge_RunMode_AOT);
                ffi::WasmEdge_ConfigureCompilerSetOptimizationLevel(config, OPTIMIZATION);
                ffi::WasmEdge_ConfigureCompilerSetOutputFormat(config, ffi::WasmEdge_CompilerOutputFormat_Wasm);
            }
            context
        };
        Ok(Config { context, frames })
    }

    /// Compiles a rewritten module. The engine writes the module it read with the native code in a custom section.
    fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>> {
        let failed = |what: &str| Error::new(Kind::Engine, format!("WasmEdge cannot compile the module: {what}"));
        let directory = tempfile::Builder::new().prefix("wharf-wasmedge-").tempdir();
        let directory = directory.map_err(|error| failed("no directory for its output").with_source(error))?;
        let path = directory.path().join("code.wasm");
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed("bad path").with_source(error))?;
        let compile = || {
            // SAFETY: creating an object, then reading the bytes for as long as they are.
            let compiled = unsafe {
                let compiler = ffi::WasmEdge_CompilerCreate(self.context.as_ptr());
                let compiler = Owned::new(compiler, ffi::WasmEdge_CompilerDelete)?;
                let (start, len) = (wasm.as_ptr(), wasm.len() as u64);
                ffi::WasmEdge_CompilerCompileFromBuffer(compiler.as_ptr(), start, len, name.as_ptr())
            };
            raw::check(compiled).map_err(|code| raw::error("WasmEdge cannot compile the module", code))
        };
        // The compiler recurses over the guest's code; on a thread of its own it has the room.
        thread::scope(|scope| {
            let compiler = thread::Builder::new().name("wharf-compile".to_owned()).stack_size(256 << 20);
            let thread = compiler.spawn_scoped(scope, compile).map_err(|error| failed("no thread").with_source(error));
            thread?.join().unwrap_or_else(|_| Err(failed("it panicked")))
        })?;
        std::fs::read(&path).map_err(|error| failed("no output").with_source(error))
    }

    /// Loads a rewritten module, or what [`compile`](Self::compile) made of one.
    fn load(self: &Arc<Self>, bytes: &[u8]) -> Result<Arc<dyn wharf_core::Module>> {
        let len = u32::try_from(bytes.len())
            .map_err(|_| Error::new(Kind::Engine, "the module is too large for WasmEdge: 4 GiB or more"))?;
        let config = self.context.as_ptr();
        let mut module = std::ptr::null_mut();
        // SAFETY: creating an object, then reading the bytes for as long as they are.
        let (parsed, fell_back) = unsafe {
            let loader = Owned::new(ffi::WasmEdge_LoaderCreate(config), ffi::WasmEdge_LoaderDelete)?;
            raw::noting_fallback(|| {
                ffi::WasmEdge_LoaderParseFromBuffer(loader.as_ptr(), &raw mut module, bytes.as_ptr(), len)
            })
        };
        let refused = |code| raw::error("WasmEdge refuses the module", code);
        raw::check(parsed).map_err(refused)?;
        // SAFETY: the engine made it for us.
        let module = unsafe { Owned::new(module, ffi::WasmEdge_ASTModuleDelete)? };
        // Interpreted frames are not where compiled ones are measured.
        if fell_back {
            return Err(Error::new(Kind::Engine, "WasmEdge cannot use the compiled code"));
        }
        // SAFETY: both objects are valid.
        let validated = unsafe {
            let validator = Owned::new(ffi::WasmEdge_ValidatorCreate(config), ffi::WasmEdge_ValidatorDelete)?;
            ffi::WasmEdge_ValidatorValidate(validator.as_ptr(), module.as_ptr())
        };
        raw::check(validated).map_err(refused)?;
        let compiled = self.frames == Frames::Native;
        let module = Module {
            loaded: Arc::new(Loaded { config: Arc::clone(self), module }),
            compiled: compiled.then(|| bytes.to_vec()),
        };
        Ok(Arc::new(Metered::new(module, self.frames)))
    }
}

impl Backend for WasmEdge {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn wharf_core::Module>> {
        if let Some(native) = &self.native {
            match meter::rewrite(wasm, native.frames) {
                Err(error) if error.kind() == Kind::Limit => tracing::warn!("{error}; WasmEdge interprets the module"),
                rewritten => return native.load(&native.compile(&rewritten?)?),
            }
        }
        self.interpreter.load(&meter::rewrite(wasm, self.interpreter.frames)?)
    }

    fn load(&self, _wasm: &[u8], code: &[u8]) -> Result<Arc<dyn wharf_core::Module>> {
        let native = self.native.as_ref();
        native.ok_or_else(|| Error::new(Kind::Engine, "WasmEdge's interpreter takes no compiled code"))?.load(code)
    }
}

/// A module as the engine has loaded it. Only what reads them is called with its objects, and the engine lets threads
/// do so at a time.
pub(crate) struct Loaded {
    config: Arc<Config>,
    module: Owned<ffi::WasmEdge_ASTModuleContext>,
}

impl Loaded {
    pub(crate) fn config(&self) -> *const ffi::WasmEdge_ConfigureContext {
        self.config.context.as_ptr()
    }

    pub(crate) fn module(&self) -> *const ffi::WasmEdge_ASTModuleContext {
        self.module.as_ptr()
    }

    pub(crate) fn is_native(&self) -> bool {
        self.config.frames == Frames::Native
    }
}

/// A loaded module.
struct Module {
    loaded: Arc<Loaded>,
    /// The compiled code, as the engine wrote it.
    compiled: Option<Vec<u8>>,
}

impl wharf_core::Module for Module {
    fn serialize(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.compiled.clone())
    }

    fn instantiate(&self, imports: Arc<Imports>) -> Result<Box<dyn wharf_core::Instance>> {
        Ok(Box::new(Instance::new(&self.loaded, &imports)?))
    }
}
