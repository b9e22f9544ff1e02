//! What an image is called.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::ImageError;

/// What the name of an image begins with where a file could be meant, too.
const SCHEME: &str = "oci://";

/// The tag of a name that has none.
const LATEST: &str = "latest";

/// The longest name of a host that there may be.
const MAX_HOST: usize = 253;

/// The longest repository that there may be.
const MAX_REPOSITORY: usize = 255;

/// The longest tag that there may be.
const MAX_TAG: usize = 128;

/// An image in a registry, written `oci://HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`; `oci://` may be left out where no file can
/// be meant. With neither tag nor digest, the tag is `latest`. With both, the image is the one that has the digest.
///
/// Parts are valid as the [specification](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md) has them.
/// The registry is always named: there is no default one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Whether `text` is meant to be an image, and not a file: it begins with `oci://`.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The host that has the registry, with its port if it has one.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, which may name another image tomorrow; none if there is only a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that names the image for good.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same image, named by its digest alone.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// What the registry is asked for: the digest, or else the tag.
    pub(crate) fn asked(&self) -> String {
        self.digest.map_or_else(|| self.tag.clone().unwrap_or_else(|| LATEST.to_owned()), |digest| digest.to_string())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

impl FromStr for Reference {
    type Err = ImageError;

    /// # Errors
    /// [`ImageError::Reference`], [`ImageError::Digest`].
    fn from_str(text: &str) -> Result<Self, ImageError> {
        let wrong = |reason: &'static str| ImageError::Reference { text: text.to_owned(), reason };
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        let (registry, rest) = rest.split_once('/').ok_or_else(|| wrong("it has no repository"))?;
        if !is_host(registry) {
            return Err(wrong("its registry is not a valid host, with or without a port"));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, digest.is_none().then_some(LATEST)),
        };
        if repository.len() > MAX_REPOSITORY || !repository.split('/').all(is_component) {
            return Err(wrong("its repository is not valid: lower-case words, joined by one of / . - _"));
        }
        if !tag.is_none_or(is_tag) {
            return Err(wrong("its tag is not valid: up to 128 letters, digits, and . - _ after the first"));
        }
        let (registry, repository) = (registry.to_ascii_lowercase(), repository.to_owned());
        Ok(Reference { registry, repository, tag: tag.map(str::to_owned), digest })
    }
}

/// A name, an address, or an IPv6 address in brackets, and a port.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let (valid, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
            None => return false,
        },
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (host.len() <= MAX_HOST && host.split('.').all(is_label), port)
        }
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    valid && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut joint = String::new();
    for (at, byte) in text.bytes().enumerate() {
        if word(byte) {
            if !matches!(joint.as_str(), "" | "." | "_" | "__") && !joint.bytes().all(|byte| byte == b'-') {
                return false;
            }
            joint.clear();
        } else if at == 0 || !matches!(byte, b'.' | b'_' | b'-') {
            return false;
        } else {
            joint.push(char::from(byte));
        }
    }
    !text.is_empty() && joint.is_empty()
}

fn is_tag(text: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let rest = |byte: u8| first(byte) || matches!(byte, b'.' | b'-');
    text.len() <= MAX_TAG && text.bytes().next().is_some_and(first) && text.bytes().all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_parts() {
        let digest = Digest::of(b"");
        let parsed = |text: &str| text.parse::<Reference>().unwrap();
        let all = parsed(&format!("oci://localhost:5000/a/b_c/d-e:v1.0_x@{digest}"));
        assert_eq!((all.registry(), all.repository()), ("localhost:5000", "a/b_c/d-e"));
        assert_eq!((all.tag(), all.digest()), (Some("v1.0_x"), Some(digest)));
        assert_eq!(all.to_string(), format!("oci://localhost:5000/a/b_c/d-e:v1.0_x@{digest}"));
        assert_eq!(parsed("Example.COM/app").to_string(), "oci://example.com/app:latest");
        assert_eq!(parsed(&format!("[::1]:80/app@{digest}")).tag(), None);
    }

    #[test]
    fn what_is_not_a_reference_is_refused() {
        for text in [
            "",
            "oci://",
            "oci://app",
            "oci:///app",
            "oci://host/",
            "host/App",
            "host/a//b",
            "host/a/",
            "host/../b",
            "host/a:",
            "host/a:.b",
            "host/a:b:c",
            "host/a@",
            "host/a@sha256:12",
            "ho st/a",
            "-host/a",
            "host:/a",
            "host:99999/a",
            "host:+1/a",
            "user@host/a",
            "[::1/a",
            "[/a",
            "[a/b",
            "[a:80/b",
            "[::1]]/a",
            "[::1]:/a",
            "]/a",
            "[::1]x/a",
            "host/a?b",
            "host/a#b",
            "host/a%2e",
            "host/a.-b",
            "host/a___b",
            "https://host/a",
            "host/\u{e9}",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        assert!(format!("{}/a", "a".repeat(254)).parse::<Reference>().is_err());
        assert!(format!("host/{}", "a".repeat(256)).parse::<Reference>().is_err());
        assert!(format!("host/a:{}", "b".repeat(129)).parse::<Reference>().is_err());
    }
}
