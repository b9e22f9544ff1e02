//! Components that are composed of several, each with a memory and handles of its own, on every backend.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use crate::support::composed::{echo, pair, things};
use crate::support::{Files, backends, end, wharf};

#[test]
fn strings_cross_in_every_encoding() {
    let files = Files::new();
    const ENCODINGS: [&str; 3] = ["utf8", "utf16", "latin1+utf16"];
    // Plain, Latin-1, beyond it from the start and only in the end, beyond 16 bits, long, and nothing.
    let long = "wide \u{20ac} and \u{fc} ".repeat(100);
    let texts = ["plain", "gr\u{fc}n", "\u{20ac}uro", "gr\u{fc}n \u{20ac}", "\u{1f600}!", &long];
    for speaks in ENCODINGS {
        for hears in ENCODINGS {
            for text in texts {
                let file = files.wat("echo.wasm", &echo(speaks, hears, text));
                for backend in backends() {
                    let ended = end(&mut wharf(&["run", "--no-cache", "--backend", backend, &file]));
                    assert_eq!(ended.code, Some(0), "{backend}: {text:.9} from {speaks} to {hears}: {ended:?}");
                }
            }
        }
    }
}

/// A string that is none in its encoding ends the guest, and nothing else.
#[test]
fn a_string_that_is_none_is_a_trap() {
    let files = Files::new();
    let text = echo("utf8", "utf16", "plain").replace("\\70\\6c\\61\\69\\6e", "\\70\\ff\\61\\69\\6e");
    let file = files.wat("bad.wasm", &text);
    for backend in backends() {
        let ended = end(&mut wharf(&["run", "--backend", backend, &file]));
        assert_eq!(ended.code, Some(134), "{backend}: {ended:?}");
        assert!(ended.err.contains("not UTF-8"), "{backend}: {ended:?}");
    }
}

/// What an adapter between components stops a guest for is told in words.
#[test]
fn what_an_adapter_refuses_is_said() {
    let files = Files::new();
    let (good, utf16) = (echo("utf8", "utf16", "plain"), echo("utf16", "utf8", "plain"));
    let call = "(call $echo (i32.const 64) (i32.const 5) (i32.const 8))";
    for (component, text, says) in [
        (&good, call.replace("i32.const 64", "i32.const 65535"), "a string that is not within its memory"),
        (&utf16, call.replace("i32.const 64", "i32.const 65"), "a pointer that is not aligned"),
    ] {
        assert!(component.contains(call), "{component}");
        let file = files.wat("refused.wasm", &component.replace(call, &text));
        for backend in backends() {
            let ended = end(&mut wharf(&["run", "--no-cache", "--backend", backend, &file]));
            assert_eq!(ended.code, Some(134), "{backend}: {ended:?}");
            assert!(ended.err.contains(&format!("it passed {says}")), "{backend}: {ended:?}");
        }
    }
}

#[test]
fn resources_cross_and_end() {
    let files = Files::new();
    let steps = r#"
        (local.set $a (call $make (i32.const 5)))
        (local.set $b (call $make (i32.const 70)))
        (call $must (call $read (local.get $a)) (i32.const 5))
        (call $must (call $read (local.get $b)) (i32.const 70))
        (call $must (call $read (local.get $a)) (i32.const 5))
        (call $must (call $ended) (i32.const 0))
        (call $drop (local.get $a))
        (call $must (call $ended) (i32.const 5))
        (call $must (call $eat (local.get $b)) (i32.const 70))
        (call $must (call $ended) (i32.const 75))"#;
    let file = files.wat("things.wasm", &things(steps));
    for backend in backends() {
        let ended = end(&mut wharf(&["run", "--backend", backend, &file]));
        assert_eq!(ended.code, Some(0), "{backend}: {ended:?}");
    }
}

