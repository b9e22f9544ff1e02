//! `preview1/...`: WASI preview 1.

use crate::case::Case;

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] = &[];
