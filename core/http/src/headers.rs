//! The headers that belong to a connection and not to a guest, and the size of all of them together.

use http::HeaderValue;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};

use crate::error::{FieldSize, HttpError, HttpErrorKind};

/// Whether a header of this name belongs to the connection.
pub fn is_forbidden(name: &HeaderName) -> bool {
    [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TRANSFER_ENCODING, UPGRADE, HOST].contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

/// Removes what a guest may neither send nor see: the headers that are `forbidden`, and those that a Connection header
/// declares to be for the next hop only.
pub(crate) fn strip(headers: &mut HeaderMap, forbidden: impl Fn(&HeaderName) -> bool) {
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let unwanted: Vec<HeaderName> = headers
        .keys()
        .filter(|name| forbidden(name) || nominated.contains(name) && **name != CONTENT_LENGTH)
        .cloned()
        .collect();
    for name in unwanted {
        tracing::debug!(%name, "a header that belongs to the connection was removed");
        headers.remove(name);
    }
    // TE speaks of the next hop too, but "trailers" is the guest's own word to the far end, and gRPC needs it.
    if headers.get_all(TE).iter().any(|value| value != "trailers") {
        headers.remove(TE);
    }
}

/// Removes whitespace around values, which is not part of them (RFC 9110, section 5.5): HTTP/1.1 cannot carry it, and
/// HTTP/2 must not (RFC 9113, section 8.2.1).
pub fn trim_values(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        let trimmed = value.as_bytes().trim_ascii();
        if trimmed.len() < value.len()
            && let Ok(trimmed) = HeaderValue::from_bytes(trimmed)
        {
            *value = trimmed;
        }
    }
}

/// Checks the limits on the headers of one message.
pub(crate) fn check_size(
    headers: &HeaderMap,
    count_limit: u64,
    bytes_limit: u64,
    kind: HttpErrorKind,
    what: &str,
) -> Result<(), HttpError> {
    let count = headers.len() as u64;
    if count > count_limit {
        return Err(HttpError::new(kind, format!("there are {count} {what}, more than the limit of {count_limit}")));
    }
    let sizes = || headers.iter().map(|(name, value)| (name, (name.as_str().len() + value.len() + 4) as u64));
    if let Some((name, bytes)) = sizes().find(|(_, bytes)| *bytes > bytes_limit) {
        let message = format!(
            "{name}, one of the {what}, has {bytes} bytes, more than the limit of {bytes_limit} for all of them"
        );
        return Err(HttpError::new(kind, message).with_field(FieldSize { name: name.as_str().to_owned(), bytes }));
    }
    let bytes: u64 = sizes().map(|(_, bytes)| bytes).sum();
    if bytes > bytes_limit {
        return Err(HttpError::new(
            kind,
            format!("the {what} have {bytes} bytes, more than the limit of {bytes_limit}"),
        ));
    }
    Ok(())
}

/// The length that a message announces, if it announces one.
///
/// # Errors
/// The value that is not a length, or that another value contradicts.
pub(crate) fn announced_length(headers: &HeaderMap) -> Result<Option<u64>, String> {
    let mut announced = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let text = value.to_str().unwrap_or_default();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let length = text.parse::<u64>().ok().filter(|_| digits);
        match (length, announced) {
            (Some(length), None) => announced = Some(length),
            (Some(length), Some(before)) if length == before => {}
            _ => return Err(format!("{value:?}")),
        }
    }
    Ok(announced)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn connection_headers_go_and_the_rest_stays() {
        let mut headers = map(&[
            ("Connection", "close, X-Hop"),
            ("Keep-Alive", "1"),
            ("Proxy-Authenticate", "1"),
            ("Proxy-Authorization", "1"),
            ("Proxy-Connection", "1"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "1"),
            ("Host", "evil.example"),
            ("X-Hop", "1"),
            ("X-Own", "1"),
            ("TE", "trailers"),
            ("Content-Length", "3"),
        ]);
        strip(&mut headers, is_forbidden);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "te", "x-own"]);
    }

    #[test]
    fn te_stays_only_for_trailers() {
        let mut headers = map(&[("TE", "gzip")]);
        strip(&mut headers, is_forbidden);
        assert!(headers.is_empty());
    }

    #[test]
    fn sizes_are_limits_and_zero_is_none() {
        let check = |headers: &HeaderMap, count, bytes| {
            check_size(headers, count, bytes, HttpErrorKind::RequestHeadersTooLarge, "request headers").is_ok()
        };
        let two = map(&[("a", "1"), ("b", "2")]);
        assert!(check(&two, 2, 12));
        assert!(!check(&two, 1, 12));
        assert!(!check(&two, 2, 11));
        assert!(!check(&two, 0, 12));
        assert!(!check(&two, 2, 5));
        assert!(check(&HeaderMap::new(), 0, 0));
    }

    #[test]
    fn lengths_agree_or_are_refused() {
        assert_eq!(announced_length(&map(&[])), Ok(None));
        assert_eq!(announced_length(&map(&[("content-length", "7")])), Ok(Some(7)));
        assert_eq!(announced_length(&map(&[("content-length", "7"), ("content-length", "7")])), Ok(Some(7)));
        for bad in ["+7", "-1", "", "7 ", "7,7", "99999999999999999999"] {
            assert!(announced_length(&map(&[("content-length", bad)])).is_err(), "{bad}");
        }
        assert!(announced_length(&map(&[("content-length", "7"), ("content-length", "8")])).is_err());
    }

    #[test]
    fn values_lose_what_is_around_them() {
        let mut headers = map(&[("a", " 1\t"), ("a", "2"), ("b", " \t "), ("c", "x y")]);
        trim_values(&mut headers);
        assert_eq!(headers, map(&[("a", "1"), ("a", "2"), ("b", ""), ("c", "x y")]));
    }
}
