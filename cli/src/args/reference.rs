//! `docs/options.md`, made of the same definitions as `--help`, in a build that has everything.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use super::Cli;

/// The variable that has the file written anew, as for other documents that tests make.
const WRITE: &str = "WHARF_WRITE_DOCS";

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/options.md");

/// What each command has, and is listed once.
const EVERYWHERE: &str = "Output";

#[test]
fn the_book_has_every_option() {
    let mut cli = Cli::command();
    cli.build();
    let mut text = String::from(
        "# All options\n\nWhat `wharf --help` and `wharf COMMAND --help` say, in a build with every feature. A test compares \
         this page with them, and writes\nit anew if `WHARF_WRITE_DOCS=1` is set.\n\nA time is a number of seconds, or has a \
         unit, as `2s`, `100ms` and `1m`; a size is a number of bytes, or has a unit, as `64MiB`.\n\n## Every command\n\n",
    );
    table(cli.get_arguments(), &mut text);
    commands(&cli, "wharf", &mut text);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    let written = std::fs::read_to_string(FILE).unwrap();
    assert!(written == text, "docs/options.md is not what --help says: run this test with {WRITE}=1");
}

fn commands(parent: &Command, path: &str, text: &mut String) {
    for command in parent.get_subcommands().filter(|command| command.get_name() != "help" && !command.is_hide_set()) {
        let path = format!("{path} {}", command.get_name());
        if command.has_subcommands() {
            commands(command, &path, text);
            continue;
        }
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ");
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        write!(text, "\n## {path}\n\n{}.\n\n    {usage}\n", escaped(&about)).unwrap();
        let mut headings: Vec<Option<&str>> = Vec::new();
        for argument in command.get_arguments() {
            if !headings.contains(&argument.get_help_heading()) {
                headings.push(argument.get_help_heading());
            }
        }
        for heading in headings.into_iter().filter(|heading| *heading != Some(EVERYWHERE)) {
            let within = command.get_arguments().filter(|argument| argument.get_help_heading() == heading);
            let within: Vec<&Arg> = within.filter(|argument| argument.get_id() != "help").collect();
            if !within.is_empty() {
                write!(text, "\n**{}**\n\n", heading.unwrap_or("Arguments")).unwrap();
                table(within.into_iter(), text);
            }
        }
        if let Some(more) = command.get_after_help() {
            write!(text, "\n{}\n", more.to_string().replace("\n  ", "\n    ").replace("Examples:\n", "Examples:\n\n"))
                .unwrap();
        }
    }
}

fn table<'a>(arguments: impl Iterator<Item = &'a Arg>, text: &mut String) {
    text.push_str("| option | what it does | default |\n|---|---|---|\n");
    for argument in arguments.filter(|argument| !argument.is_hide_set()) {
        let names: Vec<String> = argument
            .get_short()
            .map(|short| format!("-{short}"))
            .into_iter()
            .chain(argument.get_long().map(|long| format!("--{long}")))
            .collect();
        let takes = argument.get_action().takes_values();
        let values = argument.get_value_names().filter(|_| takes).unwrap_or_default();
        let values = values.iter().map(|value| format!("<{value}>"));
        let name = [names.join(", ")].into_iter().chain(values).filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        let mut help = escaped(&help);
        for value in argument.get_possible_values().into_iter().filter(|value| takes && !value.is_hide_set()) {
            let about = value.get_help().map(|help| format!(": {}", escaped(&help.to_string()))).unwrap_or_default();
            write!(help, "<br>`{}`{about}", value.get_name()).unwrap();
        }
        if let Some(variable) = argument.get_env() {
            write!(help, "<br>Also from the variable `{}`", variable.to_string_lossy()).unwrap();
        }
        let defaults = argument.get_default_values().iter().filter(|_| takes);
        let default = defaults.map(|value| format!("`{}`", value.to_string_lossy())).collect::<Vec<_>>().join(", ");
        writeln!(text, "| `{}` | {help} | {default} |", name.join(" ").replace('|', "\\|")).unwrap();
    }
}

/// The text within a cell: on one line, and without what would end the cell or be taken for markup.
fn escaped(text: &str) -> String {
    text.replace("\n\n", "<br>").replace('\n', " ").replace('|', "\\|")
}
