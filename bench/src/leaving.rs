//! What goes with a client that leaves: its guest's place, and the connections that its guest has to origins.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::bounds::{OWN, PATIENCE, SHORT, ask, guest, serve};
use crate::guests::Guests;
use crate::report::Report;
use crate::serving::Served;

/// How often a client leaves.
const TIMES: usize = 20;

/// How many clients leave at once: as many as there are places.
const MANY: usize = 128;

/// Adds to `report` what clients that leave take with them on this backend.
pub(crate) fn measure(wharf: &Path, backend: &str, guests: &Guests, report: &mut Report) {
    let name = format!("wharf {backend}");
    for (what, forever) in [("wait", "(call $block (call $wait (i64.const 1000000000000)))"), ("compute", "")] {
        let text = guest(forever, "");
        report.measure(&format!("a place is free after a client left, guests that {what}, ms"), &name, || {
            place(wharf, backend, guests, &text)
        });
        report.measure(&format!("the next answer after {MANY} clients left, guests that {what}, ms"), &name, || {
            many(wharf, backend, guests, &text)
        });
    }
    for (what, steps, answer) in ASKING {
        report.measure(
            &format!("the origin's connection ends after a client left, guests that {what}, ms"),
            &name,
            || outbound(wharf, backend, guests, steps, answer),
        );
    }
}

/// The longest time from a client's leaving until its place is free for the next, in milliseconds.
fn place(wharf: &Path, backend: &str, guests: &Guests, text: &str) -> anyhow::Result<f64> {
    let served = serve(wharf, backend, guests, text, &["--max-concurrent", "1", "--max-waiting", "0"])?;
    let mut longest: f64 = 0.0;
    for _ in 0..TIMES {
        let mut stream = TcpStream::connect(served.address)?;
        stream.write_all(OWN)?;
        // Its guest begins before any other.
        thread::sleep(Duration::from_millis(20));
        until(&served, 503)?;
        drop(stream);
        longest = longest.max(until(&served, 200)?);
        // The guest that answered last gives its place back.
        thread::sleep(Duration::from_millis(20));
    }
    Ok(longest)
}

/// How long an answer takes once those who had every place have left, in milliseconds.
fn many(wharf: &Path, backend: &str, guests: &Guests, text: &str) -> anyhow::Result<f64> {
    let places = MANY.to_string();
    let served = serve(wharf, backend, guests, text, &["--max-concurrent", &places, "--max-waiting", "0"])?;
    let mut clients = Vec::new();
    // Some are turned away while others are asked whether every place is taken.
    for _ in 0..MANY + 16 {
        let mut stream = TcpStream::connect(served.address)?;
        stream.write_all(OWN)?;
        clients.push(stream);
    }
    until(&served, 503)?;
    drop(clients);
    until(&served, 200)
}

/// How long it takes until the server answers with this status, in milliseconds.
fn until(served: &Served, status: u16) -> anyhow::Result<f64> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if ask(served, SHORT)? == status {
            return Ok(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    bail!("no request was answered with {status} within {PATIENCE:?}")
}

/// What a guest does that has an origin, and what the origin says, which then says no more.
const ASKING: [(&str, &str, &[u8]); 3] = [
    ("wait for its head", "(call $block (call $subscribe (local.get $future)))", b""),
    (
        "read its body",
        "(call $block (call $subscribe (local.get $future)))
         (call $get (local.get $future) (i32.const 32))
         (call $consume (i32.load (i32.const 56)) (i32.const 16))
         (call $input (i32.load (i32.const 20)) (i32.const 16))
         (local.set $at (i32.load (i32.const 20)))
         (loop $again (call $read (local.get $at) (i64.const 1) (i32.const 16)) (br $again))",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx",
    ),
    (
        "upload to it",
        "(loop $again
            (call $write (local.get $at) (i32.const 1024) (i32.const 4096) (i32.const 16))
            (br_if $again (i32.eqz (i32.load8_u (i32.const 16)))))
         (unreachable)",
        b"",
    ),
];

