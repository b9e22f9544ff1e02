//! What is made of a component is kept, so that only its first start makes it; as much of it as may be, where nobody else
//! can write.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Ended, Files, backends, end, limited, wharf};

/// A component that does nothing when it is run.
const COMMAND: &str = r#"(component
    (core module $m (func (export "run") (result i32) (i32.const 0)))
    (core instance $i (instantiate $m))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $command (export "run" (func $run)))
    (export "wasi:cli/run@0.2.3" (instance $command)))"#;

const FLATTENED: &str = "the component is flattened";
const KEPT: &str = "the component was flattened before";
const COMPILED: &str = "wasmtime compiles the component";

fn run(backend: &str, cache: &str, more: &[&str], guest: &str) -> Ended {
    let args = ["run", "-v", "--backend", backend, "--cache-dir", cache];
    let ended = end(&mut wharf(&[&args[..], more, &[guest]].concat()));
    assert_eq!(ended.code, Some(0), "{backend}: {ended:?}");
    ended
}

fn count(cache: &str, kind: &str) -> usize {
    let entries = fs::read_dir(cache).expect("the cache is there");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    entries.map(name).filter(|name| name.rsplit_once('-').is_some_and(|(start, _)| start == kind)).count()
}

#[test]
fn a_component_is_flattened_at_its_first_start_for_every_backend() {
    let files = Files::new();
    let guest = files.wat("command.wasm", COMMAND);
    let cache = cache_in(&files);
    for backend in backends() {
        let first = run(backend, &cache, &[], &guest);
        assert!(first.err.contains(FLATTENED), "{backend}: {first:?}");
        let second = run(backend, &cache, &[], &guest);
        assert!(second.err.contains(KEPT) && !second.err.contains(FLATTENED), "{backend}: {second:?}");
        assert_eq!(count(&cache, backend), 1, "{backend}");
    }
    let without = end(&mut wharf(&["run", "-v", "--no-cache", &guest]));
    assert!(!without.err.contains(KEPT), "{without:?}");
}

#[test]
fn the_cache_is_filled_beforehand() {
    let files = Files::new();
    let guest = files.wat("command.wasm", COMMAND);
    for backend in backends() {
        let cache = files.path().join(backend).into_os_string().into_string().unwrap();
        let fill = ["compile", "--emit", "cache", "--backend", backend, "--cache-dir", &cache, &guest];
        let filled = end(&mut wharf(&fill));
        assert_eq!((filled.code, &*filled.err), (Some(0), ""), "{backend}");
        assert_eq!(count(&cache, backend), 1, "{backend}");
        let ended = run(backend, &cache, &[], &guest);
        assert!(ended.err.contains(KEPT), "{backend}: {ended:?}");
    }
}

/// A directory for a cache that is not there yet.
fn cache_in(files: &Files) -> String {
    files.path().join("cache").into_os_string().into_string().unwrap()
}

/// What `wharf cache list` prints for programs.
fn listed(args: &[&str]) -> serde_json::Value {
    let ended = end(&mut wharf(&[&["cache", "list", "--format", "json"], args].concat()));
    assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{ended:?}");
    serde_json::from_str(&ended.out).unwrap()
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_kept_is_listed_and_removed() {
    let files = Files::new();
    let guest = files.wat("command.wasm", COMMAND);
    let cache = cache_in(&files);
    let list = |more: &[&str]| end(&mut wharf(&[&["cache", "list", "--cache-dir", &cache], more].concat()));
    let clear = || end(&mut wharf(&["cache", "clear", "--cache-dir", &cache]));
    assert_eq!(list(&[]).out, format!("there is no directory `{cache}`: no code is kept there\n"));
    assert_eq!(listed(&["--cache-dir", &cache])["entries"], serde_json::json!([]));
    assert_eq!(clear().out, format!("there is no directory `{cache}`: nothing was removed\n"));
    assert!(!Path::new(&cache).exists(), "who only looks makes nothing");
    fs::create_dir(&cache).unwrap();
    set_mode(&cache, 0o700);
    assert_eq!(list(&[]).out, format!("0 entries of 0 B, at most 2.0 GiB, in `{cache}`\n"));
    assert_eq!(clear().out, "removed 0 entries of 0 bytes\n");

    for backend in backends() {
        run(backend, &cache, &[], &guest);
        let other = Path::new(&cache).join("other.wharf");
        fs::write(&other, "not an entry").unwrap();
        let bytes: u64 = fs::read_dir(&cache)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path() != other)
            .map(|entry| entry.metadata().unwrap().len())
            .sum();
        let json = listed(&["--cache-dir", &cache, "--cache-size", "3MiB"]);
        let entries = json["entries"].as_array().unwrap();
        assert_eq!(entries.iter().map(|entry| &entry["kind"]).collect::<Vec<_>>(), [backend], "{json}");
        assert!(entries.iter().all(|entry| entry["last_used"].as_str().unwrap().ends_with('Z')), "{json}");
        assert_eq!((&json["bytes"], &json["size"]), (&bytes.into(), &(3 << 20).into()), "{json}");
        assert_eq!(json["directory"], *cache, "{json}");
        let people = list(&["--cache-size", "3MiB"]);
        let lines: Vec<&str> = people.out.lines().collect();
        assert_eq!(lines.len(), 3, "{people:?}");
        assert!(lines[0].starts_with("KIND") && lines[1].starts_with(backend), "{people:?}");
        assert!(lines[1].contains(" command.wasm "), "{people:?}");
        assert!(entries.iter().all(|entry| entry["guest"] == "command.wasm"), "{json}");
        assert!(lines[1].ends_with("s ago"), "{people:?}");
        assert!(lines[2].starts_with("1 entry of ") && lines[2].contains(", at most 3.0 MiB, in"), "{people:?}");

        assert_eq!(clear().out, format!("removed 1 entry of {bytes} bytes\n"), "{backend}");
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 1, "{backend}");
        assert!(other.exists(), "{backend}");
        assert!(run(backend, &cache, &[], &guest).err.contains(FLATTENED), "{backend}");
        clear();
    }
}

