//! The command, with servers that take no time to start.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const BENCH: &str = env!("CARGO_BIN_EXE_wharf-bench");

/// A server that does nothing with its guest.
const NATIVE: &str = r#"sh -c 'exec "$BENCH" --native "$1"' sh {addr} {guest}"#;

/// A server that finds fault with every request.
const FAILING: &str = r#"python3 -c '
import http.server, sys
class Failing(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(500)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Failing).serve_forever()
' {port} {guest}"#;

/// Runs the command in a directory, with as little as possible to measure, so many times.
fn bench(directory: &Path, pairs: &str, args: &[&str]) -> Output {
    let wharf = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wharf.sh");
    let short = ["--seconds", "0.05", "--connections", "2", "--pairs", pairs, "--wharf", wharf];
    let output = ["--output", "results", "--record", "RESULTS.md"];
    let mut command = Command::new(BENCH);
    command.args(short).args(output).args(args).current_dir(directory).env("BENCH", BENCH);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A directory with a guest: any file will do for servers that do not read it.
fn with_guest() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("guest.wasm"), "").unwrap();
    directory
}

#[test]
fn without_a_wharf_it_says_how_to_get_one() {
    let output = Command::new(BENCH).args(["--wharf", "/nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("there is no `/nowhere`") && said.contains("cargo build --release"), "{said}");
}

#[test]
fn it_compares_in_pairs_and_records_what_it_found() {
    let directory = with_guest();
    let peer = format!("mine={NATIVE}");
    let reusing = format!("again={NATIVE}");
    let args =
        ["--peer", &peer, "--reusing-peer", &reusing, "--guest", "it=guest.wasm", "--only", "throughput,latency"];
    let output = bench(directory.path(), "3", &args);
    assert!(output.status.success(), "{}", said(&output));
    let recorded = fs::read_to_string(directory.path().join("RESULTS.md")).unwrap();
    for part in [
        "--seconds 0.05 --connections 2",
        "| wharf | wharf of the tests |",
        "| it | requests a second | wharf one | mine |",
        "| it | requests a second | wharf one, reused | wharf one |",
        "| it | p99.9, us at ",
    ] {
        assert!(recorded.contains(part), "{part} in {recorded}");
    }
    // No target is about this guest, and those of others were not asked for.
    assert!(!recorded.contains("## Targets"), "{recorded}");
    let (_, table) = recorded.split_once("## Throughput").unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains(table), "{recorded}");
    let json = fs::read_to_string(directory.path().join("results/bench.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let rows = json["rows"].as_array().unwrap();
    // Two throughputs, and five percentiles.
    assert_eq!(rows.len(), 7, "{json}");
    for row in rows {
        let ratio = |name: &str| row["ratio"][name].as_f64().unwrap();
        assert_eq!(row["measured"].as_array().unwrap().len(), 3, "{row}");
        assert!(0.0 < ratio("least") && ratio("least") <= ratio("median") && ratio("median") <= ratio("most"), "{row}");
    }
    assert!(fs::read_to_string(directory.path().join("results/bench.svg")).unwrap().contains("it: wharf one / mine"));
}

#[test]
fn it_measures_memory_and_starts() {
    let directory = with_guest();
    let peer = format!("mine={NATIVE}");
    // Memory is compared with the guest of this name only, whatever it is.
    let args = ["--peer", &peer, "--guest", "hello=guest.wasm", "--only", "resident,first start"];
    let output = bench(directory.path(), "1", &args);
    assert!(output.status.success(), "{}", said(&output));
    let recorded = fs::read_to_string(directory.path().join("RESULTS.md")).unwrap();
    for part in ["peak under load, MiB", "1,000 idle connections, MiB", "to the first answer, ms", "processor time, ms"]
    {
        assert!(recorded.contains(&format!("| hello | {part} | wharf one | mine |")), "{part} in {recorded}");
    }
}

#[test]
fn a_peer_that_fails_is_named_and_the_others_are_measured() {
    let directory = with_guest();
    let peers = [
        format!("failing={FAILING}"),
        "ending=sh -c 'echo it has no licence >&2; exit 4' {addr} {guest}".to_owned(),
        format!("mine={NATIVE}"),
    ];
    let mut args = vec!["--guest", "it=guest.wasm", "--only", "throughput"];
    args.extend(peers.iter().flat_map(|peer| ["--peer", peer]));
    let output = bench(directory.path(), "3", &args);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let recorded = fs::read_to_string(directory.path().join("RESULTS.md")).unwrap();
    for (peer, reason) in [("failing", "it answers with status 500"), ("ending", "it has no licence")] {
        let line = recorded.lines().find(|line| line.starts_with(&format!("| throughput it: wharf one / {peer} |")));
        let line = line.unwrap_or_else(|| panic!("{peer} in {recorded}"));
        assert!(line.contains(&format!("{peer} does not serve")) && line.contains(reason), "{line}");
    }
    assert!(recorded.contains("| it | requests a second | wharf one | mine |"), "{recorded}");
    assert!(said(&output).contains("2 measurements failed"), "{}", said(&output));
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let directory = with_guest();
    for (args, reason) in [
        (["--peer", "mine=sh {guest}"], "neither {addr} nor {port}"),
        (["--peer", "wasmtime=/nowhere"], "there is no program `/nowhere`"),
        (["--only", "thruput"], "nothing that could be measured is called thruput"),
        (["--guest", "ruby"], "there is no guest `ruby`"),
        (["--guest", "it=nowhere.wasm"], "nowhere.wasm"),
    ] {
        let output = bench(directory.path(), "3", &args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(said(&output).contains(reason), "{args:?}: {}", said(&output));
        assert!(!directory.path().join("RESULTS.md").exists());
    }
}

#[test]
fn a_guest_that_is_not_built_says_how_to_build_it() {
    let directory = tempfile::tempdir().unwrap();
    let wharf = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wharf.sh");
    let mut command = Command::new(BENCH);
    command.args(["--wharf", wharf, "--guest", "js"]).current_dir(directory.path()).env("BENCH", BENCH);
    let output = command.env_remove("WHARF_GUESTS_DIR").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("`http-js` is not committed: build it with `setup/build-guests.sh"),
        "{}",
        said(&output)
    );
}
