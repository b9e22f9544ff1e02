//! The suite on every backend that is compiled in.

use std::process::ExitCode;
use std::sync::Arc;

use wharf_conformance::{Exit, Subject};

fn main() -> ExitCode {
    let mut subjects = Vec::new();
    for name in wharf::backends() {
        match backend(name) {
            Ok(backend) => subjects.push(Subject::new(Arc::from(backend))),
            // If a backend that is compiled in does not start, testing only the others is not enough.
            Err(error) => {
                eprintln!("error: the backend {name} does not start: {}", wharf::core::chain(&error));
                return Exit::Harness.into();
            }
        }
    }
    // A transport knows nothing of engines, so that one is enough.
    #[cfg(feature = "reqwest")]
    if let Some(wasmtime) = subjects.iter().find(|subject| subject.name() == "wasmtime") {
        subjects.push(wasmtime.on_reqwest());
    }
    #[cfg(feature = "wasmtime-component")]
    match wasmtime_component() {
        Ok(subject) => subjects.push(subject),
        Err(error) => {
            eprintln!("error: wasmtime's own component host does not start: {}", wharf::core::chain(&error));
            return Exit::Harness.into();
        }
    }
    wharf_conformance::main(subjects)
}

/// The backend of this name. To optimise, as it does unless told otherwise, takes WasmEdge's compiler most of the suite's time,
/// and no commit changes that: it is done if the variable `WHARF_CONFORMANCE_OPTIMISE` is set.
fn backend(name: &str) -> wharf::core::Result<Box<dyn wharf::core::Backend>> {
    #[cfg(feature = "wasmedge")]
    if name == "wasmedge" && std::env::var_os("WHARF_CONFORMANCE_OPTIMISE").is_none() {
        use wharf::wasmedge::{Compiler, WasmEdge};
        return Ok(Box::new(WasmEdge::with_compiler(Compiler::in_process().baseline())?));
    }
    wharf::backend(name)
}

/// Wasmtime's own component model and `wasi:http`, which wharf's host is compared with: each difference is listed.
#[cfg(feature = "wasmtime-component")]
fn wasmtime_component() -> wharf::core::Result<Subject> {
    use wharf::core::{HostedGuest, LoadOptions};

    let host = wharf::wasmtime_component::WasmtimeComponents::new()?;
    let load = move |component: &[u8]| -> wharf::core::Result<Arc<dyn HostedGuest>> {
        Ok(Arc::new(host.load(component, &LoadOptions::default())?))
    };
    let subject = Subject::new(Arc::from(wharf::backend("wasmtime")?));
    Ok(subject
        .named(wharf_conformance::WASMTIME_COMPONENT)
        .only(["wasihttp/", "wasi03/", "serving/"])
        .components(Arc::new(load)))
}
