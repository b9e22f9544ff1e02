//! Waiting for sockets, files and clocks alike.

use std::time::{Duration, Instant};

use wharf_core::GuestConfig;
use wharf_core::grants::WasiConfig;

use super::options::error;
use super::peer;
use super::probe::{Form, INET4, STREAM, SockProbe, listening, reaching};
use super::streams::pair;
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::preview1::host;
use crate::cases::preview1::probe::{DIR, Errno, READ, at, range};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("sockets/poll/readable", "wasi_snapshot_preview1: poll_oneoff, fd_read", |c| readable(c, "poll_oneoff")),
    Case::must("sockets/poll/readable-epoll", "WasmEdge V1: epoll_oneoff", |c| readable(c, "v1/epoll_oneoff")),
    Case::must("sockets/poll/writable", "wasi_snapshot_preview1: poll_oneoff, fd_write", writable),
    Case::must("sockets/poll/becomes-readable", "wasi_snapshot_preview1: poll_oneoff, fd_read", becomes_readable),
    Case::must("sockets/poll/times-out", "wasi_snapshot_preview1: poll_oneoff, clock", times_out),
    Case::must("sockets/poll/connection-arrives", "wasi_snapshot_preview1: poll_oneoff, listener", connection_arrives),
    Case::must("sockets/poll/peer-is-gone", "wasi_snapshot_preview1: poll_oneoff, hangup", peer_is_gone),
    Case::must("sockets/poll/mixed", "wasi_snapshot_preview1: poll_oneoff, all kinds", mixed),
    Case::must("sockets/poll/connecting", "WasmEdge V1: sock_connect, inprogress", connecting),
    Case::must("sockets/poll/connecting-fails", "WasmEdge V1: sock_connect, inprogress", connecting_fails),
    Case::must("sockets/poll/many", "wasi_snapshot_preview1: poll_oneoff, many sockets", many),
];

const SUBSCRIPTIONS: u32 = at::DATA;
const EVENTS: u32 = at::DATA + 0x4000;

const CLOCK: u8 = 0;
const READS: u8 = 1;
const WRITES: u8 = 2;

fn on(userdata: u64, kind: u8, fd: u64) -> Vec<u8> {
    let mut bytes = vec![0; 48];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[8] = kind;
    bytes[16..20].copy_from_slice(&(fd as u32).to_le_bytes());
    bytes
}

fn after(userdata: u64, time: Duration) -> Vec<u8> {
    let mut bytes = on(userdata, CLOCK, 1);
    bytes[24..32].copy_from_slice(&(time.as_nanos() as u64).to_le_bytes());
    bytes
}

/// An event, as far as it says anything: `userdata`, kind, bytes, whether the other end is gone.
type Event = (u64, u8, u64, bool);

/// Polls and gives the events, none of which has an error.
fn poll(probe: &mut SockProbe, function: &str, subscriptions: &[Vec<u8>]) -> CaseResult<Vec<Event>> {
    probe.wasi.probe.put(SUBSCRIPTIONS, &subscriptions.concat())?;
    let count = subscriptions.len() as u32;
    let args = [SUBSCRIPTIONS.into(), EVENTS.into(), count.into(), at::OUT.into()];
    probe.wasi.ok(function, &args, &[range(EVENTS, count * 32), range(at::OUT, 4)])?;
    let met = probe.wasi.probe.u32_at(at::OUT)?;
    check!((1..=count).contains(&met), "{met} events for {count} subscriptions");
    let bytes = probe.wasi.probe.bytes(EVENTS, met * 32)?;
    let number = |event: &[u8], at: usize| {
        let mut value = [0; 8];
        value.copy_from_slice(&event[at..at + 8]);
        u64::from_le_bytes(value)
    };
    check!(bytes.chunks(32).all(|event| event[8..10] == [0, 0]), "an event has an error");
    Ok(bytes.chunks(32).map(|event| (number(event, 0), event[10], number(event, 16), event[24] == 1)).collect())
}

fn readable(context: &Context, function: &str) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    peer::send(&stream, b"12345")?;
    peer::settle();
    let events = poll(&mut probe, function, &[on(7, READS, fd), after(8, Duration::from_secs(60))])?;
    check_eq!(events, [(7, READS, 5, false)], "the events");
    Ok(())
}

fn writable(context: &Context) -> CaseResult {
    let (mut probe, fd, _stream) = pair(context)?;
    let events = poll(&mut probe, "poll_oneoff", &[on(1, READS, fd), on(2, WRITES, fd)])?;
    check_eq!(
        events.iter().map(|event| (event.0, event.1, event.3)).collect::<Vec<_>>(),
        [(2, WRITES, false)],
        "events"
    );
    Ok(())
}

fn becomes_readable(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    // Before the other thread begins to wait: on a busy machine this one may stand still behind that.
    let before = Instant::now();
    let sender = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        peer::send(&stream, b"late").map(|()| stream)
    });
    let events = poll(&mut probe, "poll_oneoff", &[on(1, READS, fd), after(2, Duration::from_secs(60))])?;
    let waited = before.elapsed();
    let _stream = sender.join().map_err(|_| Unmet::harness("sending panicked"))??;
    check_eq!(events, [(1, READS, 4, false)], "the events");
    check!(waited >= Duration::from_millis(100), "there was nothing to read yet");
    Ok(())
}

fn times_out(context: &Context) -> CaseResult {
    let (mut probe, fd, _stream) = pair(context)?;
    let before = Instant::now();
    let events = poll(&mut probe, "poll_oneoff", &[on(1, READS, fd), after(2, Duration::from_millis(80))])?;
    check_eq!(events, [(2, CLOCK, 0, false)], "the events");
    check!(before.elapsed() >= Duration::from_millis(80), "the clock rang after {:?}", before.elapsed());
    Ok(())
}

