//! `wasi:io`: reading, writing and waiting, as the bodies of messages make them happen.

use std::time::{Duration, Instant};

use wharf_core::{GuestConfig, Kind, Stop};

use super::exchange::{posting, reach, sending};
use super::probe::{AT_ONCE, RET, Wasi02, module};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::origin::{Body, Gate, Origin, PATIENCE, Reply, Step};
use crate::{check, check_eq};

const STREAMS: &str = "wasi:io/streams@0.2.12";
const POLL: &str = "wasi:io/poll@0.2.12";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/stream/nothing-yet-is-empty", STREAMS, nothing_yet),
    Case::must("wasihttp/stream/read-of-nothing", STREAMS, read_nothing),
    Case::must("wasihttp/stream/read-gives-what-there-is", STREAMS, short_reads),
    Case::must("wasihttp/stream/skip", STREAMS, skip),
    Case::must("wasihttp/stream/closed-stays-closed", STREAMS, closed),
    Case::must("wasihttp/stream/a-broken-body-fails-once", STREAMS, broken),
    Case::must("wasihttp/stream/permits-are-used-up", STREAMS, permits),
    Case::must("wasihttp/stream/write-without-a-permit-traps", STREAMS, no_permit),
    Case::must("wasihttp/stream/4096-bytes-are-flushed-at-once", STREAMS, at_once),
    Case::must("wasihttp/stream/zeroes", STREAMS, zeroes),
    Case::must("wasihttp/stream/splice-to-the-end", STREAMS, splice),
    Case::must("wasihttp/stream/check-write-waits-for-the-origin", STREAMS, check_write),
    Case::must("wasihttp/stream/errors-have-a-text", "wasi:io/error@0.2.12", error_text),
    Case::must("wasihttp/poll/the-one-that-is-ready", POLL, which),
    Case::must("wasihttp/poll/response-becomes-ready", POLL, becomes_ready),
    Case::must("wasihttp/poll/the-same-twice", POLL, twice),
    Case::must("wasihttp/poll/an-empty-list-traps", POLL, empty),
    Case::must("wasihttp/poll/many", POLL, many),
    Case::must("wasihttp/poll/too-many", POLL, too_many),
    Case::must("wasihttp/poll/time", "wasi:clocks/monotonic-clock@0.2.12", time),
    Case::must("wasihttp/poll/ends-with-the-guest", POLL, ends),
];

const INTERFACES: [&str; 7] = [
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:http/types",
    "wasi:http/outgoing-handler",
    "wasi:cli/stdout",
    "wasi:clocks/monotonic-clock",
];

fn clock(context: &Context, config: GuestConfig) -> CaseResult<Wasi02> {
    Wasi02::start(context, &module(&INTERFACES, ""), config)
}

/// The stream of the response that `origin` gives.
fn stream(probe: &mut Wasi02, origin: &Origin) -> CaseResult<u64> {
    let request = probe.request(&origin.authority(), "/", &[])?;
    let response = probe.exchange(request)?;
    Ok(probe.consume(response)?.1)
}

/// An origin whose body is `first`, and once the gate is open `rest`.
fn gated(first: &'static str, rest: &'static str) -> CaseResult<(Origin, Gate)> {
    let gate = Gate::new();
    let body = Body::Gated(first.into(), gate.clone(), rest.into());
    Ok((Origin::replying(Reply::ok("").body(body))?, gate))
}

const READ: &str = "[method]input-stream.read";
const BLOCKING_READ: &str = "[method]input-stream.blocking-read";

fn nothing_yet(context: &Context) -> CaseResult {
    let (origin, gate) = gated("first", "rest")?;
    let mut probe = reach(context, &origin)?;
    let stream = stream(&mut probe, &origin)?;
    check_eq!(probe.case(BLOCKING_READ, &[stream, 100])?, 0, "the first read");
    check_eq!(probe.string_at(RET + 4)?, b"first", "what came first");
    let pollable = probe.call("[method]input-stream.subscribe", &[stream])?;
    check_eq!(probe.call("[method]pollable.ready", &[pollable])?, 0, "whether there is more");
    check_eq!(probe.case(READ, &[stream, 100])?, 0, "a read while there is nothing");
    check_eq!(probe.string_at(RET + 4)?, b"", "what it gave");
    gate.open();
    probe.call("[method]pollable.block", &[pollable])?;
    check_eq!(probe.case(READ, &[stream, 100])?, 0, "a read once there is something");
    check_eq!(probe.string_at(RET + 4)?, b"rest", "what it gave");
    Ok(())
}

