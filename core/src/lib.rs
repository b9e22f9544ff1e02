//! HTTP for WebAssembly guests, the same on every engine: the engine-neutral core.

#![forbid(unsafe_code)]

pub mod abi;
mod error;
pub mod http;
mod imports;
mod memory;
mod run;
mod seam;

pub use error::{Error, Kind, Result};
pub use imports::{Calls, Halt, Import, Imports, Stop};
pub use memory::{Memory, MemoryError};
pub use run::{Run, io};
pub use seam::{
    Backend, BackendInfo, Caller, Capability, FuncType, Instance, Interrupt, Module, START_EXPORT, Trap, TrapCode,
    ValType,
};
