//! From the options to a backend.

use wharf::core::{Backend, Kind};

use crate::args::{BackendArgs, Usage, WasmEdgeMode};

/// Makes the backend that `args` name.
pub(crate) fn make(args: &BackendArgs) -> anyhow::Result<Box<dyn Backend>> {
    match args.wasmedge_mode {
        None => named(&args.backend),
        Some(mode) if args.backend == "wasmedge" => in_mode(mode),
        Some(_) => {
            let message = format!("--wasmedge-mode is for the backend wasmedge, and the backend is {}", args.backend);
            Err(Usage(message).into())
        }
    }
}

/// Makes the backend of this name; one that is not there is a mistake in the command line.
pub(crate) fn named(name: &str) -> anyhow::Result<Box<dyn Backend>> {
    wharf::backend(name).map_err(|error| match error.kind() {
        Kind::Config | Kind::Unsupported => Usage(wharf::core::chain(&error)).into(),
        _ => error.into(),
    })
}

#[cfg(feature = "wasmedge")]
fn in_mode(mode: WasmEdgeMode) -> anyhow::Result<Box<dyn Backend>> {
    use wharf::wasmedge::{Mode, WasmEdge};

    let mode = match mode {
        WasmEdgeMode::Aot => Mode::Aot,
        WasmEdgeMode::Interpreter => Mode::Interpreter,
    };
    Ok(Box::new(WasmEdge::new(mode)?))
}

#[cfg(not(feature = "wasmedge"))]
fn in_mode(_: WasmEdgeMode) -> anyhow::Result<Box<dyn Backend>> {
    named("wasmedge")
}
