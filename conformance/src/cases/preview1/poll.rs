//! `poll_oneoff`: waiting for clocks and descriptors.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wharf_core::grants::{Input, WasiConfig};
use wharf_core::{GuestConfig, Kind, Stop};

use super::host;
use super::probe::{DIR, Errno, READ, WRITE, WasiProbe, at, range};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::needs::INTERRUPT;
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("preview1/poll/clock-relative", "wasi_snapshot_preview1: poll_oneoff, subscription_clock", relative),
    Case::must("preview1/poll/clock-absolute", "wasi_snapshot_preview1: poll_oneoff, subclockflags", absolute),
    Case::must("preview1/poll/clock-that-is-past", "wasi_snapshot_preview1: poll_oneoff, event", past),
    Case::must("preview1/poll/files-are-ready", "wasi_snapshot_preview1: poll_oneoff, fd_readwrite", files),
    Case::must("preview1/poll/output-is-ready", "wasi_snapshot_preview1: poll_oneoff, fd_readwrite", output),
    Case::must("preview1/poll/input-is-ready", "wasi_snapshot_preview1: poll_oneoff, fd_readwrite", input),
    Case::must("preview1/poll/input-that-arrives", "wasi_snapshot_preview1: poll_oneoff, fd_readwrite", arrives),
    Case::must("preview1/poll/input-or-clock", "wasi_snapshot_preview1: poll_oneoff", input_or_clock),
    Case::must("preview1/poll/no-subscriptions", "wasi_snapshot_preview1: poll_oneoff, nsubscriptions", none),
    Case::must("preview1/poll/huge-counts", "wasi_snapshot_preview1: poll_oneoff, nsubscriptions", huge),
    Case::must("preview1/poll/bad-subscriptions", "wasi_snapshot_preview1: subscription", bad),
    Case::must("preview1/poll/events-over-subscriptions", "wasi_snapshot_preview1: poll_oneoff, out", overlapping),
    Case::must("preview1/poll/ends-with-the-time-limit", "wasi_snapshot_preview1: poll_oneoff", deadline)
        .needs(&[INTERRUPT]),
    Case::must("preview1/poll/ends-when-cancelled", "wasi_snapshot_preview1: poll_oneoff", cancelled),
];

const SUBSCRIPTIONS: u32 = at::DATA;
const EVENTS: u32 = at::DATA + 0x4000;
const MILLISECOND: u64 = 1_000_000;
const MINUTE: u64 = 60_000 * MILLISECOND;

const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;

/// The record `subscription` for a clock.
fn clock(userdata: u64, id: u32, timeout: u64, flags: u16) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[16..20].copy_from_slice(&id.to_le_bytes());
    bytes[24..32].copy_from_slice(&timeout.to_le_bytes());
    bytes[40..42].copy_from_slice(&flags.to_le_bytes());
    bytes
}

/// The record `subscription` for a descriptor; the tag is 1 to read and 2 to write.
fn descriptor(userdata: u64, tag: u8, fd: u64) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[8] = tag;
    bytes[16..20].copy_from_slice(&(fd as u32).to_le_bytes());
    bytes
}

fn args(count: usize) -> [u64; 4] {
    [SUBSCRIPTIONS.into(), EVENTS.into(), count as u64, at::OUT.into()]
}

/// What an event tells: userdata, tag, bytes, whether it hung up.
type Event = (u64, u8, u64, bool);

/// Polls, which must succeed, and gives the events.
fn poll(probe: &mut WasiProbe, subscriptions: &[[u8; 48]]) -> CaseResult<Vec<Event>> {
    let count = subscriptions.len();
    probe.probe.put(SUBSCRIPTIONS, &subscriptions.concat())?;
    probe.ok("poll_oneoff", &args(count), &[range(EVENTS, count as u32 * 32), range(at::OUT, 4)])?;
    let told = probe.probe.u32_at(at::OUT)?;
    check!(told >= 1 && told as usize <= count, "{told} events of {count} subscriptions");
    (0..told)
        .map(|index| {
            let at = EVENTS + index * 32;
            check_eq!(probe.probe.u16_at(at + 8)?, 0, "the error of event {index}");
            let tag = probe.probe.bytes(at + 10, 1)?[0];
            let flags = probe.probe.u16_at(at + 24)?;
            Ok((probe.probe.u64_at(at)?, tag, probe.probe.u64_at(at + 16)?, flags == 1))
        })
        .collect()
}

fn start(context: &Context) -> CaseResult<WasiProbe> {
    WasiProbe::start(context, WasiConfig::new())
}

/// The sooner of two clocks ends the wait, not before its time, and only it is told.
fn relative(context: &Context) -> CaseResult {
    let mut probe = start(context)?;
    for id in [REALTIME, MONOTONIC] {
        let before = Instant::now();
        let waits = [clock(7, id, MINUTE, 0), clock(u64::MAX, id, 30 * MILLISECOND, 0)];
        check_eq!(poll(&mut probe, &waits)?, [(u64::MAX, 0, 0, false)], "the event of clock {id}");
        let took = before.elapsed();
        check!(took >= Duration::from_millis(30) && took < Duration::from_secs(5), "30 ms of clock {id} took {took:?}");
    }
    Ok(())
}

