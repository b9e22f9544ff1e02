//! What the host must know of a flattened component: all that the core module itself does not say.
//!
//! `wharf-component` writes a [`Plan`] into the module that it makes, and the host that runs the module reads it with
//! [`Plan::read`], which trusts nothing. Both have the names of what connects composed components from here: [`Intrinsic`].
//!
//! One crate writes the types below and another takes them apart, and each names all there is of them: what is added or
//! changed gets a new [`PLAN_VERSION`].
//!
//! Every index is a position in the list of the [`Plan`] that its documentation names. Names of exports are names in
//! the core module.

mod adapter;
mod concurrent;
mod intrinsic;
mod reading;

use serde::{Deserialize, Serialize};

pub use self::adapter::{Adapter, AdapterVariant};
pub use self::concurrent::{Builtin, EndFunction, Passing};
pub use self::intrinsic::{
    ASYNC_WITH_RESULT, ASYNC_WITHOUT_RESULT, CoreType, Intrinsic, PREPARING, Transcoding, TrapReason,
};

/// The export that the host calls once after instantiation, where the plan says that there is one.
pub const START_EXPORT: &str = "$start";

/// The custom section of the flattened module that holds the plan, as JSON.
pub const PLAN_SECTION: &str = "wharf.plan";

/// Names this version of the plan and of what connects components: a digest of this crate's sources.
pub const REVISION: &str = env!("WHARF_PLAN_SOURCES");

/// The version of the plan's format that this crate reads.
pub const PLAN_VERSION: u32 = 5;

/// The module that functions of no interface are imported from: handle tables of the component's own resources, and
/// functions that connect composed components.
pub const INTRINSICS_MODULE: &str = "wharf:component/intrinsics";

/// The module that functions of the component model's concurrency are imported from: tasks, waitables, streams and
/// futures.
pub const ASYNC_MODULE: &str = "wharf:component/async";

/// What the name of an import begins with that is lowered as an asynchronous function.
pub const ASYNC_LOWER: &str = "[async-lower]";

/// What the name of an export begins with that is lifted as an asynchronous function.
pub const ASYNC_LIFT: &str = "[async-lift]";

/// What stands before the name of such an export for its callback's.
pub const CALLBACK: &str = "[callback]";

/// What the name of a global begins with that holds a task's context: the slot's number follows.
pub const CONTEXT: &str = "$context_";

/// How many slots of context a task has.
pub const CONTEXT_SLOTS: u32 = 2;

/// The import module of functions and resources that the component imports by themselves, outside of an interface.
pub const ROOT_MODULE: &str = "$root";

/// What the host must know about a flattened component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// The core module's imports, in its order.
    pub imports: Vec<Import>,
    /// The functions the component exports, in its order.
    pub exports: Vec<Export>,
    /// The names of the exported memories, the default one first.
    pub memories: Vec<String>,
    /// How many memories the core module has, those that no host function reaches included. More than one needs
    /// multi-memory.
    pub memory_count: u32,
    /// How many tables the core module has.
    pub tables: u32,
    /// Whether the core module exports [`START_EXPORT`], which the host calls once, before anything else.
    pub start: bool,
    /// The component instances.
    pub instances: Vec<Instance>,
    /// The resource types, imported ones first.
    pub resources: Vec<Resource>,
    /// The handle tables: one for each pair of component instance and resource type. A table whose resource is `None`
    /// stands for a type that nothing uses when the component runs.
    pub handle_tables: Vec<HandleTable>,
    /// The types of streams, for each component instance.
    pub streams: Vec<Payload>,
    /// The types of futures, for each component instance.
    pub futures: Vec<Payload>,
    /// The value types that functions and other types refer to.
    pub types: Vec<Type>,
    /// The function types.
    pub functions: Vec<Function>,
    /// What the codes mean that [`Intrinsic::Trap`] is called with.
    pub traps: Vec<(u32, TrapReason)>,
    /// The names the component imports at its top level, used or not, in its order.
    pub component_imports: Vec<String>,
    /// The published adapter for preview 1 that the component brings, if it was recognised.
    pub adapter: Option<Adapter>,
    /// What those refer to by number that join components which call each other asynchronously, if there are such.
    pub calls: Option<Calls>,
}

/// What the functions refer to by number that connect components which call each other asynchronously.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calls {
    /// The exports that adapters have the host call: [`Intrinsic::PrepareCall`] and what starts a call name them by their
    /// position here.
    pub functions: Vec<String>,
    /// Positions in [`Plan::streams`], by the number that [`Intrinsic::StreamTransfer`] has for a type.
    pub streams: Vec<u32>,
    /// Positions in [`Plan::futures`], by the number that [`Intrinsic::FutureTransfer`] has for a type.
    pub futures: Vec<u32>,
    /// The numbers that [`Intrinsic::PrepareCall`] has for types of results that some `task.return` has, which are positions
    /// in [`Plan::types`].
    pub results: Vec<(u32, Option<u32>)>,
    /// The exported global that is 0 while the task that runs may not wait: the host sets it as it switches between tasks.
    pub may_block: Option<String>,
}

/// One import of the core module: always a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The import's module.
    pub module: String,
    /// The import's name, with the options that are not the default ones.
    pub name: String,
    /// What the function does.
    pub kind: ImportKind,
}

