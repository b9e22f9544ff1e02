//! One entry of an allow-list: `[scheme://]host[:port]`, parsed with the place of every mistake.

use std::net::IpAddr;
use std::ops::Range;

use url::Host;

use crate::origin::{HostName, NAME_BYTES, Origin, Scheme};

/// The entry that names every origin.
pub const ALLOW_ALL: &str = "insecure:allow-all";

/// An entry of a policy that cannot be used. `Display` is one line: what is wrong, where, and what a valid one looks
/// like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {entry:?} is wrong at byte {}: {reason}; write {example}", span.start)]
#[non_exhaustive]
pub struct PolicyError {
    /// What kind of entry it is: `allowed origin` or `forbidden header`.
    pub what: &'static str,
    /// The entry as given.
    pub entry: String,
    /// The bytes of the entry that are wrong; empty where something is missing.
    pub span: Range<usize>,
    /// Why they are wrong.
    pub reason: String,
    /// A valid one.
    pub example: String,
}

/// Which hosts an entry names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    Exactly(HostName),
    /// Every name below this one, at any depth, and not the name itself.
    Below(String),
}

/// A parsed entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    scheme: Option<Scheme>,
    hosts: Hosts,
    /// `None` is the default port of the scheme that the URL has.
    port: Option<u16>,
}

impl Pattern {
    pub(crate) fn parse(entry: &str) -> Result<Pattern, PolicyError> {
        Parser { entry }.parse()
    }

    pub(crate) fn matches(&self, origin: &Origin) -> bool {
        self.scheme.is_none_or(|scheme| scheme == origin.scheme)
            && self.port.unwrap_or(origin.scheme.default_port()) == origin.port
            && self.names(&origin.host)
    }

    /// Whether the entry names this host, whatever the scheme and port.
    pub(crate) fn names(&self, host: &HostName) -> bool {
        match (&self.hosts, host) {
            (Hosts::Exactly(own), host) => own == host,
            (Hosts::Below(parent), HostName::Name(name)) => {
                name.strip_suffix(parent.as_str()).is_some_and(|child| child.len() > 1 && child.ends_with('.'))
            }
            (Hosts::Below(_), HostName::Ip(_)) => false,
        }
    }

    /// Whether the entry is this very address.
    pub(crate) fn is_address(&self, ip: IpAddr) -> bool {
        self.hosts == Hosts::Exactly(HostName::Ip(ip.to_canonical()))
    }
}

struct Parser<'a> {
    entry: &'a str,
}

