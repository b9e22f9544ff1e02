//! What is done with a registry: an image is pushed, a guest is pulled.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::guest;
use super::session::Session;
use crate::credentials::DockerConfig;
use crate::digest::Digest;
use crate::error::ImageError;
use crate::limits::MAX_GUEST;
use crate::manifest::media;
use crate::package::Image;
use crate::reference::Reference;
use crate::verify::Verify;

/// How registries are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Whether registries elsewhere may be asked over HTTP without TLS, and whom they name. On this machine (`localhost`, or a
    /// loopback address) they always are. Default false.
    pub plain_http: bool,
    /// Where credentials are looked for. Default nowhere: registries are asked as nobody.
    pub credentials: Option<DockerConfig>,
    /// How long a pull or a push may take altogether. Default 10 minutes.
    pub timeout: Duration,
    /// How long a registry may pause: until it answers, between the parts of what it sends, and of what it takes. Once it has
    /// taken a blob, the whole timeout is there for its answer. Default 30 s.
    pub pause: Duration,
    /// The most bytes that a guest may have, and a compressed layer. Default 256 MiB, as much as core loads.
    pub max_guest_bytes: u64,
}

impl Default for ClientOptions {
    /// TLS, nobody's credentials, 10 minutes, 30 s, 256 MiB.
    fn default() -> Self {
        ClientOptions {
            plain_http: false,
            credentials: None,
            timeout: Duration::from_secs(600),
            pause: Duration::from_secs(30),
            max_guest_bytes: MAX_GUEST,
        }
    }
}

/// A guest out of a registry.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pulled {
    /// What the image is known by: its manifest's digest, or that of the index that was asked for. Where a condition holds of
    /// the manifest alone, and not of the index that names it, it is the manifest's.
    pub digest: Digest,
    /// The guest: a module or a component, not validated.
    pub wasm: Bytes,
}

impl fmt::Debug for Pulled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulled").field("digest", &self.digest).field("bytes", &self.wasm.len()).finish()
    }
}

/// Keeps guests by the digest of the image that they came in, so that they need not be pulled again.
///
/// What it gives is taken for what it was given: it has to see to it that nobody else can write to it.
pub trait Store {
    /// The guest of the image with this digest, if it is kept.
    fn get(&self, digest: &Digest) -> Option<Bytes>;

    /// Keeps the guest of an image, or does not.
    fn put(&self, digest: &Digest, wasm: &[u8]);
}

/// Pulls and pushes.
///
/// A registry is not trusted: what it gives is held to the digests that were asked for, is read up to a limit, and is waited
/// for up to a limit. It may send its clients elsewhere for what they ask; credentials are not sent there, except to whom it
/// names as giving tokens. A registry on the Internet cannot send its clients to a private address.
///
/// The futures here may be polled on any thread, inside or outside an async runtime. To drop one ends what it has started: a
/// request, or a credential helper.
#[derive(Debug, Clone, Default)]
pub struct Client {
    options: ClientOptions,
}

impl Client {
    /// A client with these options.
    pub fn new(options: ClientOptions) -> Self {
        Client { options }
    }

    /// The guest of the image `reference`, which has to be all that `verify` says. If the reference has a digest, the guest
    /// may come from `store`, and the registry is not asked; of a tag, it is always asked which image it is. A signature is
    /// asked for each time.
    ///
    /// # Errors
    /// An [`ImageError`] that says what was wrong: the registry cannot be reached, does not let us in, does not have the
    /// image, or lies; the image has no guest; it is not what `verify` says.
    pub async fn pull(
        &self,
        reference: &Reference,
        verify: &[Verify],
        store: Option<&dyn Store>,
    ) -> Result<Pulled, ImageError> {
        let kept = |digest: Digest| store.and_then(|store| store.get(&digest)).map(|wasm| Pulled { digest, wasm });
        if let Some(digest) = reference.digest()
            && verify.iter().all(|verify| *verify == Verify::Digest(digest))
            && let Some(pulled) = kept(digest)
        {
            return Ok(pulled);
        }
        let mut session = Session::open(&self.options, reference, "pull")?;
        let found = guest::find(&mut session, reference, verify).await?;
        if let Some(pulled) = kept(found.digest) {
            return Ok(pulled);
        }
        let wasm = Bytes::from(guest::read(&mut session, &found.manifest).await?);
        if let Some(store) = store {
            store.put(&found.digest, &wasm);
        }
        Ok(Pulled { digest: found.digest, wasm })
    }

    /// Puts `image` into the registry as `reference`, and returns its digest. What the registry has of it already is not sent
    /// again.
    ///
    /// # Errors
    /// An [`ImageError`] that says what was wrong: the registry cannot be reached, or does not take the image; the reference
    /// has a digest that is not the image's.
    pub async fn push(&self, reference: &Reference, image: &Image) -> Result<Digest, ImageError> {
        let digest = image.root().digest;
        if let Some(expected) = reference.digest().filter(|expected| *expected != digest) {
            return Err(ImageError::Mismatch { what: "the image that is pushed".to_owned(), expected, found: digest });
        }
        let limit = self.options.max_guest_bytes;
        let is_large = |blob: &(Digest, &str, &Bytes)| {
            matches!(blob.1, media::WASM | media::TAR_GZIP) && blob.2.len() as u64 > limit
        };
        if let Some((digest, _, content)) = image.blobs().find(is_large) {
            let what = format!("the layer {digest} of the image, with {} bytes,", content.len());
            return Err(ImageError::TooLarge { what, limit });
        }
        let mut session = Session::open(&self.options, reference, "pull,push")?;
        session.push(reference, image).await?;
        Ok(digest)
    }
}
