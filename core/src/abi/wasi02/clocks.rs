//! `wasi:clocks` and `wasi:random`.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::canon::{Cx, Fault, Handle, Outcome, limit, record};
use super::interfaces;
use super::io::Pollable;
use crate::error::{Error, Kind};

record! {
    /// `wasi:clocks/wall-clock.datetime`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Datetime {
        seconds: u64,
        nanoseconds: u32,
    }
}

impl From<SystemTime> for Datetime {
    /// A time before 1970 is 1970: the type has no earlier one.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Datetime { seconds: since.as_secs(), nanoseconds: since.subsec_nanos() }
    }
}

record! {
    /// `wasi:clocks/timezone.timezone-display`.
    pub(crate) struct TimezoneDisplay {
        utc_offset: i32,
        name: String,
        in_daylight_saving_time: bool,
    }
}

/// The most random bytes of one call.
pub(crate) const MAX_RANDOM: u64 = 64 << 20;

pub(crate) fn monotonic_now(cx: &mut Cx<'_>) -> Outcome<u64> {
    Ok(u64::try_from(cx.state.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

pub(crate) fn monotonic_resolution(_: &mut Cx<'_>) -> Outcome<u64> {
    Ok(1)
}

fn subscribe_instant(cx: &mut Cx<'_>, when: u64) -> Outcome<Handle<Pollable>> {
    let moment = cx.state.start.checked_add(Duration::from_nanos(when));
    cx.push(Pollable::At(moment))
}

fn subscribe_duration(cx: &mut Cx<'_>, when: u64) -> Outcome<Handle<Pollable>> {
    cx.push(Pollable::At(Instant::now().checked_add(Duration::from_nanos(when))))
}

fn wall_now(_: &mut Cx<'_>) -> Outcome<Datetime> {
    Ok(SystemTime::now().into())
}

fn wall_resolution(_: &mut Cx<'_>) -> Outcome<Datetime> {
    Ok(Datetime { seconds: 0, nanoseconds: 1 })
}

/// A guest is told nothing of where the host is: its zone is UTC.
fn timezone(_: &mut Cx<'_>, _: Datetime) -> Outcome<TimezoneDisplay> {
    Ok(TimezoneDisplay { utc_offset: 0, name: "UTC".to_owned(), in_daylight_saving_time: false })
}

fn utc_offset(_: &mut Cx<'_>, _: Datetime) -> Outcome<i32> {
    Ok(0)
}

pub(crate) fn fill(bytes: &mut [u8]) -> Outcome {
    getrandom::fill(bytes).map_err(|error| {
        Fault::Stop(Error::new(Kind::Internal, "the host has no randomness").with_source(error.to_string()).into())
    })
}

pub(crate) fn random_bytes(cx: &mut Cx<'_>, len: u64) -> Outcome<Bytes> {
    if len > MAX_RANDOM {
        return limit(format!("{len} random bytes were requested at once; at most {MAX_RANDOM} are allowed"));
    }
    cx.spend(len)?;
    let mut bytes = vec![0; len as usize];
    fill(&mut bytes)?;
    Ok(bytes.into())
}

pub(crate) fn random_u64(_: &mut Cx<'_>) -> Outcome<u64> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// The same at every call of a guest's life: the WIT text has it become a value that is imported, and says that it is for
/// tables of hashes, not a source of randomness.
pub(crate) fn insecure_seed(cx: &mut Cx<'_>) -> Outcome<(u64, u64)> {
    if let Some(seed) = cx.state.seed {
        return Ok(seed);
    }
    let seed = (random_u64(cx)?, random_u64(cx)?);
    cx.state.seed = Some(seed);
    Ok(seed)
}

interfaces! { "wasi:clocks/monotonic-clock";
    "now"() -> u64 => monotonic_now;
    "resolution"() -> u64 => monotonic_resolution;
    "subscribe-instant"(when: u64) -> Handle<Pollable> => subscribe_instant;
    "subscribe-duration"(when: u64) -> Handle<Pollable> => subscribe_duration;
    @ "wasi:clocks/wall-clock";
    "now"() -> Datetime => wall_now;
    "resolution"() -> Datetime => wall_resolution;
    @ "wasi:clocks/timezone";
    "display"(when: Datetime) -> TimezoneDisplay => timezone;
    "utc-offset"(when: Datetime) -> i32 => utc_offset;
    @ "wasi:random/random";
    "get-random-bytes"(len: u64) -> Bytes => random_bytes;
    "get-random-u64"() -> u64 => random_u64;
    @ "wasi:random/insecure";
    "get-insecure-random-bytes"(len: u64) -> Bytes => random_bytes;
    "get-insecure-random-u64"() -> u64 => random_u64;
    @ "wasi:random/insecure-seed";
    "insecure-seed"() -> (u64, u64) => insecure_seed;
}
