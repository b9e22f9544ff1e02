//! A guest on a bare backend: a prepared module, host functions that the case gives, and nothing of core's in between.

use std::sync::Arc;

use wharf_core::{Caller, Calls, Import, Imports, Instance, LoadOptions, Module, Prepared, Stop, Trap, TrapCode};

use crate::case::{CaseResult, Unmet};
use crate::context::Context;

/// A closure as the host functions of an instance: it gets the import's index, the caller and the slots.
pub struct Host<F>(pub F);

impl<F> Calls for Host<F>
where
    F: Fn(usize, &mut dyn Caller, &mut [u64]) -> Result<(), Stop> + Send + Sync,
{
    fn call(&self, index: usize, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
        (self.0)(index, caller, slots)
    }
}

/// Host functions for a module that imports none.
pub fn no_host() -> impl Calls + 'static {
    Host(|index: usize, _: &mut dyn Caller, _: &mut [u64]| -> Result<(), Stop> {
        Err(internal(format!("host function {index} was called, and the module imports none")))
    })
}

/// A [`Stop`] that says so.
pub fn internal(message: impl Into<String>) -> Stop {
    Stop::Error(wharf_core::Error::new(wharf_core::Kind::Internal, message))
}

/// Checks WAT text and makes a module ready for a backend.
///
/// # Errors
/// [`Unmet::Harness`] if the text is wrong, [`Unmet::Failed`] if core refuses it.
pub fn prepare(wat: &str, options: &LoadOptions) -> CaseResult<Prepared> {
    Ok(Prepared::new(&assemble(wat)?, options)?)
}

/// Translates WAT text.
///
/// # Errors
/// [`Unmet::Harness`] if the text is wrong.
pub fn assemble(wat: &str) -> CaseResult<Vec<u8>> {
    wat::parse_str(wat).map_err(|error| Unmet::harness(format!("the case's module text is wrong: {error}")))
}

/// A compiled module on a bare backend.
pub struct Compiled {
    module: Arc<dyn Module>,
    imports: Arc<[Import]>,
}

impl Compiled {
    /// Joins a module to the imports core read in it.
    pub fn new(module: Arc<dyn Module>, prepared: &Prepared) -> Self {
        Compiled { module, imports: prepared.imports().clone() }
    }

    /// The module.
    pub fn module(&self) -> &dyn Module {
        &*self.module
    }

    /// Makes an instance with these host functions.
    ///
    /// # Errors
    /// The backend's.
    pub fn instantiate(&self, calls: impl Calls + 'static) -> wharf_core::Result<Live> {
        let imports = Arc::new(Imports::new(self.imports.clone(), calls));
        Ok(Live { instance: self.module.instantiate(imports.clone())?, imports })
    }
}

/// An instance on a bare backend, with its host functions.
pub struct Live {
    /// The instance.
    pub instance: Box<dyn Instance>,
    /// Its host functions.
    pub imports: Arc<Imports>,
}

impl Live {
    /// Calls an export that gives `results` results.
    ///
    /// # Errors
    /// The trap.
    pub fn call(&mut self, export: &str, params: &[u64], results: usize) -> Result<Vec<u64>, Trap> {
        let mut slots = params.to_vec();
        slots.resize(params.len().max(results), 0);
        self.instance.call(export, &mut slots)?;
        slots.truncate(results);
        Ok(slots)
    }

    /// Calls an export that gives one result.
    ///
    /// # Errors
    /// The trap.
    pub fn call1(&mut self, export: &str, params: &[u64]) -> Result<u64, Trap> {
        self.call(export, params, 1).map(|results| results[0])
    }

    /// The guest's memory.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if the backend does not find it.
    pub fn memory(&mut self) -> CaseResult<&mut [u8]> {
        self.instance.memory().ok_or_else(|| Unmet::failed("the instance exports `memory`, and the backend finds none"))
    }

    /// Calls an export that must trap with `code`.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if it returns, or traps otherwise.
    pub fn traps(&mut self, export: &str, params: &[u64], code: TrapCode) -> CaseResult<Trap> {
        expect_trap(self.call(export, params, 0), code)
    }
}

/// The call must have trapped with `code`.
///
/// # Errors
/// [`Unmet::Failed`] if it returned, or trapped otherwise.
pub fn expect_trap<T: std::fmt::Debug>(result: Result<T, Trap>, code: TrapCode) -> CaseResult<Trap> {
    match result {
        Err(trap) if trap.code == code && trap.message.is_empty() => {
            Err(Unmet::failed(format!("the trap {code:?} has no message")))
        }
        Err(trap) if trap.code == code => Ok(trap),
        Err(trap) => Err(Unmet::failed(format!("expected a trap {code:?}, saw {:?}: {}", trap.code, trap.message))),
        Ok(value) => Err(Unmet::failed(format!("expected a trap {code:?}, saw the call return {value:?}"))),
    }
}

impl Context {
    /// Compiles a module of WAT text.
    ///
    /// # Errors
    /// [`Unmet::Harness`] if the text is wrong, [`Unmet::Failed`] if core or the backend refuses it.
    pub fn compile(&self, wat: &str) -> CaseResult<Compiled> {
        self.compile_with(wat, &LoadOptions::default())
    }

    /// Compiles a module of WAT text under `options`.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn compile_with(&self, wat: &str, options: &LoadOptions) -> CaseResult<Compiled> {
        let prepared = prepare(wat, options)?;
        Ok(Compiled::new(self.backend().compile(&prepared)?, &prepared))
    }

    /// Makes an instance of WAT text that imports nothing.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn live(&self, wat: &str) -> CaseResult<Live> {
        Ok(self.compile(wat)?.instantiate(no_host())?)
    }

    /// Makes an instance of WAT text with these host functions.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn live_with(
        &self,
        wat: &str,
        host: impl Fn(usize, &mut dyn Caller, &mut [u64]) -> Result<(), Stop> + Send + Sync + 'static,
    ) -> CaseResult<Live> {
        Ok(self.compile(wat)?.instantiate(Host(host))?)
    }
}
