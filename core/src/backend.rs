//! The backend interface: all that a backend implements, and all that core knows of an engine.
//!
//! An adapter compiles bytes, calls functions, hands out memory, names traps and lets itself be interrupted.
//! It checks no pointer, enforces no limit, knows no ABI and sends no HTTP: core does, once, for every engine.
//! Where the engine cannot interrupt a guest, or leaves its stack unbounded, [`meter`](crate::meter) does it instead.
//!
//! Core only ever hands an adapter a module that it has [prepared](crate::Guest): validated against the portable
//! feature set, memory and tables capped, its start function turned into the export [`START_EXPORT`](crate::START_EXPORT), and every
//! import a function that the accompanying [`Imports`] provides.

use std::sync::Arc;

use crate::error::Result;
use crate::imports::Imports;
use crate::prepare::Prepared;
use crate::trusted::TrustedCode;
use crate::types::{Caller, Interrupt};

/// What an engine may or may not be able to do; queried at run time, printed by `wharf backends`.
///
/// A case that needs a capability a backend lacks is `unsupported` only after the backend has been seen to say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// [`Interrupt::interrupt`] stops a guest that is running.
    Interrupt,
    /// [`Module::serialize`] yields code that [`Backend::load`] accepts.
    CompiledCode,
    /// A module may have several memories.
    MultiMemory,
}

impl Capability {
    /// Every capability, in the order they are printed.
    pub const ALL: [Capability; 3] = [Capability::Interrupt, Capability::CompiledCode, Capability::MultiMemory];

    /// The name used in reports and by `wharf backends`.
    pub fn name(self) -> &'static str {
        match self {
            Capability::Interrupt => "interrupt",
            Capability::CompiledCode => "compiled-code",
            Capability::MultiMemory => "multi-memory",
        }
    }
}

/// What a backend says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendInfo {
    /// The backend's name, as given to `--backend`.
    pub name: &'static str,
    /// The engine's version, as the engine reports it or as it was linked.
    pub engine_version: String,
    /// Everything that changes the code this backend generates (compiler, flags, CPU): part of the cache key.
    pub code_key: String,
    /// What the engine can do.
    pub capabilities: Vec<Capability>,
}

impl BackendInfo {
    /// Whether the engine can do this.
    pub fn can(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

/// An engine, ready to compile.
pub trait Backend: Send + Sync {
    /// Name, engine version, capabilities.
    fn info(&self) -> &BackendInfo;

    /// Compiles a module.
    ///
    /// # Errors
    /// [`Kind::Engine`](crate::Kind::Engine) if the engine refuses what core found valid.
    fn compile(&self, prepared: &Prepared) -> Result<Arc<dyn Module>>;

    /// Loads what [`Module::serialize`] wrote, on the same engine version and [`BackendInfo::code_key`].
    ///
    /// `prepared` is the module the code was compiled from, for engines whose code needs it.
    ///
    /// # Errors
    /// On any error core compiles the module again.
    fn load(&self, prepared: &Prepared, code: TrustedCode<'_>) -> Result<Arc<dyn Module>>;
}

/// A compiled module; shared between threads and instantiated any number of times.
pub trait Module: Send + Sync {
    /// The compiled code, to be stored; `None` if this engine has none to give.
    ///
    /// # Errors
    /// [`Kind::Engine`](crate::Kind::Engine); core then goes on without a cache.
    fn serialize(&self) -> Result<Option<TrustedCode<'_>>>;

    /// Makes an instance whose imports are, in order, the functions of `imports`.
    ///
    /// Runs no guest code: a prepared module has no start section.
    ///
    /// # Errors
    /// [`Kind::Trap`](crate::Kind::Trap) if an active segment is out of bounds, else
    /// [`Kind::Engine`](crate::Kind::Engine).
    fn instantiate(&self, imports: Arc<Imports>) -> Result<Box<dyn Instance>>;
}

/// One instance of a module. It may move between threads and is used by one at a time.
pub trait Instance: Caller + Send {
    /// A handle that stops this instance from another thread. The default does nothing, for an engine that cannot be
    /// interrupted: its backend lacks [`Capability::Interrupt`], or has core [meter](crate::meter) its guests.
    fn interrupt(&self) -> Arc<dyn Interrupt> {
        Arc::new(NoInterrupt)
    }
}

/// What interrupts nothing.
pub(crate) struct NoInterrupt;

impl Interrupt for NoInterrupt {
    fn interrupt(&self) {}
}
