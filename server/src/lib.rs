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
//! let handler = Handler::new(guest, HandlerOptions::default(), |_request| Ok(GuestConfig::default()))?;
//! // In axum: Router::new().fallback_service(handler)
//! // In hyper: http1::Builder::new().serve_connection(io, TowerToHyperService::new(handler))
//! # let _: Handler = handler;
//! # Ok(())
//! # }
//! ```
//!
//! # A configuration for each request
//! What a guest is granted can depend on the request: on its host, its path, its fields, and on extensions that middleware
//! has added.
//!
//! ```no_run
//! # fn handler(guest: std::sync::Arc<wharf_core::Guest>) -> Result<(), Box<dyn std::error::Error>> {
//! use wharf_core::GuestConfig;
//! use wharf_core::grants::WasiConfig;
//! use wharf_core::http::{Limits, Outbound, Policy};
//! use wharf_server::{Handler, HandlerOptions, RequestHead};
//!
//! /// An extension that the middleware for authentication adds.
//! #[derive(Clone)]
//! struct Tenant(String);
//!
//! let shop = Outbound::with_defaults(Policy::builder().allow("https://stock.example.com")?.build(), Limits::default())?;
//! let handler = Handler::new(guest, HandlerOptions::default(), move |request: Option<RequestHead<'_>>| {
//!     // An instance that is made ready before there is a request: it serves requests whose `wasi` is the same.
//!     let Some(request) = request else { return Ok(GuestConfig::default()) };
//!     let mut wasi = WasiConfig::new();
//!     if let Some(Tenant(name)) = request.extension() {
//!         wasi = wasi.env("TENANT", name)?;
//!     }
//!     let host = request.authority();
//!     let is_shop = host.is_some_and(|host| host.host().eq_ignore_ascii_case("shop.example.com"));
//!     Ok(GuestConfig { wasi, outbound: is_shop.then(|| shop.clone()), ..GuestConfig::default() })
//! })?;
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
mod again;
mod answer;
mod breaks;
mod client;
mod edge;
mod guarded;
mod handler;
mod http2;
mod leash;
mod options;
mod passage;
mod pool;
mod request;
mod reuse;
mod server;
mod stream;
mod tally;
mod tls;
mod together;

pub use access::Access;
pub use handler::{Handler, ResponseBody};
pub use options::{HandlerOptions, ServerOptions};
pub use request::{Peer, RequestHead};
pub use reuse::{Reuse, ReuseError};
pub use server::{Bound, Server, ServerError};
pub use tls::{TlsError, tls_from_pem};
