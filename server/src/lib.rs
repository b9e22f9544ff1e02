//! Serves HTTP with a guest that exports `wasi:http/incoming-handler`.
//!
//! [`Handler`] answers one request after another, each with an instance of its own: mount it in a hyper, axum or other
//! tower-based server. [`Server`] is such a server on hyper, with HTTP/1.1 and HTTP/2 and a drain at the end.

#![forbid(unsafe_code)]

mod admission;
mod handler;
mod server;

pub use handler::{Handler, HandlerOptions, ResponseBody};
pub use server::{Server, ServerError, ServerOptions};
