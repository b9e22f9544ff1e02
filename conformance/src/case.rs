//! What a case is, and what can come of it.

use std::fmt;

use serde::{Deserialize, Serialize};
use wharf_core::{Capability, Stop, Trap, chain};
use wharf_guests::PrebuiltGuest;

use crate::context::Context;

/// One rule of wharf, proved on whatever backend the [`Context`] holds.
///
/// Declared once, as a constant in its area's `CASES`, and run on every backend.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its stable name, `area/.../case`, in lower case with dashes.
    pub id: &'static str,
    /// How much depends on it.
    pub level: Level,
    /// The section of the specification or of an ABI that it proves.
    pub proves: &'static str,
    /// What the engine must be able to do, each with what is run where it cannot.
    pub needs: &'static [Need],
    /// The guests of `guests/` that it runs. One that is not there makes the case skipped; one that no case names does
    /// not compile.
    pub guests: &'static [PrebuiltGuest],
    /// The case itself.
    pub run: fn(&Context) -> CaseResult,
}

impl Case {
    /// A case that every backend has to pass.
    pub const fn must(id: &'static str, proves: &'static str, run: fn(&Context) -> CaseResult) -> Self {
        Case { id, level: Level::Must, proves, needs: &[], guests: &[], run }
    }

    /// A case that a backend should pass: quality, not correctness.
    pub const fn should(id: &'static str, proves: &'static str, run: fn(&Context) -> CaseResult) -> Self {
        Case { id, level: Level::Should, proves, needs: &[], guests: &[], run }
    }

    /// Says what the engine must be able to do.
    pub const fn needs(mut self, needs: &'static [Need]) -> Self {
        self.needs = needs;
        self
    }

    /// Names the guests of `guests/` that it runs.
    pub const fn guests(mut self, guests: &'static [PrebuiltGuest]) -> Self {
        self.guests = guests;
        self
    }

    /// The area: the id up to its first slash.
    pub fn area(&self) -> &'static str {
        self.id.split_once('/').map_or(self.id, |(area, _)| area)
    }

    /// The name `cargo test` shows for this case on the backend called `backend`.
    pub fn test_name(&self, backend: &str) -> String {
        format!("{backend}::{}", self.id.replace('/', "::")).replace('-', "_")
    }
}

/// How much depends on a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A guest may break if it does not hold.
    Must,
    /// Guests work without it, less well.
    Should,
}

impl Level {
    /// The name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Level::Must => "must",
            Level::Should => "should",
        }
    }
}

/// A capability that a case cannot do without, and the case's negative twin.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// What the engine must be able to do.
    pub capability: Capability,
    /// Run instead where it cannot: proves that the backend says so, promptly and cleanly.
    pub twin: fn(&Context) -> CaseResult,
}

/// What a case gives back: nothing, or why it did not pass.
pub type CaseResult<T = ()> = Result<T, Unmet>;

/// Why a case did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// The rule does not hold; the text says what was expected and what was seen.
    Failed(String),
    /// The case could not be tried here; the text says why.
    Skipped(String),
    /// The harness itself failed: no port, no thread. No verdict on the backend.
    Harness(String),
}

impl Unmet {
    /// The rule does not hold.
    pub fn failed(message: impl Into<String>) -> Self {
        Unmet::Failed(message.into())
    }

    /// The harness itself failed.
    pub fn harness(message: impl fmt::Display) -> Self {
        Unmet::Harness(message.to_string())
    }

    /// Puts what was being tried in front of the message.
    pub fn context(self, what: impl fmt::Display) -> Self {
        match self {
            Unmet::Failed(message) => Unmet::Failed(format!("{what}: {message}")),
            Unmet::Skipped(message) => Unmet::Skipped(format!("{what}: {message}")),
            Unmet::Harness(message) => Unmet::Harness(format!("{what}: {message}")),
        }
    }
}

/// An error of wharf's that a case did not expect is a failure, told with its causes.
impl From<wharf_core::Error> for Unmet {
    fn from(error: wharf_core::Error) -> Self {
        Unmet::Failed(format!("unexpected {:?} error: {}", error.kind(), chain(&error)))
    }
}

impl From<wharf_core::grants::GrantError> for Unmet {
    fn from(error: wharf_core::grants::GrantError) -> Self {
        wharf_core::Error::from(error).into()
    }
}

impl From<wharf_core::http::TlsConfigError> for Unmet {
    fn from(error: wharf_core::http::TlsConfigError) -> Self {
        wharf_core::Error::from(error).into()
    }
}

impl From<Stop> for Unmet {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Exit(status) => Unmet::Failed(format!("the guest exited with {status}, which it should not have")),
            Stop::Error(error) => error.into(),
        }
    }
}

impl From<Trap> for Unmet {
    fn from(trap: Trap) -> Self {
        Unmet::Failed(format!("unexpected trap {:?}: {}", trap.code, trap.message))
    }
}

/// What came of a case on one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The rule holds.
    Pass,
    /// It does not.
    Fail,
    /// It does not, as the table of expected failures says.
    Xfail,
    /// It holds though the table says it does not: the table is out of date.
    Xpass,
    /// The engine cannot, and was seen to say so.
    Unsupported,
    /// Not tried, for the reason given.
    Skipped,
    /// The harness failed, the case panicked, or it did not end in time.
    Error,
}

impl Outcome {
    /// Every outcome, in the order reports list them.
    pub const ALL: [Outcome; 7] = [
        Outcome::Pass,
        Outcome::Fail,
        Outcome::Xfail,
        Outcome::Xpass,
        Outcome::Unsupported,
        Outcome::Skipped,
        Outcome::Error,
    ];

    /// The name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Xfail => "xfail",
            Outcome::Xpass => "xpass",
            Outcome::Unsupported => "unsupported",
            Outcome::Skipped => "skipped",
            Outcome::Error => "error",
        }
    }

    /// Whether it makes the whole run fail.
    pub fn is_red(self) -> bool {
        matches!(self, Outcome::Fail | Outcome::Xpass | Outcome::Error)
    }

    /// Whether the backend was put to the test, or its negative twin was.
    pub fn is_executed(self) -> bool {
        matches!(self, Outcome::Pass | Outcome::Fail | Outcome::Xfail | Outcome::Xpass | Outcome::Unsupported)
    }
}

/// Ends the case as failed unless the condition holds; further arguments are the message.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Unmet::failed(format!($($message)+)));
        }
    };
}

/// Ends the case as failed unless both values are equal: what was seen, what is right, and what it is.
#[macro_export]
macro_rules! check_eq {
    ($seen:expr, $right:expr, $($what:tt)+) => {
        match (&$seen, &$right) {
            (seen, right) => {
                if seen != right {
                    let what = format_args!($($what)+);
                    return Err($crate::Unmet::failed(format!("{what}: expected {right:?}, saw {seen:?}")));
                }
            }
        }
    };
}
