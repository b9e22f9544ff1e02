//! `wharf new`: what it writes builds and runs with the commands it prints, and what it refuses.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::served::{Served, client};
use crate::support::server::{GO, PATIENCE};
use crate::support::{Ended, Files, backends, end, wharf};
use wharf_conformance::component_of;
use wharf_conformance::origin::{Origin, Reply};

/// `wharf new` in the directory of this test.
fn new(files: &Files, args: &[&str]) -> Ended {
    end(wharf(&[&["new"], args].concat()).current_dir(files.path()))
}

/// The commands that it printed: how to build the project and how to run it.
fn commands(printed: &str) -> (String, String) {
    let indented = printed.lines().filter_map(|line| line.strip_prefix("    "));
    let lines: Vec<&str> = indented.filter(|line| !line.starts_with("cd ")).collect();
    let [build, run, ..] = lines[..] else { panic!("{printed}") };
    (build.to_owned(), run.to_owned())
}

/// Runs a printed command in a shell, as whoever reads it does.
fn shell(directory: &Path, command: &str) -> Ended {
    end(Command::new("bash").args(["-euc", command]).current_dir(directory).env_remove("CARGO_TARGET_DIR"))
}

#[test]
fn what_is_there_is_listed() {
    let files = Files::new();
    let listed = new(&files, &["--list"]);
    assert_eq!((listed.code, listed.err.as_str()), (Some(0), ""));
    for language in ["assemblyscript", "c", "go", "js", "python", "rust"] {
        assert!(listed.out.lines().any(|line| line.split_whitespace().next() == Some(language)), "{}", listed.out);
    }
    assert_eq!(listed.out.lines().filter(|line| line.contains("--wasi 0.3")).count(), 3, "{}", listed.out);
    for (line, number) in listed.out.lines().zip(0..) {
        let named: Vec<&str> = line.split("  ").next().unwrap().split_whitespace().collect();
        let written = new(&files, &[&["--lang"], &named[..], &[&format!("number-{number}")]].concat());
        assert_eq!((written.code, written.err.as_str()), (Some(0), ""), "{line}");
        let (_, run) = commands(&written.out);
        assert!(run.starts_with("wharf "), "{run}");
    }
}

#[test]
fn nothing_is_overwritten() {
    let files = Files::new();
    let taken = files.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("precious"), "text").unwrap();
    let refused = new(&files, &["--lang", "rust", "taken"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("`taken` is not empty"), "{}", refused.err);
    assert_eq!(fs::read_dir(&taken).unwrap().count(), 1);

    files.write("file", "text");
    let refused = new(&files, &["--lang", "rust", "file"]);
    assert_eq!(refused.code, Some(1));
    assert_eq!(fs::read_to_string(files.path().join("file")).unwrap(), "text");

    fs::create_dir(files.path().join("empty")).unwrap();
    assert_eq!(new(&files, &["--lang", "rust", "empty"]).code, Some(0));
    assert!(files.path().join("empty/Cargo.toml").exists());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let files = Files::new();
    for args in [
        &["--lang", "rust", "../up"][..],
        &["--lang", "rust", "Upper"],
        &["--lang", "rust", "fn"],
        &["--lang", "rust", ""],
        &["--lang", "rust"],
        &["--lang", "cobol", "name"],
        &["--lang", "rust", "--wasi", "0.4", "name"],
        &["name"],
        &["--list", "name"],
        &[],
    ] {
        let refused = new(&files, args);
        assert_eq!(refused.code, Some(2), "{args:?}: {refused:?}");
    }
    let refused = new(&files, &["--lang", "c", "--wasi", "0.3", "name"]);
    assert!(refused.code == Some(1) && refused.err.contains("there is one in js, python, rust"), "{refused:?}");
    let refused = new(&files, &["--lang", "rust", "name", "--sdk", "absent"]);
    assert!(refused.code == Some(1) && refused.err.contains("`absent`"), "{refused:?}");
    assert_eq!(fs::read_dir(files.path()).unwrap().count(), 0);
}

