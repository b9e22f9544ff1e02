//! The engine's settings, the modules it loads, and their instances.

use std::ptr;
use std::sync::Arc;

use wasmedge_sys::{ImportModule, ffi};

use crate::compiler::Compiler;
use crate::error::Error;
use crate::guest::{AsGuest, Guest, Host};
use crate::raw::{self, Owned};
use crate::signals::{self, as_guest};
use crate::stack::Stack;

/// WasmEdge, set up for WebAssembly 2.0 with several memories, and for one of two ways of running guests.
pub struct Engine {
    config: Owned<ffi::WasmEdge_ConfigureContext>,
    /// Of an engine that runs compiled code.
    compiler: Option<Compiler>,
}

// SAFETY: once made, the settings are read only.
unsafe impl Sync for Engine {}

impl Engine {
    /// An engine that interprets: guests start at once and run a hundred times slower.
    ///
    /// # Errors
    /// [`Error::Allocation`].
    pub fn interpreter() -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Engine { config: configure(false)?, compiler: None }))
    }

    /// An engine that runs what `compiler` makes of a module.
    ///
    /// The first one in a process takes over the signals `SIGSEGV`, `SIGBUS` and `SIGFPE`, and passes on what is not
    /// such a guest's to the handlers it found. It is best made before other engines run guests, and never while the
    /// process runs code that WasmEdge compiled and this crate knows nothing of.
    ///
    /// # Errors
    /// [`Error::Allocation`], and [`Error::System`] if the signals cannot be shared.
    pub fn native(compiler: Compiler) -> Result<Arc<Self>, Error> {
        let engine = Arc::new(Engine { config: configure(true)?, compiler: Some(compiler) });
        signals::share(&engine)?;
        Ok(engine)
    }

    /// The engine's version.
    pub fn version() -> String {
        wasmedge_sys::utils::version_string()
    }

    /// Compiles a module. What comes back is the module with the native code in a custom section at its end: for
    /// [`load`](Self::load) in a process with the same version of the engine, on a processor of the same kind.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Interpreter`], or how the compiler failed.
    pub fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, Error> {
        self.compiler.as_ref().ok_or(Error::Interpreter)?.compile(wasm)
    }

    /// Loads a module, compiled or not as this engine runs it.
    ///
    /// Compiled code is trusted: whoever made it can do whatever this process can.
    ///
    /// # Errors
    /// [`Error::Refused`] for what is no valid module, [`Error::TooLarge`], and [`Error::UselessCode`].
    pub fn load(self: &Arc<Self>, bytes: &[u8]) -> Result<Module, Error> {
        let len = u32::try_from(bytes.len()).map_err(|_| Error::TooLarge)?;
        let mut module = ptr::null_mut();
        // SAFETY: creating objects, then reading the bytes for as long as they are, then looking at the module.
        unsafe {
            let config = self.config.as_ptr();
            let loader = Owned::new(ffi::WasmEdge_LoaderCreate(config), ffi::WasmEdge_LoaderDelete)?;
            let (parsed, fell_back) = raw::noting_fallback(|| {
                ffi::WasmEdge_LoaderParseFromBuffer(loader.as_ptr(), &raw mut module, bytes.as_ptr(), len)
            });
            raw::check(parsed)?;
            let module = Owned::new(module, ffi::WasmEdge_ASTModuleDelete)?;
            if fell_back {
                return Err(Error::UselessCode);
            }
            let validator = Owned::new(ffi::WasmEdge_ValidatorCreate(config), ffi::WasmEdge_ValidatorDelete)?;
            raw::check(ffi::WasmEdge_ValidatorValidate(validator.as_ptr(), module.as_ptr()))?;
            Ok(Module(Arc::new(Loaded { module, engine: Arc::clone(self) })))
        }
    }
}

