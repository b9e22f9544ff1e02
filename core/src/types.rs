//! What crosses between core and an engine: types, traps, and a guest as its host functions see it.

use wasmparser::WasmFeatures;

use crate::error::{Error, Kind};

/// What the names begin with that wharf adds to a module.
pub(crate) const RESERVED: &str = "$wharf";

/// The feature set that every backend has: WebAssembly 2.0. A guest that needs more is refused by name.
pub(crate) const PORTABLE: WasmFeatures = WasmFeatures::WASM2;

/// The same with several memories, which composed components have, and which an engine may lack.
pub(crate) const ADMITTED: WasmFeatures = PORTABLE.union(WasmFeatures::MULTI_MEMORY);

/// A core WebAssembly number type. References never cross to a backend.
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

/// The signature of a function that crosses to a backend.
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

/// One function that a module imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The import's module name.
    pub module: String,
    /// The import's field name.
    pub name: String,
    /// Its signature, as the guest declares it.
    pub ty: FuncType,
}

/// One export of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Export {
    /// The export's name.
    pub name: String,
    /// What it is.
    pub ty: ExportType,
}

/// What an export is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportType {
    /// A function whose signature can cross to a backend.
    Function(FuncType),
    /// A function that takes or returns references or vectors; it cannot be called from the host.
    UncallableFunction,
    /// A memory.
    Memory,
    /// A global.
    Global,
    /// A table.
    Table,
}

/// What can be done to a guest from outside and, through a host function's caller, from inside a call.
pub trait Caller {
    /// The guest's exported `memory`, as it is now; `None` if it exports none.
    ///
    /// The slice ends with this borrow, so it is never held across a call that may grow the memory.
    fn memory(&mut self) -> Option<&mut [u8]>;

    /// The same for the memory exported as `export`. An engine with [`Capability::MultiMemory`](crate::Capability::MultiMemory) finds every one; the
    /// default finds `memory`.
    fn memory_named(&mut self, export: &str) -> Option<&mut [u8]> {
        if export == "memory" { self.memory() } else { None }
    }

    /// Calls the exported function `export`. `slots` holds the parameters and receives the results; it is as long
    /// as the longer of the two. Core has checked the export's type.
    ///
    /// # Errors
    /// A [`Trap`] as the engine reports it. When it is [`TrapCode::Host`], the reason is in [`Imports`](crate::Imports).
    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap>;

    /// Reads the exported global `export`, of a number type; `None` if there is no such global.
    fn global(&mut self, export: &str) -> Option<u64>;

    /// Writes the exported mutable global `export`; false if there is no such global or it is immutable.
    fn set_global(&mut self, export: &str, value: u64) -> bool;
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
