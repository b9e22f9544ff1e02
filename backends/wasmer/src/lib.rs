//! Wasmer behind wharf's seam.
//!
//! [`Wasmer`] is a [`Backend`](wharf_core::Backend): it compiles, calls, hands out memory, names traps and lets
//! itself be interrupted. It knows no ABI and no HTTP; core does.
//!
//! - `backend`: the compiler's settings, compiled modules;
//! - `instance`: instances, calls both ways;
//! - `interrupt`: how a guest is stopped;
//! - `values`: the engine's values as slots, its errors as traps.

mod backend;
mod instance;
mod interrupt;
mod values;

pub use backend::Wasmer;
