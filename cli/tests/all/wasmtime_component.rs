//! Components on wasmtime's own component model: what they are granted, and how they end, is as on wharf's own host.

use crate::support::middleware::middleware;
use crate::support::served::{Served, client, component, encode};
use crate::support::{Files, backends, end, wharf};
use wharf_conformance::origin::{Origin, Reply};

const HOST: [&str; 4] = ["--backend", "wasmtime", "--component-host", "wasmtime-component"];

fn serve(args: &[&str]) -> Served {
    Served::start(&[&HOST, args].concat())
}

/// The guest of WASI 0.3.
fn service() -> Vec<u8> {
    encode(&wharf_guests::HELLO_SERVICE.wasm().expect("the guest is there"))
}

#[test]
fn a_component_serves() {
    let files = Files::new();
    let served = serve(&[&files.write("component.wasm", component())]);
    assert_eq!(served.get("/a?b=c").unwrap(), (200, "hello from /a?b=c\n".to_owned()));
    assert_eq!(served.get("/b").unwrap().0, 200);
    let body: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 251) as u8).collect();
    let echoed = client().post(format!("{}/echo", served.base)).body(body.clone()).send().unwrap();
    assert!(echoed.bytes().unwrap() == body, "another body came back");
    let (code, printed) = served.stop();
    assert_eq!(code, Some(0), "{printed}");
    assert!(
        printed.contains("stdout [0] greeting /a?b=c\n") && printed.contains("stdout [1] greeting /b\n"),
        "{printed}"
    );
}

#[test]
fn requests_go_through_the_policy() {
    let files = Files::new();
    let guest = files.write("component.wasm", component());
    let origin = Origin::replying(Reply::ok("from the origin")).unwrap();
    let path = format!("/fetch?{}", origin.url("/x"));
    let granted = serve(&["-a", &origin.base(), &guest]);
    assert_eq!(granted.get(&path).unwrap(), (200, "from the origin".to_owned()));
    let denied = serve(&[&guest]);
    let (status, text) = denied.get(&path).unwrap();
    assert!(status == 502 && text.contains("HttpRequestDenied"), "{status} {text}");
    let (_, printed) = denied.stop();
    assert!(printed.contains(&format!("allow {}", origin.base())), "{printed}");
    assert_eq!(origin.requests().len(), 1);
    let hosts: Vec<_> = origin.requests()[0].headers.iter().filter(|(name, _)| name == "host").cloned().collect();
    assert_eq!(hosts.len(), 1, "{hosts:?}");
}

#[test]
fn failures_are_visible_and_stay_alone() {
    let files = Files::new();
    let served = serve(&["--timeout", "2s", &files.write("component.wasm", component())]);
    assert_eq!(served.get("/silent").unwrap().0, 500);
    assert_eq!(served.get("/spin").unwrap().0, 504);
    for path in ["/trap", "/unfinished"] {
        let error = served.get(path).expect_err("a broken body is no body");
        assert!(error.is_body() || error.is_decode() || error.is_request(), "{path}: {error:?}");
    }
    assert_eq!(served.get("/").unwrap().0, 200);
    let (code, printed) = served.stop();
    assert_eq!(code, Some(0));
    assert!(printed.contains("the guest trapped"), "{printed}");
    assert!(!printed.contains("panicked at backends/"), "{printed}");
}

/// An exchange as the client sees it: the status, the guest's headers, and the body; `None` if it broke off.
type Seen = Option<(u16, Vec<(String, String)>, Vec<u8>)>;

fn exchange(served: &Served, method: &str, path: &str, body: &[u8]) -> Seen {
    let method = method.parse().unwrap();
    let request = client().request(method, format!("{}{path}", served.base)).header("x-own", "1").body(body.to_vec());
    let response = request.send().ok()?;
    // How a body is framed depends on whether it was done before it was sent.
    let of_the_server = ["date", "content-length", "transfer-encoding"];
    let headers = response.headers().iter().filter(|(name, _)| !of_the_server.contains(&name.as_str()));
    let mut headers: Vec<_> =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    headers.sort();
    Some((response.status().as_u16(), headers, response.bytes().ok()?.to_vec()))
}

