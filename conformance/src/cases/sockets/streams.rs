//! Streams: connecting, and what comes of the bytes.

use std::net::{SocketAddr, TcpListener, TcpStream};

use super::peer;
use super::probe::{Form, INET4, INET6, STREAM, SockProbe, listening, reaching};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::preview1::probe::{Errno, at, range};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("sockets/connect/wasmedge-v1", "WasmEdge V1: sock_connect", |c| {
        connect(c, "v1/sock_connect", Form::Bare)
    }),
    Case::must("sockets/connect/wasmedge-v2", "WasmEdge V2: sock_connect_v2", |c| {
        connect(c, "v2/sock_connect_v2", Form::Storage)
    }),
    Case::must("sockets/connect/ipv6", "WasmEdge V1: sock_connect, 16 bytes", connect_ipv6),
    Case::must("sockets/connect/refused", "WasmEdge V1: sock_connect, connrefused", refused),
    Case::must("sockets/connect/other-family", "WasmEdge V1: sock_connect, afnosupport", other_family),
    Case::must("sockets/stream/partial-reads", "wasi_snapshot_preview1: sock_recv", partial),
    Case::must("sockets/stream/scattered", "wasi_snapshot_preview1: sock_recv, buffers", scattered),
    Case::must("sockets/stream/gathered", "wasi_snapshot_preview1: sock_send, buffers", gathered),
    Case::must("sockets/stream/peek", "wasi_snapshot_preview1: riflags recv_peek", peek),
    Case::must("sockets/stream/wait-for-all", "wasi_snapshot_preview1: riflags recv_waitall", wait_for_all),
    Case::must("sockets/stream/empty-buffers", "wasi_snapshot_preview1: sock_recv, sock_send", empty),
    Case::must("sockets/stream/nothing-there", "wasi_snapshot_preview1: sock_recv, again", nothing_there),
    Case::must("sockets/stream/sends-all", "wasi_snapshot_preview1: sock_send", sends_all),
    Case::must("sockets/stream/no-room", "wasi_snapshot_preview1: sock_send, again", no_room),
    Case::must("sockets/stream/ended-by-peer", "wasi_snapshot_preview1: sock_recv, end", ended_by_peer),
    Case::must("sockets/stream/ended-by-guest", "wasi_snapshot_preview1: sock_shutdown, wr", ended_by_guest),
    Case::must("sockets/stream/reset-by-peer", "wasi_snapshot_preview1: sock_recv, connreset", reset),
    Case::must("sockets/stream/shutdown-arguments", "wasi_snapshot_preview1: sdflags", shutdown_arguments),
    Case::must("sockets/stream/not-connected", "wasi_snapshot_preview1: sock_send, notconn", not_connected),
    Case::must("sockets/stream/no-position", "wasi_snapshot_preview1: fd_seek, spipe", no_position),
];

/// A probe connected to the host.
pub(super) fn pair(context: &Context) -> CaseResult<(SockProbe, u64, TcpStream)> {
    let (listener, address) = peer::listen()?;
    let mut probe = SockProbe::start(context, reaching(&[address])?)?;
    let fd = probe.connected(address)?;
    Ok((probe, fd, peer::accept(&listener)?))
}

fn connect(context: &Context, function: &str, form: Form) -> CaseResult {
    let (listener, address) = peer::listen()?;
    let mut probe = SockProbe::start(context, reaching(&[address])?)?;
    let fd = probe.open(INET4, STREAM)?;
    check_eq!(probe.to(function, fd, address, form)?, Errno::SUCCESS, "connecting");
    let stream = peer::accept(&listener)?;
    probe.send_all(fd, b"hello")?;
    check_eq!(peer::receive(&stream, 5)?, b"hello", "what the host receives");
    peer::send(&stream, b"world")?;
    check_eq!(probe.recv(fd, 16, 0)?, Ok(b"world".to_vec()), "what the guest receives");
    Ok(())
}

fn connect_ipv6(context: &Context) -> CaseResult {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return Err(Unmet::Skipped("this machine has no IPv6".into()));
    };
    let address = listener.local_addr().map_err(Unmet::harness)?;
    let mut probe = SockProbe::start(context, reaching(&[address])?)?;
    let fd = probe.connected(address)?;
    probe.send_all(fd, b"six")?;
    check_eq!(peer::receive(&peer::accept(&listener)?, 3)?, b"six", "what the host receives");
    Ok(())
}

fn refused(context: &Context) -> CaseResult {
    let nobody = peer::nobody()?;
    let mut probe = SockProbe::start(context, reaching(&[nobody])?)?;
    let fd = probe.open(INET4, STREAM)?;
    check_eq!(probe.to("v1/sock_connect", fd, nobody, Form::Bare)?, Errno::CONNREFUSED, "connecting to nobody");
    Ok(())
}

