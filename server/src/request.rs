//! What a configuration is told of the request that it is for.

use std::net::SocketAddr;

use http::request::Parts;
use http::uri::Authority;
use wharf_core::http::requested_authority;

/// The head of a request that an instance is to be granted something for.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    number: u64,
    parts: &'a Parts,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn new(number: u64, parts: &'a Parts) -> Self {
        RequestHead { number, parts }
    }

    /// Its number among the requests that the handler has handed to a guest, from 0 on.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its method, target, fields and extensions. Extensions are what stands before the handler put there: its middleware,
    /// or [`Server`](crate::Server), which puts a [`Peer`] there.
    pub fn parts(&self) -> &'a Parts {
        self.parts
    }

    /// The host, and the port if one is given, that the request is for: what its guest is told, and compares without
    /// regard to case. `None` if it is for none, or for none that is valid.
    ///
    /// A client may claim any: grant by it what each of its clients may have.
    pub fn authority(&self) -> Option<Authority> {
        requested_authority(&self.parts.uri, &self.parts.headers)
    }

    /// What stands before the handler has put into the request's extensions under this type.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&'a T> {
        self.parts.extensions.get()
    }
}

/// The address of the client, or of the proxy before it: [`Server`](crate::Server) puts it into the extensions of each
/// request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);
