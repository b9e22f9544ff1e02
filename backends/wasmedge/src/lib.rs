//! WasmEdge for wharf.

mod backend;
mod instance;
mod meter;
mod native;
mod raw;

pub use backend::{Mode, WasmEdge};
