//! The cases that every wharf backend must pass, and the harness that runs them.
//!
//! A backend is put to the test as a [`Subject`]; [`main`] runs the suite as a test binary, [`run`] as a library, and
//! both judge by the same rules:
//!
//! - A [`Case`] is declared once and runs on every backend. It names the section it proves.
//! - An outcome is one of seven ([`Outcome`]). `unsupported` means that the engine lacks a capability *and* was seen
//!   to say so: the case's negative twin ran instead.
//! - A known failure is written down with its reason, a link and the words it fails with ([`Expected`]); a case that
//!   passes against expectation is as red as one that fails.
//! - A run in which a backend executed nothing is a failure, and so is a backend that was asked for and is not there.
//! - Every case has a thread and a watchdog. One that hangs or panics is an error of its own and holds up no other.
//! - [`Report`]s, the matrix included, are computed from results.
//!
//! The guests of `guests/` are run by cases too, and a guest that none runs does not compile. Those too large to be committed
//! have to be built first; without them, their cases are skipped, and say so. [`CACHE_VARIABLE`] spares a second run compiling
//! them.
//!
//! That the suite bites is itself tested: [`saboteur`] has backends and transports that misbehave in one way each, and
//! each makes the cases fail that watch for it.
//!
//! What this crate is not: a test of the WebAssembly specification. Engines have that of their own; here it is what
//! wharf relies on and what guests see.
//!
//! # Testing a backend of your own
//! A test target with `harness = false`, and this:
//! ```no_run
//! # fn my_backend() -> std::sync::Arc<dyn wharf_core::Backend> { unimplemented!() }
//! use wharf_conformance::{Subject, main as conformance};
//!
//! fn main() -> std::process::ExitCode {
//!     conformance([Subject::new(my_backend())])
//! }
//! ```

#![forbid(unsafe_code)]

pub mod bare;
mod case;
pub mod cases;
mod component;
mod context;
mod expected;
mod harness;
mod net;
#[cfg(feature = "reqwest")]
mod on_reqwest;
pub mod origin;
mod prebuilt;
pub mod probe;
mod random;
pub mod report;
mod runner;
pub mod saboteur;
pub mod served;

pub use case::{Case, CaseResult, Level, Need, Outcome, Unmet};
pub use cases::cases;
pub use component::LoadComponent;
pub use context::Context;
pub use expected::{EXPECTED, Expected, REQWEST, WASMTIME_COMPONENT};
pub use harness::{BACKENDS_VARIABLE, REPORT_VARIABLE, TIMEOUT_VARIABLE, main};
pub use net::Net;
pub use prebuilt::{CACHE_VARIABLE, KEEP_ADAPTER_VARIABLE, component_of};
pub use probe::{HttpProbe, Probe, Req, Wat};
pub use report::{CaseReport, Column, Exit, Report};
pub use runner::{
    MakeTransport, Options, Progress, SENDING, Subject, TransportParts, WrapTransport, execute, run, run_with,
};
