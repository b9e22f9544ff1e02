//! Options of sockets.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use super::peer;
use super::probe::{DATAGRAM, INET4, STREAM, SockProbe, listening};
use super::streams::pair;
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::preview1::probe::{Errno, at, range};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("sockets/option/flags", "WasmEdge V1: sock_setsockopt, sock_getsockopt", flags),
    Case::must("sockets/option/what-it-is", "WasmEdge V1: sock_getsockopt, so_type, so_acceptconn", what_it_is),
    Case::must("sockets/option/linger", "WasmEdge V1: so_linger", linger),
    Case::must("sockets/option/linger-does-not-hold-up", "deadline: fd_close", lingering),
    Case::must("sockets/option/resets", "WasmEdge V1: so_linger of nothing", resets),
    Case::must("sockets/option/timeouts", "WasmEdge V1: so_rcvtimeo, so_sndtimeo", timeouts),
    Case::must("sockets/option/timeout-ends-a-wait", "WasmEdge V1: so_rcvtimeo", timeout_ends),
    Case::must("sockets/option/buffers-are-capped", "limits: bytes buffered for a socket", buffers),
    Case::must("sockets/option/refused", "WasmEdge V1: sock_setsockopt, noprotoopt, inval", refused),
    Case::must("sockets/option/room", "WasmEdge V1: sock_getsockopt, length", room),
];

const REUSE_ADDRESS: u64 = 0;
const TYPE: u64 = 1;
const ERROR: u64 = 2;
const BROADCAST: u64 = 4;
const SEND_BUFFER: u64 = 5;
const RECEIVE_BUFFER: u64 = 6;
const KEEP_ALIVE: u64 = 7;
const OOB_INLINE: u64 = 8;
const LINGER: u64 = 9;
const RECEIVE_TIMEOUT: u64 = 11;
const SEND_TIMEOUT: u64 = 12;
const ACCEPTS: u64 = 13;
const BIND_TO_DEVICE: u64 = 14;

fn set(probe: &mut SockProbe, fd: u64, name: u64, value: &[u8]) -> CaseResult<Errno> {
    probe.wasi.probe.put(at::DATA, value)?;
    probe.wasi.call("v1/sock_setsockopt", &[fd, 0, name, at::DATA.into(), value.len() as u64], &[])
}

/// Reads an option into room for `room` bytes.
pub(super) fn get(probe: &mut SockProbe, fd: u64, name: u64, room: u32) -> CaseResult<Vec<u8>> {
    probe.wasi.probe.put(at::OUT, &room.to_le_bytes())?;
    let args = [fd, 0, name, at::DATA.into(), at::OUT.into()];
    probe.wasi.ok("v1/sock_getsockopt", &args, &[range(at::DATA, room), range(at::OUT, 4)])?;
    let len = probe.wasi.probe.u32_at(at::OUT)?;
    check!(len <= room, "{len} bytes are said to be in room for {room}");
    probe.wasi.probe.bytes(at::DATA, len)
}

/// The error that a socket has met, which goes when it is asked for.
pub(super) fn error(probe: &mut SockProbe, fd: u64) -> CaseResult<Vec<u8>> {
    get(probe, fd, ERROR, 4)
}

fn flags(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    for ty in [STREAM, DATAGRAM] {
        let fd = probe.open(INET4, ty)?;
        for name in [REUSE_ADDRESS, BROADCAST, KEEP_ALIVE, OOB_INLINE] {
            check_eq!(get(&mut probe, fd, name, 4)?, [0; 4], "option {name} of type {ty} at first");
            check_eq!(set(&mut probe, fd, name, &1u32.to_le_bytes())?, Errno::SUCCESS, "setting option {name}");
            check_eq!(get(&mut probe, fd, name, 4)?, [1, 0, 0, 0], "option {name} of type {ty} once set");
            check_eq!(set(&mut probe, fd, name, &[0; 4])?, Errno::SUCCESS, "unsetting option {name}");
            check_eq!(get(&mut probe, fd, name, 4)?, [0; 4], "option {name} of type {ty} once unset");
        }
    }
    Ok(())
}