fn other_family(context: &Context) -> CaseResult {
    let here: SocketAddr = "127.0.0.1:9".parse().map_err(Unmet::harness)?;
    let mut probe = SockProbe::start(context, reaching(&[here])?)?;
    let fd = probe.open(INET6, STREAM)?;
    for form in [Form::Bare, Form::Storage] {
        check_eq!(probe.to("v1/sock_connect", fd, here, form)?, Errno::AFNOSUPPORT, "connecting an IPv6 socket");
        check_eq!(probe.to("v1/sock_bind", fd, here, form)?, Errno::AFNOSUPPORT, "binding an IPv6 socket");
    }
    Ok(())
}

fn partial(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    peer::send(&stream, b"0123456789")?;
    peer::settle();
    for part in [&b"0123"[..], b"4567", b"89"] {
        check_eq!(probe.recv(fd, 4, 0)?, Ok(part.to_vec()), "a part");
    }
    Ok(())
}

fn scattered(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    peer::send(&stream, b"0123456789")?;
    peer::settle();
    let [iovs, count] = probe.wasi.iovecs(&[(at::DATA + 100, 3), (at::DATA, 0), (at::DATA + 50, 4), (at::DATA, 40)])?;
    let args = [fd, iovs, count, 0, at::OUT.into(), at::OUT_2.into()];
    let allowed =
        [range(at::DATA + 100, 3), range(at::DATA + 50, 4), range(at::DATA, 3), range(at::OUT, 4), range(at::OUT_2, 2)];
    probe.wasi.ok("sock_recv", &args, &allowed)?;
    check_eq!(probe.wasi.probe.u32_at(at::OUT)?, 10, "how much is received");
    check_eq!(probe.wasi.probe.bytes(at::DATA + 100, 3)?, b"012", "the first buffer");
    check_eq!(probe.wasi.probe.bytes(at::DATA + 50, 4)?, b"3456", "the third buffer");
    check_eq!(probe.wasi.probe.bytes(at::DATA, 3)?, b"789", "the fourth buffer");
    Ok(())
}

fn gathered(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    probe.wasi.probe.put(at::DATA, b"abcdef")?;
    let [iovs, count] = probe.wasi.iovecs(&[(at::DATA + 3, 3), (at::DATA, 0), (at::DATA, 3), (at::DATA + 1, 4)])?;
    probe.wasi.ok("sock_send", &[fd, iovs, count, 0, at::OUT.into()], &[range(at::OUT, 4)])?;
    check_eq!(probe.wasi.probe.u32_at(at::OUT)?, 10, "how much is sent");
    check_eq!(peer::receive(&stream, 10)?, b"defabcbcde", "what the host receives");
    Ok(())
}

fn peek(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    peer::send(&stream, b"twice")?;
    peer::settle();
    check_eq!(probe.recv(fd, 16, 1)?, Ok(b"twice".to_vec()), "what is peeked at");
    check_eq!(probe.recv(fd, 2, 1)?, Ok(b"tw".to_vec()), "what is peeked at again");
    check_eq!(probe.recv(fd, 16, 0)?, Ok(b"twice".to_vec()), "what is received");
    Ok(())
}

fn wait_for_all(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    let sender = std::thread::spawn(move || -> CaseResult<TcpStream> {
        for part in [&b"0123"[..], b"4567", b"89"] {
            peer::send(&stream, part)?;
            peer::settle();
        }
        Ok(stream)
    });
    let received = probe.recv(fd, 10, 2)?;
    let stream = sender.join().map_err(|_| Unmet::harness("sending panicked"))??;
    check_eq!(received, Ok(b"0123456789".to_vec()), "what is received");
    // The end comes before the buffer is full.
    peer::send(&stream, b"end")?;
    drop(stream);
    check_eq!(probe.recv(fd, 10, 2)?, Ok(b"end".to_vec()), "what is received before the end");
    Ok(())
}

fn empty(context: &Context) -> CaseResult {
    let (mut probe, fd, _stream) = pair(context)?;
    check_eq!(probe.recv(fd, 0, 0)?, Ok(Vec::new()), "receiving into nothing");
    check_eq!(probe.send(fd, b"")?, Ok(0), "sending nothing");
    Ok(())
}

fn nothing_there(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    probe.nonblocking(fd)?;
    for flags in [0, 1, 2] {
        check_eq!(probe.recv(fd, 8, flags)?, Err(Errno::AGAIN), "receiving with flags {flags}");
    }
    let [iovs, count] = probe.wasi.iovecs(&[(at::DATA, 8)])?;
    probe.wasi.fails("fd_read", &[fd, iovs, count, at::OUT.into()], Errno::AGAIN)?;
    peer::send(&stream, b"now")?;
    peer::settle();
    check_eq!(probe.recv(fd, 8, 0)?, Ok(b"now".to_vec()), "receiving what is there");
    Ok(())
}

/// Far more than any system buffers.
const MUCH: (usize, u32) = (1000, at::DATA_LEN);

fn sends_all(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    let reader = std::thread::spawn(move || {
        peer::settle();
        peer::receive_to_end(&stream).map(|bytes| bytes.len())
    });
    let [iovs, count] = probe.wasi.iovecs(&vec![(at::DATA, MUCH.1); MUCH.0])?;
    probe.wasi.ok("sock_send", &[fd, iovs, count, 0, at::OUT.into()], &[range(at::OUT, 4)])?;
    let total = MUCH.0 as u32 * MUCH.1;
    check_eq!(probe.wasi.probe.u32_at(at::OUT)?, total, "how much is sent");
    probe.wasi.ok("fd_close", &[fd], &[])?;
    let read = reader.join().map_err(|_| Unmet::harness("reading panicked"))??;
    check_eq!(read, total as usize, "how much the host receives");
    Ok(())
}

