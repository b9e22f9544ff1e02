//! What goes wrong with images.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::digest::{Digest, DigestError};

/// Why an image cannot be made, written, pushed, pulled or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A digest that is not one.
    #[error(transparent)]
    Digest(#[from] DigestError),
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
    /// The name of an image that is not one.
    #[error(
        "{text:?} is not a valid image: {reason}; write oci://HOST/REPOSITORY:TAG, or @sha256:... in the place of the tag"
    )]
    Reference {
        /// What was given instead.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// TLS cannot be set up.
    #[error("no registry can be asked")]
    Tls {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry was not reached, or spoke HTTP wrongly.
    #[error("cannot ask for {what}")]
    Http {
        /// What was asked for.
        what: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry does not let us in.
    #[error("{registry} does not give {what}: {advice}{said}")]
    Unauthorized {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// What is lacking, and what to do.
        advice: String,
        /// What the registry says of it, after a colon.
        said: String,
    },
    /// The registry does not let us in, and what it wants is not to be had.
    #[error("{registry} asks who we are, and {reason}")]
    Challenge {
        /// The registry.
        registry: String,
        /// What is wrong with what it wants.
        reason: &'static str,
    },
    /// The registry does not have it.
    #[error("there is no such thing as {what}{said}")]
    Missing {
        /// What was asked for.
        what: String,
        /// What the registry says of it, after a colon.
        said: String,
    },
    /// The registry does not do it.
    #[error("the registry was asked for {what}, and answered {status}{said}")]
    Status {
        /// What was asked for.
        what: String,
        /// The status of the answer.
        status: u16,
        /// What the registry says of it, after a colon.
        said: String,
    },
    /// The registry's answer cannot be understood.
    #[error("the registry was asked for {what}, and its answer is not valid: {reason}")]
    Answer {
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The registry sends us to where we do not go.
    #[error("{registry} sends its clients to {url}, which is not asked: {reason}")]
    Elsewhere {
        /// The registry.
        registry: String,
        /// Where, without its query.
        url: String,
        /// Why not.
        reason: String,
    },
    /// Something is larger than it may be.
    #[error("{what} is larger than {limit} bytes, the most that is read")]
    TooLarge {
        /// What it is.
        what: String,
        /// The most bytes that it may have.
        limit: u64,
    },
    /// Something has another size than was said.
    #[error("{what} should have {expected} bytes, and the registry sends {}", if found > expected { "more" } else { "less" })]
    Length {
        /// What it is.
        what: String,
        /// How many bytes it should have.
        expected: u64,
        /// How many came, or were announced.
        found: u64,
    },
    /// It took too long altogether.
    #[error("{registry} was not done within {limit:?}")]
    Late {
        /// The registry.
        registry: String,
        /// How long it could take.
        limit: Duration,
    },
    /// The registry made a pause that was too long.
    #[error("{what} stopped on its way: nothing of it moved for {limit:?}")]
    Slow {
        /// What it is.
        what: String,
        /// How long a pause may be.
        limit: Duration,
    },
    /// The image has no guest.
    #[error("{reference} has no guest: {reason}")]
    NoGuest {
        /// The image.
        reference: String,
        /// Why not.
        reason: String,
    },
    /// The entrypoint of an image is not a guest.
    #[error("the entrypoint `{path}` {reason}")]
    Entrypoint {
        /// Its path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A layer that cannot be read.
    #[error("the layer {digest} cannot be read")]
    Layer {
        /// Which one.
        digest: Digest,
        /// Why.
        source: io::Error,
    },
    /// A layer of a kind that is not read.
    #[error("a layer of the type {media_type} cannot be read: it has to be a tar, plain or with gzip")]
    LayerType {
        /// Its media type.
        media_type: String,
    },
    /// Docker's configuration, or the helper it names, says nothing that can be used.
    #[error("credentials of `{}`: {reason}", file.display())]
    Credentials {
        /// The configuration.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A condition on images that is not one.
    #[error(
        "{text:?} does not say how an image is verified: write sha256:..., or key=FILE for a public key in a PEM file"
    )]
    Verify {
        /// What was given instead.
        text: String,
    },
    /// A file that should have a public key.
    #[error("`{}` has no public key of ECDSA on P-256 or Ed25519 in PEM (`PUBLIC KEY`)", file.display())]
    Key {
        /// The file.
        file: PathBuf,
    },
    /// The image is not the one that will do.
    #[error("{reference} is {found}, and not {expected}, which alone will do")]
    Unexpected {
        /// The image.
        reference: String,
        /// What it would have to be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// Nobody whose key was given has signed the image.
    #[error("{reference} ({digest}) is not signed with the key that was given")]
    Unsigned {
        /// The image.
        reference: String,
        /// What it is known by.
        digest: Digest,
    },
}

/// What others have said, as messages have it: not all of a long text, and nothing that a terminal would take for orders.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 200;
    let mut characters = text.trim().chars().map(|character| if character.is_control() { ' ' } else { character });
    let mut shown: String = characters.by_ref().take(MOST).collect();
    if characters.next().is_some() {
        shown.push_str("...");
    }
    shown
}
