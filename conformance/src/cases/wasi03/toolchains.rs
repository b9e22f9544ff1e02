//! What real toolchains make: the same service in several languages, whose answers are the same bytes.

use std::io::{Read, Write};
use std::net::TcpStream;

use wharf_core::GuestConfig;
use wharf_guests::{PrebuiltGuest, SERVICE_PY, SERVICE_RUST, TIMING_MIDDLEWARE};

use super::probe::load;
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::origin::{Gate, Origin, Step};
use crate::prebuilt::{LONG, read};
use crate::served::{Served, Setup, read_to_end};
use crate::{check, check_eq};

/// What each language does, in cases that are named after it.
macro_rules! languages {
    ($($language:literal = $guest:ident),+) => {
        /// The cases of this file.
        pub(super) const CASES: &[Case] = &[$(
            Case::must(concat!("wasi03/toolchains/", $language, "/greets"), "guests/README.md", |context| {
                greets(context, $guest)
            })
            .guests(&[$guest]),
            Case::must(concat!("wasi03/toolchains/", $language, "/echoes-while-it-arrives"), TYPES, |context| {
                echoes(context, $guest)
            })
            .guests(&[$guest]),
            Case::must(concat!("wasi03/toolchains/", $language, "/echoes-much"), TYPES, |context| {
                echoes_much(context, $guest)
            })
            .guests(&[$guest]),
            Case::must(concat!("wasi03/toolchains/", $language, "/fetches"), CLIENT, |context| {
                fetches(context, $guest)
            })
            .guests(&[$guest]),
            Case::must(concat!("wasi03/toolchains/", $language, "/sends-while-it-arrives"), CLIENT, |context| {
                sends(context, $guest)
            })
            .guests(&[$guest]),
            Case::must(concat!("wasi03/toolchains/", $language, "/is-told-of-a-denial"), CLIENT, |context| {
                denied(context, $guest)
            })
            .guests(&[$guest]),
        )+
            Case::must("wasi03/toolchains/middleware/adds-a-field", "wasi:http/handler@0.3.0", middleware)
                .guests(&[TIMING_MIDDLEWARE]),
        ];
    };
}

const TYPES: &str = "wasi:http/types@0.3.0: consume-body, response.new";
const CLIENT: &str = "wasi:http/client@0.3.0";

languages! { "rust" = SERVICE_RUST, "python" = SERVICE_PY }

fn greets(context: &Context, guest: PrebuiltGuest) -> CaseResult {
    let served = served(context, guest, None)?;
    let said = "200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nhello from /a?b=c\n";
    answers(&served, "GET /a?b=c HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n", said)
}

/// Each piece is back before the next is sent, and behind the last one come the request's trailers and the guest's own.
fn echoes(context: &Context, guest: PrebuiltGuest) -> CaseResult {
    let served = served(context, guest, None)?;
    let mut stream = connect(&served)?;
    let mut seen = String::new();
    say(&mut stream, "POST /echo HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\nte: trailers\r\n")?;
    say(&mut stream, "trailer: x-mine\r\ntransfer-encoding: chunked\r\n\r\n")?;
    for piece in ["5\r\nfirst\r\n", "7\r\n second\r\n"] {
        say(&mut stream, piece)?;
        hear(&mut stream, &mut seen, piece)?;
    }
    say(&mut stream, "0\r\nx-mine: as it came\r\n\r\n")?;
    seen.push_str(&read_to_end(&mut stream).text());
    let expected = "content-type: application/octet-stream\r\ntrailer: x-mine, x-bytes\r\nconnection: close\r\n\
                    transfer-encoding: chunked\r\n\r\n\
                    5\r\nfirst\r\n7\r\n second\r\n0\r\nx-mine: as it came\r\nx-bytes: 12\r\n\r\n";
    check_eq!(undated(&seen), format!("HTTP/1.1 200 OK\r\n{expected}"), "what comes back");
    Ok(())
}

/// Bodies that need many reads and writes of the guest.
fn echoes_much(context: &Context, guest: PrebuiltGuest) -> CaseResult {
    let served = served(context, guest, None)?;
    for size in [0, 1, 65_536, 300_000_usize] {
        let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let head = "POST /echo HTTP/1.0\r\nhost: a.example\r\n";
        let request = [format!("{head}content-length: {size}\r\n\r\n").as_bytes(), &body[..]].concat();
        let mut stream = connect(&served)?;
        let mut writer = stream.try_clone().map_err(Unmet::harness)?;
        let wire = std::thread::scope(|scope| {
            scope.spawn(move || writer.write_all(&request));
            read_to_end(&mut stream)
        });
        let end = wire.bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4);
        let back = wire.bytes.get(end.unwrap_or(usize::MAX)..).unwrap_or_default();
        check_eq!((wire.status(), back.len()), (Some(200), size), "status and length of what comes back");
        check!(back == body, "something else came back of {size} bytes");
    }
    Ok(())
}

