//! The one error type of wharf's public surface.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use wharf_grants::GrantError;
use wharf_http::{HttpError, HttpErrorKind, IoThreadsError, PolicyError, TlsConfigError};

/// Whose fault a failure is: what an embedder or an operator acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The policy does not grant what was asked for.
    Denied,
    /// The guest is malformed or broke a rule of the ABI it speaks.
    Guest,
    /// The guest trapped: an unreachable, an out-of-bounds access, a stack overflow.
    Trap,
    /// A time limit passed.
    Timeout,
    /// A size or count limit was reached.
    Limit,
    /// The origin failed: not found, refused, reset, or spoke HTTP wrongly.
    Origin,
    /// The engine failed in a way that is not the guest's fault.
    Engine,
    /// The guest needs what this version of wharf, or this backend, does not have.
    Unsupported,
    /// The embedder or operator configured something that cannot be used.
    Config,
    /// The embedder cancelled the run.
    Cancelled,
    /// A host function of the embedder's failed, with an error that is not one of wharf's.
    Host,
    /// A defect in wharf.
    Internal,
}

/// A failure: its [`Kind`], what was wrong and where, and the cause if another library reported one.
///
/// `Display` prints a lowercase fragment that does not repeat its [`source`](StdError::source).
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error of `kind`; `message` says what was wrong, where, and what to do.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), source: None }
    }

    /// Makes an error of [`Kind::Engine`] whose cause the engine reported.
    pub fn engine(message: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Error::new(Kind::Engine, message).with_source(source)
    }

    /// Adds the cause, reported by [`source`](StdError::source).
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<HttpErrorKind> for Kind {
    fn from(kind: HttpErrorKind) -> Self {
        use HttpErrorKind as H;
        match kind {
            H::Denied | H::RedirectDenied | H::AddressProhibited => Kind::Denied,
            H::InvalidUrl
            | H::UrlTooLong
            | H::InvalidMethod
            | H::InvalidRequest
            | H::RequestBodyLength(_)
            | H::RequestBodyAborted => Kind::Guest,
            H::RequestHeadersTooLarge
            | H::RequestTrailersTooLarge
            | H::RequestBodyTooLarge
            | H::TooManyInFlight
            | H::TooManyOpen
            | H::ResponseHeadersTooLarge
            | H::ResponseTrailersTooLarge
            | H::ResponseBodyTooLarge
            | H::TooManyRedirects => Kind::Limit,
            H::DnsTimeout
            | H::ConnectionTimeout
            | H::WriteTimeout
            | H::FirstByteTimeout
            | H::BetweenBytesTimeout
            | H::TotalTimeout => Kind::Timeout,
            H::DnsNotFound
            | H::NoAddress
            | H::DnsFailed
            | H::ConnectionRefused
            | H::Unroutable
            | H::ConnectionReset
            | H::ConnectionClosed
            | H::ConnectionFailed
            | H::TlsCertificate
            | H::TlsProtocol
            | H::TlsAlert(_)
            | H::Upgraded
            | H::Protocol
            | H::TransferCoding
            | H::IncompleteResponse
            | H::InvalidRedirect => Kind::Origin,
            H::Cancelled => Kind::Cancelled,
            H::Internal => Kind::Internal,
        }
    }
}

impl From<HttpError> for Error {
    fn from(error: HttpError) -> Self {
        let converted = Error::new(error.kind().into(), error.to_string());
        match error.into_source() {
            Some(source) => converted.with_source(Shared(source)),
            None => converted,
        }
    }
}

/// A cause that several clones of an error share. It adds nothing to the chain: it prints as the cause and has the
/// cause's own source.
#[derive(Debug)]
struct Shared(Arc<dyn StdError + Send + Sync>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Shared {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

impl From<PolicyError> for Error {
    fn from(error: PolicyError) -> Self {
        Error::new(Kind::Config, error.to_string())
    }
}

impl From<GrantError> for Error {
    fn from(error: GrantError) -> Self {
        let converted = Error::new(Kind::Config, error.to_string());
        match error.into_source() {
            Some(source) => converted.with_source(source),
            None => converted,
        }
    }
}

impl From<TlsConfigError> for Error {
    fn from(error: TlsConfigError) -> Self {
        let converted = Error::new(Kind::Config, error.to_string());
        match error {
            TlsConfigError::Pem(source) | TlsConfigError::Setup(source) => converted.with_source(source),
            _ => converted,
        }
    }
}

impl From<IoThreadsError> for Error {
    fn from(error: IoThreadsError) -> Self {
        Error::new(Kind::Limit, error.to_string()).with_source(error.into_source())
    }
}

pub use wharf_http::chain;

/// A result whose error is wharf's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_http_reports_is_somebodys_fault() {
        for (kind, expected) in [
            (HttpErrorKind::RedirectDenied, Kind::Denied),
            (HttpErrorKind::InvalidMethod, Kind::Guest),
            (HttpErrorKind::TooManyOpen, Kind::Limit),
            (HttpErrorKind::FirstByteTimeout, Kind::Timeout),
            (HttpErrorKind::TlsAlert(40), Kind::Origin),
            (HttpErrorKind::Cancelled, Kind::Cancelled),
        ] {
            let error = HttpError::new(kind, "it failed").with_source("the cause");
            let error = Error::from(error);
            assert_eq!((error.kind(), &*chain(&error)), (expected, "it failed: the cause"));
        }
        let policy = wharf_http::Policy::builder().allow("ftp://a").map(|_| ()).unwrap_err();
        assert_eq!(Error::from(policy).kind(), Kind::Config);
        let grant = Error::from("nowhere".parse::<wharf_grants::Listen>().unwrap_err());
        assert!(grant.kind() == Kind::Config && std::error::Error::source(&grant).is_some(), "{grant:?}");
        let transport = wharf_http::PooledTransport::builder(Arc::new(wharf_http::Policy::deny_all()));
        let tls = Error::from(transport.root_certificate(b"").map(|_| ()).unwrap_err());
        assert_eq!((tls.kind(), &*tls.to_string()), (Kind::Config, "a root certificate is empty"));
    }
}
