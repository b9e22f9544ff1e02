//! Whom the guest speaks with: the one that this build is for has the functions `start`, `open` and `wait` and the type
//! `Outgoing`.

#[cfg(any(test, all(target_os = "wasi", not(any(feature = "wasi-http", target_env = "p2")))))]
mod experimental;
#[cfg(all(target_os = "wasi", not(any(feature = "wasi-http", target_env = "p2"))))]
mod imports;
#[cfg(not(target_os = "wasi"))]
pub mod mock;
#[cfg(all(target_os = "wasi", any(feature = "wasi-http", target_env = "p2")))]
mod wasi_http;
#[cfg(not(all(target_os = "wasi", any(feature = "wasi-http", target_env = "p2"))))]
mod whole;

#[cfg(all(target_os = "wasi", not(any(feature = "wasi-http", target_env = "p2"))))]
pub(crate) use self::imports::{start, wait};
#[cfg(not(target_os = "wasi"))]
pub(crate) use self::mock::{start, wait};
#[cfg(all(target_os = "wasi", any(feature = "wasi-http", target_env = "p2")))]
pub(crate) use self::wasi_http::{Outgoing, open, serve, start, wait};
#[cfg(not(all(target_os = "wasi", any(feature = "wasi-http", target_env = "p2"))))]
pub(crate) use self::whole::{Outgoing, open};
