//! The harness itself: every outcome comes about as it should, and nothing green comes of nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wharf_conformance::saboteur::Sabotage;
use wharf_conformance::{
    Case, CaseResult, Column, Context, Exit, Expected, Level, Need, Options, Outcome, Report, Subject, Unmet, cases,
    execute, run, run_with,
};
use wharf_core::{Backend, BackendInfo, Capability, Error, Kind, Module, Prepared, Result, TrustedCode};

/// A backend that does nothing, and can do nothing.
struct Nothing(BackendInfo);

impl Backend for Nothing {
    fn info(&self) -> &BackendInfo {
        &self.0
    }

    fn compile(&self, _: &Prepared) -> Result<Arc<dyn Module>> {
        Err(Error::new(Kind::Engine, "this backend does nothing"))
    }

    fn load(&self, _: &Prepared, _: TrustedCode<'_>) -> Result<Arc<dyn Module>> {
        Err(Error::new(Kind::Engine, "this backend does nothing"))
    }
}

fn nothing() -> Subject {
    let info = BackendInfo {
        name: "nothing",
        engine_version: "0".to_owned(),
        code_key: String::new(),
        capabilities: Vec::new(),
    };
    Subject::new(Arc::new(Nothing(info)))
}

fn outcome_with(case: &Case, options: &Options) -> (Outcome, String) {
    let report = execute(case, &nothing(), options);
    (report.outcome, report.message.unwrap_or_default())
}

fn outcome(case: &Case) -> (Outcome, String) {
    outcome_with(case, &Options::default())
}

fn passes(_: &Context) -> CaseResult {
    Ok(())
}

fn fails(_: &Context) -> CaseResult {
    Err(Unmet::failed("one is not two"))
}

#[test]
fn each_end_of_a_case_has_its_outcome() {
    assert_eq!(outcome(&Case::must("a/pass", "-", passes)).0, Outcome::Pass);
    assert_eq!(outcome(&Case::must("a/fail", "-", fails)), (Outcome::Fail, "one is not two".to_owned()));
    let skips = Case::must("a/skip", "-", |_| Err(Unmet::Skipped("no reason".to_owned())));
    assert_eq!(outcome(&skips), (Outcome::Skipped, "no reason".to_owned()));
    let breaks = Case::must("a/harness", "-", |_| Err(Unmet::harness("no port")));
    assert_eq!(outcome(&breaks), (Outcome::Error, "no port".to_owned()));
}

#[test]
fn a_panic_is_an_error() {
    let case = Case::must("a/panic", "-", |_| std::panic::resume_unwind(Box::new("as the test wants")));
    assert_eq!(outcome(&case), (Outcome::Error, "panicked: as the test wants".to_owned()));
}

#[test]
fn a_hung_case_is_an_error_and_holds_up_nothing() {
    let case = Case::must("a/hang", "-", |_| {
        std::thread::sleep(Duration::from_secs(5));
        Ok(())
    });
    let before = Instant::now();
    let (outcome, message) = outcome_with(&case, &Options { timeout: Duration::from_millis(50), ..Options::default() });
    assert_eq!(outcome, Outcome::Error);
    assert!(message.contains("did not end"), "{message}");
    assert!(before.elapsed() < Duration::from_secs(3));
}

#[test]
fn an_expected_failure_matches_by_its_words() {
    let known = |id, message| Options {
        expected: vec![Expected { backend: "nothing", id, reason: "a reason", link: "a link", message }],
        ..Options::default()
    };
    let fail = Case::must("a/fail", "-", fails);
    let (seen, message) = outcome_with(&fail, &known("a/fail", "not two"));
    assert_eq!(seen, Outcome::Xfail);
    assert!(message.contains("a reason") && message.contains("a link"), "{message}");
    assert_eq!(outcome_with(&fail, &known("a/fail", "other words")).0, Outcome::Fail);
    assert_eq!(outcome_with(&fail, &known("a/other", "not two")).0, Outcome::Fail);
    assert_eq!(outcome_with(&Case::must("a/pass", "-", passes), &known("a/pass", "x")).0, Outcome::Xpass);
    assert!(Outcome::Xpass.is_red() && !Outcome::Xfail.is_red());
}

#[test]
fn unsupported_takes_a_twin_that_passes() {
    const QUIET: &[Need] = &[Need { capability: Capability::MultiMemory, twin: passes }];
    const LYING: &[Need] = &[Need { capability: Capability::MultiMemory, twin: fails }];
    // The case itself fails, so it is the twin that ran.
    assert_eq!(outcome(&Case::must("a/b", "-", fails).needs(QUIET)).0, Outcome::Unsupported);
    let (seen, message) = outcome(&Case::must("a/b", "-", passes).needs(LYING));
    assert_eq!(seen, Outcome::Fail);
    assert!(message.contains("multi-memory"), "{message}");
}

