//! Limits on what a guest takes and on what is compiled, as the command has them.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{Files, backends, end, limited, wharf};

/// A guest that keeps fields of single bytes until it is ended; or none.
fn keeping(fields: bool) -> String {
    let more = if fields { "(br $more)" } else { "" };
    format!(
        r#"(module
            (import "wasi:http/types@0.2.3" "[constructor]fields" (func $new (result i32)))
            (import "wasi:http/types@0.2.3" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
            (memory (export "memory") 1) (data (i32.const 0) "a")
            (func (export "_start") (local $fields i32) (local $left i32)
                (loop $more
                    (local.set $fields (call $new)) (local.set $left (i32.const 400))
                    (loop $fill
                        (call $append (local.get $fields)
                            (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64))
                        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                        (br_if $fill (local.get $left)))
                    {more})))"#
    )
}

/// The most memory that a process had, in bytes, and its exit code.
fn most(mut child: Child) -> (u64, Option<i32>) {
    let mut most = 0;
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        if let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
            most = most.max(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() << 10);
        }
        if let Some(status) = child.try_wait().unwrap() {
            return (most, status.code());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What a guest has the host keep is in the limit: the process grows by no more than twice as much.
#[test]
fn the_memory_of_the_host_is_in_the_limit() {
    let files = Files::new();
    let (few, many) = (files.wat("few.wasm", &keeping(false)), files.wat("many.wasm", &keeping(true)));
    for backend in backends() {
        let run = |guest: &str| {
            let mut command = wharf(&["run", "-q", "--backend", backend, "--max-memory", "64MiB", guest]);
            most(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        };
        let (before, code) = run(&few);
        assert_eq!(code, Some(0), "{backend}");
        let (grown, code) = run(&many);
        assert_eq!(code, Some(134), "{backend}");
        let grown = grown.saturating_sub(before);
        assert!((16 << 20..=128 << 20).contains(&grown), "{backend}: the process grew by {grown} bytes");
    }
}

#[test]
fn a_limit_says_its_name() {
    let files = Files::new();
    let many = files.wat("many.wasm", &keeping(true));
    let large = files.wat("large.wasm", &format!("(module (func (export \"_start\") {}))", "(nop)".repeat(5000)));
    for backend in backends() {
        let run = |args: &[&str]| end(&mut wharf(&[&["run", "-q", "--no-cache", "--backend", backend], args].concat()));
        let ended = run(&["--max-memory", "1MiB", &many]);
        assert!(ended.code == Some(134) && ended.err.contains("`max-memory`"), "{backend}: {ended:?}");
        let ended = run(&["--max-function-size", "4KiB", &large]);
        assert!(ended.code == Some(1) && ended.err.contains("`max-function-size`"), "{backend}: {ended:?}");
        let ended = run(&["--max-function-size", "8KiB", &large]);
        assert_eq!(ended.code, Some(0), "{backend}: {ended:?}");
    }
}

/// What cannot be run is told before a compilation, which this would not survive.
#[test]
fn compiling_has_a_time_limit_and_comes_last() {
    let files = Files::new();
    let (fetch, library) = (files.fetch(), files.wat("library.wasm", "(module (func (export \"go\")))"));
    for backend in backends() {
        let run = |guest: &str| {
            let limits = ["--no-cache", "--compile-timeout", "1ms"];
            end(&mut wharf(&[&["run", "-q", "--backend", backend], &limits[..], &[guest]].concat()))
        };
        let ended = run(&fetch);
        assert!(ended.code == Some(124) && ended.err.contains("--compile-timeout"), "{backend}: {ended:?}");
        let ended = run(&library);
        assert!(ended.code == Some(1) && ended.err.contains("`_start`"), "{backend}: {ended:?}");
    }
}

/// With too few descriptors to start, an error says so; with enough, the guest runs; and in between nothing panics.
#[test]
fn few_descriptors_are_no_panic() {
    let files = Files::new();
    let guest = files.fetch();
    for backend in backends() {
        let run = |count: u32| {
            let run = wharf(&["run", "--no-cache", "--backend", backend, &guest, "http://127.0.0.1:1/"]);
            let ended = end(&mut limited(&format!("-n {count}"), &run));
            assert!(!ended.err.contains("panicked"), "{backend}, {count}: {ended:?}");
            ended.err
        };
        let few = run(7);
        // Which of them runs out first is up to the scheduler: the threads, or the linker of WasmEdge's compiler.
        let told = ["threads cannot be started", "Too many open files"].iter().any(|why| few.contains(why));
        assert!(told && few.contains("wharf: error: "), "{backend}: {few}");
        [8, 9, 10, 12, 16].into_iter().for_each(|count| drop(run(count)));
        let enough = run(24);
        assert!(enough.contains("a guest was denied http://127.0.0.1:1;"), "{backend}: {enough}");
    }
}
