//! What a file is and what it would take to run it: `wharf inspect`, and the check before every load.

use std::collections::BTreeSet;

use wharf_plan::ASYNC_LIFT;

use crate::abi::wasi02::options;
use crate::error::{Error, Kind, Result};
use crate::limits::LoadOptions;
use crate::link::{self, Abi, Status};
use crate::linker::Linker;
use crate::prepare::Prepared;
use crate::types::Import;
use crate::types::{Export, ExportType};
use crate::types::{FuncType, ValType};

/// The export that starts a command.
pub const COMMAND_EXPORT: &str = "_start";

/// The export that a reactor has by default.
const DEFAULT_EXPORT: &str = "";

/// The export that initialises a reactor.
pub(crate) const INITIALIZE_EXPORT: &str = "_initialize";

/// The exported function `function` of any release 0.2 of `interface`, if its type is the one given.
fn of_interface<'a>(exports: &'a [Export], interface: &str, function: &str, ty: &FuncType) -> Option<&'a str> {
    of_release(exports, interface, function, ty, "", options::compatible)
}

/// The same of any release 0.3, whether it is lifted asynchronously or not.
fn of_interface03<'a>(exports: &'a [Export], interface: &str, function: &str, ty: &FuncType) -> Option<&'a str> {
    let lifted = |prefix| of_release(exports, interface, function, ty, prefix, options::compatible03);
    lifted(ASYNC_LIFT).or_else(|| lifted(""))
}

fn of_release<'a>(
    exports: &'a [Export],
    interface: &str,
    function: &str,
    ty: &FuncType,
    prefix: &str,
    compatible: fn(&str) -> bool,
) -> Option<&'a str> {
    exports.iter().find_map(|export| {
        let (module, name) = export.name.strip_prefix(prefix)?.split_once('#')?;
        let (found, version) = options::split_version(module);
        let named = found == interface && name == function && version.is_some_and(compatible);
        (named && export.ty == ExportType::Function(ty.clone())).then_some(export.name.as_str())
    })
}

/// The export by which a command is started: `_start`, or `wasi:cli/run` of WASI 0.2, or else the one whose name is
/// empty, which reactors have by default.
pub(crate) fn command(exports: &[Export]) -> Option<&str> {
    let function = |name| exports.iter().find(move |e| e.name == name && matches!(e.ty, ExportType::Function(_)));
    let run = FuncType { params: vec![], results: vec![ValType::I32] };
    let start = function(COMMAND_EXPORT).map(|export| export.name.as_str());
    let default = || function(DEFAULT_EXPORT).map(|export| export.name.as_str());
    start
        .or_else(|| of_interface(exports, "wasi:cli/run", "run", &run))
        .or_else(|| of_interface03(exports, "wasi:cli/run", "run", &run))
        .or_else(default)
}

/// The export of this name, or the one that is lifted asynchronously under it.
pub(crate) fn lifted<'a>(exports: &'a [Export], name: &str) -> Option<&'a str> {
    let found = |name: &str| exports.iter().find(|export| export.name == name).map(|export| export.name.as_str());
    found(name).or_else(|| found(&format!("{ASYNC_LIFT}{name}")))
}

/// The export that answers requests: `wasi:http/incoming-handler` of WASI 0.2.
pub(crate) fn handler(exports: &[Export]) -> Option<&str> {
    let handle = FuncType { params: vec![ValType::I32; 2], results: vec![] };
    of_interface(exports, "wasi:http/incoming-handler", "handle", &handle)
}

/// The export that answers requests of WASI 0.3: `wasi:http/handler`.
pub(crate) fn handler03(exports: &[Export]) -> Option<&str> {
    let handle = FuncType { params: vec![ValType::I32], results: vec![ValType::I32] };
    of_interface03(exports, "wasi:http/handler", "handle", &handle)
}

/// Whether there is an export that answers requests.
pub(crate) fn is_handler(exports: &[Export]) -> bool {
    handler(exports).is_some() || handler03(exports).is_some()
}

impl Prepared {
    /// Whether the guest could answer requests: to be checked before a long compilation.
    ///
    /// # Errors
    /// [`no_handler`](crate::no_handler).
    pub fn check_serve(&self) -> Result<()> {
        if is_handler(self.exports()) { Ok(()) } else { Err(crate::no_handler()) }
    }
}

/// Whether it is a reactor of WASI 0.2 with an initialiser.
pub(crate) fn initializes(exports: &[Export]) -> bool {
    let none = ExportType::Function(FuncType { params: vec![], results: vec![] });
    let reactor = !exports.iter().any(|export| export.name == COMMAND_EXPORT);
    reactor
        && (command(exports).is_some() || is_handler(exports))
        && exports.iter().any(|export| export.name == INITIALIZE_EXPORT && export.ty == none)
}

/// A module's imports and exports, each import with what wharf makes of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
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
        Self::with_linker(prepared, &Linker::new())
    }

    /// The same beside what the embedder offers.
    pub fn with_linker(prepared: &Prepared, linker: &Linker) -> Self {
        let status =
            |index, import| match link::bind(import, index, linker, prepared.declared().map(|declared| &**declared)) {
                Ok(binding) => binding.status(),
                Err(status) => status,
            };
        let imports = prepared.own_imports().iter().enumerate();
        let imports = imports.map(|(index, import)| (import.clone(), status(index, import))).collect();
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

    /// Whether it is a command: it exports `_start`, `wasi:cli/run` of WASI 0.2, or a function with the empty name.
    pub fn is_command(&self) -> bool {
        command(&self.exports).is_some()
    }

    /// Whether it answers requests: it exports `wasi:http/incoming-handler` of WASI 0.2 or `wasi:http/handler` of WASI 0.3.
    pub fn is_handler(&self) -> bool {
        is_handler(&self.exports)
    }

    /// Whether it exports the memory that the ABIs work on.
    pub fn has_memory(&self) -> bool {
        self.exports.iter().any(|e| e.name == "memory" && e.ty == ExportType::Memory)
    }

    /// All that would keep the guest from being loaded, a line each.
    pub fn problems(&self) -> Vec<String> {
        let unmet = self.imports.iter().filter(|(_, status)| !status.is_satisfied());
        let mut problems: Vec<String> = unmet
            .map(|(import, status)| format!("{}::{} {}: {status}", import.module, import.name, import.ty))
            .collect();
        // What joins components names its memories itself.
        let by_default = self.imports.iter().any(|(import, status)| {
            ![wharf_plan::INTRINSICS_MODULE, wharf_plan::ASYNC_MODULE].contains(&&*import.module)
                && !matches!(status, Status::Offered { needs_memory: false })
        });
        if by_default && !self.has_memory() {
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
