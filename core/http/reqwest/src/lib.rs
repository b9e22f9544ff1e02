//! Outbound HTTP on [reqwest](https://docs.rs/reqwest), for embedders who send with it already.
//!
//! [`ReqwestTransport`] is a [`Transport`](wharf_http::Transport) for [`Outbound::new`](wharf_http::Outbound::new). What a
//! transport owes its policy is set by [`ReqwestBuilder`], and holds whatever else the client was told:
//!
//! - It connects only to addresses that [`Policy::check_address`](wharf_http::Policy::check_address) allows, those that a URL
//!   names included. Where a connection leads is looked at once more when it is made, before anything of a request goes over
//!   it, so that nothing a client is told of names or sockets gets past the policy.
//! - It follows no redirect, uses no proxy, decompresses nothing, and sends no Referer.
//! - It keeps the connect and first-byte timeouts of each request.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use wharf_http::{Limits, Outbound, Policy};
//! use wharf_http_reqwest::ReqwestTransport;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let policy = Policy::builder().allow("https://api.example.com")?.build();
//! let client = reqwest::Client::builder().tcp_keepalive(Duration::from_secs(30));
//! let outbound = Outbound::new(policy, Limits::default(), |policy, limits| {
//!     ReqwestTransport::vouched(client, policy).limits(limits).build().map(|transport| Arc::new(transport) as _)
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it cannot do
//! [`PooledTransport`](wharf_http::PooledTransport), on hyper, is wharf's default since it can do what reqwest cannot:
//!
//! - A target is sent only if the URL Standard writes it in the same way. Any other is refused as
//!   [`InvalidUrl`](wharf_http::HttpErrorKind::InvalidUrl), not rewritten: one with dot segments, a `'` in its query, `\`,
//!   or `*`.
//! - `accept: */*` is sent for a guest that sets no Accept.
//! - Trailers that the request's field Trailer does not name are refused as
//!   [`InvalidRequest`](wharf_http::HttpErrorKind::InvalidRequest) over HTTP/2, too: a request does not know what it goes over.
//! - `te: trailers` goes without `connection: te` over HTTP/1.1 with TLS.
//! - A connection is used again for 4 seconds, whatever the request; `keep-alive: timeout=` is not heeded, and a response
//!   that says two lengths is no reason to close it.

#![forbid(unsafe_code)]

mod builder;
mod connect;
mod received;
mod transport;

pub use self::builder::{ReqwestBuildError, ReqwestBuilder};
pub use self::transport::ReqwestTransport;