#[test]
fn no_more_is_kept_than_may_be() {
    let files = Files::new();
    let guest = files.wat("command.wasm", COMMAND);
    let other = files.wat("other.wasm", &COMMAND.replace("(i32.const 0)", "(drop (i32.const 1)) (i32.const 0)"));
    for backend in backends() {
        let cache = files.path().join(backend).into_os_string().into_string().unwrap();
        let total = || listed(&["--cache-dir", &cache])["bytes"].as_u64().unwrap();
        run(backend, &cache, &[], &guest);
        // The other's, and not both.
        let size = (total() + 500).to_string();
        let ended = run(backend, &cache, &["--cache-size", &size], &other);
        assert!(!ended.err.contains("not kept"), "{backend}: {ended:?}");
        assert!(total() <= size.parse().unwrap(), "{backend}");
        assert_eq!(count(&cache, backend), 1, "{backend}");
        assert!(run(backend, &cache, &["--cache-size", &size], &other).err.contains(KEPT), "{backend}");

        // Where there is room for nothing, what was kept with more of it stays, and the guest runs.
        let before = total();
        let ended = run(backend, &cache, &["--cache-size", "10"], &guest);
        assert!(ended.err.contains("compiled code is not kept") && ended.err.contains("`cache-size`"), "{ended:?}");
        assert_eq!(total(), before, "{backend}");
        let fill =
            ["compile", "--emit", "cache", "--backend", backend, "--cache-dir", &cache, "--cache-size", "10", &guest];
        let ended = end(&mut wharf(&fill));
        assert_eq!(ended.code, Some(1), "{backend}: {ended:?}");
        assert!(ended.err.contains("`cache-size`"), "{backend}: {ended:?}");
    }
}

/// Who may write no file as large as an entry goes without.
#[test]
fn a_limit_of_file_sizes_costs_the_entry_only() {
    let files = Files::new();
    let guest = files.wat("command.wasm", COMMAND);
    let cache = cache_in(&files);
    // WasmEdge's compiler needs files itself, and says so.
    for backend in backends().into_iter().filter(|backend| *backend != "wasmedge") {
        let script = r#"ulimit -f 4; exec "$0" "$@""#;
        let args = ["run", "--backend", backend, "--cache-dir", &cache, &guest];
        let ended = end(Command::new("/bin/sh").args(["-c", script, env!("CARGO_BIN_EXE_wharf")]).args(args));
        assert_eq!(ended.code, Some(0), "{backend}: {ended:?}");
        assert!(ended.err.contains("compiled code is not kept"), "{backend}: {ended:?}");
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 0, "{backend}");
    }
}

/// By default there is a directory for nothing else, and a guest runs without one that cannot be used.
#[test]
fn the_users_own_is_used_if_it_is_nobody_elses() {
    let files = Files::new();
    let guest = files.wat("command.wasm", COMMAND);
    let user = files.path().join("user");
    let cache = user.join("wharf/code");
    let command = |args: &[&str]| end(wharf(args).env("XDG_CACHE_HOME", &user));
    for backend in backends() {
        let start = || {
            let ended = command(&["run", "-v", "--backend", backend, &guest]);
            assert_eq!(ended.code, Some(0), "{backend}: {ended:?}");
            ended.err
        };
        assert!(!start().contains(KEPT), "{backend}");
        assert!(start().contains(KEPT), "{backend}");
        for made in [&user, &user.join("wharf"), &cache] {
            assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700, "{}", made.display());
        }
        for unsafe_one in [&cache, &user] {
            set_mode(unsafe_one, 0o777);
            let err = start();
            assert!(err.contains("compiled code is not kept") && err.contains("chmod go-w"), "{backend}: {err}");
            set_mode(unsafe_one, 0o700);
        }
        let cleared = command(&["cache", "clear"]);
        assert!(cleared.out.starts_with("removed 1 entry of"), "{backend}: {cleared:?}");
    }
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    let files = Files::new();
    let guest = files.wat("command.wasm", COMMAND);
    let cache = cache_in(&files);
    fs::create_dir(&cache).unwrap();
    for mode in [0o777, 0o775] {
        set_mode(&cache, mode);
        for args in [&["run", "--cache-dir", &cache, &guest][..], &["cache", "list", "--cache-dir", &cache]] {
            let ended = end(&mut wharf(args));
            assert_eq!((ended.code, &*ended.out), (Some(1), ""), "{ended:?}");
            for part in ["may be written by others", "chmod go-w", &cache] {
                assert!(ended.err.contains(part), "{ended:?}");
            }
        }
    }
}

