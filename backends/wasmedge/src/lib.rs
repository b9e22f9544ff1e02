//! Runs wharf's guests on WasmEdge, and adds wharf's HTTP to WasmEdge embedders of their own.
//!
//! [`WasmEdge`] is the backend. [`experimental_imports`] makes the import object for an embedder's own WasmEdge.
//!
//! WasmEdge bounds neither the stack nor the time of a guest, which core's [`meter`](wharf_core::meter) makes up for.
//! Its C interface, its fault signals and its compiler are the business of [`wharf_wasmedge_engine`], which knows
//! nothing of wharf.
//!
//! - `backend`: the backend interface;
//! - `guest`: guests, host functions, types and traps as core knows them;
//! - `embed`: the embedder's import object.
//!
//! # The compiler in a process of its own
//! By default LLVM compiles in the host's process. With [`Compiler::process`] a [`Helper`] does: any program that calls
//! [`run_helper`] with the arguments it is started with, such as the host's own, or `wharf wasmedge-compile`. What it writes
//! is executed, so that naming one is `unsafe`.
//!
//! ```no_run
//! use wharf_wasmedge::{Compiler, Helper, WasmEdge};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut arguments = std::env::args_os().skip(1);
//! if arguments.next().is_some_and(|first| first == "compile-for-wasmedge") {
//!     return Ok(wharf_wasmedge::run_helper(arguments)?);
//! }
//! // SAFETY: it is this program, which does so, above.
//! let helper = unsafe { Helper::new(std::env::current_exe()?, ["compile-for-wasmedge"]) };
//! let backend = WasmEdge::with_compiler(Compiler::process(helper))?;
//! # Ok(())
//! # }
//! ```

mod backend;
mod embed;
mod guest;

pub use backend::{Mode, WasmEdge};
pub use embed::{ImportObject, Table, experimental_imports, function_imports};
pub use wharf_wasmedge_engine::{Compiler, Helper, run_helper};