/// The response of an origin comes through, its first piece before the last is sent, with its trailers.
fn fetches(context: &Context, guest: PrebuiltGuest) -> CaseResult {
    let gate = Gate::new();
    let head =
        "HTTP/1.1 203 Fine\r\ncontent-type: text/x-origin\r\ntrailer: x-end\r\ntransfer-encoding: chunked\r\n\r\n";
    let origin = Origin::raw([
        Step::ReadRequest,
        Step::text(format!("{head}5\r\nfirst\r\n")),
        Step::Gate(gate.clone()),
        Step::text("5\r\n last\r\n0\r\nx-end: done\r\n\r\n"),
    ])?;
    let served = served(context, guest, Some(&origin))?;
    let mut stream = connect(&served)?;
    let mut seen = String::new();
    say(&mut stream, &format!("GET /fetch?{} HTTP/1.1\r\nhost: a.example\r\n", origin.url("/x?y=z")))?;
    say(&mut stream, "connection: close\r\nte: trailers\r\n\r\n")?;
    hear(&mut stream, &mut seen, "5\r\nfirst\r\n")?;
    gate.open();
    seen.push_str(&read_to_end(&mut stream).text());
    let expected = "content-type: text/x-origin\r\ntrailer: x-end\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                    5\r\nfirst\r\n5\r\n last\r\n0\r\nx-end: done\r\n\r\n";
    check_eq!(undated(&seen), format!("HTTP/1.1 203 Non Authoritative Information\r\n{expected}"), "what comes back");
    let received = origin.request()?;
    check_eq!((received.method.as_str(), received.target.as_str()), ("GET", "/x?y=z"), "what the origin is asked");
    check_eq!(received.authority, origin.authority(), "the host that the origin is asked for");
    check_eq!(received.body.len(), 0, "the length of the request's body");
    Ok(())
}

/// The body of a request reaches the origin, whose answer is there before that body ends; its trailers come behind it.
fn sends(context: &Context, guest: PrebuiltGuest) -> CaseResult {
    let origin = Origin::raw([
        Step::ReadRequest,
        Step::text("HTTP/1.1 201 Created\r\ncontent-type: text/x-origin\r\ncontent-length: 3\r\n\r\ngot"),
    ])?;
    let served = served(context, guest, Some(&origin))?;
    let mut stream = connect(&served)?;
    say(&mut stream, &format!("POST /send?{} HTTP/1.1\r\nhost: a.example\r\n", origin.url("/x")))?;
    say(&mut stream, "connection: close\r\ntrailer: x-mine\r\ntransfer-encoding: chunked\r\n\r\n")?;
    say(&mut stream, "5\r\nfirst\r\n")?;
    check!(origin.wait_until(|origin| origin.accepted() == 1), "nothing reaches the origin before the body ends");
    say(&mut stream, "7\r\n second\r\n0\r\nx-mine: as it came\r\n\r\n")?;
    let seen = read_to_end(&mut stream).text();
    let expected = "HTTP/1.1 201 Created\r\ncontent-type: text/x-origin\r\nconnection: close\r\n\r\ngot";
    check_eq!(unframed(&seen), expected, "what comes back");
    let received = origin.request()?;
    check_eq!((received.method.as_str(), received.target.as_str()), ("POST", "/x"), "what the origin is asked");
    check_eq!(String::from_utf8_lossy(&received.body), "first second", "the body that reaches the origin");
    check_eq!(received.trailers, [("x-mine".to_owned(), b"as it came".to_vec())], "the trailers that reach the origin");
    Ok(())
}

fn denied(context: &Context, guest: PrebuiltGuest) -> CaseResult {
    let origin = Origin::raw(Step::exchange("200 OK", &[], "secret"))?;
    let served = served(context, guest, None)?;
    let request = format!("GET /fetch?{} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n", origin.url("/"));
    let said = "502 Bad Gateway\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\ndenied\n";
    answers(&served, &request, said)?;
    check_eq!(origin.accepted(), 0, "the count of connections to an origin that is denied");
    Ok(())
}

