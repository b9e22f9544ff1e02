//! Clocks, randomness, and yielding.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wharf_core::grants::WasiConfig;

use super::probe::{Errno, WasiProbe, at, range};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::probe::CANARY;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("preview1/clock/monotonic-goes-forward", "wasi_snapshot_preview1: clock_time_get", monotonic),
    Case::must("preview1/clock/monotonic-starts-with-the-guest", "wasi_snapshot_preview1: clock_time_get", starts),
    Case::must("preview1/clock/realtime-is-the-hosts", "wasi_snapshot_preview1: clock_time_get", realtime),
    Case::must("preview1/clock/resolution", "wasi_snapshot_preview1: clock_res_get", resolution),
    Case::must("preview1/clock/no-such-clock", "wasi_snapshot_preview1: clockid", no_such_clock),
    Case::must("preview1/random/fills-exactly", "wasi_snapshot_preview1: random_get", fills),
    Case::must("preview1/random/differs-each-time", "wasi_snapshot_preview1: random_get", differs),
    Case::must("preview1/random/nothing", "wasi_snapshot_preview1: random_get", nothing),
    Case::must("preview1/random/out-of-bounds", "wasi_snapshot_preview1: random_get", out_of_bounds),
    Case::must("preview1/random/whole-memory", "wasi_snapshot_preview1: random_get", whole_memory),
    Case::must("preview1/sched/yield", "wasi_snapshot_preview1: sched_yield", sched_yield),
];

const REALTIME: u64 = 0;
const MONOTONIC: u64 = 1;

fn time(probe: &mut WasiProbe, id: u64) -> CaseResult<u64> {
    probe.ok("clock_time_get", &[id, 0, at::OUT.into()], &[range(at::OUT, 8)])?;
    probe.probe.u64_at(at::OUT)
}

fn start(context: &Context) -> CaseResult<WasiProbe> {
    WasiProbe::start(context, WasiConfig::new())
}

fn nanoseconds(duration: Duration) -> CaseResult<u64> {
    u64::try_from(duration.as_nanos()).map_err(Unmet::harness)
}

fn monotonic(context: &Context) -> CaseResult {
    let mut probe = start(context)?;
    let mut last = time(&mut probe, MONOTONIC)?;
    for _ in 0..100 {
        let now = time(&mut probe, MONOTONIC)?;
        check!(now >= last, "the monotonic clock went back from {last} to {now}");
        last = now;
    }
    thread::sleep(Duration::from_millis(20));
    let passed = time(&mut probe, MONOTONIC)? - last;
    let nap = nanoseconds(Duration::from_millis(20))?;
    check!(passed >= nap && passed < 500 * nap, "in 20 ms the monotonic clock went on by {passed} ns");
    Ok(())
}

/// It tells nothing of the host, such as how long that has been up.
fn starts(context: &Context) -> CaseResult {
    for _ in 0..2 {
        let now = time(&mut start(context)?, MONOTONIC)?;
        check!(now < nanoseconds(Duration::from_secs(15))?, "a guest just started finds its clock at {now} ns");
    }
    Ok(())
}

fn realtime(context: &Context) -> CaseResult {
    let mut probe = start(context)?;
    let host = || nanoseconds(SystemTime::now().duration_since(UNIX_EPOCH).map_err(Unmet::harness)?);
    let before = host()?;
    let seen = time(&mut probe, REALTIME)?;
    let after = host()?;
    // The host's clock may be set while the case runs, though not by much.
    let slack = nanoseconds(Duration::from_secs(2))?;
    check!(
        seen >= before - slack && seen <= after + slack,
        "between {before} and {after} the real-time clock shows {seen}"
    );
    Ok(())
}

fn resolution(context: &Context) -> CaseResult {
    let mut probe = start(context)?;
    for id in [REALTIME, MONOTONIC] {
        probe.ok("clock_res_get", &[id, at::OUT.into()], &[range(at::OUT, 8)])?;
        let resolution = probe.probe.u64_at(at::OUT)?;
        check!((1..=100_000_000).contains(&resolution), "clock {id} has a resolution of {resolution} ns");
    }
    Ok(())
}

