//! WasmEdge's compiler in a process of its own: what happens if it fails, and what is kept of what it made. Its library, which
//! other backends do without.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::support::served::Served;
use crate::support::{Files, backends, end, wharf};
use wharf::core::grants::WasiConfig;
use wharf::core::{Backend, CodeCache, Error, Guest, GuestConfig, Kind, LoadOptions, Prepared, chain};
use wharf::wasmedge::{Compiler, Helper, WasmEdge};

const WHARF: &str = env!("CARGO_BIN_EXE_wharf");
/// A guest that exits with 7.
const EXITS: &str = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1) (func (export "_start") i32.const 7 call $exit))"#;

/// A backend whose compiler is what a shell makes of `script`. It gets as arguments the version, the memory and the files
/// of the module and the code.
fn scripted(script: &str) -> Helper {
    program("/bin/sh", &["-c", script, WHARF])
}

/// The compiler that is at `path`.
fn program(path: &str, arguments: &[&str]) -> Helper {
    // SAFETY: what these write is wharf's own code, or shall be refused.
    unsafe { Helper::new(path, arguments) }
}

fn run(helper: Helper) -> Result<i32, Error> {
    run_with(helper, None)
}

fn run_with(helper: Helper, cache: Option<Arc<CodeCache>>) -> Result<i32, Error> {
    let backend: Arc<dyn Backend> = Arc::new(WasmEdge::with_compiler(Compiler::process(helper)).unwrap());
    let wasm = wat::parse_str(EXITS).unwrap();
    let guest = Guest::load(&*backend, &wasm, &LoadOptions { max_memory: 4 << 30, cache, ..LoadOptions::default() })?;
    guest.run(GuestConfig { wasi: WasiConfig::new(), ..GuestConfig::default() }, None)
}

/// The one line that says why `helper` made nothing that can be run.
fn refusal(helper: Helper) -> String {
    let error = run(helper).expect_err("the compiler failed");
    assert_eq!(error.kind(), Kind::Engine, "{error}");
    let line = chain(&error);
    assert!(!line.chars().any(char::is_control), "{line:?}");
    line
}

