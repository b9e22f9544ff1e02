//! `wharf inspect` of a component.

use std::collections::BTreeMap;
use std::fmt::Write;

use anstyle::Style;
use serde::Serialize;
use wharf_component::plan::{Adapter, ImportKind};
use wharf_component::{FlattenError, FlattenOptions, Plan, flatten, wasi03};

use crate::args::Format;
use crate::output;
use crate::output::{BAD, GOOD, HEADING, ODD, Table, printable, styled};

/// Prints what a component imports and exports, and what keeps it from being flattened.
pub(crate) fn inspect(name: &str, component: &[u8], format: Format) -> anyhow::Result<()> {
    let wasi03 = wasi03(component);
    let mut report = match flatten(component, &FlattenOptions::default()) {
        Ok(flattened) => Report::of_plan(name, &flattened.plan),
        // This command tells what a component needs; there is nothing to tell about what is not a component.
        Err(error) if wasi03.is_some() || matches!(error, FlattenError::Unsupported { .. }) => {
            Report { file: name, kind: "component", problems: vec![error.to_string()], ..Report::default() }
        }
        Err(error) => return Err(anyhow::Error::from(error).context(format!("`{name}`"))),
    };
    report.wasi03 = wasi03;
    match format {
        Format::Json => output::print_json(&report),
        Format::Human => output::print(&text(&report)),
    }
}

/// An inspection, as `--format json` prints it.
#[derive(Serialize, Default)]
struct Report<'a> {
    file: &'a str,
    /// Always `component`.
    kind: &'static str,
    /// Whether it can be made one core module.
    flattens: bool,
    /// The interface that makes it one of WASI 0.3.
    wasi03: Option<String>,
    /// What keeps it from that.
    problems: Vec<String>,
    /// What only some engines have, and it needs.
    needs: Vec<&'static str>,
    /// Everything it names as an import, whether or not it calls it.
    component_imports: Vec<String>,
    /// The functions it calls, by interface.
    imports: BTreeMap<String, Vec<String>>,
    /// The functions it exports, by interface.
    exports: BTreeMap<String, Vec<String>>,
    memories: u32,
    tables: u32,
    /// Whether it runs code when it is instantiated.
    start: bool,
    /// The published adapter for preview 1 that it brings, and what of it wharf does itself.
    adapter: Option<Adapter>,
}

impl<'a> Report<'a> {
    fn of_plan(file: &'a str, plan: &Plan) -> Self {
        let mut imports: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for import in &plan.imports {
            // One function may be imported several times, with options of its own each.
            let name = match &import.kind {
                ImportKind::Call { function, .. } => function.clone(),
                _ => import.name.clone(),
            };
            let names = imports.entry(import.module.clone()).or_default();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut exports: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for export in &plan.exports {
            let interface = export.interface.clone().unwrap_or_else(|| wharf_component::ROOT_MODULE.to_owned());
            exports.entry(interface).or_default().push(export.function.clone());
        }
        Report {
            file,
            kind: "component",
            flattens: true,
            wasi03: None,
            problems: Vec::new(),
            needs: if plan.memory_count > 1 { vec!["multi-memory"] } else { Vec::new() },
            component_imports: plan.component_imports.clone(),
            imports,
            exports,
            memories: plan.memory_count,
            tables: plan.tables,
            start: plan.start,
            adapter: plan.adapter.clone(),
        }
    }
}

fn text(report: &Report<'_>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}: a component", styled(HEADING, printable(report.file)));
    for (heading, items) in [("imports", &report.imports), ("exports", &report.exports)] {
        let mut table = Table::default();
        for (interface, functions) in items {
            for function in functions {
                let cell = |name: &str| (printable(name).into_owned(), Style::new());
                table.row([cell(interface), cell(function)]);
            }
        }
        let count: usize = items.values().map(Vec::len).sum();
        let _ = write!(text, "\n{} ({count})\n{}", styled(HEADING, heading), table.render(2));
    }
    for import in report.component_imports.iter().filter(|name| !report.imports.contains_key(*name)) {
        let _ = writeln!(text, "\nimported, but none of its functions are used: {}", printable(import));
    }
    if let Some(Adapter { variant, releases, left_out, kept }) = &report.adapter {
        let release = releases.first().map(String::as_str).unwrap_or_default();
        let _ = writeln!(
            text,
            "\n{} of Wasmtime {release} ({variant}): wharf does {} itself{}",
            styled(HEADING, "adapter for preview 1"),
            left_out.join(", "),
            match kept.as_slice() {
                [] => ", and leaves it out".to_owned(),
                kept => format!(", and keeps it for {}", kept.join(", ")),
            }
        );
    }
    if !report.needs.is_empty() {
        let _ = writeln!(text, "\n{} {}", styled(ODD, "needs an engine with"), report.needs.join(", "));
    }
    if let Some(name) = &report.wasi03 {
        let advice = if report.flattens {
            "`wharf run` and `wharf serve` run it on every backend, if wharf has what it imports"
        } else {
            "`wharf run` and `wharf serve` run it on wasmtime's component host"
        };
        let _ = writeln!(text, "\n{} ({}): {advice}", styled(ODD, "of WASI 0.3"), printable(name));
    }
    if report.flattens {
        let advice = "`wharf compile --emit core` turns it into one core module";
        let _ = writeln!(text, "\n{}", styled(GOOD, advice));
    } else {
        let _ = writeln!(text, "\n{}", styled(BAD, "it cannot be turned into one core module:"));
        for problem in &report.problems {
            let _ = writeln!(text, "  {}", printable(problem));
        }
    }
    text
}