fn no_room(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    probe.nonblocking(fd)?;
    let [iovs, count] = probe.wasi.iovecs(&vec![(at::DATA, MUCH.1); MUCH.0])?;
    let args = [fd, iovs, count, 0, at::OUT.into()];
    let mut total = 0u64;
    loop {
        match probe.wasi.call("sock_send", &args, &[range(at::OUT, 4)])? {
            Errno::SUCCESS => total += u64::from(probe.wasi.probe.u32_at(at::OUT)?),
            errno => {
                check_eq!(errno, Errno::AGAIN, "sending to who does not receive");
                break;
            }
        }
        check!(total < 1 << 30, "{total} bytes were taken for who does not receive");
    }
    probe.wasi.ok("fd_close", &[fd], &[])?;
    check_eq!(peer::receive_to_end(&stream)?.len() as u64, total, "how much the host receives");
    Ok(())
}

fn ended_by_peer(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    peer::send(&stream, b"last")?;
    stream.shutdown(std::net::Shutdown::Write).map_err(Unmet::harness)?;
    check_eq!(probe.recv(fd, 16, 0)?, Ok(b"last".to_vec()), "what is received");
    for _ in 0..2 {
        check_eq!(probe.recv(fd, 16, 0)?, Ok(Vec::new()), "the end");
    }
    probe.send_all(fd, b"still here")?;
    check_eq!(peer::receive(&stream, 10)?, b"still here", "what the host receives");
    Ok(())
}

fn ended_by_guest(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    probe.send_all(fd, b"last")?;
    probe.wasi.ok("sock_shutdown", &[fd, 2], &[])?;
    check_eq!(peer::receive_to_end(&stream)?, b"last", "what the host receives");
    check_eq!(probe.send(fd, b"more")?, Err(Errno::PIPE), "sending after the end");
    peer::send(&stream, b"reply")?;
    check_eq!(probe.recv(fd, 16, 0)?, Ok(b"reply".to_vec()), "what is received");
    probe.wasi.ok("sock_shutdown", &[fd, 1], &[])?;
    check_eq!(probe.recv(fd, 16, 0)?, Ok(Vec::new()), "receiving after shutting that down");
    Ok(())
}

fn reset(context: &Context) -> CaseResult {
    let (mut probe, fd, stream) = pair(context)?;
    probe.send_all(fd, b"unread")?;
    peer::settle();
    // To close with something unread is to reset.
    drop(stream);
    peer::settle();
    check_eq!(probe.recv(fd, 16, 0)?, Err(Errno::CONNRESET), "receiving");
    check_eq!(probe.send(fd, b"more")?, Err(Errno::PIPE), "sending");
    probe.wasi.ok("fd_close", &[fd], &[])
}

fn shutdown_arguments(context: &Context) -> CaseResult {
    let (mut probe, fd, _stream) = pair(context)?;
    for how in [0, 4, 7, 0xffff_ffff] {
        probe.wasi.fails("sock_shutdown", &[fd, how], Errno::INVAL)?;
    }
    probe.wasi.ok("sock_shutdown", &[fd, 3], &[])?;
    let fresh = probe.open(INET4, STREAM)?;
    probe.wasi.fails("sock_shutdown", &[fresh, 3], Errno::NOTCONN)
}

fn not_connected(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let fd = probe.open(INET4, STREAM)?;
    check_eq!(probe.recv(fd, 16, 0)?, Err(Errno::NOTCONN), "receiving");
    let sent = probe.send(fd, b"x")?;
    check!(matches!(sent, Err(Errno::NOTCONN | Errno::PIPE)), "sending gives {sent:?}");
    Ok(())
}

fn no_position(context: &Context) -> CaseResult {
    let (mut probe, fd, _stream) = pair(context)?;
    let out = at::OUT.into();
    let [iovs, count] = probe.wasi.iovecs(&[(at::DATA, 8)])?;
    probe.wasi.fails("fd_seek", &[fd, 0, 0, out], Errno::SPIPE)?;
    probe.wasi.fails("fd_tell", &[fd, out], Errno::SPIPE)?;
    probe.wasi.fails("fd_pread", &[fd, iovs, count, 0, out], Errno::SPIPE)?;
    probe.wasi.fails("fd_sync", &[fd], Errno::NOTCAPABLE)?;
    probe.wasi.fails("fd_readdir", &[fd, at::DATA.into(), 64, 0, out], Errno::NOTDIR)?;
    probe.wasi.fails("fd_filestat_set_size", &[fd, 0], Errno::BADF)?;
    probe.wasi.ok("fd_filestat_get", &[fd, out], &[range(at::OUT, 64)])?;
    check_eq!(probe.wasi.probe.bytes(at::OUT + 16, 1)?, [6], "its kind: a stream socket");
    Ok(())
}