impl Parser<'_> {
    fn error(&self, span: Range<usize>, reason: impl Into<String>, example: impl Into<String>) -> PolicyError {
        PolicyError {
            what: "allowed origin",
            entry: self.entry.to_owned(),
            span,
            reason: reason.into(),
            example: example.into(),
        }
    }

    fn parse(&self) -> Result<Pattern, PolicyError> {
        let entry = self.entry;
        if entry.is_empty() {
            return Err(self.error(0..0, "it is empty", EXAMPLE));
        }
        if let Some((at, found)) = entry.char_indices().find(|(_, c)| c.is_whitespace() || c.is_control()) {
            return Err(self.error(
                at..at + found.len_utf8(),
                "an origin has no blanks or control characters",
                EXAMPLE,
            ));
        }
        if let Some(word) = entry.strip_prefix("insecure:") {
            let span = entry.len() - word.len()..entry.len();
            return Err(self.error(span, format!("{word:?} is not valid after insecure:"), ALLOW_ALL));
        }
        let (scheme, start) = match entry.find("://") {
            Some(end) => match Scheme::parse(&entry[..end]) {
                Some(scheme) => (Some(scheme), end + 3),
                None => {
                    let reason = format!("the scheme {:?} is neither http nor https", &entry[..end]);
                    return Err(self.error(0..end, reason, EXAMPLE));
                }
            },
            None => (None, 0),
        };
        self.refuse_extras(start)?;
        let (host, port) = self.split_port(start)?;
        Ok(Pattern { scheme, hosts: self.hosts(host)?, port })
    }

    /// An origin has no user name, path, query or fragment.
    fn refuse_extras(&self, start: usize) -> Result<(), PolicyError> {
        let rest = &self.entry[start..];
        let Some(found) = rest.find(['/', '\\', '?', '#', '@', '%']) else { return Ok(()) };
        let at = start + found;
        let origin = &self.entry[..at];
        let end = self.entry.len();
        Err(match self.entry.as_bytes()[at] {
            b'@' => self.error(start..at + 1, "an origin has no user name", "only what follows the @"),
            b'?' => self.error(at..end, "an origin has no query", only(origin)),
            b'#' => self.error(at..end, "an origin has no fragment", only(origin)),
            b'%' => self.error(at..end, "a host is not percent-encoded", EXAMPLE),
            _ => self.error(at..end, "an origin has no path", only(origin)),
        })
    }

    /// Parts the host from the port; gives the place of the host and the port.
    fn split_port(&self, start: usize) -> Result<(Range<usize>, Option<u16>), PolicyError> {
        let rest = &self.entry[start..];
        let length = if rest.strip_prefix("*.").unwrap_or(rest).starts_with('[') {
            match rest.find(']') {
                Some(end) => end + 1,
                None => {
                    let span = start..self.entry.len();
                    return Err(self.error(span, "the bracket of an ipv6 address is not closed", IPV6_EXAMPLE));
                }
            }
        } else if rest.matches(':').count() > 1 {
            let span = start..self.entry.len();
            return Err(self.error(span, "an ipv6 address must be in brackets", IPV6_EXAMPLE));
        } else {
            rest.find(':').unwrap_or(rest.len())
        };
        let host = start..start + length;
        let Some(port) = rest[length..].strip_prefix(':') else {
            return if length == rest.len() {
                Ok((host, None))
            } else {
                let span = host.end..self.entry.len();
                Err(self.error(span, "only :port may follow an ipv6 address", IPV6_EXAMPLE))
            };
        };
        let span = host.end + 1..self.entry.len();
        if port.is_empty() {
            return Err(self.error(span, "the port is missing", "the port or leave out the colon"));
        }
        match port.parse::<u16>() {
            Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok((host, Some(number))),
            _ => Err(self.error(span, format!("{port:?} is not a port from 1 to 65535"), EXAMPLE)),
        }
    }

    fn hosts(&self, span: Range<usize>) -> Result<Hosts, PolicyError> {
        let text = &self.entry[span.clone()];
        if text.is_empty() {
            return Err(self.error(span, "the host is missing", EXAMPLE));
        }
        if text == "*" {
            return Err(self.error(span, "* alone is not a host", format!("{ALLOW_ALL} to allow every origin")));
        }
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let start = span.end - name.len();
        if let Some(at) = name.find('*') {
            let at = start + at;
            return Err(self.error(at..at + 1, "* can only be the whole first part of a name", "*.example.com"));
        }
        let host = Host::parse(name).map_err(|error| {
            let (reason, example) = if name.starts_with('[') {
                ("not a valid ipv6 address", IPV6_EXAMPLE)
            } else {
                ("not a valid host", EXAMPLE)
            };
            self.error(start..span.end, format!("{name:?} is {reason} ({error})"), example)
        })?;
        match (HostName::of(host), wildcard) {
            (HostName::Name(name), wildcard) => {
                self.check_labels(&name, start..span.end)?;
                Ok(if wildcard { Hosts::Below(name) } else { Hosts::Exactly(HostName::Name(name)) })
            }
            (host @ HostName::Ip(_), false) => Ok(Hosts::Exactly(host)),
            (HostName::Ip(_), true) => {
                Err(self.error(span, "an address has no sub-domains", "the address without the wildcard"))
            }
        }
    }

    fn check_labels(&self, name: &str, span: Range<usize>) -> Result<(), PolicyError> {
        if name.len() > NAME_BYTES {
            return Err(self.error(span, format!("a host name has at most {NAME_BYTES} bytes"), EXAMPLE));
        }
        if name.split('.').any(str::is_empty) {
            return Err(self.error(span, "a part of the host name between dots is empty", EXAMPLE));
        }
        if name.split('.').any(|label| label.len() > 63) {
            return Err(self.error(span, "a part of the host name is longer than 63 bytes", EXAMPLE));
        }
        Ok(())
    }
}

const EXAMPLE: &str = "for example https://example.com or *.example.com:8080";
const IPV6_EXAMPLE: &str = "for example http://[::1]:8080";

