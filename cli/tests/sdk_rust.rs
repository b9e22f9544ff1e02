//! Guests on the SDK for Rust: each source, for each ABI, on every backend.

mod support;

use std::fs;

use support::served::{Served, client};
use support::{Ended, Files, backends, end, wharf};
use wharf_conformance::origin::{Gate, Origin, Received, Reply};
use wharf_guests::{
    PrebuiltGuest, RUST_COMPAT, RUST_DOWNLOAD, RUST_DOWNLOAD_HTTP, RUST_FETCH, RUST_FETCH_HTTP, RUST_FORM,
    RUST_FORM_HTTP, RUST_PROXY,
};

fn write(files: &Files, guest: PrebuiltGuest) -> String {
    files.write(&format!("{}.wasm", guest.name), guest.wasm().expect("the guest is built"))
}

/// Runs each guest on each backend: all end in the same way, which is returned.
fn same(guests: [PrebuiltGuest; 2], origin: &Origin, args: &[&str]) -> Ended {
    let files = Files::new();
    let mut all: Vec<(String, Ended)> = Vec::new();
    for guest in guests {
        let path = write(&files, guest);
        for backend in backends() {
            let run = ["run", "--backend", backend, "-a", &origin.base(), &path];
            all.push((format!("{} on {backend}", guest.name), end(&mut wharf(&[&run[..], args].concat()))));
        }
    }
    let (first, expected) = all.swap_remove(0);
    for (other, ended) in all {
        assert_eq!(ended, expected, "{other}, and {first}");
    }
    expected
}

fn echo(request: &Received) -> Reply {
    let kind = request.header("content-type").unwrap_or("none");
    Reply::ok(request.body.clone()).header("x-kind", kind).header("x-method", &request.method)
}

#[test]
#[ignore = "the guests are not committed: setup/build-guests.sh builds them"]
fn fetch() {
    let origin = Origin::http(|request| {
        Reply::ok(format!("this is {}\n", request.target)).header("x-twice", "1").header("x-twice", "2: b")
    })
    .unwrap();
    let ended = same([RUST_FETCH, RUST_FETCH_HTTP], &origin, &[&origin.url("/a?b=c"), &origin.url("/d")]);
    let head = |len| format!("200 OK\ncontent-length: {len}\nx-twice: 1\nx-twice: 2: b\n\n");
    let expected = format!("{}this is /a?b=c\n{}this is /d\n", head(15), head(11));
    assert_eq!((ended.code, ended.out, ended.err), (Some(0), expected, String::new()));
}

#[test]
#[ignore = "the guests are not committed: setup/build-guests.sh builds them"]
fn what_is_denied_is_a_typed_error() {
    let files = Files::new();
    let origin = Origin::replying(Reply::ok("secret")).unwrap();
    for (guest, code) in [
        (RUST_FETCH, "wasi_experimental_http error 7: destination not allowed"),
        (RUST_FETCH_HTTP, "wasi:http error HTTP-request-denied"),
    ] {
        let guest = write(&files, guest);
        for backend in backends() {
            let ended = end(&mut wharf(&["run", "--backend", backend, &guest, &origin.url("/")]));
            assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{backend}: {ended:?}");
            assert!(ended.err.contains(code), "{backend}: {ended:?}");
        }
    }
    assert_eq!(origin.requests(), []);
}

/// The first response comes when the second request has arrived.
#[test]
#[ignore = "the guests are not committed: setup/build-guests.sh builds them"]
fn requests_are_under_way_together() {
    let files = Files::new();
    let guest = write(&files, RUST_FETCH_HTTP);
    for backend in backends() {
        let gate = Gate::new();
        let origin = Origin::http(move |request| {
            if request.target == "/first" {
                return Reply::ok("1").once(gate.clone());
            }
            gate.open();
            Reply::ok("2")
        })
        .unwrap();
        let run = ["run", "--backend", backend, "--timeout", "60s", "-a", &origin.base(), &guest];
        let ended = end(&mut wharf(&[&run[..], &[&origin.url("/first"), &origin.url("/second")]].concat()));
        assert_eq!(ended.code, Some(0), "{backend}: {ended:?}");
        assert_eq!(origin.requests().len(), 2, "{backend}");
    }
}

#[test]
#[ignore = "the guests are not committed: setup/build-guests.sh builds them"]
fn form() {
    let origin = Origin::http(echo).unwrap();
    let args = [&origin.url("/"), "name=Ada Lovelace", "note=1+1=2 & more"];
    let ended = same([RUST_FORM, RUST_FORM_HTTP], &origin, &args);
    let expected = "200 OK\nname=Ada+Lovelace&note=1%2B1%3D2+%26+more";
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), expected, ""));
    let request = &origin.requests()[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(request.header("content-length"), Some("41"));
}

