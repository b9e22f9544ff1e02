//! Servers: a listener of the guest's own in each of WasmEdge's dialects, and one that the guest is given.

use std::net::TcpListener;

use wharf_core::GuestConfig;
use wharf_core::grants::{Network, WasiConfig};

use super::peer;
use super::probe::{ADDRESS, Form, INET4, RECORD, STREAM, SockProbe, listening};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::preview1::host;
use crate::cases::preview1::probe::{Errno, NONBLOCK, at, range};
use crate::check_eq;
use crate::context::Context;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("sockets/serve/wasmedge-v1", "WasmEdge V1: sock_open to sock_accept", first),
    Case::must("sockets/serve/wasmedge-v2", "WasmEdge V2: sock_open_v2 to sock_accept_v2", second),
    Case::must("sockets/serve/ipv6", "WasmEdge V1: sock_bind, 16 bytes", ipv6),
    Case::must("sockets/serve/standard", "wasi_snapshot_preview1: sock_accept", standard),
    Case::must("sockets/serve/many-at-once", "WasmEdge V1: sock_accept", many),
    Case::must("sockets/serve/accept-flags", "wasi_snapshot_preview1: sock_accept, flags", accept_flags),
    Case::must("sockets/serve/accept-v1-waits-later", "WasmEdge V1: sock_accept", accepted_waits),
    Case::must("sockets/serve/accept-nothing", "wasi_snapshot_preview1: sock_accept, again", accept_nothing),
    Case::must("sockets/serve/accept-not-listening", "wasi_snapshot_preview1: sock_accept, inval", not_listening),
    Case::must("sockets/granted/first-descriptor", "preopened sockets: numbers", first_descriptor),
    Case::must("sockets/granted/before-directories", "preopened sockets: numbers", before_directories),
    Case::must("sockets/granted/does-not-wait", "preopened sockets: fdflags", does_not_wait),
    Case::must("sockets/granted/stays-open", "preopened sockets: sock_shutdown", stays_open),
];

/// An exchange over an accepted connection.
fn exchange(probe: &mut SockProbe, connection: u64, stream: &std::net::TcpStream) -> CaseResult {
    peer::send(stream, b"question")?;
    check_eq!(probe.recv(connection, 64, 0)?, Ok(b"question".to_vec()), "what the guest receives");
    probe.send_all(connection, b"answer")?;
    check_eq!(peer::receive(stream, 6)?, b"answer", "what the host receives");
    probe.wasi.ok("fd_close", &[connection], &[])?;
    check_eq!(peer::receive_to_end(stream)?, b"", "what follows");
    Ok(())
}

fn first(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let (listener, address) = probe.listener(peer::HERE)?;
    let stream = peer::connect(address)?;
    let connection = probe.accept(listener)?;
    exchange(&mut probe, connection, &stream)
}

fn second(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    probe.wasi.ok("v2/sock_open_v2", &[INET4, STREAM, at::OUT.into()], &[range(at::OUT, 4)])?;
    let listener = probe.wasi.probe.u32_at(at::OUT)?.into();
    let here = peer::HERE.parse().map_err(Unmet::harness)?;
    check_eq!(probe.to("v2/sock_bind_v2", listener, here, Form::Storage)?, Errno::SUCCESS, "binding");
    probe.wasi.ok("v2/sock_listen_v2", &[listener, 5], &[])?;
    probe.buffer(&[0; 128])?;
    let args = [listener, RECORD.into(), at::OUT_2.into()];
    probe.wasi.ok("v2/sock_getlocaladdr_v2", &args, &[range(ADDRESS, 6), range(at::OUT_2, 4)])?;
    let port = u16::try_from(probe.wasi.probe.u32_at(at::OUT_2)?).map_err(Unmet::harness)?;
    let stream = peer::connect(([127, 0, 0, 1], port).into())?;
    probe.wasi.ok("v2/sock_accept_v2", &[listener, 0, at::OUT.into()], &[range(at::OUT, 4)])?;
    let connection = probe.wasi.probe.u32_at(at::OUT)?.into();

    peer::send(&stream, b"question")?;
    let [iovs, count] = probe.wasi.iovecs(&[(at::DATA, 64)])?;
    let args = [connection, iovs, count, 0, at::OUT.into(), at::OUT_2.into()];
    probe.wasi.ok("v2/sock_recv_v2", &args, &[range(at::DATA, 8), range(at::OUT, 4), range(at::OUT_2, 2)])?;
    check_eq!(probe.wasi.probe.bytes(at::DATA, 8)?, b"question", "what the guest receives");
    let [iovs, count] = probe.wasi.iovecs(&[(at::DATA, 8)])?;
    probe.wasi.ok("v2/sock_send_v2", &[connection, iovs, count, 0, at::OUT.into()], &[range(at::OUT, 4)])?;
    check_eq!(peer::receive(&stream, 8)?, b"question", "what the host receives");
    Ok(())
}

