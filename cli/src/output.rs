//! Writes results to standard output and the one error line to standard error.
//!
//! Names and messages come out of files and guests that nobody vouches for, so whatever could steer a terminal is
//! escaped by [`printable`].

use std::borrow::Cow;
use std::io::{ErrorKind, Write};

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use serde::Serialize;

/// Things that went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Things to look at.
pub(crate) const ODD: Style = AnsiColor::Yellow.on_default().bold();
/// Things that are right.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Headings.
pub(crate) const HEADING: Style = Style::new().bold();
/// What matters less.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// `text` in a style, which is dropped where output is not coloured.
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints a result. A reader that has gone away, as `head` does, has had enough: that is not a failure.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}

/// Prints a result as indented JSON.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value).context("the result cannot be written as JSON")?;
    print(&(text + "\n"))
}

/// Prints the line that says why the command failed.
pub(crate) fn error(message: &str) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(anstream::stderr(), "wharf: {}: {}", styled(BAD, "error"), printable(message));
}

/// `text` on one line, with whatever could steer a terminal escaped.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' | '\t' => line.push(' '),
            '\r' => {}
            c if steers(c) => line.extend(c.escape_unicode()),
            c => line.push(c),
        }
    }
    Cow::Owned(line)
}

/// Columns of text, as wide as their widest cell. The width of a cell is counted without its style.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Style)>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table, each line indented by `indent` spaces.
    pub(crate) fn render(&self, indent: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|(cell, _)| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for (column, (cell, style)) in row.iter().enumerate() {
                line += &styled(*style, cell);
                if column + 1 < row.len() {
                    line += &" ".repeat(widths[column] - cell.chars().count() + 2);
                }
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(printable("one\ntwo\r\n"), "one two");
        assert_eq!(printable("\u{202e}evil"), "\\u{202e}evil");
        assert!(matches!(printable("plain – ünïcode"), Cow::Borrowed(_)));
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::default();
        let plain = Style::new();
        table.row([("a".into(), plain), ("long".into(), plain), ("x".into(), plain)]);
        table.row([("bbb".into(), plain), ("s".into(), plain), ("y".into(), plain)]);
        assert_eq!(table.render(2), "  a    long  x\n  bbb  s     y\n");
    }
}
