//! The engine, and modules compiled by it.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::thread;

use wasmedge_sys::ffi;
use wharf_core::{Backend, BackendInfo, Capability, Error, Imports, Kind, Result};

use crate::instance::Instance;
use crate::meter::{self, Target};
use crate::native;
use crate::raw::{self, Owned};

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
    mode: Mode,
    config: Arc<Config>,
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
        let code_key = match mode {
            Mode::Interpreter => "interpreter".to_owned(),
            Mode::Aot => {
                capabilities.push(Capability::CompiledCode);
                format!("aot-{OPTIMIZATION}-{}-{}", env!("CARGO_PKG_VERSION"), cpu())
            }
        };
        let backend = WasmEdge {
            mode,
            config: Arc::new(Config::new(mode)?),
            info: BackendInfo {
                name: "wasmedge",
                engine_version: version.to_string_lossy().into_owned(),
                code_key,
                capabilities,
            },
        };
        if mode == Mode::Aot {
            native::share_signals(&backend)?;
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

/// The engine's configuration, and the same without compiled code.
struct Config {
    native: Option<Owned<ffi::WasmEdge_ConfigureContext>>,
    interpreter: Owned<ffi::WasmEdge_ConfigureContext>,
}

impl Config {
    fn new(mode: Mode) -> Result<Self> {
        let create = || {
            // SAFETY: creating an object, then setting it up.
            unsafe {
                let config = Owned::new(ffi::WasmEdge_ConfigureCreate())?;
                ffi::WasmEdge_ConfigureSetWASMStandard(config.as_ptr(), ffi::WasmEdge_Standard_WASM_2);
                ffi::WasmEdge_ConfigureAddProposal(config.as_ptr(), ffi::WasmEdge_Proposal_MultiMemories);
                Ok::<_, Error>(config)
            }
        };
        let native = match mode {
            Mode::Interpreter => None,
            Mode::Aot => {
                let config = create()?;
                // SAFETY: setting up an object.
                unsafe {
                    ffi::WasmEdge_ConfigureSetRunMode(config.as_ptr(), ffi::WasmEdge_RunMode_AOT);
                    ffi::WasmEdge_ConfigureCompilerSetOptimizationLevel(config.as_ptr(), OPTIMIZATION);
                    ffi::WasmEdge_ConfigureCompilerSetOutputFormat(
                        config.as_ptr(),
                        ffi::WasmEdge_CompilerOutputFormat_Wasm,
                    );
                }
                Some(config)
            }
        };
        Ok(Config { native, interpreter: create()? })
    }
}

/// A module as the engine has loaded it.
pub(crate) struct Loaded {
    config: Arc<Config>,
    module: Owned<ffi::WasmEdge_ASTModuleContext>,
    native: bool,
}

impl Loaded {
    pub(crate) fn config(&self) -> *const ffi::WasmEdge_ConfigureContext {
        self.config.native.as_ref().unwrap_or(&self.config.interpreter).as_ptr()
    }

    pub(crate) fn module(&self) -> *const ffi::WasmEdge_ASTModuleContext {
        self.module.as_ptr()
    }

    pub(crate) fn is_native(&self) -> bool {
        self.native
    }

    fn load(config: &Arc<Config>, native: bool, bytes: &[u8]) -> Result<Arc<Self>> {
        let context = match &config.native {
            Some(context) if native => context,
            _ => &config.interpreter,
        };
        let len = u32::try_from(bytes.len())
            .map_err(|_| Error::new(Kind::Engine, "the module is too large for WasmEdge: 4 GiB or more"))?;
        let mut module = std::ptr::null_mut();
        // SAFETY: creating an object, then reading the bytes for as long as they are.
        let (parsed, fell_back) = unsafe {
            let loader = Owned::new(ffi::WasmEdge_LoaderCreate(context.as_ptr()))?;
            raw::noting_fallback(|| {
                ffi::WasmEdge_LoaderParseFromBuffer(loader.as_ptr(), &raw mut module, bytes.as_ptr(), len)
            })
        };
        let refused = |code| Error::new(Kind::Engine, format!("WasmEdge refuses the module: {}", raw::message(code)));
        raw::check(parsed).map_err(refused)?;
        let module = Owned::new(module)?;
        if fell_back {
            return Err(Error::new(Kind::Engine, "WasmEdge cannot use the compiled code"));
        }
        // SAFETY: both objects are valid.
        raw::check(unsafe {
            let validator = Owned::new(ffi::WasmEdge_ValidatorCreate(context.as_ptr()))?;
            ffi::WasmEdge_ValidatorValidate(validator.as_ptr(), module.as_ptr())
        })
        .map_err(refused)?;
        Ok(Arc::new(Loaded { config: config.clone(), module, native }))
    }
}

/// A compiled module.
struct Module {
    code: Arc<Loaded>,
    /// The compiled code, as the engine wrote it.
    compiled: Option<Vec<u8>>,
}

impl Backend for WasmEdge {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn wharf_core::Module>> {
        if let Some(config) = &self.config.native {
            if let Some(rewritten) = meter::rewrite(wasm, Target::Native)? {
                let compiled = compile(config, &rewritten)?;
                let code = Loaded::load(&self.config, true, &compiled)?;
                return Ok(Arc::new(Module { code, compiled: Some(compiled) }));
            }
            tracing::warn!("the module has a function too large to be compiled safely; WasmEdge interprets the module");
        }
        let rewritten = meter::rewrite(wasm, Target::Interpreter)?.unwrap_or_default();
        let code = Loaded::load(&self.config, false, &rewritten)?;
        Ok(Arc::new(Module { code, compiled: None }))
    }

    fn load(&self, _wasm: &[u8], code: &[u8]) -> Result<Arc<dyn wharf_core::Module>> {
        if self.mode == Mode::Interpreter {
            return Err(Error::new(Kind::Engine, "WasmEdge's interpreter takes no compiled code"));
        }
        let loaded = Loaded::load(&self.config, true, code)?;
        Ok(Arc::new(Module { code: loaded, compiled: Some(code.to_vec()) }))
    }
}

impl wharf_core::Module for Module {
    fn serialize(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.compiled.clone())
    }

    fn instantiate(&self, imports: Arc<Imports>) -> Result<Box<dyn wharf_core::Instance>> {
        Ok(Box::new(Instance::new(&self.code, imports)?))
    }
}

