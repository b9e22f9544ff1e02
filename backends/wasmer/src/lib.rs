//! Wasmer behind wharf's seam, and wharf's imports for an embedder's own Wasmer store.
//!
//! [`Wasmer`] is a [`Backend`](wharf_core::Backend): it compiles, calls, hands out memory, names traps and lets
//! itself be interrupted. It knows no ABI and no HTTP; core does.
//!
//! - `backend`: the compiler's settings, compiled modules;
//! - `instance`: instances, calls both ways, traps;
//! - `interrupt`: how a guest is stopped.

mod backend;
mod instance;
mod interrupt;

pub use backend::Wasmer;
