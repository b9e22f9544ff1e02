//! Forms of addresses, byte by byte.

use std::net::{SocketAddr, TcpListener};

use super::peer;
use super::probe::{ADDRESS, DATAGRAM, Form, INET4, INET6, RECORD, STREAM, SockProbe, listening};
use super::streams::pair;
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::preview1::probe::{Errno, at, range};
use crate::check_eq;
use crate::context::Context;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("sockets/address/local-v1", "WasmEdge V1: sock_getlocaladdr", local_v1),
    Case::must("sockets/address/local-v2", "WasmEdge V2: sock_getlocaladdr", local_v2),
    Case::must("sockets/address/peer-v1", "WasmEdge V1: sock_getpeeraddr", peer_v1),
    Case::must("sockets/address/peer-v2", "WasmEdge V2: sock_getpeeraddr", peer_v2),
    Case::must("sockets/address/ipv6", "WasmEdge V1 and V2: sock_getlocaladdr, IPv6", ipv6),
    Case::must("sockets/address/no-peer", "WasmEdge V1 and V2: sock_getpeeraddr, notconn", no_peer),
    Case::must("sockets/address/buffer-lengths", "WasmEdge V1 and V2: lengths of address buffers", lengths),
    Case::must("sockets/address/families", "WasmEdge V1 and V2: families, kinds of sockets", families),
    Case::must("sockets/address/ports", "WasmEdge V1: sock_bind, port", ports),
];

/// Calls a function of the first dialect and gives type, address and port.
fn first(probe: &mut SockProbe, function: &str, fd: u64, room: usize, used: u32) -> CaseResult<(u32, Vec<u8>, u32)> {
    probe.buffer(&vec![0xee; room])?;
    let allowed = [range(ADDRESS, used), range(at::OUT, 4), range(at::OUT_2, 4)];
    probe.wasi.ok(function, &[fd, RECORD.into(), at::OUT.into(), at::OUT_2.into()], &allowed)?;
    let ty = probe.wasi.probe.u32_at(at::OUT)?;
    Ok((ty, probe.wasi.probe.bytes(ADDRESS, used)?, probe.wasi.probe.u32_at(at::OUT_2)?))
}

/// The same for the second: what is in the buffer, and the port.
fn second(probe: &mut SockProbe, function: &str, fd: u64, used: u32) -> CaseResult<(Vec<u8>, u32)> {
    probe.buffer(&[0xee; 128])?;
    let allowed = [range(ADDRESS, used), range(at::OUT_2, 4)];
    probe.wasi.ok(function, &[fd, RECORD.into(), at::OUT_2.into()], &allowed)?;
    Ok((probe.wasi.probe.bytes(ADDRESS, used)?, probe.wasi.probe.u32_at(at::OUT_2)?))
}

fn local_v1(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let (listener, address) = probe.listener(peer::HERE)?;
    for room in [4, 16] {
        let seen = first(&mut probe, "v1/sock_getlocaladdr", listener, room, 4)?;
        check_eq!(seen, (4, vec![127, 0, 0, 1], address.port().into()), "the address in {room} bytes");
    }
    Ok(())
}

fn local_v2(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let (listener, address) = probe.listener(peer::HERE)?;
    for function in ["v2/sock_getlocaladdr", "v2/sock_getlocaladdr_v2"] {
        let seen = second(&mut probe, function, listener, 6)?;
        check_eq!(seen, (vec![1, 0, 127, 0, 0, 1], address.port().into()), "the address by {function}");
    }
    Ok(())
}

fn peer_v1(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    let address = stream.local_addr().map_err(Unmet::harness)?;
    let seen = first(&mut probe, "v1/sock_getpeeraddr", fd, 16, 4)?;
    check_eq!(seen, (4, vec![127, 0, 0, 1], address.port().into()), "the address");
    Ok(())
}

fn peer_v2(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    let address = stream.local_addr().map_err(Unmet::harness)?;
    for function in ["v2/sock_getpeeraddr", "v2/sock_getpeeraddr_v2"] {
        let seen = second(&mut probe, function, fd, 6)?;
        check_eq!(seen, (vec![1, 0, 127, 0, 0, 1], address.port().into()), "the address by {function}");
    }
    Ok(())
}

