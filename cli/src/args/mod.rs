//! The command line: every option, its default and its help.

mod backend;
mod cache;
#[cfg(feature = "conformance")]
mod conformance;
mod global;
mod image;
#[cfg(all(test, feature = "conformance", feature = "wasmtime-component", feature = "wasmer", feature = "wasmedge"))]
mod reference;
mod run;
mod serve;
mod usage;
mod values;

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use self::backend::{BackendArgs, ComponentHost, HELPER, HelperArgs, HostArgs, WasmEdgeMode};
pub(crate) use self::cache::{CacheArgs, CacheCommand, CacheCommandArgs, CacheDirArgs, CacheListArgs, CacheSizeArgs};
#[cfg(feature = "conformance")]
pub(crate) use self::conformance::ConformanceArgs;
#[cfg(test)]
pub(crate) use self::global::Color;
pub(crate) use self::global::{GlobalArgs, LogFormat};
pub(crate) use self::image::{ContentArgs, ImageArgs, PackageArgs, PullArgs, PushArgs, RegistryArgs, ShapeArg};
pub(crate) use self::run::{GuestArgs, LimitArgs, LoadArgs, OutboundArgs, RunArgs, SocketArgs};
pub(crate) use self::serve::ServeArgs;
pub(crate) use self::usage::{Usage, one_line};
pub(crate) use self::values::{DirGrant, EnvEntry, FileGrant, project_name};
use crate::templates::{self, Wasi};

/// HTTP for WebAssembly guests, the same on every engine.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a guest, granting it what the options name and nothing else
    Run(Box<RunArgs>),
    /// Serve HTTP with a guest, with an instance for each request
    Serve(Box<ServeArgs>),
    /// Show a guest fetching from a local server, and being denied without the option that allows it
    Demo(DemoArgs),
    /// List the backends: engine version and capabilities
    Backends(BackendsArgs),
    /// Show which ABIs or interfaces a guest uses, what it imports, and what would prevent it from running
    Inspect(InspectArgs),
    /// Turn a component into one core module, for engines without component support; or fill the cache
    Compile(Box<CompileArgs>),
    /// Pack a guest as an image that containerd, Docker or wkg takes
    Package(Box<PackageArgs>),
    /// Pack a guest as an image, and push it to a registry
    Push(Box<PushArgs>),
    /// Pull the guest of an image in a registry
    Pull(Box<PullArgs>),
    /// List or remove cached code
    Cache(CacheCommandArgs),
    /// Run the conformance suite
    #[cfg(feature = "conformance")]
    Conformance(ConformanceArgs),
    /// Create a project for a new guest
    New(NewArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Compile one module for WasmEdge; wharf starts itself with it, it is not meant for users
    #[command(name = HELPER, hide = true, disable_help_flag = true)]
    WasmEdgeCompile(HelperArgs),
}

impl Command {
    /// Whether what its guests do wrong is its own to tell.
    pub(crate) fn tells_of_guests(&self) -> bool {
        #[cfg(feature = "conformance")]
        if matches!(self, Command::Conformance(_)) {
            return true;
        }
        false
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BackendsArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// A WebAssembly module or component, or an image that has one (`oci://HOST/REPOSITORY:TAG`)
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) images: ImageArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompileArgs {
    /// A WebAssembly component, or an image that has one (`oci://HOST/REPOSITORY:TAG`); with --emit cache, also a module
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The file to write the core module to; not with --emit cache
    #[arg(short, long = "output", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    /// What to produce
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Emit::Core)]
    pub(crate) emit: Emit,
    /// Keep the names of functions, for backtraces
    #[arg(long)]
    pub(crate) names: bool,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    #[command(flatten)]
    pub(crate) images: ImageArgs,
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Emit {
    /// One core module whose imports are host functions, with a custom section that explains them
    Core,
    /// The core module and the backend's code, in the cache: the guest then starts at once with the same backend
    Cache,
}

#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// The language to write the guest in
    #[arg(long, value_name = "LANGUAGE", value_parser = PossibleValuesParser::new(templates::languages(Wasi::Preview2)))]
    #[arg(required_unless_present = "list")]
    pub(crate) lang: Option<String>,
    /// The name of the project and its directory: lower-case letters, digits and dashes
    #[arg(value_name = "NAME", required_unless_present = "list", value_parser = project_name)]
    pub(crate) name: Option<String>,
    /// The release of WASI to write it for; 0.3 is there in `js`, `python` and `rust`
    #[arg(long, value_name = "RELEASE", value_enum, default_value = "0.2")]
    pub(crate) wasi: Wasi,
    /// Use the SDK in this directory, instead of a copy in the project
    #[arg(long, value_name = "DIRECTORY", value_hint = clap::ValueHint::DirPath)]
    pub(crate) sdk: Option<PathBuf>,
    /// List the languages
    #[arg(long, conflicts_with_all = ["lang", "name", "wasi", "sdk"])]
    pub(crate) list: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// How the result is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Human,
    /// For programs
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
