//! `sockets/...`: sockets through preview 1, in its own dialect and in both of WasmEdge's.
//!
//! The probe imports every function of every dialect, so each case is also one of a module that mixes them.

mod addresses;
mod bounds;
mod datagrams;
mod dialects;
mod ends;
mod limits;
mod lookup;
mod options;
mod peer;
mod policy;
mod poll;
mod probe;
mod servers;
mod streams;

use crate::case::Case;

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] = &[
    dialects::CASES,
    servers::CASES,
    streams::CASES,
    addresses::CASES,
    datagrams::CASES,
    options::CASES,
    lookup::CASES,
    poll::CASES,
    policy::CASES,
    limits::CASES,
    ends::CASES,
    bounds::CASES,
];