fn ipv6(context: &Context) -> CaseResult {
    if TcpListener::bind("[::1]:0").is_err() {
        return Err(Unmet::Skipped("this machine has no IPv6".into()));
    }
    let mut probe = SockProbe::start(context, listening()?)?;
    let (listener, address) = probe.listener("[::1]:0")?;
    let stream = peer::connect(address)?;
    let connection = probe.accept(listener)?;
    exchange(&mut probe, connection, &stream)
}

/// A network with a listener for the guest, and its address.
fn granted() -> CaseResult<(Network, std::net::SocketAddr)> {
    let (listener, address) = peer::listen()?;
    Ok((Network::new().listener(listener)?, address))
}

fn accept_standard(probe: &mut SockProbe, fd: u64, flags: u32) -> CaseResult<u64> {
    probe.wasi.ok("sock_accept", &[fd, flags.into(), at::OUT.into()], &[range(at::OUT, 4)])?;
    Ok(probe.wasi.probe.u32_at(at::OUT)?.into())
}

fn standard(context: &Context) -> CaseResult {
    let (network, address) = granted()?;
    let mut probe = SockProbe::start(context, network)?;
    probe.wasi.ok("fd_fdstat_set_flags", &[3, 0], &[])?;
    let stream = peer::connect(address)?;
    let connection = accept_standard(&mut probe, 3, 0)?;
    peer::send(&stream, b"question")?;
    check_eq!(probe.wasi.read(connection, 64)?, b"question", "what fd_read reads");
    check_eq!(probe.wasi.write(connection, b"answer")?, 6, "how much fd_write writes");
    check_eq!(peer::receive(&stream, 6)?, b"answer", "what the host receives");
    exchange(&mut probe, connection, &stream)
}

fn many(context: &Context) -> CaseResult {
    const MANY: u32 = 200;
    let mut probe = SockProbe::start(context, listening()?)?;
    let (listener, address) = probe.listener(peer::HERE)?;
    let mut open = Vec::new();
    for number in 0..MANY {
        let stream = peer::connect(address)?;
        open.push((probe.accept(listener)?, stream, number.to_le_bytes()));
    }
    for (_, stream, number) in open.iter().rev() {
        peer::send(stream, number)?;
    }
    for (connection, _, number) in &open {
        check_eq!(probe.recv(*connection, 64, 0)?, Ok(number.to_vec()), "what connection {connection} receives");
        probe.send_all(*connection, number)?;
    }
    for (connection, stream, number) in &open {
        check_eq!(peer::receive(stream, 4)?, number, "what the host receives over connection {connection}");
    }
    Ok(())
}

fn accept_flags(context: &Context) -> CaseResult {
    let (network, address) = granted()?;
    let mut probe = SockProbe::start(context, network)?;
    let _stream = peer::connect(address)?;
    let connection = accept_standard(&mut probe, 3, NONBLOCK)?;
    check_eq!(probe.recv(connection, 8, 0)?, Err(Errno::AGAIN), "receiving what is not there");
    probe.wasi.ok("fd_fdstat_get", &[connection, at::OUT.into()], &[range(at::OUT, 24)])?;
    check_eq!(probe.wasi.probe.u16_at(at::OUT + 2)?, NONBLOCK as u16, "the connection's flags");
    Ok(())
}

fn accepted_waits(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let (listener, address) = probe.listener(peer::HERE)?;
    let _stream = peer::connect(address)?;
    probe.nonblocking(listener)?;
    let connection = probe.accept(listener)?;
    probe.wasi.ok("fd_fdstat_get", &[connection, at::OUT.into()], &[range(at::OUT, 24)])?;
    check_eq!(probe.wasi.probe.u16_at(at::OUT + 2)?, 0, "the connection's flags");
    Ok(())
}

