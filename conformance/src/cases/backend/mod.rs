//! `backend/...`: what core relies on a backend for, without what core adds.

mod call;
mod code;
mod data;
mod feature;
mod fresh;
mod host;
mod interrupt;
mod memory;
mod nested;
mod stop;
mod trap;

use crate::case::Case;

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] = &[
    call::CASES,
    host::CASES,
    memory::CASES,
    data::CASES,
    fresh::CASES,
    nested::CASES,
    trap::CASES,
    stop::CASES,
    interrupt::CASES,
    code::CASES,
    feature::CASES,
];
