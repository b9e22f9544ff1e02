//! `wharf run`: the same guest on every backend, what it is granted, and how it ends.

use std::io::Write;
use std::process::Stdio;

use crate::support::{Ended, Files, backends, end, wharf};
use wharf_conformance::origin::{Gate, Origin, Reply};

#[test]
fn every_backend_prints_the_same() {
    let files = Files::new();
    let guest = files.fetch();
    let origin = Origin::http(|request| {
        Reply::ok([&b"you sent: "[..], &request.body].concat()).header("x-method", &request.method)
    })
    .unwrap();
    let url = origin.url("/path?q=1");
    let mut seen: Vec<Ended> = Vec::new();
    for backend in backends() {
        // Quiet: a machine with much else to do is told that compiling takes long.
        let mut run = wharf(&["run", "-q", "--no-cache", "--backend", backend]);
        seen.push(end(run.args(["-a", &origin.base(), &guest, &url, "PUT", "text"])));
    }
    assert_eq!(seen[0].code, Some(0), "{seen:?}");
    assert!(seen[0].out.contains("200 OK") && seen[0].out.contains("x-method: PUT"), "{seen:?}");
    assert!(seen[0].out.ends_with("you sent: text"), "{seen:?}");
    assert_eq!(seen[0].err, "");
    assert!(seen.iter().all(|ended| *ended == seen[0]), "{seen:?}");
    assert_eq!(origin.requests().len(), backends().len());
}

#[test]
fn nothing_is_reachable_unless_it_is_allowed() {
    let files = Files::new();
    let guest = files.fetch();
    let origin = Origin::replying(Reply::ok("secret")).unwrap();
    for backend in backends() {
        for allowed in [&[][..], &["-a", "http://127.0.0.1:1"], &["-a", "https://127.0.0.1"]] {
            let mut args = vec!["run", "--backend", backend];
            args.extend(allowed);
            let url = origin.url("/");
            args.extend([guest.as_str(), url.as_str()]);
            let ended = end(&mut wharf(&args));
            assert_eq!(ended.code, Some(1), "{backend}: {ended:?}");
            assert_eq!(ended.out, "", "{backend}");
            assert!(ended.err.contains("Wasi error 7"), "{backend}: {ended:?}");
            assert!(ended.err.contains(&format!("allow {}", origin.base())), "{backend}: {ended:?}");
        }
    }
    assert_eq!(origin.requests(), []);
}

/// How a guest that would run for ever ends.
#[test]
fn a_time_limit_ends_the_guest() {
    let files = Files::new();
    let endless =
        files.wat("loop.wasm", r#"(module (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))"#);
    let fetch = files.fetch();
    let gate = Gate::new();
    let origin = Origin::replying(Reply::ok("late").once(gate.clone())).unwrap();
    let url = origin.url("/");
    for backend in backends() {
        // Nothing else ends them: the one loops for ever, and the other's origin does not answer before the test is over.
        let limited = ["run", "--backend", backend, "--timeout", "200ms"];
        let looping = end(&mut wharf(&[&limited[..], &[&endless]].concat()));
        let waiting = end(&mut wharf(&[&limited[..], &["-a", &origin.base(), &fetch, &url]].concat()));
        assert_eq!((looping.code, waiting.code), (Some(124), Some(124)), "{backend}: {looping:?} {waiting:?}");
        assert!(looping.err.ends_with("the guest ran longer than its time limit\n"), "{backend}: {looping:?}");

        let own = ["run", "--backend", backend, "--first-byte-timeout", "100ms", "-a", &origin.base(), &fetch, &url];
        let own = end(&mut wharf(&own));
        assert_eq!(own.code, Some(1), "{backend}: {own:?}");
        assert!(own.err.contains("100ms") && own.err.contains("Wasi error 11"), "{backend}: {own:?}");
    }
    gate.open();
}

#[test]
fn a_trap_is_134_and_said_alike() {
    let files = Files::new();
    let guest = files.wat(
        "traps.wasm",
        r#"(module (memory (export "memory") 1)
             (func (export "unreachable") unreachable)
             (func (export "outside") (drop (i32.load (i32.const 65536))))
             (func $deep (export "deep") (call $deep) (call $deep))
             (func (export "divide") (drop (i32.div_u (i32.const 1) (i32.const 0)))))"#,
    );
    for (function, reason) in [
        ("unreachable", "it executed `unreachable`"),
        ("outside", "it accessed an address outside its memory"),
        ("deep", "its call stack is exhausted"),
        ("divide", "it divided an integer by zero"),
    ] {
        for backend in backends() {
            let ended = end(&mut wharf(&["run", "--backend", backend, "--invoke", function, &guest]));
            assert_eq!(ended.code, Some(134), "{backend} {function}: {ended:?}");
            let line = format!("wharf: error: the guest trapped: {reason}");
            assert!(ended.err.starts_with(&line) && ended.err.lines().count() == 1, "{backend} {function}: {ended:?}");
        }
    }
}