fn accept_nothing(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let (listener, address) = probe.listener(peer::HERE)?;
    probe.nonblocking(listener)?;
    probe.wasi.fails("sock_accept", &[listener, 0, at::OUT.into()], Errno::AGAIN)?;
    probe.wasi.fails("v1/sock_accept", &[listener, at::OUT.into()], Errno::AGAIN)?;
    probe.wasi.fails("v2/sock_accept_v2", &[listener, 0, at::OUT.into()], Errno::AGAIN)?;
    let _stream = peer::connect(address)?;
    probe.accept(listener)?;
    Ok(())
}

fn not_listening(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let stream = probe.open(INET4, STREAM)?;
    probe.wasi.fails("sock_accept", &[stream, 0, at::OUT.into()], Errno::INVAL)?;
    probe.wasi.fails("v1/sock_accept", &[stream, at::OUT.into()], Errno::INVAL)
}

fn first_descriptor(context: &Context) -> CaseResult {
    let (first, _) = peer::listen()?;
    let (second, address) = peer::listen()?;
    let network = Network::new().listener(first)?.listener(second)?;
    let mut probe = SockProbe::start(context, network)?;
    for fd in [3, 4] {
        probe.wasi.ok("fd_fdstat_get", &[fd, at::OUT.into()], &[range(at::OUT, 24)])?;
        check_eq!(probe.wasi.probe.bytes(at::OUT, 1)?, [6], "the type of descriptor {fd}: a stream socket");
        probe.wasi.fails("fd_prestat_get", &[fd, at::OUT.into()], Errno::BADF)?;
    }
    probe.wasi.fails("fd_fdstat_get", &[5, at::OUT.into()], Errno::BADF)?;
    let _stream = peer::connect(address)?;
    check_eq!(accept_standard(&mut probe, 4, 0)?, 5, "the connection's number");
    Ok(())
}

/// What looks for directories starts at 3 and ends at what is not open.
fn before_directories(context: &Context) -> CaseResult {
    let directory = host::directory()?;
    let (network, _) = granted()?;
    let wasi = WasiConfig::new().preopen(directory.path(), "/data")?.network(network);
    let mut probe = SockProbe::start_with(context, GuestConfig { wasi, ..GuestConfig::default() })?;
    probe.wasi.ok("fd_prestat_get", &[3, at::OUT.into()], &[range(at::OUT, 8)])?;
    check_eq!(probe.wasi.probe.bytes(at::OUT, 1)?, [1], "the kind of descriptor 3: no directory");
    probe.wasi.fails("fd_prestat_dir_name", &[3, at::DATA.into(), 16], Errno::NOTDIR)?;
    probe.wasi.ok("fd_prestat_get", &[4, at::OUT.into()], &[range(at::OUT, 8)])?;
    check_eq!(probe.wasi.probe.u64_at(at::OUT)?, 5 << 32, "the kind of descriptor 4 and the length of its name");
    probe.wasi.fails("fd_prestat_get", &[5, at::OUT.into()], Errno::BADF)
}

fn does_not_wait(context: &Context) -> CaseResult {
    let (network, _) = granted()?;
    let mut probe = SockProbe::start(context, network)?;
    probe.wasi.ok("fd_fdstat_get", &[3, at::OUT.into()], &[range(at::OUT, 24)])?;
    check_eq!(probe.wasi.probe.u16_at(at::OUT + 2)?, NONBLOCK as u16, "the listener's flags");
    probe.wasi.fails("sock_accept", &[3, 0, at::OUT.into()], Errno::AGAIN)
}

/// The listener is the operator's: other guests may have it too.
fn stays_open(context: &Context) -> CaseResult {
    let (network, address) = granted()?;
    let mut one = SockProbe::start(context, network.clone())?;
    let mut other = SockProbe::start(context, network)?;
    one.wasi.fails("sock_shutdown", &[3, 3], Errno::NOTCONN)?;
    one.wasi.fails("v1/sock_listen", &[3, 0], Errno::INVAL)?;
    // Connections would inherit it, those of the other guest too.
    one.wasi.probe.put(at::DATA, &[1, 0, 0, 0, 0, 0, 0, 0])?;
    one.wasi.fails("v1/sock_setsockopt", &[3, 0, 9, at::DATA.into(), 8], Errno::PERM)?;
    one.wasi.ok("fd_close", &[3], &[])?;
    let _stream = peer::connect(address)?;
    accept_standard(&mut other, 3, 0)?;
    Ok(())
}
