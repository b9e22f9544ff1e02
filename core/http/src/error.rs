//! Why a request failed, finely enough for every ABI to name it in its own codes.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What went wrong with a request or its response.
///
/// The kinds are as fine as the error codes of `wasi:http/types`; a coarser ABI folds them. Each ABI names every one of
/// them in its own codes, so that a new kind is a change for whoever does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpErrorKind {
    /// The policy does not allow the origin.
    Denied,
    /// A redirect leads to an origin that the policy does not allow.
    RedirectDenied,
    /// The name resolves to addresses that may not be reached, or the address itself may not.
    AddressProhibited,
    /// The URL does not parse, has no host, or its scheme is neither http nor https.
    InvalidUrl,
    /// The URL is longer than allowed.
    UrlTooLong,
    /// The method cannot be sent: CONNECT would make a tunnel.
    InvalidMethod,
    /// The request cannot be sent as it is.
    InvalidRequest,
    /// The request's headers exceed the limit on count or bytes.
    RequestHeadersTooLarge,
    /// The request's trailers exceed the limit on count or bytes.
    RequestTrailersTooLarge,
    /// The request body is larger than the limit.
    RequestBodyTooLarge,
    /// The request body does not have the length that its Content-Length announces; holds the bytes seen.
    RequestBodyLength(u64),
    /// The source of the request body failed before its end.
    RequestBodyAborted,
    /// As many requests as allowed are already waiting for their response.
    TooManyInFlight,
    /// As many responses as allowed are already open.
    TooManyOpen,
    /// The name does not exist.
    DnsNotFound,
    /// The name exists and has no address.
    NoAddress,
    /// The name was not resolved within the connect timeout.
    DnsTimeout,
    /// Name resolution failed in another way.
    DnsFailed,
    /// The origin refused the connection.
    ConnectionRefused,
    /// There is no route to the origin's address.
    Unroutable,
    /// The connection, TLS handshake included, was not made within the connect timeout.
    ConnectionTimeout,
    /// The origin reset the connection or the stream.
    ConnectionReset,
    /// The origin closed the connection before it answered.
    ConnectionClosed,
    /// The connection could not be made, for a reason that has no kind of its own.
    ConnectionFailed,
    /// The origin's certificate is not valid, not trusted or not for this name.
    TlsCertificate,
    /// The two sides have no TLS version or cipher in common, or the origin does not speak TLS.
    TlsProtocol,
    /// The origin ended the handshake with this TLS alert.
    TlsAlert(u8),
    /// The origin took nothing more of the request body for as long as the first-byte timeout.
    WriteTimeout,
    /// The response did not begin within the first-byte timeout.
    FirstByteTimeout,
    /// The response body made a pause longer than the between-bytes timeout.
    BetweenBytesTimeout,
    /// Request and response together took longer than the total timeout.
    TotalTimeout,
    /// The origin switches to another protocol, which was not requested.
    Upgraded,
    /// The origin spoke HTTP wrongly.
    Protocol,
    /// The response has a transfer coding other than chunked.
    TransferCoding,
    /// The response's headers exceed the limit on count or bytes.
    ResponseHeadersTooLarge,
    /// The response's trailers exceed the limit on count or bytes.
    ResponseTrailersTooLarge,
    /// The response body is larger than the limit.
    ResponseBodyTooLarge,
    /// The response body ended before its announced end.
    IncompleteResponse,
    /// More redirects than the policy follows.
    TooManyRedirects,
    /// A redirect whose Location is not a URL.
    InvalidRedirect,
    /// The request was cancelled from this side.
    Cancelled,
    /// A defect in wharf or in the transport.
    Internal,
}

/// A failed request: its kind, what was wrong and where, and the cause if another library reported one.
///
/// `Display` prints a lowercase fragment that does not repeat its [`source`](StdError::source). Clones share the cause.
#[derive(Clone)]
pub struct HttpError {
    kind: HttpErrorKind,
    message: String,
    field: Option<FieldSize>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// A header or trailer that is over the limit all by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldSize {
    /// Its name.
    pub name: String,
    /// Its size in bytes, as [`Limits::header_bytes`](crate::Limits::header_bytes) counts it.
    pub bytes: u64,
}

impl HttpError {
    /// Makes an error of `kind`; `message` says what was wrong, where, and what to do.
    pub fn new(kind: HttpErrorKind, message: impl Into<String>) -> Self {
        HttpError { kind, message: message.into(), field: None, source: None }
    }

    /// Adds the cause, reported by [`source`](StdError::source).
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Adds which header or trailer it was.
    pub fn with_field(mut self, field: FieldSize) -> Self {
        self.field = Some(field);
        self
    }

    /// The header or trailer that exceeds the limit alone, if it is one and not all of them together.
    pub fn field(&self) -> Option<&FieldSize> {
        self.field.as_ref()
    }

    /// The cause, which clones share.
    pub fn into_source(self) -> Option<Arc<dyn StdError + Send + Sync>> {
        self.source
    }

    /// What went wrong.
    pub fn kind(&self) -> HttpErrorKind {
        self.kind
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpError")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("field", &self.field)
            .field("source", &self.source)
            .finish()
    }
}

impl StdError for HttpError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// An error and all its sources on one line, outermost first: what a log or a terminal shows.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
