//! Finds, for each import of a module, the host function that satisfies it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use http::Extensions;
use wharf_grants::WasiConfig;
use wharf_plan::{ASYNC_LOWER, ASYNC_MODULE, AdapterVariant, INTRINSICS_MODULE, Intrinsic};

use crate::abi::composed::{self, Declared};
use crate::abi::wasi02::options::{self, Options};
use crate::abi::{Function, concurrent, experimental, preview1, wasi02, wasi03};
use crate::budget::Budget;
use crate::http::Outbound;
use crate::imports::Calls;
use crate::linker::{self, Linker};
use crate::run::Run;
use crate::stop::Stop;
use crate::types::Import;
use crate::types::{Caller, FuncType, ValType};

/// An ABI that wharf hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Abi {
    /// `wasi_experimental_http`.
    Experimental,
    /// WASI preview 1.
    Preview1,
    /// WASI 0.2, `wasi:http` included, as lowered core functions.
    Wasi02,
    /// WASI 0.3, `wasi:http` included, as lowered core functions.
    Wasi03,
    /// Tasks, streams and futures of the component model.
    Concurrent,
    /// Connects the parts of a composed component.
    Composed,
}

impl Abi {
    /// Every ABI.
    pub const ALL: [Abi; 6] =
        [Abi::Experimental, Abi::Preview1, Abi::Wasi02, Abi::Wasi03, Abi::Concurrent, Abi::Composed];

    /// The module name that guests import its functions from; WASI 0.2 and 0.3 have one for each interface and version, and
    /// this is what they have in common.
    pub fn module(self) -> &'static str {
        match self {
            Abi::Experimental => experimental::MODULE,
            Abi::Preview1 => preview1::MODULE,
            Abi::Wasi02 => "wasi:*@0.2",
            Abi::Wasi03 => "wasi:*@0.3",
            Abi::Concurrent => ASYNC_MODULE,
            Abi::Composed => INTRINSICS_MODULE,
        }
    }

    /// The names of all its functions, as `module::name`.
    fn names(self) -> Box<dyn Iterator<Item = String>> {
        let full = |module: &'static str, name: &'static str| format!("{module}::{name}");
        match self {
            Abi::Experimental => {
                Box::new(experimental::FUNCTIONS.iter().map(move |f| full(experimental::MODULE, f.name)))
            }
            Abi::Preview1 => {
                let functions = preview1::Dialect::ALL.into_iter().flat_map(|dialect| dialect.functions());
                Box::new(functions.map(move |f| full(preview1::MODULE, f.name)))
            }
            Abi::Wasi02 => Box::new(wasi02::functions().map(move |f| full(f.interface, f.name))),
            Abi::Wasi03 => Box::new(wasi03::functions().map(move |f| full(f.interface, f.name))),
            // What flattening writes, nobody spells.
            Abi::Concurrent | Abi::Composed => Box::new(std::iter::empty()),
        }
    }
}

