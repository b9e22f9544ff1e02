//! Wasmer as a backend of wharf, and wharf's imports in an embedder's own Wasmer store.
//!
//! [`Wasmer`] is a [`Backend`](wharf_core::Backend): it compiles, calls, hands out memory, names traps and lets
//! itself be interrupted. It knows no ABI and no HTTP; core does.
//!
//! An embedder that has a [`Store`](wasmer::Store) and [`Imports`](wasmer::Imports) of its own, with its own WASI,
//! adds the HTTP imports to them with [`add_experimental_to_imports`] and needs nothing else of this crate.
//!
//! - `backend`: the compiler's settings, compiled modules;
//! - `instance`: instances;
//! - `guest`: calls both ways, for wharf's instances and the embedder's;
//! - `values`: the engine's values as slots, its errors as traps;
//! - `embed`: the embedder's imports.

mod backend;
mod embed;
mod guest;
mod instance;
mod values;

pub use backend::Wasmer;
pub use embed::{Attachment, add_experimental_to_imports, add_functions_to_imports};
pub use wharf_core::Exit;