/// The clocks of processor time are in the ABI and `badf` here; what is not a clock at all is `inval`.
fn no_such_clock(context: &Context) -> CaseResult {
    let mut probe = start(context)?;
    for (id, errno) in
        [(2, Errno::BADF), (3, Errno::BADF), (4, Errno::INVAL), (0x1_0000, Errno::INVAL), (0xffff_ffff, Errno::INVAL)]
    {
        probe.fails("clock_time_get", &[id, 0, at::OUT.into()], errno)?;
        probe.fails("clock_res_get", &[id, at::OUT.into()], errno)?;
    }
    Ok(())
}

/// The first and last byte of the range change, sooner or later; no byte beside it ever does.
fn fills(context: &Context) -> CaseResult {
    let mut probe = start(context)?;
    for (ptr, len) in [(at::DATA, 1), (at::DATA + 3, 7), (0, 256), (at::END - 64, 64)] {
        let mut changed = (false, false);
        // The odds that a byte stays as it was 16 times are 1 in 2 to the 128.
        for _ in 0..16 {
            probe.probe.canary()?;
            probe.ok("random_get", &[ptr.into(), len.into()], &[range(ptr, len)])?;
            let bytes = probe.probe.bytes(ptr, len)?;
            changed.0 |= bytes.first() != Some(&CANARY);
            changed.1 |= bytes.last() != Some(&CANARY);
        }
        check_eq!(changed, (true, true), "whether the first and the last of {len} bytes at {ptr:#x} were filled");
    }
    Ok(())
}

fn differs(context: &Context) -> CaseResult {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut probe = start(context)?;
        for _ in 0..2 {
            probe.ok("random_get", &[at::DATA.into(), 32], &[range(at::DATA, 32)])?;
            let bytes = probe.probe.bytes(at::DATA, 32)?;
            check!(!seen.contains(&bytes), "32 random bytes came twice");
            seen.push(bytes);
        }
    }
    Ok(())
}

fn nothing(context: &Context) -> CaseResult {
    let mut probe = start(context)?;
    for ptr in [0, at::DATA, at::END] {
        probe.ok("random_get", &[ptr.into(), 0], &[])?;
    }
    probe.fails("random_get", &[(at::END + 1).into(), 0], Errno::FAULT)
}

fn out_of_bounds(context: &Context) -> CaseResult {
    let mut probe = start(context)?;
    for (ptr, len) in [
        (at::END - 3, 4),
        (at::END, 1),
        (0, at::END + 1),
        (1, 0xffff_ffff),
        (0xffff_fff0, 0x20),
        (0xffff_ffff, 1),
        (0x8000_0000, 0x8000_0000),
    ] {
        probe.fails("random_get", &[ptr.into(), len.into()], Errno::FAULT)?;
    }
    Ok(())
}

/// Large requests are served whole, and what the memory has grown by counts.
fn whole_memory(context: &Context) -> CaseResult {
    let mut probe = start(context)?;
    check_eq!(probe.probe.call_i32("grow", &[19])?, 1, "the memory's size in pages before it grew");
    let len = 20 * at::END;
    probe.ok("random_get", &[0, len.into()], std::slice::from_ref(&(0..len)))?;
    for page in 0..20 {
        let bytes = probe.probe.bytes(page * at::END, at::END)?;
        let zeros = bytes.iter().filter(|byte| **byte == 0).count();
        check!((100..500).contains(&zeros), "{zeros} of the 65536 random bytes of page {page} are 0");
    }
    Ok(())
}

fn sched_yield(context: &Context) -> CaseResult {
    let mut probe = start(context)?;
    for _ in 0..10 {
        probe.ok("sched_yield", &[], &[])?;
    }
    Ok(())
}
