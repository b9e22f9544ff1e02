//! Sockets. No descriptor is one yet, so these functions check their arguments and answer `notsock`, or `badf` for a
//! descriptor that is not open.

use crate::abi::preview1::Wasi;
use crate::abi::preview1::errno::{Errno, Outcome};
use crate::abi::preview1::types::{FD_ALL, iovecs, known};
use crate::memory::Memory;

const RECV_ALL: u32 = 3;
const SHUTDOWN_ALL: u32 = 3;

pub(super) fn accept(wasi: &Wasi, memory: &mut Memory<'_>, fd: u32, flags: u32, accepted: u32) -> Outcome {
    wasi.fds.get(fd)?;
    known(flags, FD_ALL)?;
    memory.slice(accepted, 4)?;
    Err(Errno::Notsock.into())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's parameters")]
pub(super) fn recv(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    flags: u32,
    nread: u32,
    out_flags: u32,
) -> Outcome {
    wasi.fds.get(fd)?;
    iovecs(memory, iovs, iovs_len)?;
    known(flags, RECV_ALL)?;
    memory.slice(nread, 4)?;
    memory.slice(out_flags, 2)?;
    Err(Errno::Notsock.into())
}

pub(super) fn send(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    flags: u32,
    nwritten: u32,
) -> Outcome {
    wasi.fds.get(fd)?;
    iovecs(memory, iovs, iovs_len)?;
    known(flags, 0)?;
    memory.slice(nwritten, 4)?;
    Err(Errno::Notsock.into())
}

pub(super) fn shutdown(wasi: &Wasi, _: &mut Memory<'_>, fd: u32, how: u32) -> Outcome {
    wasi.fds.get(fd)?;
    known(how, SHUTDOWN_ALL)?;
    Err(Errno::Notsock.into())
}