fn connection_arrives(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let (listener, address) = probe.listener(peer::HERE)?;
    let connecting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        peer::connect(address)
    });
    let events = poll(&mut probe, "poll_oneoff", &[on(1, READS, listener), after(2, Duration::from_secs(60))])?;
    let _stream = connecting.join().map_err(|_| Unmet::harness("connecting panicked"))??;
    check_eq!(events, [(1, READS, 1, false)], "the events");
    probe.accept(listener)?;
    Ok(())
}

fn peer_is_gone(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    peer::send(&stream, b"bye")?;
    drop(stream);
    peer::settle();
    let subscriptions = [on(1, READS, fd)];
    check_eq!(poll(&mut probe, "poll_oneoff", &subscriptions)?, [(1, READS, 3, false)], "with something to read");
    check_eq!(probe.recv(fd, 16, 0)?, Ok(b"bye".to_vec()), "what is received");
    check_eq!(poll(&mut probe, "poll_oneoff", &subscriptions)?, [(1, READS, 0, true)], "with nothing to read");
    Ok(())
}

fn mixed(context: &Context) -> CaseResult {
    let directory = host::directory()?;
    host::put(directory.path().join("file"), "content")?;
    let (listener, address) = peer::listen()?;
    let wasi = WasiConfig::new().preopen(directory.path(), "/")?.network(reaching(&[address])?);
    let mut probe = SockProbe::start_with(context, GuestConfig { wasi, ..GuestConfig::default() })?;
    let file = probe.wasi.open_as(DIR, "file", 0, READ, 0)?.map_err(|errno| Unmet::failed(format!("{errno:?}")))?;
    let fd = probe.connected(address)?;
    let stream = peer::accept(&listener)?;
    let never = after(4, Duration::from_secs(60));
    // A file and the output are always ready.
    let all = [on(1, READS, fd), on(2, READS, file), on(3, WRITES, 1), never, on(5, READS, 0)];
    let events = poll(&mut probe, "poll_oneoff", &all)?;
    check_eq!(events, [(2, READS, 7, false), (3, WRITES, 1, false), (5, READS, 0, true)], "the events");
    peer::send(&stream, b"12")?;
    peer::settle();
    let events = poll(&mut probe, "poll_oneoff", &[on(1, READS, fd), after(4, Duration::ZERO), on(2, READS, file)])?;
    check_eq!(events, [(1, READS, 2, false), (4, CLOCK, 0, false), (2, READS, 7, false)], "the events, in order");
    Ok(())
}

/// Starts to connect without waiting.
fn start(probe: &mut SockProbe, to: std::net::SocketAddr) -> CaseResult<(u64, Errno)> {
    let fd = probe.open(INET4, STREAM)?;
    probe.nonblocking(fd)?;
    let errno = probe.to("v1/sock_connect", fd, to, Form::Bare)?;
    Ok((fd, errno))
}

fn connecting(context: &Context) -> CaseResult {
    let (listener, address) = peer::listen()?;
    let mut probe = SockProbe::start(context, reaching(&[address])?)?;
    let (fd, errno) = start(&mut probe, address)?;
    check_eq!(errno, Errno::INPROGRESS, "connecting without waiting");
    let events = poll(&mut probe, "poll_oneoff", &[on(1, WRITES, fd), after(2, Duration::from_secs(60))])?;
    check!(matches!(events[..], [(1, WRITES, _, false)]), "the events are {events:?}");
    check_eq!(error(&mut probe, fd)?, [0; 4], "the socket's error");
    probe.send_all(fd, b"hello")?;
    check_eq!(peer::receive(&peer::accept(&listener)?, 5)?, b"hello", "what the host receives");
    Ok(())
}

fn connecting_fails(context: &Context) -> CaseResult {
    let nobody = peer::nobody()?;
    let mut probe = SockProbe::start(context, reaching(&[nobody])?)?;
    let (fd, errno) = start(&mut probe, nobody)?;
    check!(matches!(errno, Errno::INPROGRESS | Errno::CONNREFUSED), "connecting without waiting answers {errno:?}");
    if errno == Errno::INPROGRESS {
        let events = poll(&mut probe, "poll_oneoff", &[on(1, WRITES, fd), after(2, Duration::from_secs(60))])?;
        check!(matches!(events[..], [(1, WRITES, _, true)]), "the events are {events:?}");
        check_eq!(error(&mut probe, fd)?, [14, 0, 0, 0], "the socket's error: connrefused");
        check_eq!(error(&mut probe, fd)?, [0; 4], "the socket's error, once it was asked for");
    }
    Ok(())
}

fn many(context: &Context) -> CaseResult {
    const MANY: u64 = 100;
    let mut probe = SockProbe::start(context, listening()?)?;
    let (listener, address) = probe.listener(peer::HERE)?;
    let mut open = Vec::new();
    for _ in 0..MANY {
        let stream = peer::connect(address)?;
        open.push((probe.accept(listener)?, stream));
    }
    let subscriptions: Vec<Vec<u8>> = open.iter().map(|(fd, _)| on(*fd, READS, *fd)).collect();
    for (fd, stream) in open.iter().rev().step_by(7) {
        peer::send(stream, b"me")?;
        let events = poll(&mut probe, "poll_oneoff", &subscriptions)?;
        check_eq!(events, [(*fd, READS, 2, false)], "the events");
        check_eq!(probe.recv(*fd, 8, 0)?, Ok(b"me".to_vec()), "what is received");
    }
    Ok(())
}
