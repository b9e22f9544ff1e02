//! `wasi03/...`: the concurrency of the component model and WASI 0.3, the same on every engine.
//!
//! The probes are components in the text format. On the column of a component host it runs them as they are; on all others
//! they are flattened, and run on wharf's own host.

mod apart;
mod builtins;
mod commands;
mod composed;
mod futures;
mod handed;
mod handler;
mod messages;
mod orders;
mod pair;
mod payloads;
mod plugged;
mod probe;
mod random;
mod refused;
mod reuse;
mod service;
mod serving;
mod streams;
mod tasks;
mod toolchains;

pub use self::reuse::counter;
use crate::case::Case;

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] = &[
    tasks::CASES,
    streams::CASES,
    futures::CASES,
    orders::CASES,
    payloads::CASES,
    builtins::CASES,
    refused::CASES,
    commands::CASES,
    service::CASES,
    serving::CASES,
    reuse::CASES,
    messages::CASES,
    toolchains::CASES,
    composed::CASES,
    handed::CASES,
    plugged::CASES,
    apart::CASES,
    random::CASES,
];
