//! `listener COUNT [FILE]` answers each of COUNT connections to the listener at descriptor 3 with what it received,
//! once that ends, and with what FILE holds.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::wasi::io::FromRawFd;

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let count: usize = args.next().and_then(|text| text.parse().ok()).unwrap_or(1);
    let file = args.next().map(std::fs::read).transpose()?.unwrap_or_default();
    // SAFETY: whoever starts this program hands it a listener there, and nothing else has it.
    let listener = unsafe { TcpListener::from_raw_fd(3) };
    listener.set_nonblocking(false)?;
    for _ in 0..count {
        let (mut stream, _) = listener.accept()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        stream.write_all(&bytes)?;
        stream.write_all(&file)?;
    }
    Ok(())
}
