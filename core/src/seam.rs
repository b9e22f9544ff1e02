//! The seam: all that a backend implements, and all that core knows of an engine.
//!
//! An adapter compiles bytes, calls functions, hands out memory, names traps and lets itself be interrupted.
//! It checks no pointer, enforces no limit, knows no ABI and sends no HTTP: core does, once, for every engine.
//! Where the engine cannot interrupt a guest, or leaves its stack unbounded, [`meter`](crate::meter) does it instead.
//!
//! Core only ever hands an adapter a module that it has [prepared](crate::Guest): validated against the portable
//! feature set, memory and tables capped, its start function turned into the export [`START_EXPORT`], and every
//! import a function that the accompanying [`Imports`] provides.

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::imports::Imports;
use crate::prepare::Prepared;
use crate::trusted::TrustedCode;

/// The export that a module's start function becomes, so that it runs under the same deadline as everything else.
pub const START_EXPORT: &str = "$start";

/// A core WebAssembly number type. References never cross the seam.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValType {
    /// 32-bit integer; its slot holds the bits zero-extended.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float; its slot holds the bits zero-extended.
    F32,
    /// 64-bit float; its slot holds the bits.
    F64,
}

impl ValType {
    /// The type's name in the text format.
    pub fn name(self) -> &'static str {
        match self {
            ValType::I32 => "i32",
            ValType::I64 => "i64",
            ValType::F32 => "f32",
            ValType::F64 => "f64",
        }
    }
}

/// The signature of a function that crosses the seam.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FuncType {
    /// Parameter types, in order.
    pub params: Vec<ValType>,
    /// Result types, in order.
    pub results: Vec<ValType>,
}

impl FuncType {
    /// How many slots a call needs.
    pub fn slots(&self) -> usize {
        self.params.len().max(self.results.len())
    }
}

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

/// What can be done to a guest from outside and, through a host function's caller, from inside a call.
pub trait Caller {
    /// The guest's exported `memory`, as it is now; `None` if it exports none.
    ///
    /// The slice ends with this borrow, so it is never held across a call that may grow the memory.
    fn memory(&mut self) -> Option<&mut [u8]>;

    /// The same for the memory exported as `export`. An engine with [`Capability::MultiMemory`] finds every one; the
    /// default finds `memory`.
    fn memory_named(&mut self, export: &str) -> Option<&mut [u8]> {
        if export == "memory" { self.memory() } else { None }
    }

    /// Calls the exported function `export`. `slots` holds the parameters and receives the results; it is as long
    /// as the longer of the two. Core has checked the export's type.
    ///
    /// # Errors
    /// A [`Trap`] as the engine reports it. When it is [`TrapCode::Host`], the reason is in [`Imports`].
    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap>;

    /// Reads the exported global `export`, of a number type; `None` if there is no such global.
    fn global(&mut self, export: &str) -> Option<u64>;

    /// Writes the exported mutable global `export`; false if there is no such global or it is immutable.
    fn set_global(&mut self, export: &str, value: u64) -> bool;
}

/// One instance of a module. It may move between threads and is used by one at a time.
pub trait Instance: Caller + Send {
    /// A handle that stops this instance from another thread. The default does nothing, for an engine that cannot be
    /// interrupted: its backend lacks [`Capability::Interrupt`], or has core [meter](crate::meter) its guests.
    fn interrupt(&self) -> Arc<dyn Interrupt> {
        Arc::new(NoInterrupt)
    }
}

struct NoInterrupt;

impl Interrupt for NoInterrupt {
    fn interrupt(&self) {}
}

/// Stops an instance from another thread.
pub trait Interrupt: Send + Sync {
    /// Makes the guest code that runs now, or that is entered next, trap with [`TrapCode::Interrupted`].
    ///
    /// Final: an interrupted instance is not called again. It does not end a host function: core ends its own waits.
    fn interrupt(&self);
}

/// Why an engine stopped a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrapCode {
    /// `unreachable` was executed.
    Unreachable,
    /// A load, store or bulk operation left the memory.
    MemoryOutOfBounds,
    /// A table access left the table.
    TableOutOfBounds,
    /// An indirect call of a null or uninitialised element.
    NullElement,
    /// An indirect call with the wrong signature.
    BadSignature,
    /// Integer division by zero.
    DivisionByZero,
    /// Integer overflow in a division.
    IntegerOverflow,
    /// A float that has no integer value was converted.
    BadConversion,
    /// The call stack is exhausted.
    StackOverflow,
    /// [`Interrupt::interrupt`] was called.
    Interrupted,
    /// A host function stopped the guest.
    Host,
    /// Anything else; the message says what.
    Other,
}

/// A trap, as an adapter reports it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{message}")]
pub struct Trap {
    /// The reason, the same on every engine.
    pub code: TrapCode,
    /// The engine's own words, with a backtrace where it gives one.
    pub message: String,
}

impl Trap {
    /// Makes a trap.
    pub fn new(code: TrapCode, message: impl Into<String>) -> Self {
        Trap { code, message: message.into() }
    }

    /// The error for an instance that could not be made because of this trap. A prepared module has no start function, so
    /// only copying a segment can trap: [`Kind::Trap`] if that was it, else [`Kind::Engine`].
    pub fn in_instantiation(self) -> Error {
        if matches!(self.code, TrapCode::MemoryOutOfBounds | TrapCode::TableOutOfBounds) {
            let what = "a data or element segment does not fit into its memory or table";
            return Error::new(Kind::Trap, what).with_source(self);
        }
        Error::new(Kind::Engine, "the module cannot be instantiated").with_source(self)
    }

    /// The trap for a call of an export that is not a function of numbers.
    pub fn no_function(export: &str) -> Self {
        Trap::new(TrapCode::Other, format!("the guest exports no function `{export}` that takes and returns numbers"))
    }

    /// The trap for a call with `given` slots of a function that has more parameters or results.
    pub fn few_slots(export: &str, given: usize) -> Self {
        Trap::new(TrapCode::Other, format!("{given} slots are too few to call `{export}`"))
    }
}
