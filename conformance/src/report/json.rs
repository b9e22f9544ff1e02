//! The report as JSON, and back.

use wharf_core::{Error, Kind, Result};

use super::{FORMAT, Report};

/// The JSON schema of [`Report::to_json`].
pub const SCHEMA: &str = include_str!("../../report.schema.json");

impl Report {
    /// The report as JSON, indented, as [`SCHEMA`] describes it.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report holds nothing that JSON cannot");
        text.push('\n');
        text
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// [`Kind::Config`] if `text` is not such a report, or one of another version.
    pub fn from_json(text: &str) -> Result<Report> {
        let report: Report = serde_json::from_str(text)
            .map_err(|error| Error::new(Kind::Config, "this is not a conformance report").with_source(error))?;
        if report.format != FORMAT {
            return Err(Error::new(
                Kind::Config,
                format!("the report has format {}, and this version reads format {FORMAT}", report.format),
            ));
        }
        Ok(report)
    }
}
