//! The same server, written with four toolchains, as a component on every backend: what it does may not depend on either.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::served::{Served, client, encode};
use crate::support::{Files, backends};
use wharf_conformance::origin::{Body, Origin, Received, Reply};
use wharf_guests::{HTTP_JS, HTTP_PY, HTTP_WAKI, HTTP_WSTD, PrebuiltGuest};

/// A server made with one toolchain.
struct Toolchain {
    component: Vec<u8>,
    /// What its instances may take: of a large one, what the suite gives it, so that both compile it once.
    max_memory: &'static str,
    /// Whether its library hands a body on before it has all of it.
    streams: bool,
    /// What it shows its user when the host denies a request.
    denied: &'static str,
    /// What it shows its user when the origin refuses the connection: one of these.
    refused: &'static [&'static str],
}

fn of_rust(guest: PrebuiltGuest) -> Vec<u8> {
    encode(&guest.wasm().expect("the guest is there"))
}

fn built(guest: PrebuiltGuest) -> Vec<u8> {
    guest.wasm().expect("the guest is built").into_owned()
}

#[test]
fn a_component_on_wstd() {
    serves_the_same_everywhere(&Toolchain {
        component: of_rust(HTTP_WSTD),
        max_memory: "8MiB",
        streams: true,
        denied: "HttpRequestDenied",
        // It tells of what it waits for first, and it waits for the end of the request's body as well.
        refused: &["ConnectionRefused", "connection reset"],
    });
}

#[test]
fn a_component_on_waki() {
    serves_the_same_everywhere(&Toolchain {
        component: of_rust(HTTP_WAKI),
        max_memory: "8MiB",
        streams: false,
        denied: "HttpRequestDenied",
        refused: &["ConnectionRefused"],
    });
}

#[test]
#[ignore = "its guest is not committed: `setup/build-guests.sh DIRECTORY javascript` builds it"]
fn a_component_in_javascript() {
    // Its fetch() tells of no causes, only whether the host or the network is at fault.
    serves_the_same_everywhere(&Toolchain {
        component: built(HTTP_JS),
        max_memory: "12MiB",
        streams: true,
        denied: "NetworkError when attempting to fetch resource",
        refused: &["NetworkError when attempting to fetch resource"],
    });
}

#[test]
#[ignore = "its guest is not committed: `setup/build-guests.sh DIRECTORY python` builds it"]
fn a_component_in_python() {
    serves_the_same_everywhere(&Toolchain {
        component: built(HTTP_PY),
        max_memory: "24MiB",
        streams: true,
        denied: "HTTP-request-denied",
        refused: &["connection-refused"],
    });
}

