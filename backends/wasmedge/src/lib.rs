//! Runs wharf's guests on WasmEdge, and adds wharf's HTTP to WasmEdge embedders of their own.
//!
//! [`WasmEdge`] is the backend. [`experimental_imports`] makes the import object for an embedder's own WasmEdge.
//!
//! WasmEdge bounds neither the stack nor the time of a guest, and its compiled code shares no fault signals with other
//! engines; `meter` and `native` make up for that, which is why this adapter is larger than the others.

mod backend;
mod embed;
mod instance;
mod meter;
mod native;
mod raw;

pub use backend::{Mode, WasmEdge};
pub use embed::{experimental_imports, function_imports};
