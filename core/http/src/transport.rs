//! The interface that sends requests.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

use crate::error::HttpError;
use crate::limits::Timeouts;
use crate::resolver::Resolver;

/// A body on its way through a [`Transport`], in either direction. It yields data frames and at most one of trailers.
pub type Body = UnsyncBoxBody<Bytes, HttpError>;

/// Sends requests. An embedder may bring its own: a proxy, a recorder, a service mesh.
///
/// [`Outbound`](crate::Outbound) has checked the policy, the request's headers and its size before it calls, and
/// checks the response after; both happen on [`crate::io`], so a transport may rely on tokio.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends exactly one request and returns when the head of its response is there.
    ///
    /// The URI is absolute, http or https, without user name, password or fragment. The transport follows no redirect,
    /// answers none from a cache, and connects only to addresses that
    /// [`Policy::check_address`](crate::Policy::check_address) allows for the host.
    ///
    /// It keeps `timeouts.connect` and `timeouts.first_byte`; the other two are kept by the caller. Dropping the
    /// future, or later the response's body, ends the exchange and whatever it holds.
    ///
    /// # Errors
    /// An [`HttpError`] whose kind says what happened. An error that the request's body yields is returned as it is.
    async fn send(&self, request: http::Request<Body>, timeouts: &Timeouts) -> Result<http::Response<Body>, HttpError>;

    /// What looks names up for it, `None` if that is the operating system. Sockets that share an
    /// [`Outbound`](crate::Outbound) ask the same.
    fn resolver(&self) -> Option<&Arc<dyn Resolver>> {
        None
    }
}
