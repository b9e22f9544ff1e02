//! Datagrams.

use std::net::SocketAddr;

use super::peer;
use super::probe::{ADDRESS, DATAGRAM, Form, INET4, RECORD, SockProbe, listening, reaching};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::preview1::probe::{Errno, at, range};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("sockets/datagram/wasmedge-v1", "WasmEdge V1: sock_send_to, sock_recv_from", first),
    Case::must("sockets/datagram/wasmedge-v2", "WasmEdge V2: sock_send_to_v2, sock_recv_from_v2", second),
    Case::must("sockets/datagram/bare-address-with-port", "WasmEdge V2: sock_recv_from, 4 bytes", mixed),
    Case::must("sockets/datagram/truncated", "wasi_snapshot_preview1: roflags recv_data_truncated", truncated),
    Case::must("sockets/datagram/scattered", "wasi_snapshot_preview1: sock_recv, buffers", scattered),
    Case::must("sockets/datagram/peek", "wasi_snapshot_preview1: riflags recv_peek", peek),
    Case::must("sockets/datagram/connected", "WasmEdge V1: sock_connect, datagrams", connected),
    Case::must("sockets/datagram/hears-only-whom-it-may-ask", "policy: datagrams", uninvited),
    Case::must("sockets/datagram/does-not-listen", "WasmEdge V1: sock_listen, notsup", no_listen),
    Case::must("sockets/datagram/nothing-there", "WasmEdge V1: sock_recv_from, again", nothing_there),
];

/// A probe with a socket for datagrams that listens, and its address.
fn bound(context: &Context, reaches: &[SocketAddr]) -> CaseResult<(SockProbe, u64, SocketAddr)> {
    let mut probe = SockProbe::start(context, reaching(reaches)?)?;
    let fd = probe.open(INET4, DATAGRAM)?;
    let here = peer::HERE.parse().map_err(Unmet::harness)?;
    check_eq!(probe.to("v1/sock_bind", fd, here, Form::Bare)?, Errno::SUCCESS, "binding");
    let port = probe.local_port(fd)?;
    Ok((probe, fd, ([127, 0, 0, 1], port).into()))
}

fn send_to(
    probe: &mut SockProbe,
    function: &str,
    fd: u64,
    bytes: &[u8],
    to: SocketAddr,
    form: Form,
) -> CaseResult<Errno> {
    probe.wasi.probe.put(at::DATA, bytes)?;
    let [iovs, count] = probe.wasi.iovecs(&[(at::DATA, bytes.len() as u32)])?;
    let [record, port] = probe.address(to, form)?;
    probe.wasi.call(function, &[fd, iovs, count, record, port, 0, at::OUT.into()], &[range(at::OUT, 4)])
}

fn first(context: &Context) -> CaseResult {
    let (host, host_address) = peer::datagrams()?;
    let (mut probe, fd, address) = bound(context, &[host_address])?;
    check_eq!(
        send_to(&mut probe, "v1/sock_send_to", fd, b"ping", host_address, Form::Bare)?,
        Errno::SUCCESS,
        "sending"
    );
    check_eq!(probe.wasi.probe.u32_at(at::OUT)?, 4, "how much is sent");
    let mut buffer = [0; 16];
    let (len, from) = host.recv_from(&mut buffer).map_err(Unmet::harness)?;
    check_eq!((&buffer[..len], from), (&b"ping"[..], address), "what the host receives");

    host.send_to(b"pong!", address).map_err(Unmet::harness)?;
    probe.buffer(&[0xee; 16])?;
    let [iovs, count] = probe.wasi.iovecs(&[(at::DATA, 64)])?;
    let args = [fd, iovs, count, RECORD.into(), 0, at::OUT.into(), at::OUT_2.into()];
    let allowed = [range(ADDRESS, 4), range(at::DATA, 5), range(at::OUT, 4), range(at::OUT_2, 2)];
    probe.wasi.ok("v1/sock_recv_from", &args, &allowed)?;
    check_eq!(probe.wasi.probe.bytes(at::DATA, 5)?, b"pong!", "what is received");
    check_eq!(probe.wasi.probe.bytes(ADDRESS, 4)?, [127, 0, 0, 1], "who sent it");
    Ok(())
}