fn read_nothing(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("body"))?;
    let mut probe = reach(context, &origin)?;
    let stream = stream(&mut probe, &origin)?;
    for name in [READ, BLOCKING_READ] {
        check_eq!(probe.case(name, &[stream, 0])?, 0, "the answer of {name} of no bytes");
        check_eq!(probe.string_at(RET + 4)?, b"", "what it gave");
    }
    check_eq!(probe.read_all(stream)?, (b"body".to_vec(), true), "what is read afterwards");
    Ok(())
}

fn short_reads(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("abcdef"))?;
    let mut probe = reach(context, &origin)?;
    let stream = stream(&mut probe, &origin)?;
    for expected in [b"ab", b"cd", b"ef"] {
        check_eq!(probe.case(BLOCKING_READ, &[stream, 2])?, 0, "the answer of a read");
        check_eq!(probe.string_at(RET + 4)?, expected, "what it gave");
    }
    // However much is asked for, no more than there is room for is given, and the guest's allocator asked for.
    check_eq!(probe.case(BLOCKING_READ, &[stream, u64::MAX])?, 1, "a read at the end");
    check_eq!(probe.byte(4)?, 1, "whether it says `closed`");
    Ok(())
}

fn skip(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("abcdef"))?;
    let mut probe = reach(context, &origin)?;
    let stream = stream(&mut probe, &origin)?;
    probe.wait("[method]input-stream.subscribe", stream)?;
    for (name, count, skipped) in [("[method]input-stream.skip", 2, 2), ("[method]input-stream.blocking-skip", 1, 1)] {
        check_eq!(probe.case(name, &[stream, count])?, 0, "the answer of {name}");
        check_eq!(probe.probe.u64_at(RET + 8)?, skipped, "how much {name} passed over");
    }
    check_eq!(probe.read_all(stream)?, (b"def".to_vec(), true), "what is left");
    check_eq!(probe.case("[method]input-stream.blocking-skip", &[stream, 1])?, 1, "a skip at the end");
    Ok(())
}

fn closed(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("x"))?;
    let mut probe = reach(context, &origin)?;
    let stream = stream(&mut probe, &origin)?;
    probe.read_all(stream)?;
    for _ in 0..3 {
        for name in [READ, BLOCKING_READ] {
            check_eq!(probe.case(name, &[stream, 1])?, 1, "{name} after the end");
            check_eq!(probe.byte(4)?, 1, "whether it says `closed`");
        }
        // What is closed has nothing to wait for.
        probe.wait("[method]input-stream.subscribe", stream)?;
    }
    Ok(())
}

fn broken(context: &Context) -> CaseResult {
    let origin = sending("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbody")?;
    let mut probe = reach(context, &origin)?;
    let stream = stream(&mut probe, &origin)?;
    check_eq!(probe.read_all(stream)?, (b"body".to_vec(), false), "the body, and whether it ended well");
    for _ in 0..2 {
        check_eq!(probe.case(READ, &[stream, 1])?, 1, "a read after the failure");
        check_eq!(probe.byte(4)?, 1, "whether it says `closed`");
    }
    Ok(())
}

const WRITE: &str = "[method]output-stream.write";

fn check_write_of(probe: &mut Wasi02, stream: u64) -> CaseResult<u64> {
    check_eq!(probe.case("[method]output-stream.check-write", &[stream])?, 0, "the answer of `check-write`");
    probe.probe.u64_at(RET + 8)
}

