//! The options of `wharf conformance`.

use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct ConformanceArgs {
    /// A backend to run on, or `all`; may be repeated; a backend that is not compiled in is an error
    #[arg(long, value_name = "NAME|all", env = "WHARF_BACKEND", default_value = wharf::DEFAULT, value_delimiter = ',')]
    pub(crate) backend: Vec<String>,

    /// Run only cases whose id contains this; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Vec<String>,

    /// Print the ids of the cases, one per line, and run none
    #[arg(long)]
    pub(crate) list: bool,

    /// Write all four reports into this directory: conformance.json, .xml, .md and .html
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) report_dir: Option<PathBuf>,

    /// Write the JSON report to this file
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) json: Option<PathBuf>,

    /// Write the JUnit report to this file
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) junit: Option<PathBuf>,

    /// Write the Markdown report to this file
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) markdown: Option<PathBuf>,

    /// Write the HTML report, one self-contained page, to this file
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
}
