//! Where a body begins and ends, in every way HTTP/1.1 has to say so.

use std::time::Duration;

use wharf_core::abi::experimental::ErrorCode;
use wharf_core::http::HttpErrorKind;

use super::Reach;
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::origin::{Origin, Reply, Step};
use crate::probe::{Req, at};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("outbound/body/content-length", "RFC 9112, section 6.2", |c| {
        whole(c, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody", b"body")
    }),
    Case::must("outbound/body/chunked", "RFC 9112, section 7.1", |c| {
        let chunks = "4;name=value\r\nbody\r\nA\r\n0123456789\r\n001\r\n!\r\n0\r\nx-trailer: 1\r\n\r\n";
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
        whole(c, &format!("{head}{chunks}"), b"body0123456789!")
    }),
    Case::must("outbound/body/until-the-end-of-the-connection", "RFC 9112, section 6.3", close_delimited),
    Case::must("outbound/body/http-1-0", "RFC 9112, section 2.3", http_1_0),
    Case::must("outbound/body/in-many-packets", "RFC 9112, section 2.2", dripped),
    Case::must("outbound/body/head", "RFC 9110, section 9.3.2", head),
    Case::must("outbound/body/no-content", "RFC 9110, section 15.3.5", no_content),
    Case::must("outbound/body/not-modified", "RFC 9110, section 15.4.5", not_modified),
    Case::must("outbound/body/interim-answers-are-skipped", "RFC 9110, section 15.2", interim),
    Case::must("outbound/body/no-upgrade", "RFC 9110, section 15.2.2", no_upgrade),
    Case::must("outbound/body/is-not-decompressed", "Outbound: what the origin sent", not_decompressed),
    Case::must("outbound/body/other-transfer-codings", "HttpErrorKind::TransferCoding", other_codings),
    Case::must("outbound/body/eight-mebibytes-through-64-kib", "Incoming: streamed", large),
    Case::must("outbound/body/of-a-request", "RFC 9112, section 6.3", of_a_request),
    Case::must("outbound/body/early-answer", "RFC 9112, section 9.5", early_answer),
];

/// A guest, and a raw origin that answers its one request with `answer` and then leaves the connection open.
fn answering(context: &Context, answer: impl AsRef<[u8]>) -> CaseResult<(Reach, Origin)> {
    let origin = Origin::raw(vec![Step::ReadRequest, Step::Send(answer.as_ref().to_vec()), Step::Hold])?;
    Ok((context.reach(&origin)?, origin))
}

/// The body of `answer` is `right`, though the connection stays open.
fn whole(context: &Context, answer: &str, right: &[u8]) -> CaseResult {
    let (mut reach, origin) = answering(context, answer)?;
    check_eq!(reach.get(&origin.url("/"))?, right, "the body");
    Ok(())
}

fn close_delimited(context: &Context) -> CaseResult {
    let pause = Step::Wait(Duration::from_millis(20));
    let (one, two) = (Step::text("HTTP/1.1 200 OK\r\n\r\nuntil "), Step::text("the end"));
    let origin = Origin::raw(vec![Step::ReadRequest, one, pause, two, Step::Finish, Step::Hold])?;
    check_eq!(context.reach(&origin)?.get(&origin.url("/"))?, b"until the end", "the body");
    Ok(())
}

fn http_1_0(context: &Context) -> CaseResult {
    let origin = Origin::raw(vec![Step::ReadRequest, Step::text("HTTP/1.0 200 OK\r\nx-a: 1\r\n\r\nold")])?;
    check_eq!(context.reach(&origin)?.get(&origin.url("/"))?, b"old", "the body");
    whole(context, "HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold", b"old")
}

fn dripped(context: &Context) -> CaseResult {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-a: value\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    let drip = Step::Drip(answer.as_bytes().to_vec(), Duration::from_millis(1));
    let origin = Origin::raw(vec![Step::ReadRequest, drip, Step::Hold])?;
    let mut reach = context.reach(&origin)?;
    let (_, handle) = reach.probe.open(&Req::get(&origin.url("/")))?;
    check_eq!(reach.probe.lines(handle)?, ["x-a:value"], "the headers");
    check_eq!(reach.probe.read_all(handle)?, b"body", "the body");
    Ok(())
}

