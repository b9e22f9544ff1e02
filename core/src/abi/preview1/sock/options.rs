//! Options of sockets: the one level there is, and its names.

use std::time::Duration;

use rustix::net::sockopt;

use crate::abi::preview1::Wasi;
use crate::abi::preview1::errno::{Errno, Outcome};
use crate::abi::preview1::sock::socket::{Carries, Socket};
use crate::abi::preview1::sock::wasmedge::{DATAGRAM, STREAM};
use crate::memory::Memory;

/// The level `SOL_SOCKET`.
const SOCKET: u32 = 0;

const REUSE_ADDRESS: u32 = 0;
const TYPE: u32 = 1;
const ERROR: u32 = 2;
const DONT_ROUTE: u32 = 3;
const BROADCAST: u32 = 4;
const SEND_BUFFER: u32 = 5;
const RECEIVE_BUFFER: u32 = 6;
const KEEP_ALIVE: u32 = 7;
const OOB_INLINE: u32 = 8;
const LINGER: u32 = 9;
const RECEIVE_LOW_WATER: u32 = 10;
const RECEIVE_TIMEOUT: u32 = 11;
const SEND_TIMEOUT: u32 = 12;
const ACCEPTS: u32 = 13;
const BIND_TO_DEVICE: u32 = 14;

/// The longest value of an option: the name of a device.
const MAX_VALUE: u32 = 256;

/// Writes the option's value and how long it is.
///
/// A value is an `i32`, but for `linger`, which is two, and the timeouts, which are seconds and microseconds, both
/// `i64`. There has to be room for all of it.
pub(in crate::abi::preview1) fn getsockopt(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    level: u32,
    name: u32,
    value: u32,
    len: u32,
) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let room = memory.read_u32(len)?;
    memory.slice(value, room)?;
    let socket = fd.socket()?;
    check(level, name)?;
    let bytes = get(socket, name)?;
    if bytes.len() > room as usize {
        return Err(Errno::Inval.into());
    }
    memory.write(value, &bytes)?;
    // At most as much as there is room for, so it fits.
    memory.write(len, &(bytes.len() as u32).to_le_bytes())?;
    Ok(())
}

pub(in crate::abi::preview1) fn setsockopt(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    level: u32,
    name: u32,
    value: u32,
    len: u32,
) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let bytes = memory.slice(value, len)?;
    let socket = fd.socket()?;
    check(level, name)?;
    if len > MAX_VALUE {
        return Err(Errno::Inval.into());
    }
    set(wasi, socket, name, bytes)
}

fn check(level: u32, name: u32) -> Outcome {
    match (level, name) {
        (SOCKET, REUSE_ADDRESS..=BIND_TO_DEVICE) => Ok(()),
        (SOCKET, _) => Err(Errno::Noprotoopt.into()),
        _ => Err(Errno::Inval.into()),
    }
}

fn get(socket: &Socket, name: u32) -> Outcome<Vec<u8>> {
    let flag = |set: bool| number(usize::from(set));
    Ok(match name {
        REUSE_ADDRESS => flag(sockopt::socket_reuseaddr(socket)?),
        TYPE => match socket.carries {
            Carries::Stream => number(STREAM as usize),
            Carries::Datagrams => number(DATAGRAM as usize),
        },
        ERROR => match sockopt::socket_error(socket)? {
            Ok(()) => number(0),
            Err(error) => number(Errno::from(&error.into()) as usize),
        },
        BROADCAST => flag(sockopt::socket_broadcast(socket)?),
        SEND_BUFFER => number(sockopt::socket_send_buffer_size(socket)?),
        RECEIVE_BUFFER => number(sockopt::socket_recv_buffer_size(socket)?),
        KEEP_ALIVE => flag(sockopt::socket_keepalive(socket)?),
        OOB_INLINE => flag(sockopt::socket_oobinline(socket)?),
        LINGER => {
            let linger = socket.state().linger;
            [flag(linger.is_some()), linger.unwrap_or(0).to_le_bytes().to_vec()].concat()
        }
        RECEIVE_TIMEOUT => timeout(socket.state().receive_timeout),
        SEND_TIMEOUT => timeout(socket.state().send_timeout),
        ACCEPTS => flag(socket.state().listening),
        // A socket is bound to none.
        BIND_TO_DEVICE => Vec::new(),
        DONT_ROUTE => flag(false),
        // The only value there ever is.
        RECEIVE_LOW_WATER => number(1),
        _ => return Err(Errno::Noprotoopt.into()),
    })
}