/// 20 MiB through a memory of 6: it is streamed.
#[test]
#[ignore = "the guests are not committed: setup/build-guests.sh builds them"]
fn download() {
    let files = Files::new();
    let origin = Origin::replying(Reply::ok(vec![b'w'; 20 << 20])).unwrap();
    let expected = "20971520 bytes, SHA-256 c78563d84c98526bc785e7a83cf70ff273568cc58de9b3a69c732821ff0c914d\n";
    for guest in [RUST_DOWNLOAD, RUST_DOWNLOAD_HTTP] {
        let path = write(&files, guest);
        for backend in backends() {
            let name = format!("{}-{backend}", guest.name);
            let directory = format!("{}::/out", files.path().display());
            let grants = ["--max-memory", "6MiB", "-a", &origin.base(), "--dir", &directory];
            let args = [&path, &origin.url("/"), &format!("/out/{name}")];
            let args = [&["run", "--backend", backend], &grants[..], &args.map(String::as_str)].concat();
            let ended = end(&mut wharf(&args));
            assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), expected, ""), "{name}");
            assert!(fs::read(files.path().join(&name)).unwrap() == vec![b'w'; 20 << 20], "{name}: another file");
        }
    }
}

#[test]
#[ignore = "the guests are not committed: setup/build-guests.sh builds them"]
fn proxy() {
    let files = Files::new();
    let guest = write(&files, RUST_PROXY);
    let origin = Origin::http(|request| match request.target.as_str() {
        "/missing" => Reply::status(404),
        _ => echo(request),
    })
    .unwrap();
    let upstream = format!("UPSTREAM={}", origin.base());
    let body: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 251) as u8).collect();
    for backend in backends() {
        let served = Served::start(&["--backend", backend, "-a", &origin.base(), "-e", &upstream, &guest]);
        let request = client().put(format!("{}/echo?q", served.base)).header("content-type", "x/y");
        let response = request.body(body.clone()).send().unwrap();
        assert_eq!(response.status(), 200, "{backend}");
        assert_eq!(response.headers()["x-kind"], "x/y", "{backend}");
        assert_eq!(response.headers()["x-method"], "PUT", "{backend}");
        assert!(response.bytes().unwrap() == body, "{backend}: another body came back");
        assert_eq!(served.get("/missing").unwrap().0, 404, "{backend}");
        assert_eq!(served.stop().0, Some(0), "{backend}");

        let denied = Served::start(&["--backend", backend, "-e", &upstream, &guest]);
        assert_eq!(denied.get("/").unwrap(), (502, "502 Bad Gateway\n".to_owned()), "{backend}");
        assert!(denied.stop().1.contains("HTTP-request-denied"), "{backend}");
        let lost = Served::start(&["--backend", backend, &guest]);
        assert_eq!(lost.get("/").unwrap().0, 500, "{backend}");
        assert!(lost.stop().1.contains("UPSTREAM names no origin"), "{backend}");
    }
    assert!(origin.requests().iter().all(|request| request.header("host") == Some(&origin.authority())));
}

/// The source of the guest `published`, which was written for the published crate, does the same on the SDK.
#[test]
#[ignore = "the guests are not committed: setup/build-guests.sh builds them"]
fn compat() {
    let files = Files::new();
    let guest = write(&files, RUST_COMPAT);
    let origin = Origin::http(|request| match request.target.as_str() {
        "/get" => Reply::ok("hello from the origin"),
        "/echo" => Reply::ok(request.body.clone()),
        "/headers" => Reply::ok("").header("x-first", "1").header("x-colon", "a:b: c"),
        "/long-header" => Reply::ok("").header("x-long", "v".repeat(20 << 10)),
        "/large" => Reply::ok((0..3 << 20).map(|i| (i % 251) as u8).collect::<Vec<u8>>()),
        other => Reply::ok(other.rsplit('/').next().unwrap_or_default().to_owned()),
    })
    .unwrap();
    let variable = format!("ORIGIN={}", origin.base());
    for backend in backends() {
        let run = ["run", "--backend", backend, "-a", &origin.base(), "-e", &variable];
        for function in ["get", "post", "headers", "long_header", "concurrent", "large", "whole", "denied"] {
            let ended = end(&mut wharf(&[&run[..], &["-i", function, &guest]].concat()));
            assert_eq!(ended.code, Some(0), "{function} on {backend}: {ended:?}");
        }
    }
    // One each, three of `concurrent`, none of `denied`.
    assert_eq!(origin.requests().len(), 9 * backends().len());
}
