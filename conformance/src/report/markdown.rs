//! The matrix and the exceptions as Markdown, for a README or a job's summary.

use std::fmt::Write;

use super::{Report, Tally};

impl Report {
    /// The matrix, passed of total per area and backend, as a Markdown table.
    pub fn to_matrix(&self) -> String {
        let mut text = String::from("| area |");
        for column in &self.columns {
            push(&mut text, format_args!(" {} {} |", cell(&column.backend), cell(&column.engine)));
        }
        text.push_str("\n|---|");
        self.columns.iter().for_each(|_| text.push_str("---|"));
        text.push('\n');
        for (area, tallies) in self.matrix() {
            row(&mut text, &area, &tallies);
        }
        row(&mut text, "**all**", &self.totals());
        text
    }

    /// The matrix and every case that did not pass.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from("# Conformance\n\n");
        push(&mut text, format_args!("Suite {} on {}.\n\n", self.suite, self.machine));
        text.push_str(&self.to_matrix());
        let exceptions: Vec<_> = self.exceptions().collect();
        if exceptions.is_empty() {
            text.push_str("\nEvery case passed on every backend.\n");
            return text;
        }
        text.push_str(
            "\n## Everything but passes\n\n| outcome | backend | case | level | why |\n|---|---|---|---|---|\n",
        );
        for (column, result) in exceptions {
            push(
                &mut text,
                format_args!(
                    "| {} | {} | `{}` | {} | {} |\n",
                    result.outcome.name(),
                    cell(&column.backend),
                    result.id,
                    result.level.name(),
                    cell(result.message.as_deref().unwrap_or("")),
                ),
            );
        }
        text
    }
}

fn row(text: &mut String, name: &str, tallies: &[Tally]) {
    push(text, format_args!("| {name} |"));
    for tally in tallies {
        match tally {
            Tally { total: 0, .. } => text.push_str(" - |"),
            Tally { passed, unsupported: 0, total, .. } => push(text, format_args!(" {passed}/{total} |")),
            Tally { passed, unsupported, total, .. } => {
                push(text, format_args!(" {passed}/{total}, {unsupported} unsupported |"));
            }
        }
    }
    text.push('\n');
}

/// Keeps text that others chose within its cell.
fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' => safe.push_str("\\|"),
            '<' => safe.push_str("&lt;"),
            '\n' | '\r' => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("a String takes what is written to it");
}
