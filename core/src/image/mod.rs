//! Initial memory as an image, for an engine that would copy a module's data into every instance.
//!
//! An interpreter that was initialised ahead of time brings megabytes of data, most of which an instance only reads, or
//! does not even read. So [`strip`] takes active segments out of what the engine is given, and [`Imaged`] maps them into
//! the memory of each new instance, copy-on-write from one sealed file that is in memory only. An instance then takes the
//! pages that it writes to, and never finds what another has written.
//!
//! An adapter compiles what [`strip`] leaves of a module and puts its own [`Module`] into an [`Imaged`].
//!
//! Which segments are taken is said in `segments`. That they are not copied in the module's order is not seen: no guest
//! code runs before an instance is made, and guests share no memory.

mod contents;
mod segments;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use contents::Contents;
use segments::Plan;
pub use segments::strip;

use crate::backend::{Instance, Module};
use crate::error::{Error, Kind, Result};
use crate::imports::Imports;
use crate::prepare::Prepared;
use crate::trusted::TrustedCode;

/// A module whose engine was given what [`strip`] left of it.
pub struct Imaged<M> {
    module: M,
    memories: Vec<Memory>,
    contents: Contents,
}

/// A memory that is given contents.
struct Memory {
    export: String,
    runs: Vec<Run>,
}

/// Whole pages of a memory, in bytes, and where their contents begin.
struct Run {
    pages: Range<usize>,
    at: usize,
}

impl<M: Module> Imaged<M> {
    /// Gives every instance of `module` the data that [`strip`] takes out of `prepared`.
    ///
    /// # Safety
    /// The memories that [`memory_named`](crate::Caller::memory_named) finds in a new instance of `module` are private anonymous
    /// mappings, readable, writable and of nothing else, which the engine lets go of by unmapping the addresses. So
    /// others may be mapped in the place of their pages.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the module cannot be read.
    #[expect(unsafe_code, reason = "how an engine allocates memory cannot be checked, only promised")]
    pub unsafe fn new(module: M, prepared: &Prepared) -> Result<Self> {
        let plan = Plan::of(prepared.wasm())?;
        let (memories, bytes) = plan.lay_out();
        Ok(Imaged { module, memories, contents: Contents::of(bytes) })
    }

    fn fill(&self, instance: &mut dyn Instance) -> Result<()> {
        for memory in &self.memories {
            let bytes = instance.memory_named(&memory.export);
            let bytes = bytes.ok_or_else(|| internal(format!("the memory `{}` is not there", memory.export)))?;
            for run in &memory.runs {
                let pages = bytes.get_mut(run.pages.clone());
                let pages = pages.ok_or_else(|| internal(format!("the memory `{}` is too small", memory.export)))?;
                #[expect(unsafe_code, reason = "as `new` was promised")]
                // SAFETY: the pages are those of a new instance's memory.
                unsafe { self.contents.put(run.at, pages) }.map_err(|error| {
                    Error::new(Kind::Engine, "the guest's initial memory cannot be mapped").with_source(error)
                })?;
            }
        }
        Ok(())
    }
}

impl<M: Module> Module for Imaged<M> {
    fn serialize(&self) -> Result<Option<TrustedCode<'_>>> {
        self.module.serialize()
    }

    fn instantiate(&self, imports: Arc<Imports>) -> Result<Box<dyn Instance>> {
        let mut instance = self.module.instantiate(imports)?;
        self.fill(&mut *instance)?;
        Ok(instance)
    }
}

fn internal(what: String) -> Error {
    Error::new(Kind::Internal, format!("initialising a guest's memory failed: {what}"))
}
