//! What may not stand in a trailer section.

use http::header::{self, HeaderMap, HeaderName};

use super::headers::is_forbidden;

/// The fields that a recipient has to know before it reads the content: framing, routing, request modifiers,
/// authentication, control data of the response, and the form of the content (RFC 9110, section 6.5.1; the list is that
/// of RFC 7230, section 4.1.2, with the fields that RFC 9110, sections 8, 10, 11 and 13 to 15, puts into those groups).
const BEFORE_CONTENT: [HeaderName; 35] = [
    header::CONTENT_LENGTH,
    header::TRAILER,
    header::TE,
    header::CACHE_CONTROL,
    header::EXPECT,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::ACCEPT,
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::FROM,
    header::REFERER,
    header::USER_AGENT,
    header::AUTHORIZATION,
    header::WWW_AUTHENTICATE,
    header::COOKIE,
    header::SET_COOKIE,
    header::AGE,
    header::EXPIRES,
    header::DATE,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
    header::WARNING,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::FORWARDED,
];

/// Removes the fields that may not stand in a trailer section (RFC 9110, section 6.5.1): those that belong to the
/// connection, and those that have to be known before the content.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    let unwanted: Vec<HeaderName> =
        trailers.keys().filter(|name| is_forbidden(name) || BEFORE_CONTENT.contains(name)).cloned().collect();
    for name in unwanted {
        tracing::debug!(%name, "a field that may not stand in a trailer section was removed");
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_has_to_be_known_before_the_content_goes() {
        let mut trailers = HeaderMap::new();
        for name in ["content-length", "host", "authorization", "cookie", "content-type", "te", "upgrade"] {
            trailers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("1"));
        }
        for name in ["x-sum", "digest", "etag", "server-timing", "grpc-status"] {
            trailers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("1"));
            trailers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("2"));
        }
        strip_trailers(&mut trailers);
        let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["digest", "etag", "grpc-status", "server-timing", "x-sum"]);
        assert_eq!(trailers.len(), 10, "repeated trailers stay repeated");
    }
}
