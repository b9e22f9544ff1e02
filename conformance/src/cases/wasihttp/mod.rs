//! `wasihttp/...`: WASI 0.2 as lowered core functions, `wasi:http` above all.
//!
//! The probes are core modules as bindings produce them before they are wrapped as components.

mod budget;
mod canon;
mod children;
mod codes;
mod exchange;
mod faults;
mod fields;
mod files;
pub(crate) mod handler;
mod inbound;
mod outbound;
mod probe;
mod requests;
mod responses;
mod rules;
mod sent;
pub(crate) mod serving;
mod stdio;
mod streams;

use crate::case::Case;

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] = &[
    rules::CASES,
    canon::CASES,
    budget::CASES,
    fields::CASES,
    children::CASES,
    outbound::CASES,
    requests::CASES,
    sent::CASES,
    streams::CASES,
    faults::CASES,
    codes::CASES,
    inbound::CASES,
    serving::CASES,
    responses::CASES,
    files::CASES,
    stdio::CASES,
];
