//! `hello-wasmedge ADDR` is an HTTP server on the published `wasmedge_wasi_socket` crate, as guests are built for
//! WasmEdge. It polls, serves many connections at once, and many requests on each.
//!
//! It answers `POST /hello` with a greeting that repeats the body, `GET /` with a line of help, and everything else with
//! 404. It prints `listening on ADDR`.

#[path = "../../hello-std/src/http.rs"]
mod http;

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::wasi::io::AsRawFd;

use http::Connection;
use wasmedge_wasi_socket::poll::{poll, EventType, Subscription};
use wasmedge_wasi_socket::socket::Socket;
use wasmedge_wasi_socket::{TcpListener, TcpStream};

/// The number by which the listener is known; connections have theirs from their descriptors.
const LISTENER: u64 = 0;

/// Reads or writes what is possible without waiting. False once the connection has ended.
fn advance(stream: &mut TcpStream, connection: &mut Connection) -> io::Result<bool> {
    // Who does not take answers is not read from.
    if connection.output.is_empty() {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(len) => connection.take(&buffer[..len], false),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    while !connection.output.is_empty() {
        match stream.write(&connection.output) {
            Ok(len) => drop(connection.output.drain(..len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(!connection.ended)
}

fn main() -> io::Result<()> {
    let usage = || io::Error::new(ErrorKind::InvalidInput, "usage: hello-wasmedge ADDR");
    let address: SocketAddr = std::env::args().nth(1).and_then(|text| text.parse().ok()).ok_or_else(usage)?;
    let listener = TcpListener::bind(address, true)?;
    // The address that was asked for may leave the port to the system. Of what this release of the crate finds, only
    // the port is right: optimised, it reads the address from a buffer that the compiler holds for constant.
    let socket: &Socket = listener.as_ref();
    println!("listening on {}", SocketAddr::new(address.ip(), socket.get_local()?.port()));

    let mut open: HashMap<u64, (TcpStream, Connection)> = HashMap::new();
    loop {
        let mut subscriptions = vec![Subscription::io(LISTENER, &listener, true, false, None)];
        for (id, (stream, connection)) in &open {
            let sends = !connection.output.is_empty();
            subscriptions.push(Subscription::io(*id, stream, !sends, sends, None));
        }
        for event in poll(&subscriptions)? {
            if event.userdata == LISTENER {
                if let EventType::Error(error) = event.event_type {
                    return Err(error);
                }
                match listener.accept(true) {
                    Ok((stream, _)) => {
                        open.insert(stream.as_raw_fd() as u64, (stream, Connection::default()));
                    }
                    // Whoever came is gone again, or there is no room for now.
                    Err(error) => eprintln!("hello-wasmedge: {error}"),
                }
            } else if let Some((stream, connection)) = open.get_mut(&event.userdata) {
                // One connection that breaks is no reason to stop.
                if !advance(stream, connection).unwrap_or(false) {
                    open.remove(&event.userdata);
                }
            }
        }
    }
}
