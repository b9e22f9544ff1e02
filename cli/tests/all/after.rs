//! What goes on once a guest of WASI 0.3 is done, or has answered: on Wasmtime's own component host.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::Files;
use crate::support::middleware::{lingering, middleware};
use crate::support::served::Served;
use wharf_conformance::origin::{Origin, Reply};

/// As long as a machine that is busy may need.
const PATIENCE: Duration = Duration::from_secs(30);

/// Long enough for a guest to be done.
const PAUSE: Duration = Duration::from_millis(500);

/// What it read of a stream until there was this in it, or nothing more.
fn read_until(stream: &mut TcpStream, part: &[u8]) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while !read.windows(part.len()).any(|window| window == part) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&read)),
        }
    }
    read
}

/// An origin that answers before it has the request's body, of which the first five bytes have come; gives what came then,
/// until this, or until the end of the connection.
fn hasty(end: &'static [u8]) -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let origin = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        read_until(&mut stream, b"first");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").unwrap();
        read_until(&mut stream, end)
    });
    (authority, origin)
}

/// A server that hands requests on to an origin, and a client that has its answer and has sent the first part of a body.
fn answered(authority: &str, head: &str, first: &str, args: &[&str]) -> (Served, TcpStream) {
    let files = Files::new();
    let guest = files.write("middleware.wasm", middleware(Some(authority)));
    let allowed = format!("http://{authority}");
    let served = Served::start(&[&["--backend", "wasmtime", "-a", &allowed], args, &[&guest]].concat());
    let mut client = TcpStream::connect(served.base.trim_start_matches("http://")).unwrap();
    write!(client, "POST / HTTP/1.1\r\nhost: {authority}\r\n{head}\r\n\r\n{first}").unwrap();
    let answer = read_until(&mut client, b"early");
    assert!(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"early"), "{answer:?}");
    thread::sleep(PAUSE);
    (served, client)
}

const CHUNKED: &str = "transfer-encoding: chunked\r\ntrailer: x-sum";

#[test]
fn a_body_that_was_handed_on_comes_to_its_end() {
    for (head, first, rest, end) in [
        (CHUNKED, "5\r\nfirst\r\n", "4\r\nlast\r\n0\r\nx-sum: 9\r\n\r\n", &b"0\r\nx-sum: 9\r\n\r\n"[..]),
        ("content-length: 9", "first", "last", b"last"),
    ] {
        // A server that is to stop waits for it, too.
        for stopping in [false, true] {
            let (authority, origin) = hasty(end);
            let (served, mut client) = answered(&authority, head, first, &[]);
            let (stop, stopped) = mpsc::channel::<()>();
            let server = thread::spawn(move || {
                // An error says that nobody stops it before.
                _ = stopped.recv();
                served.stop()
            });
            if stopping {
                stop.send(()).unwrap();
                thread::sleep(PAUSE);
            }
            client.write_all(rest.as_bytes()).unwrap();
            let came = origin.join().unwrap();
            assert!(came.ends_with(end), "{head}: the origin got {:?}", String::from_utf8_lossy(&came));
            drop(stop);
            let (code, printed) = server.join().unwrap();
            assert_eq!(code, Some(0), "{printed}");
        }
    }
}

#[test]
fn a_body_that_was_handed_on_breaks_off_with_its_request() {
    let end = b"0\r\n\r\n";
    let (authority, origin) = hasty(end);
    let (_served, client) = answered(&authority, CHUNKED, "5\r\nfirst\r\n", &[]);
    drop(client);
    let came = origin.join().unwrap();
    assert!(!came.ends_with(end), "the client left: {:?}", String::from_utf8_lossy(&came));

    let (authority, origin) = hasty(end);
    let (_served, _client) = answered(&authority, CHUNKED, "5\r\nfirst\r\n", &["--timeout", "2s"]);
    let came = origin.join().unwrap();
    assert!(!came.ends_with(end), "the time limit passed: {:?}", String::from_utf8_lossy(&came));
}

/// A guest that has answered works on until it is done, its time is over, or that of draining.
#[test]
fn what_a_guest_does_after_its_answer_is_waited_for() {
    let files = Files::new();
    let origin = Origin::replying(Reply::ok("answered")).unwrap();
    for (milliseconds, args, whole) in [
        (1000, ["--drain", "30s", "--timeout", "30s"], true),
        (60_000, ["--drain", "500ms", "--timeout", "60s"], false),
        (60_000, ["--drain", "60s", "--timeout", "2s"], false),
    ] {
        let guest = files.write("lingering.wasm", lingering(&origin.authority(), milliseconds));
        let served = Served::start(&[&["--backend", "wasmtime", "-a", &origin.base()], &args[..], &[&guest]].concat());
        assert_eq!(served.get("/").unwrap(), (200, "answered".to_owned()));
        let asked = Instant::now();
        let (code, printed) = served.stop();
        assert_eq!(printed.contains("requests that took longer"), args[1] == "500ms", "{args:?}: {printed}");
        assert_eq!(printed.contains("worked on"), whole, "{args:?}: {code:?} {printed}");
        assert!(asked.elapsed() < PATIENCE, "{args:?}: it was not cut off");
    }
}
