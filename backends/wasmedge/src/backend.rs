//! The backend: modules it compiles and loads, and their instances.

use std::sync::Arc;

use wharf_core::image::{self, Imaged};
use wharf_core::meter::{self, Frames, Metered, NATIVE_STACK};
use wharf_core::{Backend, BackendInfo, Capability, Error, Imports, Kind, Prepared, Result, TrustedCode, cpu};
use wharf_wasmedge_engine::{self as engine, Code, Compiler, Interpreter, Native};

use crate::guest::{Behind, Hosts, number, trap};

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
    native: Option<Native>,
    interpreter: Interpreter,
    info: BackendInfo,
}

impl WasmEdge {
    /// Makes the backend, whose compiler, in [`Mode::Aot`], is in this process.
    ///
    /// The first one with [`Mode::Aot`] in a process takes over fault signals, as [`Native::new`] says.
    ///
    /// # Errors
    /// [`Kind::Engine`] if the engine cannot be set up.
    pub fn new(mode: Mode) -> Result<Self> {
        match mode {
            Mode::Aot => Self::with_compiler(Compiler::in_process()),
            Mode::Interpreter => Self::make(None),
        }
    }

    /// Makes the backend, in [`Mode::Aot`], with a compiler that may be in a process of its own, or optimise nothing.
    ///
    /// # Errors
    /// [`Kind::Engine`] if the engine cannot be set up. A compiler that does not work is found when it is needed.
    pub fn with_compiler(compiler: Compiler) -> Result<Self> {
        Self::make(Some(Native::new(compiler).map_err(unusable)?))
    }

    fn make(native: Option<Native>) -> Result<Self> {
        let mut capabilities = vec![Capability::Interrupt, Capability::MultiMemory];
        let mut code_key = "interpreter".to_owned();
        if let Some(native) = &native {
            capabilities.push(Capability::CompiledCode);
            code_key = format!("aot-{}-{}-{}", native.settings(), env!("CARGO_PKG_VERSION"), cpu());
        }
        let interpreter = Interpreter::new().map_err(unusable)?;
        let engine_version = engine::version().map_err(unusable)?;
        let info = BackendInfo { name: "wasmedge", engine_version, code_key, capabilities };
        Ok(WasmEdge { native, interpreter, info })
    }
}

fn unusable(cause: engine::Error) -> Error {
    Error::new(Kind::Engine, "WasmEdge cannot be set up").with_source(cause)
}

/// What the engine makes of a module has failed.
fn failed(cause: engine::Error) -> Error {
    Error::new(Kind::Engine, "WasmEdge cannot load or compile the module").with_source(cause)
}

impl Backend for WasmEdge {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn compile(&self, prepared: &Prepared) -> Result<Arc<dyn wharf_core::Module>> {
        let wasm = image::strip(prepared)?;
        if let Some(native) = &self.native {
            match meter::rewrite(&wasm, Frames::Native) {
                Err(error) if error.kind() == Kind::Limit => tracing::warn!("{error}; WasmEdge interprets the module"),
                rewritten => return load(native, native.compile(&rewritten?).map_err(failed)?, prepared),
            }
        }
        let module = self.interpreter.load(&meter::rewrite(&wasm, Frames::Interpreter)?).map_err(failed)?;
        // SAFETY: as in `load`.
        let module = unsafe { Imaged::new(Module { module, code: None }, prepared)? };
        Ok(Arc::new(Metered::new(module, Frames::Interpreter)))
    }

    fn load(&self, prepared: &Prepared, code: TrustedCode<'_>) -> Result<Arc<dyn wharf_core::Module>> {
        let refused = || Error::new(Kind::Unsupported, "WasmEdge's interpreter cannot load compiled code");
        let native = self.native.as_ref().ok_or_else(refused)?;
        // SAFETY: that is what the type promises.
        load(native, unsafe { Code::new(code.bytes().to_vec()) }, prepared)
    }
}

/// Loads what was compiled of a module that was stripped and metered.
fn load(native: &Native, code: Code, prepared: &Prepared) -> Result<Arc<dyn wharf_core::Module>> {
    let module = Module { module: native.load(&code).map_err(failed)?, code: Some(code) };
    // SAFETY: the engine's allocator maps a memory with `mmap`, private and anonymous, for itself alone, and unmaps it
    // with the addresses that are reserved for it. One that grows gets further pages.
    Ok(Arc::new(Metered::new(unsafe { Imaged::new(module, prepared)? }, Frames::Native)))
}

/// A loaded module.
struct Module {
    module: engine::Module,
    /// What it was loaded from, if it is compiled.
    code: Option<Code>,
}

impl wharf_core::Module for Module {
    fn serialize(&self) -> Result<Option<TrustedCode<'_>>> {
        // SAFETY: the engine's compiler wrote it.
        Ok(self.code.as_ref().map(|code| unsafe { TrustedCode::new(code.bytes()) }))
    }

    fn instantiate(&self, imports: Arc<Imports>) -> Result<Box<dyn wharf_core::Instance>> {
        let types = imports.types().iter();
        let numbers = |types: &[_]| types.iter().map(number).collect();
        let signatures = types.map(|import| (&*import.name, numbers(&import.ty.params), numbers(&import.ty.results)));
        // The names are the meter's: the same module's for all.
        let module = imports.types().first().map_or("", |import| import.module.as_str());
        let made = engine::imports(module, signatures, Hosts(Arc::clone(&imports)))
            .and_then(|hosts| self.module.instantiate(hosts, NATIVE_STACK));
        match made {
            Ok(instance) => Ok(Box::new(Behind(instance))),
            Err(engine::Error::Refused(failure)) => Err(trap(failure).in_instantiation()),
            Err(error) => Err(Error::new(Kind::Engine, "the module cannot be instantiated").with_source(error)),
        }
    }
}
