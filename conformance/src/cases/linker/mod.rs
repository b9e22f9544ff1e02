//! `linker/...`: an embedder's own imports, offered to components by their WIT types and to core modules by their
//! signatures.

mod core;
mod functions;
mod load;
mod probe;
mod resources;
mod types;
mod waiting;

use crate::case::Case;

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] =
    &[functions::CASES, waiting::CASES, resources::CASES, types::CASES, core::CASES, load::CASES];
