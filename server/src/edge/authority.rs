//! Hosts and ports.

use std::net::Ipv6Addr;

/// A host with or without a port, as Host and `:authority` have it: `uri-host [ ":" port ]` (RFC 9110, section 7.2).
///
/// Stricter than RFC 3986, section 3.2.2, where parsers differ: the host is not empty, has no percent-encoding, and an IP
/// literal is an IPv6 address without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostPort<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> HostPort<'a> {
    /// What `text` names; `None` if it is not valid. Userinfo is not.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(literal) => {
                let (address, rest) = literal.split_once(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                (&text[..address.len() + 2], rest)
            }
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
        if host.is_empty() || !host.starts_with('[') && !host.bytes().all(named) {
            return None;
        }
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        Some(HostPort { host, port })
    }

    /// Whether both are the same where a port left out is `default` (RFC 9110, section 4.2.3).
    pub(super) fn is(&self, other: &HostPort<'_>, default: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host) && self.port.unwrap_or(default) == other.port.unwrap_or(default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_two_parsers_could_read_differently_are_not_valid() {
        for good in ["a", "a:80", "a:", "A.example", "127.0.0.1:1", "[::1]", "[::1]:8080", "a_b", "xn--nxasmq6b:65535"]
        {
            assert!(HostPort::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            ":80",
            "u@a",
            "trusted.example@evil",
            "a:b",
            "a:80:81",
            "a:65536",
            "a:+80",
            "a b",
            "a/",
            "a?",
            "a#",
            "a\\b",
            "%61",
            "[::1",
            "::1",
            "[::1]x",
            "[::1%eth0]",
            "[v1.a]",
            "[a]",
            "a\u{e4}",
            "\"a\"",
            "<a>",
            "a, b",
        ] {
            assert_eq!(HostPort::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_default_port_may_be_left_out() {
        let is = |a, b| HostPort::parse(a).unwrap().is(&HostPort::parse(b).unwrap(), 443);
        assert!(is("a", "A:443") && is("a:", "a") && is("[::1]:443", "[::1]"));
        assert!(!is("a", "a:80") && !is("a", "b"));
    }
}
