//! What the configuration of an instance can depend on: the request that it is for.

use std::net::SocketAddr;

use http::request::Parts;
use http::uri::Authority;
use wharf_core::http::requested_authority;

/// The head of a request, for which an instance is to be configured.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    number: u64,
    parts: &'a Parts,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn new(number: u64, parts: &'a Parts) -> Self {
        RequestHead { number, parts }
    }

    /// The request's number, from 0 on. Requests that were turned away have none.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The request's method, target, fields and extensions. Middleware in front of the handler can add extensions;
    /// [`Server`](crate::Server) adds a [`Peer`].
    pub fn parts(&self) -> &'a Parts {
        self.parts
    }

    /// The host that the request is for, with its port if it has one: the same as the guest sees. `None` if there is none,
    /// or it is not valid. Equality ignores case.
    ///
    /// Clients choose it freely: it says which site they want, not who they are.
    pub fn authority(&self) -> Option<Authority> {
        requested_authority(&self.parts.uri, &self.parts.headers)
    }

    /// The extension of this type, if middleware in front of the handler has added one.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&'a T> {
        self.parts.extensions.get()
    }
}

/// The address that a request came from: the client's, or that of a proxy in front of this server.
/// [`Server`](crate::Server) adds it to the extensions of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);
