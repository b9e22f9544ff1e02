//! What a guest may import: names, signatures, marshalling. One module an ABI.

use crate::stop::Stop;
use crate::types::{Caller, FuncType, ValType};

pub(crate) mod composed;
pub(crate) mod concurrent;
pub mod experimental;
mod paths;
pub mod preview1;
#[cfg(test)]
mod signatures;
#[cfg(test)]
mod testing;
pub mod wasi02;
pub(crate) mod wasi03;

/// Whether modules of this name are wharf's own, and nobody else may offer functions of theirs.
pub(crate) fn is_reserved(module: &str) -> bool {
    [experimental::MODULE, preview1::MODULE].contains(&module)
        || ["wasi:", "wharf:"].iter().any(|namespace| module.starts_with(namespace))
}

/// Calls a macro with the names of the types of each tuple that a host function may have, of 1 to 16.
macro_rules! for_tuples {
    ($macro:ident) => {
        $macro! {
            (A)
            (A B)
            (A B C)
            (A B C D)
            (A B C D E)
            (A B C D E F)
            (A B C D E F G)
            (A B C D E F G H)
            (A B C D E F G H I)
            (A B C D E F G H I J)
            (A B C D E F G H I J K)
            (A B C D E F G H I J K L)
            (A B C D E F G H I J K L M)
            (A B C D E F G H I J K L M N)
            (A B C D E F G H I J K L M N O)
            (A B C D E F G H I J K L M N O P)
        }
    };
}
pub(crate) use for_tuples;

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
