//! HTTP for WebAssembly guests, the same on every engine: the engine-neutral core.

#![deny(unsafe_code)]

pub mod abi;
mod budget;
mod cache;
mod cpu;
mod error;
mod growth;
mod guest;
mod hosted;
pub mod http;
mod imports;
mod inspect;
mod limits;
mod link;
mod memory;
pub mod message;
pub mod meter;
mod prepare;
mod run;
mod seam;
mod slots;
mod trusted;
mod watch;
mod worker;

pub use budget::{Budget, Charge, Exceeded, TotalMemory};
pub use cache::{CacheEntry, CacheKey, CacheOptions, Cleared, CodeCache, CodeKey};
pub use cpu::cpu;
pub use error::{Error, Kind, Result, chain};
pub use guest::{Guest, GuestConfig, Session};
pub use hosted::{HostedGuest, HostedSession, no_handler};
pub use imports::{Calls, Exit, Halt, Import, Imports, Stop};
pub use inspect::{COMMAND_EXPORT, Inspection};
pub use limits::LoadOptions;
pub use link::{Abi, Status};
pub use memory::{Memory, MemoryError};
pub use prepare::{Export, ExportType, Prepared};
pub use run::{Kept, Run, io, prepare_threads};
pub use seam::{
    Backend, BackendInfo, Caller, Capability, FuncType, Instance, Interrupt, Module, START_EXPORT, Trap, TrapCode,
    ValType,
};
pub use slots::with_buffer;
pub use trusted::TrustedCode;
pub use worker::{breathe, off_worker, on_worker};
