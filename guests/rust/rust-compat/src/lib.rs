//! The source of the guest `published`, which was written for the crate `wasi-experimental-http`, on the SDK instead. The
//! two lines are all that a guest changes; this one needs the first because the source is a module of another crate.

extern crate self as wasi_experimental_http;
pub use wharf_guest::compat::*;

#[path = "../../published/src/lib.rs"]
mod published;
