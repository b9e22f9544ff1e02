//! From the options to a backend.

#[cfg(feature = "wasmedge")]
use anyhow::Context;
use wharf::core::{Backend, Kind};

#[cfg(feature = "wasmedge")]
use crate::args::HELPER;
use crate::args::{BackendArgs, HelperArgs, Usage, WasmEdgeMode};
use crate::exit;

/// Makes the backend that `args` name.
pub(crate) fn make(args: &BackendArgs) -> anyhow::Result<Box<dyn Backend>> {
    match args.wasmedge_mode {
        None if args.backend == "wasmedge" => in_mode(WasmEdgeMode::Aot),
        None => named(&args.backend),
        Some(mode) if args.backend == "wasmedge" => in_mode(mode),
        Some(_) => {
            let message =
                format!("--wasmedge-mode is only for the backend wasmedge, but the backend is {}", args.backend);
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

    let backend = match mode {
        WasmEdgeMode::Aot => WasmEdge::with_compiler(compiler()?)?,
        WasmEdgeMode::Baseline => WasmEdge::with_compiler(compiler()?.baseline())?,
        WasmEdgeMode::Interpreter => WasmEdge::new(Mode::Interpreter)?,
    };
    Ok(Box::new(backend))
}

/// A process that runs this very program.
#[cfg(feature = "wasmedge")]
#[expect(unsafe_code, reason = "what the compiler writes is executed")]
fn compiler() -> anyhow::Result<wharf::wasmedge::Compiler> {
    let program = std::env::current_exe();
    let program = program.context("cannot find this program's own file, which runs WasmEdge's compiler")?;
    // SAFETY: the program is this one, which with this command does as `help` does, and whoever can exchange its file has
    // their code run as it is.
    let helper = unsafe { wharf::wasmedge::Helper::new(program, [HELPER]) };
    Ok(wharf::wasmedge::Compiler::process(helper))
}

#[cfg(not(feature = "wasmedge"))]
fn in_mode(_: WasmEdgeMode) -> anyhow::Result<Box<dyn Backend>> {
    named("wasmedge")
}

/// Compiles one module for the process of wharf's that started this one.
#[cfg(feature = "wasmedge")]
pub(crate) fn help(args: &HelperArgs) -> anyhow::Result<u8> {
    wharf::wasmedge::run_helper(args.rest.iter().cloned())?;
    Ok(exit::SUCCESS)
}

#[cfg(not(feature = "wasmedge"))]
pub(crate) fn help(_: &HelperArgs) -> anyhow::Result<u8> {
    named("wasmedge").map(|_| exit::SUCCESS)
}
