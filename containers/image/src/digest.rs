//! What a blob is known by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How many bytes a SHA-256 has.
const BYTES: usize = 32;

/// What the text of a digest begins with.
const ALGORITHM: &str = "sha256:";

/// The SHA-256 of some content, written `sha256:` and 64 lower-case hexadecimal digits.
///
/// The specification of images has other algorithms, too
/// ([descriptors](https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests)); registries use this one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; BYTES]);

/// A digest that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid digest: write sha256: and 64 lower-case hexadecimal digits")]
pub struct DigestError {
    /// What was given instead; the beginning of it, if it is long.
    text: String,
}

impl Digest {
    /// The digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Digest(Sha256::digest(content).into())
    }

    /// Its 64 hexadecimal digits alone, as a layout names the files of blobs.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl From<Sha256> for Digest {
    fn from(hash: Sha256) -> Self {
        Digest(hash.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    /// # Errors
    /// [`DigestError`].
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let wrong = || DigestError { text: text.chars().take(100).collect() };
        let digits = text.strip_prefix(ALGORITHM).ok_or_else(wrong)?;
        let mut bytes = [0; BYTES];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| wrong())?;
        // There is one spelling: upper-case digits are not taken.
        Some(Digest(bytes)).filter(|digest| digest.hex() == digits).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_one_spelling() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
        let wrong = [
            empty.to_uppercase(),
            empty.replace("sha256", "sha512"),
            empty[7..].to_owned(),
            format!("{empty}0"),
            empty[..70].to_owned(),
            empty.replace('e', "g"),
            "sha256:".to_owned(),
            String::new(),
        ];
        for text in wrong {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
