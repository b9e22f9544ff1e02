//! What the transport on hyper does and others need not: the target byte for byte, and which connection is used again.

use crate::support::*;
use http::Method;

#[test]
fn the_target_is_sent_as_it_was_set() {
    let origin = Origin::answering(answer("200 OK", "", ""));
    let outbound = outbound(allowing(&[&origin]));
    for path in ["/a/%2e%2e/b?name='x'", "/a/../b/./c", "/|\"^{}[]?|^{}[]`", "/100%?%zz", "/a?b?c", "/"] {
        fetch(&outbound, get(&origin.url(path))).unwrap();
        let sent = origin.requests().pop().unwrap();
        assert!(sent.starts_with(&format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", origin.address)), "{sent}");
    }
    let mut request = get(&origin.url("/"));
    *request.method_mut() = Method::OPTIONS;
    *request.uri_mut() =
        http::Uri::builder().scheme("http").authority(origin.address.to_string()).path_and_query("*").build().unwrap();
    fetch(&outbound, request).unwrap();
    assert!(origin.requests().pop().unwrap().starts_with("OPTIONS * HTTP/1.1\r\n"));
}

#[test]
fn a_connection_is_not_used_again_whose_last_response_said_two_lengths() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\ntransfer-encoding: chunked\r\n\r\n";
    let origin = Origin::answering(format!("{head}2\r\nab\r\n0\r\n\r\n"));
    let outbound = outbound(allowing(&[&origin]));
    for connections in 1..3 {
        fetch(&outbound, get(&origin.url("/"))).unwrap();
        assert_eq!(origin.connections(), connections);
    }
}

#[test]
fn a_connection_is_kept_no_longer_than_its_origin_says() {
    for (kept, connections) in [("timeout=1", 2), ("timeout=9, max=7", 1)] {
        let origin = Origin::answering(answer("200 OK", &format!("keep-alive: {kept}\r\n"), ""));
        let outbound = outbound(allowing(&[&origin]));
        fetch(&outbound, get(&origin.url("/"))).unwrap();
        fetch(&outbound, get(&origin.url("/"))).unwrap();
        assert_eq!(origin.connections(), connections, "{kept}");
    }
}
