//! Initial state as an image, for an engine that would make all of it anew for every instance.
//!
//! - Memory: an interpreter that was initialised ahead of time brings megabytes of data, most of which an instance only
//!   reads, or does not even read. So [`strip`] takes active segments out of what the engine is given, and [`Imaged`] maps
//!   them into the memory of each new instance, copy-on-write from one sealed file that is in memory only. An instance
//!   then takes the pages that it writes to, and never finds what another has written.
//! - All else: an engine may take a millisecond for the functions and tables of such a module, and the system microseconds
//!   for each page that is written to first. So an instance that has ended well is put back into the state of a new one, of
//!   which the pages that it wrote are a part, and used as such, see `renewed`.
//!
//! An adapter compiles what [`strip`] leaves of a module and [`meter::rewrite`](crate::meter::rewrite) makes of that; or, if
//! its engine maps memories and is not metered, what [`expose`] makes. It puts its own [`Module`] into an [`Imaged`].

mod memories;
mod renewed;
mod segments;
mod state;
#[cfg(test)]
mod tests;
mod written;

use std::sync::{Arc, OnceLock};

pub use memories::MAX_IDLE;
use memories::Memories;
use renewed::{Kept, Lead, Renewed, Used};
use segments::Plan;
pub use segments::strip;
pub(crate) use state::State;
pub use state::expose;

use crate::backend::{Instance, Module};
use crate::error::Result;
use crate::imports::Imports;
use crate::prepare::Prepared;
use crate::trusted::TrustedCode;
use state::Globals;

/// A module whose engine was given what [`strip`] left of it, or what [`expose`] made.
pub struct Imaged<M> {
    module: M,
    initial: Arc<Initial>,
}

/// What a new instance has, and instances that have nothing else.
struct Initial {
    memories: Memories,
    /// Known with the first instance; `None` if an instance cannot be put back.
    globals: OnceLock<Option<Globals>>,
    kept: Kept,
}

impl<M: Module> Imaged<M> {
    /// Gives every instance of `module` the data that [`strip`] takes out of `prepared`.
    ///
    /// # Safety
    /// The memories that [`memory_named`](crate::Caller::memory_named) finds in an instance of `module` are private
    /// anonymous mappings, readable, writable and of nothing else, which the engine lets go of by unmapping the addresses.
    /// So others may be mapped in the place of their pages, and what is in these may be discarded.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::Kind::Internal) if the module cannot be read.
    #[expect(unsafe_code, reason = "how an engine allocates memory cannot be checked, only promised")]
    pub unsafe fn new(module: M, prepared: &Prepared) -> Result<Self> {
        let plan = Plan::of(prepared.wasm())?;
        // SAFETY: as the caller promises.
        let memories = unsafe { Memories::empty(&plan, prepared.bytes()) };
        Ok(Self::with(module, memories, &plan))
    }

    /// The same for a `module` that has its data, as [`expose`] leaves it.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::Kind::Internal) if the module cannot be read.
    pub fn filled(module: M, prepared: &Prepared) -> Result<Self> {
        let plan = Plan::of(prepared.wasm())?;
        Ok(Self::with(module, Memories::filled(&plan, prepared.bytes()), &plan))
    }

    fn with(module: M, memories: Memories, plan: &Plan<'_>) -> Self {
        let globals = if plan.is_complete() { OnceLock::new() } else { OnceLock::from(None) };
        Imaged { module, initial: Arc::new(Initial { memories, globals, kept: Kept::default() }) }
    }

    /// An instance that none was kept for.
    fn make(&self, imports: Arc<Imports>) -> Result<Box<dyn Instance>> {
        let mut instance = self.module.instantiate(imports)?;
        self.initial.memories.fill(&mut *instance)?;
        Ok(instance)
    }
}

impl<M: Module> Module for Imaged<M> {
    fn serialize(&self) -> Result<Option<TrustedCode<'_>>> {
        self.module.serialize()
    }

    fn instantiate(&self, imports: Arc<Imports>) -> Result<Box<dyn Instance>> {
        let initial = &self.initial;
        if let Some(None) = initial.globals.get() {
            return self.make(imports);
        }
        let used = match initial.kept.take() {
            Some(used) => used,
            None => {
                let lead = Arc::new(Lead::default());
                let mut instance = self.make(Arc::new(Imports::around(imports.shared_types(), Arc::clone(&lead))))?;
                initial.globals.get_or_init(|| Globals::of(&mut *instance));
                Used { instance, imports: lead, bytes: 0 }
            }
        };
        Ok(Box::new(Renewed::new(used, imports, Arc::clone(initial))))
    }
}
