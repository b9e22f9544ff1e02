//! Log lines on standard error.
//!
//! What is logged is decided by -v and -q, else by WHARF_LOG, else by RUST_LOG, else by the command. A line for people
//! reads like the error line: `wharf: warning: ...`; from -v on it says when and where, too.

use std::fmt;
use std::io::stderr;

use anstyle::Style;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::args::{GlobalArgs, LogFormat};
use crate::output::{BAD, FAINT, ODD, printable, styled};

/// Where filters are read from, the first that is set.
const VARIABLES: [&str; 2] = ["WHARF_LOG", "RUST_LOG"];

/// Starts logging, by the filter `usual` unless the user says otherwise. Before, nothing is logged.
pub(crate) fn init(global: &GlobalArgs, usual: &str) {
    let (filter, problem) = filter(global, usual, |name| std::env::var(name).ok());
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    match global.log_format {
        LogFormat::Text => {
            let detailed = global.verbose > 0;
            builder.with_writer(|| anstream::AutoStream::auto(stderr())).event_format(Line { detailed }).init();
        }
        LogFormat::Json => builder.with_writer(stderr).json().flatten_event(true).init(),
    }
    if let Some(problem) = problem {
        tracing::warn!("{problem}");
    }
}

/// The filter, and what was wrong with one that was given.
fn filter(global: &GlobalArgs, usual: &str, variable: impl Fn(&str) -> Option<String>) -> (EnvFilter, Option<String>) {
    let chosen = match (global.verbose, global.quiet) {
        (0, 0) => None,
        (0, 1) => Some("error"),
        (0, _) => Some("off"),
        (1, _) => Some("warn,wharf=info"),
        (2, _) => Some("info,wharf=debug"),
        _ => Some("trace"),
    };
    if let Some(chosen) = chosen {
        return (EnvFilter::new(chosen), None);
    }
    let set = VARIABLES.iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)));
    let Some((name, value)) = set else { return (EnvFilter::new(usual), None) };
    match EnvFilter::builder().parse(&value) {
        Ok(filter) => (filter, None),
        Err(error) => {
            (EnvFilter::new(usual), Some(format!("{name} is not a valid log filter and is ignored: {error}")))
        }
    }
}

/// Formats an event as `wharf: warning: message name=value`.
struct Line {
    /// With the time and the module the event comes from.
    detailed: bool,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (style, level) = match *event.metadata().level() {
            Level::ERROR => (BAD, "error"),
            Level::WARN => (ODD, "warning"),
            Level::INFO => (Style::new(), "info"),
            Level::DEBUG => (FAINT, "debug"),
            Level::TRACE => (FAINT, "trace"),
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        if self.detailed {
            SystemTime.format_time(&mut out)?;
            write!(out, " {}: {}: ", event.metadata().target(), styled(style, level))?;
        } else {
            write!(out, "wharf: {}: ", styled(style, level))?;
        }
        writeln!(out, "{}", printable(&format!("{}{}", fields.message, fields.others)))
    }
}

/// An event's message, and its other fields as ` name=value`.
#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.others += &format!(" {}={value:?}", field.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Color;

    fn global(verbose: u8, quiet: u8) -> GlobalArgs {
        GlobalArgs { verbose, quiet, log_format: LogFormat::Text, color: Color::Never }
    }

    fn chosen(verbose: u8, quiet: u8, set: &[(&str, &str)]) -> String {
        let variable = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        filter(&global(verbose, quiet), "warn", variable).0.to_string()
    }

    #[test]
    fn flags_go_before_wharf_log_before_rust_log() {
        assert_eq!(chosen(0, 0, &[]), "warn");
        assert_eq!(chosen(0, 0, &[("RUST_LOG", "debug")]), "debug");
        assert_eq!(chosen(0, 0, &[("RUST_LOG", "debug"), ("WHARF_LOG", "info")]), "info");
        assert_eq!(chosen(0, 0, &[("RUST_LOG", "debug"), ("WHARF_LOG", "")]), "debug");
        assert_eq!(chosen(0, 1, &[("WHARF_LOG", "debug")]), "error");
        assert_eq!(chosen(0, 2, &[]), "off");
        assert_eq!(chosen(3, 0, &[("WHARF_LOG", "off")]), "trace");
    }

    #[test]
    fn a_filter_that_does_not_parse_is_told_and_ignored() {
        let (filter, problem) =
            filter(&global(0, 0), "warn", |name| (name == "WHARF_LOG").then(|| "wharf=loud".to_owned()));
        assert_eq!(filter.to_string(), "warn");
        assert!(problem.unwrap().starts_with("WHARF_LOG is not a valid log filter"));
    }
}
