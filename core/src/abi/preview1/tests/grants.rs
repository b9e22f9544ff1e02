//! What a configuration says of itself, to a host other than wharf's own.

use bytes::Bytes;

use super::*;
use crate::grants::{Capture, Input, MAX_STRINGS, Output};

#[test]
fn grants_are_listed() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let config = WasiConfig::new().args(["a", "b"]).unwrap().env("K", "v=w").unwrap().env("E", "").unwrap();
    let config = config.preopen(dirs[0].path(), "/a").unwrap().preopen_read_only(dirs[1].path(), "/b").unwrap();
    let granted = config.granted();
    assert_eq!(*granted.args, ["a", "b"]);
    assert_eq!(granted.variables().collect::<Vec<_>>(), [("K", "v=w"), ("E", "")]);
    let directories = granted.directories.iter().map(|dir| (&*dir.host, &*dir.guest, dir.writable)).collect::<Vec<_>>();
    assert_eq!(directories, [(dirs[0].path(), "/a", true), (dirs[1].path(), "/b", false)]);
}

#[test]
fn streams_are_opened_as_they_were_granted() {
    let (out, err) = (Capture::new(100), Capture::new(100));
    let config = WasiConfig::new().stdin(Input::Bytes(Bytes::from_static(b"abc")));
    let config = config.stdout(Output::Capture(out.clone())).stderr(Output::Capture(err.clone()));
    let stdin = config.open_stdin();
    let run = Run::default();
    run.wait(stdin.ready()).unwrap().unwrap();
    assert_eq!(stdin.take(2).unwrap().unwrap(), "ab");
    assert_eq!(stdin.clone().take(2).unwrap().unwrap(), "c", "clones read the same stream");
    assert_eq!(stdin.take(2).unwrap().unwrap(), "", "the end");
    run.wait(config.open_stdout().write(Bytes::from_static(b"to out"))).unwrap().unwrap();
    run.wait(config.open_stderr().write(Bytes::from_static(b"to err"))).unwrap().unwrap();
    assert_eq!((out.contents(), err.contents()), (b"to out".to_vec(), b"to err".to_vec()));
    assert!(!stdin.is_terminal() && !config.open_stdout().is_terminal() && !config.open_stderr().is_terminal());
}

#[test]
fn input_that_has_yet_to_come_is_asked_for() {
    let (receiver, mut sender) = std::io::pipe().unwrap();
    let stdin = WasiConfig::new().stdin(Input::reader(receiver)).open_stdin();
    assert_eq!(stdin.take(9).unwrap(), None);
    std::io::Write::write_all(&mut sender, b"late").unwrap();
    let run = Run::default();
    run.wait(stdin.ready()).unwrap().unwrap();
    assert_eq!(stdin.take(9).unwrap().unwrap(), "late");
    drop(sender);
    run.wait(stdin.ready()).unwrap().unwrap();
    assert_eq!(stdin.take(9).unwrap().unwrap(), "");
}

#[test]
fn captured_output_is_kept_up_to_its_limit_and_the_rest_counted() {
    let capture = Capture::new(5);
    let stdout = WasiConfig::new().stdout(Output::Capture(capture.clone())).open_stdout();
    for (text, kept, dropped) in [("abc", "abc", 0), ("de", "abcde", 0), ("fgh", "abcde", 3), ("i", "abcde", 4)] {
        Run::default().wait(stdout.write(Bytes::from_static(text.as_bytes()))).unwrap().unwrap();
        assert_eq!((capture.contents(), capture.dropped()), (kept.as_bytes().to_vec(), dropped), "{text}");
    }
}

#[test]
fn arguments_and_environment_have_a_size_in_all() {
    // Each takes a terminator beside its bytes.
    let text = |len: usize| "x".repeat(len);
    let most = MAX_STRINGS - 1;
    assert!(WasiConfig::new().arg(text(most)).is_ok());
    assert!(WasiConfig::new().arg(text(most + 1)).is_err());
    assert!(WasiConfig::new().arg(text(most - 1)).unwrap().arg("").is_ok());
    assert!(WasiConfig::new().arg(text(most)).unwrap().arg("").is_err());
    // As does the sign between a name and its value.
    assert!(WasiConfig::new().env("K", text(most - 2)).is_ok());
    assert!(WasiConfig::new().env("K", text(most - 1)).is_err());
    let half = WasiConfig::new().env("K", text(most / 2)).unwrap();
    assert!(half.clone().env("L", text(most / 2)).is_err());
    assert!(half.env("K", text(most - 2)).is_ok(), "what is set again takes the place of what was there");
}

#[test]
fn what_no_string_can_have() {
    for name in ["", "a=b", "a\0b"] {
        assert!(WasiConfig::new().env(name, "v").is_err(), "{name:?}");
    }
    assert!(WasiConfig::new().env("K", "a\0").is_err() && WasiConfig::new().env("K", "=").is_ok());
    let error = WasiConfig::new().arg("fine").unwrap().arg("a\0b").unwrap_err().to_string();
    assert!(error.contains("argument 1") && error.contains("offset 1"), "{error}");
}