#[test]
fn handles_that_are_none_are_traps() {
    let files = Files::new();
    for (steps, says) in [
        ("(drop (call $read (i32.const 7)))", "7 is not an open handle"),
        ("(call $drop (i32.const 0))", "0 is not an open handle"),
        (
            "(local.set $a (call $make (i32.const 1))) (call $drop (local.get $a)) (call $drop (local.get $a))",
            "not an open handle",
        ),
        (
            "(local.set $a (call $make (i32.const 1))) (drop (call $eat (local.get $a))) (drop (call $read (local.get $a)))",
            "not an open handle",
        ),
        ("(loop (drop (call $make (i32.const 1))) (br 0))", "the most they may have"),
    ] {
        let file = files.wat("things.wasm", &things(steps));
        for backend in backends() {
            let ended = end(&mut wharf(&["run", "--no-cache", "--backend", backend, &file]));
            assert!(matches!(ended.code, Some(134 | 1)), "{backend}: {steps}: {ended:?}");
            assert!(ended.err.contains(says), "{backend}: {steps}: {ended:?}");
        }
    }
}

/// A destructor that drops the next of a chain of things, whose destructor does so as well. Each has a frame of the host
/// between it and the next, and all of them together no more stack than there is.
#[test]
fn destructors_nest_no_deeper_than_the_stack() {
    let files = Files::new();
    let chain = |count: u32| {
        format!(
            r#"(component
            (core module $late
                (table (export "t") 1 1 funcref)
                (type $f (func (param i32)))
                (func (export "end") (param i32) (call_indirect (type $f) (local.get 0) (i32.const 0))))
            (core instance $late (instantiate $late))
            (type $r (resource (rep i32) (dtor (core func $late "end"))))
            (core func $new (canon resource.new $r))
            (core func $drop (canon resource.drop $r))
            (core module $m
                (import "" "new" (func $new (param i32) (result i32)))
                (import "" "drop" (func $drop (param i32)))
                (import "late" "t" (table 1 1 funcref))
                (elem (i32.const 0) func $end)
                (func $end (param i32) (if (local.get 0) (then (call $drop (local.get 0)))))
                (func (export "run") (result i32) (local $last i32) (local $count i32)
                    (loop $next
                        (local.set $last (call $new (local.get $last)))
                        (local.set $count (i32.add (local.get $count) (i32.const 1)))
                        (br_if $next (i32.lt_u (local.get $count) (i32.const {count}))))
                    (call $drop (local.get $last))
                    (i32.const 0)))
            (core instance $i (instantiate $m (with "late" (instance $late)) (with "" (instance
                (export "new" (func $new)) (export "drop" (func $drop))))))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $command (export "run" (func $run)))
            (export "wasi:cli/run@0.2.3" (instance $command)))"#
        )
    };
    let [short, long] = [50, 20_000].map(|count| files.wat(&format!("chain-{count}.wasm"), &chain(count)));
    for backend in backends() {
        let ended = end(&mut wharf(&["run", "--backend", backend, &short]));
        assert_eq!(ended.code, Some(0), "{backend}: {ended:?}");
        let ended = end(&mut wharf(&["run", "--backend", backend, &long]));
        assert_eq!(ended.code, Some(134), "{backend}: {ended:?}");
        assert!(ended.err.contains("its call stack is exhausted"), "{backend}: {ended:?}");
    }
}

#[test]
fn a_middleware_and_a_handler_serve() {
    let files = Files::new();
    let pair = files.wat("pair.wasm", &pair());
    // An error says that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build().unwrap();
    for backend in backends() {
        let mut served = wharf(&["serve", "--addr", "127.0.0.1:0", "--backend", backend, &pair])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut err = BufReader::new(served.stderr.take().expect("it is piped"));
        let mut printed = String::new();
        let base = loop {
            let start = printed.len();
            assert!(err.read_line(&mut printed).expect("a line") > 0, "{backend}: {printed}");
            if let Some(base) = printed[start..].trim().strip_prefix("serving on ") {
                break base.to_owned();
            }
        };
        let seen: Vec<u16> = ["/", "/deny", "/ab", "/deny", "/allowed"]
            .iter()
            .map(|path| client.get(format!("{base}{path}")).send().unwrap().status().as_u16())
            .collect();
        served.kill().unwrap();
        served.wait().unwrap();
        assert_eq!(seen, [201, 403, 203, 403, 208], "{backend}");
    }
}
