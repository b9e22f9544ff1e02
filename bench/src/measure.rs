//! What is measured of wharf alone.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::Guests;
use crate::serving::{Served, Server};

/// How many host calls are timed.
const CALLS: u32 = 5_000_000;

/// How many idle instances share the memory that is measured.
const INSTANCES: usize = 100;

/// A call of the smallest host function, `clock_time_get`, which writes to the guest's memory, in nanoseconds.
pub(crate) fn host_call(wharf: &Path, backend: &str, guests: &Guests) -> anyhow::Result<f64> {
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "_start") (local $left i32)
                (local.set $left (i32.const {CALLS}))
                (loop $again
                    (drop (call $now (i32.const 1) (i64.const 0) (i32.const 8)))
                    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
            (func (export "nothing")))"#
    );
    let path = guests.directory.path().join("calls.wasm");
    std::fs::write(&path, wat::parse_str(text)?)?;
    let run = |function: &str| -> anyhow::Result<f64> {
        let start = Instant::now();
        let args = ["run", "--backend", backend, "--invoke", function];
        let status = Command::new(wharf).args(args).arg(&path).stdin(Stdio::null()).status()?;
        if !status.success() {
            bail!("`wharf run` ended with {status}");
        }
        Ok(start.elapsed().as_secs_f64())
    };
    run("nothing")?;
    let without = run("nothing")?;
    Ok((run("_start")? - without) * 1e9 / f64::from(CALLS))
}

/// A large body through a guest, in both directions at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Echoed {
    /// MiB a second of one direction.
    pub(crate) rate: f64,
    /// By how many MiB the server's private memory grew while it went on, at most.
    pub(crate) growth: f64,
}

/// What a body consists of, and no head or trailer has.
const BODY: u8 = 0xff;

/// How much has gone through when memory is looked at first: buffers are full by then.
const BEGUN: u64 = 64 << 20;

/// Sends so many bytes through the path `/echo` of a guest, and counts those that come back.
pub(crate) fn echo(wharf: &Path, backend: &str, guest: &Path, cache: &Path, len: u64) -> anyhow::Result<Echoed> {
    let server = Server::wharf(wharf, backend, guest, cache);
    let served = Served::listening(&server.with(&["--timeout", "10m", "--max-request-body", "4GiB"]))?;
    let mut stream = TcpStream::connect(served.address)?;
    stream.set_read_timeout(Some(Duration::from_secs(600)))?;
    let start = Instant::now();
    let mut sending = stream.try_clone()?;
    let sender = thread::spawn(move || -> std::io::Result<()> {
        let head =
            format!("POST /echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n");
        sending.write_all(head.as_bytes())?;
        let piece = vec![BODY; 64 << 10];
        let mut left = len;
        while left > 0 {
            let now = left.min(piece.len() as u64);
            sending.write_all(&piece[..now as usize])?;
            left -= now;
        }
        // The length has told where the body ends. A client that closes its side is taken for one that has gone.
        Ok(())
    });
    let mut buffer = vec![0; 256 << 10];
    let (mut bodies, mut first, mut most, mut next) = (0, 0.0_f64, 0.0_f64, BEGUN);
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        bodies += buffer[..read].iter().filter(|byte| **byte == BODY).count() as u64;
        if bodies >= next {
            let now = served.memory()?;
            (first, most) = (if next == BEGUN { now } else { first }, most.max(now));
            next += BEGUN;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    sender.join().ok().context("the sender panicked")??;
    if bodies != len {
        bail!("{bodies} bytes of {len} came back");
    }
    let mib = f64::from(1 << 20);
    Ok(Echoed { rate: len as f64 / mib / seconds, growth: (most - first) / mib })
}

/// What one more instance that waits takes, in KiB of private memory.
pub(crate) fn idle_memory(wharf: &Path, backend: &str, guests: &Guests) -> anyhow::Result<f64> {
    let with = |count: usize| -> anyhow::Result<f64> {
        let server = Server::wharf(wharf, backend, &guests.hello(), guests.directory.path());
        let served = Served::listening(&server.with(&["--pre-warm", &count.to_string()]))?;
        // They are made while it serves: wait until there are no more.
        let mut last = 0.0;
        loop {
            thread::sleep(Duration::from_millis(300));
            let memory = served.memory()?;
            if memory <= last * 1.001 {
                return Ok(memory);
            }
            last = memory;
        }
    };
    Ok((with(INSTANCES + 2)? - with(2)?) / INSTANCES as f64 / 1024.0)
}