/// A permit is for the next write, however little that writes.
fn permits(context: &Context) -> CaseResult {
    let mut probe = Wasi02::http(context, GuestConfig::default())?;
    // Nobody takes what is written, so that nothing but a permit says how much may be.
    let request = probe.request("example.com", "/", &[])?;
    let (_, stream) = probe.produce(request)?;
    let room = check_write_of(&mut probe, stream)?;
    check!(room >= 4096, "`check-write` gives {room}");
    check_eq!(probe.case(WRITE, &[stream, 0, room - 1])?, 0, "a write within the permit");
    probe.traps(WRITE, &[stream, 0, 1, RET.into()], "`check-write` allowed 0")
}

/// A permit is the guest's own: neither a flush nor a write that waits gives one.
fn no_permit(context: &Context) -> CaseResult {
    for name in ["", "[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        let origin = Origin::replying(Reply::status(200))?;
        let mut probe = reach(context, &origin)?;
        let (_, _, stream) = posting(&mut probe, &origin, &[])?;
        match name {
            "" => check_eq!(probe.write(stream, b"x")?, 0, "a write that waits"),
            name => check_eq!(probe.case(name, &[stream])?, 0, "the answer of {name}"),
        }
        probe.traps(WRITE, &[stream, 0, 1, RET.into()], "`check-write` allowed 0")?;
    }
    Ok(())
}

/// As many bytes as the WIT text names may be written and flushed in one call, and not one more.
fn at_once(context: &Context) -> CaseResult {
    const FLUSH: &str = "[method]output-stream.blocking-write-and-flush";
    const ZEROES: &str = "[method]output-stream.blocking-write-zeroes-and-flush";
    for (name, bytes) in [(FLUSH, [0x1_0000].as_slice()), (ZEROES, &[])] {
        let mut probe = Wasi02::http(context, GuestConfig::default())?;
        let stream = probe.call("get-stdout", &[])?;
        let arguments = |len: u64| [&[stream], bytes, &[len]].concat();
        for len in [0, 1, AT_ONCE] {
            check_eq!(probe.case(name, &arguments(len))?, 0, "the answer of {name} of {len} bytes");
        }
        let too_many = [arguments(AT_ONCE + 1), vec![RET.into()]].concat();
        probe.traps(name, &too_many, "4097 bytes were to be written and flushed at once; at most 4096 are allowed")?;
    }
    Ok(())
}

fn zeroes(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = reach(context, &origin)?;
    let (future, body, stream) = posting(&mut probe, &origin, &[])?;
    check_write_of(&mut probe, stream)?;
    check_eq!(probe.case("[method]output-stream.write-zeroes", &[stream, 3])?, 0, "the answer of `write-zeroes`");
    let name = "[method]output-stream.blocking-write-zeroes-and-flush";
    for _ in 0..24 {
        check_eq!(probe.case(name, &[stream, AT_ONCE])?, 0, "the answer of {name}");
    }
    check_eq!(probe.finish(body, stream)?, None, "the error of `finish`");
    check!(probe.response(future)?.is_ok(), "the request failed");
    check!(origin.request()?.body == vec![0; 24 * 4096 + 3], "the origin got something else than zeroes");
    Ok(())
}

fn splice(context: &Context) -> CaseResult {
    let from = Origin::replying(Reply::ok("").body(Body::Filler(300_000)))?;
    let to = Origin::replying(Reply::status(200))?;
    let mut probe = context.net().allow(&from.base()).allow(&to.base()).wasi02(context)?;
    let source = stream(&mut probe, &from)?;
    let (future, body, sink) = posting(&mut probe, &to, &[])?;
    let mut moved = 0;
    while probe.case("[method]output-stream.blocking-splice", &[sink, source, 100_000])? == 0 {
        moved += probe.probe.u64_at(RET + 8)?;
    }
    check_eq!((moved, probe.byte(8)?), (300_000, 1), "how much was moved, and whether the end says `closed`");
    // The end was the source's: the sink takes more.
    check_eq!(probe.write(sink, b"!")?, 0, "a write after the end of the source");
    check_eq!(probe.finish(body, sink)?, None, "the error of `finish`");
    check!(probe.response(future)?.is_ok(), "the request failed");
    check_eq!(to.request()?.body.len(), 300_001, "how much arrived");
    Ok(())
}

