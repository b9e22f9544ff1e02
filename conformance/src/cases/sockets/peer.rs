//! The other end: sockets of the host, none of which waits for ever.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::case::{CaseResult, Unmet};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The loopback address, with a port that the system chooses.
pub(super) const HERE: &str = "127.0.0.1:0";

/// A connection to where the guest listens.
pub(super) fn connect(to: SocketAddr) -> CaseResult<TcpStream> {
    patient(
        TcpStream::connect_timeout(&to, PATIENCE).map_err(|error| {
            Unmet::failed(format!("the host cannot connect to {to}, where the guest listens: {error}"))
        })?,
    )
}

/// A listener for the guest to connect to, and its address.
pub(super) fn listen() -> CaseResult<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(HERE).map_err(Unmet::harness)?;
    let address = listener.local_addr().map_err(Unmet::harness)?;
    Ok((listener, address))
}

/// The connection that the guest made. It is there already, since connecting does not need it to be accepted.
pub(super) fn accept(listener: &TcpListener) -> CaseResult<TcpStream> {
    patient(listener.accept().map_err(Unmet::harness)?.0)
}

fn patient(stream: TcpStream) -> CaseResult<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE)).map_err(Unmet::harness)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(Unmet::harness)?;
    Ok(stream)
}

/// A socket for datagrams, and its address.
pub(super) fn datagrams() -> CaseResult<(UdpSocket, SocketAddr)> {
    let socket = UdpSocket::bind(HERE).map_err(Unmet::harness)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(Unmet::harness)?;
    let address = socket.local_addr().map_err(Unmet::harness)?;
    Ok((socket, address))
}

/// An address where nobody listens.
pub(super) fn nobody() -> CaseResult<SocketAddr> {
    listen().map(|(_, address)| address)
}

/// Sends to the guest.
pub(super) fn send(mut stream: &TcpStream, bytes: &[u8]) -> CaseResult {
    stream.write_all(bytes).map_err(Unmet::harness)
}

/// Receives exactly as much from the guest.
pub(super) fn receive(mut stream: &TcpStream, len: usize) -> CaseResult<Vec<u8>> {
    let mut bytes = vec![0; len];
    let read = stream.read_exact(&mut bytes);
    read.map_err(|error| Unmet::failed(format!("the host did not get {len} bytes from the guest: {error}")))?;
    Ok(bytes)
}

/// Receives what is left, up to the end that the guest has to make.
pub(super) fn receive_to_end(mut stream: &TcpStream) -> CaseResult<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    read.map_err(|error| Unmet::failed(format!("the guest did not end the stream: {error}")))?;
    Ok(bytes)
}

/// Waits until all that was sent to the guest has arrived, which on one machine it does at once.
pub(super) fn settle() {
    std::thread::sleep(Duration::from_millis(30));
}
