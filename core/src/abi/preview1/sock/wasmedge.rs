//! What WasmEdge adds to preview 1, in both of its dialects. They differ in three functions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno as Os;
use rustix::net::sockopt;

use crate::abi::preview1::Wasi;
use crate::abi::preview1::errno::{Errno, Outcome};
use crate::abi::preview1::fds::{Counted, Fd, Object};
use crate::abi::preview1::rights;
use crate::abi::preview1::sock::address::{self, Buffer};
use crate::abi::preview1::sock::socket::{Carries, Socket};
use crate::abi::preview1::sock::standard::{self, RECV_ALL, how, received_flags};
use crate::abi::preview1::sock::transport;
use crate::abi::preview1::types::{iovecs, known};
use crate::memory::Memory;

/// Numbers of kinds of sockets.
pub(super) const DATAGRAM: u32 = 1;
pub(super) const STREAM: u32 = 2;

/// The longest queue of connections that are not accepted yet.
const MAX_BACKLOG: i32 = 4096;

/// How [`get_local_v1`] and [`get_peer_v1`] name a family: neither as the other functions do, nor to be changed, since
/// guests rely on it.
const TYPE_INET4: u32 = 4;
const TYPE_INET6: u32 = 6;

pub(in crate::abi::preview1) fn open(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    family: u32,
    ty: u32,
    opened: u32,
) -> Outcome {
    memory.slice(opened, 4)?;
    let v6 = match u16::try_from(family) {
        Ok(address::INET4) => false,
        Ok(address::INET6) => true,
        Ok(address::UNIX) => return Err(Errno::Afnosupport.into()),
        _ => return Err(Errno::Inval.into()),
    };
    let carries = match ty {
        DATAGRAM => Carries::Datagrams,
        STREAM => Carries::Stream,
        _ => return Err(Errno::Inval.into()),
    };
    wasi.fds.room(Counted::Socket)?;
    let socket = Socket::open(carries, v6)?;
    let rights = match carries {
        Carries::Stream => rights::LISTENER,
        Carries::Datagrams => rights::CONNECTION,
    };
    let number = wasi.fds.insert(Fd::new(Object::Socket(Arc::new(socket)), rights, rights::CONNECTION))?;
    memory.write(opened, &number.to_le_bytes())?;
    Ok(())
}

pub(in crate::abi::preview1) fn bind(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    address: u32,
    port: u32,
) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let buffer = Buffer::at(memory, address)?;
    let socket = fd.socket()?;
    let address = buffer.read(memory, port, socket.v6)?;
    wasi.sockets.check_listen(address)?;
    rustix::net::bind(socket, &address)?;
    socket.state().bound = true;
    Ok(())
}

pub(in crate::abi::preview1) fn listen(wasi: &Wasi, _: &mut Memory<'_>, fd: u32, backlog: u32) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let socket = fd.socket()?;
    if socket.carries == Carries::Datagrams {
        return Err(Errno::Notsup.into());
    }
    // The queue of a listener that the embedder opened is the embedder's.
    if socket.granted {
        return Err(Errno::Inval.into());
    }
    let bound = socket.state().bound;
    if !bound {
        wasi.sockets.check_listen_anywhere(socket.v6)?;
    }
    // The argument is signed, and a negative one means none.
    rustix::net::listen(socket, (backlog as i32).clamp(0, MAX_BACKLOG))?;
    let mut state = socket.state();
    (state.bound, state.listening) = (true, true);
    Ok(())
}

/// The older accept, which has no flags: the connection waits, whatever the listener does.
pub(in crate::abi::preview1) fn accept_v1(wasi: &Wasi, memory: &mut Memory<'_>, fd: u32, accepted: u32) -> Outcome {
    standard::accept(wasi, memory, fd, 0, accepted)
}

pub(in crate::abi::preview1) fn connect(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    address: u32,
    port: u32,
) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let buffer = Buffer::at(memory, address)?;
    let socket = fd.socket()?;
    let address = buffer.read(memory, port, socket.v6)?;
    wasi.sockets.check_connect(address)?;
    match rustix::net::connect(socket, &address) {
        Err(Os::INPROGRESS) if fd.waits() => {}
        done => return Ok(done?),
    }
    let end = Instant::now().checked_add(wasi.sockets.granted().connect_timeout);
    if !socket.wait(wasi, PollFlags::OUT, end)? {
        return Err(Errno::Timedout.into());
    }
    Ok(sockopt::socket_error(socket)??)
}

