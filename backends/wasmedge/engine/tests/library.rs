//! When WasmEdge's library is opened, and what happens without it, in a process of its own each: this test starts itself
//! again, or a copy of itself that looks for a library that is not there.

#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Barrier;
use std::thread;

use wasmedge_sys::ffi;
use wharf_wasmedge_engine::{Compiler, Error, Failure, Interpreter, Native, code, version};

/// Tells the process that it is to do something, instead of testing.
const DOES: &str = "WHARF_TEST_LIBRARY";

/// The library, and what a copy looks for in its place.
const NAMES: [&str; 2] = ["libwasmedge.so.0", concat!("libwasmedge", ".so.N")];

/// Whether this process has mapped the library.
fn is_mapped() -> bool {
    fs::read_to_string("/proc/self/maps").expect("it is there").contains("/libwasmedge.so")
}

/// In a process that a test started to do something, does it, and ends the process.
fn do_as_told() {
    let Ok(does) = std::env::var(DOES) else { return };
    assert!(!is_mapped(), "nothing has used the library");
    match does.as_str() {
        // SAFETY: the functions take and return values.
        "floats" => unsafe { assert_eq!(ffi::WasmEdge_ValueGetF64(ffi::WasmEdge_ValueGenF64(1.5)), 1.5) },
        // SAFETY: the arrays are as long as is said; the type is valid until it is deleted.
        "pointers" => unsafe {
            let [first, second] = [ffi::WasmEdge_ValType { Data: [1; 8] }, ffi::WasmEdge_ValType { Data: [2; 8] }];
            let (parameters, results) = ([first, first, second], [second, first]);
            let ty = ffi::WasmEdge_FunctionTypeCreate(parameters.as_ptr(), 3, results.as_ptr(), 2);
            assert_eq!(ffi::WasmEdge_FunctionTypeGetParametersLength(ty), 3);
            assert_eq!(ffi::WasmEdge_FunctionTypeGetReturnsLength(ty), 2);
            let mut got = [first; 2];
            ffi::WasmEdge_FunctionTypeGetReturns(ty, got.as_mut_ptr(), 2);
            assert_eq!(got.map(|ty| ty.Data), results.map(|ty| ty.Data));
            ffi::WasmEdge_FunctionTypeDelete(ty);
        },
        "threads" => {
            let together = Barrier::new(8);
            thread::scope(|scope| {
                let start = || {
                    together.wait();
                    // SAFETY: the function returns a number.
                    unsafe { ffi::WasmEdge_VersionGetMinor() }
                };
                let threads = [(); 8].map(|()| scope.spawn(start));
                assert_eq!(threads.map(|thread| thread.join().expect("a number")), [17; 8]);
            });
        }
        "interprets" => drop(Interpreter::new().expect("the engine")),
        "lacks it" => {
            let results = [Native::new(Compiler::in_process()).err(), Interpreter::new().err(), version().err()];
            for error in results {
                let error = error.expect("no engine without its library");
                assert!(matches!(error, Error::NoLibrary { .. }), "{error:?}");
                assert!(error.to_string().contains(NAMES[1]), "{error}");
            }
            assert_eq!(Failure(code::UNREACHABLE).to_string(), format!("code {:#x}", code::UNREACHABLE));
            std::process::exit(0);
        }
        other => panic!("{other}"),
    }
    assert!(is_mapped(), "the library was used");
    std::process::exit(0);
}

/// What comes of `program`, this test or a copy, when it does something; it is run as `test`, which begins with
/// [`do_as_told`].
fn run(program: &Path, test: &str, does: &str) -> Output {
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture"]).env(DOES, does);
    command.output().expect("a process")
}

fn assert_does(program: &Path, test: &str, does: &str) {
    let output = run(program, test, does);
    assert!(output.status.success(), "{does}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn whoever_uses_the_library_first_opens_it() {
    do_as_told();
    let program = std::env::current_exe().expect("this test");
    for does in ["floats", "pointers", "threads", "interprets"] {
        assert_does(&program, "whoever_uses_the_library_first_opens_it", does);
    }
}

/// Writes a copy of this test into a directory that looks for a library that is not there.
fn copy(directory: &Path) -> std::path::PathBuf {
    let mut program = fs::read(std::env::current_exe().expect("this test")).expect("it can be read");
    let [name, other] = NAMES.map(str::as_bytes);
    let found: Vec<_> = program.windows(name.len()).enumerate().filter(|(_, bytes)| *bytes == name).collect();
    let found: Vec<_> = found.into_iter().map(|(at, _)| at).collect();
    assert!(!found.is_empty());
    for at in found {
        program[at..at + other.len()].copy_from_slice(other);
    }
    let path = directory.join("copy");
    fs::write(&path, program).expect("the copy");
    File::open(&path).and_then(|file| file.set_permissions(Permissions::from_mode(0o755))).expect("its mode");
    path
}

#[test]
fn a_process_without_the_library_has_an_error_and_goes_on() {
    do_as_told();
    let directory = tempfile::tempdir().expect("a directory");
    let copy = copy(directory.path());
    assert_does(&copy, "a_process_without_the_library_has_an_error_and_goes_on", "lacks it");
}

#[test]
fn a_process_that_calls_a_library_that_is_not_there_ends_with_a_message() {
    do_as_told();
    let directory = tempfile::tempdir().expect("a directory");
    let test = "a_process_that_calls_a_library_that_is_not_there_ends_with_a_message";
    let output = run(&copy(directory.path()), test, "floats");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{}", output.status);
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = format!("a function of WasmEdge was called, but the library `{}` cannot be opened", NAMES[1]);
    assert!(said.contains(&expected), "{said}");
}
