//! Whom the guest speaks with: the one that this build is for has the functions `start`, `open` and `wait` and the type
//! `Outgoing`.

#[cfg(all(target_os = "wasi", any(feature = "wasi-http", target_env = "p2")))]
mod convert;
#[cfg(all(target_os = "wasi", any(feature = "wasi-http", target_env = "p2")))]
mod error;
#[cfg(any(test, all(target_os = "wasi", not(any(feature = "wasi-http", target_env = "p2")))))]
mod experimental;
#[cfg(all(target_os = "wasi", not(any(feature = "wasi-http", target_env = "p2"))))]
mod imports;
#[cfg(not(target_os = "wasi"))]
pub mod mock;
#[cfg(all(target_os = "wasi", any(feature = "wasi-http", target_env = "p2"), not(feature = "wasi-03")))]
mod wasi02;
#[cfg(all(target_os = "wasi", feature = "wasi-03"))]
mod wasi03;
#[cfg(not(all(target_os = "wasi", any(feature = "wasi-http", target_env = "p2"))))]
mod whole;

#[cfg(all(target_os = "wasi", not(any(feature = "wasi-http", target_env = "p2"))))]
pub(crate) use self::imports::{start, wait};
#[cfg(not(target_os = "wasi"))]
pub(crate) use self::mock::{start, wait};
#[cfg(all(target_os = "wasi", any(feature = "wasi-http", target_env = "p2"), not(feature = "wasi-03")))]
pub(crate) use self::wasi02::{Outgoing, open, serve, start, wait};
#[cfg(all(target_os = "wasi", feature = "wasi-03"))]
pub(crate) use self::wasi03::{Outgoing, executor, open, serve, start};
#[cfg(not(all(target_os = "wasi", any(feature = "wasi-http", target_env = "p2"))))]
pub(crate) use self::whole::{Outgoing, open};

/// The bindings of the release of WASI that is spoken.
#[cfg(all(target_os = "wasi", any(feature = "wasi-http", target_env = "p2"), not(feature = "wasi-03")))]
use wasip2 as wasi;
#[cfg(all(target_os = "wasi", feature = "wasi-03"))]
use wasip3 as wasi;
