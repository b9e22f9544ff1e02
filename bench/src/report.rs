//! The table, the JSON, and the plot.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::load::Load;

/// All results of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// How many processors served and asked.
    processors: usize,
    throughput: Vec<Throughput>,
    others: Vec<Other>,
    #[serde(skip)]
    only: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Throughput {
    server: String,
    #[serde(flatten)]
    load: Load,
}

#[derive(Debug, Serialize)]
struct Other {
    what: String,
    server: String,
    value: f64,
}

impl Report {
    /// A report of what `only` names, or of everything.
    pub(crate) fn new(only: &[String]) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Report { processors, only: only.to_owned(), ..Report::default() }
    }

    /// Whether this measurement was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    pub(crate) fn throughput(&mut self, server: &str, load: Load) {
        self.throughput.push(Throughput { server: server.to_owned(), load });
    }

    /// Measures, if it was asked for.
    pub(crate) fn measure(
        &mut self,
        what: &str,
        server: &str,
        measure: impl FnOnce() -> anyhow::Result<f64>,
    ) -> anyhow::Result<()> {
        if self.wants(&format!("{what} {server}")) {
            eprintln!("{what}: {server}");
            let value = measure().with_context(|| format!("{what}: {server}"))?;
            self.others.push(Other { what: what.to_owned(), server: server.to_owned(), value });
        }
        Ok(())
    }

    /// Prints the table and writes `bench.json` and `bench.svg`.
    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        println!("{}", self.table());
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        for (name, text) in [("bench.json", serde_json::to_string_pretty(self)?), ("bench.svg", self.plot())] {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("wrote {}", path.display());
        }
        Ok(())
    }

    /// The first server's rate, which the others are compared with.
    fn whole(&self) -> f64 {
        self.throughput.first().map_or(1.0, |first| first.load.rate)
    }

    fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        if !self.throughput.is_empty() {
            let first = &self.throughput[0].server;
            let _ =
                writeln!(text, "Servers and load share {} processors: only ratios mean anything.\n", self.processors);
            let _ = writeln!(text, "| server | requests/s | of {first} | p50, us | p99, us |\n|---|--:|--:|--:|--:|");
        }
        for Throughput { server, load } in &self.throughput {
            let part = load.rate / self.whole();
            let _ = writeln!(text, "| {server} | {:.0} | {part:.2} | {:.0} | {:.0} |", load.rate, load.p50, load.p99);
        }
        if !self.others.is_empty() {
            let _ = writeln!(text, "\n| measured | server | value |\n|---|---|--:|");
        }
        for Other { what, server, value } in &self.others {
            let _ = writeln!(text, "| {what} | {server} | {value:.1} |");
        }
        text
    }

    /// A bar for each server.
    fn plot(&self) -> String {
        const ROW: usize = 26;
        let height = self.throughput.len() * ROW + 50;
        let best = self.throughput.iter().map(|row| row.load.rate).fold(1.0, f64::max);
        let mut text = format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='860' height='{height}' font-family='sans-serif' \
             font-size='13'>\n<rect width='860' height='{height}' fill='white'/>\n\
             <text x='10' y='24' font-size='16'>requests per second, hello</text>\n"
        );
        for (at, Throughput { server, load }) in self.throughput.iter().enumerate() {
            let (top, width) = (40 + at * ROW, load.rate / best * 430.0);
            let colour = if server.starts_with("wharf") { "#2b6cb0" } else { "#a0aec0" };
            let part = load.rate / self.whole();
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "<text x='10' y='{}'>{server}</text><rect x='250' y='{top}' width='{width:.1}' height='18' \
                 fill='{colour}'/><text x='{:.1}' y='{}'>{:.0} ({part:.2})</text>",
                top + 14,
                256.0 + width,
                top + 14,
                load.rate
            );
        }
        text.push_str("</svg>\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_every_row_in_every_form() {
        let mut report = Report::new(&[]);
        for (name, rate) in [("native hyper", 1000.0), ("wharf serve", 250.0)] {
            report.throughput(name, Load { rate, p50: 1.0, p99: 2.0 });
        }
        report.measure("host call, ns", "wharf", || Ok(12.0)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        report.write(directory.path()).unwrap();
        let json = fs::read_to_string(directory.path().join("bench.json")).unwrap();
        let svg = fs::read_to_string(directory.path().join("bench.svg")).unwrap();
        for text in [report.table(), json] {
            assert!(text.contains("wharf serve") && text.contains("host call, ns"), "{text}");
        }
        assert!(report.table().contains("| wharf serve | 250 | 0.25 |"), "{}", report.table());
        assert!(svg.contains("250 (0.25)") && svg.ends_with("</svg>\n"), "{svg}");
    }

    #[test]
    fn what_was_not_asked_for_is_not_measured() {
        let mut report = Report::new(&["host".to_owned()]);
        assert!(report.wants("host call, ns wharf") && !report.wants("idle"));
        report.measure("idle instance, KiB", "wharf", || anyhow::bail!("it was measured")).unwrap();
    }
}