fn absolute(context: &Context) -> CaseResult {
    let mut probe = start(context)?;
    for id in [REALTIME, MONOTONIC] {
        let now = |probe: &mut WasiProbe| {
            probe.ok("clock_time_get", &[id.into(), 0, at::OUT.into()], &[range(at::OUT, 8)])?;
            probe.probe.u64_at(at::OUT)
        };
        let until = now(&mut probe)? + 30 * MILLISECOND;
        let before = Instant::now();
        check_eq!(poll(&mut probe, &[clock(9, id, until, 1)])?, [(9, 0, 0, false)], "the event of clock {id}");
        check!(before.elapsed() < Duration::from_secs(5), "30 ms of clock {id} took {:?}", before.elapsed());
        let after = now(&mut probe)?;
        check!(after >= until, "the wait until {until} ended at {after} of clock {id}");
    }
    Ok(())
}

fn past(context: &Context) -> CaseResult {
    let mut probe = start(context)?;
    let waits = [
        clock(1, REALTIME, 1, 1),
        clock(2, MONOTONIC, 0, 1),
        clock(3, MONOTONIC, 0, 0),
        clock(4, MONOTONIC, u64::MAX, 0),
        clock(5, REALTIME, u64::MAX, 1),
    ];
    let met = [(1, 0, 0, false), (2, 0, 0, false), (3, 0, 0, false)];
    check_eq!(poll(&mut probe, &waits)?, met, "the events of what is past");
    Ok(())
}

/// A file never waits. To read, it tells what is left, and at its end that there is no more.
fn files(context: &Context) -> CaseResult {
    let directory = host::directory()?;
    host::put(directory.path().join("file"), "content")?;
    let mut probe = host::granted(context, &directory)?;
    let file = probe.open("file", 0, READ | WRITE)?;
    let waits = [descriptor(1, 1, file), descriptor(2, 2, file), clock(3, MONOTONIC, MINUTE, 0)];
    check_eq!(poll(&mut probe, &waits)?, [(1, 1, 7, false), (2, 2, 1, false)], "the events of a file");
    check_eq!(probe.read(file, 5)?, b"conte", "the file's first bytes");
    check_eq!(poll(&mut probe, &waits[..1])?, [(1, 1, 2, false)], "the event in the middle of a file");
    check_eq!(probe.read(file, 5)?, b"nt", "the file's last bytes");
    check_eq!(poll(&mut probe, &waits[..1])?, [(1, 1, 0, true)], "the event at the end of a file");
    Ok(())
}

fn output(context: &Context) -> CaseResult {
    let mut probe = start(context)?;
    let waits = [descriptor(1, 2, 1), descriptor(2, 2, 2), clock(3, MONOTONIC, MINUTE, 0)];
    check_eq!(poll(&mut probe, &waits)?, [(1, 2, 1, false), (2, 2, 1, false)], "the events of stdout and stderr");
    Ok(())
}

fn input(context: &Context) -> CaseResult {
    let input = Input::Bytes(Bytes::from_static(b"abc"));
    let mut probe = WasiProbe::start(context, WasiConfig::new().stdin(input))?;
    check_eq!(poll(&mut probe, &[descriptor(1, 1, 0)])?, [(1, 1, 3, false)], "the event of input");
    check_eq!(probe.read(0, 8)?, b"abc", "the input");
    check_eq!(poll(&mut probe, &[descriptor(1, 1, 0)])?, [(1, 1, 0, true)], "the event at the end of input");
    Ok(())
}

fn arrives(context: &Context) -> CaseResult {
    let (reader, mut writer) = io::pipe().map_err(Unmet::harness)?;
    let mut probe = WasiProbe::start(context, WasiConfig::new().stdin(Input::reader(reader)))?;
    let late = thread::spawn(move || {
        thread::sleep(Duration::from_millis(40));
        writer.write_all(b"late").map(|()| writer)
    });
    let before = Instant::now();
    let waits = [descriptor(1, 1, 0), clock(2, MONOTONIC, MINUTE, 0)];
    check_eq!(poll(&mut probe, &waits)?, [(1, 1, 4, false)], "the event of input that arrives");
    check!(before.elapsed() < Duration::from_secs(5), "input after 40 ms was told after {:?}", before.elapsed());
    let _writer = late.join().map_err(|_| Unmet::harness("the writer panicked"))?.map_err(Unmet::harness)?;
    check_eq!(probe.read(0, 8)?, b"late", "the input");
    Ok(())
}

fn input_or_clock(context: &Context) -> CaseResult {
    let (reader, _writer) = io::pipe().map_err(Unmet::harness)?;
    let mut probe = WasiProbe::start(context, WasiConfig::new().stdin(Input::reader(reader)))?;
    let before = Instant::now();
    let waits = [descriptor(1, 1, 0), clock(2, MONOTONIC, 30 * MILLISECOND, 0)];
    check_eq!(poll(&mut probe, &waits)?, [(2, 0, 0, false)], "the event, since no input arrives");
    let took = before.elapsed();
    check!(took >= Duration::from_millis(30) && took < Duration::from_secs(5), "30 ms took {took:?}");
    Ok(())
}

