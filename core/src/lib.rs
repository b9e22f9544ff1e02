//! HTTP for WebAssembly guests, the same on every engine: the engine-neutral core.

#![deny(unsafe_code)]

pub mod abi;
mod backend;
mod budget;
mod cache;
mod compiled;
mod cpu;
mod error;
mod growth;
mod guest;
mod hosted;
pub mod image;
mod imports;
mod inspect;
mod kept;
mod limits;
mod link;
pub mod linker;
mod memory;
pub mod message;
pub mod meter;
mod prepare;
#[cfg(target_os = "linux")]
mod process;
mod run;
mod slots;
mod stop;
mod trusted;
mod types;
mod watch;
mod worker;

pub use backend::{Backend, BackendInfo, Capability, Instance, Module};
pub use budget::{Budget, Charge, Exceeded, TotalMemory};
pub use cache::{CacheEntry, CacheKey, CacheOptions, Cleared, CodeCache, CodeKey};
pub use cpu::cpu;
pub use error::{Error, Kind, Result, chain};
pub use guest::door::{Door, Ended, Entering};
pub use guest::{Guest, GuestConfig, Session};
pub use hosted::{HostedGuest, HostedSession, no_handler};
pub use imports::{Calls, Imports};
pub use inspect::{COMMAND_EXPORT, Inspection};
pub use limits::LoadOptions;
pub use link::{Abi, Status};
pub use linker::Linker;
pub use memory::{Memory, MemoryError};
pub use prepare::Prepared;
pub use run::{Kept, Run};
pub use slots::with_buffer;
pub use stop::{Exit, Halt, Stop};
pub use trusted::TrustedCode;
pub use types::{Caller, Export, ExportType, FuncType, Import, Interrupt, Trap, TrapCode, ValType};
pub use watch::prepare_threads;
pub use wharf_grants as grants;
pub use wharf_http as http;
pub use wharf_http::io;
pub use wharf_plan::START_EXPORT;
pub use worker::{off_worker, on_worker, yield_now};

/// What [`record!`], [`variant!`] and [`flags!`] write; not for use by hand, and without any promise.
#[doc(hidden)]
pub mod __wit {
    pub use crate::abi::wasi02::canon::{
        Cx, Flat, Lift, Lower, NotAResource, Outcome, Resources, Type, WitType, align_to, join, kebab, max, max_flat,
        rule,
    };
    pub use crate::types::ValType;
}