#[test]
#[ignore = "builds with the wasm toolchain and the package registry: ./check has both"]
fn a_project_in_rust_builds_tests_and_serves() {
    builds(&["rust"], |build| format!("cargo test --quiet >&2 && {}", toolchain(build)), serves);
}

#[test]
#[ignore = "builds with what setup/node.sh provides and the package registry: ./check has both"]
fn a_project_in_javascript_builds_and_serves() {
    // The suite has guests of componentize-js on every backend.
    builds(&["js"], npm, |project, run| serves_on(&["wasmtime"], project, run));
}

#[test]
#[ignore = "builds with what setup/node.sh provides and the package registry: ./check has both"]
fn a_project_in_assemblyscript_builds_and_fetches() {
    builds(&["assemblyscript"], npm, fetches);
}

#[test]
#[ignore = "builds with what setup/c.sh provides: ./check has it"]
fn a_project_in_c_builds_and_fetches() {
    let found = set_up("c.sh");
    let sysroot = "${WHARF_WASM_SYSROOT:+--sysroot=$WHARF_WASM_SYSROOT}";
    let around = |build: &str| format!("{found}\n{build} CC=\"$WHARF_WASM_CC\" SYSROOT=\"{sysroot}\"");
    builds(&["c"], around, fetches);
}

#[test]
#[ignore = "builds with what setup/go.sh provides: ./check has it"]
fn a_project_in_go_builds_tests_and_listens() {
    let found = set_up("go.sh");
    let around = |build: &str| format!("{found}\nPATH=$(dirname \"$WHARF_GO\"):$PATH\ngo test . >&2\n{build}");
    builds(&["go"], around, listens);
}

#[test]
#[ignore = "builds with the package registry: ./check has it"]
fn a_project_in_python_builds_and_serves() {
    // It sees to it that Python has venv.
    set_up("python.sh");
    // The suite has guests of componentize-py on every backend.
    builds(&["python"], str::to_owned, |project, run| serves_on(&["wasmer"], project, run));
}

#[test]
#[ignore = "builds with what setup/node.sh provides and the package registry: ./check has both"]
fn a_project_in_javascript_for_wasi_03_builds_and_serves() {
    builds(&["js", "--wasi", "0.3"], npm, serves);
}

#[test]
#[ignore = "builds with the package registry: ./check has it"]
fn a_project_in_python_for_wasi_03_builds_and_serves() {
    set_up("python.sh");
    // The suite has such a guest on every backend.
    builds(&["python", "--wasi", "0.3"], str::to_owned, |project, run| serves_on(&backends()[..1], project, run));
}

#[test]
#[ignore = "builds with the wasm toolchain and the package registry: ./check has both"]
fn a_project_in_rust_for_wasi_03_builds_tests_and_serves() {
    // The toolchains at hand have no target that makes components: what that adds is added here.
    let around = |build: &str| {
        let build = build.replace("wasm32-wasip2", "wasm32-wasip1");
        format!("cargo test --quiet >&2 && {}", toolchain(&build))
    };
    builds(&["rust", "--wasi", "0.3"], around, |project, run| {
        let guest = project.join(run.strip_prefix("wharf serve ").unwrap());
        let core = Path::new(&guest.to_str().unwrap().replace("wasm32-wasip2", "wasm32-wasip1")).to_owned();
        fs::create_dir_all(guest.parent().unwrap()).unwrap();
        fs::write(&guest, component_of(&fs::read(core).unwrap()).unwrap()).unwrap();
        serves(project, run);
    });
}

/// A new project builds with the printed command, within what the machine needs for it, and the other one runs it.
fn builds(language: &[&str], around: impl Fn(&str) -> String, runs: impl Fn(&Path, &str)) {
    let files = Files::new();
    let written = new(&files, &[&["--lang"], language, &["my-guest"]].concat());
    assert_eq!(written.code, Some(0), "{written:?}");
    let (build, run) = commands(&written.out);
    let project = files.path().join("my-guest");
    let built = shell(&project, &around(&build));
    assert_eq!(built.code, Some(0), "{built:?}");
    runs(&project, &run);
}

