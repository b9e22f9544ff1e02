//! `wharf serve`: an unmodified `wasi:http` guest, as a component and as a core module, on every backend.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use crate::support::served::{Served, client, component};
use crate::support::{Files, backends, end, wharf};
use wharf_conformance::origin::{Origin, Reply};

#[test]
fn a_component_and_its_core_module_serve_on_every_backend() {
    let files = Files::new();
    let guests = [
        files.write("component.wasm", component()),
        files.write("core.wasm", wharf_guests::HELLO_HTTP.wasm().unwrap()),
    ];
    for backend in backends() {
        for guest in &guests {
            let served = Served::start(&["--backend", backend, guest]);
            let answer = served.get("/a?b=c").unwrap();
            assert_eq!(answer, (200, "hello from /a?b=c\n".to_owned()), "{backend} {guest}");
            assert_eq!(served.get("/b").unwrap().0, 200, "{backend} {guest}");
            let (code, printed) = served.stop();
            assert_eq!(code, Some(0), "{backend} {guest}: {printed}");
            assert!(printed.contains("stdout [0] greeting /a?b=c\n"), "{backend} {guest}: {printed}");
            assert!(printed.contains("stdout [1] greeting /b\n"), "{backend} {guest}: {printed}");
        }
    }
}

#[test]
fn bodies_stream_both_ways() {
    let files = Files::new();
    let guest = files.write("component.wasm", component());
    let body: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 251) as u8).collect();
    for backend in backends() {
        let served = Served::start(&["--backend", backend, &guest]);
        let response = client().post(format!("{}/echo", served.base)).body(body.clone()).send().unwrap();
        assert_eq!(response.status(), 200, "{backend}");
        assert!(response.bytes().unwrap() == body, "{backend}: another body came back");
    }
}

/// Sends so many bytes to `/echo` while it takes what comes back.
fn echo(served: &Served, size: usize) {
    let mut stream = TcpStream::connect(served.base.strip_prefix("http://").unwrap()).unwrap();
    let mut sending = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let head =
            format!("POST /echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n");
        sending.write_all(head.as_bytes()).unwrap();
        let piece = [0xee; 1 << 16];
        for _ in 0..size / piece.len() {
            sending.write_all(&piece).unwrap();
        }
    });
    let (mut buffer, mut back) = (vec![0; 1 << 18], 0);
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            // No byte of a head or of a chunk's size is this one.
            read => back += buffer[..read].iter().filter(|byte| **byte == 0xee).count(),
        }
    }
    sender.join().unwrap();
    assert_eq!(back, size);
}

/// However long a body is, the server's memory stays as it is.
#[test]
fn long_bodies_pass_through() {
    let files = Files::new();
    let guest = files.write("component.wasm", component());
    for backend in backends() {
        let served = Served::start(&["--backend", backend, "--timeout", "10m", &guest]);
        let most = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", served.child.id())).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        echo(&served, 1 << 20);
        let before = most();
        echo(&served, 48 << 20);
        let grown = most() - before;
        assert!(grown < 12 << 10, "{backend}: 48 MiB were echoed, and {grown} KiB of memory more were used");
    }
}

#[test]
fn a_handler_reaches_what_it_is_granted() {
    let files = Files::new();
    let guest = files.write("component.wasm", component());
    let origin = Origin::replying(Reply::ok("from the origin")).unwrap();
    for backend in backends() {
        let path = format!("/fetch?{}", origin.url("/x"));
        let granted = Served::start(&["--backend", backend, "-a", &origin.base(), &guest]);
        assert_eq!(granted.get(&path).unwrap(), (200, "from the origin".to_owned()), "{backend}");
        let denied = Served::start(&["--backend", backend, &guest]);
        let (status, text) = denied.get(&path).unwrap();
        assert!(status == 502 && text.contains("HttpRequestDenied"), "{backend}: {status} {text}");
        let (_, printed) = denied.stop();
        assert!(printed.contains(&format!("allow {}", origin.base())), "{backend}: {printed}");
    }
    assert_eq!(origin.requests().len(), backends().len());
}

/// A guest that fails is seen to fail, and harms no other request.
#[test]
fn failures_are_visible_and_stay_alone() {
    let files = Files::new();
    let guest = files.write("component.wasm", component());
    for backend in backends() {
        let served = Served::start(&["--backend", backend, "--timeout", "400ms", &guest]);
        assert_eq!(served.get("/silent").unwrap().0, 500, "{backend}");
        assert_eq!(served.get("/spin").unwrap().0, 504, "{backend}");
        for path in ["/trap", "/unfinished"] {
            let error = served.get(path).expect_err("a broken body is no body");
            assert!(error.is_body() || error.is_decode() || error.is_request(), "{backend} {path}: {error:?}");
        }
        assert_eq!(served.get("/").unwrap().0, 200, "{backend}");
        let (code, printed) = served.stop();
        assert_eq!(code, Some(0), "{backend}");
        assert!(printed.contains("the guest trapped"), "{backend}: {printed}");
        assert!(!printed.contains("panicked at core/"), "{backend}: {printed}");
    }
}

