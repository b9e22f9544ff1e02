//! The suite as a test binary: `cargo test` runs it, and its filters, `--list` and `--exact` work as usual.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::case::Outcome;
use crate::cases::cases;
use crate::report::{Exit, Report};
use crate::runner::{Options, Subject, execute};

/// Names the backends that must take part, comma-separated; one that is not registered is an error.
pub const BACKENDS_VARIABLE: &str = "WHARF_CONFORMANCE_BACKENDS";

/// How many seconds a case may take before it counts as hung, if not 20: for more than a case does unless it is asked to.
pub const TIMEOUT_VARIABLE: &str = "WHARF_CONFORMANCE_TIMEOUT";

/// A directory to write `conformance.json`, `.xml`, `.md` and `.html` to. What cargo runs writes to a directory in it that is
/// named as the package, so that `cargo test --workspace` keeps what each package that runs the suite reports.
pub const REPORT_VARIABLE: &str = "WHARF_CONFORMANCE_REPORT";

/// Runs the suite on `subjects` as a test binary does, reading the process's arguments.
///
/// Each case on each subject is one test, `backend::area::..::case`, and the exit code is an [`Exit`].
pub fn main(subjects: impl IntoIterator<Item = Subject>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Most cases wait for most of their time.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(2 * processors);
    let subjects: Vec<Subject> = subjects.into_iter().collect();
    let subjects = match chosen(subjects, std::env::var(BACKENDS_VARIABLE).ok().as_deref()) {
        Ok(subjects) => subjects,
        Err(message) => {
            eprintln!("error: {message}");
            return Exit::Usage.into();
        }
    };
    let mut options = Options::default();
    if let Ok(seconds) = std::env::var(TIMEOUT_VARIABLE) {
        let Ok(seconds) = seconds.parse() else {
            eprintln!("error: {TIMEOUT_VARIABLE}={seconds:?} is not a valid number of seconds");
            return Exit::Harness.into();
        };
        options.timeout = Duration::from_secs(seconds);
    }
    let options = Arc::new(options);
    let executed = Arc::new(AtomicUsize::new(0));
    let broken = Arc::new(AtomicUsize::new(0));
    let columns: Arc<Mutex<Vec<_>>> = Arc::new(Mutex::new(subjects.iter().map(crate::report::Column::of).collect()));
    let mut trials = Vec::new();
    for (column, subject) in subjects.iter().enumerate() {
        for case in cases().into_iter().filter(|case| subject.takes(case)) {
            let (subject, options) = (subject.clone(), options.clone());
            let (executed, broken, columns) = (executed.clone(), broken.clone(), columns.clone());
            trials.push(Trial::ignorable_test(case.test_name(subject.name()), move || {
                let report = execute(case, &subject, &options);
                if report.outcome.is_executed() {
                    executed.fetch_add(1, Ordering::Relaxed);
                }
                if report.outcome == Outcome::Error {
                    broken.fetch_add(1, Ordering::Relaxed);
                }
                let (outcome, message) = (report.outcome, report.message.clone().unwrap_or_default());
                columns.lock().unwrap_or_else(PoisonError::into_inner)[column].results.push(report);
                match outcome {
                    Outcome::Pass => Ok(Completion::Completed),
                    Outcome::Fail | Outcome::Xpass | Outcome::Error => {
                        Err(Failed::from(format!("{}: {message}\n    {} ({})", outcome.name(), case.id, case.proves)))
                    }
                    _ => Ok(Completion::ignored_with(format!("{}: {message}", outcome.name()))),
                }
            }));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if arguments.list {
        return ExitCode::SUCCESS;
    }
    if let Some(directory) = std::env::var_os(REPORT_VARIABLE) {
        let mut directory = PathBuf::from(directory);
        directory.extend(std::env::var_os("CARGO_PKG_NAME"));
        let columns = std::mem::take(&mut *columns.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(error) = Report::new(columns).write_to(&directory) {
            eprintln!("error: {error}");
            return Exit::Harness.into();
        }
    }
    if executed.load(Ordering::Relaxed) == 0 {
        eprintln!("error: no case ran; a backend has to be registered and a filter has to match (try --list)");
        return Exit::NothingRan.into();
    }
    match (broken.load(Ordering::Relaxed), conclusion.has_failed()) {
        (0, false) => Exit::Good.into(),
        (0, true) => Exit::Failures.into(),
        _ => Exit::Harness.into(),
    }
}

/// The subjects that `wanted` names, or all of them.
fn chosen(mut subjects: Vec<Subject>, wanted: Option<&str>) -> Result<Vec<Subject>, String> {
    let Some(wanted) = wanted else { return Ok(subjects) };
    let wanted: Vec<&str> = wanted.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let there: Vec<&str> = subjects.iter().map(Subject::name).collect();
    if let Some(missing) = wanted.iter().find(|name| !there.contains(*name)) {
        return Err(format!(
            "{BACKENDS_VARIABLE} asks for `{missing}`, which is not compiled in (there: {}); \
             enable its feature, for example with --all-features",
            if there.is_empty() { "none".to_owned() } else { there.join(", ") },
        ));
    }
    subjects.retain(|subject| wanted.contains(&subject.name()));
    Ok(subjects)
}
