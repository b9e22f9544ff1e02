//! The one error type of wharf's public surface.

use std::error::Error as StdError;
use std::fmt;

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

/// A result whose error is wharf's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

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