#[test]
fn nothing_executed_is_no_success() {
    assert_eq!(Report::new(Vec::new()).outcome(), Exit::NothingRan);
    assert_eq!(run(&[], &Options::default()).outcome(), Exit::NothingRan);
    let none = Options { filter: vec!["no case has this in its id".to_owned()], ..Options::default() };
    assert_eq!(run(&[nothing()], &none).outcome(), Exit::NothingRan);
    // One backend that ran does not speak for another that did not.
    let ran =
        Column { results: vec![execute(&Case::must("a/b", "-", passes), &nothing(), &none)], ..Column::of(&nothing()) };
    assert_eq!(Report::new(vec![ran.clone()]).outcome(), Exit::Good);
    assert_eq!(Report::new(vec![ran, Column::of(&nothing())]).outcome(), Exit::NothingRan);
}

#[test]
fn skipped_alone_is_nothing_executed() {
    let skips = Case::must("a/skip", "-", |_| Err(Unmet::Skipped("no reason".to_owned())));
    let report = execute(&skips, &nothing(), &Options::default());
    assert_eq!(
        Report::new(vec![Column { results: vec![report], ..Column::of(&nothing()) }]).outcome(),
        Exit::NothingRan
    );
}

#[test]
fn a_backend_that_does_nothing_passes_next_to_nothing() {
    let options =
        Options { filter: vec!["backend/call".to_owned(), "backend/interrupt".to_owned()], ..Options::default() };
    let ended = std::sync::atomic::AtomicUsize::new(0);
    let report = run_with(&[nothing()], &options, |progress| {
        assert_eq!((progress.backend, progress.total > 20), ("nothing", true));
        ended.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let column = &report.columns[0];
    assert_eq!(column.results.len(), ended.into_inner());
    assert_eq!(column.count(Outcome::Pass), 0, "{}", report.to_markdown());
    // It lacks interruption but cannot even be asked to: its negative twins fail too.
    assert_eq!(column.count(Outcome::Unsupported), 0, "{}", report.to_markdown());
    assert_eq!(report.outcome(), Exit::Failures);
}

#[test]
fn ids_are_unique_and_well_formed() {
    let mut seen = HashSet::new();
    for case in cases() {
        assert!(seen.insert(case.id), "{} is declared twice", case.id);
        let parts: Vec<&str> = case.id.split('/').collect();
        let plain = |part: &&str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        assert!(parts.len() >= 3 && parts.iter().all(plain), "{} is not an id of the form area/subject/case", case.id);
        assert!(case.proves.len() > 3, "{} does not say what it proves", case.id);
        assert!(matches!(case.level, Level::Must | Level::Should));
        assert_eq!(case.area(), parts[0]);
    }
    assert!(seen.len() >= 100, "there are only {} cases", seen.len());
}

#[test]
fn test_names_are_paths() {
    let case = Case::must("outbound/redirect/denied-hop", "-", passes);
    assert_eq!(case.test_name("wasmtime"), "wasmtime::outbound::redirect::denied_hop");
}

#[test]
fn every_saboteur_is_watched_for() {
    let ids: HashSet<&str> = cases().iter().map(|case| case.id).collect();
    for sabotage in Sabotage::ALL {
        assert!(!sabotage.noticed_by().is_empty(), "{sabotage:?}");
        for (id, words) in sabotage.noticed_by() {
            assert!(ids.contains(id), "{sabotage:?} names {id}, which is not a case");
            assert!(!words.is_empty(), "{sabotage:?} may be noticed by {id} in any way");
        }
    }
    let bites = ids.iter().filter(|id| id.starts_with("suite/bites/")).count();
    assert_eq!(bites, Sabotage::ALL.len(), "each saboteur has a case that shows that it is caught");
}

#[test]
fn expected_failures_name_cases_and_say_why() {
    let ids: HashSet<&str> = cases().iter().map(|case| case.id).collect();
    for known in wharf_conformance::EXPECTED {
        assert!(ids.contains(known.id), "{} is not a case", known.id);
        for text in [known.backend, known.reason, known.link, known.message] {
            assert!(!text.is_empty(), "the expected failure of {} is not explained", known.id);
        }
    }
}

#[test]
fn a_column_has_the_cases_that_it_is_for() {
    let subject = nothing().only(["a/", "b/"]).without(["b/c/"]);
    let takes =
        |subject: &Subject| ["a/b", "b/b", "b/c/d", "c/d"].map(|id| subject.takes(&Case::must(id, "-", passes)));
    assert_eq!(takes(&subject), [true, true, false, false]);
    assert_eq!(takes(&nothing()), [true; 4]);
}