/// A guest that copies its standard input to its standard output and exits with the count of its arguments.
const COPY: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 1024))
    (loop $next
      (i32.store (i32.const 4) (i32.const 4096))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (i32.store (i32.const 4) (i32.load (i32.const 8)))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
      (br_if $next (i32.load (i32.const 8))))
    (drop (call $args (i32.const 16) (i32.const 20)))
    (call $exit (i32.load (i32.const 16)))))"#;

#[test]
fn streams_arguments_and_the_exit_code_are_the_guests() {
    let files = Files::new();
    let guest = files.wat("copy.wasm", COPY);
    for backend in backends() {
        let mut child = wharf(&["run", "--backend", backend, &guest, "--flag", "-x", "three"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"through the guest\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"through the guest\n", "{backend}");
        assert_eq!(output.status.code(), Some(4), "{backend}: its own name and three arguments");
    }
}

#[test]
fn compiled_code_is_kept() {
    let files = Files::new();
    let guest = files.fetch();
    let cache = files.path().join("cache");
    for (count, backend) in (1..).zip(backends()) {
        for _ in 0..2 {
            let cache = cache.to_str().unwrap();
            let ended = end(&mut wharf(&["run", "--backend", backend, "--cache-dir", cache, &guest]));
            assert!(ended.err.contains("usage: fetch"), "{backend}: {ended:?}");
        }
        assert_eq!(std::fs::read_dir(&cache).unwrap().count(), count, "{backend}");
    }
}

/// A signal ends the guest on every backend: no engine, and nothing an engine brings, takes the signal for itself.
#[test]
#[cfg(unix)]
fn a_signal_ends_the_guest() {
    let files = Files::new();
    let guest = files.wat("copy.wasm", COPY);
    for backend in backends() {
        let mut child = wharf(&["run", "--backend", backend, &guest])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"x").unwrap();
        // The echo says that the guest runs.
        let mut echo = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut echo).unwrap();
        let status = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(143), "{backend}: {err}");
        assert_eq!(err, "wharf: error: stopped by SIGTERM\n", "{backend}");
    }
}

/// `guest | head -1`: a guest of either ABI is told that nobody reads any more, and not that the host broke.
#[test]
fn a_pipe_that_nobody_reads_is_closed() {
    use std::io::{BufRead, BufReader};
    let files = Files::new();
    // Each writes lines until a write fails, and exits with what the failure was.
    let preview1 = files.wat(
        "preview1.wasm",
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\08\00\00\00\02\00\00\00y\0a")
            (func (export "_start") (local $errno i32)
                (loop $again
                    (local.set $errno (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
                    (br_if $again (i32.eqz (local.get $errno))))
                (call $exit (local.get $errno))))"#,
    );
    let wasi02 = files.wat(
        "wasi02.wasm",
        r#"(module
            (import "wasi:cli/stdout@0.2.3" "get-stdout" (func $stdout (result i32)))
            (import "wasi:io/streams@0.2.3" "[method]output-stream.blocking-write-and-flush"
                (func $write (param i32 i32 i32 i32)))
            (import "wasi:cli/exit@0.2.4" "exit-with-code" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "y\0a")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
            (func (export "wasi:cli/run@0.2.3#run") (result i32) (local $stream i32)
                (local.set $stream (call $stdout))
                (loop $again
                    (call $write (local.get $stream) (i32.const 0) (i32.const 2) (i32.const 16))
                    (br_if $again (i32.eqz (i32.load8_u (i32.const 16)))))
                ;; 100 for `last-operation-failed`, 101 for `closed`.
                (call $exit (i32.add (i32.const 100) (i32.load8_u (i32.const 20))))
                (i32.const 1)))"#,
    );
    const EPIPE: i32 = 64;
    for backend in backends() {
        for (guest, expected) in [(&preview1, EPIPE), (&wasi02, 101)] {
            let mut command = wharf(&["run", "-q", "--timeout", "60s", "--backend", backend, guest]);
            let mut running = command.stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(running.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "y\n", "{backend}: {guest}");
            assert_eq!(running.wait().unwrap().code(), Some(expected), "{backend}: {guest}");
        }
    }
}

/// They are strings to WASI 0.2: a guest of preview 1 gets no others.
#[test]
fn arguments_and_variables_are_utf8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let files = Files::new();
    let guest = files.fetch();
    let odd = OsStr::from_bytes(b"caf\xe9");
    let ended = end(wharf(&["run", &guest]).arg(odd));
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
    assert!(ended.err.contains(r#"argument "caf\xE9" is not UTF-8"#), "{ended:?}");
    let ended = end(wharf(&["run", "-e", "ODD", &guest]).env("ODD", odd));
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
    assert!(ended.err.contains("--env ODD") && ended.err.contains("unicode"), "{ended:?}");
}