/// A guest that sends a POST to this origin and goes on like this, with the future of its response in `$future` and the
/// stream of its body in `$at`.
fn asking(authority: &str, steps: &str) -> String {
    format!(
        r#"(module
        (import "wasi:http/types@0.2.3" "[constructor]fields" (func $fields (result i32)))
        (import "wasi:http/types@0.2.3" "[constructor]outgoing-request" (func $request (param i32) (result i32)))
        (import "wasi:http/types@0.2.3" "[method]outgoing-request.set-method" (func $method (param i32 i32 i32 i32) (result i32)))
        (import "wasi:http/types@0.2.3" "[method]outgoing-request.set-scheme"
            (func $scheme (param i32 i32 i32 i32 i32) (result i32)))
        (import "wasi:http/types@0.2.3" "[method]outgoing-request.set-authority"
            (func $authority (param i32 i32 i32 i32) (result i32)))
        (import "wasi:http/types@0.2.3" "[method]outgoing-request.body" (func $body (param i32 i32)))
        (import "wasi:http/types@0.2.3" "[method]outgoing-body.write" (func $output (param i32 i32)))
        (import "wasi:io/streams@0.2.3" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32)))
        (import "wasi:http/outgoing-handler@0.2.3" "handle" (func $handle (param i32 i32 i32 i32)))
        (import "wasi:http/types@0.2.3" "[method]future-incoming-response.subscribe" (func $subscribe (param i32) (result i32)))
        (import "wasi:http/types@0.2.3" "[method]future-incoming-response.get" (func $get (param i32 i32)))
        (import "wasi:http/types@0.2.3" "[method]incoming-response.consume" (func $consume (param i32 i32)))
        (import "wasi:http/types@0.2.3" "[method]incoming-body.stream" (func $input (param i32 i32)))
        (import "wasi:io/streams@0.2.3" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))
        (import "wasi:io/poll@0.2.3" "[method]pollable.block" (func $block (param i32)))
        (memory (export "memory") 2)
        (data (i32.const 512) "{authority}")
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
        (func (export "wasi:http/incoming-handler@0.2.3#handle") (param $in i32) (param $out i32)
            (local $request i32) (local $at i32) (local $future i32)
            (local.set $request (call $request (call $fields)))
            (drop (call $method (local.get $request) (i32.const 2) (i32.const 0) (i32.const 0)))
            (drop (call $scheme (local.get $request) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
            (drop (call $authority (local.get $request) (i32.const 1) (i32.const 512) (i32.const {length})))
            (call $body (local.get $request) (i32.const 16))
            (call $output (i32.load (i32.const 20)) (i32.const 16))
            (local.set $at (i32.load (i32.const 20)))
            (call $handle (local.get $request) (i32.const 0) (i32.const 0) (i32.const 16))
            (if (i32.load8_u (i32.const 16)) (then (unreachable)))
            (local.set $future (i32.load (i32.const 24)))
            {steps}))"#,
        length = authority.len(),
    )
}

/// The longest time from a client's leaving until its guest's connection to the origin is at its end, as the origin sees
/// it, in milliseconds.
fn outbound(wharf: &Path, backend: &str, guests: &Guests, steps: &str, answer: &[u8]) -> anyhow::Result<f64> {
    let origin = TcpListener::bind("127.0.0.1:0")?;
    let address = origin.local_addr()?.to_string();
    let served = serve(wharf, backend, guests, &asking(&address, steps), &["-a", &format!("http://{address}")])?;
    let mut longest: f64 = 0.0;
    for _ in 0..TIMES {
        let mut client = TcpStream::connect(served.address)?;
        client.write_all(OWN)?;
        let (mut connection, _) = origin.accept()?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let mut head = [0; 64];
        if connection.read(&mut head)? == 0 {
            bail!("the origin's connection ended before its request");
        }
        connection.write_all(answer)?;
        // What the guest can send or read by then, it has.
        thread::sleep(Duration::from_millis(100));
        connection.set_nonblocking(true)?;
        if matches!(connection.peek(&mut head), Ok(0)) {
            bail!("the origin's connection ended before the client left");
        }
        connection.set_nonblocking(false)?;
        drop(client);
        let left = Instant::now();
        ends(&mut connection)?;
        longest = longest.max(left.elapsed().as_secs_f64() * 1e3);
    }
    Ok(longest)
}

/// Waits until the peer has closed or reset the connection; what it sent before is passed over.
fn ends(connection: &mut TcpStream) -> anyhow::Result<()> {
    let mut buffer = [0; 64 << 10];
    loop {
        match connection.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error).context("the origin's connection did not end"),
        }
    }
}
