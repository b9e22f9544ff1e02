//! `wasi:logging`, of which there is a draft and no release. Published components import it without a version, too.
//!
//! A message is a line of the guest's standard error: it goes where the operator has the guest's words go, within the
//! bounds that those have.

use std::fmt;

use super::canon::{Cx, Fault, Outcome, variant};
use super::interfaces;

variant! {
    /// `wasi:logging/logging.level`.
    #[derive(Debug, Clone, Copy)]
    enum Level as "level" {
        Trace, Debug, Info, Warn, Error, Critical,
    }
}

/// Formats a message of `wasi:logging` as one line, the same on every host that runs wharf's guests.
pub fn log_line(level: impl fmt::Debug, context: &str, message: &str) -> String {
    let level = format!("{level:?}").to_ascii_lowercase();
    let separator = if context.is_empty() { "" } else { ": " };
    format!("{level}: {context}{separator}{message}\n")
}

/// What cannot be written is lost: the function has no way to say so.
fn log(cx: &mut Cx<'_>, level: Level, context: String, message: String) -> Outcome {
    let line = log_line(level, &context, &message);
    let written = cx.state.run.wait(cx.state.stderr.write(line.as_bytes())).map_err(Fault::Stop)?;
    if let Err(error) = written {
        tracing::debug!("a guest's log message could not be written: {error}");
    }
    Ok(())
}

interfaces! { "wasi:logging/logging";
    "log"(level: Level, context: String, message: String) -> () => log;
}
