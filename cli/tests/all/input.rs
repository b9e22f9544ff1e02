//! Wrong input: one line that says what is wrong and what to do, the right exit code, and no panic.

use crate::support::{Files, command_with, end, wharf};

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
    let packed = files.path().join("image.tar");
    for wrong in [&text, &empty, &truncated] {
        refused(&["package", "-o", packed.to_str().unwrap(), wrong], 1, &[]);
    }
    // An option that is not one is not the guest.
    refused(
        &["run", "--allow-guest", "a.example", &component],
        2,
        &["unexpected argument '--allow-guest'", "see --help"],
    );
    refused(&["run", "--backend", "", &component], 2, &["--backend"]);
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

/// A component that is one module with one function, `f`, and what else is given.
fn component(module: &str, rest: &str) -> String {
    format!(
        "(component (core module $m (func (export \"f\")) {module}) (core instance $i (instantiate $m)) \
         (func (export \"f\") (canon lift (core func $i \"f\"))) {rest})"
    )
}

#[test]
fn components_that_no_engine_takes() {
    let files = Files::new();
    for (name, text, says) in [
        ("errors", component("", "(type error-context)"), ["`error-context`", "build it for WASI 0.3"]),
        ("gc", component("(type (struct))", ""), ["garbage collection", "WebAssembly 2.0"]),
        ("exceptions", component("(tag)", ""), ["exceptions", "WebAssembly 2.0"]),
        ("memory64", component("(memory i64 1)", ""), ["64-bit memories", "WebAssembly 2.0"]),
        (
            "import-module",
            component("", "(import \"m\" (core module $n)) (core instance (instantiate $n))"),
            ["core modules", "contains all it needs"],
        ),
        (
            "nested",
            format!("{}{}", "(component ".repeat(40), ")".repeat(40)),
            ["levels of nested components", "at most 16"],
        ),
        ("bomb", bomb(), ["instances", "at most 1000"]),
    ] {
        let file = files.wat(&format!("{name}.wasm"), &text);
        for command in ["run", "serve"] {
            refused(&[command, &file], 1, &[&[name, ".wasm"].concat(), says[0], says[1]]);
        }
    }
    // Types that refer to twice as many types each time, and types nested in types: small files, too.
    let mut types = "(component (type $t0 (list u8))".to_owned();
    for level in 1..200 {
        types.push_str(&format!("(type $t{level} (tuple (list $t{0}) (list $t{0})))", level - 1));
    }
    let huge = files.wat("types.wasm", &format!("{types}(import \"f\" (func (param \"x\" $t199))))"));
    refused(&["run", &huge], 1, &["types.wasm"]);
    let deep: Vec<u8> = [b"\0asm\x0d\0\x01\0\x07\xff\x7f\x01".to_vec(), [0x42, 1, 1].repeat(5461)].concat();
    refused(&["run", &files.write("deep.wasm", &deep)], 1, &["deep.wasm", "levels of nested types"]);
}

/// Forty components that each instantiate the next one twice.
fn bomb() -> String {
    let mut text = "(component (component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..40 {
        let inner = level - 1;
        text.push_str(&format!(
            "(component $c{level} (alias outer 1 $c{inner} (component $i)) (instance (instantiate $i)) \
             (instance (instantiate $i)))"
        ));
    }
    text + "(instance (instantiate $c39)))"
}

/// A handler that imports one function.
fn importing(interface: &str, function: &str, ty: &str) -> String {
    format!(
        r#"(component
          (import "{interface}" (instance $h (export "{function}" (func {ty}))))
          (core func $f (canon lower (func $h "{function}")))
          (core module $m (import "" "f" (func)) (memory (export "memory") 1) (func (export "f")))
          (core instance $i (instantiate $m (with "" (instance (export "f" (func $f))))))
          (func (export "f") (canon lift (core func $i "f"))))"#
    )
}

