//! `experimental/...`: the `wasi_experimental_http` ABI, byte by byte, as compiled guests rely on it.
//!
//! Each case is a probe (see [`HttpProbe`](crate::HttpProbe)), so every call is also checked to write nothing but its
//! answer.

mod body;
mod bounds;
mod codes;
mod differs;
mod handle;
mod headers;
mod load;
mod order;
mod req;

use crate::case::{Case, CaseResult};
use crate::check_eq;

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] = &[
    load::CASES,
    req::CASES,
    codes::CASES,
    order::CASES,
    headers::CASES,
    body::CASES,
    handle::CASES,
    bounds::CASES,
    differs::CASES,
];

/// The codes that the functions answer, as the published crate has them.
mod code {
    pub(super) const SUCCESS: u32 = 0;
    pub(super) const INVALID_HANDLE: u32 = 1;
    pub(super) const MEMORY_NOT_FOUND: u32 = 2;
    pub(super) const MEMORY_ACCESS: u32 = 3;
    pub(super) const BUFFER_TOO_SMALL: u32 = 4;
    pub(super) const HEADER_NOT_FOUND: u32 = 5;
    pub(super) const NOT_UTF8: u32 = 6;
    pub(super) const NOT_ALLOWED: u32 = 7;
    pub(super) const INVALID_METHOD: u32 = 8;
    pub(super) const INVALID_ENCODING: u32 = 9;
    pub(super) const INVALID_URL: u32 = 10;
    pub(super) const REQUEST_FAILED: u32 = 11;
    pub(super) const RUNTIME_ERROR: u32 = 12;
    pub(super) const TOO_MANY_SESSIONS: u32 = 13;
}

/// The code must be `right`.
fn answers(seen: u32, right: u32, what: &str) -> CaseResult {
    check_eq!(seen, right, "the code of {what}");
    Ok(())
}
