//! Published HTTP libraries over a guest's own sockets: they reach what `-a` allows, and nothing else.

use crate::support::{Files, backends, end, wharf};
use wharf_conformance::origin::{Origin, Reply};
use wharf_guests::{FETCH_HTTP_REQ, FETCH_REQWEST, PrebuiltGuest};

fn reaches_what_is_allowed(guest: PrebuiltGuest) {
    let files = Files::new();
    let file = files.write(&format!("{}.wasm", guest.name), guest.wasm().unwrap());
    let text = "a long answer, ".repeat(10_000);
    let long = text.clone();
    let origin = Origin::http(move |request| match &*request.method {
        "GET" => Reply::ok(long.clone()),
        _ => Reply::ok([&b"posted: "[..], &request.body].concat()),
    })
    .unwrap();
    let ip = origin.url("/x");
    let name = ip.replace("127.0.0.1", "localhost");
    for backend in backends() {
        let run = |allowed: &[&str], request: &[&str]| {
            end(&mut wharf(&[&["run", "--backend", backend], allowed, &[&file], request].concat()))
        };
        for url in [&ip, &name] {
            let base = url.strip_suffix("/x").unwrap();
            let before = origin.requests().len();
            let ended = run(&["-a", base], &[url, "text"]);
            assert_eq!((ended.code, &*ended.out), (Some(0), "200\nposted: text"), "{backend}: {ended:?}");
            let ended = run(&["-a", base], &[url]);
            assert_eq!((ended.code, ended.out), (Some(0), format!("200\n{text}")), "{backend}: {}", ended.err);
            assert_eq!(origin.requests().len(), before + 2, "{backend}: {url}");

            for allowed in [&[][..], &["-a", "http://127.0.0.1:1"], &["-a", "http://other.example"]] {
                let ended = run(allowed, &[url]);
                assert_eq!((ended.code, &*ended.out), (Some(1), ""), "{backend} {allowed:?}: {ended:?}");
                assert_eq!(ended.err.matches("a guest was denied").count(), 1, "{backend} {allowed:?}: {ended:?}");
            }
            assert_eq!(origin.requests().len(), before + 2, "{backend}: {url} was reached all the same");
        }
    }
}

#[test]
fn wasmedge_http_req() {
    reaches_what_is_allowed(FETCH_HTTP_REQ);
}

#[test]
#[ignore = "the guest is too large to be committed"]
fn reqwest_wasi() {
    reaches_what_is_allowed(FETCH_REQWEST);
}