/// The settings for loading, compiling and running.
pub(crate) fn configure(native: bool) -> Result<Owned<ffi::WasmEdge_ConfigureContext>, Error> {
    raw::capture_log();
    // SAFETY: creating an object and setting its values.
    unsafe {
        let config = Owned::new(ffi::WasmEdge_ConfigureCreate(), ffi::WasmEdge_ConfigureDelete)?;
        ffi::WasmEdge_ConfigureSetWASMStandard(config.as_ptr(), ffi::WasmEdge_Standard_WASM_2);
        ffi::WasmEdge_ConfigureAddProposal(config.as_ptr(), ffi::WasmEdge_Proposal_MultiMemories);
        if native {
            ffi::WasmEdge_ConfigureSetRunMode(config.as_ptr(), ffi::WasmEdge_RunMode_AOT);
        }
        Ok(config)
    }
}

/// A loaded module, to be instantiated any number of times.
#[derive(Clone)]
pub struct Module(Arc<Loaded>);

struct Loaded {
    module: Owned<ffi::WasmEdge_ASTModuleContext>,
    engine: Arc<Engine>,
}

// SAFETY: only what reads the module is called with it, which the engine lets threads do at a time.
unsafe impl Sync for Loaded {}

impl Module {
    /// Makes an instance, in a store of its own, that imports `imports`. A start function runs now, on the caller's stack.
    ///
    /// Compiled code runs on a stack of `stack` bytes, of which only those that are used take memory; the engine does
    /// not guard what is below, so that whoever compiles a guest has to bound its stack.
    ///
    /// # Errors
    /// [`Error::Refused`] if an import is missing or a segment is out of bounds, [`Error::Allocation`], and
    /// [`Error::System`] if there is no memory for the stack.
    pub fn instantiate<H: Host>(&self, imports: ImportModule<H>, stack: usize) -> Result<Instance<H>, Error> {
        let Loaded { module, engine } = &*self.0;
        let stack = engine.compiler.is_some().then(|| Stack::take(stack)).transpose()?;
        // SAFETY: creating objects from valid ones. A null statistics context is allowed. The instance keeps alive what
        // the module instance refers to.
        unsafe {
            let executor = ffi::WasmEdge_ExecutorCreate(engine.config.as_ptr(), ptr::null_mut());
            let executor = Owned::new(executor, ffi::WasmEdge_ExecutorDelete)?;
            let store = Owned::new(ffi::WasmEdge_StoreCreate(), ffi::WasmEdge_StoreDelete)?;
            let (executing, storing) = (executor.as_ptr(), store.as_ptr());
            raw::check(ffi::WasmEdge_ExecutorRegisterImport(executing, storing, imports.as_raw()))?;
            let mut made = ptr::null_mut();
            raw::check(as_guest(true, || {
                ffi::WasmEdge_ExecutorInstantiate(executing, &raw mut made, storing, module.as_ptr())
            }))?;
            let made = Owned::new(made, ffi::WasmEdge_ModuleInstanceDelete)?;
            let module = self.clone();
            Ok(Instance { made, stack, _imports: imports, _store: store, executor, _module: module })
        }
    }
}

/// An instance. It may move between threads.
pub struct Instance<H> {
    // Fields are dropped in this order: the guest, what it imports, what runs it, what it was made from.
    made: Owned<ffi::WasmEdge_ModuleInstanceContext>,
    stack: Option<Stack>,
    _imports: ImportModule<H>,
    _store: Owned<ffi::WasmEdge_StoreContext>,
    executor: Owned<ffi::WasmEdge_ExecutorContext>,
    _module: Module,
}

impl<H> Drop for Instance<H> {
    fn drop(&mut self) {
        if let Some(stack) = self.stack.take() {
            stack.give_back();
        }
    }
}

impl<H> AsGuest for Instance<H> {
    fn guest(&mut self) -> Guest<'_> {
        // SAFETY: the instance keeps both alive and is borrowed as long.
        unsafe { Guest::new(self.executor.as_ptr(), self.made.as_ptr(), self.stack.as_mut()) }
    }
}
