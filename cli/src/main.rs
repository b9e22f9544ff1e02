//! The command `wharf`.
//!
//! Parses the command line, dispatches to one module a command, and turns what comes back into an exit code and at
//! most one line of error. All that a guest may do is decided in `wharf_core`; here flags become its configuration.

#![deny(unsafe_code)]

mod args;
mod backend;
mod commands;
mod console;
mod descriptors;
mod exit;
mod logging;
mod memory;
mod output;
mod progress;
mod signals;
mod templates;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command, one_line};
use crate::console::Console;

fn main() -> ExitCode {
    exit::report_panics();
    signals::outlive_large_files();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && !is_help(&error) => {
            output::error(&format!("{}; see --help", one_line(&error)));
            return ExitCode::from(exit::USAGE);
        }
        Err(help) => {
            // Nothing is left to be done if nobody reads the help.
            let _ = help.print();
            return ExitCode::from(if help.use_stderr() { exit::USAGE } else { exit::SUCCESS });
        }
    };
    anstream::ColorChoice::from(cli.global.color).write_global();
    let console = Console::new(&cli.global);
    // The suite's guests are denied and let down all the time: its report says what matters.
    let usual = if cli.command.tells_of_guests() { "off" } else { "warn,rustls_platform_verifier=off" };
    logging::init(&cli.global, usual);
    let ended = catch_unwind(AssertUnwindSafe(|| match &cli.command {
        Command::Run(args) => commands::run::run(args, console),
        Command::Serve(args) => commands::serve::serve(args, console),
        Command::Demo(args) => commands::demo::demo(args, console),
        Command::Backends(args) => commands::backends::backends(args),
        Command::Inspect(args) => commands::inspect::inspect(args, console),
        Command::Compile(args) => commands::compile::compile(args, console),
        Command::Package(args) => commands::package::package(args),
        Command::Push(args) => commands::images::push(args, console),
        Command::Pull(args) => commands::images::pull(args, console),
        Command::Cache(args) => commands::cache::cache(&args.command),
        #[cfg(feature = "conformance")]
        Command::Conformance(args) => commands::conformance::conformance(args, console),
        Command::New(args) => commands::new::new(args),
        Command::Completions(args) => commands::completions::completions(args),
        Command::WasmEdgeCompile(args) => backend::help(args),
    }));
    match ended {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(error)) => {
            exit::report(&error);
            ExitCode::from(exit::code(&error))
        }
        // The panic hook has told.
        Err(_) => ExitCode::from(exit::FAILURE),
    }
}

/// Whether this is the help that an empty command line is answered with.
fn is_help(error: &clap::Error) -> bool {
    error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}
