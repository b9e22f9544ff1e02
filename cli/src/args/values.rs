//! The values that options take, each with an error that says how a right one looks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use wharf::core::chain;
use wharf::core::grants::Listen;
use wharf::core::http::{Policy, PolicyError, Redirects};
use wharf_image::{ImageError, Platform, Reference, Verify};

/// An entry of the allow-list, known to be one.
#[derive(Debug, Clone)]
pub(crate) struct AllowEntry(pub(crate) String);

/// `NAME=VALUE`, or `NAME` alone for the value that wharf's own environment has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvEntry {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

/// `HOST` or `HOST::GUEST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DirGrant {
    pub(crate) host: PathBuf,
    pub(crate) guest: String,
}

/// `HOST` or `HOST::PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileGrant {
    pub(crate) host: PathBuf,
    pub(crate) path: String,
}

pub(super) fn allow_entry(text: &str) -> Result<AllowEntry, PolicyError> {
    Policy::builder().allow(text).map(|_| AllowEntry(text.to_owned()))
}

pub(super) fn redirects(text: &str) -> Result<Redirects, String> {
    if text == "manual" {
        return Ok(Redirects::Manual);
    }
    let wrong = || format!("expected a number up to {}, or `manual`", u32::MAX);
    text.parse().map(Redirects::Follow).map_err(|_| wrong())
}

/// A bare number counts seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok().map(Duration::from_secs));
    seconds
        .unwrap_or_else(|| humantime::parse_duration(text).ok())
        .ok_or_else(|| "expected a number of seconds, or a number with a unit, for example 2s, 100ms or 1m".to_owned())
}

/// A time within which something has to happen, which nothing does in none.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("expected a time greater than zero, for example 2s, 100ms or 1m".to_owned()),
        period => Ok(period),
    }
}

/// How many there may be of something that at least one is needed of.
pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1; with 0, nothing would be answered".to_owned()),
        count => count.map_err(|_| format!("expected a number from 1 to {}", usize::MAX)),
    }
}

/// The most requests that can be worked on at a time: each may need a thread.
pub(crate) const MOST_PLACES: usize = 1 << 15;

/// How many requests are worked on at a time.
pub(super) fn places(text: &str) -> Result<usize, String> {
    match count(text) {
        Ok(count) if count > MOST_PLACES => Err(format!("expected at most {MOST_PLACES}: each may need a thread")),
        count => count.map_err(|_| format!("expected a number from 1 to {MOST_PLACES}")),
    }
}

/// A size that something has to fit into.
pub(super) fn room(text: &str) -> Result<ByteSize, String> {
    match size(text)? {
        ByteSize(0) => Err("expected a size greater than zero, for example 512KiB, 64MiB or 1GiB".to_owned()),
        size => Ok(size),
    }
}

pub(super) fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| {
        "expected a number of bytes, or a number with a unit, for example 512KiB, 64MiB or 1GiB".to_owned()
    })
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an address and a port, for example 127.0.0.1:8080 or [::1]:8080".to_owned())
}

pub(super) fn listen(text: &str) -> Result<Listen, String> {
    text.parse().map_err(|error: wharf::core::grants::GrantError| error.to_string())
}

pub(super) fn env_entry(text: &str) -> Result<EnvEntry, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(
            "the name is empty; write NAME=VALUE, or NAME to pass on the value from wharf's own environment".to_owned()
        );
    }
    Ok(EnvEntry { name: name.to_owned(), value })
}

pub(super) fn dir_grant(text: &str) -> Result<DirGrant, String> {
    let (host, guest) = text.split_once("::").unwrap_or((text, text));
    if host.is_empty() || guest.is_empty() {
        return Err("a name is empty; write HOST or HOST::GUEST".to_owned());
    }
    Ok(DirGrant { host: host.into(), guest: guest.to_owned() })
}

/// A file's path in an image is absolute: by default, `/` and the name that was given.
pub(super) fn file_grant(text: &str) -> Result<FileGrant, String> {
    let (host, path) = match text.split_once("::") {
        Some((host, path)) => (host, path.to_owned()),
        None => (text, own_path(text)?),
    };
    if host.is_empty() || !path.starts_with('/') {
        return Err(
            "write HOST or HOST::PATH, where PATH is absolute, for example ./app.conf::/etc/app.conf".to_owned()
        );
    }
    Ok(FileGrant { host: host.into(), path })
}

