//! What goes wrong with images.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;

/// Why an image cannot be made, written, pushed, pulled or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A digest that is not one.
    #[error("{text:?} is not a valid digest: write sha256: and 64 lower-case hexadecimal digits")]
    Digest {
        /// What was given instead.
        text: String,
    },
    /// A platform that is not one.
    #[error("{text:?} is not a valid platform: write os/architecture, for example wasi/wasm or linux/amd64")]
    Platform {
        /// What was given instead.
        text: String,
    },
    /// What should be packed is not a guest.
    #[error("`{name}` is neither a WebAssembly module nor a component")]
    NotWasm {
        /// How the file is called.
        name: String,
        /// What is wrong with it.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// An image cannot be made of what was given.
    #[error("an image cannot be made: {reason}")]
    Package {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What should have been done with it.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Content that is not what it is known by.
    #[error("{what} has the digest {found}, and not {expected}: it was changed, or was damaged on its way")]
    Mismatch {
        /// What the content is.
        what: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
}
