//! A guest that waits for a socket ends when its time is up or its embedder says so.

use std::thread;
use std::time::{Duration, Instant};

use wharf_core::grants::WasiConfig;
use wharf_core::{GuestConfig, Kind, Stop};

use super::peer;
use super::probe::{DATAGRAM, INET4, SockProbe, listening, reaching};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::preview1::probe::{Errno, at};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("sockets/ends/accept-at-deadline", "deadline: sock_accept", |c| ends(c, Kind::Timeout, accept)),
    Case::must("sockets/ends/recv-at-deadline", "deadline: sock_recv", |c| ends(c, Kind::Timeout, receive)),
    Case::must("sockets/ends/recv-from-at-deadline", "deadline: sock_recv_from", |c| ends(c, Kind::Timeout, datagram)),
    Case::must("sockets/ends/send-at-deadline", "deadline: sock_send", |c| ends(c, Kind::Timeout, send)),
    Case::must("sockets/ends/poll-at-deadline", "deadline: poll_oneoff", |c| ends(c, Kind::Timeout, poll)),
    Case::must("sockets/ends/accept-when-cancelled", "cancel: sock_accept", |c| ends(c, Kind::Cancelled, accept)),
    Case::must("sockets/ends/recv-when-cancelled", "cancel: sock_recv", |c| ends(c, Kind::Cancelled, receive)),
    Case::must("sockets/ends/send-when-cancelled", "cancel: sock_send", |c| ends(c, Kind::Cancelled, send)),
    Case::must("sockets/ends/poll-when-cancelled", "cancel: poll_oneoff", |c| ends(c, Kind::Cancelled, poll)),
    Case::must("sockets/ends/closes-everything", "sockets: freed with the guest", closes),
];

/// What is called, and what has to stay open meanwhile.
type Call = (&'static str, Vec<u64>, Vec<std::net::TcpStream>);

fn ends(
    context: &Context,
    kind: Kind,
    call: fn(&mut SockProbe, &std::net::TcpListener) -> CaseResult<Call>,
) -> CaseResult {
    const SOON: Duration = Duration::from_millis(400);
    let (host, address) = peer::listen()?;
    let wasi = WasiConfig::new().network(reaching(&[address])?);
    let timeout = (kind == Kind::Timeout).then_some(SOON);
    let config = GuestConfig { wasi, timeout, ..GuestConfig::default() };
    let token = config.cancel.clone();
    let mut probe = SockProbe::start_with(context, config)?;
    let (function, args, _open) = call(&mut probe, &host)?;
    let canceller = (kind == Kind::Cancelled).then(|| {
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(150));
            token.cancel();
        })
    });
    let before = Instant::now();
    match probe.ends(function, &args) {
        Err(Stop::Error(error)) => check_eq!(error.kind(), kind, "the kind of the error"),
        other => return Err(Unmet::failed(format!("a wait for ever ended with {other:?}"))),
    }
    check!(before.elapsed() < Duration::from_secs(5), "ending the wait took {:?}", before.elapsed());
    if let Some(canceller) = canceller {
        canceller.join().map_err(|_| Unmet::harness("cancelling panicked"))?;
    }
    Ok(())
}

fn accept(probe: &mut SockProbe, _: &std::net::TcpListener) -> CaseResult<Call> {
    let (listener, _) = probe.listener(peer::HERE)?;
    Ok(("v1/sock_accept", vec![listener, at::OUT.into()], Vec::new()))
}

fn connected(probe: &mut SockProbe, host: &std::net::TcpListener) -> CaseResult<(u64, std::net::TcpStream)> {
    let fd = probe.connected(host.local_addr().map_err(Unmet::harness)?)?;
    Ok((fd, peer::accept(host)?))
}

fn receive(probe: &mut SockProbe, host: &std::net::TcpListener) -> CaseResult<Call> {
    let (fd, stream) = connected(probe, host)?;
    let [iovs, count] = probe.wasi.iovecs(&[(at::DATA, 8)])?;
    Ok(("sock_recv", vec![fd, iovs, count, 0, at::OUT.into(), at::OUT_2.into()], vec![stream]))
}

fn datagram(probe: &mut SockProbe, _: &std::net::TcpListener) -> CaseResult<Call> {
    let fd = probe.open(INET4, DATAGRAM)?;
    let record = probe.buffer(&[0; 16])?;
    let [iovs, count] = probe.wasi.iovecs(&[(at::DATA, 8)])?;
    Ok(("v1/sock_recv_from", vec![fd, iovs, count, record, 0, at::OUT.into(), at::OUT_2.into()], Vec::new()))
}

fn send(probe: &mut SockProbe, host: &std::net::TcpListener) -> CaseResult<Call> {
    let (fd, stream) = connected(probe, host)?;
    let [iovs, count] = probe.wasi.iovecs(&vec![(at::DATA, at::DATA_LEN); 1000])?;
    Ok(("sock_send", vec![fd, iovs, count, 0, at::OUT.into()], vec![stream]))
}

fn poll(probe: &mut SockProbe, host: &std::net::TcpListener) -> CaseResult<Call> {
    let (fd, stream) = connected(probe, host)?;
    let mut subscription = [0; 48];
    subscription[8] = 1;
    subscription[16..20].copy_from_slice(&(fd as u32).to_le_bytes());
    probe.wasi.probe.put(at::DATA, &subscription)?;
    Ok(("poll_oneoff", vec![at::DATA.into(), (at::DATA + 64).into(), 1, at::OUT.into()], vec![stream]))
}

fn closes(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let (listener, address) = probe.listener(peer::HERE)?;
    let stream = peer::connect(address)?;
    let connection = probe.accept(listener)?;
    check_eq!(probe.recv(connection, 0, 0)?, Ok(Vec::new()), "receiving nothing");
    probe.wasi.fails("v1/sock_accept", &[connection, at::OUT.into()], Errno::INVAL)?;
    drop(probe);
    check_eq!(peer::receive_to_end(&stream)?, b"", "what the host receives");
    check!(std::net::TcpStream::connect(address).is_err(), "somebody still listens at {address}");
    Ok(())
}
