//! `preview1/...`: WASI preview 1, as compiled guests rely on it.
//!
//! Most cases are a probe of all its functions, so every call is also checked to write nothing but its answer.

mod args;
mod attr;
mod bounds;
mod clock;
mod dir;
mod exit;
mod file;
pub(super) mod host;
mod poll;
pub(super) mod probe;
mod sandbox;
mod slash;
mod sock;
mod stdio;

use crate::case::Case;

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] = &[
    args::CASES,
    stdio::CASES,
    clock::CASES,
    poll::CASES,
    exit::CASES,
    file::CASES,
    attr::CASES,
    dir::CASES,
    sandbox::CASES,
    slash::CASES,
    sock::CASES,
    bounds::CASES,
];
