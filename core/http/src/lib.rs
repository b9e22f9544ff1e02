//! Outbound HTTP: whether a guest may reach an origin, how much it may use, and the sending itself.
//!
//! [`Outbound`] is what the ABIs call. It makes a [`Target`] of what the guest set, once, asks the [`Policy`] about it,
//! keeps the [`Limits`], follows redirects where its caller wants that, and hands each single request to a
//! [`Transport`]; [`PooledTransport`] is the one wharf brings. A response comes back as an [`Incoming`] body that is
//! read while it arrives, with a small bounded read-ahead.
//!
//! What this crate is not: a general HTTP library. It sends what a guest asked for, as the guest wrote it, and
//! neither caches, decompresses nor stores cookies.
//!
//! Everything here may be called from any thread, inside or outside an async runtime: the work itself runs on
//! [`io`].

mod address;
mod asked;
mod classify;
mod connection;
mod connector;
mod error;
mod exchange;
mod headers;
mod hop;
mod incoming;
mod io;
mod limits;
mod origin;
mod outbound;
mod outgoing;
mod pattern;
mod policy;
mod pool;
mod pooled;
mod progress;
mod redirect;
mod resolver;
mod target;
mod tls;
mod trailers;
mod transport;

/// For those who bring a [`Transport`] of their own: what each of them has to do, in the way that [`PooledTransport`] does
/// it. Beside this, [`Policy::allowed_addresses`] says which of a name's addresses may be connected to.
pub mod sending {
    pub use crate::classify::{Phase, classify, is_unprocessed};
    pub use crate::connection::reset_taken_for_the_end;
    pub use crate::progress::{Pause, Watched, deadline, timed};
    pub use crate::tls::{certificates, client_config};
    pub use crate::trailers::announced_trailers;
}

pub use self::address::AddressClass;
pub use self::asked::requested_authority;
pub use self::error::{FieldSize, HttpError, HttpErrorKind, chain};
pub use self::headers::{is_forbidden, trim_values};
pub use self::incoming::Incoming;
pub use self::io::{IoThreadsError, io, start_io};
pub use self::limits::{Limits, Timeouts};
pub use self::origin::{Origin, Scheme};
pub use self::outbound::{Outbound, Pending};
pub use self::outgoing::Outgoing;
pub use self::pattern::{ALLOW_ALL, PolicyError};
pub use self::policy::{Policy, PolicyBuilder, Redirects};
pub use self::pooled::{PooledBuilder, PooledTransport};
pub use self::resolver::{Resolver, SystemResolver};
pub use self::target::{Target, is_path_and_query};
pub use self::tls::{TlsConfigError, alert_name};
pub use self::trailers::{is_forbidden_trailer, keep_trailers};
pub use self::transport::{Body, Transport};
