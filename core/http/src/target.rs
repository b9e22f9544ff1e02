//! Where one request goes: made once from what the guest set, checked by the policy, and sent as it is.

use std::fmt;

use http::Uri;
use http::uri::{Authority, Parts, PathAndQuery};
use url::{Host, Url};

use crate::error::{HttpError, HttpErrorKind};
use crate::origin::{Origin, Scheme};

/// The longest URI: what the crate `http` can hold.
const MAX_BYTES: usize = (u16::MAX - 1) as usize;

/// The target of one request: an origin, and the path and query that are asked of it.
///
/// The policy looks at this, and a transport sends this; nothing rewrites it in between. The host has the one spelling
/// of an [`Origin`]. Path and query are sent byte for byte as the guest set them: no dot segment is removed and nothing
/// is escaped or unescaped, since signatures are made over them.
///
/// Valid characters are those of RFC 3986, sections 3.3 and 3.4, and also those that the URLs of browsers carry
/// unescaped: `[`, `]`, `\`, `^`, `{`, `|`, `}`, in a path `"`, in a query `` ` ``, and a `%` that begins no escape.
/// Blanks, control characters, `<`, `>`, and everything beyond ASCII are not.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    origin: Origin,
    authority: Authority,
    path_and_query: PathAndQuery,
}

impl Target {
    /// The target that an absolute URI names.
    ///
    /// # Errors
    /// [`HttpErrorKind::InvalidUrl`] if it is not absolute, its scheme is neither http nor https, it holds a user name
    /// (RFC 9110, section 4.2.4), or a part of it is not valid; [`HttpErrorKind::UrlTooLong`].
    pub fn of(uri: &Uri) -> Result<Target, HttpError> {
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(invalid("the url is not absolute: it needs a scheme and a host"));
        };
        let scheme = Scheme::parse(scheme)
            .ok_or_else(|| invalid(format!("the scheme {:?} is neither http nor https", shortened(scheme))))?;
        if authority.as_str().contains('@') {
            return Err(invalid("the url holds a user name or password: send an authorization header instead"));
        }
        let host = Host::parse(authority.host())
            .map_err(|error| invalid("the host of the url is not valid").with_source(error))?;
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            None | Some("") => scheme.default_port(),
            Some(port) => port.parse().map_err(|_| invalid("the port of the url is not a number up to 65535"))?,
        };
        let path_and_query = match uri.path_and_query().map_or("/", PathAndQuery::as_str) {
            query if query.starts_with('?') => path(&format!("/{query}"))?,
            whole => path(whole)?,
        };
        let bytes = scheme.as_str().len() + "://".len() + authority.as_str().len() + path_and_query.as_str().len();
        if bytes > MAX_BYTES {
            let message = format!("the url has {bytes} bytes; at most {MAX_BYTES} are allowed");
            return Err(HttpError::new(HttpErrorKind::UrlTooLong, message));
        }
        Target::new(Origin::new(scheme, host, port)?, path_and_query)
    }

    /// The target of a URL as people and browsers write it. One that is a valid URI is taken as it is, without its
    /// fragment; any other is read by the URL Standard, which escapes what has to be.
    ///
    /// # Errors
    /// As [`of`](Target::of).
    pub fn parse(url: &str) -> Result<Target, HttpError> {
        if let Ok(uri) = url.parse::<Uri>()
            && let target @ Ok(_) = Target::of(&uri)
        {
            return target;
        }
        let url = Url::parse(url).map_err(|error| invalid("the url does not parse").with_source(error))?;
        Target::of_url(url)
    }

    fn of_url(url: Url) -> Result<Target, HttpError> {
        if Scheme::parse(url.scheme()).is_none() {
            return Err(invalid(format!("the scheme {:?} is neither http nor https", shortened(url.scheme()))));
        }
        let uri: Result<Uri, http::uri::InvalidUri> = url.as_str().parse();
        Target::of(&uri.map_err(|error| invalid("the url cannot be sent").with_source(error))?)
    }

    fn new(origin: Origin, path_and_query: PathAndQuery) -> Result<Target, HttpError> {
        let authority = Authority::try_from(origin.authority())
            .map_err(|error| invalid("the host of the url cannot be sent").with_source(error))?;
        Ok(Target { origin, authority, path_and_query })
    }

    /// The target that a reference leads to from here, as RFC 3986, section 5.2 resolves it. What is absolute is taken
    /// as it is.
    ///
    /// # Errors
    /// As [`of`](Target::of).
    pub(crate) fn join(&self, reference: &str) -> Result<Target, HttpError> {
        if let Ok(uri) = reference.parse::<Uri>()
            && let target @ Ok(_) = Target::of(&uri)
        {
            return target;
        }
        let rooted = reference.starts_with('/') && !reference.starts_with("//");
        if rooted
            && !reference.contains("/.")
            && let Ok(path_and_query) = path(reference)
        {
            return Target::new(self.origin.clone(), path_and_query);
        }
        let joined =
            Url::parse(&format!("{}{}", self.origin, self.path_and_query)).and_then(|base| base.join(reference));
        Target::of_url(joined.map_err(|error| invalid("the url does not parse").with_source(error))?)
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Host and port, the default one left out: the value of Host.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Path and query, as they are sent. `*` is the server as a whole, for OPTIONS (RFC 9110, section 9.3.7).
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.path_and_query
    }

    /// The same as an absolute URI.
    ///
    /// # Errors
    /// [`HttpErrorKind::InvalidUrl`] if it is longer than a URI may be.
    pub fn uri(&self) -> Result<Uri, HttpError> {
        let mut parts = Parts::default();
        parts.scheme = Some(match self.origin.scheme() {
            Scheme::Http => http::uri::Scheme::HTTP,
            Scheme::Https => http::uri::Scheme::HTTPS,
        });
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(self.path_and_query.clone());
        Uri::from_parts(parts).map_err(|error| invalid("the url cannot be sent").with_source(error))
    }
}

