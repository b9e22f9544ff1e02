//! `guest/...`: loading a guest and running it, whichever ABI it speaks.

mod cache;
mod ends;
mod load;

use crate::case::Case;

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] = &[load::CASES, ends::CASES, cache::CASES];
