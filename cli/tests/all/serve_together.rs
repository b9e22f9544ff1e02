//! `wharf serve` with services of WASI 0.3 whose instances answer more than one request, in turn or at a time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use wharf_conformance::cases::wasi03::counter;

use crate::support::served::{Served, component};
use crate::support::{Files, backends, end, wharf};

/// How many requests an instance was handed, and how many are in it: the first two digits of what it says.
fn asked(served: &Served) -> (u8, u8) {
    let (status, report) = served.get("/q").unwrap();
    assert_eq!((status, report.len()), (200, 5), "{report}");
    numbers(report.as_bytes())
}

fn numbers(report: &[u8]) -> (u8, u8) {
    (report[0] - b'0', report[1] - b'0')
}

/// A request whose answer begins at once and goes on when its body comes.
struct Waiting(TcpStream);

impl Waiting {
    fn new(served: &Served) -> Self {
        let address = served.base.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = b"POST /w HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 1\r\n\r\n";
        stream.write_all(head).unwrap();
        Waiting(stream)
    }

    /// The report with which the answer ends.
    fn finish(mut self) -> (u8, u8) {
        self.0.write_all(b".").unwrap();
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
        numbers(answer.split_once('!').unwrap_or_else(|| panic!("{answer}")).1.as_bytes())
    }
}

#[test]
fn an_instance_of_wasi_03_answers_as_many_requests_as_it_may() {
    let files = Files::new();
    let counter = files.write("counter.wasm", counter().unwrap());
    for backend in backends() {
        for (options, expected) in [
            (&[][..], [1, 1, 1, 1, 1]),
            (&["--pre-warm", "2"], [1, 1, 1, 1, 1]),
            (&["--max-instance-reuse-count", "2", "--pre-warm", "0"], [1, 2, 1, 2, 1]),
        ] {
            let args = [&["--backend", backend], options, &[&counter]].concat();
            let served = Served::start(&args);
            let counts = [(); 5].map(|()| asked(&served).0);
            assert_eq!(counts, expected, "{args:?}");
        }
    }
}

#[test]
fn an_instance_of_wasi_03_works_on_several_requests_at_a_time() {
    let files = Files::new();
    let counter = files.write("counter.wasm", counter().unwrap());
    for backend in backends() {
        let many = ["--max-instance-reuse-count", "1000000", "--max-instance-concurrent-reuse-count", "4"];
        let args = [&["--backend", backend, "--pre-warm", "0"], &many[..], &[&counter]].concat();
        let served = Served::start(&args);
        let waiting: Vec<Waiting> = (0..3).map(|_| Waiting::new(&served)).collect();
        // Where the three are is up to when they came; one that is asked meanwhile meets some of them.
        let limit = Instant::now() + Duration::from_secs(60);
        while asked(&served).1 < 2 {
            assert!(Instant::now() < limit, "{backend}: no request enters an instance that waits");
        }
        for waiting in waiting {
            assert!((1..=3).contains(&waiting.finish().1), "{backend}");
        }
        let (code, printed) = served.stop();
        assert_eq!(code, Some(0), "{backend}: {printed}");
    }
}

#[test]
fn what_a_guest_cannot_do_with_several_requests_is_an_error() {
    let files = Files::new();
    let counter = files.write("counter.wasm", counter().unwrap());
    let other = files.write("component.wasm", component());
    let at_once = "--max-instance-concurrent-reuse-count";
    for (args, code, part) in [
        (&[at_once, "4", &counter][..], 1, "--max-instance-reuse-count"),
        (&[at_once, "4", "--max-instance-reuse-count", "9", &other], 1, "`wasi:http/handler@0.3`"),
        (&[at_once, "0", &counter], 2, at_once),
    ] {
        let ended = end(&mut wharf(&[&["serve", "--addr", "127.0.0.1:0"], args].concat()));
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.err.contains(part), "{ended:?}");
    }
}
