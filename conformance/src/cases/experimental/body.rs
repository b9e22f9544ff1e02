//! `body_read`.

use std::time::Duration;

use bytes::Bytes;

use super::answers;
use super::code::{REQUEST_FAILED, SUCCESS};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::origin::{Body, Origin, Reply, Step};
use crate::probe::{HttpProbe, Req, at};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("experimental/body-read/whole", "wasi_experimental_http: body_read", whole),
    Case::must("experimental/body-read/byte-by-byte", "wasi_experimental_http: body_read", byte_by_byte),
    Case::must("experimental/body-read/end-stays", "wasi_experimental_http: body and handles", end_stays),
    Case::must("experimental/body-read/empty", "wasi_experimental_http: body and handles", empty),
    Case::must("experimental/body-read/zero-length-read", "wasi_experimental_http: body and handles", zero_length),
    Case::must("experimental/body-read/larger-than-buffer", "wasi_experimental_http: body_read", larger),
    Case::must("experimental/body-read/pieces", "wasi_experimental_http: body_read", pieces),
    Case::must("experimental/body-read/binary", "wasi_experimental_http: body_read", binary),
    Case::must("experimental/body-read/two-at-a-time", "wasi_experimental_http: body_read", two_at_a_time),
    Case::must("experimental/body-read/sixty-four-mebibytes", "wasi_experimental_http: body_read", large),
    Case::must("experimental/body-read/cut-short", "wasi_experimental_http: error 11", cut_short),
    Case::must("experimental/body-read/broken-chunk", "wasi_experimental_http: error 11", broken_chunk),
    Case::must("experimental/body-read/error-stays", "wasi_experimental_http: error 11", error_stays),
];

fn open(context: &Context, reply: Reply) -> CaseResult<(Origin, HttpProbe, u32)> {
    let origin = Origin::replying(reply)?;
    let mut probe = context.http_probe(&origin)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    Ok((origin, probe, handle))
}

/// `body_read` must succeed.
fn read(probe: &mut HttpProbe, handle: u32, len: u32) -> CaseResult<Vec<u8>> {
    let (code, bytes) = probe.read(handle, len)?;
    answers(code, SUCCESS, &format!("`body_read` into {len} bytes"))?;
    Ok(bytes)
}

fn whole(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, Reply::ok("the whole body"))?;
    check_eq!(probe.read_all(handle)?, b"the whole body", "the body");
    Ok(())
}

fn byte_by_byte(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, Reply::ok("byte by byte"))?;
    for right in b"byte by byte" {
        check_eq!(read(&mut probe, handle, 1)?, [*right], "the next byte");
    }
    check_eq!(read(&mut probe, handle, 1)?.len(), 0, "bytes after the last");
    Ok(())
}

fn end_stays(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, Reply::ok("x"))?;
    probe.read_all(handle)?;
    for _ in 0..5 {
        check_eq!(read(&mut probe, handle, 100)?.len(), 0, "bytes after the end");
    }
    Ok(())
}

fn empty(context: &Context) -> CaseResult {
    for reply in [Reply::ok(""), Reply::status(204), Reply::status(304)] {
        let (_origin, mut probe, handle) = open(context, reply)?;
        check_eq!(read(&mut probe, handle, 100)?.len(), 0, "bytes of an empty body");
        check_eq!(read(&mut probe, handle, 100)?.len(), 0, "bytes after its end");
    }
    Ok(())
}

/// Zero bytes wanted, zero written: that says nothing of the end, and takes nothing.
fn zero_length(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, Reply::ok("still there"))?;
    for _ in 0..3 {
        check_eq!(read(&mut probe, handle, 0)?.len(), 0, "bytes of a read of none");
    }
    check_eq!(probe.read_all(handle)?, b"still there", "the body afterwards");
    check_eq!(read(&mut probe, handle, 0)?.len(), 0, "bytes of a read of none after the end");
    Ok(())
}

fn larger(context: &Context) -> CaseResult {
    let body: Vec<u8> = (0..100_000u32).map(|index| (index % 251) as u8).collect();
    let (_origin, mut probe, handle) = open(context, Reply::ok(body.clone()))?;
    let mut seen = Vec::new();
    loop {
        let bytes = read(&mut probe, handle, 777)?;
        if bytes.is_empty() {
            break;
        }
        seen.extend_from_slice(&bytes);
    }
    check!(seen == body, "a body of {} bytes arrived as {} others", body.len(), seen.len());
    Ok(())
}

