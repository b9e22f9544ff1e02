//! HTTP for WebAssembly guests, on the types of the crate [`http`].
//!
//! One source, four builds:
//!
//! | target | speaks | requests | handlers |
//! |---|---|---|---|
//! | `wasm32-wasip1` | `wasi_experimental_http` | yes | no: a build with a handler fails, and says so |
//! | `wasm32-wasip1` with the feature `wasi-http`, or `wasm32-wasip2` | `wasi:http` 0.2 | yes | yes |
//! | either with the feature `wasi-03` | `wasi:http` 0.3 | within handlers | yes |
//! | any that is not WASI | a [mock], for unit tests | yes | yes, called as functions |
//!
//! [`send`] waits for a response. [`start`] does not, so that several requests can be under way; it returns a future.
//! [`open`] writes the body of the request. [`block_on`] runs a future, [`spawn`] another beside it; wakers are those of the
//! standard library, so what joins and selects futures elsewhere works here.
//!
//! ```
//! use wharf_guest::http::{Request, Response};
//! use wharf_guest::{Body, IntoResponse};
//!
//! #[wharf_guest::handler]
//! async fn handle(request: Request<Body>) -> impl IntoResponse {
//!     match request.uri().path() {
//!         // The body goes back while it arrives.
//!         "/echo" => Response::new(request.into_body()),
//!         path => Response::new(format!("hello from {path}\n").into()),
//!     }
//! }
//! ```
//!
//! What it is not: a client with cookies, redirects, retries or decompression. Redirects are as the interface has them: over
//! `wasi_experimental_http` the host follows them as its operator says (`wharf run --redirects`), over `wasi:http` the
//! response is the redirect itself. The rest is the guest's.
//!
//! Guests written for the crate `wasi-experimental-http` change one line: see [`compat`].

mod backend;
mod body;
mod client;
pub mod compat;
mod error;
#[cfg(not(all(target_os = "wasi", feature = "wasi-03")))]
mod executor;
mod response;
mod timeouts;
#[cfg(any(test, all(target_os = "wasi", not(any(feature = "wasi-http", target_env = "p2")))))]
mod wire;

pub use bytes;
pub use http;
pub use wharf_guest_macros::handler;

#[cfg(all(target_os = "wasi", feature = "wasi-03"))]
pub use self::backend::executor::{block_on, spawn};
pub use self::body::Body;
pub use self::client::{Outgoing, Sending, open, send, start};
pub use self::error::{Code, Error, ErrorKind, Result};
#[cfg(not(all(target_os = "wasi", feature = "wasi-03")))]
pub use self::executor::{block_on, spawn};
pub use self::response::IntoResponse;
pub use self::timeouts::{TimeoutExt, Timeouts};

#[cfg(not(target_os = "wasi"))]
pub use self::backend::mock;

/// What the attribute [`handler`] expands to. No part of the interface.
#[doc(hidden)]
pub mod __private {
    #[cfg(all(target_os = "wasi", any(feature = "wasi-http", target_env = "p2")))]
    pub use crate::backend::serve::serve;
    #[cfg(all(target_os = "wasi", any(feature = "wasi-http", target_env = "p2"), not(feature = "wasi-03")))]
    pub use wasip2;
    #[cfg(all(target_os = "wasi", feature = "wasi-03"))]
    pub use wasip3;

    /// Whether a function can be a handler.
    pub fn is_handler<F, O>(_: F)
    where
        F: FnOnce(http::Request<crate::Body>) -> O,
        O: Future,
        O::Output: crate::IntoResponse,
    {
    }
}

/// Exports a function as the handler of `wasi:http` 0.3.
#[cfg(all(target_os = "wasi", feature = "wasi-03"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_handler {
    ($handler:ident) => {
        const _: () = {
            struct Handler;

            impl $crate::__private::wasip3::exports::http::handler::Guest for Handler {
                async fn handle(
                    request: $crate::__private::wasip3::http::types::Request,
                ) -> ::core::result::Result<
                    $crate::__private::wasip3::http::types::Response,
                    $crate::__private::wasip3::http::types::ErrorCode,
                > {
                    $crate::__private::serve($handler, request).await
                }
            }

    $crate::__private::wasip3::http::service::export!(Handler with_types_in $crate::__private::wasip3);
        };
    };
}

/// Exports a function as the handler of `wasi:http`.
#[cfg(all(target_os = "wasi", any(feature = "wasi-http", target_env = "p2"), not(feature = "wasi-03")))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_handler {
    ($handler:ident) => {
        const _: () = {
            struct Handler;

            impl $crate::__private::wasip2::exports::http::incoming_handler::Guest for Handler {
                fn handle(
                    request: $crate::__private::wasip2::exports::http::incoming_handler::IncomingRequest,
                    out: $crate::__private::wasip2::exports::http::incoming_handler::ResponseOutparam,
                ) {
                    $crate::__private::serve($handler, request, out);
                }
            }

    $crate::__private::wasip2::http::proxy::export!(Handler with_types_in $crate::__private::wasip2);
        };
    };
}

/// Refuses a handler: the ABI has no inbound requests.
#[cfg(all(target_os = "wasi", not(any(feature = "wasi-http", target_env = "p2"))))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_handler {
    ($handler:ident) => {
        ::core::compile_error! {
            "wasi_experimental_http has no inbound requests: to build a handler, turn on the feature `wasi-http` of `wharf-guest`"
        }
    };
}

/// Natively a handler is a function, checked to be one.
#[cfg(not(target_os = "wasi"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_handler {
    ($handler:ident) => {
        const _: fn() = || $crate::__private::is_handler($handler);
    };
}
