//! What an import's name says beyond which function it is: a version, and canonical options.

use std::sync::Arc;

/// How the guest's strings are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf16,
    /// `latin1+utf16`: each string says which it is.
    CompactUtf16,
}

/// The canonical options of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// The export that allocates memory for results.
    pub(crate) realloc: Arc<str>,
    pub(crate) encoding: Encoding,
}

impl Default for Options {
    fn default() -> Self {
        Options { realloc: "cabi_realloc".into(), encoding: Encoding::Utf8 }
    }
}

/// Splits an import's name into the function and its options, which are written `;realloc=NAME`, `;memory=NAME` and
/// `;encoding=utf8`, `utf16` or `latin1+utf16` after the function's name where they are not the default.
///
/// # Errors
/// Why it cannot be bound.
pub(crate) fn parse(name: &str) -> Result<(&str, Options), &'static str> {
    let mut parts = name.split(';');
    let function = parts.next().unwrap_or_default();
    let mut options = Options::default();
    for part in parts {
        match part.split_once('=') {
            Some(("realloc", export)) => options.realloc = export.into(),
            Some(("memory", "memory")) | Some(("encoding", "utf8")) => {}
            Some(("memory", _)) => return Err(OTHER_MEMORY),
            Some(("encoding", "utf16")) => options.encoding = Encoding::Utf16,
            Some(("encoding", "latin1+utf16")) => options.encoding = Encoding::CompactUtf16,
            _ => return Err(UNKNOWN),
        }
    }
    Ok((function, options))
}

const OTHER_MEMORY: &str = "it works on a memory other than the export `memory`, the only one that wharf's host functions \
                            reach; do not compose components that have a memory each";

const UNKNOWN: &str = "it carries a canonical option that wharf does not know; known are realloc, memory and encoding";

/// Splits `namespace:package/interface@version`.
pub(crate) fn split_version(module: &str) -> (&str, Option<&str>) {
    match module.split_once('@') {
        Some((interface, version)) => (interface, Some(version)),
        None => (module, None),
    }
}

/// Whether a guest built for `version` runs on this host: any release 0.2.x, as semantic versioning has it.
pub(crate) fn compatible(version: &str) -> bool {
    version.strip_prefix("0.2.").is_some_and(|patch| {
        let digits = patch.split('+').next().unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_follow_the_name() {
        assert_eq!(parse("poll"), Ok(("poll", Options::default())));
        let (name, options) = parse("[method]fields.get;realloc=cabi_realloc_2;encoding=utf16").unwrap();
        assert_eq!(name, "[method]fields.get");
        assert_eq!(options, Options { realloc: "cabi_realloc_2".into(), encoding: Encoding::Utf16 });
        assert_eq!(parse("f;memory=memory;encoding=latin1+utf16").unwrap().1.encoding, Encoding::CompactUtf16);
        for bad in ["f;memory=memory_1", "f;async", "f;encoding=utf32", "f;"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_release_of_0_2_is_compatible_and_nothing_else() {
        for good in ["0.2.0", "0.2.3", "0.2.12", "0.2.99"] {
            assert!(compatible(good), "{good}");
        }
        for bad in ["0.2", "0.2.", "0.3.0", "1.2.0", "0.2.0-rc-2023-11-10", "0.20.0", ""] {
            assert!(!compatible(bad), "{bad}");
        }
    }
}