/// The path that a file has of its own, without `.` and empty steps: `/etc/app.conf` of `./etc//app.conf`, `/` of `.`.
fn own_path(text: &str) -> Result<String, String> {
    let steps: Vec<&str> = text.split('/').filter(|step| !matches!(*step, "" | ".")).collect();
    if steps.contains(&"..") {
        return Err(format!("a path with `..` is not one in an image; write {text}::PATH, where PATH is absolute"));
    }
    Ok(format!("/{}", steps.join("/")))
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

pub(super) fn image(text: &str) -> Result<Reference, ImageError> {
    text.parse()
}

/// The sources of an error are told, too: it may be a file that is missing.
pub(super) fn verify(text: &str) -> Result<Verify, String> {
    text.parse().map_err(|error: ImageError| chain(&error))
}

pub(super) fn platform(text: &str) -> Result<Platform, ImageError> {
    text.parse()
}

/// What a project can be called in every language: a name for a directory, a crate, a package and a file.
pub(crate) fn project_name(text: &str) -> Result<String, String> {
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) || text.len() > 64 {
        return Err("a name must begin with a lower-case letter and have at most 64 characters".to_owned());
    }
    if !text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) || text.ends_with('-') {
        return Err("a name may only have lower-case letters, digits, and dashes between them".to_owned());
    }
    if NO_PROJECT.contains(&text) {
        return Err("the name is reserved by a toolchain; choose another name".to_owned());
    }
    Ok(text.to_owned())
}

/// Keywords and libraries, which crates, packages or modules cannot be called.
const NO_PROJECT: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "vendor",
    "wharf-guest",
    "wharf-guest-macros",
    "where",
    "while",
    "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in
            [("1", 1000), ("0", 0), ("2s", 2000), ("100ms", 100), ("1m", 60_000), ("1m 5s", 65_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "-1", "1x", "s", "99999999999999999999", "1 2"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("1500", 1500), ("64KiB", 65_536), ("1MiB", 1 << 20), ("4GiB", 4 << 30), ("2 kB", 2000)]
        {
            assert_eq!(size(text).map(|size| size.as_u64()), Ok(bytes), "{text}");
        }
        for text in ["", "-1", "MiB", "1 MoB", "1..2KiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn places_to_listen() {
        assert!(address("127.0.0.1:0").is_ok() && address("[::1]:80").is_ok());
        for text in ["", "80", "localhost:80", "127.0.0.1", "127.0.0.1:70000"] {
            assert!(address(text).unwrap_err().contains("127.0.0.1:8080"), "{text}");
        }
        assert!(listen("8080").is_ok() && listen("127.0.0.1:8080").is_ok());
        assert!(listen("localhost:80").unwrap_err().contains("ADDR:PORT"));
    }

    #[test]
    fn redirects_are_a_number_or_manual() {
        assert_eq!(redirects("0"), Ok(Redirects::Follow(0)));
        assert_eq!(redirects("manual"), Ok(Redirects::Manual));
        assert!(redirects("-1").is_err() && redirects("none").is_err());
    }

    #[test]
    fn what_nothing_would_be_answered_with_is_refused() {
        assert_eq!((period("1ms"), count("1")), (Ok(Duration::from_millis(1)), Ok(1)));
        for zero in ["0", "0s", "0ms"] {
            assert!(period(zero).is_err(), "{zero}");
        }
        assert!(room("0").is_err() && room("1B").is_ok());
        for wrong in ["0", "-1", "many", "99999999999999999999"] {
            assert!(count(wrong).is_err() && places(wrong).is_err(), "{wrong}");
        }
        assert_eq!(places("32768"), Ok(MOST_PLACES));
        assert!(places("32769").unwrap_err().contains("32768"));
    }

    #[test]
    fn environment_entries() {
        let entry = |name: &str, value: Option<&str>| EnvEntry { name: name.into(), value: value.map(Into::into) };
        assert_eq!(env_entry("A=b=c"), Ok(entry("A", Some("b=c"))));
        assert_eq!(env_entry("A="), Ok(entry("A", Some(""))));
        assert_eq!(env_entry("A"), Ok(entry("A", None)));
        assert!(env_entry("=b").is_err() && env_entry("").is_err());
    }

    #[test]
    fn names_of_projects() {
        for good in ["a", "my-guest", "guest2", &"a".repeat(64)] {
            assert_eq!(project_name(good).as_deref(), Ok(good));
        }
        for bad in ["", "-a", "a-", "2a", "A", "a_b", "a/b", "..", "a b", "fn", "std", "\u{e9}", &"a".repeat(65)] {
            assert!(project_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn directories() {
        let grant = |host: &str, guest: &str| DirGrant { host: host.into(), guest: guest.into() };
        assert_eq!(dir_grant("."), Ok(grant(".", ".")));
        assert_eq!(dir_grant("/a/b::/data"), Ok(grant("/a/b", "/data")));
        assert!(dir_grant("::/data").is_err() && dir_grant("/a::").is_err());
    }
}
