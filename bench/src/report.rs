//! The tables and the JSON.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::compare::{Comparison, Found, Measure, Quantity};
use crate::machine::Circumstances;
use crate::pairs::Pairs;
use crate::plot;
use crate::targets::{self, Finding, Verdict};

/// The file that the plot is written to.
const PLOT: &str = "bench.svg";

/// All results of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    circumstances: Circumstances,
    pub(crate) rows: Vec<Row>,
    others: Vec<Other>,
    failures: Vec<Failure>,
    targets: Vec<Finding>,
    #[serde(skip)]
    only: Vec<String>,
}

/// One quantity of a comparison.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) measure: Measure,
    pub(crate) guest: String,
    pub(crate) quantity: Quantity,
    pub(crate) a: String,
    pub(crate) b: String,
    /// Requests a second, where they were sent at a fixed rate.
    pub(crate) rate: Option<f64>,
    #[serde(flatten)]
    pub(crate) pairs: Pairs,
}

/// A number that is compared with nothing.
#[derive(Debug, Serialize)]
struct Other {
    what: String,
    server: String,
    value: f64,
}

/// What could not be measured, and why.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failure {
    pub(crate) name: String,
    pub(crate) reason: String,
}

impl Report {
    /// A report of what `only` names, or of everything.
    pub(crate) fn new(circumstances: Circumstances, only: &[String]) -> Self {
        let (rows, others, failures, targets) = <(Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
        Report { circumstances, rows, others, failures, targets, only: only.to_owned() }
    }

    /// Whether this measurement was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    /// Measures, if it was asked for; a failure is a result, too.
    pub(crate) fn measure(&mut self, what: &str, server: &str, measure: impl FnOnce() -> anyhow::Result<f64>) {
        if self.wants(&format!("{what} {server}")) {
            eprintln!("{what}: {server}");
            match measure() {
                Ok(value) => self.others.push(Other { what: what.to_owned(), server: server.to_owned(), value }),
                Err(error) => self.fail(format!("{what}: {server}"), &error),
            }
        }
    }

    /// Adds what a comparison found, or why it did not.
    pub(crate) fn compared(&mut self, comparison: &Comparison, found: anyhow::Result<Found>) {
        let found = match found {
            Ok(found) => found,
            Err(error) => return self.fail(comparison.name(), &error),
        };
        if let Some(Pairs { ratio, .. }) = found.quantities.first() {
            eprintln!("    {:.2} ({:.2} to {:.2})", ratio.median, ratio.least, ratio.most);
        }
        let (a, b) = comparison.names();
        for (quantity, pairs) in comparison.measure.quantities().into_iter().zip(found.quantities) {
            self.rows.push(Row {
                measure: comparison.measure,
                guest: comparison.guest.clone(),
                quantity,
                a: a.to_owned(),
                b: b.to_owned(),
                rate: found.rate,
                pairs,
            });
        }
    }

    fn fail(&mut self, name: String, error: &anyhow::Error) {
        let reason = format!("{error:#}").replace('\n', " ");
        eprintln!("failed: {name}: {reason}");
        self.failures.push(Failure { name, reason });
    }

    /// Whether nothing was measured, nor failed to be.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.others.is_empty() && self.failures.is_empty()
    }

    /// How many measurements failed.
    pub(crate) fn failed(&self) -> usize {
        self.failures.len()
    }

    /// Prints the tables.
    pub(crate) fn print(&self) {
        println!("{}", self.tables());
    }