/// What a guest does under both hosts, seen by its client and by the origin that it asks, is the same.
#[test]
fn exchanges_are_those_of_wharfs_own_host() {
    let files = Files::new();
    let guest = files.write("component.wasm", component());
    let recorded = ["core", "wasmtime-component"].map(|host| {
        let origin = Origin::replying(Reply::ok("from the origin")).unwrap();
        let args = ["--component-host", host, "--timeout", "5s", "-a", &origin.base(), &guest];
        let served = Served::start(&args);
        let fetch = format!("/fetch?{}", origin.url("/x?y=z"));
        let seen: Vec<Seen> = [
            ("GET", "/a?b", &b""[..]),
            ("HEAD", "/a", b""),
            ("PURGE", "/a", b"body"),
            ("POST", "/echo", b"some body"),
            ("POST", "/echo", b""),
            ("GET", &fetch, b""),
            ("GET", "/fetch?http://127.0.0.1:1/", b""),
            ("GET", "/fetch?http://no%20host/", b""),
            ("GET", "/trap", b""),
            ("GET", "/unfinished", b""),
            ("GET", "/silent", b""),
        ]
        .map(|(method, path, body)| exchange(&served, method, path, body))
        .into();
        let asked: Vec<_> = origin
            .requests()
            .into_iter()
            .map(|request| {
                let host = request.authority == origin.authority();
                let headers: Vec<_> = request.headers.into_iter().filter(|(name, _)| name != "host").collect();
                (request.method, request.target, host, request.version, headers, request.body)
            })
            .collect();
        let (code, printed) = served.stop();
        let printed: Vec<_> = printed.lines().filter(|line| line.starts_with("stdout")).map(str::to_owned).collect();
        (seen, asked, code, printed)
    });
    let [core, wasmtimes] = recorded;
    assert!(core.1.len() == 1 && core.0.iter().filter(|seen| seen.is_none()).count() == 2, "{core:?}");
    assert_eq!(core, wasmtimes);
}

/// A component that does this when it is run as a command.
fn command(steps: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(component
            (import "wasi:cli/exit@0.2.3" (instance $exit (export "exit" (func (param "status" (result))))))
            (core func $exit (canon lower (func $exit "exit")))
            (core module $module
                (import "host" "exit" (func $exit (param i32)))
                (memory 1)
                (func (export "run") (result i32) {steps}))
            (core instance $host (export "exit" (func $exit)))
            (core instance $instance (instantiate $module (with "host" (instance $host))))
            (func $run (result (result)) (canon lift (core func $instance "run")))
            (instance $command (export "run" (func $run)))
            (export "wasi:cli/run@0.2.3" (instance $command)))"#
    ))
    .unwrap()
}

#[test]
fn a_command_ends_with_the_codes_of_every_backend() {
    let files = Files::new();
    for (steps, args, code, says) in [
        ("(i32.const 0)", vec![], 0, ""),
        ("(i32.const 1)", vec![], 1, ""),
        ("(call $exit (i32.const 1)) (unreachable)", vec![], 1, ""),
        ("(call $exit (i32.const 0)) (unreachable)", vec![], 0, ""),
        ("(unreachable)", vec![], 134, "it executed `unreachable`"),
        ("(loop (br 0)) (unreachable)", vec!["--timeout", "300ms"], 124, "longer than its time limit"),
        ("(i32.ne (memory.grow (i32.const 15)) (i32.const 1))", vec!["--max-memory", "1MiB"], 0, ""),
        ("(i32.ne (memory.grow (i32.const 16)) (i32.const -1))", vec!["--max-memory", "1MiB"], 0, ""),
    ] {
        let file = files.write("command.wasm", command(steps));
        let ended = end(&mut wharf(&[&["run"], &HOST[..], &args[..], &[&file]].concat()));
        assert_eq!(ended.code, Some(code), "{steps}: {ended:?}");
        assert!(ended.err.contains(says) && ended.err.lines().count() == usize::from(!says.is_empty()), "{ended:?}");
    }
}

