//! What a guest has to export, for its imports and to be run.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, Kind, Result};
use crate::inspect::{self, COMMAND_EXPORT};
use crate::link::Binding;
use crate::prepare::Prepared;
use crate::types::{Export, ExportType, FuncType, ValType};

/// Checks that the guest exports the memories that its imports work on.
pub(super) fn check_memories(bindings: &[Binding], exports: &[Export]) -> Result<()> {
    // A hostile guest has as many imports as exports, and of both as many as a module may.
    let memories = exports.iter().filter(|export| export.ty == ExportType::Memory);
    let memories: HashSet<&str> = memories.map(|export| export.name.as_str()).collect();
    let exported = |name: &str| memories.contains(name);
    match bindings.iter().filter_map(Binding::memory).find(|name| !exported(name)) {
        Some(name) => {
            let message = format!("an import works on the memory `{name}`, which the guest does not export");
            Err(Error::new(Kind::Unsupported, message))
        }
        None => Ok(()),
    }
}

/// Checks that the guest exports the allocators that its imports need.
pub(super) fn check_reallocs(bindings: &[Binding], exports: &[Export]) -> Result<()> {
    let types: HashMap<&str, &ExportType> = exports.iter().map(|export| (&*export.name, &export.ty)).collect();
    for realloc in bindings.iter().filter_map(Binding::realloc) {
        let ty = match types.get(realloc) {
            Some(ExportType::Function(ty)) => ty,
            _ => function(exports, realloc)?,
        };
        if ty.params != [ValType::I32; 4] || ty.results != [ValType::I32] {
            let message =
                format!("the export `{realloc}` is not an allocator: its type is {ty}, not (i32 x 4) -> (i32)");
            return Err(Error::new(Kind::Guest, message));
        }
    }
    Ok(())
}

impl Prepared {
    /// Whether [`Guest::run`](crate::Guest::run) would find the function to run: to be checked before a long
    /// compilation.
    ///
    /// # Errors
    /// What `Guest::run` reports.
    pub fn check_run(&self, invoke: Option<&str>) -> Result<()> {
        to_run(self.exports(), invoke).map(drop)
    }
}

/// The export that is run: `invoke`, or else the one that a command has.
///
/// # Errors
/// [`Kind::Guest`] if there is none, or it takes parameters.
pub(super) fn to_run<'a>(exports: &'a [Export], invoke: Option<&'a str>) -> Result<&'a str> {
    let export = invoke.or_else(|| inspect::command(exports)).unwrap_or(COMMAND_EXPORT);
    let export = inspect::lifted(exports, export).unwrap_or(export);
    if invoke.is_none() && inspect::command(exports).is_none() && inspect::is_handler(exports) {
        let message = "the guest answers requests and is not a command; `wharf serve` is for such guests";
        return Err(Error::new(Kind::Guest, message));
    }
    let params = function(exports, export)?.params.len();
    if params > 0 {
        let counted = if params == 1 { "1 parameter" } else { &format!("{params} parameters") };
        let message = format!("the function `{export}` takes {counted}; only one that takes none can be run");
        return Err(Error::new(Kind::Guest, message));
    }
    Ok(export)
}

/// The type of the function of this name.
///
/// # Errors
/// [`Kind::Guest`] if there is none, naming those that there are.
pub(super) fn function<'a>(exports: &'a [Export], name: &str) -> Result<&'a FuncType> {
    let export = exports.iter().find(|export| export.name == name);
    match export.map(|export| &export.ty) {
        Some(ExportType::Function(ty)) => Ok(ty),
        Some(_) => {
            Err(Error::new(Kind::Guest, format!("the export `{name}` is not a function that the host can call")))
        }
        None => {
            let callable: Vec<&str> = exports
                .iter()
                .filter(|export| matches!(export.ty, ExportType::Function(_)))
                .map(|export| if export.name.is_empty() { "``" } else { export.name.as_str() })
                .take(8)
                .collect();
            let advice = match callable.as_slice() {
                [] => "it exports no function".to_owned(),
                names => format!("it exports {}", names.join(", ")),
            };
            Err(Error::new(Kind::Guest, format!("the guest exports no function `{name}`; {advice}")))
        }
    }
}
