//! WasmEdge as a library that shares its process with other engines: a small, safe binding.
//!
//! It knows nothing of wharf. It covers what a host needs that brings its own host functions: compile, load,
//! instantiate, call both ways, look at a memory and globals. It is not a binding of all of WasmEdge: `wasmedge-sys` is,
//! and this crate is written on that one's declarations of the C interface. What it adds:
//!
//! - **Fault signals are shared.** WasmEdge's compiled code finds accesses outside of a memory by the faults they cause,
//!   and WasmEdge takes the signals from whoever had them. Here each fault goes to the engine whose guest caused it.
//! - **The compiler has a process of its own**, if it is told to ([`Helper`]): a crash of LLVM is an error, and memory
//!   and time are bounded.
//! - **Compiled guests have a stack of their own**, as large as the host says.
//! - **Host functions** are one trait with an index, over slots of 64 bits; a panic in one ends the guest only.
//! - **The library is opened when it is used**, on Linux: a process that has WasmEdge among its engines and runs another
//!   does not load it, nor LLVM, and one without the library has an error. Functions of the C interface that are called
//!   past this crate, through `wasmedge-sdk` for example, open it too.
//! - **The log** goes to `tracing`; results are errors with the engine's words.
//!
//! ```no_run
//! use wharf_wasmedge_engine::{AsGuest, Compiler, Failure, Guest, Host, Native, Number, imports};
//!
//! struct Double;
//!
//! impl Host for Double {
//!     fn call(&self, _index: usize, _guest: &mut Guest<'_>, slots: &mut [u64]) -> Result<(), Failure> {
//!         slots[0] *= 2;
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let native = Native::new(Compiler::in_process())?;
//! let module = native.load(&native.compile(&std::fs::read("guest.wasm")?)?)?;
//! let double = imports("host", [("double", vec![Number::I64], vec![Number::I64])], Double)?;
//! let mut guest = module.instantiate(double, 1 << 20)?;
//! let mut slots = [21];
//! guest.guest().call("run", &mut slots)?;
//! # Ok(())
//! # }
//! ```
//!
//! - `engine`: the settings, modules and instances;
//! - `compiler`, `process`, `scratch`: the compiler, here and in a process of its own, and the directory that it writes to;
//! - `guest`: calls both ways;
//! - `library`: the library, opened when it is used;
//! - `signals`, `stack`: faults and stacks of compiled guests;
//! - `raw`, `error`: the C interface's objects, codes and log, and what goes wrong.

mod compiler;
mod engine;
mod error;
mod guest;
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod library;
#[cfg(not(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod library {
    //! WasmEdge's library, which the process is linked with.

    /// Does nothing: a process without the library would not have started.
    pub(crate) fn open() -> Result<(), crate::error::Error> {
        Ok(())
    }
}
mod process;
mod raw;
mod scratch;
mod signals;
mod stack;

pub use compiler::Compiler;
pub use engine::{Code, Instance, Interpreter, Module, Native, version};
pub use error::Error;
pub use guest::{AsGuest, CallError, Guest, Host, Number, Signature, imports};
pub use process::{Helper, run_helper};
pub use raw::{Failure, code};
/// A module instance of host functions, as `wasmedge-sdk` knows it under the name `ImportObject`.
pub use wasmedge_sys::ImportModule;
