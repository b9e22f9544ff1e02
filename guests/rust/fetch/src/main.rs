//! `fetch URL [METHOD [BODY]] [NAME:VALUE]...`: sends one request through the published `wasi-experimental-http` crate
//! and prints the status, the headers and the body, which it reads in pieces of 64 KiB.
//!
//! With `--count` before the URL it prints the body's length and a checksum instead of the body.

use std::io::Write;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Request;

fn main() {
    if let Err(error) = fetch() {
        eprintln!("fetch: {error:#}");
        std::process::exit(1);
    }
}

fn fetch() -> Result<()> {
    let mut args = std::env::args().skip(1).peekable();
    let count = args.next_if(|arg| arg == "--count").is_some();
    let url = args.next().context("usage: fetch [--count] URL [METHOD [BODY]] [NAME:VALUE]...")?;
    let mut request = Request::builder().uri(url);
    let mut body = None;
    let (mut method, mut plain) = ("GET".to_owned(), 0);
    for arg in args {
        match arg.split_once(':') {
            Some((name, value)) if plain != 1 => request = request.header(name, value),
            _ if plain == 0 => {
                method = arg;
                plain = 1;
            }
            _ => {
                body = Some(Bytes::from(arg));
                plain = 2;
            }
        }
    }
    let mut response = wasi_experimental_http::request(request.method(method.as_str()).body(body)?)?;

    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", response.status_code)?;
    let headers = response.headers_get_all()?;
    let mut names: Vec<_> = headers.keys().filter(|name| *name != http::header::DATE).collect();
    names.sort_by_key(|name| name.as_str());
    for name in names {
        for value in headers.get_all(name) {
            writeln!(out, "{name}: {}", value.to_str()?)?;
        }
    }
    writeln!(out)?;

    let mut buffer = vec![0; 64 * 1024];
    let (mut total, mut checksum) = (0_u64, 0_u32);
    loop {
        let read = response.body_read(&mut buffer)?;
        if read == 0 {
            break;
        }
        if count {
            total += read as u64;
            checksum = buffer[..read].iter().fold(checksum, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
        } else {
            out.write_all(&buffer[..read])?;
        }
    }
    if count {
        writeln!(out, "{total} bytes, checksum {checksum:08x}")?;
    }
    Ok(())
}
