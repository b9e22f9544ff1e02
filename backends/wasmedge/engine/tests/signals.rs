//! Fault signals that belong to no guest, in a process of their own each: this test starts itself again.

#![cfg(unix)]

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libc::{SIG_DFL, SIG_IGN, SIGSEGV, c_int};
use wharf_wasmedge_engine::{Compiler, Native};

/// Tells the process that it is to do one of these, instead of testing.
const DOES: &str = "WHARF_TEST_SIGNAL";

/// No process takes this long to end: one that is still there goes on for ever.
const LIMIT: Duration = Duration::from_secs(60);

/// In a process that a test started to do something, does it, and ends the process.
fn do_as_told() {
    let Ok(does) = std::env::var(DOES) else { return };
    let (before, then) = does.split_once(' ').expect("what was done before, and what then");
    let before = if before == "ignored" { SIG_IGN } else { SIG_DFL };
    // SAFETY: neither is a handler.
    unsafe { libc::signal(SIGSEGV, before) };
    let _native = Native::new(Compiler::in_process()).expect("the engine");
    match then {
        // SAFETY: none: this is the access to memory that is not there which the tests are about.
        "faults" => unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) },
        // SAFETY: the signal is for this thread, whatever is done about it.
        "is sent" => assert_eq!(unsafe { libc::raise(SIGSEGV) }, 0),
        other => panic!("{other}"),
    }
    std::process::exit(0);
}

fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    let end = Instant::now() + LIMIT;
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status),
            None if Instant::now() > end => {
                child.kill()?;
                return child.wait();
            }
            None => sleep(Duration::from_millis(5)),
        }
    }
}

/// By which signal a process ends that does this; it is one that runs `test`, which begins with [`do_as_told`].
fn ends(test: &str, does: &str) -> Option<c_int> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", test])
        .env(DOES, does)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process");
    let status = wait(&mut child).expect("its end");
    assert!(status.signal().is_some() || status.success(), "{does}: {status}");
    status.signal()
}

#[test]
fn a_fault_ends_the_process_whatever_was_to_be_done_about_it() {
    do_as_told();
    let test = "a_fault_ends_the_process_whatever_was_to_be_done_about_it";
    for before in ["ignored", "default"] {
        assert_eq!(ends(test, &format!("{before} faults")), Some(SIGSEGV), "{before}");
    }
}

#[test]
fn what_a_process_sends_is_what_it_was_before() {
    do_as_told();
    let test = "what_a_process_sends_is_what_it_was_before";
    assert_eq!(ends(test, "default is sent"), Some(SIGSEGV));
    assert_eq!(ends(test, "ignored is sent"), None);
}
