//! Wasmtime as a backend of wharf, and wharf's imports in an embedder's own Wasmtime linker.
//!
//! [`Wasmtime`] is a [`Backend`](wharf_core::Backend): it compiles, calls, hands out memory, names traps and lets
//! itself be interrupted. It knows no ABI and no HTTP; core does.
//!
//! An embedder that has a [`Linker`](wasmtime::Linker) of its own, with its own WASI, adds the HTTP imports to it
//! with [`add_experimental_to_linker`] and needs nothing else of this crate.
//!
//! - `backend`: the engine's settings, compiled modules;
//! - `instance`: instances;
//! - `guest`: calls both ways, for wharf's instances and the embedder's;
//! - `interrupt`: epochs;
//! - `values`: the engine's values as slots, its errors as traps;
//! - `embed`: the embedder's linker.

mod backend;
mod embed;
mod guest;
mod instance;
mod interrupt;
mod values;

pub use backend::Wasmtime;
pub use embed::{add_experimental_to_linker, add_functions_to_linker};
pub use wharf_core::Exit;
