//! How many sockets there may be, and what becomes of their numbers.

use wharf_core::GuestConfig;
use wharf_core::grants::WasiConfig;

use super::peer;
use super::probe::{DATAGRAM, INET4, STREAM, SockProbe, listening};
use super::streams::pair;
use crate::case::{Case, CaseResult};
use crate::cases::preview1::host;
use crate::cases::preview1::probe::{DIR, Errno, READ, at, range};
use crate::check_eq;
use crate::context::Context;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("sockets/limit/open", "limits: open sockets", open),
    Case::must("sockets/limit/accept", "limits: open sockets", accept),
    Case::must("sockets/limit/files-are-counted-apart", "limits: open sockets, max_fds", apart),
    Case::must("sockets/number/reused", "wasi_snapshot_preview1: fd_close", reused),
    Case::must("sockets/number/renumbered", "wasi_snapshot_preview1: fd_renumber", renumbered),
    Case::must("sockets/number/closed-is-closed", "wasi_snapshot_preview1: fd_close", closed),
    Case::must("sockets/rights/given-up", "wasi_snapshot_preview1: fd_fdstat_set_rights", given_up),
];

fn open(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?.max_sockets(3))?;
    let mut open = Vec::new();
    for ty in [STREAM, DATAGRAM, STREAM] {
        open.push(probe.open(INET4, ty)?);
    }
    for function in ["v1/sock_open", "v2/sock_open_v2"] {
        probe.wasi.fails(function, &[INET4, STREAM, at::OUT.into()], Errno::NFILE)?;
    }
    probe.wasi.ok("fd_close", &[open[1]], &[])?;
    check_eq!(probe.open(INET4, STREAM)?, open[1], "the number of the next one");
    Ok(())
}

/// A connection that there is no room for stays where it is.
fn accept(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?.max_sockets(2))?;
    let (listener, address) = probe.listener(peer::HERE)?;
    let _first = peer::connect(address)?;
    let second = peer::connect(address)?;
    let connection = probe.accept(listener)?;
    probe.wasi.fails("v1/sock_accept", &[listener, at::OUT.into()], Errno::NFILE)?;
    probe.wasi.ok("fd_close", &[connection], &[])?;
    let connection = probe.accept(listener)?;
    probe.send_all(connection, b"at last")?;
    check_eq!(peer::receive(&second, 7)?, b"at last", "what the host receives");
    Ok(())
}

fn apart(context: &Context) -> CaseResult {
    let directory = host::directory()?;
    host::put(directory.path().join("file"), "content")?;
    let network = listening()?.max_sockets(2);
    // Three streams, the directory, and one more.
    let wasi = WasiConfig::new().preopen(directory.path(), "/")?.max_fds(5).network(network);
    let mut probe = SockProbe::start_with(context, GuestConfig { wasi, ..GuestConfig::default() })?;
    probe.open(INET4, STREAM)?;
    probe.wasi.open("file", 0, READ)?;
    check_eq!(probe.wasi.open_as(DIR, "file", 0, READ, 0)?, Err(Errno::NFILE), "one more file");
    probe.open(INET4, STREAM)?;
    probe.wasi.fails("v1/sock_open", &[INET4, STREAM, at::OUT.into()], Errno::NFILE)
}

fn reused(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let first = probe.open(INET4, STREAM)?;
    let second = probe.open(INET4, DATAGRAM)?;
    check_eq!((first, second), (3, 4), "the lowest numbers");
    probe.wasi.ok("fd_close", &[first], &[])?;
    check_eq!(probe.open(INET4, DATAGRAM)?, first, "the lowest number again");
    probe.wasi.ok("fd_fdstat_get", &[first, at::OUT.into()], &[range(at::OUT, 24)])?;
    check_eq!(probe.wasi.probe.bytes(at::OUT, 1)?, [5], "what it stands for now: a datagram socket");
    Ok(())
}

fn renumbered(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    let other = probe.open(INET4, STREAM)?;
    probe.wasi.ok("fd_renumber", &[fd, other], &[])?;
    probe.wasi.fails("sock_shutdown", &[fd, 3], Errno::BADF)?;
    probe.send_all(other, b"moved")?;
    check_eq!(peer::receive(&stream, 5)?, b"moved", "what the host receives");
    Ok(())
}

fn closed(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    probe.wasi.ok("fd_close", &[fd], &[])?;
    check_eq!(probe.send(fd, b"x")?, Err(Errno::BADF), "sending");
    check_eq!(probe.recv(fd, 8, 0)?, Err(Errno::BADF), "receiving");
    probe.wasi.fails("fd_close", &[fd], Errno::BADF)?;
    check_eq!(peer::receive_to_end(&stream)?, b"", "what the host receives");
    Ok(())
}

fn given_up(context: &Context) -> CaseResult {
    const WRITE: u64 = 1 << 6;
    const SHUTDOWN: u64 = 1 << 28;
    let (mut probe, fd, stream) = pair(context)?;
    peer::send(&stream, b"x")?;
    probe.wasi.ok("fd_fdstat_set_rights", &[fd, WRITE, 0], &[])?;
    probe.wasi.fails("sock_shutdown", &[fd, 3], Errno::NOTCAPABLE)?;
    check_eq!(probe.recv(fd, 8, 0)?, Err(Errno::BADF), "receiving");
    probe.send_all(fd, b"still")?;
    check_eq!(peer::receive(&stream, 5)?, b"still", "what the host receives");
    probe.wasi.fails("fd_fdstat_set_rights", &[fd, WRITE | SHUTDOWN, 0], Errno::NOTCAPABLE)
}
