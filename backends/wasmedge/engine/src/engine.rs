//! The two ways of running guests, the modules they load, and their instances.

use std::ptr;
use std::sync::Arc;

use wasmedge_sys::{ImportModule, ffi};

use crate::compiler::Compiler;
use crate::error::Error;
use crate::guest::{AsGuest, Guest, Host};
use crate::library;
use crate::raw::{self, Owned};
use crate::signals::{self, as_guest};
use crate::stack::Stack;

/// WasmEdge that interprets: guests start at once and run a hundred times slower.
#[derive(Clone)]
pub struct Interpreter(Arc<Engine>);

impl Interpreter {
    /// Sets it up for WebAssembly 2.0 with several memories.
    ///
    /// # Errors
    /// [`Error::NoLibrary`] and [`Error::OtherLibrary`]; [`Error::Allocation`].
    pub fn new() -> Result<Self, Error> {
        Ok(Interpreter(Arc::new(Engine { config: configure(false)?, native: false })))
    }

    /// Loads a module. Native code that a compiler left in it is not looked at.
    ///
    /// # Errors
    /// [`Error::Refused`] for what is not a valid module, and [`Error::TooLarge`].
    pub fn load(&self, wasm: &[u8]) -> Result<Module, Error> {
        self.0.load(wasm)
    }
}

/// WasmEdge that runs compiled code.
#[derive(Clone)]
pub struct Native {
    engine: Arc<Engine>,
    compiler: Arc<Compiler>,
}

impl Native {
    /// Sets it up for WebAssembly 2.0 with several memories, to run what `compiler` makes of modules.
    ///
    /// The first one in a process takes over the signals `SIGSEGV`, `SIGBUS` and `SIGFPE`, and passes on what is not
    /// such a guest's to the handlers it found. It is best made before other engines run guests, and never while the
    /// process runs code that WasmEdge compiled and this crate knows nothing of.
    ///
    /// # Errors
    /// [`Error::NoLibrary`] and [`Error::OtherLibrary`]; [`Error::Allocation`], and [`Error::System`] if the signals cannot be shared.
    pub fn new(compiler: Compiler) -> Result<Self, Error> {
        let engine = Arc::new(Engine { config: configure(true)?, native: true });
        let native = Native { engine, compiler: Arc::new(compiler) };
        signals::share(&native)?;
        Ok(native)
    }

    /// All that shapes the code, except the engine's version and the processor: for the key of a cache.
    pub fn settings(&self) -> &'static str {
        self.compiler.settings()
    }

    /// Compiles a module.
    ///
    /// # Errors
    /// [`Error::Refused`], or how the compiler failed.
    pub fn compile(&self, wasm: &[u8]) -> Result<Code, Error> {
        self.compiler.compile(wasm)
    }

    /// Loads a module that was compiled.
    ///
    /// # Errors
    /// [`Error::Refused`] for what is not a valid module, [`Error::TooLarge`], and [`Error::UselessCode`] for what
    /// another version of the engine compiled, or for another processor.
    pub fn load(&self, code: &Code) -> Result<Module, Error> {
        self.engine.load(&code.0)
    }
}

/// The version of WasmEdge.
///
/// # Errors
/// [`Error::NoLibrary`] and [`Error::OtherLibrary`].
pub fn version() -> Result<String, Error> {
    library::open()?;
    Ok(wasmedge_sys::utils::version_string())
}

/// A module with the native code that WasmEdge's compiler made of it, in a custom section at its end.
///
/// It is executed as it stands: whoever made it can do whatever this process can. So only a compiler and an `unsafe fn`
/// make one:
///
/// ```compile_fail,E0133
/// let code = wharf_wasmedge_engine::Code::new(b"\0asm\x01\0\0\0".to_vec());
/// ```
///
/// ```compile_fail,E0308
/// # use wharf_wasmedge_engine::Native;
/// fn forge(native: &Native, bytes: &[u8]) {
///     let _ = native.load(bytes);
/// }
/// ```
#[derive(Clone)]
pub struct Code(Vec<u8>);

impl Code {
    /// Treats bytes as code.
    ///
    /// # Safety
    /// They are the bytes of what [`Native::compile`] returned, complete and unchanged.
    pub unsafe fn new(bytes: Vec<u8>) -> Self {
        Code(bytes)
    }

    /// The code as bytes, to be kept for a process with the same version of the engine, on a processor of the same
    /// kind.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The engine's settings.
struct Engine {
    config: Owned<ffi::WasmEdge_ConfigureContext>,
    /// Whether it runs compiled code.
    native: bool,
}

// SAFETY: once made, the settings are read only.
unsafe impl Sync for Engine {}

impl Engine {
    /// Loads a module, compiled or not as this engine runs it.
    fn load(self: &Arc<Self>, bytes: &[u8]) -> Result<Module, Error> {
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
    library::open()?;
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
    /// Makes an instance, in a store of its own, that imports `imports`. A start function runs now, on the caller's
    /// stack.
    ///
    /// Compiled code runs on a stack of `stack` bytes, of which only those that are used take memory; the engine does
    /// not guard what is below, so that whoever compiles a guest has to bound its stack.
    ///
    /// # Errors
    /// [`Error::Refused`] if an import is missing or a segment is out of bounds, [`Error::Allocation`], and
    /// [`Error::System`] if there is no memory for the stack.
    pub fn instantiate<H: Host>(&self, imports: ImportModule<H>, stack: usize) -> Result<Instance<H>, Error> {
        let Loaded { module, engine } = &*self.0;
        let stack = engine.native.then(|| Stack::take(stack)).transpose()?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::Failure;

    struct Nothing;

    impl Host for Nothing {
        fn call(&self, _: usize, _: &mut Guest<'_>, _: &mut [u64]) -> Result<(), Failure> {
            Ok(())
        }
    }

    /// `(module (func (export "run") (result i32) (i32.const NUMBER)))`
    fn returning(number: u8) -> Vec<u8> {
        let start =
            b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x07\x07\x01\x03run\0\0\x0a\x06\x01\x04\0\x41";
        [&start[..], &[number, 0x0b]].concat()
    }

    /// Whatever native code is behind a module, anybody's bytes are only interpreted.
    #[test]
    fn the_interpreter_does_not_look_at_native_code() {
        let (one, two) = (returning(1), returning(2));
        let compiled = Native::new(Compiler::in_process()).unwrap().compile(&one).unwrap();
        let native = compiled.bytes().strip_prefix(&one[..]).unwrap();
        let module = Interpreter::new().unwrap().load(&[&two[..], native].concat()).unwrap();
        let mut instance = module.instantiate(crate::imports("", [], Nothing).unwrap(), 0).unwrap();
        let mut slots = [0];
        instance.guest().call("run", &mut slots).unwrap();
        assert_eq!(slots, [2]);
    }
}