/// A command of npm. A Node that the set-up brings has its npm, but no program of that name.
fn npm(command: &str) -> String {
    let found = set_up("node.sh");
    let npm = r#"PATH=$(dirname "$WHARF_NODE"):$PATH
        npm_cli=$(dirname "$WHARF_NODE")/../lib/node_modules/npm/bin/npm-cli.js
        command -v npm >/dev/null || npm() { node "$npm_cli" "$@"; }"#;
    format!("{found}\n{npm}\n{command}")
}

/// A cargo command, with what makes up for a missing target in the toolchain where the set-up says so.
fn toolchain(command: &str) -> String {
    let found = set_up("wasm-toolchain.sh");
    let linker = Path::new(env!("CARGO_MANIFEST_DIR")).join("../setup/wasm-link.sh");
    format!(
        r#"{found}
        if [ -n "$WHARF_WASM_BUILD_STD" ]; then
            export RUSTC="$WHARF_WASM_RUSTC" RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_abort
            export CARGO_TARGET_WASM32_WASIP1_LINKER="{linker}"
            export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="-Clink-self-contained=no -Lnative=$WHARF_WASM_LIBC"
        fi
        {command}"#,
        linker = linker.display(),
    )
}

/// Runs a script of the set-up: the lines that say what it found.
fn set_up(script: &str) -> String {
    let found = end(&mut Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../setup").join(script)));
    assert_eq!(found.code, Some(0), "{found:?}");
    found.out
}

/// The printed `wharf serve` greets the same on every backend.
fn serves(project: &Path, run: &str) {
    serves_on(&backends(), project, run);
}

fn serves_on(backends: &[&str], project: &Path, run: &str) {
    let Some(guest) = run.strip_prefix("wharf serve ") else { panic!("{run}") };
    let guest = project.join(guest);
    for &backend in backends {
        // WasmEdge takes minutes to compile the engine of JavaScript, or Python's, that a component brings.
        let mode: &[&str] = if backend == "wasmedge" { &["--wasmedge-mode", "interpreter"] } else { &[] };
        let served = Served::start(&[mode, &["--backend", backend, guest.to_str().unwrap()]].concat());
        // The first request to a component that brings an interpreter takes long on a busy machine.
        let request = client().get(format!("{}/hello", served.base)).timeout(Duration::from_secs(600));
        let response = request.send().unwrap();
        assert_eq!(response.status(), 200, "{backend}");
        assert_eq!(response.text().unwrap(), "hello from /hello\n", "{backend}");
    }
}

/// The printed `wharf run`, with another origin, prints the same on every backend: what that answers is in it.
fn fetches(project: &Path, run: &str) {
    let origin = Origin::replying(Reply::ok("from the origin")).unwrap();
    let run = run.replace("https://example.com/", &origin.url("/")).replace("https://example.com", &origin.base());
    let args: Vec<&str> = run.split_whitespace().skip(2).collect();
    let printed = backends().into_iter().map(|backend| {
        let ended = end(wharf(&[&["run", "--quiet", "--backend", backend], &args[..]].concat()).current_dir(project));
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{backend}: {}", ended.out);
        assert!(ended.out.contains("from the origin"), "{backend}: {}", ended.out);
        ended.out
    });
    let printed: Vec<String> = printed.collect();
    assert!(printed.iter().all(|other| *other == printed[0]), "{printed:?}");
}

/// The printed `wharf run --tcplisten` greets the same on every backend.
fn listens(project: &Path, run: &str) {
    let run = run.replace(":8080", ":0");
    let args: Vec<&str> = run.split_whitespace().skip(2).collect();
    for backend in backends() {
        let mut command = wharf(&[&["run", "--backend", backend], &args[..]].concat());
        command.current_dir(project);
        let server = GO.start_as(command);
        let request = client().get(format!("http://{}/hello", server.address)).timeout(PATIENCE);
        let response = request.send().unwrap();
        assert_eq!(response.status(), 200, "{backend}");
        assert_eq!(response.text().unwrap(), "hello from /hello\n", "{backend}");
    }
}
