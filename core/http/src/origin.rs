//! Where a URL leads: scheme, host and port, in one spelling.

use std::fmt;
use std::net::IpAddr;

use url::Host;

use crate::error::{HttpError, HttpErrorKind};

/// The longest host name DNS knows.
pub(crate) const NAME_BYTES: usize = 253;

/// The scheme of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Unencrypted.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The scheme called `text`, in any case.
    pub(crate) fn parse(text: &str) -> Option<Scheme> {
        if text.eq_ignore_ascii_case("http") {
            Some(Scheme::Http)
        } else if text.eq_ignore_ascii_case("https") {
            Some(Scheme::Https)
        } else {
            None
        }
    }

    /// As written in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port of a URL that names none.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// A host in its one spelling: names lower-case, in their ASCII form and without the final dot; addresses as numbers,
/// an IPv4 address inside an IPv6 one as the IPv4 address it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum HostName {
    Name(String),
    Ip(IpAddr),
}

impl HostName {
    pub(crate) fn of<S: AsRef<str>>(host: Host<S>) -> HostName {
        match host {
            Host::Domain(name) => {
                let name = name.as_ref();
                HostName::Name(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
            }
            Host::Ipv4(ip) => HostName::Ip(IpAddr::V4(ip)),
            Host::Ipv6(ip) => HostName::Ip(IpAddr::V6(ip).to_canonical()),
        }
    }

    /// Reads a host as it stands in a URL or is given to a resolver; brackets around an IPv6 address may be left out.
    pub(crate) fn read(text: &str) -> HostName {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        match bare.parse::<IpAddr>() {
            Ok(ip) => HostName::Ip(ip.to_canonical()),
            Err(_) => Host::parse(text).map_or_else(|_| HostName::of(Host::Domain(text)), HostName::of),
        }
    }

    /// `localhost`, or a name below it, which by RFC 6761 is always this machine.
    pub(crate) fn is_localhost(&self) -> bool {
        matches!(self, HostName::Name(name) if name == "localhost" || name.ends_with(".localhost"))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostName::Name(name) => f.write_str(name),
            HostName::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            HostName::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// Scheme, host and port of a URL. Prints as `http://127.0.0.1:8080`, the default port left out: an entry that
/// [`PolicyBuilder::allow`](crate::PolicyBuilder::allow) takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) host: HostName,
    pub(crate) port: u16,
}

impl Origin {
    /// # Errors
    /// [`HttpErrorKind::InvalidUrl`] if the name is empty or longer than DNS knows.
    pub(crate) fn new<S: AsRef<str>>(scheme: Scheme, host: Host<S>, port: u16) -> Result<Origin, HttpError> {
        let invalid = |message: String| HttpError::new(HttpErrorKind::InvalidUrl, message);
        let host = HostName::of(host);
        if let HostName::Name(name) = &host {
            if name.is_empty() {
                return Err(invalid("the url has an empty host".into()));
            }
            if name.len() > NAME_BYTES {
                return Err(invalid(format!("the url's host is longer than {NAME_BYTES} bytes")));
            }
        }
        Ok(Origin { scheme, host, port })
    }

    /// Host and port, the default one left out.
    pub(crate) fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// How the origin is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The port, the default one included.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Target;

    #[test]
    fn every_spelling_of_an_origin_is_one() {
        for (url, origin) in [
            ("http://127.0.0.1:8080/a?b#c", "http://127.0.0.1:8080"),
            ("http://0x7f.1:8080/", "http://127.0.0.1:8080"),
            ("http://2130706433:8080/", "http://127.0.0.1:8080"),
            ("http://0177.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://127.0.0.1.:8080/", "http://127.0.0.1:8080"),
            ("http://[::ffff:127.0.0.1]:8080/", "http://127.0.0.1:8080"),
            ("http://[::FFFF:7f00:1]:8080/", "http://127.0.0.1:8080"),
            ("http://%31%32%37.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("HTTPS://Example.COM:443/", "https://example.com"),
            ("https://example.com./", "https://example.com"),
            ("http://bücher.example/", "http://xn--bcher-kva.example"),
            ("http://[0:0::1]/", "http://[::1]"),
        ] {
            assert_eq!(Target::parse(url).unwrap().origin().to_string(), origin, "{url}");
        }
    }

    #[test]
    fn the_port_is_told_if_it_is_the_default_one_too() {
        for (url, port) in
            [("http://a/", 80), ("https://a/", 443), ("http://a:443/", 443), ("https://[::1]:8443/", 8443)]
        {
            assert_eq!(Target::parse(url).unwrap().origin().port(), port, "{url}");
        }
    }

    #[test]
    fn what_is_not_http_has_no_origin() {
        let long = format!("http://{}.example/", "a".repeat(300));
        for url in ["ftp://example.com/", "file:///etc/passwd", "data:,x", "http://./", &long] {
            assert_eq!(Target::parse(url).unwrap_err().kind(), HttpErrorKind::InvalidUrl, "{url}");
        }
    }

    #[test]
    fn hosts_are_read_as_a_resolver_gets_them() {
        let ip = HostName::Ip("127.0.0.1".parse().unwrap());
        for text in ["127.0.0.1", "[::ffff:127.0.0.1]", "::ffff:127.0.0.1", "0x7f.1", "127.0.0.1."] {
            assert_eq!(HostName::read(text), ip, "{text}");
        }
        assert!(HostName::read("LOCALHOST.").is_localhost());
        assert!(HostName::read("a.localhost").is_localhost());
        assert!(!HostName::read("notlocalhost").is_localhost());
    }
}
