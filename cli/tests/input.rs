//! Wrong input: one line that says what is wrong and what to do, the right exit code, and no panic.

mod support;

use support::{Files, command_with, end, wharf};

/// Runs `wharf` and checks that it fails as it should.
#[track_caller]
fn refused(args: &[&str], code: i32, parts: &[&str]) {
    let ended = end(&mut wharf(args));
    assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{args:?}: {ended:?}");
    assert!(ended.err.starts_with("wharf: error: "), "{args:?}: {ended:?}");
    for part in parts {
        assert!(ended.err.contains(part), "{args:?} should say {part:?}: {ended:?}");
    }
    for never in ["panicked", "backtrace", "RUST_BACKTRACE"] {
        assert!(!ended.err.contains(never), "{args:?}: {ended:?}");
    }
}

#[test]
fn what_is_no_module() {
    let files = Files::new();
    let fetch = files.fetch();
    let wasm = std::fs::read(&fetch).unwrap();
    let text = files.write("text.wasm", "hello\n");
    let empty = files.write("empty.wasm", "");
    let truncated = files.write("truncated.wasm", &wasm[..wasm.len() / 2]);
    let component = files.write("component.wasm", b"\0asm\x0d\0\x01\0");
    let missing = files.path().join("missing.wasm");
    let directory = files.path().to_str().unwrap();
    for command in ["run", "inspect"] {
        refused(&[command, &text], 1, &["text.wasm", "not a WebAssembly module", "give a compiled .wasm file"]);
        refused(&[command, &empty], 1, &["empty.wasm"]);
        refused(&[command, &truncated], 1, &["truncated.wasm", "truncated", "offset 0x"]);
        refused(&[command, missing.to_str().unwrap()], 1, &["cannot read", "missing.wasm"]);
        refused(&[command, directory], 1, &["is a directory"]);
    }
    refused(&["run", &component], 1, &["exports no function `_start`"]);
    let cut = files.write("cut.wasm", b"\0asm\x0d\0\x01\0\x04\x7f\0asm");
    for args in [["inspect", &cut].as_slice(), &["compile", &cut, "-o", &files.write("out.wasm", "")]] {
        refused(args, 1, &["cut.wasm", "truncated", "offset 0x"]);
    }
}

#[test]
fn what_cannot_be_linked() {
    let files = Files::new();
    let unknown = files.wat(
        "unknown.wasm",
        &command_with(
            r#"(import "wasi_experimental_http" "body_reed" (func (param i32 i32 i32 i32) (result i32)))
               (import "env" "log" (func (param i32)))"#,
        ),
    );
    refused(&["run", &unknown], 1, &["body_reed", "did the guest mean wasi_experimental_http::body_read", "env::log"]);
    let old =
        format!(r#"(import "wasi_experimental_http" "req" (func (param {}) (result i32)))"#, ["i32"; 15].join(" "));
    let old = files.wat("old.wasm", &command_with(&old));
    refused(&["run", &old], 1, &["`req` of 15 parameters", "rebuild the guest"]);
    let no_memory = files.wat(
        "no-memory.wasm",
        r#"(module (import "wasi_experimental_http" "close" (func (param i32) (result i32))) (func (export "_start")))"#,
    );
    refused(&["run", &no_memory], 1, &["no memory named `memory`"]);
    let no_start = files.wat("no-start.wasm", r#"(module (memory (export "memory") 1) (func (export "go")))"#);
    refused(&["run", &no_start], 1, &["exports no function `_start`", "it exports go"]);
    refused(&["run", "--invoke", "gone", &no_start], 1, &["`gone`", "it exports go"]);
}

#[test]
fn what_cannot_be_granted() {
    let files = Files::new();
    let guest = files.fetch();
    refused(&["run", "-a", "ftp://example.com", &guest], 2, &["byte 0", "ftp", "neither http nor https", "--help"]);
    refused(&["run", "-a", "example.com:0x50", &guest], 2, &["byte 12", "0x50", "no port"]);
    refused(&["run", "-a", "http://a.example/path", &guest], 2, &["byte"]);
    refused(&["run", "-a", "", &guest], 2, &["--allow-host"]);
    refused(&["run", "--dir", "/nowhere/at/all", &guest], 1, &["--dir", "/nowhere/at/all"]);
    refused(&["run", "--env", "=x", &guest], 2, &["--env"]);
    refused(&["run", "--timeout", "soon", &guest], 2, &["--timeout", "2s"]);
    refused(&["run", "--max-memory", "lots", &guest], 2, &["--max-memory"]);
    refused(&["run", "--backend", "other", &guest], 2, &["no backend `other`", "wasmtime"]);
    refused(&["run", "--cache-dir", "/dev/null/x", &guest], 1, &["--cache-dir"]);
    refused(&["run"], 2, &["--help"]);
    refused(&["walk"], 2, &["walk", "--help"]);
}

#[test]
fn reports_that_cannot_be_written() {
    let one = ["conformance", "--filter", "seam/memory/data-segments"];
    refused(&[&one[..], &["--report-dir", "/dev/null/x"]].concat(), 3, &["cannot write the report"]);
    refused(&["conformance", "--list", "--filter", "no such case"], 4, &["no case matches"]);
}
