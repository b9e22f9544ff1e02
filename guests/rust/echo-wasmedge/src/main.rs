//! On the published `wasmedge_wasi_socket` crate, as guests are built for WasmEdge:
//!
//! - `serve ADDR COUNT` answers each of COUNT connections with what it received, once that ends;
//! - `poll ADDR COUNT` does the same for all of them at once;
//! - `send HOST:PORT TEXT` connects, sends, and prints what comes back;
//! - `ask HOST:PORT TEXT` does the same with one datagram, and prints before it from which port it came.
//!
//! A server prints `listening on ADDR`.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::wasi::io::AsRawFd;

use wasmedge_wasi_socket::poll::{poll, EventType, Subscription};
use wasmedge_wasi_socket::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["serve", address, count] => serve(address, number(count)?),
        ["poll", address, count] => serve_at_once(address, number(count)?),
        ["send", to, text] => send(to, text),
        ["ask", to, text] => ask(to, text),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: serve|poll ADDR COUNT, or send|ask HOST:PORT TEXT")),
    }
}

fn number(text: &str) -> io::Result<usize> {
    text.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "COUNT is no number"))
}

fn listen(address: &str, nonblocking: bool) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address, nonblocking)?;
    // The address that was asked for may leave the port to the system.
    let socket: &wasmedge_wasi_socket::socket::Socket = listener.as_ref();
    println!("listening on {}", socket.get_local()?);
    Ok(listener)
}

fn serve(address: &str, count: usize) -> io::Result<()> {
    let listener = listen(address, false)?;
    for _ in 0..count {
        let (mut stream, _) = listener.accept(false)?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        stream.write_all(&bytes)?;
        stream.shutdown(Shutdown::Write)?;
    }
    Ok(())
}

/// The number by which the listener is known; connections have theirs from their descriptors.
const LISTENER: u64 = 0;

fn serve_at_once(address: &str, count: usize) -> io::Result<()> {
    let listener = listen(address, true)?;
    let mut open: HashMap<u64, (TcpStream, Vec<u8>)> = HashMap::new();
    let mut served = 0;
    while served < count {
        let mut subscriptions = vec![Subscription::io(LISTENER, &listener, true, false, None)];
        for (id, (stream, _)) in &open {
            subscriptions.push(Subscription::io(*id, stream, true, false, None));
        }
        for event in poll(&subscriptions)? {
            if let EventType::Error(error) = event.event_type {
                return Err(error);
            }
            if event.userdata == LISTENER {
                let (stream, _) = listener.accept(true)?;
                open.insert(stream.as_raw_fd() as u64, (stream, Vec::new()));
                continue;
            }
            let Some((stream, bytes)) = open.get_mut(&event.userdata) else { continue };
            let mut buffer = [0; 512];
            match stream.read(&mut buffer) {
                Ok(0) => {
                    let bytes = std::mem::take(bytes);
                    stream.set_nonblocking(false)?;
                    stream.write_all(&bytes)?;
                    open.remove(&event.userdata);
                    served += 1;
                }
                Ok(len) => bytes.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn send(to: &str, text: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    io::stdout().write_all(&answer)
}

fn ask(to: &str, text: &str) -> io::Result<()> {
    let to: SocketAddr = to
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.send_to(text.as_bytes(), to)?;
    let mut buffer = [0; 2048];
    let (len, from) = socket.recv_from(&mut buffer)?;
    // Optimised, this release of the crate reads the address from a buffer that the compiler holds for constant.
    println!("{}", from.port());
    io::stdout().write_all(&buffer[..len])
}
