//! The harness's own tests, with no engine.

mod harness;
mod report;
