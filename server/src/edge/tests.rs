use http_body_util::{BodyExt, Full};

use super::*;

fn edge(tls: bool, trusted_proxy: bool) -> Edge {
    let options =
        ServerOptions { trusted_proxy, max_target_bytes: 100, max_header_fields: 5, ..ServerOptions::default() };
    Edge::new(&options, tls)
}

fn request(version: Version, method: &str, target: &str, fields: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().version(version).method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

/// The target with which a request reaches the guest, or the status.
fn admitted(edge: &Edge, request: Request<Full<Bytes>>) -> Result<String, u16> {
    let admitted = edge.admit(request).map_err(|refusal| refusal.status().as_u16())?;
    let host = admitted.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned());
    assert_eq!(host, admitted.uri().authority().map(|authority| authority.as_str().to_owned()));
    Ok(admitted.uri().to_string())
}

/// The method, target and fields of a request, and what [`admitted`] says of it.
type Example<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Result<&'a str, u16>);

fn check(edge: &Edge, version: Version, cases: &[Example<'_>]) {
    for (method, target, fields, expected) in cases {
        let seen = admitted(edge, request(version, method, target, fields));
        assert_eq!(seen, expected.map(str::to_owned), "{version:?} {method} {target} {fields:?}");
    }
}

#[test]
fn targets_of_http1_have_one_of_four_forms() {
    let host = &[("host", "a")][..];
    let cases = [
        ("GET", "/x?y", host, Ok("http://a/x?y")),
        ("OPTIONS", "*", host, Ok("http://a*")),
        ("GET", "*", host, Err(400)),
        ("GET", "abc", host, Err(400)),
        ("CONNECT", "abc:80", host, Err(501)),
        ("GET", "http://o", host, Ok("http://o/")),
        ("GET", "http://o?q", host, Ok("http://o/?q")),
        ("GET", "HTTP://o:8080/x", host, Ok("http://o:8080/x")),
        ("GET", "http://u@o/x", host, Err(400)),
        ("GET", "http://o/x", &[], Err(400)),
        ("GET", "https://o/x", host, Err(421)),
        ("GET", "ftp://o/x", host, Err(421)),
    ];
    check(&edge(false, false), Version::HTTP_11, &cases);
    let cases = [("GET", "/", host, Ok("https://a/")), ("GET", "http://a/", host, Err(421))];
    check(&edge(true, false), Version::HTTP_11, &cases);
}

#[test]
fn hosts_are_one_and_valid() {
    let cases: &[Example<'_>] = &[
        ("GET", "/", &[], Err(400)),
        ("GET", "/", &[("host", "a"), ("host", "a")], Err(400)),
        ("GET", "/", &[("host", "")], Err(400)),
        ("GET", "/", &[("host", "trusted.example@evil")], Err(400)),
        ("GET", "/", &[("host", "a:b")], Err(400)),
        ("GET", "/", &[("host", "a b")], Err(400)),
        ("GET", "/", &[("host", "a, b")], Err(400)),
        ("GET", "/", &[("host", "[::1]:80")], Ok("http://[::1]:80/")),
    ];
    check(&edge(false, false), Version::HTTP_11, cases);
    check(&edge(false, false), Version::HTTP_10, &cases[1..]);
    let admitted = edge(true, false).admit(request(Version::HTTP_10, "OPTIONS", "/", &[])).unwrap();
    assert_eq!((admitted.uri(), admitted.extensions().get()), (&Uri::from_static("/"), Some(&Scheme::HTTPS)));
}

#[test]
fn http2_names_its_host_once() {
    let cases: &[Example<'_>] = &[
        ("GET", "http://a/x", &[], Ok("http://a/x")),
        ("GET", "http://a/x", &[("host", "A:80")], Ok("http://a/x")),
        ("GET", "http://a/x", &[("host", "b")], Err(400)),
        ("GET", "http://a/x", &[("host", "a:81")], Err(400)),
        ("GET", "http://u@a/x", &[], Err(400)),
        ("GET", "/x", &[("host", "a")], Ok("http://a/x")),
        ("GET", "/x", &[], Err(400)),
        ("GET", "https://a/x", &[], Err(421)),
        ("CONNECT", "a:80", &[], Err(501)),
        ("GET", "http://a/", &[("x", " 1")], Err(400)),
        ("GET", "http://a/", &[("x", "1\t")], Err(400)),
        ("GET", "http://a/", &[("content-length", "1"), ("content-length", "1")], Err(400)),
        ("GET", "http://a/", &[("content-length", "1,1")], Err(400)),
    ];
    check(&edge(false, false), Version::HTTP_2, cases);
}

#[test]
fn a_proxy_that_is_trusted_says_the_scheme() {
    let cases: &[Example<'_>] = &[
        ("GET", "/", &[("host", "a")], Ok("http://a/")),
        ("GET", "https://o/", &[("host", "a")], Ok("https://o/")),
        ("GET", "/", &[("host", "a"), ("forwarded", "for=b;proto=https")], Ok("https://a/")),
        ("GET", "http://o/", &[("host", "a"), ("forwarded", "proto=http, proto=https")], Ok("https://o/")),
        ("GET", "/", &[("host", "a"), ("forwarded", "proto=ftp")], Err(400)),
        ("GET", "ftp://o/", &[("host", "a")], Err(421)),
    ];
    check(&edge(false, true), Version::HTTP_11, cases);
    let untrusted = [("GET", "/", &[("host", "a"), ("forwarded", "proto=https")][..], Ok("http://a/"))];
    check(&edge(false, false), Version::HTTP_11, &untrusted);
}

#[test]
fn cookies_of_http2_are_joined() {
    let fields = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3; d=4")];
    let edge = edge(false, false);
    let seen = |version, target| {
        let admitted = edge.admit(request(version, "GET", target, &[&[("host", "a")], &fields[..]].concat())).unwrap();
        let cookies = admitted.headers().get_all(COOKIE).iter();
        cookies.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(seen(Version::HTTP_2, "http://a/"), ["a=1; b=2; c=3; d=4"]);
    assert_eq!(seen(Version::HTTP_11, "/"), ["a=1", "b=2", "c=3; d=4"]);
}

#[test]
fn limits_hold_on_either_protocol() {
    let long = format!("http://a/{}", "x".repeat(100));
    let many = [("a", "1"); 6];
    let large = "x".repeat(64 << 10);
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let host = [("host", "a")];
        let cases: &[Example<'_>] = &[("GET", &long, &host, Err(414)), ("GET", "http://a/", &many, Err(431))];
        check(&edge(false, false), version, cases);
    }
    check(&edge(false, false), Version::HTTP_2, &[("GET", "http://a/", &[("x", &large)], Err(431))]);
}

#[tokio::test]
async fn trailers_have_only_what_may_stand_there() {
    let mut trailers = HeaderMap::new();
    for name in ["x-sum", "content-length", "authorization"] {
        trailers.insert(name, HeaderValue::from_static("1"));
    }
    let body = Full::new(Bytes::from("x")).with_trailers(std::future::ready(Some(Ok(trailers))));
    let request = Request::get("/").header(HOST, "a").body(body).unwrap();
    let body = edge(false, false).admit(request).unwrap().into_body().collect().await.unwrap();
    let left: Vec<_> = body.trailers().unwrap().keys().cloned().collect();
    assert_eq!(left, ["x-sum"]);
}
