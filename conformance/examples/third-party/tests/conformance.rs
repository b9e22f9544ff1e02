//! wharf's conformance suite on a backend of one's own, in ten lines.

use std::process::ExitCode;
use std::sync::Arc;

use wharf_conformance::{Subject, main as conformance};
use wharf_third_party_example::Wasmi;

fn main() -> ExitCode {
    // Interpreted, and by an interpreter that is not optimised, these would take most of an hour.
    conformance([Subject::new(Arc::new(Wasmi::new())).without(["guest/examples/", "guest/handlers/"])])
}
