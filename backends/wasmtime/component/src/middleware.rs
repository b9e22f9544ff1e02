//! The handler that a middleware of WASI 0.3 calls.
//!
//! A middleware imports `wasi:http/handler`, the next link of its chain. Composed with a service, that link is inside
//! the component, and nothing is asked of the host. A middleware by itself is the last link on this machine: what it
//! hands on leaves as by `wasi:http/client`, whose `send` has the same type, through the policy, the limits and the
//! transport.

use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi_http::p3::bindings::http::client::HostWithStore;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{WasiHttp, WasiHttpView};

use crate::state::State;

/// What `handle` answers.
type Answer = Result<Resource<Response>, ErrorCode>;

/// Adds `wasi:http/handler` to what a component may import.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.instance("wasi:http/handler@0.3.0")?.func_wrap_concurrent(
        "handle",
        |accessor: &Accessor<State>, (request,): (Resource<Request>,)| {
            Box::pin(async move {
                let sent = WasiHttp::send(&accessor.with_getter::<WasiHttp>(State::http), request).await;
                // Anything other than an error code ends the guest.
                let answer: Answer = match sent {
                    Ok(response) => Ok(response),
                    Err(error) => Err(error.downcast()?),
                };
                Ok((answer,))
            })
        },
    )
}
