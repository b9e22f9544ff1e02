//! What goes wrong, whose fault it is, and what the host called it.

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// The result of what can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request, or a body, failed.
///
/// [`kind`](Error::kind) is the same whichever ABI the guest is built for; [`code`](Error::code) is what the host said.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    code: Option<Code>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What sort of failure an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The host does not allow the destination.
    Denied,
    /// It took longer than [`Timeouts`](crate::Timeouts), or the host, allow.
    Timeout,
    /// The request itself: its method, its URL or its headers.
    Invalid,
    /// The exchange failed: no such host, no connection, a message that broke off.
    /// `wasi_experimental_http` also calls the host's own timeouts so.
    Failed,
    /// A limit of the host, or one given to [`Body::collect`](crate::Body::collect).
    Limit,
    /// The body that the guest was sending could not be read.
    Body,
    /// The host, or this crate, is at fault.
    Internal,
}

/// What the host called a failure, in the words of the ABI that the guest is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// What a function of `wasi_experimental_http` returned.
    Experimental(u32),
    /// The case of `wasi:http/types.error-code`, as WIT spells it.
    WasiHttp(&'static str),
}

impl Error {
    /// An error of this kind. For mock transports and for bodies of the guest's own.
    #[must_use]
    pub fn new(kind: ErrorKind) -> Self {
        Error { kind, code: None, source: None }
    }

    /// The same, with the ABI's code.
    #[must_use]
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// The same, with what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What sort of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the host called it, if it was the host that failed.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.code
    }

    /// Whether the host does not allow the destination.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.kind == ErrorKind::Denied
    }

    /// Whether it took too long.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind == ErrorKind::Timeout
    }

    /// The error that a function of `wasi_experimental_http` returned.
    #[cfg(any(test, all(target_os = "wasi", not(any(feature = "wasi-http", target_env = "p2")))))]
    pub(crate) fn experimental(code: u32) -> Self {
        let kind = match code {
            4 | 6 | 8 | 9 | 10 => ErrorKind::Invalid,
            7 => ErrorKind::Denied,
            11 => ErrorKind::Failed,
            13 => ErrorKind::Limit,
            _ => ErrorKind::Internal,
        };
        Error::new(kind).with_code(Code::Experimental(code))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = match self.code {
            Some(Code::Experimental(code)) => experimental_text(code),
            _ => None,
        };
        f.write_str(named.unwrap_or(match self.kind {
            ErrorKind::Denied => "the destination is not allowed",
            ErrorKind::Timeout => "the request took too long",
            ErrorKind::Invalid => "the request is not valid",
            ErrorKind::Failed => "the request failed",
            ErrorKind::Limit => "a limit was reached",
            ErrorKind::Body => "the request body could not be read",
            ErrorKind::Internal => "the host misbehaved",
        }))?;
        match self.code {
            Some(code) => write!(f, " (code {code})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&**self.source.as_ref()?)
    }
}

/// The number, or the name.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Code::Experimental(code) => write!(f, "{code}"),
            Code::WasiHttp(name) => f.write_str(name),
        }
    }
}

/// What a code of `wasi_experimental_http` means, where the kind of the error does not say it; the SDKs of other languages
/// use the same words.
fn experimental_text(code: u32) -> Option<&'static str> {
    Some(match code {
        1 => "the response is closed",
        2 => "the guest exports no memory",
        3 => "a buffer lies outside the guest's memory",
        4 => "the answer is longer than the limit",
        5 => "the response has no such header",
        6 => "text is not UTF-8",
        8 => "invalid method",
        9 => "invalid header",
        10 => "invalid URL",
        12 => "the host failed",
        13 => "too many open responses",
        _ => return None,
    })
}

/// So that `?` works in functions on [`io::Read`]; [`Error::from`] gives the same error back.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::Denied => io::ErrorKind::PermissionDenied,
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            ErrorKind::Invalid => io::ErrorKind::InvalidInput,
            ErrorKind::Failed | ErrorKind::Limit | ErrorKind::Body | ErrorKind::Internal => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// An [`Error`] that went through [`io::Error`] as it was; of any other, an error of [`ErrorKind::Body`].
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(|error| Error::new(ErrorKind::Body).with_source(error))
    }
}
