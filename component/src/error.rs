//! Why a component was not flattened.

use std::fmt;

/// A part of WebAssembly or of the component model that flattening does not support.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Feature {
    /// Asynchronous functions that are lifted without a callback, whose stack would have to be switched.
    Stackful,
    /// Threads of the component model, `thread.yield` aside.
    ComponentThreads,
    /// Error contexts.
    ErrorContext,
    /// Asynchronous functions in a component that is composed of several, or that has resources of its own.
    ComposedAsync,
    /// Garbage-collected references.
    Gc,
    /// Exceptions and their tags.
    Exceptions,
    /// Memories and tables with 64-bit addresses.
    Memory64,
    /// Shared memories and atomics.
    Threads,
    /// A core module that is imported or exported instead of being instantiated inside.
    CoreModules,
    /// A component that is imported, exported or passed along instead of being instantiated where it is defined.
    FirstClassComponents,
    /// A component that is given to another one as an argument, which instantiates it.
    ComponentArguments,
    /// Lists of a fixed length.
    FixedLengthLists,
    /// Maps.
    Maps,
    /// Several of the above, or one that is not listed here.
    Other,
}

impl Feature {
    /// The feature's name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Feature::Stackful => "asynchronous functions without a callback",
            Feature::ComponentThreads => "threads of the component model (`thread.*`)",
            Feature::ErrorContext => "`error-context`",
            Feature::ComposedAsync => "asynchronous functions beside composed components or resources of its own",
            Feature::Gc => "garbage collection",
            Feature::Exceptions => "exceptions",
            Feature::Memory64 => "64-bit memories",
            Feature::Threads => "threads",
            Feature::CoreModules => "core modules as imports or exports",
            Feature::FirstClassComponents => "components as imports or exports",
            Feature::ComponentArguments => "components as arguments of components inside",
            Feature::FixedLengthLists => "lists of a fixed length",
            Feature::Maps => "maps",
            Feature::Other => "a feature outside the portable set",
        }
    }

    /// What to do about it.
    fn advice(self) -> &'static str {
        match self {
            Feature::Stackful => "lift its functions with the canonical option `callback`",
            Feature::ComponentThreads | Feature::ErrorContext => "build it for WASI 0.3 as released, without that",
            Feature::ComposedAsync => "run it on an engine's own host for components, or serve its parts one by one",
            Feature::Gc | Feature::Exceptions | Feature::Memory64 | Feature::Threads | Feature::Other => {
                "build it for WebAssembly 2.0, without that feature"
            }
            Feature::FixedLengthLists | Feature::Maps => "use the types of WASI 0.2 in its interfaces",
            Feature::ComponentArguments => "compose it so that each component is instantiated where it is defined",
            Feature::CoreModules | Feature::FirstClassComponents => "compose it so that it contains all it needs",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a component was not flattened. [`Internal`](Self::Internal) is a defect of this crate; all others are caused by
/// the component, or by the options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlattenError {
    /// The bytes are not a component.
    #[error("not a component: {found}")]
    NotAComponent {
        /// What the bytes are instead, and what to do.
        found: String,
    },
    /// The component is malformed.
    #[error("the component is invalid at offset {offset:#x}: {message}")]
    Invalid {
        /// Where, in bytes from the start of the component.
        offset: u64,
        /// What is wrong there.
        message: String,
    },
    /// The component is valid, but needs a feature that a flattened module cannot have.
    #[error("the component needs {feature}, which cannot be flattened: {item}; {}", feature.advice())]
    Unsupported {
        /// What it needs.
        feature: Feature,
        /// The item that needs it.
        item: String,
    },
    /// The component is composed of several with a memory each, but the engine supports only one in a module.
    #[error(
        "the component has {memories} memories, but the engine supports only one in a module; run it on an engine with \
         multi-memory"
    )]
    NeedsMultiMemory {
        /// How many memories it has.
        memories: u32,
    },
    /// The component is larger than the options allow.
    #[error("the component has {found} {what}; at most {limit} are allowed")]
    Limit {
        /// What there is too much of, in the plural.
        what: &'static str,
        /// How much there is; a lower bound where counting stopped early.
        found: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// A fault of wharf, not of the component.
    #[error("flattening failed: {message} (component sha256:{digest}); this is a defect of wharf, please report it")]
    Internal {
        /// What went wrong.
        message: String,
        /// The component's SHA-256, in hexadecimal.
        digest: String,
    },
}

/// A fault found deep inside, before the component's digest is put beside it.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Ready to be returned.
    Refused(FlattenError),
    /// An invariant that does not hold.
    Internal(String),
}

pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

impl From<FlattenError> for Fault {
    fn from(error: FlattenError) -> Self {
        Fault::Refused(error)
    }
}

impl From<wasmparser::BinaryReaderError> for Fault {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        // What is parsed again has been validated before, so this cannot be the component's doing.
        internal(format!("a validated module does not parse: {error}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Refused(error) => error.fmt(f),
            Fault::Internal(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Fault {}

pub(crate) fn internal(message: impl Into<String>) -> Fault {
    Fault::Internal(message.into())
}

pub(crate) fn unsupported(feature: Feature, item: impl Into<String>) -> Fault {
    FlattenError::Unsupported { feature, item: item.into() }.into()
}

impl Fault {
    /// The public error, with the digest of `wasm` where the fault is ours.
    pub(crate) fn into_error(self, wasm: &[u8]) -> FlattenError {
        use sha2::{Digest, Sha256};
        match self {
            Fault::Refused(error) => error,
            Fault::Internal(message) => {
                let digest = Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect();
                FlattenError::Internal { message, digest }
            }
        }
    }
}
