//! The compiler's settings, and compiled modules.

use std::sync::Arc;

use wasmer::Engine;
use wasmer::sys::{Cranelift, EngineBuilder};
use wharf_core::image::{self, Imaged};
use wharf_core::meter::{self, Frames, Metered};
use wharf_core::{Backend, BackendInfo, Capability, Error, Imports, Instance, Module, Prepared, Result, TrustedCode};

use crate::instance;

/// The engine bounds the stack. It can be interrupted, too (feature `experimental-host-interrupt` of 7.3), but its
/// `SIGUSR1` handler discards whatever runs on the guest's stack, also the engine's own code around a host call with a
/// lock it holds: a guest that calls host functions in a loop and is interrupted then aborts the process. It also
/// misses a guest that is just being entered, and takes that signal away from the embedder. So core meters the guest's
/// time.
const FRAMES: Frames = Frames::Engine;

/// The Wasmer engine, with its Cranelift compiler.
#[derive(Debug)]
pub struct Wasmer {
    info: BackendInfo,
}

impl Wasmer {
    /// Makes the engine for this machine's CPU.
    ///
    /// # Errors
    /// Never: it is a `Result` as for every backend.
    pub fn new() -> Result<Self> {
        let engine = engine();
        let features = engine.as_sys().target().cpu_features();
        Ok(Wasmer {
            info: BackendInfo {
                name: "wasmer",
                engine_version: wasmer::sys::vm::VERSION.to_owned(),
                code_key: format!("{} {features}", engine.deterministic_id()),
                capabilities: vec![Capability::Interrupt, Capability::CompiledCode, Capability::MultiMemory],
            },
        })
    }
}

/// An engine for one module: an engine keeps the code of every module it compiled until it is dropped itself.
fn engine() -> Engine {
    // By default the engine accepts all that core lets through, and more.
    EngineBuilder::new(Cranelift::new()).engine().into()
}

impl Backend for Wasmer {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn compile(&self, prepared: &Prepared) -> Result<Arc<dyn Module>> {
        let engine = engine();
        let module = wasmer::Module::new(&engine, meter::rewrite(&image::strip(prepared)?, FRAMES)?)
            .map_err(|error| Error::engine("wasmer cannot compile the module", error))?;
        // SAFETY: the engine's default tunables map a memory with `mmap`, private and anonymous, for itself alone, and
        // unmap it. One that grows is made accessible further on, or copied to another mapping.
        Ok(Arc::new(Metered::new(unsafe { Imaged::new(Compiled { engine, module }, prepared)? }, FRAMES)))
    }

    fn load(&self, prepared: &Prepared, code: TrustedCode<'_>) -> Result<Arc<dyn Module>> {
        let engine: Engine = EngineBuilder::headless().engine().into();
        // SAFETY: that is what the type promises.
        let module = unsafe { wasmer::Module::deserialize(&engine, code.bytes()) }
            .map_err(|error| Error::engine("wasmer cannot load the compiled module", error))?;
        // SAFETY: as in `compile`.
        Ok(Arc::new(Metered::new(unsafe { Imaged::new(Compiled { engine, module }, prepared)? }, FRAMES)))
    }
}

/// A compiled module and the engine that holds its code.
pub(crate) struct Compiled {
    pub(crate) engine: Engine,
    pub(crate) module: wasmer::Module,
}

impl Module for Compiled {
    fn serialize(&self) -> Result<Option<TrustedCode<'_>>> {
        let code =
            self.module.serialize().map_err(|error| Error::engine("wasmer cannot serialize the module", error))?;
        // SAFETY: the engine has just written it.
        Ok(Some(unsafe { TrustedCode::new(code.to_vec()) }))
    }

    fn instantiate(&self, imports: Arc<Imports>) -> Result<Box<dyn Instance>> {
        instance::new(self, &imports)
    }
}
