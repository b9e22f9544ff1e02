//! What a run found, computed from results and nothing else, and the four forms it is written in.

mod html;
mod json;
mod junit;
mod markdown;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::case::{Level, Outcome};
use crate::runner::Subject;

pub use json::SCHEMA;

/// The version of the report's JSON form.
pub const FORMAT: u32 = 1;

/// What a run found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The version of this form: [`FORMAT`].
    pub format: u32,
    /// The version of the suite.
    pub suite: String,
    /// The operating system and processor, for example `linux x86_64`.
    pub machine: String,
    /// When the run ended, in seconds since 1970-01-01 UTC.
    pub ended: u64,
    /// One for each backend.
    pub columns: Vec<Column>,
}

/// One backend's results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The backend's name.
    pub backend: String,
    /// Its engine's version.
    pub engine: String,
    /// What the engine says it can do.
    pub capabilities: Vec<String>,
    /// One for each case, sorted by id.
    pub results: Vec<CaseReport>,
}

impl Column {
    /// A column without results yet.
    pub fn of(subject: &Subject) -> Self {
        let info = subject.backend().info();
        Column {
            backend: subject.name().to_owned(),
            engine: info.engine_version.clone(),
            capabilities: info.capabilities.iter().map(|capability| capability.name().to_owned()).collect(),
            results: Vec::new(),
        }
    }

    /// How many results have this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.results.iter().filter(|result| result.outcome == outcome).count()
    }
}

/// What came of one case on one backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseReport {
    /// The case's id.
    pub id: String,
    /// How much depends on it.
    pub level: Level,
    /// The section it proves.
    pub proves: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, unless it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How long it took.
    pub milliseconds: u64,
}

/// The verdict on a whole run, as `wharf conformance` exits with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything that ran is as it should be.
    Good = 0,
    /// A case failed, or passed against expectation.
    Failures = 1,
    /// The command line asks for what is not there.
    Usage = 2,
    /// The harness failed, a case panicked or hung: no verdict.
    Harness = 3,
    /// A backend ran no case.
    NothingRan = 4,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// How many cases of an area passed on a backend, of how many it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Cases that passed.
    pub passed: usize,
    /// Cases that the engine was seen to refuse for want of a capability.
    pub unsupported: usize,
    /// Cases that are red.
    pub red: usize,
    /// All cases.
    pub total: usize,
}

impl Tally {
    fn add(&mut self, outcome: Outcome) {
        self.total += 1;
        self.passed += usize::from(outcome == Outcome::Pass);
        self.unsupported += usize::from(outcome == Outcome::Unsupported);
        self.red += usize::from(outcome.is_red());
    }
}

impl Report {
    /// Makes a report of what ran.
    pub fn new(mut columns: Vec<Column>) -> Self {
        for column in &mut columns {
            column.results.sort_by(|a, b| a.id.cmp(&b.id));
        }
        Report {
            format: FORMAT,
            suite: env!("CARGO_PKG_VERSION").to_owned(),
            machine: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            ended: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()),
            columns,
        }
    }

    /// The verdict. The harness's own failure outweighs a case's.
    pub fn outcome(&self) -> Exit {
        let results = || self.columns.iter().flat_map(|column| &column.results);
        let executed = |column: &Column| column.results.iter().any(|result| result.outcome.is_executed());
        if results().any(|result| result.outcome == Outcome::Error) {
            Exit::Harness
        } else if self.columns.is_empty() || !self.columns.iter().all(executed) {
            Exit::NothingRan
        } else if results().any(|result| result.outcome.is_red()) {
            Exit::Failures
        } else {
            Exit::Good
        }
    }

    /// Per area, in order, the tally of each column.
    pub fn matrix(&self) -> BTreeMap<String, Vec<Tally>> {
        let mut areas: BTreeMap<String, Vec<Tally>> = BTreeMap::new();
        for (index, column) in self.columns.iter().enumerate() {
            for result in &column.results {
                let tallies = areas
                    .entry(area(&result.id).to_owned())
                    .or_insert_with(|| vec![Tally::default(); self.columns.len()]);
                tallies[index].add(result.outcome);
            }
        }
        areas
    }

    /// The tally of each column over all areas.
    pub fn totals(&self) -> Vec<Tally> {
        self.columns
            .iter()
            .map(|column| {
                let mut tally = Tally::default();
                column.results.iter().for_each(|result| tally.add(result.outcome));
                tally
            })
            .collect()
    }

    /// Everything but passes: the column and the result.
    pub fn exceptions(&self) -> impl Iterator<Item = (&Column, &CaseReport)> {
        self.columns
            .iter()
            .flat_map(|column| column.results.iter().map(move |result| (column, result)))
            .filter(|(_, result)| result.outcome != Outcome::Pass)
    }

    /// Writes all four forms into `directory`, which is made if need be: `conformance.json`, `conformance.xml`,
    /// `conformance.md` and `conformance.html`.
    ///
    /// # Errors
    /// [`Kind::Config`](wharf_core::Kind::Config) if the directory or a file cannot be written.
    pub fn write_to(&self, directory: &Path) -> wharf_core::Result<()> {
        let failed = |path: &Path, error| {
            wharf_core::Error::new(wharf_core::Kind::Config, format!("cannot write the report to {}", path.display()))
                .with_source(error)
        };
        std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
        for (name, text) in [
            ("conformance.json", self.to_json()),
            ("conformance.xml", self.to_junit()),
            ("conformance.md", self.to_markdown()),
            ("conformance.html", self.to_html()),
        ] {
            let path = directory.join(name);
            std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
        }
        Ok(())
    }
}

/// The area of a case: its id up to the first slash.
fn area(id: &str) -> &str {
    id.split_once('/').map_or(id, |(area, _)| area)
}