fn what_it_is(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let stream = probe.open(INET4, STREAM)?;
    let datagrams = probe.open(INET4, DATAGRAM)?;
    let (listener, _) = probe.listener(peer::HERE)?;
    check_eq!(get(&mut probe, stream, TYPE, 4)?, [2, 0, 0, 0], "a stream's type");
    check_eq!(get(&mut probe, datagrams, TYPE, 4)?, [1, 0, 0, 0], "the type of a socket for datagrams");
    check_eq!(get(&mut probe, stream, ACCEPTS, 4)?, [0; 4], "whether a stream listens");
    check_eq!(get(&mut probe, listener, ACCEPTS, 4)?, [1, 0, 0, 0], "whether a listener listens");
    check_eq!(get(&mut probe, stream, ERROR, 4)?, [0; 4], "the error of a stream");
    check_eq!(get(&mut probe, stream, BIND_TO_DEVICE, 16)?, Vec::<u8>::new(), "the device of a stream");
    Ok(())
}

fn linger(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let fd = probe.open(INET4, STREAM)?;
    check_eq!(get(&mut probe, fd, LINGER, 8)?, [0; 8], "linger at first");
    check_eq!(set(&mut probe, fd, LINGER, &[1, 0, 0, 0, 5, 0, 0, 0])?, Errno::SUCCESS, "setting linger");
    check_eq!(get(&mut probe, fd, LINGER, 8)?, [1, 0, 0, 0, 5, 0, 0, 0], "linger once set");
    for wrong in [&[1, 0, 0, 0][..], &[1, 0, 0, 0, 255, 255, 255, 255]] {
        check_eq!(set(&mut probe, fd, LINGER, wrong)?, Errno::INVAL, "setting linger to {wrong:?}");
    }
    Ok(())
}

/// Closing what cannot be delivered does not wait, however long the guest would have it.
fn lingering(context: &Context) -> CaseResult {
    let (mut probe, fd, _stream) = pair(context)?;
    check_eq!(set(&mut probe, fd, LINGER, &[1, 0, 0, 0, 60, 0, 0, 0])?, Errno::SUCCESS, "setting linger");
    probe.nonblocking(fd)?;
    let [iovs, count] = probe.wasi.iovecs(&vec![(at::DATA, at::DATA_LEN); 1000])?;
    let args = [fd, iovs, count, 0, at::OUT.into()];
    while probe.wasi.call("sock_send", &args, &[range(at::OUT, 4)])? == Errno::SUCCESS {}
    let before = Instant::now();
    probe.wasi.ok("fd_close", &[fd], &[])?;
    check!(before.elapsed() < Duration::from_secs(5), "closing took {:?}", before.elapsed());
    Ok(())
}

fn resets(context: &Context) -> CaseResult {
    let (mut probe, fd, mut stream) = pair(context)?;
    check_eq!(set(&mut probe, fd, LINGER, &[1, 0, 0, 0, 0, 0, 0, 0])?, Errno::SUCCESS, "setting linger");
    probe.wasi.ok("fd_close", &[fd], &[])?;
    match stream.read(&mut [0; 8]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        other => Err(Unmet::failed(format!("the host reads {other:?} from what was reset"))),
    }
}

fn timeval(seconds: i64, micros: i64) -> Vec<u8> {
    [seconds.to_le_bytes(), micros.to_le_bytes()].concat()
}