fn set(wasi: &Wasi, socket: &Socket, name: u32, bytes: &[u8]) -> Outcome {
    // What the system keeps of a listener that the embedder opened would hold for every guest that has it.
    if socket.granted && !matches!(name, RECEIVE_TIMEOUT | SEND_TIMEOUT) {
        return Err(Errno::Perm.into());
    }
    match name {
        REUSE_ADDRESS => sockopt::set_socket_reuseaddr(socket, flag(bytes)?)?,
        BROADCAST => sockopt::set_socket_broadcast(socket, flag(bytes)?)?,
        SEND_BUFFER => sockopt::set_socket_send_buffer_size(socket, size(wasi, bytes)?)?,
        RECEIVE_BUFFER => sockopt::set_socket_recv_buffer_size(socket, size(wasi, bytes)?)?,
        KEEP_ALIVE => sockopt::set_socket_keepalive(socket, flag(bytes)?)?,
        OOB_INLINE => sockopt::set_socket_oobinline(socket, flag(bytes)?)?,
        LINGER => {
            let value = <[u8; 8]>::try_from(bytes).map_err(|_| Errno::Inval)?;
            let [on, seconds] = [&value[..4], &value[4..]].map(integer);
            let (on, seconds) = (on? != 0, seconds?);
            if seconds < 0 {
                return Err(Errno::Inval.into());
            }
            // Closing must not keep a guest beyond its time, so the system is only told not to linger at all: to reset.
            sockopt::set_socket_linger(socket, (on && seconds == 0).then_some(Duration::ZERO))?;
            socket.state().linger = on.then_some(seconds);
        }
        RECEIVE_TIMEOUT => socket.state().receive_timeout = duration(bytes)?,
        SEND_TIMEOUT => socket.state().send_timeout = duration(bytes)?,
        TYPE | ERROR | ACCEPTS => return Err(Errno::Noprotoopt.into()),
        BIND_TO_DEVICE if bytes.is_empty() => {}
        BIND_TO_DEVICE => return Err(Errno::Perm.into()),
        DONT_ROUTE if !flag(bytes)? => {}
        RECEIVE_LOW_WATER if integer(bytes)? == 1 => {}
        _ => return Err(Errno::Noprotoopt.into()),
    }
    Ok(())
}

fn number(value: usize) -> Vec<u8> {
    i32::try_from(value).unwrap_or(i32::MAX).to_le_bytes().to_vec()
}

fn timeout(timeout: Option<Duration>) -> Vec<u8> {
    let timeout = timeout.unwrap_or_default();
    let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    [seconds.to_le_bytes(), i64::from(timeout.subsec_micros()).to_le_bytes()].concat()
}

fn integer(bytes: &[u8]) -> Outcome<i32> {
    let bytes = <[u8; 4]>::try_from(bytes).map_err(|_| Errno::Inval)?;
    Ok(i32::from_le_bytes(bytes))
}

fn flag(bytes: &[u8]) -> Outcome<bool> {
    integer(bytes).map(|value| value != 0)
}

/// The size of a buffer, at most what the embedder allows.
fn size(wasi: &Wasi, bytes: &[u8]) -> Outcome<usize> {
    let size = usize::try_from(integer(bytes)?).map_err(|_| Errno::Inval)?;
    Ok(size.min(wasi.sockets.granted().max_socket_buffer))
}

/// Seconds and microseconds; nothing of both means no timeout.
fn duration(bytes: &[u8]) -> Outcome<Option<Duration>> {
    let value = <[u8; 16]>::try_from(bytes).map_err(|_| Errno::Inval)?;
    let part = |range: std::ops::Range<usize>| {
        let mut part = [0; 8];
        part.copy_from_slice(&value[range]);
        u64::try_from(i64::from_le_bytes(part)).map_err(|_| Errno::Inval)
    };
    let (seconds, micros) = (part(0..8)?, part(8..16)?);
    if micros >= 1_000_000 {
        return Err(Errno::Inval.into());
    }
    let timeout = Duration::from_secs(seconds) + Duration::from_micros(micros);
    Ok((!timeout.is_zero()).then_some(timeout))
}