/// An origin that does not read stops the guest, not the host's memory.
fn check_write(context: &Context) -> CaseResult {
    let origin = Origin::raw(vec![Step::ReadHead, Step::Wait(PATIENCE)])?;
    let mut probe = reach(context, &origin)?;
    let (_future, _, stream) = posting(&mut probe, &origin, &[])?;
    let (mut written, mut refused) = (0, 0);
    // Between the guest and the origin the system has buffers too, which fill up at a pace of their own.
    while refused < 50 {
        let room = check_write_of(&mut probe, stream)?.min(0x10000);
        if room == 0 {
            refused += 1;
            std::thread::sleep(Duration::from_millis(2));
        } else {
            refused = 0;
            check_eq!(probe.case(WRITE, &[stream, 0, room])?, 0, "the answer of a write");
            written += room;
            check!(written < 60 << 20, "{written} bytes were taken that nobody reads");
        }
    }
    let pollable = probe.call("[method]output-stream.subscribe", &[stream])?;
    check_eq!(probe.call("[method]pollable.ready", &[pollable])?, 0, "whether a stream without room is ready");
    Ok(())
}

fn error_text(context: &Context) -> CaseResult {
    let origin = sending("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbody")?;
    let mut probe = reach(context, &origin)?;
    let stream = stream(&mut probe, &origin)?;
    probe.read_all(stream)?;
    let error = probe.word(8)?.into();
    probe.case("[method]error.to-debug-string", &[error])?;
    let text = String::from_utf8_lossy(&probe.string_at(RET)?).into_owned();
    probe.worded(&text, "before its announced end")?;
    check!(!text.contains("panic") && text.lines().count() == 1, "the text is {text:?}");
    Ok(())
}

/// Calls `poll` with these; gives the places of those that are ready.
fn poll(probe: &mut Wasi02, list: &[u64]) -> CaseResult<Vec<u8>> {
    let bytes: Vec<u8> = list.iter().flat_map(|handle| (*handle as u32).to_le_bytes()).collect();
    let [ptr, _] = probe.bytes(bytes)?;
    probe.case("poll", &[ptr, list.len() as u64])?;
    let (at, count) = (probe.word(0)?, probe.word(4)?);
    let places = probe.probe.bytes(at, count * 4)?;
    Ok(places.chunks(4).map(|place| place[0]).collect())
}

fn which(context: &Context) -> CaseResult {
    let gate = Gate::new();
    let slow = Origin::replying(Reply::ok("slow").once(gate.clone()))?;
    let fast = Origin::replying(Reply::ok("fast"))?;
    let mut probe = context.net().allow(&slow.base()).allow(&fast.base()).wasi02(context)?;
    let mut futures = Vec::new();
    for origin in [&slow, &fast] {
        let request = probe.request(&origin.authority(), "/", &[])?;
        futures.push(probe.send(request)?);
    }
    let mut pollables = Vec::new();
    for future in &futures {
        pollables.push(probe.call("[method]future-incoming-response.subscribe", &[*future])?);
    }
    check_eq!(poll(&mut probe, &pollables)?, [1], "which is ready");
    gate.open();
    check_eq!(poll(&mut probe, &pollables[..1])?, [0], "which is ready, of the other alone");
    check_eq!(poll(&mut probe, &pollables)?, [0, 1], "which are ready in the end");
    for future in futures {
        check!(probe.response(future)?.is_ok(), "a request failed");
    }
    Ok(())
}

fn becomes_ready(context: &Context) -> CaseResult {
    let gate = Gate::new();
    let origin = Origin::replying(Reply::ok("late").once(gate.clone()))?;
    let mut probe = reach(context, &origin)?;
    let request = probe.request(&origin.authority(), "/", &[])?;
    let future = probe.send(request)?;
    let pollable = probe.call("[method]future-incoming-response.subscribe", &[future])?;
    for _ in 0..2 {
        check_eq!(probe.call("[method]pollable.ready", &[pollable])?, 0, "whether it is ready before the gate opens");
        check_eq!(probe.case("[method]future-incoming-response.get", &[future])?, 0, "`get` before the gate opens");
    }
    gate.open();
    probe.call("[method]pollable.block", &[pollable])?;
    for _ in 0..2 {
        check_eq!(probe.call("[method]pollable.ready", &[pollable])?, 1, "whether it is and stays ready");
    }
    Ok(())
}