/// Compiles a rewritten module. The engine writes the module it read with the native code in a custom section.
fn compile(config: &Owned<ffi::WasmEdge_ConfigureContext>, wasm: &[u8]) -> Result<Vec<u8>> {
    let failed = |what: &str| Error::new(Kind::Engine, format!("WasmEdge cannot compile the module: {what}"));
    let directory = tempfile::Builder::new()
        .prefix("wharf-wasmedge-")
        .tempdir()
        .map_err(|error| failed("no directory for its output").with_source(error))?;
    let path = directory.path().join("code.wasm");
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed("bad path").with_source(error))?;
    // The compiler recurses over the guest's code; on a thread of its own it has the room.
    let result = thread::scope(|scope| {
        let compiler = thread::Builder::new().name("wharf-compile".to_owned()).stack_size(256 << 20);
        let thread = compiler.spawn_scoped(scope, || {
            // SAFETY: creating an object, then reading the bytes for as long as they are.
            raw::check(unsafe {
                let compiler = Owned::new(ffi::WasmEdge_CompilerCreate(config.as_ptr()))?;
                ffi::WasmEdge_CompilerCompileFromBuffer(
                    compiler.as_ptr(),
                    wasm.as_ptr(),
                    wasm.len() as u64,
                    name.as_ptr(),
                )
            })
            .map_err(|code| failed(&raw::message(code)))
        });
        thread.map_err(|error| failed("no thread").with_source(error))?.join().unwrap_or_else(|_| Err(failed("panic")))
    });
    result?;
    std::fs::read(&path).map_err(|error| failed("no output").with_source(error))
}
