//! Runs wharf's guests on WasmEdge, and adds wharf's HTTP to WasmEdge embedders of their own.
//!
//! [`WasmEdge`] is the backend. [`experimental_imports`] makes the import object for an embedder's own WasmEdge.
//!
//! WasmEdge bounds neither the stack nor the time of a guest, which core's [`meter`](wharf_core::meter) makes up for.
//! Its compiled code shares no fault signals with other engines, which `signals` makes up for.
//!
//! - `backend`: the engine's settings, loading and compiling;
//! - `instance`: instances, and the stack that compiled guests run on;
//! - `guest`: calls both ways, for wharf's instances and the embedder's;
//! - `signals`: faults of compiled guests beside those of other engines;
//! - `raw`: the engine's objects, codes and log;
//! - `embed`: the embedder's import object.

mod backend;
mod embed;
mod guest;
mod instance;
mod raw;
mod signals;

pub use backend::{Mode, WasmEdge};
pub use embed::{experimental_imports, function_imports};