/// Where the probe has the port put.
const PORT: u32 = at::OUT_2 + 0x20;

/// Receives with the second dialect; gives what is in the address buffer, the port and the bytes.
fn recv_from(
    probe: &mut SockProbe,
    function: &str,
    fd: u64,
    room: usize,
    used: u32,
) -> CaseResult<(Vec<u8>, u16, Vec<u8>)> {
    probe.buffer(&vec![0xee; room])?;
    let [iovs, count] = probe.wasi.iovecs(&[(at::DATA, 64)])?;
    let args = [fd, iovs, count, RECORD.into(), 0, PORT.into(), at::OUT.into(), at::OUT_2.into()];
    let allowed = [range(ADDRESS, used), range(at::DATA, 64), range(PORT, 2), range(at::OUT, 4), range(at::OUT_2, 2)];
    probe.wasi.ok(function, &args, &allowed)?;
    let len = probe.wasi.probe.u32_at(at::OUT)?;
    let bytes = probe.wasi.probe.bytes(at::DATA, len)?;
    Ok((probe.wasi.probe.bytes(ADDRESS, used)?, probe.wasi.probe.u16_at(PORT)?, bytes))
}

fn second(context: &Context) -> CaseResult {
    let (host, host_address) = peer::datagrams()?;
    let (mut probe, fd, address) = bound(context, &[host_address])?;
    let sent = send_to(&mut probe, "v2/sock_send_to_v2", fd, b"ping", host_address, Form::Storage)?;
    check_eq!(sent, Errno::SUCCESS, "sending");
    for function in ["v2/sock_recv_from", "v2/sock_recv_from_v2"] {
        host.send_to(b"pong", address).map_err(Unmet::harness)?;
        let seen = recv_from(&mut probe, function, fd, 128, 6)?;
        check_eq!(seen, (vec![1, 0, 127, 0, 0, 1], host_address.port(), b"pong".to_vec()), "what {function} gives");
    }
    Ok(())
}

fn mixed(context: &Context) -> CaseResult {
    let (host, host_address) = peer::datagrams()?;
    let (mut probe, fd, address) = bound(context, &[])?;
    host.send_to(b"pong", address).map_err(Unmet::harness)?;
    let seen = recv_from(&mut probe, "v2/sock_recv_from", fd, 4, 4)?;
    check_eq!(seen, (vec![127, 0, 0, 1], host_address.port(), b"pong".to_vec()), "what is received");
    Ok(())
}

fn truncated(context: &Context) -> CaseResult {
    let (host, _) = peer::datagrams()?;
    let (mut probe, fd, address) = bound(context, &[])?;
    host.send_to(b"too long", address).map_err(Unmet::harness)?;
    host.send_to(b"fits", address).map_err(Unmet::harness)?;
    check_eq!(probe.recv(fd, 4, 0)?, Ok(b"too ".to_vec()), "the first part");
    check_eq!(probe.wasi.probe.u16_at(at::OUT_2)?, 1, "the flags: truncated");
    check_eq!(probe.recv(fd, 4, 0)?, Ok(b"fits".to_vec()), "the next datagram");
    check_eq!(probe.wasi.probe.u16_at(at::OUT_2)?, 0, "the flags");
    Ok(())
}

fn scattered(context: &Context) -> CaseResult {
    let (host, _) = peer::datagrams()?;
    let (mut probe, fd, address) = bound(context, &[])?;
    host.send_to(b"0123456789", address).map_err(Unmet::harness)?;
    let [iovs, count] = probe.wasi.iovecs(&[(at::DATA + 8, 3), (at::DATA, 5), (at::DATA + 20, 5)])?;
    let args = [fd, iovs, count, 0, at::OUT.into(), at::OUT_2.into()];
    let allowed =
        [range(at::DATA + 8, 3), range(at::DATA, 5), range(at::DATA + 20, 2), range(at::OUT, 4), range(at::OUT_2, 2)];
    probe.wasi.ok("sock_recv", &args, &allowed)?;
    check_eq!(probe.wasi.probe.bytes(at::DATA, 5)?, b"34567", "the second buffer");
    check_eq!(probe.wasi.probe.bytes(at::DATA + 20, 2)?, b"89", "the third buffer");
    Ok(())
}

