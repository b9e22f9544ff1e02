//! HTTP servers inside guests, of five libraries in three languages: the same on every backend, and only where allowed.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::server::{GO, HYPER, Hello, PATIENCE, POLL, STD, Server, WASMEDGE};
use crate::support::{Files, backends, end, wharf};

/// A response without the header that tells the time.
#[derive(Debug, PartialEq, Eq)]
struct Response {
    head: String,
    body: Vec<u8>,
}

/// Takes one response off a connection.
fn receive(stream: &mut TcpStream) -> Response {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {:?}", head.escape_ascii()));
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let lines = head.split_inclusive("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
    let head: String = lines.collect();
    let len = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; len.unwrap_or_else(|| panic!("no length in {head:?}"))];
    stream.read_exact(&mut body).unwrap();
    Response { head, body }
}

fn send(stream: &mut TcpStream, method: &str, path: &str, header: &str, body: &[u8]) {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: here\r\n{header}content-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Every server's answers to the same requests, a connection each.
fn answers(server: &Server) -> Vec<Response> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let long = b"a long name, ".repeat(4000);
    let greeting = |name: &[u8]| [b"Hello, ", name, b"!\n"].concat();
    let requests = [
        ("POST", "/hello", b"Bob Morane".as_slice(), "200 OK", b"Hello, Bob Morane!\n".to_vec()),
        ("POST", "/hello", &every_byte, "200 OK", greeting(&every_byte)),
        ("POST", "/hello", &long, "200 OK", greeting(&long)),
        ("POST", "/hello", b"", "200 OK", greeting(b"")),
        ("GET", "/", b"", "200 OK", b"POST a name to /hello\n".to_vec()),
        ("GET", "/hello", b"", "404 Not Found", Vec::new()),
        ("POST", "/else", b"Bob Morane", "404 Not Found", Vec::new()),
    ];
    requests
        .map(|(method, path, name, status, body)| {
            let mut stream = connect(server);
            send(&mut stream, method, path, "connection: close\r\n", name);
            let response = receive(&mut stream);
            assert!(response.head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{method} {path}: {response:?}");
            assert_eq!(response.body.escape_ascii().to_string(), body.escape_ascii().to_string());
            let mut more = Vec::new();
            stream.read_to_end(&mut more).unwrap();
            assert_eq!(more, b"", "{method} {path}: behind the response");
            response
        })
        .into()
}

/// A server answers each request as expected, and all backends with the same bytes.
fn answers_everywhere(hello: Hello) {
    let files = Files::new();
    let file = hello.file(&files);
    let mut first: Option<Vec<Response>> = None;
    for backend in backends() {
        let found = answers(&hello.start(&file, backend));
        assert_eq!(&found, first.get_or_insert_with(|| answers(&hello.start(&file, backend))), "{backend}");
    }
}

/// A server takes requests in pieces, several at a time, and goes on after a connection that breaks.
fn keeps_connections(hello: Hello) {
    let files = Files::new();
    let file = hello.file(&files);
    for backend in backends() {
        let server = hello.start(&file, backend);
        let mut idle = connect(&server);
        let mut stream = connect(&server);
        // Two in one go, and the third in pieces.
        let request =
            |name: &str| format!("POST /hello HTTP/1.1\r\nhost: here\r\ncontent-length: {}\r\n\r\n{name}", name.len());
        stream.write_all((request("one") + &request("two")).as_bytes()).unwrap();
        for name in ["one", "two"] {
            assert_eq!(receive(&mut stream).body, format!("Hello, {name}!\n").as_bytes(), "{backend}");
        }
        for piece in request("three").as_bytes().chunks(20) {
            stream.write_all(piece).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(receive(&mut stream).body, b"Hello, three!\n", "{backend}");

        let mut broken = connect(&server);
        broken.write_all(b"no HTTP at all\r\n\r\n").unwrap();
        let mut refusal = Vec::new();
        broken.read_to_end(&mut refusal).unwrap();
        assert!(refusal.starts_with(b"HTTP/1.1 400 "), "{backend}: {:?}", refusal.escape_ascii().to_string());
        let mut halved = connect(&server);
        halved.write_all(b"POST /hello HTTP/1.1\r\n").unwrap();
        drop(halved);

        for stream in [&mut idle, &mut stream] {
            send(stream, "POST", "/hello", "", b"the last");
            assert_eq!(receive(stream).body, b"Hello, the last!\n", "{backend}");
        }
    }
}

/// Without its option, and with the other's, a server is refused listening and says so.
fn listens_only_if_allowed(hello: Hello) {
    let files = Files::new();
    let file = hello.file(&files);
    let [other, address] = if hello.binds { STD.option() } else { HYPER.option() };
    for backend in backends() {
        for options in [&[][..], &[other, address]] {
            let ended = end(&mut hello.command(&file, &[&["--backend", backend], options].concat()));
            assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{backend} {options:?}: {ended:?}");
            let denied = ended.err.matches("a guest was denied listening on 127.0.0.1:0").count();
            assert_eq!(denied, usize::from(hello.binds), "{backend} {options:?}: {ended:?}");
            let said = ended.err.lines().filter(|line| !line.starts_with("listening on ")).count();
            assert!(said > denied, "{backend} {options:?}: the guest says nothing: {ended:?}");
        }
    }
}

/// `wharf inspect` says which dialects a server's socket functions are of.
fn tells_its_dialects(hello: Hello) {
    let files = Files::new();
    let ended = end(&mut wharf(&["inspect", "--format", "json", &hello.file(&files)]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let imports = report["imports"].as_array().unwrap();
    let dialect = |name: &str| imports.iter().find(|import| import["name"] == name).map(|import| &import["dialect"]);
    let accepts = if hello.binds { "WasmEdge V1" } else { "standard" };
    assert_eq!(dialect("sock_accept"), Some(&accepts.into()));
    assert_eq!(dialect("sock_bind"), hello.binds.then(|| accepts.into()).as_ref());
    let (sockets, others): (Vec<_>, Vec<_>) =
        imports.iter().partition(|import| import["name"].as_str().unwrap().starts_with("sock_"));
    assert!(sockets.iter().all(|import| import["dialect"].is_string()), "{sockets:?}");
    assert!(others.iter().all(|import| import["dialect"].is_null()), "{others:?}");
}

/// The tests of each server.
macro_rules! servers {
    ($($name:ident: $hello:ident, $($test:ident),+;)+) => {$(
        mod $name {
            $(
                #[test]
                fn $test() {
                    super::$test(super::$hello);
                }
            )+
        }
    )+};
}

servers! {
    hello_hyper: HYPER, answers_everywhere, keeps_connections, listens_only_if_allowed, tells_its_dialects;
    hello_wasmedge: WASMEDGE, answers_everywhere, keeps_connections, listens_only_if_allowed, tells_its_dialects;
    hello_std: STD, answers_everywhere, listens_only_if_allowed, tells_its_dialects;
    hello_poll: POLL, answers_everywhere, keeps_connections, listens_only_if_allowed, tells_its_dialects;
}

#[test]
#[ignore = "the guest is too large to be committed"]
fn hello_go() {
    answers_everywhere(GO);
    keeps_connections(GO);
    listens_only_if_allowed(GO);
    tells_its_dialects(GO);
}