fn none(context: &Context) -> CaseResult {
    start(context)?.fails("poll_oneoff", &args(0), Errno::INVAL)
}

/// A count whose records would not fit an address space is refused before anything is read or allocated.
fn huge(context: &Context) -> CaseResult {
    // Two for each socket that the guest may have by default, and 4096 others.
    const MOST: u32 = 3 * 4096;
    let mut probe = start(context)?;
    let before = Instant::now();
    for count in [MOST as usize + 1, 0x0555_5556, 0x0800_0001, 0x8000_0000, 0xffff_ffff] {
        probe.fails("poll_oneoff", &args(count), Errno::INVAL)?;
    }
    probe.fails("poll_oneoff", &args(MOST as usize), Errno::FAULT)?;
    check!(before.elapsed() < Duration::from_secs(2), "refusing huge counts took {:?}", before.elapsed());
    // As many as there may be, where there is room for them.
    let pages = MOST * (48 + 32) / at::END + 1;
    check_eq!(probe.probe.call_i32("grow", &[pages])?, 1, "the memory's size in pages before it grew");
    let (subscriptions, events) = (at::END, at::END + MOST * 48);
    probe.probe.put(subscriptions, &clock(1, MONOTONIC, 0, 0).repeat(MOST as usize))?;
    let args = [subscriptions.into(), events.into(), MOST.into(), at::OUT.into()];
    probe.ok("poll_oneoff", &args, &[range(events, MOST * 32), range(at::OUT, 4)])?;
    check_eq!(probe.probe.u32_at(at::OUT)?, MOST, "the count of events");
    Ok(())
}

/// One bad subscription fails the call, though another would be met.
fn bad(context: &Context) -> CaseResult {
    let (mut probe, _directory) = host::with_directory(context)?;
    let met = clock(1, MONOTONIC, 0, 0);
    let bad = [
        (clock(2, 2, 0, 0), Errno::INVAL),
        (clock(2, 4, 0, 0), Errno::INVAL),
        (clock(2, u32::MAX, 0, 0), Errno::INVAL),
        (clock(2, MONOTONIC, 0, 2), Errno::INVAL),
        (descriptor(2, 3, 0), Errno::INVAL),
        (descriptor(2, 255, 0), Errno::INVAL),
        (descriptor(2, 1, 9), Errno::BADF),
        (descriptor(2, 2, 0xffff_ffff), Errno::BADF),
        (descriptor(2, 1, 1), Errno::BADF),
        (descriptor(2, 2, 0), Errno::BADF),
        (descriptor(2, 1, DIR), Errno::BADF),
    ];
    for (subscription, errno) in bad {
        probe.probe.put(SUBSCRIPTIONS, &[met, subscription].concat())?;
        probe.fails("poll_oneoff", &args(2), errno)?;
    }
    Ok(())
}

fn overlapping(context: &Context) -> CaseResult {
    let mut probe = start(context)?;
    probe.probe.put(SUBSCRIPTIONS, &[clock(1, MONOTONIC, 0, 0), clock(2, MONOTONIC, 0, 0)].concat())?;
    let args = [SUBSCRIPTIONS.into(), SUBSCRIPTIONS.into(), 2, at::OUT.into()];
    probe.ok("poll_oneoff", &args, &[range(SUBSCRIPTIONS, 64), range(at::OUT, 4)])?;
    check_eq!(probe.probe.u64_at(SUBSCRIPTIONS)?, 1, "the first event");
    check_eq!(probe.probe.u64_at(SUBSCRIPTIONS + 32)?, 2, "the second event");
    Ok(())
}

/// A wait of a minute that must be ended from outside, with an error of `kind`, long before it is over.
fn ended(context: &Context, config: GuestConfig, kind: Kind) -> CaseResult {
    let mut probe = WasiProbe::start_with(context, config)?;
    probe.probe.put(SUBSCRIPTIONS, &clock(1, MONOTONIC, MINUTE, 0))?;
    let before = Instant::now();
    match probe.probe.try_call("poll_oneoff", &args(1)) {
        Err(Stop::Error(error)) => check_eq!(error.kind(), kind, "the kind of the error"),
        other => return Err(Unmet::failed(format!("a wait of a minute ended with {other:?}"))),
    }
    check!(before.elapsed() < Duration::from_secs(10), "ending the wait took {:?}", before.elapsed());
    Ok(())
}

fn deadline(context: &Context) -> CaseResult {
    let config = GuestConfig { timeout: Some(Duration::from_millis(150)), ..GuestConfig::default() };
    ended(context, config, Kind::Timeout)
}

fn cancelled(context: &Context) -> CaseResult {
    let config = GuestConfig::default();
    let token = config.cancel.clone();
    let canceller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(150));
        token.cancel();
    });
    let result = ended(context, config, Kind::Cancelled);
    canceller.join().map_err(|_| Unmet::harness("cancelling panicked"))?;
    result
}