fn timeouts(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let fd = probe.open(INET4, STREAM)?;
    for name in [RECEIVE_TIMEOUT, SEND_TIMEOUT] {
        check_eq!(get(&mut probe, fd, name, 16)?, [0; 16], "option {name} at first");
        let value = timeval(3, 250_000);
        check_eq!(set(&mut probe, fd, name, &value)?, Errno::SUCCESS, "setting option {name}");
        check_eq!(get(&mut probe, fd, name, 16)?, value, "option {name} once set");
        for wrong in [timeval(-1, 0), timeval(0, -1), timeval(0, 1_000_000), vec![0; 8]] {
            check_eq!(set(&mut probe, fd, name, &wrong)?, Errno::INVAL, "setting option {name} to {wrong:?}");
        }
        let longest = timeval(i64::MAX, 999_999);
        check_eq!(set(&mut probe, fd, name, &longest)?, Errno::SUCCESS, "setting option {name} to the longest time");
    }
    Ok(())
}

fn timeout_ends(context: &Context) -> CaseResult {
    let (mut probe, fd, _stream) = pair(context)?;
    check_eq!(set(&mut probe, fd, RECEIVE_TIMEOUT, &timeval(0, 50_000))?, Errno::SUCCESS, "setting the timeout");
    for flags in [0, 1, 2] {
        check_eq!(probe.recv(fd, 8, flags)?, Err(Errno::AGAIN), "receiving with flags {flags}");
    }
    Ok(())
}

fn buffers(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?.max_socket_buffer(32 << 10))?;
    let fd = probe.open(INET4, STREAM)?;
    for name in [SEND_BUFFER, RECEIVE_BUFFER] {
        check_eq!(set(&mut probe, fd, name, &i32::MAX.to_le_bytes())?, Errno::SUCCESS, "setting option {name}");
        let value = get(&mut probe, fd, name, 4)?;
        let size = u32::from_le_bytes(value.try_into().unwrap_or_default());
        // Linux counts twice what was asked for.
        check!((1..=64 << 10).contains(&size), "a buffer of {size} bytes where 32 KiB are allowed");
        check_eq!(set(&mut probe, fd, name, &(-1i32).to_le_bytes())?, Errno::INVAL, "a negative size");
    }
    Ok(())
}

fn refused(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let fd = probe.open(INET4, STREAM)?;
    for name in [TYPE, ERROR, ACCEPTS, 15, 255, 0xffff_ffff] {
        check_eq!(set(&mut probe, fd, name, &[0; 4])?, Errno::NOPROTOOPT, "setting option {name}");
    }
    for name in [REUSE_ADDRESS, KEEP_ALIVE, SEND_BUFFER] {
        for wrong in [&[][..], &[1], &[1; 3], &[1; 5], &[1; 8]] {
            check_eq!(set(&mut probe, fd, name, wrong)?, Errno::INVAL, "option {name} of {} bytes", wrong.len());
        }
    }
    check_eq!(set(&mut probe, fd, BIND_TO_DEVICE, b"eth0\0")?, Errno::PERM, "binding to a device");
    check_eq!(set(&mut probe, fd, BIND_TO_DEVICE, b"")?, Errno::SUCCESS, "binding to no device");
    probe.wasi.probe.put(at::OUT, &4u32.to_le_bytes())?;
    let (value, len) = (at::DATA.into(), at::OUT.into());
    probe.wasi.fails("v1/sock_getsockopt", &[fd, 1, 0, value, len], Errno::INVAL)?;
    probe.wasi.fails("v1/sock_getsockopt", &[fd, 0, 15, value, len], Errno::NOPROTOOPT)?;
    probe.wasi.fails("v1/sock_setsockopt", &[fd, 6, 1, value, 4], Errno::INVAL)
}

fn room(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let fd = probe.open(INET4, STREAM)?;
    for (name, room) in [(TYPE, 0u32), (TYPE, 3), (LINGER, 7), (RECEIVE_TIMEOUT, 15)] {
        probe.wasi.probe.put(at::OUT, &room.to_le_bytes())?;
        let args = [fd, 0, name, at::DATA.into(), at::OUT.into()];
        probe.wasi.fails("v1/sock_getsockopt", &args, Errno::INVAL)?;
    }
    check_eq!(get(&mut probe, fd, TYPE, 64)?, [2, 0, 0, 0], "the type, with room to spare");
    Ok(())
}
