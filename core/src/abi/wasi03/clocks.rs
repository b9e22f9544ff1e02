//! `wasi:clocks` and `wasi:random`.

use std::future::Future;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::{Later, interfaces};
use crate::abi::wasi02::canon::{Cx, Outcome, record};
use crate::abi::wasi02::clocks::{insecure_seed, monotonic_now, monotonic_resolution, random_bytes, random_u64};
use crate::abi::wasi02::io::unconstrained;

record! {
    /// `wasi:clocks/system-clock.instant`.
    struct SystemInstant {
        seconds: i64,
        nanoseconds: u32,
    }
}

fn system_now(_: &mut Cx<'_>) -> Outcome<SystemInstant> {
    let now = SystemTime::now();
    Ok(match now.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => SystemInstant {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: since.subsec_nanos(),
        },
        Err(before) => {
            // Seconds are counted downwards, nanoseconds always upwards.
            let before = before.duration();
            let part = before.subsec_nanos();
            let whole = i64::try_from(before.as_secs()).map_or(i64::MIN, |seconds| -seconds);
            let (seconds, nanoseconds) =
                if part == 0 { (whole, 0) } else { (whole.saturating_sub(1), 1_000_000_000 - part) };
            SystemInstant { seconds, nanoseconds }
        }
    })
}

fn system_resolution(_: &mut Cx<'_>) -> Outcome<u64> {
    Ok(1)
}

/// Ready at a moment; `None` is later than the host's clock can tell.
fn at(moment: Option<Instant>) -> Later<()> {
    let mut sleep = moment.map(|moment| {
        let _entered = crate::io().enter();
        Box::pin(tokio::time::sleep_until(moment.into()))
    });
    Box::new(move |_, context| {
        Ok(match &mut sleep {
            Some(sleep) => unconstrained(context, |context| sleep.as_mut().poll(context)),
            None => Poll::Pending,
        })
    })
}

fn wait_until(cx: &mut Cx<'_>, when: u64) -> Outcome<Later<()>> {
    Ok(at(cx.state.start.checked_add(Duration::from_nanos(when))))
}

fn wait_for(_: &mut Cx<'_>, how_long: u64) -> Outcome<Later<()>> {
    Ok(at(Instant::now().checked_add(Duration::from_nanos(how_long))))
}

interfaces! { "wasi:clocks/monotonic-clock";
    "now"() -> u64 => monotonic_now;
    "get-resolution"() -> u64 => monotonic_resolution;
    async "wait-until"(when: u64) -> () => wait_until;
    async "wait-for"(how_long: u64) -> () => wait_for;
    @ "wasi:clocks/system-clock";
    "now"() -> SystemInstant => system_now;
    "get-resolution"() -> u64 => system_resolution;
    @ "wasi:random/random";
    "get-random-bytes"(max_len: u64) -> Bytes => random_bytes;
    "get-random-u64"() -> u64 => random_u64;
    @ "wasi:random/insecure";
    "get-insecure-random-bytes"(max_len: u64) -> Bytes => random_bytes;
    "get-insecure-random-u64"() -> u64 => random_u64;
    @ "wasi:random/insecure-seed";
    "get-insecure-seed"() -> (u64, u64) => insecure_seed;
}
