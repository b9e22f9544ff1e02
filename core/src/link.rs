//! Finds, for each import of a module, the host function that satisfies it.

use std::fmt;

use crate::abi::{Function, experimental, preview1};
use crate::imports::{Calls, Import, Stop};
use crate::seam::{Caller, FuncType, ValType};

/// An ABI that wharf hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Abi {
    /// `wasi_experimental_http`.
    Experimental,
    /// WASI preview 1.
    Preview1,
}

impl Abi {
    /// Every ABI.
    pub const ALL: [Abi; 2] = [Abi::Experimental, Abi::Preview1];

    /// The module name that guests import its functions from.
    pub fn module(self) -> &'static str {
        match self {
            Abi::Experimental => experimental::MODULE,
            Abi::Preview1 => preview1::MODULE,
        }
    }

    fn from_module(module: &str) -> Option<Abi> {
        Abi::ALL.into_iter().find(|abi| abi.module() == module)
    }

    fn functions(self) -> Box<dyn Iterator<Item = (&'static str, FuncType, Binding)>> {
        match self {
            Abi::Experimental => {
                Box::new(experimental::FUNCTIONS.iter().map(|f| (f.name, f.ty(), Binding::Experimental(f))))
            }
            Abi::Preview1 => {
                let functions = preview1::Dialect::ALL.into_iter().flat_map(|dialect| dialect.functions());
                Box::new(functions.map(|f| (f.name, f.ty(), Binding::Preview1(f))))
            }
        }
    }
}

/// A host function, found.
#[derive(Clone, Copy)]
pub(crate) enum Binding {
    Experimental(&'static Function<experimental::Http>),
    Preview1(&'static Function<preview1::Wasi>),
}

/// Whether wharf has what an import asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Yes: a function of this ABI.
    Satisfied(Abi),
    /// No function has that name; the nearest one that wharf has, as `module::name`.
    Unknown {
        /// A likely intended name.
        nearest: Option<String>,
    },
    /// A function has that name and this signature instead.
    WrongType {
        /// The signature that wharf has.
        expected: FuncType,
    },
    /// Known, and not hosted.
    Refused {
        /// Why, and what to do.
        reason: &'static str,
    },
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Satisfied(abi) => write!(f, "satisfied by {}", abi.module()),
            Status::Unknown { nearest: Some(nearest) } => write!(f, "unknown; did the guest mean {nearest}?"),
            Status::Unknown { nearest: None } => write!(f, "unknown"),
            Status::WrongType { expected } => write!(f, "has another signature; wharf has {expected}"),
            Status::Refused { reason } => write!(f, "refused: {reason}"),
        }
    }
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |types: &[ValType]| types.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(", ");
        write!(f, "({}) -> ({})", list(&self.params), list(&self.results))
    }
}

/// Releases 0.1 and 0.2 imported a `req` of one type with two meanings.
const OLD_REQ: &str = "a `req` of 15 parameters comes from wasi-experimental-http 0.1 or 0.2, which disagree about what \
                       they mean; rebuild the guest with release 0.3 to 0.10";

/// The modules of Wasmer's extension of preview 1.
const WASIX_MODULES: [&str; 2] = ["wasix_32v1", "wasix_64v1"];

const WASIX: &str = "WASIX is an extension of one engine, and wharf hosts what runs on all; build the guest for \
                     wasm32-wasip1, with sockets of preview 1 or of WasmEdge";

/// Finds the host function for `import`, or why there is none.
pub(crate) fn bind(import: &Import) -> Result<Binding, Status> {
    if WASIX_MODULES.contains(&import.module.as_str()) {
        return Err(Status::Refused { reason: WASIX });
    }
    let abi = Abi::from_module(&import.module).ok_or_else(|| Status::Unknown { nearest: nearest(import) })?;
    // Functions for sockets have one name and several signatures.
    let mut expected = None;
    for (_, ty, binding) in abi.functions().filter(|(name, ..)| *name == import.name) {
        if ty == import.ty {
            return Ok(binding);
        }
        expected.get_or_insert(ty);
    }
    let Some(expected) = expected else { return Err(Status::Unknown { nearest: nearest(import) }) };
    if abi == Abi::Experimental && import.name == "req" && import.ty.params.len() == 15 {
        Err(Status::Refused { reason: OLD_REQ })
    } else {
        Err(Status::WrongType { expected })
    }
}

/// What [`bind`] makes of `import`, for people.
pub(crate) fn status(import: &Import) -> Status {
    match bind(import) {
        Ok(Binding::Experimental(_)) => Status::Satisfied(Abi::Experimental),
        Ok(Binding::Preview1(_)) => Status::Satisfied(Abi::Preview1),
        Err(status) => status,
    }
}

/// The known function whose full name is most like the import's.
fn nearest(import: &Import) -> Option<String> {
    let wanted = format!("{}::{}", import.module, import.name);
    Abi::ALL
        .into_iter()
        .flat_map(|abi| abi.functions().map(move |(name, ..)| format!("{}::{name}", abi.module())))
        .map(|known| (strsim::normalized_damerau_levenshtein(&wanted, &known), known))
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// The host functions of one instance.
pub(crate) struct Linked {
    pub(crate) bindings: std::sync::Arc<[Binding]>,
    pub(crate) http: experimental::Http,
    pub(crate) wasi: preview1::Wasi,
}

impl Calls for Linked {
    fn call(&self, index: usize, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
        match self.bindings[index] {
            Binding::Experimental(function) => (function.call)(&self.http, caller, slots),
            Binding::Preview1(function) => (function.call)(&self.wasi, caller, slots),
        }
    }
}