#[test]
fn a_host_that_cannot_is_said_in_one_line() {
    let files = Files::new();
    let guest = files.write("component.wasm", component());
    let core = files.write("core.wasm", wharf_guests::HELLO_HTTP.wasm().unwrap());
    let three = r#"(component (instance $i) (export "wasi:http/handler@0.3.0" (instance $i)))"#;
    let three = files.wat("three.wasm", three);
    let truncated = files.write("truncated.wasm", &component()[..1000]);
    let other =
        files.wat("other.wasm", r#"(component (import "some:other/host@1.0.0" (instance (export "f" (func)))))"#);
    let mut cases = vec![
        (vec![HOST[2], HOST[3], &core], 2, "is a core module"),
        // What it was called before.
        (vec!["--component-host", "native", &core], 2, "is a core module"),
        (vec!["--component-host", "core", &three], 1, "no `wasi:http/handler@0.3`"),
        (vec![HOST[2], HOST[3], &truncated], 1, "wasmtime cannot compile the component"),
        (vec![HOST[2], HOST[3], &other], 1, "some:other/host@1.0.0"),
    ];
    for backend in backends().into_iter().filter(|backend| *backend != "wasmtime") {
        cases.push((vec!["--backend", backend, HOST[2], HOST[3], &guest], 2, "is for the backend wasmtime"));
        cases.push((vec!["--backend", backend, &three], 1, "no `wasi:http/handler@0.3`"));
    }
    for (args, code, part) in cases {
        let ended = end(&mut wharf(&[&["serve", "--addr", "127.0.0.1:0"], &args[..]].concat()));
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(ended.err.starts_with("wharf: error: ") && ended.err.lines().count() == 1, "{args:?}: {ended:?}");
        assert!(ended.err.contains(part), "{args:?}: {ended:?}");
    }
    let inspected = end(&mut wharf(&["inspect", &three]));
    assert!(inspected.code == Some(0) && inspected.out.contains("wasi:http/handler@0.3.0"), "{inspected:?}");
}

/// A service of WASI 0.3 needs no option, whatever the backend; Wasmtime's own host has it as well.
#[test]
fn a_service_of_wasi_0_3_serves_and_sends() {
    for backend in backends() {
        serves_and_sends(&["--backend", backend]);
    }
    serves_and_sends(&HOST);
}

fn serves_and_sends(on: &[&str]) {
    let files = Files::new();
    let guest = files.write("service.wasm", service());
    let origin = Origin::replying(Reply::ok("from the origin")).unwrap();
    let served = Served::start(&[on, &["-a", &origin.base(), &guest]].concat());
    assert_eq!(served.get("/a?b=c").unwrap(), (200, "hello from /a?b=c\n".to_owned()));
    let body: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 251) as u8).collect();
    let echoed = client().post(format!("{}/echo", served.base)).body(body.clone()).send().unwrap();
    assert!(echoed.bytes().unwrap() == body, "another body came back");
    let path = format!("/fetch?{}", origin.url("/x"));
    assert_eq!(served.get(&path).unwrap(), (200, "from the origin".to_owned()));
    assert_eq!((origin.requests().len(), &*origin.requests()[0].target), (1, "/x"));
    assert_eq!(served.get("/fetch?http://127.0.0.1:1/").unwrap().0, 500);
    let (code, printed) = served.stop();
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("HttpRequestDenied"), "{printed}");
}

#[test]
fn a_service_that_fails_is_seen_to_fail() {
    for backend in backends() {
        is_seen_to_fail(&["--backend", backend]);
    }
    is_seen_to_fail(&HOST);
}

