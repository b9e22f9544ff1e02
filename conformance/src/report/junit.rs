//! The report as JUnit XML, which CI systems read: one suite a backend.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::{CaseReport, Report};
use crate::case::Outcome;

impl Report {
    /// The report as JUnit XML. `xfail`, `unsupported` and `skipped` appear as skipped, with their reason.
    pub fn to_junit(&self) -> String {
        let mut junit = Junit::new("wharf conformance");
        for column in &self.columns {
            let mut suite = TestSuite::new(&column.backend);
            suite.add_property(("engine", column.engine.as_str()));
            suite.add_property(("capabilities", column.capabilities.join(" ").as_str()));
            for result in &column.results {
                suite.add_test_case(test_case(&column.backend, result));
            }
            junit.add_test_suite(suite);
        }
        junit.to_string().expect("a report serializes to memory")
    }
}

fn test_case(backend: &str, result: &CaseReport) -> TestCase {
    let mut status = match result.outcome {
        Outcome::Pass => TestCaseStatus::success(),
        Outcome::Fail | Outcome::Xpass => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
        Outcome::Xfail | Outcome::Unsupported | Outcome::Skipped => TestCaseStatus::skipped(),
    };
    if let Some(message) = &result.message {
        status.set_type(result.outcome.name()).set_message(message.as_str());
    }
    let mut case = TestCase::new(&result.id, status);
    case.set_classname(backend).set_time(Duration::from_millis(result.milliseconds));
    case.add_property(("level", result.level.name()));
    case.add_property(("proves", result.proves.as_str()));
    case
}
