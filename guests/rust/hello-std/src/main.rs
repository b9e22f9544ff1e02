//! An HTTP server on Rust's standard library, whose listener is open already, at descriptor 3. It serves one connection
//! after the other, with one request each, since the library has no way to wait for several.
//!
//! It answers `POST /hello` with a greeting that repeats the body, `GET /` with a line of help, and everything else with
//! 404.

mod http;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::wasi::io::FromRawFd;

fn serve(stream: &mut TcpStream) -> io::Result<()> {
    let mut connection = http::Connection::default();
    let mut buffer = [0; 4096];
    while !connection.ended {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        connection.take(&buffer[..len], true);
    }
    stream.write_all(&connection.output)
}

fn main() -> io::Result<()> {
    // SAFETY: whoever starts this program hands it a listener there, and nothing else has it.
    let listener = unsafe { TcpListener::from_raw_fd(3) };
    listener.set_nonblocking(false)?;
    loop {
        let (mut stream, _) = listener.accept()?;
        // One connection that breaks is no reason to stop.
        if let Err(error) = serve(&mut stream) {
            eprintln!("hello-std: {error}");
        }
    }
}
