//! What a guest may import: names, signatures, marshalling. One module an ABI.

use crate::stop::Stop;
use crate::types::{Caller, FuncType, ValType};

pub(crate) mod composed;
pub mod experimental;
mod paths;
pub mod preview1;
#[cfg(test)]
mod signatures;
pub mod wasi02;

/// Whether modules of this name are wharf's own, and nobody else may offer functions of theirs.
pub(crate) fn is_reserved(module: &str) -> bool {
    [experimental::MODULE, preview1::MODULE].contains(&module)
        || ["wasi:", "wharf:"].iter().any(|namespace| module.starts_with(namespace))
}

/// A host function of an ABI, over that ABI's per-guest state `C`.
///
/// The function gets its arguments in `slots` and leaves its results there. Every signature is checked against the
/// ABI's WITX file by a test.
pub struct Function<C: 'static> {
    /// The name a guest imports it by, within the ABI's module.
    pub name: &'static str,
    /// Parameter types, in order.
    pub params: &'static [ValType],
    /// Result types, in order.
    pub results: &'static [ValType],
    /// The function itself.
    pub call: fn(&C, &mut dyn Caller, &mut [u64]) -> Result<(), Stop>,
}

impl<C> Function<C> {
    /// The signature in core's terms.
    pub fn ty(&self) -> FuncType {
        FuncType { params: self.params.to_vec(), results: self.results.to_vec() }
    }

    /// How many slots a call needs.
    pub fn slots(&self) -> usize {
        self.params.len().max(self.results.len())
    }
}
