//! Runs components on Wasmtime's own component model, with wharf's policy, transport, limits and grants.
//!
//! This is the second host for `wasi:http`, beside the one in wharf-core that every engine shares. It has three uses:
//! it runs what only it can, components of WASI 0.3; it is an implementation by other people to compare with; and it
//! gives those who want it exactly Wasmtime's behaviour.
//!
//! What a guest sees is `wasmtime-wasi` and `wasmtime-wasi-http`. What they may do is wharf's:
//! - Every request goes through [`Outbound`](wharf_core::http::Outbound): the policy, the limits, the timeouts, and
//!   the transport. Nothing else here sends.
//! - A guest is granted the arguments, environment, directories and streams of its
//!   [`WasiConfig`](wharf_core::grants::WasiConfig), and no sockets at all.
//! - Its memories and tables together are bounded by [`LoadOptions::max_memory`](wharf_core::LoadOptions::max_memory).
//!   What Wasmtime's host keeps for it cannot be counted there: it is bounded by how many handles there may be, how
//!   large one `fields` and the arguments of a call, each in proportion to that limit.
//! - It ends with its [`Run`](wharf_core::Run), in a loop of its own as well as in a host function.
//! - A message that it leaves unfinished, whatever the reason, breaks off.
//!
//! A guest occupies the thread that calls it, as on wharf's other hosts. Wasmtime's asynchronous functions are driven
//! there, so that a deadline ends them; what they start runs on [`wharf_core::io`].

#![deny(unsafe_code)]

mod code;
mod codes;
mod ends;
mod engine;
mod guest;
mod held;
mod hooks;
mod logging;
mod message;
mod middleware;
mod session;
mod state;
mod stdio;

pub use engine::WasmtimeComponents;
pub use guest::ComponentGuest;
pub use session::ComponentSession;
