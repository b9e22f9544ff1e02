//! What a redirect makes of a request.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HeaderMap, HeaderName, LOCATION};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::error::{HttpError, HttpErrorKind};
use crate::origin::Origin;
use crate::target::Target;
use crate::transport::Body;

/// How long a body of a redirect is waited for, and how much of it is read.
const SOON: Duration = Duration::from_millis(50);
const SHORT: usize = 64 << 10;

/// Whether `status` asks to look elsewhere, in a way that can be followed.
pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// Where a redirect leads; `None` if it does not say.
///
/// # Errors
/// [`HttpErrorKind::InvalidRedirect`].
pub(crate) fn target(from: &Target, headers: &HeaderMap) -> Result<Option<Target>, HttpError> {
    let Some(location) = headers.get(LOCATION) else { return Ok(None) };
    let invalid = |what: &str| HttpError::new(HttpErrorKind::InvalidRedirect, format!("a redirect's location {what}"));
    let text = std::str::from_utf8(location.as_bytes()).map_err(|_| invalid("is not utf-8"))?;
    from.join(text).map(Some).map_err(|error| invalid("is not a url that can be followed").with_source(error))
}

/// Reads what a redirect has for a body, if it is there and short, so that its connection can be used for the next hop.
pub(crate) async fn pass_over(mut body: Body) {
    let read = async {
        let mut left = SHORT;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // What does not end in time is given up, and its connection with it.
    _ = timeout(SOON, read).await;
}

/// The method of the next hop (RFC 9110, section 15.4).
pub(crate) fn method(status: StatusCode, method: &Method) -> Method {
    let becomes_get = match status {
        StatusCode::SEE_OTHER => *method != Method::HEAD,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method == Method::POST,
        _ => false,
    };
    if becomes_get { Method::GET } else { method.clone() }
}

/// Whether the next hop leaves the body behind.
pub(crate) fn drops_body(status: StatusCode, method: &Method) -> bool {
    match status {
        StatusCode::SEE_OTHER => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method == Method::POST,
        _ => false,
    }
}

/// Removes the headers that describe a body.
pub(crate) fn strip_body_headers(headers: &mut HeaderMap) {
    headers.remove(CONTENT_LENGTH);
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            name.starts_with("content-") || matches!(name, "digest" | "repr-digest" | "trailer" | "expect")
        })
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// Removes what was meant for the first origin alone, if `to` is another.
pub(crate) fn strip_credentials(headers: &mut HeaderMap, from: &Origin, to: &Origin) {
    if from == to {
        return;
    }
    for name in [AUTHORIZATION, COOKIE] {
        headers.remove(name);
    }
    for name in ["cookie2", "proxy-authorization", "www-authenticate"] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn methods_change_as_rfc_9110_says() {
        for (status, before, after, drops) in [
            (301, Method::POST, Method::GET, true),
            (302, Method::POST, Method::GET, true),
            (303, Method::POST, Method::GET, true),
            (303, Method::PUT, Method::GET, true),
            (303, Method::HEAD, Method::HEAD, true),
            (301, Method::PUT, Method::PUT, false),
            (302, Method::DELETE, Method::DELETE, false),
            (307, Method::POST, Method::POST, false),
            (308, Method::PUT, Method::PUT, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(method(status, &before), after, "{status} {before}");
            assert_eq!(drops_body(status, &before), drops, "{status} {before}");
        }
        for status in [300, 304, 305, 306, 200] {
            assert!(!is_redirect(StatusCode::from_u16(status).unwrap()));
        }
    }

    #[test]
    fn a_location_that_leads_nowhere_is_told_apart() {
        let from = Target::parse("http://a.example:81/x/y?z").unwrap();
        assert!(target(&from, &HeaderMap::new()).unwrap().is_none());
        for location in [&b"http://"[..], b"\xff", b"http://u:p@a.example/"] {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, HeaderValue::from_bytes(location).unwrap());
            assert_eq!(target(&from, &headers).unwrap_err().kind(), HttpErrorKind::InvalidRedirect);
        }
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        for (to, kept) in [
            ("http://a.example/other", true),
            ("http://A.example:80/", true),
            ("http://a.example:81/", false),
            ("https://a.example/", false),
            ("http://b.a.example/", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static("x"));
            headers.insert(COOKIE, HeaderValue::from_static("x"));
            let origin = |url| Target::parse(url).unwrap().origin().clone();
            strip_credentials(&mut headers, &origin("http://a.example/"), &origin(to));
            assert_eq!(headers.len(), if kept { 2 } else { 0 }, "{to}");
        }
    }
}