fn only(origin: &str) -> String {
    format!("only {origin}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Target;

    fn allows(entry: &str, url: &str) -> bool {
        Pattern::parse(entry).unwrap().matches(Target::parse(url).unwrap().origin())
    }

    #[test]
    fn entries_match_the_origins_they_name() {
        for (entry, url, expected) in [
            ("example.com", "http://example.com/", true),
            ("example.com", "https://example.com/", true),
            ("example.com", "http://example.com:443/", false),
            ("example.com", "https://example.com:80/", false),
            ("example.com", "http://example.com:8080/", false),
            ("example.com", "http://a.example.com/", false),
            ("example.com", "http://example.com.evil.example/", false),
            ("example.com:8080", "http://example.com:8080/", true),
            ("example.com:8080", "https://example.com:8080/", true),
            ("example.com:8080", "http://example.com/", false),
            ("http://example.com", "http://example.com/", true),
            ("http://example.com", "https://example.com/", false),
            ("https://example.com:80", "https://example.com:80/", true),
            ("HTTP://EXAMPLE.com", "http://example.COM./", true),
            ("example.com.", "http://example.com/", true),
            ("*.example.com", "http://a.example.com/", true),
            ("*.example.com", "http://a.b.example.com/", true),
            ("*.example.com", "http://example.com/", false),
            ("*.example.com", "http://badexample.com/", false),
            ("*.example.com:81", "http://a.example.com:81/", true),
            ("https://*.example.com", "http://a.example.com/", false),
            ("*.0.0.1.example", "http://127.0.0.1/", false),
            ("bücher.example", "http://xn--bcher-kva.example/", true),
            ("*.bücher.example", "http://a.xn--bcher-kva.example/", true),
            ("127.0.0.1", "http://0x7f.1/", true),
            ("0x7f.1", "http://127.0.0.1/", true),
            ("127.0.0.1", "http://[::ffff:7f00:1]/", true),
            ("[::1]:8080", "http://[0::1]:8080/", true),
            ("http://[::1]", "http://[::1]/", true),
            ("localhost", "http://127.0.0.1/", false),
        ] {
            assert_eq!(allows(entry, url), expected, "{entry} {url}");
        }
    }

    #[test]
    fn wrong_entries_say_where_and_why() {
        for (entry, span, reason) in [
            ("", 0..0, "it is empty"),
            ("http://", 7..7, "the host is missing"),
            ("://example.com", 0..0, "the scheme \"\" is neither http nor https"),
            ("ftp://example.com", 0..3, "the scheme \"ftp\" is neither http nor https"),
            ("http://example.com/", 18..19, "an origin has no path"),
            ("http://example.com/a", 18..20, "an origin has no path"),
            ("example.com?a", 11..13, "an origin has no query"),
            ("example.com#a", 11..13, "an origin has no fragment"),
            ("http://me@example.com", 7..10, "an origin has no user name"),
            ("exa mple.com", 3..4, "an origin has no blanks or control characters"),
            (" example.com", 0..1, "an origin has no blanks or control characters"),
            ("example.com\n", 11..12, "an origin has no blanks or control characters"),
            (":80", 0..0, "the host is missing"),
            ("example.com:", 12..12, "the port is missing"),
            ("example.com:0", 12..13, "\"0\" is not a port from 1 to 65535"),
            ("example.com:99999", 12..17, "\"99999\" is not a port from 1 to 65535"),
            ("example.com:+80", 12..15, "\"+80\" is not a port from 1 to 65535"),
            ("example.com:http", 12..16, "\"http\" is not a port from 1 to 65535"),
            ("insecure:allow-al", 9..17, "\"allow-al\" is not valid after insecure:"),
            ("::1", 0..3, "an ipv6 address must be in brackets"),
            ("[::1", 0..4, "the bracket of an ipv6 address is not closed"),
            ("[::1]80", 5..7, "only :port may follow an ipv6 address"),
            ("*", 0..1, "* alone is not a host"),
            ("a.*.example.com", 2..3, "* can only be the whole first part of a name"),
            ("*example.com", 0..1, "* can only be the whole first part of a name"),
            ("*.*.com", 2..3, "* can only be the whole first part of a name"),
            ("*.127.0.0.1", 0..11, "an address has no sub-domains"),
            ("*.[::1]", 0..7, "an address has no sub-domains"),
            ("a..example.com", 0..14, "a part of the host name between dots is empty"),
            ("*..", 2..3, "a part of the host name between dots is empty"),
            ("%31.example.com", 0..15, "a host is not percent-encoded"),
        ] {
            let error = Pattern::parse(entry).expect_err(entry);
            assert_eq!((error.span.clone(), error.reason.as_str()), (span, reason), "{entry}: {error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        for entry in ["[::g]", "[]", "[fe80::1%25eth0]", "256.0.0.1", "1.2.3.4.5", "exa<mple", "xn--a.example"] {
            let error = Pattern::parse(entry).expect_err(entry);
            assert!(error.to_string().contains(entry) && error.span.end <= entry.len(), "{error}");
        }
    }

    /// RFC 1035, section 2.3.4.
    #[test]
    fn names_are_as_long_as_the_domain_name_system_has_them() {
        let label = |len: usize| format!("{}.example", "a".repeat(len));
        assert!(Pattern::parse(&label(63)).is_ok());
        for entry in [label(64), label(65)] {
            let error = Pattern::parse(&entry).expect_err(&entry);
            assert!(error.to_string().contains("longer than 63 bytes"), "{error}");
        }
        let name = |len: usize| format!("{}{}", "a.".repeat(len / 2), &"aa"[..len % 2]);
        assert!(Pattern::parse(&name(253)).is_ok());
        for entry in [name(255), name(301)] {
            let error = Pattern::parse(&entry).expect_err(&entry);
            assert!(error.to_string().contains("at most 253 bytes"), "{error}");
        }
    }

    #[test]
    fn no_entry_panics_and_every_place_is_inside_it() {
        let parts =
            ["", "http://", "*", ".", ":", "[", "]", "::1", "80", "a", "ü", "💥", "/", "@", "%", "xn--", "insecure:"];
        let mut entries = vec![String::new()];
        for _ in 0..4 {
            entries = entries.iter().flat_map(|entry| parts.iter().map(move |part| format!("{entry}{part}"))).collect();
        }
        for entry in entries {
            if let Err(error) = Pattern::parse(&entry) {
                assert!(entry.get(error.span.clone()).is_some(), "{error:?}");
            }
        }
    }

    #[test]
    fn the_message_is_one_line_with_place_and_example() {
        let error = Pattern::parse("http://example.com/a").unwrap_err();
        assert_eq!(
            error.to_string(),
            "allowed origin \"http://example.com/a\" is wrong at byte 18: an origin has no path; \
             write only http://example.com"
        );
    }
}
