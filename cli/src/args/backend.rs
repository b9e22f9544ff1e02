//! Which engine, and how.

use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;

/// Which backend runs the guest. The name is checked by the facade crate, which knows what is compiled in.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Backend")]
pub(crate) struct BackendArgs {
    /// The backend that runs the guest: wasmtime, wasmer or wasmedge
    #[arg(long, value_name = "NAME", env = "WHARF_BACKEND", default_value = wharf::DEFAULT)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) backend: String,

    /// How WasmEdge runs code; not accepted with the other backends
    #[arg(long, value_name = "MODE", value_enum)]
    pub(crate) wasmedge_mode: Option<WasmEdgeMode>,
}

/// Which host a component runs on.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Backend")]
pub(crate) struct HostArgs {
    /// Which host runs a component [default: wharf's own, or wasmtime's for what of WASI 0.3 that one lacks]
    #[arg(long, value_name = "HOST", value_enum)]
    pub(crate) component_host: Option<ComponentHost>,

    /// Run a component's adapter for WASI preview 1 even if it is a published one, which wharf otherwise does the work of
    /// itself; slower
    #[arg(long)]
    pub(crate) keep_adapter: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComponentHost {
    /// Wharf's own, the same on every backend
    Core,
    /// Wasmtime's own component model, with WASI 0.2 and 0.3; for the backend wasmtime only
    #[value(name = "wasmtime-component", alias = "native")]
    Wasmtime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WasmEdgeMode {
    /// Compile ahead of time: fast code, slow first start
    Aot,
    /// Compile ahead of time without optimising: slower code, a first start that takes a fraction
    Baseline,
    /// Interpret: slow code, starts at once
    Interpreter,
}

/// The hidden command that is WasmEdge's compiler, in a process of its own.
pub(crate) const HELPER: &str = "wasmedge-compile";

/// What one process of wharf passes to another.
#[derive(Debug, clap::Args)]
pub(crate) struct HelperArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub(crate) rest: Vec<std::ffi::OsString>,
}
