//! Which host a request is for.

use http::HeaderMap;
use http::header::HOST;
use http::uri::{Authority, Uri};

/// The authority that a request is for: the one of its target, or else the one in its Host field (RFC 9112, section
/// 3.2.2). `None` if there is none, if there are several Host fields, or if it is not valid: such a request reaches no
/// guest, except one of HTTP/1.0 without a Host.
///
/// This is what a guest is told, so that whoever grants by host grants to the same one.
pub fn requested_authority(target: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let authority = match target.authority() {
        Some(authority) => authority.clone(),
        None => {
            let mut hosts = headers.get_all(HOST).iter();
            let host = hosts.next().filter(|_| hosts.next().is_none())?;
            Authority::try_from(host.as_bytes()).ok()?
        }
    };
    // RFC 9110, section 4.2.4: userinfo before a host is an error, as it may be there to hide the host.
    (!authority.as_str().contains('@')).then_some(authority)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn the_target_comes_before_the_host_and_doubt_is_nobody() {
        for (target, hosts, expected) in [
            ("/", &["a:80"][..], Some("a:80")),
            ("http://b/", &["a"], Some("b")),
            ("http://b/", &[], Some("b")),
            ("/", &[], None),
            ("/", &["a", "a"], None),
            ("/", &["u@a"], None),
            ("http://u@b/", &["a"], None),
            ("/", &["a b"], None),
        ] {
            let request = hosts.iter().fold(Request::get(target), |request, host| request.header(HOST, *host));
            let request = request.body(()).unwrap();
            let authority = requested_authority(request.uri(), request.headers());
            assert_eq!(authority.as_ref().map(Authority::as_str), expected, "{target} {hosts:?}");
        }
    }
}
