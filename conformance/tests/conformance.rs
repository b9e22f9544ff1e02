//! The suite on every backend that is compiled in.

use std::process::ExitCode;
use std::sync::Arc;

use wharf_conformance::Subject;

fn main() -> ExitCode {
    wharf_conformance::main([Subject::new(Arc::new(wharf::wasmtime::Wasmtime::new().unwrap()))])
}