fn ipv6(context: &Context) -> CaseResult {
    if TcpListener::bind("[::1]:0").is_err() {
        return Err(Unmet::Skipped("this machine has no IPv6".into()));
    }
    let mut probe = SockProbe::start(context, listening()?)?;
    let (listener, address) = probe.listener("[::1]:0")?;
    let mut octets = vec![0; 15];
    octets.push(1);
    let seen = first(&mut probe, "v1/sock_getlocaladdr", listener, 16, 16)?;
    check_eq!(seen, (6, octets.clone(), address.port().into()), "the address in the first dialect");
    let seen = second(&mut probe, "v2/sock_getlocaladdr", listener, 18)?;
    check_eq!(seen, ([vec![2, 0], octets].concat(), address.port().into()), "the address in the second dialect");
    let record = probe.buffer(&[0xee; 4])?;
    probe.wasi.fails("v1/sock_getlocaladdr", &[listener, record, at::OUT.into(), at::OUT_2.into()], Errno::NOMEM)
}

fn no_peer(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let (listener, _) = probe.listener(peer::HERE)?;
    let record = probe.buffer(&[0; 16])?;
    probe.wasi.fails("v1/sock_getpeeraddr", &[listener, record, at::OUT.into(), at::OUT_2.into()], Errno::NOTCONN)?;
    let record = probe.buffer(&[0; 128])?;
    probe.wasi.fails("v2/sock_getpeeraddr", &[listener, record, at::OUT_2.into()], Errno::NOTCONN)
}

fn lengths(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let fd = probe.open(INET4, STREAM)?;
    let (out, out_2) = (at::OUT.into(), at::OUT_2.into());
    for len in [0, 1, 3, 5, 15, 17, 127] {
        let record = probe.buffer(&vec![0; len])?;
        for function in ["v1/sock_bind", "v1/sock_connect", "v2/sock_bind_v2", "v2/sock_connect_v2"] {
            probe.wasi.fails(function, &[fd, record, 0], Errno::INVAL)?;
        }
        probe.wasi.fails("v1/sock_getlocaladdr", &[fd, record, out, out_2], Errno::INVAL)?;
        probe.wasi.fails("v2/sock_getlocaladdr", &[fd, record, out_2], Errno::INVAL)?;
    }
    let record = probe.buffer(&[0; 128])?;
    probe.wasi.fails("v1/sock_getlocaladdr", &[fd, record, out, out_2], Errno::INVAL)?;
    let record = probe.buffer(&[0; 16])?;
    probe.wasi.fails("v2/sock_getlocaladdr", &[fd, record, out_2], Errno::INVAL)
}

fn families(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    for function in ["v1/sock_open", "v2/sock_open_v2"] {
        for (family, ty, errno) in [
            (0, STREAM, Errno::INVAL),
            (3, STREAM, Errno::AFNOSUPPORT),
            (4, STREAM, Errno::INVAL),
            (0x1_0001, STREAM, Errno::INVAL),
            (INET4, 0, Errno::INVAL),
            (INET6, 3, Errno::INVAL),
            (INET4, 0xffff_ffff, Errno::INVAL),
        ] {
            probe.wasi.fails(function, &[family, ty, at::OUT.into()], errno)?;
        }
    }
    let fd = probe.open(INET4, DATAGRAM)?;
    for (family, errno) in [(0u16, Errno::INVAL), (3, Errno::AFNOSUPPORT), (2, Errno::AFNOSUPPORT), (9, Errno::INVAL)] {
        let mut storage = [0; 128];
        storage[..2].copy_from_slice(&family.to_le_bytes());
        let record = probe.buffer(&storage)?;
        probe.wasi.fails("v2/sock_bind_v2", &[fd, record, 0], errno)?;
    }
    Ok(())
}

fn ports(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let fd = probe.open(INET4, STREAM)?;
    let here: SocketAddr = peer::HERE.parse().map_err(Unmet::harness)?;
    let [record, _] = probe.address(here, Form::Bare)?;
    for port in [0x1_0000, 0x7fff_ffff, 0xffff_ffff] {
        probe.wasi.fails("v1/sock_bind", &[fd, record, port], Errno::INVAL)?;
    }
    Ok(())
}