fn is_seen_to_fail(on: &[&str]) {
    let files = Files::new();
    let guest = files.write("service.wasm", service());
    let served = Served::start(&[on, &["--timeout", "1s", &guest]].concat());
    assert_eq!(served.get("/error").unwrap().0, 508);
    assert_eq!(served.get("/spin").unwrap().0, 504);
    match served.get("/trap") {
        // Nothing of it was sent before, which depends on when the guest waits.
        Ok((status, _)) => assert_eq!(status, 500),
        Err(error) => assert!(error.is_body() || error.is_decode() || error.is_request(), "{error:?}"),
    }
    assert_eq!(served.get("/").unwrap().0, 200);
    let (code, printed) = served.stop();
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("the guest trapped"), "{printed}");
}

#[test]
fn a_service_is_explained() {
    let files = Files::new();
    let guest = files.write("service.wasm", service());
    let inspected = end(&mut wharf(&["inspect", &guest]));
    assert!(inspected.code == Some(0) && inspected.out.contains("of WASI 0.3 (wasi:http/types@0.3."), "{inspected:?}");
    let ended = end(&mut wharf(&["run", &guest]));
    assert!(ended.code == Some(1) && ended.err.contains("`wharf serve` is for such guests"), "{ended:?}");
}

/// What stands behind a middleware that is composed with nothing is the network, as far as it is granted.
#[test]
fn a_middleware_of_wasi_0_3_hands_on_what_is_granted() {
    let files = Files::new();
    let large: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 251) as u8).collect();
    let origin = Origin::http({
        let large = large.clone();
        move |request| match &*request.target {
            "/large" => Reply::ok(large.clone()),
            _ => Reply::ok(format!("{} of {} bytes", request.method, request.body.len())).header("x-own", "1"),
        }
    })
    .unwrap();
    let guest = files.write("middleware.wasm", middleware(Some(&origin.authority())));
    let granted = Served::start(&["--backend", "wasmtime", "-a", &origin.base(), &guest]);
    let response = client().get(format!("{}/x?y=z", granted.base)).header("x-sent", "2").send().unwrap();
    let own = response.headers().get("x-own").map(|value| value.as_bytes());
    assert_eq!((response.status().as_u16(), own), (200, Some(&b"1"[..])));
    assert_eq!(response.text().unwrap(), "GET of 0 bytes");
    let seen = origin.requests().swap_remove(0);
    assert_eq!((&*seen.target, &*seen.authority), ("/x?y=z", &*origin.authority()));
    assert_eq!(seen.header("x-sent"), Some("2"), "{:?}", seen.headers);
    let sent = client().post(format!("{}/", granted.base)).body(large.clone()).send().unwrap();
    assert_eq!(sent.text().unwrap(), format!("POST of {} bytes", large.len()));
    assert!(origin.requests()[1].body == large, "another body arrived");
    let fetched = client().get(format!("{}/large", granted.base)).send().unwrap();
    assert!(fetched.bytes().unwrap() == large, "another body came back");

    let denied = Served::start(&["--backend", "wasmtime", &guest]);
    assert_eq!(denied.get("/x").unwrap().0, 500);
    let (code, printed) = denied.stop();
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains(&format!("allow {}", origin.base())), "{printed}");
    assert_eq!(origin.requests().len(), 3);

    // One that addresses nothing itself hands a request on to whom it names.
    let guest = files.write("relay.wasm", middleware(None));
    let relay = Served::start(&["--backend", "wasmtime", "-a", &origin.base(), &guest]);
    let named = client().get(format!("{}/named", relay.base)).header("host", origin.authority()).send().unwrap();
    assert_eq!((named.status().as_u16(), named.text().unwrap()), (200, "GET of 0 bytes".to_owned()));
    assert_eq!(relay.get("/itself").unwrap().0, 500, "nobody granted it its own address");
    assert_eq!((origin.requests().len(), &*origin.requests()[3].target), (4, "/named"));
}