fn serves_the_same_everywhere(toolchain: &Toolchain) {
    let files = Files::new();
    let component = files.write("component.wasm", &toolchain.component);
    // A guest as large as an interpreter is compiled for as long as all its requests take, so that one server has them all.
    let large = bytes(1_500_000);
    let origin = {
        let large = large.clone();
        Origin::http(move |request: &Received| match request.target.as_str() {
            "/large" => Reply::ok(large.clone()),
            "/sent" => Reply::ok(format!("{} of {} bytes", request.method, request.body.len())),
            "/teapot" => Reply::status(418).body(Body::Full("short and stout".into())),
            _ => Reply::ok("from the origin"),
        })
        .unwrap()
    };
    let denied = Origin::replying(Reply::ok("out of reach")).unwrap();
    let refusing = Origin::refusing().unwrap();
    for backend in backends() {
        let (allow, refuse) = (origin.base(), refusing.base());
        let args =
            ["--backend", backend, "--max-memory", toolchain.max_memory, "-a", &allow, "-a", &refuse, &component];
        // As in the suite, so that a large one is compiled once.
        let baseline = backend == "wasmedge" && toolchain.component.len() > 1 << 20;
        let mode: &[&str] = if baseline { &["--wasmedge-mode", "baseline"] } else { &[] };
        let served = Served::start(&[mode, &args].concat());
        let before = origin.requests().len();

        assert_eq!(served.get("/a?b=c").unwrap(), (200, "hello from /a?b=c\n".to_owned()), "{backend}");
        head_has_no_body(&served, backend);
        bodies_come_back(&served, backend, &large);
        if toolchain.streams {
            pieces_come_back_one_by_one(&served, backend);
        }

        let fetch = |url: String| served.get(&format!("/fetch?{url}")).unwrap();
        assert_eq!(fetch(origin.url("/x")), (200, "from the origin".to_owned()), "{backend}");
        assert_eq!(fetch(origin.url("/teapot")), (418, "short and stout".to_owned()), "{backend}");
        let (status, text) = fetch(refusing.url("/"));
        assert!(
            status == 502 && toolchain.refused.iter().any(|part| text.contains(part)),
            "{backend}: {status} {text}"
        );
        let (status, text) = fetch(denied.url("/secret"));
        assert!(status == 502 && text.contains(toolchain.denied), "{backend}: {status} {text}");

        let fetched = client().get(format!("{}/fetch?{}", served.base, origin.url("/large"))).send().unwrap();
        assert!(fetched.bytes().unwrap() == large, "{backend}: another body was fetched");
        let send = client().post(format!("{}/send?{}", served.base, origin.url("/sent")));
        let sent = send.body(large.clone()).send().unwrap().text().unwrap();
        assert_eq!(sent, format!("POST of {} bytes", large.len()), "{backend}");
        assert!(origin.requests().last().unwrap().body == large, "{backend}: another body was sent");

        several_at_once(&served, backend, &origin);
        assert_eq!(origin.requests().len() - before, 4 + 4, "{backend}");

        let (code, printed) = served.stop();
        assert_eq!(code, Some(0), "{backend}: {printed}");
        assert!(printed.contains("stdout [0] greeting /a?b=c\n"), "{backend}: {printed}");
        assert!(printed.contains(&format!("allow {}", denied.base())), "{backend}: {printed}");
        assert!(!printed.contains("trapped"), "{backend}: {printed}");
    }
    assert_eq!(denied.accepted(), 0, "nothing connects to what is denied");
}

/// The connection is used again, so that a body nobody asked for would be taken for the next response.
fn head_has_no_body(served: &Served, backend: &str) {
    let client = client();
    let head = client.head(format!("{}/head", served.base)).send().unwrap();
    assert_eq!(head.status(), 200, "{backend}");
    assert_eq!(head.bytes().unwrap().len(), 0, "{backend}");
    let next = client.get(format!("{}/next", served.base)).send().unwrap();
    assert_eq!(next.text().unwrap(), "hello from /next\n", "{backend}");
}

fn bodies_come_back(served: &Served, backend: &str, large: &[u8]) {
    for body in [&b""[..], b"short", large] {
        let response = client().post(format!("{}/echo", served.base)).body(body.to_vec()).send().unwrap();
        assert_eq!(response.status(), 200, "{backend}");
        assert!(response.bytes().unwrap() == body, "{backend}: another body came back for one of {} bytes", body.len());
    }
}

/// The next piece of the body is sent when the last one has come back.
fn pieces_come_back_one_by_one(served: &Served, backend: &str) {
    let authority = served.base.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(authority).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    write!(
        connection,
        "POST /echo HTTP/1.1\r\nhost: {authority}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    let mut until = |connection: &mut TcpStream, needle: &str| {
        let mut byte = [0];
        while !answer.ends_with(needle.as_bytes()) {
            let text = || String::from_utf8_lossy(&answer).into_owned();
            let read = connection.read(&mut byte).unwrap_or_else(|error| panic!("{backend}: {error} after {}", text()));
            assert!(read > 0, "{backend}: {needle} does not come back: {}", text());
            answer.push(byte[0]);
        }
    };
    for piece in ["piece one", "piece two", "piece three"] {
        write!(connection, "{:x}\r\n{piece}\r\n", piece.len()).unwrap();
        until(&mut connection, piece);
    }
    connection.write_all(b"0\r\n\r\n").unwrap();
    until(&mut connection, "\r\n0\r\n\r\n");
}

fn several_at_once(served: &Served, backend: &str, origin: &Origin) {
    std::thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                let path = format!("/at-once/{number}");
                assert_eq!(served.get(&path).unwrap(), (200, format!("hello from {path}\n")), "{backend}");
                let fetched = served.get(&format!("/fetch?{}", origin.url(&path))).unwrap();
                assert_eq!(fetched, (200, "from the origin".to_owned()), "{backend}");
            });
        }
    });
}

/// Bytes that repeat with no power of two, so that a piece that is lost or doubled is noticed.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| u8::try_from(index % 251).expect("it is small")).collect()
}
