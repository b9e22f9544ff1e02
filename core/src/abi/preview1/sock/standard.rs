//! The four functions of preview 1 itself: for connections that are accepted from a listener the guest was given.

use rustix::event::PollFlags;
use rustix::io::Errno as Os;
use rustix::net::Shutdown;

use crate::abi::preview1::Wasi;
use crate::abi::preview1::errno::{Errno, Outcome};
use crate::abi::preview1::fds::{Counted, Fd, Object};
use crate::abi::preview1::rights;
use crate::abi::preview1::sock::transport::{self, How};
use crate::abi::preview1::types::{FD_ALL, iovecs, known};
use crate::memory::Memory;

const RECV_PEEK: u32 = 1;
const RECV_WAITALL: u32 = 2;
pub(super) const RECV_ALL: u32 = RECV_PEEK | RECV_WAITALL;
const RECV_TRUNCATED: u16 = 1;

const SHUTDOWN_READ: u32 = 1;
const SHUTDOWN_WRITE: u32 = 2;
const SHUTDOWN_ALL: u32 = SHUTDOWN_READ | SHUTDOWN_WRITE;

pub(in crate::abi::preview1) fn accept(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    flags: u32,
    accepted: u32,
) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    known(flags, FD_ALL)?;
    memory.slice(accepted, 4)?;
    let socket = fd.socket()?;
    if !socket.state().listening {
        return Err(Errno::Inval.into());
    }
    fd.require(rights::SOCK_ACCEPT)?;
    wasi.fds.room(Counted::Socket)?;
    let limit = socket.state().receive_timeout;
    let connection = socket.attempt(wasi, PollFlags::IN, fd.waits(), limit, || match socket.accept() {
        // It was gone before it was asked for: the next one is.
        Err(Os::CONNABORTED) => Err(Os::INTR),
        accepted => accepted,
    })?;
    let connection = Object::Socket(std::sync::Arc::new(socket.accepted(connection)?));
    let number = wasi.fds.insert(Fd { flags, ..Fd::new(connection, rights::CONNECTION, 0) })?;
    memory.write(accepted, &number.to_le_bytes())?;
    Ok(())
}

/// How the flags of a call say to receive.
pub(super) fn how(flags: u32, wait: bool) -> How {
    How { peek: flags & RECV_PEEK != 0, all: flags & RECV_WAITALL != 0, wait }
}

/// The flags that say what became of a datagram.
pub(super) fn received_flags(truncated: bool) -> [u8; 2] {
    if truncated { RECV_TRUNCATED.to_le_bytes() } else { [0; 2] }
}

#[expect(clippy::too_many_arguments, reason = "the ABI's parameters")]
pub(in crate::abi::preview1) fn recv(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    flags: u32,
    nread: u32,
    out_flags: u32,
) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let iovecs = iovecs(memory, iovs, iovs_len)?;
    known(flags, RECV_ALL)?;
    memory.slice(nread, 4)?;
    memory.slice(out_flags, 2)?;
    let socket = fd.socket()?;
    fd.require(rights::FD_READ)?;
    let received = transport::receive(wasi, memory, socket, &iovecs, how(flags, fd.waits()))?;
    memory.write(nread, &received.len.to_le_bytes())?;
    memory.write(out_flags, &received_flags(received.truncated))?;
    Ok(())
}

pub(in crate::abi::preview1) fn send(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    flags: u32,
    nwritten: u32,
) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let iovecs = iovecs(memory, iovs, iovs_len)?;
    known(flags, 0)?;
    memory.slice(nwritten, 4)?;
    let socket = fd.socket()?;
    fd.require(rights::FD_WRITE)?;
    let sent = transport::send(wasi, memory, socket, &iovecs, None, fd.waits())?;
    memory.write(nwritten, &sent.to_le_bytes())?;
    Ok(())
}

/// A listener that the embedder opened is not the guest's alone, and stays open.
pub(in crate::abi::preview1) fn shutdown(wasi: &Wasi, _: &mut Memory<'_>, fd: u32, how: u32) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    known(how, SHUTDOWN_ALL)?;
    let socket = fd.socket()?;
    fd.require(rights::SOCK_SHUTDOWN)?;
    let how = match how {
        SHUTDOWN_READ => Shutdown::Read,
        SHUTDOWN_WRITE => Shutdown::Write,
        SHUTDOWN_ALL => Shutdown::Both,
        _ => return Err(Errno::Inval.into()),
    };
    if socket.granted {
        return Err(Errno::Notconn.into());
    }
    rustix::net::shutdown(socket, how)?;
    Ok(())
}
