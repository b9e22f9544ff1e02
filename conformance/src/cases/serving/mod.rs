//! `serving/...`: a guest behind wharf's server, as clients see it: bytes on the wire.

mod asked;
mod deadlines;
mod edge;
mod exchange;
mod guests;
mod http2;
mod leaving;
mod reader;
mod script;
mod unfinished;

use crate::case::Case;

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] =
    &[exchange::CASES, asked::CASES, edge::CASES, http2::CASES, deadlines::CASES, leaving::CASES, unfinished::CASES];