    /// Writes `bench.md`, `bench.json` and `bench.svg` to a directory, and the tables once more to `record`, with the plot
    /// beside it.
    pub(crate) fn write(&mut self, directory: &Path, record: Option<&Path>) -> anyhow::Result<()> {
        self.targets = targets::findings(&self.rows, &self.failures);
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let (tables, plot) = (self.tables(), plot::svg(&self.rows));
        let file = |name: &str| directory.join(name);
        let mut files = vec![
            (file("bench.json"), serde_json::to_string_pretty(self)? + "\n"),
            (file("bench.md"), with_plot(&tables, &file(PLOT))),
            (file(PLOT), plot.clone()),
        ];
        if let Some(record) = record {
            let beside = record.with_extension("svg");
            files.extend([(record.to_owned(), with_plot(&tables, &beside)), (beside, plot)]);
        }
        for (path, text) in files {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    // Writing to a string cannot fail.
    fn tables(&self) -> String {
        let here = &self.circumstances;
        let mut text = String::from("# Results of `wharf-bench`\n\nWritten by the command itself, in one run:\n\n");
        let _ = writeln!(text, "    {}\n\n| | |\n|---|---|", here.command);
        let _ = writeln!(text, "| date | {} |", here.date);
        let _ = writeln!(text, "| processors, which servers and load share | {}, {} |", here.processors, here.model);
        let _ = writeln!(text, "| memory | {:.1} GiB |\n| kernel | {} |", here.memory, here.kernel);
        let _ = writeln!(text, "| load of the machine in the minute before | {:.2} |", here.load_before);
        for (name, version) in &here.versions {
            let _ = writeln!(text, "| {name} | {version} |");
        }
        text.push_str(
            "\nThe two sides of a row were measured in turn. Numbers are medians; the ratio is the median of those of the \
             pairs, with the least and the most. Only ratios mean anything on another machine.\n",
        );
        for measure in Measure::ALL {
            self.table(measure, &mut text);
        }
        if !self.others.is_empty() {
            text.push_str("\n## wharf alone\n\n| measured | server | value |\n|---|---|--:|\n");
        }
        for Other { what, server, value } in &self.others {
            let _ = writeln!(text, "| {what} | {server} | {value:.1} |");
        }
        if !self.failures.is_empty() {
            text.push_str("\n## Failed\n\n| measurement | reason |\n|---|---|\n");
        }
        for Failure { name, reason } in &self.failures {
            let _ = writeln!(text, "| {name} | {} |", reason.replace('|', "\\|"));
        }
        // A part of the run says nothing of the others.
        let told = |finding: &&Finding| self.only.is_empty() || finding.verdict != Verdict::NotMeasured;
        let targets: Vec<&Finding> = self.targets.iter().filter(told).collect();
        if !targets.is_empty() {
            text.push_str("\n## Targets\n\n| what | target | measured | |\n|---|---|---|---|\n");
        }
        for Finding { what, target, measured, verdict } in targets {
            let _ = writeln!(text, "| {what} | {target} | {} | {} |", measured.replace('|', "\\|"), verdict.name());
        }
        text
    }

    fn table(&self, measure: Measure, text: &mut String) {
        let mut rows = self.rows.iter().filter(|row| row.measure == measure).peekable();
        if rows.peek().is_none() {
            return;
        }
        let _ = writeln!(text, "\n## {}\n\n{}\n", capitalised(measure.name()), measure.about());
        text.push_str("| guest | measured | A | B | of A | of B | A / B | least | most |\n");
        text.push_str("|---|---|---|---|--:|--:|--:|--:|--:|\n");
        for Row { guest, quantity, a, b, rate, pairs, .. } in rows {
            let ratio = pairs.ratio;
            let at = rate.map_or_else(String::new, |rate| format!(" at {rate:.0} requests a second"));
            let unit = if quantity.unit.is_empty() { String::new() } else { format!(", {}", quantity.unit) };
            let _ = writeln!(
                text,
                "| {guest} | {}{unit}{at} | {a} | {b} | {} | {} | **{:.2}** | {:.2} | {:.2} |",
                quantity.name,
                number(pairs.a),
                number(pairs.b),
                ratio.median,
                ratio.least,
                ratio.most
            );
        }
    }
}

/// The tables with this plot, which is beside them, before the first.
fn with_plot(tables: &str, plot: &Path) -> String {
    let name = plot.file_name().unwrap_or_default().to_string_lossy();
    let (head, rest) = tables.split_once("\n## ").unwrap_or((tables, ""));
    format!("{head}\n![Each ratio with its spread]({name})\n\n## {rest}")
}

fn capitalised(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + rest
}

/// With three digits or more.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Sides;

    fn report(only: &[&str]) -> Report {
        let circumstances = Circumstances {
            date: "2026-01-02T03:04:05Z".into(),
            command: "wharf-bench --pairs 2".into(),
            processors: 2,
            model: "a processor".into(),
            memory: 24.0,
            kernel: "6.1".into(),
            load_before: 0.25,
            versions: vec![("wharf".into(), "wharf 0.1.0".into())],
        };
        Report::new(circumstances, &only.iter().map(|&part| part.to_owned()).collect::<Vec<_>>())
    }

    fn comparison(measure: Measure) -> Comparison {
        let side = |name: &str| (name.to_owned(), Vec::new());
        Comparison {
            measure,
            guest: "hello".into(),
            sides: Sides::Commands([side("wharf wasmtime"), side("wasmtime")]),
        }
    }

    #[test]
    fn a_report_has_every_row_in_every_form() {
        let mut report = report(&[]);
        let quantities = vec![Pairs::new(vec![(900.0, 200.0), (800.0, 200.0)])];
        report.compared(&comparison(Measure::Throughput), Ok(Found { quantities, rate: None }));
        report.compared(&comparison(Measure::ColdStart), Err(anyhow::anyhow!("it | ended").context("no start")));
        report.measure("host call, ns", "wharf", || Ok(12.0));
        let directory = tempfile::tempdir().unwrap();
        let record = directory.path().join("RESULTS.md");
        report.write(&directory.path().join("new"), Some(&record)).unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        let tables = read(&record);
        for line in [
            "    wharf-bench --pairs 2\n",
            "| processors, which servers and load share | 2, a processor |",
            "| wharf | wharf 0.1.0 |",
            "## Throughput\n",
            "| hello | requests a second | wharf wasmtime | wasmtime | 850 | 200 | **4.25** | 4.00 | 4.50 |",
            "| host call, ns | wharf | 12.0 |",
            "| cold start hello: wharf wasmtime / wasmtime | no start: it \\| ended |",
            "| at least 4x | 4.25x (4.00 to 4.50), beside wasmtime | met |",
        ] {
            assert!(tables.contains(line), "{line} in {tables}");
        }
        assert!(!tables.contains("## Resident"), "{tables}");
        assert!(tables.contains("](RESULTS.svg)\n\n## Throughput"), "{tables}");
        assert_eq!(read(&directory.path().join("new/bench.md")), tables.replace("RESULTS.svg", "bench.svg"));
        assert_eq!(read(&record.with_extension("svg")), read(&directory.path().join("new/bench.svg")));
        let json: serde_json::Value = serde_json::from_str(&read(&directory.path().join("new/bench.json"))).unwrap();
        assert_eq!(json["rows"][0]["ratio"]["median"], 4.25);
        assert_eq!(json["rows"][0]["measured"][1][0], 800.0);
        assert_eq!(json["failures"][0]["reason"], "no start: it | ended");
        assert_eq!(json["targets"][0]["verdict"], "met");
        assert!(read(&directory.path().join("new/bench.svg")).contains("wharf wasmtime / wasmtime"));
        assert_eq!(report.failed(), 1);
    }

    #[test]
    fn what_was_not_asked_for_is_not_measured() {
        let mut report = report(&["host"]);
        assert!(report.wants("host call, ns wharf") && !report.wants("idle"));
        report.measure("idle instance, KiB", "wharf", || panic!("it was measured"));
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([1234.5, 99.94, 9.876, 0.123].map(number), ["1234", "99.9", "9.88", "0.12"]);
    }
}
