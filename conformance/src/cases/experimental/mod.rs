//! `experimental/...`: the `wasi_experimental_http` ABI, byte by byte.

use crate::case::Case;

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] = &[];
