//! `wharf completions`.

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::{exit, output};

pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "wharf", &mut script);
    output::print(&String::from_utf8(script)?)?;
    Ok(exit::SUCCESS)
}