/// The body is empty though the head announces one; gives the lines of the head.
fn bodiless(context: &Context, method: &str, answer: &str) -> CaseResult<Vec<String>> {
    let (mut reach, origin) = answering(context, answer)?;
    let (_, handle) = reach.probe.open(&Req::get(&origin.url("/")).method(method))?;
    check_eq!(reach.probe.read_all(handle)?, b"", "the body that answers {method} with {answer:?}");
    reach.probe.lines(handle)
}

fn head(context: &Context) -> CaseResult {
    for head in ["content-length: 1000", "transfer-encoding: chunked", "x-a: 1"] {
        let lines = bodiless(context, "HEAD", &format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"))?;
        match head {
            "transfer-encoding: chunked" => check_eq!(lines, Vec::<String>::new(), "the headers"),
            // What it tells of a GET is what a HEAD is for.
            head => check_eq!(lines, [head.replace(": ", ":")], "the headers"),
        }
    }
    Ok(())
}

fn no_content(context: &Context) -> CaseResult {
    bodiless(context, "GET", "HTTP/1.1 204 No Content\r\n\r\n")?;
    bodiless(context, "POST", "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n")?;
    bodiless(context, "GET", "HTTP/1.1 204 No Content\r\ncontent-length: 9\r\n\r\n").map(drop)
}

fn not_modified(context: &Context) -> CaseResult {
    let lines = bodiless(context, "GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 1000\r\netag: \"x\"\r\n\r\n")?;
    check_eq!(lines, ["content-length:1000", "etag:\"x\""], "the headers of a 304");
    Ok(())
}

fn interim(context: &Context) -> CaseResult {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                   HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n";
    let last = "HTTP/1.1 201 Created\r\ncontent-length: 4\r\nx-a: 1\r\n\r\nbody";
    let (mut reach, origin) = answering(context, format!("{interim}{interim}{last}"))?;
    let (status, handle) = reach.probe.open(&Req::get(&origin.url("/")).method("POST").body(b"x"))?;
    check_eq!(status, 201, "the status");
    check_eq!(reach.probe.lines(handle)?, ["content-length:4", "x-a:1"], "the headers, those before left out");
    check_eq!(reach.probe.read_all(handle)?, b"body", "the body");
    let only_interim = Origin::raw(vec![Step::ReadRequest, Step::text("HTTP/1.1 100 Continue\r\n\r\n")])?;
    context.reach(&only_interim)?.fails(&Req::get(&only_interim.url("/")), ErrorCode::RequestFailed)
}

fn no_upgrade(context: &Context) -> CaseResult {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let (mut reach, origin) = answering(context, answer)?;
    let url = origin.url("/");
    let req = Req::get(&url).headers("connection:upgrade\nupgrade:websocket\n");
    reach.fails(&req, ErrorCode::RequestFailed)?;
    reach.because(&req, HttpErrorKind::Upgraded)?;
    check!(origin.requests().iter().all(|request| request.all("upgrade").is_empty()), "the guest's upgrade was sent");
    Ok(())
}

fn not_decompressed(context: &Context) -> CaseResult {
    // "hello" as gzip has it, and bytes that no decoder takes.
    const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\x48\xcd\xc9\xc9\x07\0\x86\xa6\x10\x36\x05\0\0\0";
    for (coding, bytes) in [("gzip", GZIP), ("deflate", b"no deflate"), ("br", b"no brotli"), ("zstd", b"no zstd")] {
        let origin = Origin::replying(Reply::ok(bytes).header("content-encoding", coding))?;
        let mut reach = context.reach(&origin)?;
        let (_, handle) = reach.probe.open(&Req::get(&origin.url("/")))?;
        let seen = reach.probe.header(handle, b"content-encoding", 10)?;
        check_eq!(seen, (0, coding.as_bytes().to_vec()), "the content-encoding");
        let length = reach.probe.header(handle, b"content-length", 10)?;
        check_eq!(length, (0, bytes.len().to_string().into_bytes()), "the content-length");
        check_eq!(reach.probe.read_all(handle)?, bytes, "the bytes in {coding}");
        check!(origin.request()?.all("accept-encoding").is_empty(), "a coding was asked for that the guest did not");
    }
    Ok(())
}

/// The guest sees no Transfer-Encoding, so it could not tell that there is something to decode.
fn other_codings(context: &Context) -> CaseResult {
    for coding in ["gzip", "gzip, chunked", "identity, chunked", "chunked, gzip", "chunked, chunked", "x-chunked"] {
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: {coding}\r\n\r\n");
        let answer = format!("{head}4\r\nbody\r\n0\r\n\r\n");
        let origin = Origin::raw(vec![Step::ReadRequest, Step::text(answer)])?;
        let mut reach = context.reach(&origin)?;
        let url = origin.url("/");
        let what = format!("transfer-encoding: {coding}");
        reach.fails(&Req::get(&url), ErrorCode::RequestFailed).map_err(|unmet| unmet.context(&what))?;
        reach.because(&Req::get(&url), HttpErrorKind::TransferCoding).map_err(|unmet| unmet.context(&what))?;
    }
    Ok(())
}

/// A body much larger than what may wait of it, read into a buffer of 64 KiB, arrives byte for byte.
fn large(context: &Context) -> CaseResult {
    const SIZE: usize = 8 << 20;
    const BUFFER: u32 = 64 << 10;
    let body: Vec<u8> = (0..SIZE as u64).map(|index| (index.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
    let origin = Origin::replying(Reply::ok(body.clone()))?;
    let mut reach = context.reach(&origin)?;
    let (_, handle) = reach.probe.open(&Req::get(&origin.url("/")))?;
    reach.probe.probe.call_i32("grow", &[1])?;
    let mut seen = 0;
    loop {
        let code = reach.probe.probe.call_i32("body_read", &[handle, at::END, BUFFER, at::WRITTEN])?;
        check_eq!(code, 0, "the code of `body_read` after {seen} bytes");
        let written = reach.probe.probe.u32_at(at::WRITTEN)?;
        if written == 0 {
            break;
        }
        check!(written <= BUFFER, "`body_read` wrote {written} bytes into {BUFFER}");
        let bytes = reach.probe.probe.bytes(at::END, written)?;
        let right = body.get(seen..seen + bytes.len());
        check!(right == Some(&bytes[..]), "the bytes from {seen} on are others than the origin sent");
        seen += bytes.len();
    }
    check_eq!(seen, SIZE, "the size of the body");
    Ok(())
}

fn of_a_request(context: &Context) -> CaseResult {
    let body: Vec<u8> = (0..16_384u32).map(|index| (index % 255) as u8).collect();
    for (method, body, length) in [
        ("POST", &body[..], Some("16384")),
        ("PUT", b"x", Some("1")),
        ("DELETE", b"x", Some("1")),
        ("GET", b"x", Some("1")),
        ("POST", b"", Some("0")),
        ("PUT", b"", Some("0")),
        ("GET", b"", None),
    ] {
        let origin = Origin::raw(Step::exchange("200 OK", &[], ""))?;
        context.reach(&origin)?.send(&Req::get(&origin.url("/")).method(method).body(body))?;
        let request = origin.request()?;
        check_eq!(request.header("content-length"), length, "the length of a {method} of {} bytes", body.len());
        check!(request.all("transfer-encoding").is_empty(), "a {method} whose length is known was chunked");
        check!(request.body == body, "the body of a {method} arrived as another");
    }
    Ok(())
}

/// An origin may refuse a request before it has read all of it.
fn early_answer(context: &Context) -> CaseResult {
    let answer = "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 4\r\n\r\nstop";
    let origin = Origin::raw(vec![Step::ReadHead, Step::text(answer), Step::Finish, Step::Hold])?;
    let body = vec![b'x'; 16_384];
    let (status, seen) = context.reach(&origin)?.send(&Req::get(&origin.url("/")).method("POST").body(&body))?;
    check_eq!((status, seen), (413, b"stop".to_vec()), "status and body");
    Ok(())
}