/// Names the origin only: a path may hold what is not for a log.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.origin).finish_non_exhaustive()
    }
}

/// Whether `text` may be sent as path and query.
pub fn is_path_and_query(text: &str) -> bool {
    !text.contains('#') && path(text).is_ok()
}

fn path(text: &str) -> Result<PathAndQuery, HttpError> {
    if !text.is_ascii() {
        return Err(invalid("the path or query of the url is not ASCII: percent-encode all other characters"));
    }
    PathAndQuery::try_from(text)
        .map_err(|error| invalid("the path or query of the url is not valid").with_source(error))
}

fn invalid(message: impl Into<String>) -> HttpError {
    HttpError::new(HttpErrorKind::InvalidUrl, message)
}

/// `text` cut to a length that fits a message.
fn shortened(text: &str) -> &str {
    match text.char_indices().nth(32) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(url: &str) -> String {
        let target = Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        format!("{} {}", target.authority(), target.path_and_query())
    }

    #[test]
    fn what_is_valid_is_sent_as_it_was_set() {
        for path in [
            "/",
            "/a/%2e%2e/b?name='x'",
            "/a/../b/./c//d",
            "/%7e~%41?%zz&100%",
            "/!$&'()*+,;=:@-._~",
            "/\"[]\\^{|}?[]\\^`{|}/?",
            "/?",
            "/a?b?c",
        ] {
            assert_eq!(sent(&format!("http://a.example{path}")), format!("a.example {path}"));
        }
        assert_eq!(sent("http://a.example"), "a.example /");
        assert_eq!(sent("http://a.example?q"), "a.example /?q");
        assert_eq!(sent("http://a.example/x#y"), "a.example /x");
        assert_eq!(sent("HTTP://A.example.:080/x"), "a.example /x");
        assert_eq!(sent("https://[0::1]:80/x"), "[::1]:80 /x");
    }

    #[test]
    fn what_is_not_valid_is_refused_where_a_uri_is_asked_for() {
        for text in ["/ü", "/a b", "/a\tb", "/<", "/>", "/\u{7f}", "?<", "a", "", "/a#b"] {
            assert!(!is_path_and_query(text), "{text:?}");
        }
        assert!(is_path_and_query("*") && is_path_and_query("?a"));
        let uri = Uri::builder().scheme("http").authority("a.example").path_and_query("/ü").build();
        assert!(uri.is_err() || Target::of(&uri.unwrap()).is_err());
    }

    #[test]
    fn what_people_write_is_read_by_the_url_standard() {
        assert_eq!(sent("http://bücher.example/ü?ü"), "xn--bcher-kva.example /%C3%BC?%C3%BC");
        assert_eq!(sent("http:/a.example/a b"), "a.example /a%20b");
    }

    #[test]
    fn a_user_name_is_refused() {
        for url in ["http://a@b.example/", "http://a:b@b.example/", "http://@b.example/", "http:/a@b.example/ü"] {
            match Target::parse(url) {
                Err(error) => assert_eq!(error.kind(), HttpErrorKind::InvalidUrl, "{url}"),
                // The URL Standard takes an empty user name for none.
                Ok(target) => assert!(url.contains("/@") && target.origin().to_string() == "http://b.example", "{url}"),
            }
        }
    }

    #[test]
    fn a_url_is_no_longer_than_it_may_be() {
        let url = |bytes: usize| format!("http://a.example/{}", "x".repeat(bytes - "http://a.example/".len()));
        assert!(Target::parse(&url(MAX_BYTES)).is_ok());
        let long =
            Uri::builder().scheme("http").authority("a.example").path_and_query(format!("/{}", "x".repeat(65_530)));
        assert_eq!(Target::of(&long.build().unwrap()).unwrap_err().kind(), HttpErrorKind::UrlTooLong);
        assert!(Target::parse(&url(MAX_BYTES + 1)).is_err());
    }

    #[test]
    fn references_are_resolved() {
        let from = Target::parse("http://a.example:81/x/y?z").unwrap();
        for (reference, expected) in [
            ("/b#frag", "a.example:81 /b"),
            ("/b?name='x'", "a.example:81 /b?name='x'"),
            ("/c/../b", "a.example:81 /b"),
            ("b", "a.example:81 /x/b"),
            ("?q", "a.example:81 /x/y?q"),
            ("//b.example/", "b.example /"),
            ("https://b.example/a/%2e%2e/b", "b.example /a/%2e%2e/b"),
            ("/ü", "a.example:81 /%C3%BC"),
            ("", "a.example:81 /x/y?z"),
        ] {
            let target = from.join(reference).unwrap();
            assert_eq!(format!("{} {}", target.authority(), target.path_and_query()), expected, "{reference}");
        }
        for reference in ["http://", "http://[::g]/", "http://a.example:99999/", "ftp://a.example/", "//u@b.example/"] {
            assert_eq!(from.join(reference).unwrap_err().kind(), HttpErrorKind::InvalidUrl, "{reference}");
        }
    }
}