#[test]
fn what_is_too_much_is_turned_away() {
    let files = Files::new();
    let guest = files.write("component.wasm", component());
    for backend in backends() {
        let one = ["--backend", backend, "--max-concurrent", "1", "--max-waiting", "0", "--timeout", "2s", &guest];
        let served = Served::start(&one);
        let spinning = std::thread::spawn({
            let url = format!("{}/spin", served.base);
            move || loop {
                // It may be this one that comes second.
                let status = client().get(&url).send().unwrap().status();
                if status != 503 {
                    return status;
                }
            }
        });
        let mut turned_away = None;
        for _ in 0..100 {
            let response = client().get(&served.base).send().unwrap();
            if response.status() == 503 {
                turned_away = Some(response);
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let turned_away = turned_away.expect("a request while another is worked on is turned away");
        assert_eq!(turned_away.headers()["retry-after"], "1", "{backend}");
        assert_eq!(spinning.join().unwrap(), 504, "{backend}");
    }
}

/// The address it is stopped by, whatever port was asked for.
#[test]
fn a_connection_to_the_shutdown_address_stops_it() {
    let files = Files::new();
    let guest = files.write("core.wasm", wharf_guests::HELLO_HTTP.wasm().unwrap());
    for backend in backends() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        for asked in [free.as_str(), "127.0.0.1:0"] {
            let mut served = Served::start(&["--backend", backend, "--shutdown-addr", asked, &guest]);
            let told =
                served.printed.lines().find_map(|line| line.strip_prefix("stopping when something connects to "));
            let told = told.unwrap_or_else(|| panic!("{backend} {asked}: {}", served.printed));
            assert!(told == asked || asked.ends_with(":0"), "{backend}: {told}");
            TcpStream::connect(told).unwrap();
            assert_eq!(served.child.wait().unwrap().code(), Some(0), "{backend} {asked}");
        }
    }
}

/// Sends a signal to it.
fn signal(served: &Served, name: &str) {
    let id = served.child.id().to_string();
    assert!(std::process::Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
}

/// A request for `path` that is under way.
fn asking(served: &Served, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.base.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    stream
}

#[test]
fn a_hangup_lets_requests_finish() {
    // Under nohup it is ignored, by what is started here too. What is caught here is not.
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::default()).unwrap();
    let files = Files::new();
    let guest = files.write("component.wasm", component());
    for backend in backends() {
        let mut served = Served::start(&["--backend", backend, "--timeout", "1s", &guest]);
        let mut stream = asking(&served, "/spin");
        signal(&served, "HUP");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 504 "), "{backend}: {answer:?}");
        assert_eq!(served.child.wait().unwrap().code(), Some(0), "{backend}");
    }
}

#[test]
fn requests_that_are_cut_off_show_in_the_exit_code() {
    let files = Files::new();
    let guest = files.write("component.wasm", component());
    for backend in backends() {
        let served = Served::start(&["--backend", backend, "--timeout", "1m", "--drain", "100ms", &guest]);
        let stream = asking(&served, "/spin");
        let (code, printed) = served.stop();
        assert_eq!(code, Some(1), "{backend}: {printed}");
        assert!(printed.contains("cut off") && printed.contains("--drain"), "{backend}: {printed}");
        drop(stream);
    }
}

#[test]
fn requests_that_are_turned_away_are_counted() {
    let files = Files::new();
    let guest = files.write("component.wasm", component());
    for backend in backends() {
        let one = ["--backend", backend, "--max-concurrent", "1", "--max-waiting", "0", "--timeout", "1m", &guest];
        let served = Served::start(&one);
        let spinning = asking(&served, "/spin");
        let turned_away = (0..20).filter(|_| served.get("/").unwrap().0 == 503).count();
        assert_eq!(turned_away, 20, "{backend}");
        std::thread::sleep(Duration::from_millis(1500));
        drop(spinning);
        let (code, printed) = served.stop();
        assert_eq!(code, Some(0), "{backend}: {printed}");
        let counts = printed
            .lines()
            .filter(|line| line.contains(" turned away "))
            .filter_map(|line| line.split(" request").next()?.split(' ').next_back());
        let counts: Vec<usize> = counts.filter_map(|count| count.parse().ok()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 20, "{backend}: {printed}");
        assert!(counts.len() < 20, "{backend}: {printed}");
    }
}

/// While there are no descriptors left, nobody is served; nothing panics, and what comes later is answered.
#[test]
fn descriptors_that_run_out_harm_no_later_request() {
    let files = Files::new();
    let guest = files.write("component.wasm", component());
    for backend in backends() {
        let served = Served::start_with_descriptors(48, &["--backend", backend, &guest]);
        let connect = || TcpStream::connect(served.base.strip_prefix("http://").unwrap());
        let held: Vec<_> = (0..64).filter_map(|_| connect().ok()).collect();
        assert!(held.len() > 48, "{backend}: {} connections", held.len());
        let mut first = &held[0];
        write!(first, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        drop(held);
        let answered = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            served.get("/").is_ok_and(|(status, _)| status == 200)
        });
        let (code, printed) = served.stop();
        assert!(answered && code == Some(0), "{backend}: {code:?} {printed}");
        assert!(!printed.contains("panicked"), "{backend}: {printed}");
    }
}

