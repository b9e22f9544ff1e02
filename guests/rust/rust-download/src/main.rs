//! `rust-download URL [FILE]` streams a download to FILE, or nowhere, and prints its length and its CRC-32.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wharf_guest::http::Request;
use wharf_guest::{TimeoutExt, Timeouts};

const NAME: &str = env!("CARGO_PKG_NAME");

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match &args[..] {
        [url] => download(url, &mut io::sink(), &mut io::stdout()),
        [url, file] => to_file(url, file),
        _ => {
            eprintln!("usage: {NAME} URL [FILE]");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn to_file(url: &str, file: &str) -> Result<()> {
    let mut to = File::create(file).with_context(|| format!("cannot create {file}"))?;
    download(url, &mut to, &mut io::stdout())
}

/// A piece is held at a time, however large the download is.
fn download(url: &str, to: &mut impl Write, out: &mut impl Write) -> Result<()> {
    let half_a_minute = Some(Duration::from_secs(30));
    let timeouts = Timeouts { first_byte: half_a_minute, between_bytes: half_a_minute, ..Timeouts::default() };
    let request = Request::get(url).timeouts(timeouts).body(())?;
    let mut response = wharf_guest::send(request).with_context(|| format!("cannot download {url}"))?;
    ensure!(response.status().is_success(), "the origin answered {}", response.status().as_u16());

    let (mut len, mut checksum) = (0_u64, crc32fast::Hasher::new());
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read =
            response.body_mut().read(&mut piece).with_context(|| format!("{url} broke off after {len} bytes"))?;
        if read == 0 {
            break;
        }
        len += read as u64;
        checksum.update(&piece[..read]);
        to.write_all(&piece[..read])?;
    }
    writeln!(out, "{len} bytes, CRC-32 {:08x}", checksum.finalize())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_guest::bytes::Bytes;
    use wharf_guest::http::Response;
    use wharf_guest::{Body, Error, ErrorKind, mock};

    #[test]
    fn pieces_are_put_together() {
        let _installed = mock::install(|_| {
            Response::new(Body::from_chunks(["a", "b", "c"].map(|piece| Ok(Bytes::from(piece))))).into()
        });
        let (mut to, mut out) = (Vec::new(), Vec::new());
        download("http://files.example/abc", &mut to, &mut out).unwrap();
        assert_eq!(to, b"abc");
        assert_eq!(String::from_utf8(out).unwrap(), "3 bytes, CRC-32 352441c2\n");
    }

    #[test]
    fn a_download_that_breaks_off_is_no_success() {
        let _installed = mock::install(|_| {
            let pieces = [Ok(Bytes::from("a")), Err(Error::new(ErrorKind::Failed))];
            Response::new(Body::from_chunks(pieces)).into()
        });
        let error = download("http://files.example/abc", &mut io::sink(), &mut io::sink()).unwrap_err();
        assert_eq!(error.to_string(), "http://files.example/abc broke off after 1 bytes");
    }

    #[test]
    fn a_late_response_is_told_apart() {
        let _installed = mock::install(|_| mock::Answer::from(Response::new("late")).takes(Duration::from_secs(31)));
        let error = download("http://files.example/abc", &mut io::sink(), &mut io::sink()).unwrap_err();
        assert!(error.downcast_ref::<Error>().unwrap().is_timeout());
    }
}
