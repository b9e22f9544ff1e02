//! `guest/...`: loading a guest and running it, whichever ABI it speaks.

mod adapter;
mod cache;
mod ends;
mod examples;
pub(in crate::cases) mod front;
mod handlers;
mod libraries;
mod limits;
mod load;
mod servers;

use crate::case::Case;

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] = &[
    load::CASES,
    limits::CASES,
    ends::CASES,
    cache::CASES,
    adapter::CASES,
    examples::CASES,
    examples::RUST_ONLY,
    examples::JAVASCRIPT_ONLY,
    libraries::CASES,
    servers::CASES,
    handlers::CASES,
];
