//! What a guest may not do: nothing is open unless somebody opened it.

use std::net::SocketAddr;

use wharf_core::grants::Network;

use super::peer;
use super::probe::{DATAGRAM, Form, INET4, INET6, STREAM, SockProbe, allowing, listening, reaching};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::preview1::probe::{Errno, at};
use crate::check_eq;
use crate::context::Context;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("sockets/denied/connect", "policy: nothing by default", connect),
    Case::must("sockets/denied/connect-elsewhere", "policy: origins", connect_elsewhere),
    Case::must("sockets/denied/metadata", "policy: metadata services", metadata),
    Case::must("sockets/denied/send-to", "policy: datagrams", send_to),
    Case::must("sockets/denied/bind", "policy: listening", bind),
    Case::must("sockets/denied/bind-elsewhere", "policy: listening", bind_elsewhere),
    Case::must("sockets/denied/listen-unbound", "policy: listening without binding", listen_unbound),
    Case::must("sockets/denied/mapped-address", "policy: IPv4 in IPv6", mapped),
    Case::must("sockets/allowed/listen-unbound", "policy: listening without binding", may_listen_unbound),
    Case::must("sockets/allowed/port-of-any-address", "policy: listening, PORT", any_address),
];

fn address(text: &str) -> CaseResult<SocketAddr> {
    text.parse().map_err(Unmet::harness)
}

fn connect(context: &Context) -> CaseResult {
    let (listener, here) = peer::listen()?;
    let mut probe = SockProbe::start(context, Network::new())?;
    let fd = probe.open(INET4, STREAM)?;
    for form in [Form::Bare, Form::Storage] {
        check_eq!(probe.to("v1/sock_connect", fd, here, form)?, Errno::ACCES, "connecting");
        check_eq!(probe.to("v2/sock_connect_v2", fd, here, form)?, Errno::ACCES, "connecting");
    }
    let datagrams = probe.open(INET4, DATAGRAM)?;
    check_eq!(probe.to("v1/sock_connect", datagrams, here, Form::Bare)?, Errno::ACCES, "connecting for datagrams");
    listener.set_nonblocking(true).map_err(Unmet::harness)?;
    crate::check!(listener.accept().is_err(), "somebody connected");
    Ok(())
}

fn connect_elsewhere(context: &Context) -> CaseResult {
    let (_listener, here) = peer::listen()?;
    let (_other, there) = peer::listen()?;
    let mut probe = SockProbe::start(context, reaching(&[here])?)?;
    let fd = probe.open(INET4, STREAM)?;
    check_eq!(probe.to("v1/sock_connect", fd, there, Form::Bare)?, Errno::ACCES, "connecting to another port");
    let other = SocketAddr::from(([127, 0, 0, 2], here.port()));
    check_eq!(probe.to("v1/sock_connect", fd, other, Form::Bare)?, Errno::ACCES, "connecting to another address");
    check_eq!(probe.to("v1/sock_connect", fd, here, Form::Bare)?, Errno::SUCCESS, "connecting where it may");
    Ok(())
}

fn metadata(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, allowing(&["insecure:allow-all"])?)?;
    let fd = probe.open(INET4, STREAM)?;
    for there in ["169.254.169.254:80", "169.254.1.1:80"] {
        check_eq!(probe.to("v1/sock_connect", fd, address(there)?, Form::Bare)?, Errno::ACCES, "connecting to {there}");
    }
    let fd = probe.open(INET6, STREAM)?;
    for there in ["[fd00:ec2::254]:80", "[::ffff:169.254.169.254]:80"] {
        check_eq!(probe.to("v1/sock_connect", fd, address(there)?, Form::Bare)?, Errno::ACCES, "connecting to {there}");
    }
    Ok(())
}

fn send_to(context: &Context) -> CaseResult {
    let (host, here) = peer::datagrams()?;
    let mut probe = SockProbe::start(context, listening()?)?;
    let fd = probe.open(INET4, DATAGRAM)?;
    let [iovs, count] = probe.wasi.iovecs(&[(at::DATA, 4)])?;
    let [record, port] = probe.address(here, Form::Bare)?;
    for function in ["v1/sock_send_to", "v2/sock_send_to_v2"] {
        probe.wasi.fails(function, &[fd, iovs, count, record, port, 0, at::OUT.into()], Errno::ACCES)?;
    }
    host.set_nonblocking(true).map_err(Unmet::harness)?;
    peer::settle();
    crate::check!(host.recv(&mut [0; 8]).is_err(), "a datagram arrived");
    Ok(())
}

fn bind(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, Network::new())?;
    for ty in [STREAM, DATAGRAM] {
        let fd = probe.open(INET4, ty)?;
        for place in ["127.0.0.1:0", "0.0.0.0:0", "0.0.0.0:8080"] {
            let place = address(place)?;
            check_eq!(probe.to("v1/sock_bind", fd, place, Form::Bare)?, Errno::ACCES, "binding to {place}");
            check_eq!(probe.to("v2/sock_bind_v2", fd, place, Form::Storage)?, Errno::ACCES, "binding to {place}");
        }
    }
    Ok(())
}

fn bind_elsewhere(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let fd = probe.open(INET4, STREAM)?;
    for place in ["0.0.0.0:0", "127.0.0.2:0", "127.0.0.1:8080"] {
        check_eq!(probe.to("v1/sock_bind", fd, address(place)?, Form::Bare)?, Errno::ACCES, "binding to {place}");
    }
    check_eq!(probe.to("v1/sock_bind", fd, address(peer::HERE)?, Form::Bare)?, Errno::SUCCESS, "binding where it may");
    Ok(())
}

/// Without a port of its own a socket that listens would get one, on every address.
fn listen_unbound(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    for family in [INET4, INET6] {
        let fd = probe.open(family, STREAM)?;
        probe.wasi.fails("v1/sock_listen", &[fd, 5], Errno::ACCES)?;
        probe.wasi.fails("v2/sock_listen_v2", &[fd, 5], Errno::ACCES)?;
    }
    Ok(())
}

fn mapped(context: &Context) -> CaseResult {
    let (_listener, here) = peer::listen()?;
    let mut probe = SockProbe::start(context, listening()?)?;
    let fd = probe.open(INET6, STREAM)?;
    let inside = address(&format!("[::ffff:127.0.0.1]:{}", here.port()))?;
    check_eq!(probe.to("v1/sock_connect", fd, inside, Form::Bare)?, Errno::ACCES, "connecting to {inside}");
    Ok(())
}

fn may_listen_unbound(context: &Context) -> CaseResult {
    let network = Network::new().allow_listen("0.0.0.0:0".parse()?);
    let mut probe = SockProbe::start(context, network)?;
    let fd = probe.open(INET4, STREAM)?;
    probe.wasi.ok("v1/sock_listen", &[fd, 5], &[])?;
    let port = probe.local_port(fd)?;
    let _stream = peer::connect(([127, 0, 0, 1], port).into())?;
    probe.accept(fd)?;
    Ok(())
}

fn any_address(context: &Context) -> CaseResult {
    let port = peer::nobody()?.port();
    let network = Network::new().allow_listen(port.to_string().parse()?);
    let mut probe = SockProbe::start(context, network)?;
    let fd = probe.open(INET4, STREAM)?;
    check_eq!(probe.to("v1/sock_bind", fd, address(peer::HERE)?, Form::Bare)?, Errno::ACCES, "binding to any port");
    let place = SocketAddr::from(([127, 0, 0, 1], port));
    check_eq!(probe.to("v1/sock_bind", fd, place, Form::Bare)?, Errno::SUCCESS, "binding to that port");
    Ok(())
}
