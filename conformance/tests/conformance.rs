//! The suite on every backend that is compiled in.

use std::process::ExitCode;
use std::sync::Arc;

use wharf_conformance::{Exit, Subject};

fn main() -> ExitCode {
    let mut subjects = Vec::new();
    for name in wharf::backends() {
        match wharf::backend(name) {
            Ok(backend) => subjects.push(Subject::new(Arc::from(backend))),
            // A backend that is compiled in and does not start is no reason to test the others only.
            Err(error) => {
                eprintln!("error: the backend {name} does not start: {}", wharf::core::chain(&error));
                return Exit::Harness.into();
            }
        }
    }
    wharf_conformance::main(subjects)
}
