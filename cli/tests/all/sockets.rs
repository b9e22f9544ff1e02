//! `wharf run` and `wharf inspect` for guests that use sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Files, backends, end, wharf};

/// Accepts one connection from descriptor 3, once there is one, says hello and exits with what accepting answered.
const GREETER: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "\01")
  (data (i32.const 16) "\03")
  (data (i32.const 100) "\80\00\00\00\06\00\00\00")
  (data (i32.const 128) "hello\n")
  (func (export "_start") (local $errno i32)
    (local.set $errno (call $poll (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 300)))
    (if (local.get $errno) (then (call $exit (local.get $errno))))
    (local.set $errno (call $accept (i32.const 3) (i32.const 0) (i32.const 64)))
    (if (local.get $errno) (then (call $exit (local.get $errno))))
    (call $exit (call $write (i32.load (i32.const 64)) (i32.const 100) (i32.const 1) (i32.const 300)))))"#;

/// Listens on port `PORT` of 127.0.0.1 in WasmEdge's first dialect, says hello to the first who comes, and exits with
/// what failed.
const LISTENER: &str = r#"(module
  (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_bind" (func $bind (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_listen" (func $listen (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\04\00\00\00")
  (data (i32.const 16) "\7f\00\00\01")
  (data (i32.const 100) "\80\00\00\00\06\00\00\00")
  (data (i32.const 128) "hello\n")
  (func $check (param i32) (if (local.get 0) (then (call $exit (local.get 0)))))
  (func (export "_start")
    (call $check (call $open (i32.const 1) (i32.const 2) (i32.const 64)))
    (call $check (call $bind (i32.load (i32.const 64)) (i32.const 0) (i32.const PORT)))
    (call $check (call $listen (i32.load (i32.const 64)) (i32.const 8)))
    (call $check (call $accept (i32.load (i32.const 64)) (i32.const 68)))
    (call $exit (call $write (i32.load (i32.const 68)) (i32.const 100) (i32.const 1) (i32.const 300)))))"#;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the guest says to who connects, as soon as it listens.
fn greeting(address: SocketAddr) -> String {
    let start = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                return text;
            }
            Err(error) => assert!(start.elapsed() < PATIENCE, "nobody listens at {address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts `wharf` and gives the address that it says it listens on.
fn listening(args: &[&str]) -> (Child, SocketAddr, BufReader<ChildStderr>) {
    let mut child = wharf(args).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    err.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
    (child, address, err)
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_listener_is_handed_over() {
    let files = Files::new();
    let guest = files.wat("greeter.wasm", GREETER);
    for backend in backends() {
        let directory = format!("{}::/data", files.path().display());
        let args =
            ["run", "--no-cache", "--backend", backend, "--dir", &directory, "--tcplisten", "127.0.0.1:0", &guest];
        let (mut child, address, _err) = listening(&args);
        assert_eq!(greeting(address), "hello\n", "{backend}");
        assert_eq!(child.wait().unwrap().code(), Some(0), "{backend}");
    }
}

#[test]
fn without_one_there_is_no_descriptor() {
    let files = Files::new();
    let guest = files.wat("greeter.wasm", GREETER);
    for backend in backends() {
        let ended = end(&mut wharf(&["run", "--no-cache", "--backend", backend, &guest]));
        assert_eq!(ended.code, Some(8), "{backend}: badf, {ended:?}");
    }
}

#[test]
fn a_signal_ends_a_guest_that_waits_for_a_connection() {
    let files = Files::new();
    let guest = files.wat("greeter.wasm", GREETER);
    for backend in backends() {
        let (mut child, _, _err) =
            listening(&["run", "--no-cache", "--backend", backend, "--tcplisten", "127.0.0.1:0", &guest]);
        // The guest is compiled and waits, or will be told before it does.
        std::thread::sleep(Duration::from_millis(500));
        let status = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "{backend}: the guest goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_guest_listens_where_it_was_allowed_to() {
    let files = Files::new();
    for backend in backends() {
        for by_port in [false, true] {
            let port = free_port();
            let guest = files.wat("listener.wasm", &LISTENER.replace("PORT", &port.to_string()));
            let allowed = if by_port { port.to_string() } else { format!("127.0.0.1:{port}") };
            let mut child = wharf(&["run", "--no-cache", "--backend", backend, "--allow-listen", &allowed, &guest])
                .spawn()
                .unwrap();
            assert_eq!(greeting(([127, 0, 0, 1], port).into()), "hello\n", "{backend}");
            assert_eq!(child.wait().unwrap().code(), Some(0), "{backend}");
        }
    }
}

#[test]
fn a_guest_listens_nowhere_else() {
    let files = Files::new();
    let port = free_port();
    let guest = files.wat("listener.wasm", &LISTENER.replace("PORT", &port.to_string()));
    let other = free_port().to_string();
    for backend in backends() {
        for allowed in [&[][..], &["--allow-listen", "127.0.0.1:0"], &["--allow-listen", &other]] {
            let ended = end(&mut wharf(&[&["run", "--no-cache", "--backend", backend], allowed, &[&guest]].concat()));
            assert_eq!(ended.code, Some(2), "{backend}: acces, {ended:?}");
            let place = format!("listening on 127.0.0.1:{port}");
            assert_eq!(ended.err.matches(&format!("denied {place}")).count(), 1, "{backend}: {ended:?}");
            assert_eq!(ended.err.lines().count(), 1, "{backend}: {ended:?}");
        }
    }
}

#[test]
fn what_is_no_place_to_listen_is_refused() {
    for (option, value) in [("--tcplisten", "localhost:80"), ("--tcplisten", "80"), ("--allow-listen", "here:80")] {
        let ended = end(&mut wharf(&["run", option, value, "guest.wasm"]));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(value) && ended.err.contains("127.0.0.1:8080"), "{ended:?}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let held = TcpListener::bind(&taken).unwrap();
    let files = Files::new();
    let ended = end(&mut wharf(&["run", "--tcplisten", &taken, &files.wat("greeter.wasm", GREETER)]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains(&taken), "{ended:?}");
    drop(held);
}

#[test]
fn inspect_says_which_dialect_each_function_is() {
    let files = Files::new();
    let guest = files.wat(
        "mixed.wasm",
        r#"(module
          (import "wasi_snapshot_preview1" "sock_accept" (func (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "sock_accept" (func (param i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "sock_recv_from" (func (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))
          (import "wasix_32v1" "sock_open" (func (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1) (func (export "_start")))"#,
    );
    let ended = end(&mut wharf(&["inspect", &guest]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in ["sockets: WasmEdge V1", "sockets: standard", "sockets: WasmEdge V2", "wasix_32v1::sock_open", "WASIX"]
    {
        assert!(ended.out.contains(part), "{part}: {ended:?}");
    }
    let ended = end(&mut wharf(&["inspect", "--format", "json", &guest]));
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let dialects: Vec<_> = report["imports"].as_array().unwrap().iter().map(|import| &import["dialect"]).collect();
    assert_eq!(serde_json::json!(dialects), serde_json::json!(["WasmEdge V1", "standard", "WasmEdge V2", null, null]));
    let ended = end(&mut wharf(&["run", &guest]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("wasix_32v1::sock_open"), "{ended:?}");
}

/// Sends `text`, ends the stream and gives what comes back.
fn echoed(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Starts a guest that prints where it listens.
fn serving(args: &[&str]) -> (Child, SocketAddr, BufReader<ChildStdout>) {
    let mut child = wharf(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
    (child, address, out)
}

#[test]
fn a_server_on_the_published_socket_crate_runs_everywhere() {
    let files = Files::new();
    let guest = files.write("echo-wasmedge.wasm", wharf_guests::ECHO_WASMEDGE.wasm().unwrap());
    for backend in backends() {
        let common = ["run", "--backend", backend, "--allow-listen", "127.0.0.1:0", &guest];
        let (mut child, address, _out) = serving(&[&common[..], &["serve", "127.0.0.1:0", "3"]].concat());
        for text in ["one", "", &"long ".repeat(20_000)] {
            assert_eq!(echoed(address, text), text, "{backend}");
        }
        assert_eq!(child.wait().unwrap().code(), Some(0), "{backend}");

        let (mut child, address, _out) = serving(&[&common[..], &["poll", "127.0.0.1:0", "30"]].concat());
        let peers: Vec<_> = (0..30)
            .map(|number| {
                std::thread::spawn(move || {
                    let text = format!("number {number}, ").repeat(500);
                    assert_eq!(echoed(address, &text), text);
                })
            })
            .collect();
        for peer in peers {
            peer.join().unwrap();
        }
        assert_eq!(child.wait().unwrap().code(), Some(0), "{backend}");
    }
}

#[test]
fn the_published_socket_crate_connects_to_what_is_allowed() {
    let files = Files::new();
    let guest = files.write("echo-wasmedge.wasm", wharf_guests::ECHO_WASMEDGE.wasm().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            stream.write_all(&bytes.to_ascii_uppercase()).unwrap();
        }
    });
    for backend in backends() {
        for host in ["localhost", "127.0.0.1"] {
            let to = format!("{host}:{port}");
            let run = |allowed: &str| {
                end(&mut wharf(&[
                    "run",
                    "--no-cache",
                    "--backend",
                    backend,
                    "-a",
                    allowed,
                    &guest,
                    "send",
                    &to,
                    "hello",
                ]))
            };
            let ended = run(&to);
            assert_eq!((ended.code, ended.out.as_str()), (Some(0), "HELLO"), "{backend}: {ended:?}");
            let ended = run("other.example");
            assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{backend}: {ended:?}");
            assert!(ended.err.contains("a guest was denied") && ended.err.contains(host), "{backend}: {ended:?}");
        }
    }
}

#[test]
fn the_published_socket_crate_exchanges_datagrams() {
    let files = Files::new();
    let guest = files.write("echo-wasmedge.wasm", wharf_guests::ECHO_WASMEDGE.wasm().unwrap());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = socket.local_addr().unwrap();
    let (port, to) = (to.port(), to.to_string());
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..len].to_ascii_uppercase(), from).unwrap();
        }
    });
    for backend in backends() {
        let args = ["run", "--backend", backend, "-a", &to, "--allow-listen", "127.0.0.1:0", &guest, "ask", &to, "hi"];
        let ended = end(&mut wharf(&args));
        assert_eq!((ended.code, ended.out), (Some(0), format!("{port}\nHI")), "{backend}: {}", ended.err);
    }
}

/// The listener is found at 3, and the directory behind it is found all the same.
#[test]
fn a_server_on_the_standard_library_runs_everywhere() {
    let files = Files::new();
    let guest = files.write("listener.wasm", wharf_guests::LISTENER.wasm().unwrap());
    files.write("file", "and a file");
    let directory = format!("{}::/data", files.path().display());
    for backend in backends() {
        let args = ["run", "--backend", backend, "--dir", &directory, "--tcplisten", "127.0.0.1:0"];
        let (mut child, address, _err) = listening(&[&args[..], &[&guest, "2", "/data/file"]].concat());
        for text in ["one ", "two "] {
            assert_eq!(echoed(address, text), format!("{text}and a file"), "{backend}");
        }
        assert_eq!(child.wait().unwrap().code(), Some(0), "{backend}");
    }
}
