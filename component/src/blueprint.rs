//! A component with its structure resolved: which core modules are instantiated, in which order, with what.
//!
//! What [`translate`](crate::translate) reads from wasmtime-environ, in types of our own.

use std::collections::BTreeMap;

use crate::plan::{AdapterVariant, Builtin, Encoding, Function, HandleTable, Payload, Transcoding, TrapReason, Type};

/// A component with its structure resolved.
#[derive(Debug, Default)]
pub(crate) struct Blueprint {
    /// The core modules, adapters between components included.
    pub(crate) modules: Vec<Vec<u8>>,
    /// The core instances, in the order they are made.
    pub(crate) instances: Vec<CoreInstance>,
    /// The functions that the host provides.
    pub(crate) hosts: Vec<Host>,
    /// The memories that canonical options and transcoders refer to.
    pub(crate) memories: Vec<Item>,
    /// The functions that canonical options name as `realloc`.
    pub(crate) reallocs: Vec<Def>,
    /// The functions that canonical options name as `post-return`.
    pub(crate) post_returns: Vec<Def>,
    /// The functions that canonical options name as `callback`.
    pub(crate) callbacks: Vec<Def>,
    /// The canonical options.
    pub(crate) options: Vec<Options>,
    /// The functions that the component exports.
    pub(crate) exports: Vec<Lifted>,
    /// The resource types, imported ones first.
    pub(crate) resources: Vec<ResourceDef>,
    pub(crate) handle_tables: Vec<HandleTable>,
    pub(crate) streams: Vec<Payload>,
    pub(crate) futures: Vec<Payload>,
    pub(crate) types: Vec<Type>,
    pub(crate) functions: Vec<Function>,
    /// What the codes mean that adapters stop the guest with.
    pub(crate) traps: Vec<(u32, TrapReason)>,
    /// The numbers that adapters have for types of streams and futures, by position in [`Blueprint::streams`] and so on.
    pub(crate) stream_tables: Vec<u32>,
    pub(crate) future_tables: Vec<u32>,
    /// The numbers that adapters have for types of results.
    pub(crate) results: BTreeMap<u32, Option<u32>>,
    /// How many component instances there are.
    pub(crate) component_instances: u32,
    /// The names that the component imports at its top level.
    pub(crate) component_imports: Vec<String>,
}

impl Blueprint {
    /// Whether a core instance is an adapter between components.
    pub(crate) fn is_adapter(&self, instance: usize) -> bool {
        self.instances.get(instance).is_some_and(|instance| instance.owner.is_none())
    }
}

/// One instantiation of a core module.
#[derive(Debug)]
pub(crate) struct CoreInstance {
    pub(crate) module: usize,
    /// One for each import of the module, in order.
    pub(crate) args: Vec<Def>,
    /// The component instance it belongs to; `None` for an adapter.
    pub(crate) owner: Option<u32>,
}

/// An item of a core instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) instance: usize,
    pub(crate) kind: ItemKind,
    /// The position in the instance's index space.
    pub(crate) index: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemKind {
    Function,
    Table,
    Memory,
    Global,
}

/// Where a core item comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Def {
    /// A core instance made earlier.
    Item(Item),
    /// The may-leave flag of a component instance.
    MayLeave(u32),
    /// The flag that says whether the task that runs may wait.
    MayBlock,
    /// The host, by position in [`Blueprint::hosts`].
    Host(usize),
    /// Reads or writes the context of the task that runs.
    Context(Context),
}

/// `context.get` or `context.set`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Context {
    Get(u32),
    Set(u32),
}

/// A function that the host provides.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) params: Vec<wasm_encoder::ValType>,
    pub(crate) results: Vec<wasm_encoder::ValType>,
    pub(crate) kind: HostKind,
}

#[derive(Debug)]
pub(crate) enum HostKind {
    Call {
        interface: String,
        function: String,
        ty: u32,
        options: usize,
    },
    /// A function of preview 1, in the place of an adapter's.
    Adapted {
        variant: AdapterVariant,
        function: String,
    },
    ResourceDrop {
        table: u32,
    },
    ResourceNew {
        table: u32,
    },
    ResourceRep {
        table: u32,
    },
    Transcode {
        transcoding: Transcoding,
        from: usize,
        to: usize,
    },
    Async {
        builtin: Builtin,
        options: BuiltinOptions,
    },
    ResourceTransferOwn,
    ResourceTransferBorrow,
    EnterSyncCall,
    ExitSyncCall,
    Trap,
    PrepareCall {
        memory: Option<usize>,
    },
    StartAndWait {
        callback: Option<usize>,
    },
    Start {
        callback: Option<usize>,
        post_return: Option<usize>,
    },
    StreamTransfer,
    FutureTransfer,
}

/// Canonical options, by position in the lists of the [`Blueprint`].
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) instance: u32,
    pub(crate) memory: Option<usize>,
    pub(crate) realloc: Option<usize>,
    pub(crate) post_return: Option<usize>,
    pub(crate) callback: Option<usize>,
    pub(crate) asynchronous: bool,
    pub(crate) encoding: Encoding,
}

/// The options of a function of the component model's concurrency.
#[derive(Debug)]
pub(crate) enum BuiltinOptions {
    /// By position in [`Blueprint::options`].
    Listed(usize),
    /// It has none but these.
    Only { instance: u32, asynchronous: bool },
}

/// A function that the component exports.
#[derive(Debug)]
pub(crate) struct Lifted {
    pub(crate) interface: Option<String>,
    pub(crate) function: String,
    pub(crate) ty: u32,
    pub(crate) def: Def,
    pub(crate) options: usize,
}

#[derive(Debug)]
pub(crate) enum ResourceDef {
    Imported { interface: String, name: String },
    Defined { instance: u32, destructor: Option<Def> },
}
