//! Receiving into a guest's memory and sending from it.

use std::io::IoSlice;
use std::net::SocketAddr;

use rustix::event::PollFlags;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, recvfrom, sendmsg, sendmsg_addr};

use crate::abi::preview1::Wasi;
use crate::abi::preview1::errno::{Errno, Fail, Outcome};
use crate::abi::preview1::io::transfer;
use crate::abi::preview1::sock::Socket;
use crate::abi::preview1::sock::socket::Carries;
use crate::abi::preview1::types::Iovec;
use crate::memory::Memory;

/// More than any datagram has; and how much of a stream is looked at without taking it.
const LARGEST: u32 = 64 << 10;

/// How much of a stream is taken between two looks at the guest's time.
const CHUNK: u32 = 1 << 20;

/// That the other end is gone is an error number here, and never a signal.
#[cfg(not(target_vendor = "apple"))]
const QUIET: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const QUIET: SendFlags = SendFlags::empty();

/// How to receive.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct How {
    /// Leave what is received where it is.
    pub(super) peek: bool,
    /// Fill the buffers, waiting as often as it takes.
    pub(super) all: bool,
    /// Wait if nothing is there.
    pub(super) wait: bool,
}

/// What was received.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) len: u32,
    /// Whether the datagram was longer than the buffers.
    pub(super) truncated: bool,
    /// Who sent it, if it is a datagram.
    pub(super) from: Option<SocketAddr>,
}

/// Receives what is there; waits only if that is nothing, and to `wait`.
pub(in crate::abi::preview1) fn receive_some(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    socket: &Socket,
    iovecs: &[Iovec],
    wait: bool,
) -> Outcome<u32> {
    let how = How { wait, ..How::default() };
    receive(wasi, memory, socket, iovecs, how).map(|received| received.len)
}

/// Receives into `iovecs`, which lie in memory.
pub(super) fn receive(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    socket: &Socket,
    iovecs: &[Iovec],
    how: How,
) -> Outcome<Received> {
    let room = iovecs.iter().try_fold(0u32, |sum, iovec| sum.checked_add(iovec.len)).ok_or(Errno::Inval)?;
    match socket.carries {
        Carries::Datagrams => datagram(wasi, memory, socket, iovecs, room, how),
        Carries::Stream => {
            let len = match how.peek {
                _ if room == 0 => 0,
                true => peek(wasi, memory, socket, iovecs, room, how.wait)?,
                false => stream(wasi, memory, socket, iovecs, how)?,
            };
            Ok(Received { len, truncated: false, from: None })
        }
    }
}

fn stream(wasi: &Wasi, memory: &mut Memory<'_>, socket: &Socket, iovecs: &[Iovec], how: How) -> Outcome<u32> {
    let limit = socket.state().receive_timeout;
    transfer(iovecs, CHUNK, |part, before| {
        let buffer = memory.slice_mut(part.ptr, part.len)?;
        let mut filled = 0;
        loop {
            // What has arrived is not kept from the guest to wait for more, unless it asked for all.
            let wait = how.wait && (how.all || before == 0 && filled == 0);
            let received = socket.attempt(wasi, PollFlags::IN, wait, limit, || {
                recv(socket, &mut buffer[filled..], RecvFlags::empty()).map(|(_, len)| len)
            });
            match received {
                Ok(0) => return Ok(filled),
                Ok(len) => filled += len,
                Err(Fail::Errno(_)) if filled > 0 => return Ok(filled),
                Err(fail) => return Err(fail),
            }
            if filled == buffer.len() || !how.all {
                return Ok(filled);
            }
        }
    })
}

/// Copies from the front of a stream. In one go: each look starts from the front again.
fn peek(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    socket: &Socket,
    iovecs: &[Iovec],
    room: u32,
    wait: bool,
) -> Outcome<u32> {
    let limit = socket.state().receive_timeout;
    let mut buffer = vec![0; room.min(LARGEST) as usize];
    let len = socket.attempt(wasi, PollFlags::IN, wait, limit, || {
        recv(socket, &mut *buffer, RecvFlags::PEEK).map(|(_, len)| len)
    })?;
    scatter(memory, iovecs, &buffer[..len])
}

fn datagram(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    socket: &Socket,
    iovecs: &[Iovec],
    room: u32,
    how: How,
) -> Outcome<Received> {
    let limit = socket.state().receive_timeout;
    // One that listens hears from everyone; one that only sent hears from those it may send to.
    let listens = socket.state().bound;
    let mut buffer = vec![0; room.min(LARGEST) as usize];
    let mut flags = RecvFlags::TRUNC;
    flags.set(RecvFlags::PEEK, how.peek);
    loop {
        let (len, from) = socket.attempt(wasi, PollFlags::IN, how.wait, limit, || {
            recvfrom(socket, &mut *buffer, flags).map(|(_, len, from)| (len, from))
        })?;
        let from = from.and_then(|from| SocketAddr::try_from(from).ok());
        if !listens && !from.is_some_and(|from| wasi.sockets.may_exchange(from)) {
            if how.peek {
                let _removed = recv(socket, &mut [0u8; 1], RecvFlags::empty());
            }
            continue;
        }
        let truncated = len > buffer.len();
        let len = scatter(memory, iovecs, &buffer[..len.min(buffer.len())])?;
        return Ok(Received { len, truncated, from });
    }
}

/// Spreads bytes over the buffers, which have room for them.
fn scatter(memory: &mut Memory<'_>, iovecs: &[Iovec], mut bytes: &[u8]) -> Outcome<u32> {
    let mut total = 0;
    for iovec in iovecs {
        let (head, rest) = bytes.split_at(bytes.len().min(iovec.len as usize));
        memory.write(iovec.ptr, head)?;
        // No more than the buffer's length, so it fits.
        total += head.len() as u32;
        bytes = rest;
    }
    Ok(total)
}

/// Sends from `iovecs`, which lie in memory; over a stream all of it, if to `wait`.
pub(in crate::abi::preview1) fn send(
    wasi: &Wasi,
    memory: &Memory<'_>,
    socket: &Socket,
    iovecs: &[Iovec],
    to: Option<SocketAddr>,
    wait: bool,
) -> Outcome<u32> {
    let total = iovecs.iter().try_fold(0u32, |sum, iovec| sum.checked_add(iovec.len)).ok_or(Errno::Inval)?;
    let mut slices = Vec::with_capacity(iovecs.len());
    for iovec in iovecs {
        slices.push(IoSlice::new(memory.slice(iovec.ptr, iovec.len)?));
    }
    let mut left = &mut slices[..];
    let limit = socket.state().send_timeout;
    let mut sent = 0;
    loop {
        let once = socket.attempt(wasi, PollFlags::OUT, wait, limit, || {
            let mut nothing = SendAncillaryBuffer::default();
            match to {
                Some(to) => sendmsg_addr(socket, &to, left, &mut nothing, QUIET),
                None => sendmsg(socket, left, &mut nothing, QUIET),
            }
        });
        match once {
            Ok(len) => {
                IoSlice::advance_slices(&mut left, len);
                // The sum of what was sent is at most the total.
                sent += len as u32;
            }
            // The guest gets the count, and the error if it tries on.
            Err(Fail::Errno(_)) if sent > 0 => return Ok(sent),
            Err(fail) => return Err(fail),
        }
        if sent >= total || !wait || socket.carries == Carries::Datagrams {
            return Ok(sent);
        }
    }
}
