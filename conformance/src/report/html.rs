//! The report as one self-contained page: no request leaves it, and it reads in light and in dark.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{CaseReport, Column, Report, Tally};

impl Report {
    /// The report as one HTML page with its style and script inside.
    pub fn to_html(&self) -> String {
        page(self).into_string()
    }
}

fn page(report: &Report) -> Markup {
    let mut ids: Vec<&CaseReport> = report.columns.iter().flat_map(|column| &column.results).collect();
    ids.sort_by(|a, b| a.id.cmp(&b.id));
    ids.dedup_by(|a, b| a.id == b.id);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "wharf conformance" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "wharf conformance" }
                p { "Suite " (report.suite) " on " (report.machine) ", " (ids.len()) " cases." }
                (matrix(report))
                h2 { "Cases" }
                p.filter {
                    label { "Find " input id="find" type="search" placeholder="id or message" autocomplete="off"; }
                    label { input id="open" type="checkbox"; " only what did not pass" }
                    span id="shown" aria-live="polite" {}
                }
                table id="cases" {
                    thead { tr {
                        th { "case" } th { "level" } th { "proves" }
                        @for column in &report.columns { th { (column.backend) } }
                    } }
                    tbody {
                        @for case in &ids { (row(report, case)) }
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

fn matrix(report: &Report) -> Markup {
    html! {
        table {
            thead { tr {
                th { "area" }
                @for column in &report.columns {
                    th { (column.backend) div.note { (column.engine) } div.note { (column.capabilities.join(", ")) } }
                }
            } }
            tbody {
                @for (area, tallies) in report.matrix() {
                    tr { th scope="row" { (area) } @for tally in &tallies { (tally_cell(tally)) } }
                }
                tr.all { th scope="row" { "all" } @for tally in &report.totals() { (tally_cell(tally)) } }
            }
        }
    }
}

fn tally_cell(tally: &Tally) -> Markup {
    let class = match tally {
        Tally { total: 0, .. } => "none",
        Tally { red: 0, passed, total, .. } if passed == total => "pass",
        Tally { red: 0, .. } => "unsupported",
        _ => "fail",
    };
    html! {
        td class=(class) {
            @if tally.total == 0 { "-" } @else { (tally.passed) "/" (tally.total) }
            @if tally.unsupported > 0 { div.note { (tally.unsupported) " unsupported" } }
        }
    }
}

fn row(report: &Report, case: &CaseReport) -> Markup {
    let results: Vec<Option<&CaseReport>> = report.columns.iter().map(|column| find(column, &case.id)).collect();
    let passed = results.iter().flatten().all(|result| result.outcome == crate::case::Outcome::Pass);
    html! {
        tr data-passed=(passed) {
            td { code { (case.id) } }
            td { (case.level.name()) }
            td { (case.proves) }
            @for result in &results {
                @match result {
                    None => td.none { "-" },
                    Some(result) => td class=(result.outcome.name()) title=(format!("{} ms", result.milliseconds)) {
                        (result.outcome.name())
                        @if let Some(message) = &result.message { div.note { (message) } }
                    },
                }
            }
        }
    }
}

fn find<'a>(column: &'a Column, id: &str) -> Option<&'a CaseReport> {
    column.results.iter().find(|result| result.id == id)
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d0d7de;--good:#d8f3dc;--bad:#ffd7d5;--odd:#fff3c4;--soft:#5b636d}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--paper:#14171b;--line:#363c44;--good:#1d3b26;--bad:#5a1f1f;--odd:#4a3c10;--soft:#9aa4af}}\
body{margin:2rem auto;max-width:80rem;padding:0 1rem;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}\
table{border-collapse:collapse;margin:1rem 0}th,td{border:1px solid var(--line);padding:.3rem .6rem;text-align:left;vertical-align:top}\
thead th{position:sticky;top:0;background:var(--paper)}code{font-size:13px}.note{color:var(--soft);font-size:13px;font-weight:normal;max-width:30rem;overflow-wrap:anywhere}\
.pass{background:var(--good)}.fail,.error,.xpass{background:var(--bad)}.xfail,.unsupported,.skipped{background:var(--odd)}.all{font-weight:bold}\
.filter label{margin-right:1.5rem}input[type=search]{font:inherit;padding:.2rem .4rem;width:20rem;max-width:100%}";

const SCRIPT: &str = "\
const find=document.getElementById('find'),open_=document.getElementById('open'),shown=document.getElementById('shown');\
const rows=[...document.querySelectorAll('#cases tbody tr')];\
function filter(){const text=find.value.toLowerCase();let n=0;for(const row of rows){\
const show=(!open_.checked||row.dataset.passed!=='true')&&row.textContent.toLowerCase().includes(text);row.hidden=!show;n+=show}\
shown.textContent=n+' of '+rows.length+' shown'}\
find.addEventListener('input',filter);open_.addEventListener('change',filter);filter();";