/// A guest that takes long to compile, and never is: nobody gets a connection that nobody serves.
#[test]
fn nothing_is_listened_to_before_the_guest_is_compiled() {
    let files = Files::new();
    let long = format!("(func (param i32) (result i32) (local.get 0) {})", "(i32.add (i32.const 1))".repeat(2000));
    let handle = r#"(func (export "wasi:http/incoming-handler@0.2.3#handle") (param i32 i32))"#;
    let guest = files.wat("long.wasm", &format!("(module {handle} {})", long.repeat(60)));
    for backend in backends() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let limits = ["--no-cache", "--compile-timeout", "1ms", "--addr", &address.to_string()];
        let mut command = wharf(&[&["serve", "--backend", backend], &limits[..], &[&guest]].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let code = loop {
            assert!(TcpStream::connect(address).is_err(), "{backend}: it listens");
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
        };
        assert_eq!(code, Some(124), "{backend}");
    }
}

/// It says what it takes on; a guest that is in the cache for as much as a module may take is bounded as well.
#[test]
fn memory_is_shared_among_those_who_are_served() {
    let files = Files::new();
    let handle = r#"(func (export "wasi:http/incoming-handler@0.2.3#handle") (param i32 i32))"#;
    let guest = files.wat("large.wasm", &format!(r#"(module (memory (export "memory") 1000) {handle})"#));
    for backend in backends() {
        let shares =
            |options: &[&str]| Served::start(&[&["--backend", backend], options, &[&guest]].concat()).printed.clone();
        let printed = shares(&["--max-total-memory", "1GiB"]);
        let expected = "16 requests at a time, with up to 64.0 MiB of memory each and 1.0 GiB together\n";
        assert!(printed.contains(expected), "{backend}: {printed}");
        let printed = shares(&["--max-total-memory", "1GiB", "--max-concurrent", "2"]);
        assert!(printed.contains("2 requests at a time, with up to 512.0 MiB of memory each"), "{backend}: {printed}");
        let small = ["serve", "--backend", backend, "--addr", "127.0.0.1:0", "--max-total-memory", "32MiB", &guest];
        let ended = end(&mut wharf(&small));
        assert_eq!(ended.code, Some(1), "{backend}: {ended:?}");
        assert!(ended.err.contains("33554432 bytes of memory: raise the limit `max-memory`"), "{backend}: {ended:?}");
    }
}

#[test]
fn what_would_answer_nothing_is_refused() {
    let files = Files::new();
    let guest = files.write("core.wasm", wharf_guests::HELLO_HTTP.wasm().unwrap());
    let options = ["--max-concurrent", "--max-connections", "--timeout", "--header-timeout", "--stall-timeout"];
    for option in options.into_iter().chain(["--idle-timeout", "--max-instance-reuse-count", "--first-byte-timeout"]) {
        for backend in backends() {
            let args = ["serve", "--backend", backend, "--addr", "127.0.0.1:0", option, "0", &guest];
            let ended = end(&mut wharf(&args));
            assert_eq!(ended.code, Some(2), "{backend} {option}: {ended:?}");
            assert!(ended.err.contains(option), "{backend}: {ended:?}");
        }
    }
}

#[test]
fn what_cannot_be_served_is_said_in_one_line() {
    let files = Files::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let handler = files.write("core.wasm", wharf_guests::HELLO_HTTP.wasm().unwrap());
    let truncated = component();
    let truncated = files.write("truncated.wasm", &truncated[..truncated.len() / 2]);
    for (args, part) in [
        (vec!["--addr", &taken, &handler], "cannot listen on"),
        (vec!["--addr", "127.0.0.1:0", &files.fetch()], "exports no `wasi:http/incoming-handler@0.2`"),
        (vec!["--addr", "127.0.0.1:0", &truncated], "truncated.wasm"),
        (vec!["--addr", "127.0.0.1:0", "/nowhere.wasm"], "cannot read `/nowhere.wasm`"),
    ] {
        let ended = end(&mut wharf(&[&["serve"], &args[..]].concat()));
        assert_eq!(ended.code, Some(1), "{args:?}: {ended:?}");
        assert!(ended.err.starts_with("wharf: error: ") && ended.err.lines().count() == 1, "{args:?}: {ended:?}");
        assert!(ended.err.contains(part), "{args:?}: {ended:?}");
    }
}
