//! What an image has to be, before its guest is used.

use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;

use crate::digest::Digest;
use crate::error::ImageError;

/// What a layer of signatures is.
pub(crate) const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The annotation of such a layer that has the signature.
pub(crate) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// What a signed statement says it is.
const STATEMENT: &str = "cosign container image signature";

/// What public keys in their standard form (RFC 5280, section 4.1) begin with: of ECDSA on P-256 (RFC 5480), and of Ed25519
/// (RFC 8410).
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const ED25519_KEY: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// One thing that an image has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// The one with this digest: of its manifest, or of the index that names it.
    Digest(Digest),
    /// One that the owner of this key has signed, with `cosign sign --key` or the like.
    Key(PublicKey),
}

impl FromStr for Verify {
    type Err = ImageError;

    /// Reads `sha256:...`, or `key=FILE` for the public key in a PEM file.
    ///
    /// # Errors
    /// [`ImageError::Verify`] if it has another form; [`ImageError::Digest`]; [`ImageError::File`] and [`ImageError::Key`] of
    /// the key.
    fn from_str(text: &str) -> Result<Self, ImageError> {
        if text.starts_with("sha256:") {
            return Ok(Verify::Digest(text.parse()?));
        }
        match text.strip_prefix("key=") {
            Some(file) if !file.is_empty() => PublicKey::read(Path::new(file)).map(Verify::Key),
            _ => Err(ImageError::Verify { text: text.to_owned() }),
        }
    }
}

/// A key that signatures are verified with: of ECDSA on P-256, as `cosign generate-key-pair` makes, or of Ed25519.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: Kind,
    key: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    Ed25519,
}

impl PublicKey {
    /// The largest file that is read for a key.
    const MAX_FILE: u64 = 64 << 10;

    /// Reads a PEM file.
    ///
    /// # Errors
    /// [`ImageError::File`], [`ImageError::Key`].
    pub fn read(file: &Path) -> Result<Self, ImageError> {
        let pem = crate::file::read(file, Self::MAX_FILE)?;
        PublicKey::from_pem(&pem).ok_or_else(|| ImageError::Key { file: file.to_owned() })
    }

    /// The key in a PEM text: a `PUBLIC KEY` of ECDSA on P-256, or of Ed25519.
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?;
        let of = |kind, prefix: &[u8], length| {
            let key = der.strip_prefix(prefix).filter(|key| key.len() == length)?;
            Some(PublicKey { kind, key: key.to_vec() })
        };
        of(Kind::P256, P256, 65).or_else(|| of(Kind::Ed25519, ED25519_KEY, 32))
    }

    /// Whether `signature`, in base64, is this key's of `statement`, and the statement is about the image `digest`.
    pub(crate) fn has_signed(&self, statement: &[u8], signature: &str, digest: Digest) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.kind {
            Kind::P256 => &ECDSA_P256_SHA256_ASN1,
            Kind::Ed25519 => &ED25519,
        };
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        // What the statement says counts only once it is known whose it is.
        UnparsedPublicKey::new(algorithm, &self.key).verify(statement, &signature).is_ok()
            && serde_json::from_slice(statement).is_ok_and(|statement: Statement| {
                statement.critical.kind == STATEMENT && statement.critical.image.digest == digest
            })
    }
}

/// What is signed: [simple signing](https://github.com/containers/image/blob/v5.34.0/docs/containers-signature.5.md#json-data-format).
#[derive(Deserialize)]
struct Statement {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    #[serde(rename = "type")]
    kind: String,
    image: Signed,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "docker-manifest-digest")]
    digest: Digest,
}