#[test]
fn components_whose_imports_nobody_has() {
    let files = Files::new();
    for (name, interface, says) in [
        ("unknown", "acme:shop/basket@1.0.0", ["acme:shop/basket@1.0.0::add", "unknown"]),
        ("later", "wasi:clocks/monotonic-clock@0.4.0", ["WASI 0.2.0 and 0.3.0", "rebuild the guest"]),
        ("earlier", "wasi:clocks/monotonic-clock@0.1.0", ["WASI 0.2.0 and 0.3.0", "rebuild the guest"]),
        ("draft", "wasi:clocks/monotonic-clock@0.2.0-rc-2023-11-10", ["WASI 0.2.0 and 0.3.0", "rebuild the guest"]),
    ] {
        let file = files.wat(&format!("{name}.wasm"), &importing(interface, "add", ""));
        refused(&["run", "-i", "f", &file], 1, &[&[name, ".wasm"].concat(), says[0], says[1]]);
    }
    let near = files.wat("near.wasm", &importing("wasi:clocks/monotonic-clock@0.2.3", "nov", ""));
    refused(&["run", "-i", "f", &near], 1, &["did the guest mean wasi:clocks/monotonic-clock::now"]);
}

#[test]
fn what_cannot_serve() {
    let files = Files::new();
    let fetch = files.fetch();
    refused(&["serve", &fetch], 1, &["exports no `wasi:http/incoming-handler@0.2`", "wharf run"]);
    for (name, version) in [("later", "0.4.0"), ("none", "")] {
        let at = if version.is_empty() { String::new() } else { format!("@{version}") };
        let text = format!(
            r#"(module (memory (export "memory") 1)
                (func (export "wasi:http/incoming-handler{at}#handle") (param i32 i32)))"#
        );
        let file = files.wat(&format!("{name}.wasm"), &text);
        refused(&["serve", &file], 1, &["exports no `wasi:http/incoming-handler@0.2`"]);
    }
    let plain = files.wat("plain.wasm", &component("", ""));
    refused(&["serve", &plain], 1, &["exports no `wasi:http/incoming-handler@0.2`"]);
    let wasm = std::fs::read(&plain).unwrap();
    let cut = files.write("cut.wasm", &wasm[..wasm.len() / 2]);
    refused(&["serve", &cut], 1, &["cut.wasm", "truncated"]);
}

#[test]
fn what_is_not_an_address() {
    for option in ["--addr", "--shutdown-addr"] {
        for wrong in ["8080", "localhost:8080", "127.0.0.1", ""] {
            refused(&["serve", option, wrong, "x.wasm"], 2, &[option, "for example 127.0.0.1:8080 or [::1]:8080"]);
        }
    }
}

/// A paragraph of a help text goes on to the end of the line, wherever it was broken in the source.
#[test]
fn help_has_no_ragged_lines() {
    for command in [&["serve"][..], &["run"], &["compile"], &["cache", "list"]] {
        let help = end(&mut wharf(&[command, &["--help"]].concat())).out;
        let lines: Vec<&str> = help.lines().collect();
        for pair in lines.windows(2) {
            let (line, next) = (pair[0], pair[1]);
            let first = next.split(' ').next().unwrap_or_default();
            let goes_on = line.starts_with(char::is_alphabetic) && next.starts_with(char::is_alphabetic);
            // 100 columns are what a help text has where no terminal says otherwise.
            assert!(!goes_on || line.len() + 1 + first.len() > 100, "{command:?} breaks {line:?} before {next:?}");
        }
    }
}

#[test]
fn what_cannot_be_granted() {
    let files = Files::new();
    let guest = files.fetch();
    refused(&["run", "-a", "ftp://example.com", &guest], 2, &["byte 0", "ftp", "neither http nor https", "--help"]);
    refused(&["run", "-a", "example.com:0x50", &guest], 2, &["byte 12", "0x50", "not a port"]);
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

#[cfg(feature = "conformance")]
#[test]
fn reports_that_cannot_be_written() {
    let one = ["conformance", "--filter", "backend/memory/data-segments"];
    refused(&[&one[..], &["--report-dir", "/dev/null/x"]].concat(), 3, &["cannot write the report"]);
    refused(&["conformance", "--list", "--filter", "no such case"], 4, &["no case matches"]);
}
