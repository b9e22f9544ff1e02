//! `wharf inspect`.

use std::fmt::Write;

use anstyle::Style;
use serde::Serialize;
use wharf::core::abi::preview1::Dialect;
use wharf::core::{Abi, Export, ExportType, FuncType, Import, Inspection, LoadOptions, Status};

use crate::args::{Format, InspectArgs};
use crate::commands::{component, images};
use crate::console::Console;
use crate::output::{BAD, GOOD, HEADING, Table, printable, styled};
use crate::{exit, output};

pub(crate) fn inspect(args: &InspectArgs, console: Console) -> anyhow::Result<u8> {
    let name = args.file.display().to_string();
    let wasm = images::guest(&args.file, LoadOptions::default().max_module_bytes, &args.images, None, console)?;
    if wharf_component::is_component(&wasm) {
        component::inspect(&name, &wasm, args.output.format)?;
        return Ok(exit::SUCCESS);
    }
    let inspection = Inspection::of(&wasm).map_err(|error| anyhow::Error::from(error).context(format!("`{name}`")))?;
    match args.output.format {
        Format::Json => output::print_json(&report(&name, &inspection))?,
        Format::Human => output::print(&text(&name, &inspection))?,
    }
    Ok(exit::SUCCESS)
}

/// An inspection, as `--format json` prints it.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a str,
    /// `command` if it is started, `handler` if it answers requests, else `library`.
    kind: &'static str,
    /// The module names of the ABIs it speaks.
    abis: Vec<&'static str>,
    /// Whether `wharf run` would start it, or `wharf serve` if it is a handler.
    runs: bool,
    /// What keeps it from being run.
    problems: Vec<String>,
    imports: Vec<ReportedImport<'a>>,
    exports: Vec<ReportedExport<'a>>,
}

#[derive(Serialize)]
struct ReportedImport<'a> {
    module: &'a str,
    name: &'a str,
    #[serde(rename = "type")]
    ty: String,
    status: &'static str,
    /// The dialect of a socket function.
    #[serde(skip_serializing_if = "Option::is_none")]
    dialect: Option<&'static str>,
    detail: String,
}

#[derive(Serialize)]
struct ReportedExport<'a> {
    name: &'a str,
    kind: &'static str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    ty: Option<String>,
}

fn report<'a>(file: &'a str, inspection: &'a Inspection) -> Report<'a> {
    let problems = problems(inspection);
    Report {
        file,
        kind: match (inspection.is_command(), inspection.is_handler()) {
            (true, _) => "command",
            (false, true) => "handler",
            (false, false) => "library",
        },
        abis: inspection.abis().into_iter().map(Abi::module).collect(),
        runs: problems.is_empty(),
        problems,
        imports: inspection.imports.iter().map(reported_import).collect(),
        exports: inspection.exports.iter().map(reported_export).collect(),
    }
}

fn reported_import<'a>((import, status): &'a (Import, Status)) -> ReportedImport<'a> {
    ReportedImport {
        module: &import.module,
        name: &import.name,
        ty: import.ty.to_string(),
        status: status_name(status),
        dialect: Dialect::of(import).map(Dialect::name),
        detail: status.to_string(),
    }
}

fn status_name(status: &Status) -> &'static str {
    match status {
        Status::Satisfied(_) => "satisfied",
        Status::Unknown { .. } => "unknown",
        Status::WrongType { .. } => "wrong-type",
        Status::Refused { .. } => "refused",
        _ => "unsatisfied",
    }
}

/// What wharf makes of an import; of a socket function, which dialect it is bound to.
fn status_text(import: &Import, status: &Status) -> String {
    match Dialect::of(import) {
        Some(dialect) => format!("{status}, sockets: {dialect}"),
        None => status.to_string(),
    }
}

fn reported_export(export: &Export) -> ReportedExport<'_> {
    let (kind, ty) = describe(&export.ty);
    ReportedExport { name: &export.name, kind, ty: ty.map(FuncType::to_string) }
}

fn describe(ty: &ExportType) -> (&'static str, Option<&FuncType>) {
    match ty {
        ExportType::Function(ty) => ("function", Some(ty)),
        ExportType::UncallableFunction => ("function with references or vectors", None),
        ExportType::Memory => ("memory", None),
        ExportType::Global => ("global", None),
        ExportType::Table => ("table", None),
        _ => ("other", None),
    }
}

/// What keeps `wharf run` from running it.
fn problems(inspection: &Inspection) -> Vec<String> {
    let mut problems = inspection.problems();
    if !inspection.is_command() && !inspection.is_handler() {
        problems.push("it exports no `_start`; name a function to call with `wharf run --invoke FN`".to_owned());
    }
    problems
}

fn text(name: &str, inspection: &Inspection) -> String {
    let problems = problems(inspection);
    let abis: Vec<&str> = inspection.abis().into_iter().map(Abi::module).collect();
    let (kind, command) = match (inspection.is_command(), inspection.is_handler()) {
        (true, _) => ("a command", "run"),
        (false, true) => ("a handler of wasi:http", "serve"),
        (false, false) => ("a library: it exports no `_start`", "run"),
    };
    let plain = Style::new();

    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}: {kind}", styled(HEADING, printable(name)));
    let _ = writeln!(
        text,
        "speaks: {}",
        if abis.is_empty() { "no ABI that wharf hosts".to_owned() } else { abis.join(", ") }
    );

    let mut imports = Table::default();
    for (import, status) in &inspection.imports {
        let style = if matches!(status, Status::Satisfied(_)) { GOOD } else { BAD };
        let name = format!("{}::{}", import.module, import.name);
        imports.row([
            (printable(&name).into_owned(), plain),
            (import.ty.to_string(), plain),
            (printable(&status_text(import, status)).into_owned(), style),
        ]);
    }
    let _ = write!(text, "\n{} ({})\n{}", styled(HEADING, "imports"), inspection.imports.len(), imports.render(2));

    let mut exports = Table::default();
    for export in &inspection.exports {
        let (kind, ty) = describe(&export.ty);
        exports.row([
            (if export.name.is_empty() { "\"\"".to_owned() } else { printable(&export.name).into_owned() }, plain),
            (kind.to_owned(), plain),
            (ty.map_or_else(String::new, FuncType::to_string), plain),
        ]);
    }
    let _ = write!(text, "\n{} ({})\n{}", styled(HEADING, "exports"), inspection.exports.len(), exports.render(2));

    if problems.is_empty() {
        let _ = writeln!(text, "\n{}", styled(GOOD, format_args!("`wharf {command}` would start it")));
    } else {
        let _ = writeln!(text, "\n{}", styled(BAD, format_args!("`wharf {command}` would refuse it:")));
        for problem in problems {
            let _ = writeln!(text, "  {}", printable(&problem));
        }
    }
    text
}