/// Neither dialect tells a guest more than two bytes of port here.
#[expect(clippy::too_many_arguments, reason = "the ABI's parameters")]
pub(in crate::abi::preview1) fn recv_from_v2(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    address: u32,
    flags: u32,
    port: u32,
    nread: u32,
    out_flags: u32,
) -> Outcome {
    memory.slice(port, 2)?;
    let from = recv_from_v1(wasi, memory, fd, iovs, iovs_len, address, flags, nread, out_flags)?;
    memory.write(port, &from.map_or(0, |from| from.port()).to_le_bytes())?;
    Ok(())
}

/// The older one, which does not say the port; here it is the answer.
#[expect(clippy::too_many_arguments, reason = "the ABI's parameters")]
pub(in crate::abi::preview1) fn recv_from_v1(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    address: u32,
    flags: u32,
    nread: u32,
    out_flags: u32,
) -> Outcome<Option<SocketAddr>> {
    let fd = wasi.fds.get(fd)?;
    let iovecs = iovecs(memory, iovs, iovs_len)?;
    let buffer = Buffer::at(memory, address)?;
    known(flags, RECV_ALL)?;
    memory.slice(nread, 4)?;
    memory.slice(out_flags, 2)?;
    let socket = fd.socket()?;
    fd.require(rights::FD_READ)?;
    buffer.fits(socket.v6)?;
    let received = transport::receive(wasi, memory, socket, &iovecs, how(flags, fd.waits()))?;
    // A stream comes from where it was connected to.
    let from = received.from.or_else(|| socket.peer().ok());
    if let Some(from) = from {
        buffer.write(memory, from.ip())?;
    }
    memory.write(nread, &received.len.to_le_bytes())?;
    memory.write(out_flags, &received_flags(received.truncated))?;
    Ok(from)
}

#[expect(clippy::too_many_arguments, reason = "the ABI's parameters")]
pub(in crate::abi::preview1) fn send_to(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    address: u32,
    port: u32,
    flags: u32,
    nwritten: u32,
) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let iovecs = iovecs(memory, iovs, iovs_len)?;
    let buffer = Buffer::at(memory, address)?;
    known(flags, 0)?;
    memory.slice(nwritten, 4)?;
    let socket = fd.socket()?;
    fd.require(rights::FD_WRITE)?;
    let to = match socket.carries {
        Carries::Datagrams => {
            let to = buffer.read(memory, port, socket.v6)?;
            wasi.sockets.check_connect(to)?;
            Some(to)
        }
        // A stream goes where it is connected to, as POSIX specifies.
        Carries::Stream => None,
    };
    let sent = transport::send(wasi, memory, socket, &iovecs, to, fd.waits())?;
    memory.write(nwritten, &sent.to_le_bytes())?;
    Ok(())
}

pub(in crate::abi::preview1) fn get_local_v1(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    address: u32,
    ty: u32,
    port: u32,
) -> Outcome {
    address_v1(wasi, memory, fd, [address, ty, port], Socket::local)
}

pub(in crate::abi::preview1) fn get_peer_v1(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    address: u32,
    ty: u32,
    port: u32,
) -> Outcome {
    address_v1(wasi, memory, fd, [address, ty, port], Socket::peer)
}

fn address_v1(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    [address, ty, port]: [u32; 3],
    of: impl FnOnce(&Socket) -> Outcome<SocketAddr>,
) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let buffer = Buffer::at(memory, address)?.of_length(&[4, 16])?;
    memory.slice(ty, 4)?;
    memory.slice(port, 4)?;
    let address = of(fd.socket()?)?;
    buffer.fits(address.is_ipv6())?;
    buffer.write(memory, address.ip())?;
    let number = if address.is_ipv4() { TYPE_INET4 } else { TYPE_INET6 };
    memory.write(ty, &number.to_le_bytes())?;
    memory.write(port, &u32::from(address.port()).to_le_bytes())?;
    Ok(())
}

pub(in crate::abi::preview1) fn get_local_v2(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    address: u32,
    port: u32,
) -> Outcome {
    address_v2(wasi, memory, fd, [address, port], Socket::local)
}

pub(in crate::abi::preview1) fn get_peer_v2(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    address: u32,
    port: u32,
) -> Outcome {
    address_v2(wasi, memory, fd, [address, port], Socket::peer)
}

fn address_v2(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    [address, port]: [u32; 2],
    of: impl FnOnce(&Socket) -> Outcome<SocketAddr>,
) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let buffer = Buffer::at(memory, address)?.of_length(&[128])?;
    memory.slice(port, 4)?;
    let address = of(fd.socket()?)?;
    buffer.write(memory, address.ip())?;
    memory.write(port, &u32::from(address.port()).to_le_bytes())?;
    Ok(())
}
