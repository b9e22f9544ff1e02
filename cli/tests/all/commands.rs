//! The commands besides `run`: what they print on good input.

use crate::support::served::component;
use crate::support::{Files, backends, end, wharf};

#[test]
fn demo_serves_and_asks_and_is_denied() {
    for backend in backends() {
        let ended = end(&mut wharf(&["demo", "--backend", backend]));
        assert_eq!(ended.code, Some(0), "{backend}: {ended:?}");
        for part in ["POST /greet HTTP/1.1", "200 OK", "Hello, wharf!", "the server saw nothing", "Wasi error 7"] {
            assert!(ended.out.contains(part), "{backend} should show {part:?}: {ended:?}");
        }
        for part in ["$ wharf serve", "hello from /wharf", "greeting /wharf", "HTTP/1.1 502", "HttpRequestDenied"] {
            assert!(ended.out.contains(part), "{backend} should show {part:?}: {ended:?}");
        }
        assert!(!ended.out.contains("Hello, !"), "{backend} greets nobody: {ended:?}");
    }
}

#[test]
fn backends_lists_what_is_compiled_in() {
    let ended = end(&mut wharf(&["backends", "--format", "json"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let list: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let there: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|backend| !backend["engine_version"].is_null())
        .map(|backend| backend["name"].as_str().unwrap())
        .collect();
    assert_eq!(there, backends(), "{}", ended.out);
}

#[test]
fn inspect_tells_what_a_guest_speaks() {
    let files = Files::new();
    let ended = end(&mut wharf(&["inspect", "--format", "json", &files.fetch()]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["abis"], serde_json::json!(["wasi_experimental_http", "wasi_snapshot_preview1"]));
    assert_eq!(report["runs"], true);
    assert_eq!(report["kind"], "command");

    let guest = files.wat(
        "odd.wasm",
        r#"(module (import "wasi_experimental_http" "req" (func (param i64))) (import "a" "b" (func)))"#,
    );
    let ended = end(&mut wharf(&["inspect", &guest]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("would refuse it") && ended.out.contains("a::b"), "{ended:?}");
}

/// A component that imports one function and exports another.
const COMPONENT: &str = r#"
(component
  (import "host:numbers/more@0.2.3" (instance $more (export "one" (func (result u32)))))
  (core func $one (canon lower (func $more "one")))
  (core module $m
    (import "" "one" (func $one (result i32)))
    (func (export "two") (result i32) (i32.add (call $one) (call $one))))
  (core instance $i (instantiate $m (with "" (instance (export "one" (func $one))))))
  (func (export "two") (result u32) (canon lift (core func $i "two"))))
"#;

#[test]
fn inspect_tells_what_a_component_imports_and_exports() {
    let files = Files::new();
    let component = files.wat("component.wasm", COMPONENT);
    let ended = end(&mut wharf(&["inspect", "--format", "json", &component]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["kind"], "component");
    assert_eq!(report["flattens"], true);
    assert_eq!(report["imports"], serde_json::json!({ "host:numbers/more@0.2.3": ["one"] }));
    assert_eq!(report["exports"], serde_json::json!({ "$root": ["two"] }));

    let asynchronous = files.wat("async.wasm", "(component (type error-context))");
    let ended = end(&mut wharf(&["inspect", &asynchronous]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("`error-context`"), "{ended:?}");
}

#[test]
fn inspect_tells_which_adapter_a_component_brings() {
    let files = Files::new();
    let path = files.write("component.wasm", component());
    let ended = end(&mut wharf(&["inspect", "--format", "json", &path]));
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let adapter = &report["adapter"];
    assert_eq!((&adapter["variant"], &adapter["kept"]), (&"proxy".into(), &serde_json::json!([])), "{ended:?}");
    assert!(adapter["left_out"].as_array().unwrap().contains(&"fd_write".into()), "{ended:?}");
    assert!(report["imports"]["wharf:preview1/proxy"].is_array(), "{ended:?}");
    let ended = end(&mut wharf(&["inspect", &path]));
    assert!(
        ended.out.contains("adapter for preview 1 of Wasmtime 48") && ended.out.contains("leaves it out"),
        "{ended:?}"
    );
}

#[test]
fn compile_keeps_an_adapter_when_asked() {
    let files = Files::new();
    let path = files.write("component.wasm", component());
    let out = files.wat("core.wasm", "(module)");
    let emitted = |flag: &[&str]| {
        let ended = end(&mut wharf(&[&["compile", "--emit", "core", &path, "-o", &out], flag].concat()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        std::fs::read(&out).unwrap()
    };
    let has = |module: &[u8], part: &str| module.windows(part.len()).any(|window| window == part.as_bytes());
    let (without, with) = (emitted(&[]), emitted(&["--keep-adapter"]));
    assert!(has(&without, "wharf:preview1/proxy") && !has(&with, "wharf:preview1/proxy"));
    assert!(!has(&without, "[method]output-stream.check-write") && with.len() > without.len());
}

#[test]
fn compile_writes_one_core_module() {
    let files = Files::new();
    let component = files.wat("component.wasm", COMPONENT);
    let out = files.wat("core.wasm", "(module)");
    let ended = end(&mut wharf(&["compile", "--emit", "core", &component, "-o", &out]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.is_empty(), "{ended:?}");
    let ended = end(&mut wharf(&["inspect", "--format", "json", &out]));
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["imports"][0]["module"], "host:numbers/more@0.2.3");
    assert_eq!(report["exports"][0]["name"], "two");

    let ended = end(&mut wharf(&["compile", &out, "-o", &component]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("flattened already"), "{ended:?}");
}

#[cfg(feature = "conformance")]
#[test]
fn conformance_lists_cases_one_a_line() {
    let ended = end(&mut wharf(&["conformance", "--list"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ids: Vec<&str> = ended.out.lines().collect();
    assert!(ids.len() >= 100, "{} cases", ids.len());
    assert!(ids.is_sorted());
    for id in ids {
        assert!(id.contains('/') && !id.contains(char::is_whitespace), "{id:?}");
    }
}

#[cfg(feature = "conformance")]
#[test]
fn conformance_writes_its_reports() {
    let files = Files::new();
    let directory = files.path().join("reports");
    let mut args = vec!["conformance", "--filter", "experimental/req/", "--report-dir", directory.to_str().unwrap()];
    for backend in backends() {
        args.extend(["--backend", backend]);
    }
    let ended = end(&mut wharf(&args));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.ends_with(" passed, 0 failed\n"), "{ended:?}");
    for name in ["conformance.json", "conformance.xml", "conformance.md", "conformance.html"] {
        let text = std::fs::read_to_string(directory.join(name)).unwrap();
        assert!(backends().iter().all(|backend| text.contains(backend)), "{name} names every backend");
    }
}

#[test]
fn completions_are_for_the_shell_asked_for() {
    for (shell, part) in [("bash", "_wharf()"), ("zsh", "#compdef wharf"), ("fish", "complete -c wharf")] {
        let ended = end(&mut wharf(&["completions", shell]));
        assert_eq!(ended.code, Some(0), "{shell}");
        assert!(ended.out.contains(part), "{shell}");
    }
}
