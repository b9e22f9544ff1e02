//! What an import's name says beyond which function it is: a version, and canonical options.

use std::fmt;
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
    /// The component instance that imports it, in the plan of a composed guest.
    pub(crate) instance: u32,
    /// The export that is the memory it works on.
    pub(crate) memory: Arc<str>,
    /// The export that allocates memory for results.
    pub(crate) realloc: Arc<str>,
    pub(crate) encoding: Encoding,
}

impl Default for Options {
    fn default() -> Self {
        Options { instance: 0, memory: "memory".into(), realloc: "cabi_realloc".into(), encoding: Encoding::Utf8 }
    }
}

/// Splits an import's name into the function and its options, which are written `;realloc=NAME`, `;memory=NAME`,
/// `;encoding=utf8`, `utf16` or `latin1+utf16` and `;instance=N` after the function's name where they are not the
/// default. `;variant=N` only tells apart what would have one name.
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
            Some(("memory", export)) => options.memory = export.into(),
            Some(("encoding", "utf8")) => {}
            Some(("encoding", "utf16")) => options.encoding = Encoding::Utf16,
            Some(("encoding", "latin1+utf16")) => options.encoding = Encoding::CompactUtf16,
            Some(("instance" | "variant", number)) if number.parse::<u32>().is_ok() => {}
            _ => return Err(UNKNOWN),
        }
    }
    Ok((function, options))
}

const UNKNOWN: &str =
    "it has a canonical option that wharf does not support; supported are realloc, memory, encoding and instance";

/// An interface as a name says it: `namespace:package/interface@version`, where the version may be missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Interface {
    name: Arc<str>,
    version: Option<Arc<str>>,
}

impl Interface {
    /// What the name says.
    pub(crate) fn of(module: &str) -> Self {
        let (name, version) = split_version(module);
        Interface { name: name.into(), version: version.map(Arc::from) }
    }

    /// Whether this one can be had by who asks for `wanted`: it has the same version, or one that semantic versioning
    /// calls compatible. Which of two such is the later one does not matter: types are compared for each function.
    pub(crate) fn serves(&self, wanted: &Interface) -> bool {
        self.name == wanted.name
            && match (&self.version, &wanted.version) {
                (None, None) => true,
                (Some(version), Some(wanted)) => {
                    version == wanted || series(version).is_some_and(|of| Some(of) == series(wanted))
                }
                _ => false,
            }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.iter().try_for_each(|version| write!(f, "@{version}"))
    }
}

/// What versions that are compatible have in common: up to the first number that is not 0. `None` for a prerelease and for
/// what is not a version: only the same one is compatible with those.
fn series(version: &str) -> Option<(u64, u64, u64)> {
    let numbers = version.split('+').next()?;
    let mut numbers = numbers.split('.').map(|number| number.parse().ok());
    match (numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()) {
        (0, 0, patch, None) => Some((0, 0, patch)),
        (0, minor, _, None) => Some((0, minor, 0)),
        (major, _, _, None) => Some((major, 0, 0)),
        _ => None,
    }
}

/// Splits `namespace:package/interface@version`.
pub(crate) fn split_version(module: &str) -> (&str, Option<&str>) {
    match module.split_once('@') {
        Some((interface, version)) => (interface, Some(version)),
        None => (module, None),
    }
}

/// Whether a guest built for `version` runs on this host: any release 0.2.x, as semantic versioning defines it.
pub(crate) fn compatible(version: &str) -> bool {
    of_series(version, "0.2.")
}

/// Whether a guest built for `version` runs on this host's WASI 0.3: any release 0.3.x.
pub(crate) fn compatible03(version: &str) -> bool {
    of_series(version, "0.3.")
}

fn of_series(version: &str, series: &str) -> bool {
    version.strip_prefix(series).is_some_and(|patch| {
        let digits = patch.split('+').next().unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The interface of WASI that has no release, and its draft.
const LOGGING: (&str, &str) = ("wasi:logging/logging", "0.1.0-draft");

/// Whether an import of `interface` in this `version`, or without one, is of what this host has.
pub(crate) fn hosts(interface: &str, version: Option<&str>) -> bool {
    let (logging, draft) = LOGGING;
    if interface == logging { version.is_none_or(|version| version == draft) } else { version.is_some_and(compatible) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_follow_the_name() {
        assert_eq!(parse("poll"), Ok(("poll", Options::default())));
        let (name, options) = parse("[method]fields.get;realloc=cabi_realloc_2;encoding=utf16").unwrap();
        assert_eq!(name, "[method]fields.get");
        let expected = Options { realloc: "cabi_realloc_2".into(), encoding: Encoding::Utf16, ..Options::default() };
        assert_eq!(options, expected);
        assert_eq!(&*parse("f;memory=memory_1;instance=3").unwrap().1.memory, "memory_1");
        assert_eq!(parse("f;memory=memory;encoding=latin1+utf16").unwrap().1.encoding, Encoding::CompactUtf16);
        for bad in ["f;instance=x", "f;async", "f;encoding=utf32", "f;"] {
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

    #[test]
    fn versions_are_compatible_up_to_the_first_number_that_is_not_0() {
        let serves = |offered: &str, wanted: &str| Interface::of(offered).serves(&Interface::of(wanted));
        for (offered, wanted) in [
            ("a:b/c@1.0.0", "a:b/c@1.0.0"),
            ("a:b/c@1.2.0", "a:b/c@1.0.9"),
            ("a:b/c@1.0.0", "a:b/c@1.9.0"),
            ("a:b/c@0.2.1", "a:b/c@0.2.7"),
            ("a:b/c@0.0.3", "a:b/c@0.0.3+build"),
            ("a:b/c@1.0.0-rc.1", "a:b/c@1.0.0-rc.1"),
            ("a:b/c", "a:b/c"),
            ("$root", "$root"),
        ] {
            assert!(serves(offered, wanted) && serves(wanted, offered), "{offered} {wanted}");
        }
        for (offered, wanted) in [
            ("a:b/c@1.0.0", "a:b/c@2.0.0"),
            ("a:b/c@0.2.0", "a:b/c@0.3.0"),
            ("a:b/c@0.0.1", "a:b/c@0.0.2"),
            ("a:b/c@0.1.0", "a:b/c@1.0.0"),
            ("a:b/c@1.0.0-rc.1", "a:b/c@1.0.0"),
            ("a:b/c@1.0.0-rc.1", "a:b/c@1.0.0-rc.2"),
            ("a:b/c", "a:b/c@1.0.0"),
            ("a:b/c@1.0.0", "a:b/d@1.0.0"),
            ("a:b/c@1.0", "a:b/c@1.0.0"),
        ] {
            assert!(!serves(offered, wanted) && !serves(wanted, offered), "{offered} {wanted}");
        }
    }

    #[test]
    fn what_has_no_release_is_hosted_without_one() {
        for (interface, version, expected) in [
            ("wasi:logging/logging", None, true),
            ("wasi:logging/logging", Some("0.1.0-draft"), true),
            ("wasi:logging/logging", Some("0.2.0"), false),
            ("wasi:io/streams", None, false),
            ("wasi:io/streams", Some("0.2.3"), true),
            ("wasi:io/streams", Some("0.1.0-draft"), false),
        ] {
            assert_eq!(hosts(interface, version), expected, "{interface} {version:?}");
        }
    }
}
