//! Reports: four forms of one truth.

use wharf_conformance::{CaseReport, Column, Exit, Level, Outcome, Report};

fn result(id: &str, outcome: Outcome, message: Option<&str>) -> CaseReport {
    CaseReport {
        id: id.to_owned(),
        level: Level::Must,
        proves: "a section".to_owned(),
        outcome,
        message: message.map(str::to_owned),
        milliseconds: 12,
    }
}

fn column(backend: &str, results: Vec<CaseReport>) -> Column {
    Column {
        backend: backend.to_owned(),
        engine: "1.2.3".to_owned(),
        capabilities: vec!["interrupt".to_owned(), "compiled-code".to_owned()],
        results,
    }
}

/// Every outcome, and text that would break a form that does not escape it.
fn report() -> Report {
    Report::new(vec![
        column(
            "one",
            vec![
                result("backend/x/pass", Outcome::Pass, None),
                result("backend/x/fail", Outcome::Fail, Some("<b>not</b> | \"this\" &\nnor that \u{1}")),
                result("other/x/error", Outcome::Error, Some("panicked")),
            ],
        ),
        column(
            "two",
            vec![
                result("backend/x/pass", Outcome::Pass, None),
                result("backend/x/fail", Outcome::Unsupported, Some("the engine lacks it")),
                result("backend/x/xfail", Outcome::Xfail, Some("known")),
                result("backend/x/xpass", Outcome::Xpass, Some("no longer")),
                result("backend/x/skip", Outcome::Skipped, Some("no reason")),
            ],
        ),
    ])
}

#[test]
fn json_matches_its_schema_and_comes_back() {
    let report = report();
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    let schema: serde_json::Value = serde_json::from_str(wharf_conformance::report::SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(Report::from_json(&report.to_json()).unwrap(), report);
}

#[test]
fn the_schema_refuses_what_is_no_report() {
    let schema: serde_json::Value = serde_json::from_str(wharf_conformance::report::SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (pointer, value) in [
        ("/format", serde_json::json!(2)),
        ("/columns/0/results/0/outcome", serde_json::json!("good")),
        ("/columns/0/results/0/id", serde_json::json!("No Id")),
        ("/columns/0/results/0/milliseconds", serde_json::json!(-1)),
        ("/columns/0/capabilities/0", serde_json::json!("telepathy")),
    ] {
        let mut json: serde_json::Value = serde_json::from_str(&report().to_json()).unwrap();
        *json.pointer_mut(pointer).unwrap() = value;
        assert!(!validator.is_valid(&json), "{pointer} may be anything");
    }
}

#[test]
fn the_schema_knows_every_capability() {
    for capability in wharf_core::Capability::ALL {
        let name = format!("\"{}\"", capability.name());
        assert!(wharf_conformance::report::SCHEMA.contains(&name), "{name} is missing in report.schema.json");
    }
}

#[test]
fn what_is_no_report_is_refused() {
    for text in ["", "{}", "[]", "not json"] {
        assert_eq!(Report::from_json(text).unwrap_err().kind(), wharf_core::Kind::Config, "{text:?}");
    }
    let later = report().to_json().replacen("\"format\": 1", "\"format\": 2", 1);
    assert!(Report::from_json(&later).unwrap_err().to_string().contains("format 2"));
}

#[test]
fn the_matrix_counts_results() {
    let report = report();
    let matrix = report.matrix();
    let backend = &matrix["backend"];
    assert_eq!((backend[0].passed, backend[0].red, backend[0].total), (1, 1, 2));
    assert_eq!((backend[1].passed, backend[1].unsupported, backend[1].red, backend[1].total), (1, 1, 1, 5));
    assert_eq!(matrix["other"][1].total, 0);
    assert_eq!(report.totals()[0].total, 3);
    assert_eq!(report.outcome(), Exit::Harness, "an error of the harness outweighs failures");
}

#[test]
fn markdown_has_the_matrix_and_every_exception() {
    let text = report().to_markdown();
    assert!(text.contains("| area | one 1.2.3 | two 1.2.3 |"), "{text}");
    assert!(text.contains("| backend | 1/2 | 1/5, 1 unsupported |"), "{text}");
    assert!(text.contains("| other | 0/1 | - |"), "{text}");
    assert!(
        text.contains("| fail | one | `backend/x/fail` | must | &lt;b>not&lt;/b> \\| \"this\" & nor that"),
        "{text}"
    );
    for outcome in ["error", "unsupported", "xfail", "xpass", "skipped"] {
        assert!(text.contains(&format!("\n| {outcome} | ")), "{outcome} is missing: {text}");
    }
    let good = Report::new(vec![column("one", vec![result("a/b/c", Outcome::Pass, None)])]);
    assert!(good.to_markdown().contains("Every case passed"));
    assert_eq!(good.outcome(), Exit::Good);
}

#[test]
fn junit_has_a_suite_for_each_backend() {
    let xml = report().to_junit();
    assert!(xml.contains("<testsuite name=\"one\" tests=\"3\" disabled=\"0\" errors=\"1\" failures=\"1\">"), "{xml}");
    assert!(xml.contains("<testsuite name=\"two\" tests=\"5\" disabled=\"3\" errors=\"0\" failures=\"1\">"), "{xml}");
    for (outcome, reason) in [("unsupported", "the engine lacks it"), ("xfail", "known"), ("skipped", "no reason")] {
        assert!(xml.contains(&format!("<skipped message=\"{reason}\" type=\"{outcome}\"")), "{outcome}: {xml}");
    }
    assert!(xml.contains("&lt;b&gt;not&lt;/b&gt; | &quot;this&quot; &amp;"), "{xml}");
    assert!(!xml.contains('\u{1}'), "a control character makes XML unreadable");
}

#[test]
fn html_is_one_page_that_asks_for_nothing() {
    let page = report().to_html();
    assert!(page.starts_with("<!DOCTYPE html>"));
    for outside in ["http://", "https://", "src=", "<link", "@import", "url("] {
        assert!(!page.contains(outside), "the page contains {outside:?}");
    }
    assert!(page.contains("&lt;b&gt;not&lt;/b&gt;"), "a message is not escaped");
    assert!(page.contains("prefers-color-scheme:dark"));
    for outcome in Outcome::ALL {
        assert!(page.contains(&format!("class=\"{}\"", outcome.name())), "{outcome:?} is not shown");
    }
}

#[test]
fn all_forms_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("made/on/the/way");
    report().write_to(&inside).unwrap();
    for name in ["conformance.json", "conformance.xml", "conformance.md", "conformance.html"] {
        assert!(inside.join(name).metadata().unwrap().len() > 100, "{name}");
    }
    let file = inside.join("conformance.json");
    assert_eq!(report().write_to(&file).unwrap_err().kind(), wharf_core::Kind::Config);
}
