//! The engine's settings, and what it compiles.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use wasmtime::{Collector, Config, Engine, Module as Code};
use wharf_core::{Backend, BackendInfo, Capability, Error, FuncType, Imports, Instance, Kind, Module, Result};

use crate::instance;
use crate::interrupt::Clock;
use crate::values::func_type;

/// How much stack a guest may use, in bytes: half of what a Rust thread has, so that host functions have the rest.
const GUEST_STACK: usize = 1 << 20;

/// The Wasmtime engine with its Cranelift compiler.
pub struct Wasmtime {
    clock: Arc<Clock>,
    info: BackendInfo,
}

impl Wasmtime {
    /// Makes an engine that compiles for this machine.
    ///
    /// # Errors
    /// [`Kind::Engine`] if Wasmtime does not support this machine.
    pub fn new() -> Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true).max_wasm_stack(GUEST_STACK).collector(Collector::Null);
        let engine = Engine::new(&config)
            .map_err(|error| engine_error("wasmtime cannot make an engine for this machine", error))?;
        let mut code_key = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut code_key);
        let info = BackendInfo {
            name: "wasmtime",
            engine_version: wasmtime_environ::VERSION.to_owned(),
            code_key: format!("{:016x}", code_key.finish()),
            capabilities: vec![Capability::Interrupt, Capability::CompiledCode, Capability::MultiMemory],
        };
        Ok(Wasmtime { clock: Arc::new(Clock::new(engine)), info })
    }
}

impl Backend for Wasmtime {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>> {
        let code = Code::from_binary(self.clock.engine(), wasm)
            .map_err(|error| engine_error("wasmtime cannot compile the module", error))?;
        Ok(Arc::new(Compiled::new(Arc::clone(&self.clock), code)?))
    }

    fn load(&self, _wasm: &[u8], code: &[u8]) -> Result<Arc<dyn Module>> {
        // SAFETY: core passes only what `serialize` below returned and what it has checked to be unchanged.
        let code = unsafe { Code::deserialize(self.clock.engine(), code) }
            .map_err(|error| engine_error("wasmtime cannot load the compiled code", error))?;
        Ok(Arc::new(Compiled::new(Arc::clone(&self.clock), code)?))
    }
}

/// A compiled module and what need not be looked up again for each instance.
pub(crate) struct Compiled {
    pub(crate) clock: Arc<Clock>,
    pub(crate) code: Code,
    /// The imported functions, in order, as the engine and as the seam type them.
    pub(crate) imports: Vec<(wasmtime::FuncType, FuncType)>,
}

impl Compiled {
    fn new(clock: Arc<Clock>, code: Code) -> Result<Self> {
        let imports = code.imports().map(|import| {
            let ty = import.ty().func().cloned();
            ty.and_then(|ty| func_type(&ty).map(|slots| (ty, slots))).ok_or_else(|| {
                let what = format!("the import `{}::{}` cannot cross the seam", import.module(), import.name());
                Error::new(Kind::Engine, what)
            })
        });
        let imports = imports.collect::<Result<_>>()?;
        Ok(Compiled { clock, code, imports })
    }
}

impl Module for Compiled {
    fn serialize(&self) -> Result<Option<Vec<u8>>> {
        self.code
            .serialize()
            .map(Some)
            .map_err(|error| engine_error("wasmtime cannot serialize the compiled code", error))
    }

    fn instantiate(&self, imports: Arc<Imports>) -> Result<Box<dyn Instance>> {
        instance::new(self, &imports)
    }
}

/// An error whose cause the engine reported.
pub(crate) fn engine_error(message: &str, source: wasmtime::Error) -> Error {
    Error::new(Kind::Engine, message).with_source(source)
}
