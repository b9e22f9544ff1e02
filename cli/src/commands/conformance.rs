//! `wharf conformance`: the suite of `wharf_conformance`, on the backends compiled in.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anstyle::Style;
use anyhow::Context;
use wharf_conformance::{
    Exit, Options, Outcome, Progress, REQWEST, Report, Subject, WASMTIME_COMPONENT, cases, run_with,
};

use crate::args::{ConformanceArgs, Usage};
use crate::console::Console;
use crate::output::{BAD, GOOD, HEADING, ODD, Table, printable, styled};
use crate::{backend, exit, output, progress};

/// `--backend all`.
const ALL: &str = "all";

pub(crate) fn conformance(args: &ConformanceArgs, console: Console) -> anyhow::Result<u8> {
    if args.list {
        return list(args);
    }
    match run(args, console) {
        Ok(code) => Ok(code),
        Err(error) if error.is::<Usage>() => Err(error),
        Err(error) => {
            exit::report(&error);
            Ok(Exit::Harness.code())
        }
    }
}

fn list(args: &ConformanceArgs) -> anyhow::Result<u8> {
    let mut ids: Vec<&str> = cases().iter().map(|case| case.id).collect();
    ids.retain(|id| args.filter.is_empty() || args.filter.iter().any(|part| id.contains(part.as_str())));
    ids.sort_unstable();
    if ids.is_empty() {
        output::error("no case matches --filter; leave it out to list all of them");
        return Ok(Exit::NothingRan.code());
    }
    output::print(&(ids.join("\n") + "\n"))?;
    Ok(exit::SUCCESS)
}

fn run(args: &ConformanceArgs, console: Console) -> anyhow::Result<u8> {
    let subjects = subjects(args)?;
    let options = Options { filter: args.filter.clone(), ..Options::default() };
    let report = run_with(&subjects, &options, |progress| tell(console, &progress));
    if console.shows_progress() {
        progress::line("");
    }
    write(args, &report)?;
    output::print(&text(&report))?;
    let verdict = report.outcome();
    if verdict == Exit::NothingRan {
        output::error("a backend ran no case; --list prints the ids that --filter can match");
    }
    Ok(verdict.code())
}

/// Every backend asked for, once.
fn subjects(args: &ConformanceArgs) -> anyhow::Result<Vec<Subject>> {
    let mut names: Vec<&str> = Vec::new();
    for name in &args.backend {
        let named = if name == ALL { everything() } else { vec![name.as_str()] };
        for name in named {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let subject = |name| match name {
        WASMTIME_COMPONENT => wasmtime_component(),
        REQWEST => Ok(Subject::new(Arc::from(backend::named("wasmtime")?)).on_reqwest()),
        name => Ok(Subject::new(Arc::from(backend::named(name)?))),
    };
    names.into_iter().map(subject).collect()
}

fn everything() -> Vec<&'static str> {
    let component_host = cfg!(feature = "wasmtime-component").then_some(WASMTIME_COMPONENT);
    wharf::KNOWN.into_iter().chain([REQWEST]).chain(component_host).collect()
}

/// Wasmtime's own component host: a column of what components can express, compared with wharf's own.
#[cfg(feature = "wasmtime-component")]
fn wasmtime_component() -> anyhow::Result<Subject> {
    let host = wharf::wasmtime_component::WasmtimeComponents::new()?;
    let load = move |component: &[u8]| -> wharf::core::Result<Arc<dyn wharf::core::HostedGuest>> {
        Ok(Arc::new(host.load(component, &wharf::core::LoadOptions::default())?))
    };
    let subject = Subject::new(Arc::from(backend::named("wasmtime")?));
    Ok(subject.named(WASMTIME_COMPONENT).only(["wasihttp/", "wasi03/", "serving/"]).components(Arc::new(load)))
}

#[cfg(not(feature = "wasmtime-component"))]
fn wasmtime_component() -> anyhow::Result<Subject> {
    let message = "wasmtime's own component host is not compiled in; build with `--features wasmtime-component`";
    Err(crate::args::Usage(message.to_owned()).into())
}

fn tell(console: Console, progress: &Progress<'_>) {
    let Progress { backend, case, done, total } = progress;
    if console.shows_progress() {
        progress::line(&format!("[{done}/{total}] {backend} {}", case.id));
    }
    tracing::info!("{} {backend} {} ({} ms)", case.outcome.name(), case.id, case.milliseconds);
}

fn write(args: &ConformanceArgs, report: &Report) -> anyhow::Result<()> {
    if let Some(directory) = &args.report_dir {
        report.write_to(directory)?;
    }
    write_form(&args.json, || report.to_json())?;
    write_form(&args.junit, || report.to_junit())?;
    write_form(&args.markdown, || report.to_markdown())?;
    write_form(&args.html, || report.to_html())
}

fn write_form(path: &Option<PathBuf>, form: impl FnOnce() -> String) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, form()).with_context(|| format!("cannot write `{}`", path.display()))
}

/// The matrix, what did not pass, and the verdict.
fn text(report: &Report) -> String {
    let plain = Style::new();
    let mut matrix = Table::default();
    let heading = |text: String| (text, HEADING);
    let columns = report.columns.iter().map(|column| heading(format!("{} {}", column.backend, column.engine)));
    matrix.row(std::iter::once(heading("area".to_owned())).chain(columns));
    let totals = ("all".to_owned(), report.totals());
    for (area, tallies) in report.matrix().into_iter().chain([totals]) {
        let cells = tallies.into_iter().map(|tally| {
            let style = match tally.red {
                0 => GOOD,
                _ => BAD,
            };
            let unsupported = match tally.unsupported {
                0 => String::new(),
                count => format!(", {count} unsupported"),
            };
            (format!("{}/{}{unsupported}", tally.passed, tally.total), style)
        });
        matrix.row(std::iter::once((area, plain)).chain(cells));
    }

    let mut text = matrix.render(0);
    for (column, result) in report.exceptions() {
        let style = if result.outcome.is_red() { BAD } else { ODD };
        let message = result.message.as_deref().unwrap_or("no message");
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n{} {} {}: {}\n  proves {}\n",
            styled(style, result.outcome.name()),
            column.backend,
            result.id,
            printable(message),
            result.proves,
        );
        if result.outcome.is_red() {
            let _ = writeln!(text, "  again: wharf conformance --backend {} --filter {}", column.backend, result.id);
        }
    }
    let count = |outcome| report.columns.iter().map(|column| column.count(outcome)).sum::<usize>();
    let failed: usize = Outcome::ALL.into_iter().filter(|outcome| outcome.is_red()).map(count).sum();
    let verdict = match report.outcome() {
        Exit::Good => styled(GOOD, "good"),
        Exit::Failures => styled(BAD, "failures"),
        Exit::NothingRan => styled(BAD, "a backend ran nothing"),
        Exit::Usage | Exit::Harness => styled(BAD, "the harness failed: no verdict"),
    };
    let skipped = match count(Outcome::Skipped) {
        0 => String::new(),
        skipped => format!(", {skipped} skipped"),
    };
    let _ = writeln!(text, "\n{verdict}\n{} passed, {failed} failed{skipped}", count(Outcome::Pass));
    text
}
