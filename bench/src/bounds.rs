//! What hostile guests can take: host memory beside the guest's own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::guests::Guests;
use crate::report::Report;
use crate::serving::{Served, Server};

/// What one instance may take, as an option and in bytes.
const BUDGET: (&str, f64) = ("64MiB", (64 << 20) as f64);

/// How long memory may take to be given back.
const REST: Duration = Duration::from_secs(1);

/// How long a place is asked for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a guest does without end with its budget, and once before that.
const SHAPES: [(&str, &str, &str); 7] = [
    ("its memory", "(br_if $end (i32.eq (memory.grow (i32.const 16)) (i32.const -1)))", FILL),
    ("its tables", "(br_if $end (i32.eq (table.grow (ref.null func) (i32.const 4096)) (i32.const -1)))", ""),
    ("pollables", "(drop (call $wait (i64.const 1000000000000)))", ""),
    (
        "small fields",
        "(call $append (call $fields) (i32.const 64) (i32.const 1) (i32.const 64) (i32.const 0) (i32.const 16))",
        "",
    ),
    (
        "long fields",
        "(call $append (call $fields) (i32.const 64) (i32.const 1) (i32.const 64) (i32.const 8192) (i32.const 16))",
        "",
    ),
    (
        "requests with long paths",
        "(drop (call $path (call $request (call $fields)) (i32.const 1) (i32.const 64) (i32.const 12288)))",
        "",
    ),
    (
        "filled bodies",
        "(call $body (call $request (call $fields)) (i32.const 16))
         (call $stream (i32.load (i32.const 20)) (i32.const 16))
         (local.set $at (i32.load (i32.const 20)))
         (call $room (local.get $at) (i32.const 16))
         (if (i32.load8_u (i32.const 16)) (then (unreachable)))
         (call $write (local.get $at) (i32.const 64) (i32.wrap_i64 (i64.load (i32.const 24))) (i32.const 16))",
        "",
    ),
];

/// Touches what was grown.
const FILL: &str = "(memory.fill (i32.const 65536) (i32.const 1) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 65536)))";

/// A guest that answers a POST at once, and does this with a GET, forever and then once.
pub(crate) fn guest(forever: &str, at_last: &str) -> String {
    format!(
        r#"(module
        (import "wasi:http/types@0.2.3" "[constructor]fields" (func $fields (result i32)))
        (import "wasi:http/types@0.2.3" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
        (import "wasi:http/types@0.2.3" "[constructor]outgoing-request" (func $request (param i32) (result i32)))
        (import "wasi:http/types@0.2.3" "[method]outgoing-request.set-path-with-query"
            (func $path (param i32 i32 i32 i32) (result i32)))
        (import "wasi:http/types@0.2.3" "[method]outgoing-request.body" (func $body (param i32 i32)))
        (import "wasi:http/types@0.2.3" "[method]outgoing-body.write" (func $stream (param i32 i32)))
        (import "wasi:io/streams@0.2.3" "[method]output-stream.check-write" (func $room (param i32 i32)))
        (import "wasi:io/streams@0.2.3" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))
        (import "wasi:clocks/monotonic-clock@0.2.3" "subscribe-duration" (func $wait (param i64) (result i32)))
        (import "wasi:io/poll@0.2.3" "[method]pollable.block" (func $block (param i32)))
        (import "wasi:http/types@0.2.3" "[method]incoming-request.method" (func $method (param i32 i32)))
        (import "wasi:http/types@0.2.3" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
        (import "wasi:http/types@0.2.3" "[static]response-outparam.set"
            (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
        (memory (export "memory") 2)
        (table 1 funcref)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (unreachable))
        (func (export "wasi:http/incoming-handler@0.2.3#handle") (param $in i32) (param $out i32) (local $at i32)
            (memory.fill (i32.const 64) (i32.const 97) (i32.const 65536))
            (call $method (local.get $in) (i32.const 16))
            (if (i32.eqz (i32.load8_u (i32.const 16))) (then
                (block $end (loop $again {forever} (br $again)))
                {at_last}
                (unreachable)))
            (call $set (local.get $out) (i32.const 0) (call $response (call $fields))
                (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))"#
    )
}

pub(crate) const SHORT: &[u8] = b"POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
pub(crate) const OWN: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Adds to `report` what guests can take of this backend.
pub(crate) fn measure(wharf: &Path, backend: &str, guests: &Guests, report: &mut Report) {
    let name = format!("wharf {backend}");
    for (shape, forever, at_last) in SHAPES {
        let mut left = None;
        report.measure(&format!("{shape}: growth, of --max-memory"), &name, || {
            let (peak, rest) = growth(wharf, backend, guests, &guest(forever, at_last))?;
            left = Some(rest);
            Ok(peak)
        });
        report.measure(&format!("{shape}: growth a second later, of --max-memory"), &name, || {
            left.context("its growth is not known")
        });
    }
}

pub(crate) fn serve(
    wharf: &Path,
    backend: &str,
    guests: &Guests,
    text: &str,
    options: &[&str],
) -> anyhow::Result<Served> {
    let path = guests.directory.path().join("bounds.wasm");
    std::fs::write(&path, wat::parse_str(text)?)?;
    Served::listening(&Server::wharf(wharf, backend, &path, guests.directory.path()).with(options))
}

/// Sends this, and waits until the server has closed the connection; gives the status.
pub(crate) fn ask(served: &Served, request: &[u8]) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(served.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let status = std::str::from_utf8(&answer).ok().and_then(|text| text.split(' ').nth(1)?.parse().ok());
    status.context("there was no answer")
}

/// How much more the server takes at most while a guest takes all it can get, and a second after that, as parts of the
/// guest's budget.
fn growth(wharf: &Path, backend: &str, guests: &Guests, text: &str) -> anyhow::Result<(f64, f64)> {
    let options = ["--max-memory", BUDGET.0, "--max-total-memory", "1GiB", "--timeout", "10s"];
    let served = serve(wharf, backend, guests, text, &options)?;
    for _ in 0..20 {
        ask(&served, SHORT)?;
    }
    let before = served.resident()?;
    served.forget_peak()?;
    let status = ask(&served, OWN)?;
    if status != 500 {
        bail!("a guest that takes all it can get is answered with {status}");
    }
    let peak = served.resident_peak()?;
    thread::sleep(REST);
    let after = served.resident()?;
    Ok(((peak - before) / BUDGET.1, (after - before) / BUDGET.1))
}
