//! The engine's settings, and the modules it loads and compiles.

use std::sync::Arc;
use std::thread;

use wasmedge_sdk::{CompilerOptimizationLevel, CompilerOutputFormat, RunMode, WasmStandard};
use wasmedge_sys::{Compiler, Config, Validator, ffi};
use wharf_core::meter::{self, Frames, Metered};
use wharf_core::{Backend, BackendInfo, Capability, Error, Imports, Kind, Result, cpu};

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
    native: Option<Arc<Settings>>,
    interpreter: Arc<Settings>,
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
        let mut capabilities = vec![Capability::Interrupt, Capability::MultiMemory];
        let (native, code_key) = match mode {
            Mode::Interpreter => (None, "interpreter".to_owned()),
            Mode::Aot => {
                capabilities.push(Capability::CompiledCode);
                let code_key = format!("aot-{OPTIMIZATION:?}-{LARGE}-{}-{}", env!("CARGO_PKG_VERSION"), cpu());
                (Some(Arc::new(Settings::new(Frames::Native)?)), code_key)
            }
        };
        let engine_version = wasmedge_sys::utils::version_string();
        let info = BackendInfo { name: "wasmedge", engine_version, code_key, capabilities };
        let backend = WasmEdge { native, interpreter: Arc::new(Settings::new(Frames::Interpreter)?), info };
        if mode == Mode::Aot {
            signals::share(&backend)?;
        }
        Ok(backend)
    }
}

/// The compiler's level for modules of up to [`LARGE`] bytes.
const OPTIMIZATION: CompilerOptimizationLevel = CompilerOptimizationLevel::O2;
/// Larger modules are not optimised: that takes a tenth of the time, which is minutes then, and LLVM has been seen to
/// crash when it optimised guests of 13 MB and more.
const LARGE: usize = 1 << 20;

/// The engine's settings for one way of running guests.
struct Settings {
    config: Config,
    frames: Frames,
}

impl Settings {
    fn new(frames: Frames) -> Result<Self> {
        let mut config = Config::create().map_err(failed)?;
        config.set_wasm_standard(WasmStandard::Wasm2);
        config.multi_memories(true);
        if frames == Frames::Native {
            config.set_run_mode(RunMode::Aot);
        }
        Ok(Settings { config, frames })
    }

    /// Loads a rewritten module, or what [`compile`] made of one.
    fn load(self: &Arc<Self>, bytes: &[u8]) -> Result<Arc<dyn wharf_core::Module>> {
        let len = u32::try_from(bytes.len())
            .map_err(|_| Error::new(Kind::Engine, "the module is too large for WasmEdge: 4 GiB or more"))?;
        let mut context = std::ptr::null_mut();
        // SAFETY: creating an object, then reading the bytes for as long as they are.
        let (parsed, fell_back) = unsafe {
            let loader = Owned::new(ffi::WasmEdge_LoaderCreate(self.config.as_ptr()), ffi::WasmEdge_LoaderDelete)?;
            raw::noting_fallback(|| {
                ffi::WasmEdge_LoaderParseFromBuffer(loader.as_ptr(), &raw mut context, bytes.as_ptr(), len)
            })
        };
        raw::check(parsed).map_err(|code| failed(raw::trap(code)))?;
        // SAFETY: the engine made it for us.
        let module = unsafe { wasmedge_sys::Module::from_raw(context) };
        // Interpreted frames are not where compiled ones are measured.
        if fell_back {
            return Err(Error::new(Kind::Engine, "WasmEdge cannot use the compiled code"));
        }
        Validator::create(Some(&self.config)).and_then(|validator| validator.validate(&module)).map_err(failed)?;
        let compiled = (self.frames == Frames::Native).then(|| bytes.to_vec());
        let loaded = Arc::new(Loaded { settings: Arc::clone(self), _module: module, context });
        Ok(Arc::new(Metered::new(Module { loaded, compiled }, self.frames)))
    }
}

/// What the engine makes of a module has failed.
fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(Kind::Engine, "WasmEdge cannot load or compile the module").with_source(cause)
}

/// Compiles a rewritten module. The engine writes the module it read with the native code in a custom section.
fn compile(wasm: &[u8]) -> Result<Vec<u8>> {
    let directory = tempfile::Builder::new().prefix("wharf-wasmedge-").tempdir().map_err(failed)?;
    let path = directory.path().join("code.wasm");
    let mut settings = Settings::new(Frames::Native)?;
    let level = if wasm.len() > LARGE { CompilerOptimizationLevel::O0 } else { OPTIMIZATION };
    settings.config.set_aot_optimization_level(level);
    settings.config.set_aot_compiler_output_format(CompilerOutputFormat::Wasm);
    let compile = || Compiler::create(Some(&settings.config))?.compile_from_bytes(wasm, &path);
    // The compiler recurses over the guest's code; on a thread of its own it has the room.
    thread::scope(|scope| {
        let compiler = thread::Builder::new().name("wharf-compile".to_owned()).stack_size(256 << 20);
        let thread = compiler.spawn_scoped(scope, compile).map_err(failed)?;
        thread.join().map_err(|_| failed("the compiling thread panicked"))?.map_err(failed)
    })?;
    std::fs::read(&path).map_err(failed)
}

impl Backend for WasmEdge {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn wharf_core::Module>> {
        if let Some(native) = &self.native {
            match meter::rewrite(wasm, native.frames) {
                Err(error) if error.kind() == Kind::Limit => tracing::warn!("{error}; WasmEdge interprets the module"),
                rewritten => return native.load(&compile(&rewritten?)?),
            }
        }
        self.interpreter.load(&meter::rewrite(wasm, self.interpreter.frames)?)
    }

    fn load(&self, _wasm: &[u8], code: &[u8]) -> Result<Arc<dyn wharf_core::Module>> {
        let native = self.native.as_ref();
        native.ok_or_else(|| Error::new(Kind::Engine, "WasmEdge's interpreter takes no compiled code"))?.load(code)
    }
}

/// A module as the engine has loaded it.
pub(crate) struct Loaded {
    settings: Arc<Settings>,
    _module: wasmedge_sys::Module,
    context: *const ffi::WasmEdge_ASTModuleContext,
}

// SAFETY: the module is bound to no thread. Only what reads it is called with it, which the engine lets threads do at a
// time.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

impl Loaded {
    pub(crate) fn config(&self) -> *const ffi::WasmEdge_ConfigureContext {
        self.settings.config.as_ptr()
    }

    pub(crate) fn module(&self) -> *const ffi::WasmEdge_ASTModuleContext {
        self.context
    }

    pub(crate) fn is_native(&self) -> bool {
        self.settings.frames == Frames::Native
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
        Ok(Box::new(Instance::new(&self.loaded, imports)?))
    }
}
