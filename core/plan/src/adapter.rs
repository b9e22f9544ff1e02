//! What is known of the adapter by which a component uses preview 1.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whom an adapter is published for, which decides what it shows of WASI 0.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdapterVariant {
    /// Programs: it exports `wasi:cli/run`.
    Command,
    /// Libraries.
    Reactor,
    /// Guests of `wasi:http/proxy`: no arguments, environment, files or exit.
    Proxy,
}

impl AdapterVariant {
    /// Every variant.
    pub const ALL: [AdapterVariant; 3] = [AdapterVariant::Command, AdapterVariant::Reactor, AdapterVariant::Proxy];

    /// The variant's name, as it is published.
    pub fn name(self) -> &'static str {
        match self {
            AdapterVariant::Command => "command",
            AdapterVariant::Reactor => "reactor",
            AdapterVariant::Proxy => "proxy",
        }
    }

    /// The module that a flattened component imports functions of preview 1 from, in the place of this variant's.
    pub fn module(self) -> &'static str {
        match self {
            AdapterVariant::Command => "wharf:preview1/command",
            AdapterVariant::Reactor => "wharf:preview1/reactor",
            AdapterVariant::Proxy => "wharf:preview1/proxy",
        }
    }

    /// The variant whose functions are imported from this module, if it is one.
    pub fn of_module(module: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.module() == module)
    }
}

impl fmt::Display for AdapterVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A published adapter, recognised by what its functions consist of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapter {
    /// The variant: the first, where several have the same functions.
    pub variant: AdapterVariant,
    /// The releases of Wasmtime that publish an adapter with these functions, the latest first.
    pub releases: Vec<String>,
    /// The functions that the host stands in for.
    pub left_out: Vec<String>,
    /// The functions that the adapter is still there for, `wasi:cli/run` included. If there are none, it is gone.
    pub kept: Vec<String>,
}