fn pieces(context: &Context) -> CaseResult {
    let pause = Duration::from_millis(20);
    let pieces = ["one ", "two ", "three"].map(|piece| (pause, Bytes::from_static(piece.as_bytes())));
    let (_origin, mut probe, handle) = open(context, Reply::ok("").body(Body::Pieces(pieces.to_vec())))?;
    check_eq!(probe.read_all(handle)?, b"one two three", "a body sent in pieces");
    Ok(())
}

fn binary(context: &Context) -> CaseResult {
    let body: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let (_origin, mut probe, handle) = open(context, Reply::ok(body.clone()))?;
    check_eq!(probe.read_all(handle)?, body, "a body of every byte");
    Ok(())
}

fn two_at_a_time(context: &Context) -> CaseResult {
    let origin = Origin::http(|request| Reply::ok(request.target.repeat(100)))?;
    let mut probe = context.http_probe(&origin)?;
    let (_, one) = probe.open(&Req::get(&origin.url("/a")))?;
    let (_, two) = probe.open(&Req::get(&origin.url("/b")))?;
    for _ in 0..100 {
        check_eq!(read(&mut probe, one, 2)?, b"/a", "the next bytes of the first body");
        check_eq!(read(&mut probe, two, 2)?, b"/b", "the next bytes of the second body");
    }
    Ok(())
}

/// A large body through a small buffer. Only counts and a last look are taken, so that the engine does the work.
fn large(context: &Context) -> CaseResult {
    const SIZE: u64 = 64 << 20;
    let (_origin, mut probe, handle) = open(context, Reply::ok("").body(Body::Filler(SIZE)))?;
    let mut total = 0;
    loop {
        let code = probe.probe.call_i32("body_read", &[handle, at::BUFFER, at::BUFFER_LEN, at::WRITTEN])?;
        answers(code, SUCCESS, &format!("`body_read` after {total} bytes"))?;
        let written = probe.probe.u32_at(at::WRITTEN)?;
        if written == 0 {
            break;
        }
        check!(
            probe.probe.bytes(at::BUFFER, written)?.iter().all(|byte| *byte == b'x'),
            "other bytes than the origin's after {total}"
        );
        total += u64::from(written);
    }
    check_eq!(total, SIZE, "the size of the body");
    Ok(())
}

/// Reads until something other than bytes comes, and gives what was read and the code.
fn until_failure(probe: &mut HttpProbe, handle: u32) -> CaseResult<(Vec<u8>, u32)> {
    let mut body = Vec::new();
    loop {
        match probe.read(handle, 100)? {
            (SUCCESS, bytes) if bytes.is_empty() => {
                return Err(Unmet::failed(format!("a broken body ended like a whole one, after {body:?}")));
            }
            (SUCCESS, bytes) => body.extend_from_slice(&bytes),
            (code, _) => return Ok((body, code)),
        }
    }
}

fn raw(context: &Context, answer: &str) -> CaseResult<(Origin, HttpProbe, u32)> {
    let origin = Origin::raw(vec![Step::ReadRequest, Step::text(answer), Step::Wait(Duration::from_millis(100))])?;
    let mut probe = context.http_probe(&origin)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    Ok((origin, probe, handle))
}

const CUT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf!";

fn cut_short(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = raw(context, CUT)?;
    check_eq!(
        until_failure(&mut probe, handle)?,
        (b"half!".to_vec(), REQUEST_FAILED),
        "what came before the cut, and the code"
    );
    Ok(())
}

fn broken_chunk(context: &Context) -> CaseResult {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\nzz\r\nbad";
    let (_origin, mut probe, handle) = raw(context, answer)?;
    let (body, code) = until_failure(&mut probe, handle)?;
    answers(code, REQUEST_FAILED, "`body_read` of a chunk without a size")?;
    check_eq!(body, b"good", "what came before it");
    Ok(())
}

fn error_stays(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = raw(context, CUT)?;
    until_failure(&mut probe, handle)?;
    for _ in 0..3 {
        answers(probe.read(handle, 100)?.0, REQUEST_FAILED, "`body_read` of a broken body, again")?;
    }
    answers(probe.close(handle)?, SUCCESS, "`close` of a broken response")
}