/// What an imported function does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ImportKind {
    /// Calls a function of the host: lifts its parameters, calls it, lowers its results.
    Call {
        /// The interface, as the component names it; [`ROOT_MODULE`] for a function by itself.
        interface: String,
        /// The function's name in the interface.
        function: String,
        /// Its type, in [`Plan::functions`].
        ty: u32,
        /// How values are passed.
        options: CanonicalOptions,
    },
    /// `resource.drop`, of a resource that the host provides: takes a handle.
    ResourceDrop {
        /// In [`Plan::handle_tables`].
        table: u32,
    },
    /// Connects composed components.
    Intrinsic {
        /// The function, by its name.
        name: Intrinsic,
    },
    /// A function of the component model's concurrency.
    Async {
        /// The function.
        builtin: Builtin,
        /// How values are passed.
        options: CanonicalOptions,
    },
    /// A function of preview 1, as the adapter would have it that was left out. The import's module says which variant.
    Adapted,
}

/// One function that the component exports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// The export's name in the core module.
    pub name: String,
    /// The exported interface, as the component names it; `None` for a function by itself.
    pub interface: Option<String>,
    /// The function's name in the interface.
    pub function: String,
    /// Its type, in [`Plan::functions`].
    pub ty: u32,
    /// How values are passed.
    pub options: CanonicalOptions,
}

/// How values are passed between a component instance and the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanonicalOptions {
    /// The component instance, in [`Plan::instances`].
    pub instance: u32,
    /// The export that is the memory; `None` where no value needs one.
    pub memory: Option<String>,
    /// The export that allocates in it; `None` where no value needs it.
    pub realloc: Option<String>,
    /// How strings are encoded.
    pub encoding: Encoding,
    /// The export that is called with the results when they have been read.
    pub post_return: Option<String>,
    /// Whether the function does not wait.
    pub asynchronous: bool,
    /// The export that is called with the events that an exported function waits for.
    pub callback: Option<String>,
}

/// How a component encodes strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// UTF-8; lengths in bytes.
    Utf8,
    /// UTF-16, little-endian; lengths in code units.
    Utf16,
    /// Latin-1, or UTF-16 where the length has its highest bit set.
    CompactUtf16,
}

impl Encoding {
    /// The encoding's name in an import's name.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "utf8",
            Encoding::Utf16 => "utf16",
            Encoding::CompactUtf16 => "latin1+utf16",
        }
    }
}

/// A component instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The exported global that is 0 while the instance must not call out: the host sets it to 0 around `realloc` and
    /// post-return, and traps a call that finds it 0. `None` if only the host needs to keep it.
    pub may_leave: Option<String>,
}

/// A resource type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Resource {
    /// One that the host provides.
    Imported {
        /// The interface, as the component names it; [`ROOT_MODULE`] for a resource by itself.
        interface: String,
        /// The resource's name in the interface.
        name: String,
    },
    /// One that the component defines.
    Defined {
        /// The component instance, in [`Plan::instances`].
        instance: u32,
        /// The export that is called with the representation when the resource ends.
        destructor: Option<String>,
    },
}

/// A table of handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandleTable {
    /// The component instance it belongs to, in [`Plan::instances`].
    pub instance: u32,
    /// The resource its handles refer to, in [`Plan::resources`].
    pub resource: Option<u32>,
}

/// The type of a stream or of a future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Payload {
    /// The component instance that has ends of it, in [`Plan::instances`].
    pub instance: u32,
    /// The type of the values, in [`Plan::types`]; `None` where they are only counted.
    pub ty: Option<u32>,
}

/// The type of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// The parameters, in order.
    pub params: Vec<Param>,
    /// The type of the result, in [`Plan::types`].
    pub result: Option<u32>,
    /// Whether it is an `async func`, which may wait.
    pub asynchronous: bool,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type, in [`Plan::types`].
    pub ty: u32,
}

/// A value type. Types inside it are positions in [`Plan::types`], always lower ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the component model's own names")]
pub enum Type {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    List {
        element: u32,
    },
    Record {
        fields: Vec<(String, u32)>,
    },
    Variant {
        cases: Vec<(String, Option<u32>)>,
    },
    Tuple {
        types: Vec<u32>,
    },
    Flags {
        names: Vec<String>,
    },
    Enum {
        names: Vec<String>,
    },
    Option {
        some: u32,
    },
    Result {
        ok: Option<u32>,
        err: Option<u32>,
    },
    /// `table` is a position in [`Plan::handle_tables`].
    Own {
        table: u32,
    },
    /// `table` is a position in [`Plan::handle_tables`].
    Borrow {
        table: u32,
    },
    /// `table` is a position in [`Plan::streams`].
    Stream {
        table: u32,
    },
    /// `table` is a position in [`Plan::futures`].
    Future {
        table: u32,
    },
}

/// Why a module's plan could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The module has no section [`PLAN_SECTION`].
    #[error("the module has no section `{PLAN_SECTION}`; it was not made by `wharf compile --emit core`")]
    Missing,
    /// The bytes are not a module.
    #[error("the module is malformed")]
    Module(#[from] wasmparser::BinaryReaderError),
    /// The section's content is not a plan.
    #[error("the section `{PLAN_SECTION}` is malformed")]
    Malformed(#[from] serde_json::Error),
    /// The plan contradicts itself or the module.
    #[error("the section `{PLAN_SECTION}` does not fit the module: {what}")]
    Inconsistent {
        /// What does not fit.
        what: String,
    },
    /// The plan has another version.
    #[error(
        "the module's plan has version {found}, but this wharf reads version {PLAN_VERSION}; compile the component \
         again"
    )]
    Version {
        /// The version found.
        found: u32,
    },
}