/// What a middleware by itself hands on goes to the host that was asked for. Bodies and trailers pass by it, both ways.
fn middleware(context: &Context) -> CaseResult {
    let head = "HTTP/1.1 203 Fine\r\nx-origin: yes\r\ntrailer: x-end\r\ntransfer-encoding: chunked\r\n\r\n";
    let origin = Origin::raw([Step::ReadRequest, Step::text(format!("{head}4\r\nfine\r\n0\r\nx-end: done\r\n\r\n"))])?;
    let served = served(context, TIMING_MIDDLEWARE, Some(&origin))?;
    let mut stream = connect(&served)?;
    say(&mut stream, &format!("POST /x?y=z HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", origin.authority()))?;
    say(&mut stream, "te: trailers\r\ntrailer: x-mine\r\ntransfer-encoding: chunked\r\n\r\n")?;
    say(&mut stream, "5\r\nfirst\r\n0\r\nx-mine: as it came\r\n\r\n")?;
    let seen = undated(&read_to_end(&mut stream).text());
    let (timing, rest): (Vec<&str>, Vec<&str>) =
        seen.split_inclusive("\r\n").partition(|line| line.starts_with("server-timing: "));
    let took = timing.concat();
    let took = took.trim_end().strip_prefix("server-timing: handler;dur=").map(str::parse::<f64>);
    check!(matches!(took, Some(Ok(milliseconds)) if milliseconds > 0.0), "no field says how long it took: {seen:?}");
    let expected = "HTTP/1.1 203 Non Authoritative Information\r\nx-origin: yes\r\ntrailer: x-end\r\nconnection: close\r\n\
                    transfer-encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\nx-end: done\r\n\r\n";
    check_eq!(rest.concat(), expected, "what comes back");
    let received = origin.request()?;
    check_eq!((received.method.as_str(), received.target.as_str()), ("POST", "/x?y=z"), "what the origin is asked");
    check_eq!(String::from_utf8_lossy(&received.body), "first", "the body that reaches the origin");
    check_eq!(received.trailers, [("x-mine".to_owned(), b"as it came".to_vec())], "the trailers that reach the origin");
    Ok(())
}

/// The guest behind a server. It may send requests to this origin.
fn served(context: &Context, guest: PrebuiltGuest, origin: Option<&Origin>) -> CaseResult<Served> {
    let loaded = context.subject().shared(&format!("wasi03/{}", guest.name), || load(context, &read(guest)?))?;
    let net = context.net();
    let net = match origin {
        Some(origin) => net.allow(&origin.base()),
        None => net,
    };
    let outbound = net.config()?.outbound;
    let config = move || GuestConfig { outbound: outbound.clone(), timeout: Some(LONG), ..GuestConfig::default() };
    Served::guest(loaded, Setup { config: Box::new(move |_| Ok(config())), ..Setup::default() })
}

/// A connection whose reads wait for an interpreter within an interpreter.
fn connect(served: &Served) -> CaseResult<TcpStream> {
    let stream = served.connect()?;
    stream.set_read_timeout(Some(LONG)).map_err(Unmet::harness)?;
    Ok(stream)
}

fn say(stream: &mut TcpStream, text: &str) -> CaseResult {
    stream.write_all(text.as_bytes()).map_err(Unmet::harness)
}

/// Reads on until this was seen.
fn hear(stream: &mut TcpStream, seen: &mut String, text: &str) -> CaseResult {
    let mut buffer = [0; 4096];
    while !seen.contains(text) {
        let count = stream
            .read(&mut buffer)
            .map_err(|error| Unmet::failed(format!("{error} while waiting for {text:?}, after {seen:?}")))?;
        check!(count > 0, "the connection ends before {text:?} comes back, after {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    Ok(())
}

/// A request is answered with this.
fn answers(served: &Served, request: &str, expected: &str) -> CaseResult {
    let mut stream = connect(served)?;
    say(&mut stream, request)?;
    let seen = read_to_end(&mut stream).text();
    check_eq!(unframed(&seen), format!("HTTP/1.1 {expected}"), "the answer");
    Ok(())
}

/// The text without the server's date.
fn undated(text: &str) -> String {
    let lines = text.split_inclusive("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("date: "));
    lines.collect()
}

/// A message of one piece, however it is framed: its length is known if all of it is there when its head is written.
fn unframed(text: &str) -> String {
    let text = undated(text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let framed = |line: &&str| line.starts_with("content-length: ") || *line == "transfer-encoding: chunked";
    let lines: Vec<&str> = head.split("\r\n").filter(|line| !framed(line)).collect();
    let chunk = body.strip_suffix("\r\n0\r\n\r\n").and_then(|chunk| chunk.split_once("\r\n"));
    let whole = |(size, chunk): &(&str, &str)| usize::from_str_radix(size, 16) == Ok(chunk.len());
    let body = chunk.filter(whole).map_or(body, |(_, chunk)| chunk);
    format!("{}\r\n\r\n{body}", lines.join("\r\n"))
}
