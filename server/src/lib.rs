//! Serves HTTP with a guest that exports `wasi:http/incoming-handler`.
//!
//! [`Handler`] answers requests, each with an instance of its own or with instances that are used again: mount it in a
//! hyper, axum or other tower-based server. [`Server`] is such a server on hyper, with HTTP/1.1, HTTP/2 and TLS, timeouts
//! against slow clients, and a drain at the end.
//!
//! # From asynchronous code
//! [`Handler::handle`] is a future, and a [`Handler`] a `tower_service::Service`:
//!
//! ```no_run
//! # async fn serve(guest: std::sync::Arc<wharf_core::Guest>) -> Result<(), Box<dyn std::error::Error>> {
//! use wharf_core::GuestConfig;
//! use wharf_server::{Handler, HandlerOptions};
//!
//! let config = |_request: Option<u64>| Ok(GuestConfig::default());
//! let handler = Handler::new(guest, HandlerOptions::default(), config)?;
//! // In axum: Router::new().fallback_service(handler)
//! // In hyper: http1::Builder::new().serve_connection(io, TowerToHyperService::new(handler))
//! # let _: Handler = handler;
//! # Ok(())
//! # }
//! ```
//!
//! # From synchronous code
//! [`wharf_core::Session::handle`] needs no runtime: it hands a request to an instance on the calling thread. The example
//! `embed` does both.

#![forbid(unsafe_code)]

mod access;
mod admission;
mod answer;
mod breaks;
mod client;
mod edge;
mod guarded;
mod handler;
mod http2;
mod pool;
mod server;
mod stream;
mod tally;
mod tls;

pub use access::Access;
pub use handler::{Handler, HandlerOptions, ResponseBody};
pub use server::{Bound, Server, ServerError, ServerOptions};
pub use tls::{TlsError, tls_from_pem};