fn twice(context: &Context) -> CaseResult {
    let mut probe = Wasi02::http(context, GuestConfig::default())?;
    let stdout = probe.call("get-stdout", &[])?;
    let pollable = probe.call("[method]output-stream.subscribe", &[stdout])?;
    let other = probe.call("[method]output-stream.subscribe", &[stdout])?;
    check_eq!(poll(&mut probe, &[pollable, other, pollable])?, [0, 1, 2], "which are ready");
    Ok(())
}

fn empty(context: &Context) -> CaseResult {
    let mut probe = Wasi02::http(context, GuestConfig::default())?;
    probe.traps("poll", &[0, 0, RET.into()], "the list is empty")
}

/// Where a list lies that needs more room than arguments have.
const LIST: u64 = 0x8000;

/// A probe at whose [`LIST`] the handle of a pollable that is ready stands `count` times.
fn repeating(context: &Context, count: usize) -> CaseResult<Wasi02> {
    let mut probe = Wasi02::http(context, GuestConfig::default())?;
    let stdout = probe.call("get-stdout", &[])?;
    let pollable = probe.call("[method]output-stream.subscribe", &[stdout])?;
    probe.probe.put(LIST as u32, &(pollable as u32).to_le_bytes().repeat(count))?;
    // A component has the list from its allocator, too.
    probe.probe.call("reset", &[])?;
    Ok(probe)
}

/// A list may be longer than there can be handles.
fn many(context: &Context) -> CaseResult {
    let mut probe = repeating(context, 5000)?;
    probe.case("poll", &[LIST, 5000])?;
    check_eq!(probe.word(4)?, 5000, "how many are ready");
    let last = probe.word(0)? + 4 * 4999;
    check_eq!(probe.probe.u32_at(last)?, 4999, "the place of the last");
    Ok(())
}

fn too_many(context: &Context) -> CaseResult {
    let mut probe = repeating(context, 16_385)?;
    match probe.probe.try_call("poll", &[LIST, 16_385, RET.into()]) {
        Err(Stop::Error(error)) => {
            check_eq!(error.kind(), Kind::Limit, "the kind of `{error}`");
            probe.worded(&error.to_string(), "16385 pollables were polled at once, but this host allows at most 16384")
        }
        other => Err(Unmet::failed(format!("16385 pollables at once gave {other:?}"))),
    }
}

fn time(context: &Context) -> CaseResult {
    let mut probe = clock(context, GuestConfig::default())?;
    let before = probe.call("now", &[])?;
    let short = probe.call("subscribe-duration", &[30_000_000])?;
    let long = probe.call("subscribe-duration", &[3_600_000_000_000])?;
    let never = probe.call("subscribe-instant", &[u64::MAX])?;
    check_eq!(probe.call("[method]pollable.ready", &[long])?, 0, "whether an hour is over");
    check_eq!(poll(&mut probe, &[never, long, short])?, [2], "which is ready");
    let after = probe.call("now", &[])?;
    check!(after - before >= 30_000_000, "30 ms were over after {} ns", after - before);
    let past = probe.call("subscribe-instant", &[before])?;
    check_eq!(probe.call("[method]pollable.ready", &[past])?, 1, "whether a moment that has passed is ready");
    Ok(())
}

/// A wait for what never comes ends when the guest's time does.
fn ends(context: &Context) -> CaseResult {
    let config = GuestConfig { timeout: Some(Duration::from_millis(300)), ..GuestConfig::default() };
    if !context.backend().info().can(wharf_core::Capability::Interrupt) {
        return Ok(());
    }
    let mut probe = clock(context, config)?;
    let never = probe.call("subscribe-instant", &[u64::MAX])?;
    let start = Instant::now();
    match probe.probe.try_call("[method]pollable.block", &[never]) {
        Err(Stop::Error(error)) => check_eq!(error.kind(), Kind::Timeout, "the kind of `{error}`"),
        other => return Err(Unmet::failed(format!("a wait for what never comes gave {other:?}"))),
    }
    check!(start.elapsed() < PATIENCE, "the wait took {:?}", start.elapsed());
    Ok(())
}
