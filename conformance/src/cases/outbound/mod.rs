//! `outbound/...`: what may be reached, how, and within which limits, whichever ABI asks.

use crate::case::Case;

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] = &[];
