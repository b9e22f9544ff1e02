//! The dialects that socket functions come in, and which one an import speaks.

use std::fmt;

use crate::abi::Function;
use crate::abi::preview1::{FUNCTIONS, MODULE, WASMEDGE_V1, WASMEDGE_V2, Wasi};
use crate::types::Import;

/// A variant of the socket functions of preview 1. The name and signature of each import tell its dialect; a module may
/// mix them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Preview 1 as it is specified: connections are accepted from a listener that the guest finds open.
    Standard,
    /// WasmEdge's first: addresses of 4 or 16 bytes, accept without flags.
    WasmEdgeV1,
    /// WasmEdge's second: addresses that say their family, names that end with `_v2`.
    WasmEdgeV2,
}

impl Dialect {
    /// Every dialect; where two have a function of the same name and signature, the earlier one applies.
    pub const ALL: [Dialect; 3] = [Dialect::Standard, Dialect::WasmEdgeV1, Dialect::WasmEdgeV2];

    /// The name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Standard => "standard",
            Dialect::WasmEdgeV1 => "WasmEdge V1",
            Dialect::WasmEdgeV2 => "WasmEdge V2",
        }
    }

    /// The dialect that wharf binds this import to; `None` if it is not a socket function that wharf has.
    pub fn of(import: &Import) -> Option<Dialect> {
        let is_meant = |function: &Function<Wasi>| function.name == import.name && function.ty() == import.ty;
        let socket = import.name.starts_with("sock_") || import.name == "epoll_oneoff";
        if import.module != MODULE || !socket {
            return None;
        }
        Dialect::ALL.into_iter().find(|dialect| dialect.functions().iter().any(is_meant))
    }

    /// Its functions; for the standard one, those of preview 1 that are not about sockets too.
    pub(crate) fn functions(self) -> &'static [Function<Wasi>] {
        match self {
            Dialect::Standard => FUNCTIONS,
            Dialect::WasmEdgeV1 => WASMEDGE_V1,
            Dialect::WasmEdgeV2 => WASMEDGE_V2,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
