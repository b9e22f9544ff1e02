//! Exit codes, and the one line that says why.

use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use wharf::core::{Error, Kind};

use crate::args::Usage;
use crate::output;
use crate::signals::Stopped;

/// Everything went as asked.
pub(crate) const SUCCESS: u8 = 0;
/// What was asked for could not be done.
pub(crate) const FAILURE: u8 = 1;
/// The command line cannot be followed.
pub(crate) const USAGE: u8 = 2;
/// The guest ran out of time; the code of `timeout(1)`.
pub(crate) const TIMEOUT: u8 = 124;
/// The guest trapped; the code of a shell whose child aborted.
pub(crate) const TRAP: u8 = 134;

/// Set once a panic has been told, so that the error it is turned into is not told again.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The exit code for `error`.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() {
        return USAGE;
    }
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return stopped.code();
    }
    match error.downcast_ref::<Error>().map(Error::kind) {
        Some(Kind::Trap) => TRAP,
        Some(Kind::Timeout) => TIMEOUT,
        _ => FAILURE,
    }
}

/// The exit code that the process gives for the guest's: what a process has is 0 to 255, and a guest that failed must
/// not seem to have succeeded.
pub(crate) fn guest_code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or_else(|_| {
        let given = match code as u8 {
            0 => FAILURE,
            low => low,
        };
        tracing::warn!(
            "the guest exited with {code}, which is not a valid exit code of a process; wharf exits with {given}"
        );
        given
    })
}

/// Prints `error` with its causes on one line.
pub(crate) fn report(error: &anyhow::Error) {
    let internal = error.downcast_ref::<Error>().is_some_and(|error| error.kind() == Kind::Internal);
    if internal && PANICKED.load(Ordering::Relaxed) {
        return;
    }
    let advice = if internal { BUG } else { "" };
    output::error(&format!("{error:#}{advice}"));
}

const BUG: &str = " (this is a bug in wharf: please report it)";

/// Makes a panic print one line that calls it what it is, without a backtrace.
pub(crate) fn report_panics() {
    panic::set_hook(Box::new(|info| {
        PANICKED.store(true, Ordering::Relaxed);
        let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let what = info.payload_as_str().unwrap_or("no message");
        output::error(&format!("panicked at {place}: {what}{BUG}"));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_guest_never_seems_to_succeed() {
        for (guest, process) in [(0, 0), (7, 7), (255, 255), (256, 1), (-1, 255), (i32::MIN, 1), (257, 1)] {
            assert_eq!(guest_code(guest), process, "{guest}");
        }
    }

    #[test]
    fn kinds_have_codes() {
        let code = |kind| code(&Error::new(kind, "x").into());
        assert_eq!(code(Kind::Trap), 134);
        assert_eq!(code(Kind::Timeout), 124);
        assert_eq!(code(Kind::Guest), 1);
        assert_eq!(super::code(&Usage("x".into()).into()), 2);
        assert_eq!(super::code(&anyhow::Error::from(Error::new(Kind::Trap, "x")).context("y")), 134);
    }
}
