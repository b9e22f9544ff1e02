//! Mistakes in the command line, on one line.

use std::fmt;

/// A command line that cannot be followed, found after it was parsed.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// What the parser reports, which is a paragraph with a usage text, as one line.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let told = |line: &&str| !line.starts_with("Usage:") && !line.starts_with("For more information");
    let mut line = String::new();
    for part in text.lines().map(str::trim).take_while(told).filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push_str(if part.starts_with("tip:") || part.starts_with('[') { "; " } else { " " });
        }
        line.push_str(part.strip_prefix("tip: ").unwrap_or(part));
    }
    line
}