fn peek(context: &Context) -> CaseResult {
    let (host, _) = peer::datagrams()?;
    let (mut probe, fd, address) = bound(context, &[])?;
    host.send_to(b"twice", address).map_err(Unmet::harness)?;
    check_eq!(probe.recv(fd, 16, 1)?, Ok(b"twice".to_vec()), "what is peeked at");
    check_eq!(probe.recv(fd, 16, 0)?, Ok(b"twice".to_vec()), "what is received");
    Ok(())
}

fn connected(context: &Context) -> CaseResult {
    let (host, host_address) = peer::datagrams()?;
    let mut probe = SockProbe::start(context, reaching(&[host_address])?)?;
    let fd = probe.open(INET4, DATAGRAM)?;
    check_eq!(probe.to("v1/sock_connect", fd, host_address, Form::Bare)?, Errno::SUCCESS, "connecting");
    check_eq!(probe.wasi.write(fd, b"ping")?, 4, "how much fd_write writes");
    let mut buffer = [0; 16];
    let (len, from) = host.recv_from(&mut buffer).map_err(Unmet::harness)?;
    check_eq!(&buffer[..len], b"ping", "what the host receives");
    host.send_to(b"pong", from).map_err(Unmet::harness)?;
    check_eq!(probe.wasi.read(fd, 64)?, b"pong", "what fd_read reads");
    probe.wasi.ok("fd_fdstat_get", &[fd, at::OUT.into()], &[range(at::OUT, 24)])?;
    check_eq!(probe.wasi.probe.bytes(at::OUT, 1)?, [5], "its kind: a datagram socket");
    Ok(())
}

/// A socket that only sent has a port of its own, on which nobody else is to be heard.
fn uninvited(context: &Context) -> CaseResult {
    let (host, host_address) = peer::datagrams()?;
    let (stranger, _) = peer::datagrams()?;
    let mut probe = SockProbe::start(context, reaching(&[host_address])?)?;
    let fd = probe.open(INET4, DATAGRAM)?;
    check_eq!(
        send_to(&mut probe, "v1/sock_send_to", fd, b"ping", host_address, Form::Bare)?,
        Errno::SUCCESS,
        "sending"
    );
    let port = probe.local_port(fd)?;
    stranger.send_to(b"psst", ("127.0.0.1", port)).map_err(Unmet::harness)?;
    peer::settle();
    host.send_to(b"pong", ("127.0.0.1", port)).map_err(Unmet::harness)?;
    for flags in [1, 0] {
        check_eq!(probe.recv(fd, 16, flags)?, Ok(b"pong".to_vec()), "what is received with flags {flags}");
    }
    stranger.send_to(b"psst", ("127.0.0.1", port)).map_err(Unmet::harness)?;
    peer::settle();
    probe.nonblocking(fd)?;
    check_eq!(probe.recv(fd, 16, 0)?, Err(Errno::AGAIN), "what the stranger sent");
    Ok(())
}

fn no_listen(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let fd = probe.open(INET4, DATAGRAM)?;
    probe.wasi.fails("v1/sock_listen", &[fd, 5], Errno::NOTSUP)?;
    let errno = probe.wasi.call("sock_accept", &[fd, 0, at::OUT.into()], &[])?;
    check!(errno == Errno::INVAL, "accepting answers {errno:?}");
    Ok(())
}

fn nothing_there(context: &Context) -> CaseResult {
    let (mut probe, fd, _) = bound(context, &[])?;
    probe.nonblocking(fd)?;
    let record = probe.buffer(&[0; 16])?;
    let [iovs, count] = probe.wasi.iovecs(&[(at::DATA, 8)])?;
    let (out, out_2) = (at::OUT.into(), at::OUT_2.into());
    probe.wasi.fails("v1/sock_recv_from", &[fd, iovs, count, record, 0, out, out_2], Errno::AGAIN)?;
    probe.wasi.fails("v2/sock_recv_from", &[fd, iovs, count, record, 0, PORT.into(), out, out_2], Errno::AGAIN)
}
