//! What is made of a component is kept, so that only its first start makes it.

use std::path::Path;

use crate::support::served::component;
use crate::support::{Ended, Files, backends, end, wharf};

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
    let entries = std::fs::read_dir(cache).expect("the cache is there");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    entries.map(name).filter(|name| name.rsplit_once('-').is_some_and(|(start, _)| start == kind)).count()
}

#[test]
fn a_component_is_flattened_at_its_first_start_for_every_backend() {
    let files = Files::new();
    let guest = files.wat("command.wasm", COMMAND);
    let cache = files.path().join("cache").into_os_string().into_string().unwrap();
    for (number, backend) in backends().into_iter().enumerate() {
        let first = run(backend, &cache, &[], &guest);
        let expected = if number == 0 { FLATTENED } else { KEPT };
        assert!(first.err.contains(expected), "{backend}: {first:?}");
        let second = run(backend, &cache, &[], &guest);
        assert!(second.err.contains(KEPT) && !second.err.contains(FLATTENED), "{backend}: {second:?}");
        assert_eq!((count(&cache, "flat"), count(&cache, backend)), (1, 1), "{backend}");
    }
    let without = end(&mut wharf(&["run", "-v", "--no-cache", &guest]));
    assert!(!without.err.contains(KEPT), "{without:?}");
}

#[test]
fn the_cache_is_filled_with_both() {
    let files = Files::new();
    let guest = files.wat("command.wasm", COMMAND);
    for backend in backends() {
        let cache = files.path().join(backend).into_os_string().into_string().unwrap();
        let fill = ["compile", "--emit", "cache", "--backend", backend, "--cache-dir", &cache, &guest];
        let filled = end(&mut wharf(&fill));
        assert_eq!((filled.code, &*filled.err), (Some(0), ""), "{backend}");
        assert_eq!((count(&cache, "flat"), count(&cache, backend)), (1, 1), "{backend}");
        let ended = run(backend, &cache, &[], &guest);
        assert!(ended.err.contains(KEPT), "{backend}: {ended:?}");
    }
}

#[cfg(feature = "native")]
mod native {
    use super::*;

    const NATIVE: &[&str] = &["--component-host", "native"];

    fn damage(cache: &str, how: impl Fn(&mut Vec<u8>)) {
        for entry in Path::new(cache).read_dir().unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            how(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
        }
    }

    #[test]
    fn code_is_kept_and_not_trusted() {
        let files = Files::new();
        let guest = files.wat("command.wasm", COMMAND);
        let cache = files.path().join("cache").into_os_string().into_string().unwrap();
        let compiles = || run("wasmtime", &cache, NATIVE, &guest).err.contains(COMPILED);
        assert!(compiles());
        assert!(!compiles(), "its code is kept");
        assert_eq!((count(&cache, "wasmtime-native"), count(&cache, "flat")), (1, 0));
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
        // Another component's code, however whole, is not used either.
        let other = files.wat("other.wasm", &COMMAND.replace("(component", r#"(component (core module (memory 1))"#));
        assert!(run("wasmtime", &cache, NATIVE, &other).err.contains(COMPILED));
        assert_eq!(count(&cache, "wasmtime-native"), 2);
        let entries: Vec<_> = Path::new(&cache).read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        let contents: Vec<_> = entries.iter().map(|path| std::fs::read(path).unwrap()).collect();
        std::fs::write(&entries[0], &contents[1]).unwrap();
        std::fs::write(&entries[1], &contents[0]).unwrap();
        assert!(compiles(), "the entries have changed places");
    }

    #[test]
    fn the_cache_is_filled_beforehand() {
        let files = Files::new();
        let guest = files.write("component.wasm", component());
        let cache = files.path().join("cache").into_os_string().into_string().unwrap();
        let fill = ["compile", "--emit", "cache", "--component-host", "native", "--cache-dir", &cache, &guest];
        for _ in 0..2 {
            let filled = end(&mut wharf(&fill));
            assert_eq!((filled.code, &*filled.err), (Some(0), ""));
            assert_eq!(count(&cache, "wasmtime-native"), 1);
        }
        let args = ["-v", "--component-host", "native", "--cache-dir", &cache, &guest];
        let served = crate::support::served::Served::start(&args);
        assert_eq!(served.get("/").unwrap().0, 200);
        let (_, printed) = served.stop();
        assert!(!printed.contains(COMPILED), "{printed}");
    }
}