/// No file may have any bytes, which is told as a full disk is.
#[test]
fn a_guest_runs_though_the_disk_is_full() {
    let files = Files::new();
    let guest = files.wat("command.wasm", COMMAND);
    for backend in backends() {
        let cache = files.path().join(backend);
        let mut args = vec!["run", "--backend", backend, "--cache-dir", cache.to_str().unwrap()];
        // Its compiler needs a file itself.
        if backend == "wasmedge" {
            args.extend(["--wasmedge-mode", "interpreter"]);
        }
        args.push(&guest);
        // It is told, and not ended by the signal.
        let ended = end(&mut limited("-f 0 && trap '' XFSZ", &wharf(&args)));
        assert_eq!(ended.code, Some(0), "{backend}: {ended:?}");
        assert!(ended.err.contains("is not kept") && ended.err.contains("cannot be written"), "{backend}: {ended:?}");
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 0, "{backend}");
    }
}

#[cfg(feature = "wasmtime-component")]
mod wasmtime_component {
    use std::path::PathBuf;

    use super::*;
    use crate::support::served::component;

    const HOST: &[&str] = &["--component-host", "wasmtime-component"];

    fn paths(cache: &str) -> Vec<PathBuf> {
        Path::new(cache).read_dir().unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn damage(cache: &str, how: impl Fn(&mut Vec<u8>)) {
        for path in paths(cache) {
            let mut bytes = fs::read(&path).unwrap();
            how(&mut bytes);
            fs::write(&path, bytes).unwrap();
        }
    }

    #[test]
    fn code_is_kept_and_not_trusted() {
        let files = Files::new();
        let guest = files.wat("command.wasm", COMMAND);
        let cache = cache_in(&files);
        let compiles = || run("wasmtime", &cache, HOST, &guest).err.contains(COMPILED);
        assert!(compiles());
        assert!(!compiles(), "its code is kept");
        assert_eq!((count(&cache, "wasmtime-component"), count(&cache, "wasmtime")), (1, 0));
        let damages: [fn(&mut Vec<u8>); 4] = [
            |bytes| bytes.clear(),
            |bytes| bytes.truncate(bytes.len() / 2),
            |bytes| bytes.push(0),
            |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            },
        ];
        for how in damages {
            damage(&cache, how);
            assert!(compiles(), "a damaged entry is not used");
            assert!(!compiles(), "it is kept again");
        }
        for entry in paths(&cache) {
            set_mode(entry, 0o660);
        }
        assert!(compiles(), "an entry that others may have written is not used");
        assert!(!compiles(), "it is kept again");
        // Another component's code, however whole, is not used either.
        let other = files.wat("other.wasm", &COMMAND.replace("(component", r#"(component (core module (memory 1))"#));
        assert!(run("wasmtime", &cache, HOST, &other).err.contains(COMPILED));
        assert_eq!(count(&cache, "wasmtime-component"), 2);
        let entries = paths(&cache);
        let contents: Vec<_> = entries.iter().map(|path| fs::read(path).unwrap()).collect();
        fs::write(&entries[0], &contents[1]).unwrap();
        fs::write(&entries[1], &contents[0]).unwrap();
        assert!(compiles(), "the entries have changed places");
    }

    #[test]
    fn the_cache_is_filled_beforehand() {
        let files = Files::new();
        let guest = files.write("component.wasm", component());
        let cache = cache_in(&files);
        let fill =
            ["compile", "--emit", "cache", "--component-host", "wasmtime-component", "--cache-dir", &cache, &guest];
        for _ in 0..2 {
            let filled = end(&mut wharf(&fill));
            assert_eq!((filled.code, &*filled.err), (Some(0), ""));
            assert_eq!(count(&cache, "wasmtime-component"), 1);
        }
        let args = ["-v", "--component-host", "wasmtime-component", "--cache-dir", &cache, &guest];
        let served = crate::support::served::Served::start(&args);
        assert_eq!(served.get("/").unwrap().0, 200);
        let (_, printed) = served.stop();
        assert!(!printed.contains(COMPILED), "{printed}");
    }
}
