//! Which fields may come after a body.

use http::HeaderMap;
use http::header::{self, HeaderName};

use crate::headers::is_forbidden;

/// Fields that mean something only before the content, or that a recipient must not merge into the head: those for
/// framing, routing, the request, authentication, cookies, the control of the response, and how to read the content (RFC
/// 9110, section 6.5.1).
const HEAD_ONLY: [HeaderName; 39] = [
    header::AGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DATE,
    header::EXPECT,
    header::EXPIRES,
    header::FORWARDED,
    header::HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::RANGE,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::VARY,
    header::WARNING,
    header::WWW_AUTHENTICATE,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
];

/// Whether a field of this name may not come after a body.
pub fn is_forbidden_trailer(name: &HeaderName) -> bool {
    is_forbidden(name) || HEAD_ONLY.contains(name)
}

/// The names in Trailer (RFC 9110, section 6.6.2): of the fields that are to come after the body.
pub fn announced_trailers(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::TRAILER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

/// Removes what may not come after a body. RFC 9110, section 6.5.1, has a sender not send it and a recipient ignore it.
pub fn keep_trailers(trailers: &mut HeaderMap) {
    let unwanted: Vec<HeaderName> = trailers.keys().filter(|name| is_forbidden_trailer(name)).cloned().collect();
    for name in unwanted {
        tracing::debug!(%name, "a field that may not be a trailer was left out");
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_into_the_head_is_left_out() {
        let mut trailers = HeaderMap::new();
        for name in ["content-length", "set-cookie", "te", "connection", "host", "x-sum", "grpc-status", "etag"] {
            trailers.insert(name.parse::<HeaderName>().unwrap(), "1".parse().unwrap());
        }
        keep_trailers(&mut trailers);
        let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["etag", "grpc-status", "x-sum"]);
    }
}