/// A host function, found.
#[derive(Clone)]
pub(crate) enum Binding {
    Experimental(&'static Function<experimental::Http>),
    Preview1(&'static Function<preview1::Wasi>),
    /// Of preview 1, as an adapter has it.
    Adapted(&'static Function<wasi02::Host>),
    Wasi02(&'static wasi02::Function, Arc<Options>),
    /// Of WASI 0.3, lowered asynchronously or not.
    Wasi03(&'static wasi03::Function, Arc<Options>, bool),
    Concurrent(Arc<concurrent::Function>),
    Composed(Arc<Intrinsic>),
    /// Of an embedder's interface, with the function's name there.
    Offered(Arc<Named>, Arc<Options>),
    /// An embedder's for core modules.
    OfferedCore(Arc<linker::CoreFunction>),
}

/// An embedder's function, as a guest imports it.
pub(crate) struct Named {
    interface: String,
    name: String,
    function: Arc<linker::Function>,
}

impl Binding {
    /// The canonical options it is called with, if it was lowered.
    fn options(&self) -> Option<&Arc<Options>> {
        match self {
            Binding::Wasi02(_, options) | Binding::Wasi03(_, options, _) | Binding::Offered(_, options) => {
                Some(options)
            }
            Binding::Concurrent(function) => Some(&function.options),
            _ => None,
        }
    }

    fn options_mut(&mut self) -> Option<&mut Arc<Options>> {
        match self {
            Binding::Wasi02(_, options) | Binding::Wasi03(_, options, _) | Binding::Offered(_, options) => {
                Some(options)
            }
            _ => None,
        }
    }

    /// The export that is the memory it works on, if it is not the usual one.
    pub(crate) fn memory(&self) -> Option<&str> {
        self.options().map(|options| &*options.memory).filter(|memory| *memory != "memory")
    }

    /// The same, called by this component instance.
    pub(crate) fn called_by(mut self, instance: Option<u32>) -> Self {
        if let (Some(options), Some(instance)) = (self.options_mut(), instance) {
            *options = Arc::new(Options { instance, ..(**options).clone() });
        }
        self
    }

    /// The export that allocates what it returns, if it needs one.
    pub(crate) fn realloc(&self) -> Option<&str> {
        match self {
            Binding::Wasi02(function, options) if function.needs_realloc => Some(&options.realloc),
            Binding::Wasi03(function, options, _) if function.needs_realloc => Some(&options.realloc),
            Binding::Concurrent(function) if function.needs_realloc() => Some(&function.options.realloc),
            Binding::Offered(named, options) if named.function.needs_realloc => Some(&options.realloc),
            _ => None,
        }
    }
}

/// Whether wharf has what an import asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Yes: a function of this ABI.
    Satisfied(Abi),
    /// Yes: a function that the embedder offers; whether it works on the guest's memory by itself.
    Offered {
        /// Whether it does.
        needs_memory: bool,
    },
    /// No function has that name; the nearest one that wharf has, as `module::name`.
    Unknown {
        /// A likely intended name.
        nearest: Option<String>,
    },
    /// A function has that name and this signature instead.
    WrongType {
        /// The signature that the host has.
        expected: FuncType,
    },
    /// The embedder offers a function of that name with this type instead; both in WIT's notation.
    WrongWit {
        /// The type that the guest imports.
        guest: String,
        /// The type that the embedder offers.
        host: String,
    },
    /// Known, but not supported.
    Refused {
        /// Why, and what to do.
        reason: &'static str,
    },
}

impl Status {
    /// Whether there is a function for the import.
    pub fn is_satisfied(&self) -> bool {
        matches!(self, Status::Satisfied(_) | Status::Offered { .. })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Satisfied(abi) => write!(f, "satisfied by {}", abi.module()),
            Status::Offered { .. } => write!(f, "satisfied by the embedder"),
            Status::WrongWit { guest, host } => {
                write!(f, "has another type: the guest imports `{guest}`, the embedder offers `{host}`")
            }
            Status::Unknown { nearest: Some(nearest) } => write!(f, "unknown; did the guest mean {nearest}?"),
            Status::Unknown { nearest: None } => write!(f, "unknown"),
            Status::WrongType { expected } => write!(f, "has another signature; the host has {expected}"),
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

/// A prerelease of 0.2 or another minor version has other interfaces under the same names.
const OTHER_VERSION: &str = "wharf hosts the interfaces of WASI 0.2.0 and 0.3.0, of later releases of 0.2 and 0.3, and \
                             the draft of `wasi:logging`; rebuild the guest with bindings of such a release";

/// Of WASI 0.3 there is more than this host has.
const NOT_03: &str = "wharf's own host has of WASI 0.3 the interfaces of `cli`, `clocks`, `random` and `http`; an engine's own \
                      host for components may have others, or build the guest for WASI 0.2";

/// Finds the host function for import `index`, or why there is none. What `linker` offers is to have the type that the plan
/// of a component `declared` for it.
pub(crate) fn bind(
    import: &Import,
    index: usize,
    linker: &Linker,
    declared: Option<&Declared>,
) -> Result<Binding, Status> {
    let unknown = || Status::Unknown { nearest: nearest(import, linker) };
    // What is offered to core modules is not what a component imports, whose types would not be compared.
    if let (Some(function), None) = (linker.core_function(&import.module, &import.name), declared) {
        return typed(Binding::OfferedCore(function.clone()), &function.ty, import);
    }
    let (binding, expected) = match import.module.as_str() {
        experimental::MODULE => {
            let found = experimental::FUNCTIONS.iter().find(|f| f.name == import.name).ok_or_else(unknown)?;
            (Binding::Experimental(found), found.ty())
        }
        preview1::MODULE => {
            // Functions for sockets have one name and several signatures.
            let functions = preview1::Dialect::ALL.into_iter().flat_map(|dialect| dialect.functions());
            let mut named = functions.filter(|f| f.name == import.name).peekable();
            let first = *named.peek().ok_or_else(unknown)?;
            let found = named.find(|f| f.ty() == import.ty).unwrap_or(first);
            (Binding::Preview1(found), found.ty())
        }
        INTRINSICS_MODULE => {
            let intrinsic = Intrinsic::parse(&import.name).ok_or(Status::Unknown { nearest: None })?;
            let ty = composed::ty(&intrinsic);
            (Binding::Composed(Arc::new(intrinsic)), ty)
        }
        ASYNC_MODULE => {
            let function = declared.and_then(|declared| declared.concurrent(index));
            let function = function.ok_or(Status::Unknown { nearest: None })?;
            // `task.return` takes what its task has for a result.
            let ty = function.ty().unwrap_or(FuncType { params: import.ty.params.clone(), results: Vec::new() });
            (Binding::Concurrent(Arc::new(function)), ty)
        }
        module if let Some(variant) = AdapterVariant::of_module(module) => {
            let mut functions = wasi02::adapted::functions(variant).iter();
            let found = functions.find(|f| f.name == import.name).ok_or(Status::Unknown { nearest: None })?;
            (Binding::Adapted(found), found.ty())
        }
        module if WASIX_MODULES.contains(&module) => return Err(Status::Refused { reason: WASIX }),
        module => {
            let (interface, version) = options::split_version(module);
            let (name, options) = options::parse(&import.name).map_err(|reason| Status::Refused { reason })?;
            if let Some(function) = linker.component_function(module, name) {
                let wit = function.wit.as_ref();
                let other = wit.and_then(|wit| Some((declared?.other_than(index, wit)?, wit)));
                if let Some((guest, wit)) = other {
                    return Err(Status::WrongWit { guest, host: wit.to_string() });
                }
                let (interface, name) = (module.to_owned(), name.to_owned());
                let named = Named { interface, name, function: function.clone() };
                return typed(Binding::Offered(Arc::new(named), Arc::new(options)), &function.ty, import);
            }
            if version.is_some_and(options::compatible03) {
                let asynchronous = name.strip_prefix(ASYNC_LOWER);
                let mut of_interface = wasi03::functions().filter(|f| f.interface == interface).peekable();
                if of_interface.peek().is_none() {
                    return Err(Status::Refused { reason: NOT_03 });
                }
                let named = asynchronous.unwrap_or(name);
                let found = of_interface.find(|f| f.name == named).ok_or_else(unknown)?;
                let asynchronous = asynchronous.is_some();
                let binding = Binding::Wasi03(found, Arc::new(options), asynchronous);
                return typed(binding, &found.ty(asynchronous), import);
            }
            let mut of_interface = wasi02::functions().filter(|f| f.interface == interface).peekable();
            if of_interface.peek().is_some() && !options::hosts(interface, version) {
                return Err(Status::Refused { reason: OTHER_VERSION });
            }
            let found = of_interface.find(|f| f.name == name).ok_or_else(unknown)?;
            (Binding::Wasi02(found, Arc::new(options)), found.ty())
        }
    };
    let old = matches!(binding, Binding::Experimental(_)) && import.name == "req" && import.ty.params.len() == 15;
    typed(binding, &expected, import).map_err(|wrong| if old { Status::Refused { reason: OLD_REQ } } else { wrong })
}

/// The binding, if its signature is that of the import.
fn typed(binding: Binding, expected: &FuncType, import: &Import) -> Result<Binding, Status> {
    if *expected == import.ty { Ok(binding) } else { Err(Status::WrongType { expected: expected.clone() }) }
}

impl Binding {
    /// What it says of its import, for people.
    pub(crate) fn status(&self) -> Status {
        match self {
            Binding::Offered(named, _) => Status::Offered { needs_memory: named.function.needs_memory },
            // It asks for the memory when it is called.
            Binding::OfferedCore(_) => Status::Offered { needs_memory: false },
            Binding::Experimental(_) => Status::Satisfied(Abi::Experimental),
            Binding::Preview1(_) | Binding::Adapted(_) => Status::Satisfied(Abi::Preview1),
            Binding::Wasi02(..) => Status::Satisfied(Abi::Wasi02),
            Binding::Wasi03(..) => Status::Satisfied(Abi::Wasi03),
            Binding::Concurrent(_) => Status::Satisfied(Abi::Concurrent),
            Binding::Composed(_) => Status::Satisfied(Abi::Composed),
        }
    }
}

/// The known function whose full name is most like the import's.
fn nearest(import: &Import, linker: &Linker) -> Option<String> {
    let wanted = format!("{}::{}", import.module, import.name);
    let known = Abi::ALL.into_iter().flat_map(Abi::names).chain(linker.names());
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(&wanted, &known), known))
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// The host functions of one instance.
pub(crate) struct Linked {
    pub(crate) bindings: Arc<[Binding]>,
    pub(crate) http: RwLock<experimental::Http>,
    pub(crate) wasi: RwLock<preview1::Wasi>,
    pub(crate) host: wasi02::Host,
    /// The embedder's, for its own functions.
    pub(crate) data: RwLock<Extensions>,
    pub(crate) run: Run,
    /// What the guest takes, and may.
    pub(crate) budget: Budget,
}

/// Reads state that is only replaced between calls of the guest.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

impl Linked {
    /// Lets go of what the guest was granted for a request, and closes what belongs to it.
    pub(crate) fn recycle(&self, run: &Run) {
        *self.http.write().unwrap_or_else(PoisonError::into_inner) = experimental::Http::deny_all(run.clone());
        *self.data.write().unwrap_or_else(PoisonError::into_inner) = Extensions::new();
        self.host.recycle();
    }

    /// Has the guest go on with what another of its requests is granted.
    pub(crate) fn turn_to(&self, wasi: &WasiConfig, outbound: Option<Outbound>, data: &Extensions) {
        *self.data.write().unwrap_or_else(PoisonError::into_inner) = data.clone();
        self.host.reset_for(wasi, outbound);
    }

    /// Grants the guest something else.
    pub(crate) fn reset_for(&self, wasi: WasiConfig, outbound: Option<Outbound>, data: Extensions, run: &Run) {
        *self.data.write().unwrap_or_else(PoisonError::into_inner) = data;
        self.host.reset_for(&wasi, outbound.clone());
        *self.http.write().unwrap_or_else(PoisonError::into_inner) = http(outbound, run, &self.budget);
        self.wasi.write().unwrap_or_else(PoisonError::into_inner).reset_for(wasi);
    }
}

/// `wasi_experimental_http` for a guest with these grants.
pub(crate) fn http(outbound: Option<Outbound>, run: &Run, budget: &Budget) -> experimental::Http {
    match outbound {
        Some(outbound) => experimental::Http::new(outbound, run.clone()).bounded(budget),
        None => experimental::Http::deny_all(run.clone()),
    }
}

impl Calls for Arc<Linked> {
    fn call(&self, index: usize, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
        match &self.bindings[index] {
            Binding::Experimental(function) => (function.call)(&read(&self.http), caller, slots),
            Binding::Preview1(function) => (function.call)(&read(&self.wasi), caller, slots),
            Binding::Adapted(function) => (function.call)(&self.host, caller, slots),
            Binding::Wasi02(function, options) => function.call(&self.host, options, caller, slots),
            Binding::Wasi03(function, options, asynchronous) => {
                function.call(&self.host, options, *asynchronous, caller, slots)
            }
            Binding::Concurrent(function) => function.call(&self.host, caller, slots),
            Binding::Composed(intrinsic) => composed::call(intrinsic, &self.host, caller, slots),
            Binding::Offered(named, options) => {
                let data = read(&self.data);
                let name = (&*named.interface, &*named.name);
                self.host.call(name, options, caller, slots, |cx, slots| named.function.call(cx, &data, slots))
            }
            Binding::OfferedCore(function) => function.call(caller, &read(&self.data), &self.run, slots),
        }
    }
}
