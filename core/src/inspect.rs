//! What a file is and what it would take to run it: `wharf inspect`, and the check before every load.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};
use crate::imports::Import;
use crate::limits::LoadOptions;
use crate::link::{self, Abi, Status};
use crate::prepare::{Export, ExportType, Prepared};

/// The export that a command is started by.
pub const COMMAND_EXPORT: &str = "_start";

/// A module's imports and exports, each import with what wharf makes of it.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The imports, in the module's order.
    pub imports: Vec<(Import, Status)>,
    /// The exports, in the module's order.
    pub exports: Vec<Export>,
}

impl Inspection {
    /// Reads `wasm`, which need not be runnable, but must be a valid core module.
    ///
    /// # Errors
    /// What [`Prepared::new`] reports.
    pub fn of(wasm: &[u8]) -> Result<Self> {
        Ok(Self::of_prepared(&Prepared::new(wasm, &LoadOptions::default())?))
    }

    /// The same for a module that is prepared already.
    pub fn of_prepared(prepared: &Prepared) -> Self {
        let imports = prepared.imports().iter().map(|import| (import.clone(), link::status(import))).collect();
        Inspection { imports, exports: prepared.exports().to_vec() }
    }

    /// The ABIs the guest speaks, by its satisfied imports.
    pub fn abis(&self) -> BTreeSet<Abi> {
        self.imports
            .iter()
            .filter_map(|(_, status)| match status {
                Status::Satisfied(abi) => Some(*abi),
                _ => None,
            })
            .collect()
    }

    /// Whether it is a command: it exports `_start`.
    pub fn is_command(&self) -> bool {
        self.exports.iter().any(|e| e.name == COMMAND_EXPORT && matches!(e.ty, ExportType::Function(_)))
    }

    /// Whether it exports the memory that the ABIs work on.
    pub fn has_memory(&self) -> bool {
        self.exports.iter().any(|e| e.name == "memory" && e.ty == ExportType::Memory)
    }

    /// All that would keep the guest from being loaded, a line each.
    pub fn problems(&self) -> Vec<String> {
        let unmet = self.imports.iter().filter(|(_, status)| !matches!(status, Status::Satisfied(_)));
        let mut problems: Vec<String> = unmet
            .map(|(import, status)| format!("{}::{} {}: {status}", import.module, import.name, import.ty))
            .collect();
        if !self.imports.is_empty() && !self.has_memory() {
            problems.push("the guest imports host functions but exports no memory named `memory`".to_owned());
        }
        problems
    }

    /// Fails if the guest cannot be loaded.
    ///
    /// # Errors
    /// [`Kind::Unsupported`], naming every import that is not satisfied.
    pub fn check(&self) -> Result<()> {
        let problems = self.problems();
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Unsupported, format!("the guest cannot be linked: {}", problems.join("; "))))
    }
}
