//! What cannot be granted.

use std::error::Error as StdError;
use std::io;
use std::net::AddrParseError;
use std::path::PathBuf;

/// Why something cannot be granted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// An argument or a variable holds a NUL byte.
    #[error("{what} has a NUL byte at offset {at}, which preview 1 cannot carry; remove it")]
    Nul {
        /// Which one.
        what: String,
        /// Where in it, in bytes.
        at: usize,
    },
    /// Arguments and environment are larger than they may be.
    #[error("{what} makes arguments and environment larger than {limit} bytes; pass less, or use a file")]
    TooLong {
        /// The argument or variable that is too much.
        what: String,
        /// How many bytes they may have together: [`MAX_STRINGS`](crate::MAX_STRINGS).
        limit: usize,
    },
    /// The name of a variable is not one.
    #[error(
        "environment variable name {name:?} is empty or contains '='; pass only the name, and the value separately"
    )]
    VariableName {
        /// The name.
        name: String,
    },
    /// The guest's name for a directory is not one.
    #[error("guest name {guest:?} for directory {} is empty or has a NUL byte", host.display())]
    DirectoryName {
        /// The name.
        guest: String,
        /// The directory.
        host: PathBuf,
    },
    /// A directory cannot be opened or read.
    #[error("cannot open directory {} to grant it to the guest", host.display())]
    Directory {
        /// The directory.
        host: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A listener cannot be made non-blocking.
    #[error("the listener to hand to the guest cannot be used")]
    Listener(#[source] io::Error),
    /// A place to listen is not one.
    #[error("{text:?} is not a valid address to listen on; write ADDR:PORT, for example 127.0.0.1:8080, or PORT")]
    Listen {
        /// What was given.
        text: String,
        /// Why it is not an address.
        source: AddrParseError,
    },
}

impl GrantError {
    /// The cause that another library reported, if there is one.
    pub fn into_source(self) -> Option<Box<dyn StdError + Send + Sync>> {
        match self {
            GrantError::Directory { source, .. } | GrantError::Listener(source) => Some(source.into()),
            GrantError::Listen { source, .. } => Some(source.into()),
            _ => None,
        }
    }
}