#[test]
fn a_guest_runs_that_another_process_compiled() {
    assert_eq!(run(program(WHARF, &["wasmedge-compile"])).unwrap(), 7);
    assert_eq!(run(scripted(r#"exec "$0" wasmedge-compile "$@""#)).unwrap(), 7);
}

/// Whatever the mask of modes is, and whoever may exchange it in the directory for temporary files.
#[cfg(target_os = "linux")]
#[test]
fn the_compilers_directory_is_nobody_elses() {
    let only_ours = "exec 3>&1; stat -Lc %a /proc/self/fd/3 >&2; exit 3";
    let line = refusal(scripted(only_ours));
    assert!(line.ends_with("(exit status: 3): 700"), "{line}");
    let exchanged = r#"exec 3>&1; there=$(readlink /proc/self/fd/3) && mv "$there" "$there.away" && mkdir "$there" &&
        echo another > "$there/code.wasm" && "$0" wasmedge-compile "$@" &&
        rm "$there/code.wasm" && rmdir "$there" && mv "$there.away" "$there""#;
    assert_eq!(run(scripted(exchanged)).unwrap(), 7);
}

#[test]
fn too_little_space_for_the_compiler_is_told() {
    let guest = Files::new();
    let script = r#"ulimit -f 4; exec "$0" run --backend wasmedge --no-cache "$1""#;
    let ended = end(Command::new("/bin/sh").args(["-c", script, WHARF, &guest.wat("exits.wasm", EXITS)]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("in the directory for temporary files, `"), "{ended:?}");
}

#[test]
fn a_compiler_that_crashes_is_an_error() {
    let line = refusal(scripted("echo >&2; echo 'LLVM ERROR: \u{1b}[1mtoo much' >&2; echo more >&2; kill -SEGV $$"));
    assert!(line.contains("the compiler failed (signal: 11 (SIGSEGV)"), "{line}");
    assert!(line.ends_with("): LLVM ERROR: [1mtoo much"), "{line}");
    let line = refusal(scripted("kill -KILL $$"));
    assert!(line.ends_with("the compiler failed (signal: 9 (SIGKILL))"), "{line}");
    let line = refusal(scripted("exit 3"));
    assert!(line.ends_with("the compiler failed (exit status: 3)"), "{line}");
}

#[test]
fn a_compiler_that_writes_too_little_or_garbage_is_an_error() {
    for script in [
        "exit 0",
        r#": > "$4""#,
        r#"cp "$3" "$4""#,
        r#"echo garbage > "$4""#,
        r#"mkdir "$4""#,
        // As with a full disk.
        r#"ln -s /dev/full "$4"; exec "$0" wasmedge-compile "$@""#,
        r#"ulimit -f 1; trap '' XFSZ; exec "$0" wasmedge-compile "$@""#,
        r#""$0" wasmedge-compile "$@" && truncate -s -1 "$4""#,
    ] {
        let line = refusal(scripted(script));
        assert!(line.contains("the compiler"), "{script}: {line}");
    }
    // Whole, and of the right form, but no code.
    let line = refusal(scripted(r#"cp "$3" "$4"; printf '\000\012\010wasmedge\177' >> "$4""#));
    assert!(line.starts_with("WasmEdge cannot load or compile the module: "), "{line}");
}

#[test]
fn a_compiler_that_does_not_end_is_ended() {
    let line = refusal(scripted("exec sleep 3600").time(Duration::from_millis(100)));
    assert!(line.contains("the compiler took longer than 0.1 s and was ended"), "{line}");
}

#[test]
fn a_compiler_keeps_to_its_memory() {
    let line = refusal(program(WHARF, &["wasmedge-compile"]).memory(100 << 20));
    assert!(line.contains("the compiler failed ("), "{line}");
}

#[test]
fn a_compiler_that_is_not_there_is_named() {
    let line = refusal(program("/nowhere/compiler", &[]));
    assert!(line.contains("the compiler `/nowhere/compiler` cannot be started: No such file"), "{line}");
}

#[test]
fn the_helper_takes_no_other_version() {
    let ended = end(&mut wharf(&["wasmedge-compile", "0.0.0/0.0.0", "1", "in", "out"]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("and the module is for 0.0.0/0.0.0") && ended.err.lines().count() == 1, "{ended:?}");
    let ended = end(&mut wharf(&["wasmedge-compile"]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let ended = end(&mut wharf(&["--help"]));
    assert!(!ended.out.contains("wasmedge-compile"), "{ended:?}");
}

#[test]
fn the_cache_can_be_filled_beforehand() {
    let files = Files::new();
    let (guest, cache) = (files.wat("exits.wat.wasm", EXITS), files.path().join("cache"));
    let cache = cache.to_str().unwrap();
    let entries = || std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let fill = ["compile", "-q", "--backend", "wasmedge", "--emit", "cache", "--cache-dir", cache, &guest];
    for _ in 0..2 {
        let ended = end(&mut wharf(&fill));
        assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), "", ""));
        assert_eq!(entries().len(), 1);
    }
    // What is started now is compiled by nobody: there is no compiler.
    let kept = Arc::new(CodeCache::open(Path::new(cache)).unwrap());
    let start = |cache| run_with(program("/nowhere/compiler", &[]), cache);
    assert_eq!(start(Some(kept)).unwrap(), 7);
    assert!(start(None).is_err());
    for more in [&["--no-cache"][..], &["-o", "out"]] {
        let ended = end(wharf(&["compile", "--emit", "cache", &guest]).args(more));
        assert_eq!(ended.code, Some(2), "{ended:?}");
    }
}

#[test]
fn the_helper_optimises_unless_told_otherwise() {
    let wasm = wharf_guests::HELLO_HTTP.wasm().unwrap();
    let prepared = Prepared::new(&wasm, &LoadOptions::default()).unwrap();
    let compiled = |compiler: Compiler| {
        let backend = WasmEdge::with_compiler(compiler).unwrap();
        let module = backend.compile(&prepared).unwrap();
        let code = module.serialize().unwrap().unwrap().bytes().to_vec();
        (backend.info().code_key.clone(), code)
    };
    let helper = || Compiler::process(program(WHARF, &["wasmedge-compile"]));
    let (optimised, baseline) = (compiled(helper()), compiled(helper().baseline()));
    assert!(optimised.0 != baseline.0, "kept code of one is taken for the other's: {}", baseline.0);
    assert!(optimised.1 != baseline.1, "the helper does the same whatever it is told");
    assert!(compiled(Compiler::in_process().baseline()) == baseline, "it does otherwise than in this process");
}

#[test]
fn a_cache_is_not_filled_with_nothing() {
    let files = Files::new();
    let (guest, cache) = (files.wat("exits.wasm", EXITS), files.path().join("cache"));
    let fill = ["compile", "--backend", "wasmedge", "--wasmedge-mode", "interpreter", "--emit", "cache", "--cache-dir"];
    let ended = end(wharf(&fill).arg(&cache).arg(&guest));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("no compiled code for this module"), "{ended:?}");
}

/// The library brings LLVM with it. On other systems the command is linked with both.
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[test]
fn the_library_is_loaded_for_its_own_backend_only() {
    let guest = Files::new();
    let guest = guest.write("core.wasm", wharf_guests::HELLO_HTTP.wasm().unwrap());
    for backend in backends() {
        let served = Served::start(&["--backend", backend, &guest]);
        assert_eq!(served.get("/").unwrap().0, 200, "{backend}");
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", served.child.id())).unwrap();
        for library in ["/libwasmedge.so", "/libLLVM"] {
            assert_eq!(maps.contains(library), backend == "wasmedge", "{backend} {library}");
        }
    }
}
