//! What the edge of the server lets through to a guest, over HTTP/1: `docs/http-edge.md` is the table.

use wharf_server::ServerOptions;

use crate::case::{Case, CaseResult};
use crate::cases::wasihttp::handler::{FINISH, HELLO, RESPOND, handler};
use crate::cases::wasihttp::serving::{digit, write_entries};
use crate::context::Context;
use crate::served::{Served, Setup};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("serving/edge/targets", "RFC 9112, section 3.2", targets),
    Case::must("serving/edge/target-too-long", "RFC 9112, section 3", target_too_long),
    Case::must("serving/edge/connect", "RFC 9110, section 9.3.6", connect),
    Case::must("serving/edge/schemes", "RFC 9110, section 7.4", schemes),
    Case::must("serving/edge/trusted-proxy", "RFC 7239, section 5.4", trusted_proxy),
    Case::must("serving/edge/host", "RFC 9112, section 3.2", host),
    Case::must("serving/edge/http10-without-host", "RFC 9112, section 3.2", http10),
    Case::must("serving/edge/versions", "RFC 9110, section 2.5", versions),
    Case::must("serving/edge/transfer-codings", "RFC 9112, sections 6.1 and 6.3", codings),
    Case::must("serving/edge/content-lengths", "RFC 9112, section 6.3", lengths),
    Case::must("serving/edge/line-ends", "RFC 9112, section 2.2", line_ends),
    Case::must("serving/edge/field-syntax", "RFC 9112, section 5", syntax),
    Case::must("serving/edge/header-limits", "RFC 6585, section 5", limits),
    Case::must("serving/edge/chunks", "RFC 9112, section 7.1", chunks),
    Case::must("serving/edge/trailers", "RFC 9110, section 6.5.1", trailers),
];

/// Writes the option of a string at 0x140, where it is one.
const WRITE: &str = r#"
    (if (i32.load8_u (i32.const 0x140)) (then
        (call $"[method]output-stream.blocking-write-and-flush"
            (local.get $stream) (i32.load (i32.const 0x144)) (i32.load (i32.const 0x148)) (i32.const 0x100))))"#;

/// A guest that answers with the number of the scheme, the authority, `hello`, and the path of a request.
pub(super) fn telling() -> String {
    let part =
        |name: &str| format!(r#"(call $"[method]incoming-request.{name}" (local.get $request) (i32.const 0x140))"#);
    let scheme = digit("(i32.load8_u (i32.const 0x144))");
    let (authority, path) = (part("authority"), part("path-with-query"));
    handler(&[RESPOND, &part("scheme"), &scheme, &authority, WRITE, HELLO, &path, WRITE, FINISH])
}

/// A server with these options, before a guest that tells what it sees.
fn served(context: &Context, change: impl FnOnce(&mut ServerOptions)) -> CaseResult<Served> {
    let mut setup = Setup::default();
    change(&mut setup.server);
    Served::start(context, &telling(), setup)
}

/// The body of a response, without its chunks.
fn body(text: &str) -> String {
    let Some((head, mut rest)) = text.split_once("\r\n\r\n") else { return String::new() };
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return rest.to_owned();
    }
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let (Some(chunk), Some(next)) = (after.get(..size), after.get(size + 2..)) else { break };
        body.push_str(chunk);
        rest = next;
    }
    body
}

/// What is sent, and what the guest sees of it or the status that says that it saw nothing.
type Row<'a> = (&'a str, Result<&'a str, u16>);

fn each(served: &Served, rows: &[Row<'_>]) -> CaseResult {
    for (sent, expected) in rows {
        let shown: String = sent.chars().take(120).collect();
        let wire = served.exchange(sent.as_bytes())?;
        let text = wire.text();
        match expected {
            Ok(seen) => {
                check_eq!(wire.status(), Some(200), "the status of {shown:?}, which is answered with {text:?}");
                check_eq!(body(&text), *seen, "what the guest sees of {shown:?}");
            }
            Err(status) => {
                check_eq!(wire.status(), Some(*status), "the status of {shown:?}, which is answered with {text:?}");
                check_eq!(text.matches("\r\ndate: ").count(), 1, "the responses to {shown:?}: {text:?}");
                check!(!text.contains("hello"), "the guest was asked {shown:?}");
            }
        }
    }
    Ok(())
}

/// A request line, and what every request needs.
macro_rules! get {
    ($line:literal) => {
        concat!($line, "\r\nhost: a\r\nconnection: close\r\n\r\n")
    };
}

/// A POST with this field line, whose body is that of a chunked request and the next request.
macro_rules! post {
    ($fields:literal) => {
        concat!(
            "POST / HTTP/1.1\r\nhost: a\r\n",
            $fields,
            "\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        )
    };
}

fn targets(context: &Context) -> CaseResult {
    each(
        &served(context, |_| {})?,
        &[
            (get!("GET /x?y HTTP/1.1"), Ok("0ahello/x?y")),
            (get!("OPTIONS * HTTP/1.1"), Ok("0ahello*")),
            (get!("GET http://o/x HTTP/1.1"), Ok("0ohello/x")),
            (get!("GET http://o HTTP/1.1"), Ok("0ohello/")),
            (get!("GET http://o?q HTTP/1.1"), Ok("0ohello/?q")),
            (get!("GET * HTTP/1.1"), Err(400)),
            (get!("GET abc HTTP/1.1"), Err(400)),
            (get!("GET abc:80 HTTP/1.1"), Err(400)),
            (get!("GET ?q HTTP/1.1"), Err(400)),
            (get!("GET http:///x HTTP/1.1"), Err(400)),
            (get!("GET http://u@o/x HTTP/1.1"), Err(400)),
            (get!("GET /a#b HTTP/1.1"), Err(400)),
            (get!("GET /a b HTTP/1.1"), Err(400)),
            (get!("GET /\u{e4} HTTP/1.1"), Err(400)),
            (get!("GET /?\u{e4} HTTP/1.1"), Err(400)),
            (get!("GET  / HTTP/1.1"), Err(400)),
            (get!("GET / HTTP/1.1 "), Err(400)),
            (get!("GET /"), Err(400)),
        ],
    )
}

fn target_too_long(context: &Context) -> CaseResult {
    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "x".repeat(len));
    let (short, long, longer) = (target(32 << 10), target(40 << 10), target(200 << 10));
    each(&served(context, |_| {})?, &[(&short, Err(414)), (&long, Err(414)), (&longer, Err(414))])?;
    let wide = served(context, |options| options.max_target_bytes = 60 << 10)?;
    check_eq!(wide.exchange(long.as_bytes())?.status(), Some(200), "the status where the limit is larger");
    Ok(())
}

fn connect(context: &Context) -> CaseResult {
    let rows = [(get!("CONNECT a:80 HTTP/1.1"), Err(501)), (get!("CONNECT / HTTP/1.1"), Err(501))];
    each(&served(context, |_| {})?, &rows)
}

fn schemes(context: &Context) -> CaseResult {
    each(
        &served(context, |_| {})?,
        &[
            (get!("GET HTTP://a/ HTTP/1.1"), Ok("0ahello/")),
            (get!("GET https://a/ HTTP/1.1"), Err(421)),
            (get!("GET ftp://a/ HTTP/1.1"), Err(421)),
            ("GET / HTTP/1.1\r\nhost: a\r\nforwarded: proto=https\r\nconnection: close\r\n\r\n", Ok("0ahello/")),
        ],
    )
}

fn trusted_proxy(context: &Context) -> CaseResult {
    let forwarded =
        |value: &str| format!("GET / HTTP/1.1\r\nhost: a\r\nforwarded: {value}\r\nconnection: close\r\n\r\n");
    let (by_proxy, nearest, other) =
        (forwarded("for=b;proto=https"), forwarded("proto=https, proto=http"), forwarded("proto=ftp"));
    each(
        &served(context, |options| options.trusted_proxy = true)?,
        &[
            (get!("GET / HTTP/1.1"), Ok("0ahello/")),
            (get!("GET https://a/ HTTP/1.1"), Ok("1ahello/")),
            (&by_proxy, Ok("1ahello/")),
            (&nearest, Ok("0ahello/")),
            (&other, Err(400)),
            (get!("GET ftp://a/ HTTP/1.1"), Err(421)),
        ],
    )
}

fn host(context: &Context) -> CaseResult {
    let served = served(context, |_| {})?;
    for version in ["1.0", "1.1"] {
        let with = |fields: &str| format!("GET / HTTP/{version}\r\n{fields}connection: close\r\n\r\n");
        for (fields, expected) in [
            ("host: a\r\n", Ok("0ahello/")),
            ("host: [::1]:80\r\n", Ok("0[::1]:80hello/")),
            ("host: trusted.example@evil\r\n", Err(400)),
            ("host: a\r\nhost: a\r\n", Err(400)),
            ("host:\r\n", Err(400)),
            ("host: a:b\r\n", Err(400)),
            ("host: a b\r\n", Err(400)),
            ("host: a, b\r\n", Err(400)),
            ("host: a/b\r\n", Err(400)),
            ("host: %61\r\n", Err(400)),
            ("host: [::1\r\n", Err(400)),
        ] {
            each(&served, &[(&with(fields), expected)])?;
        }
    }
    let without = "GET / HTTP/1.1\r\nconnection: close\r\n\r\n";
    each(&served, &[(without, Err(400)), ("GET http://o/ HTTP/1.1\r\nconnection: close\r\n\r\n", Err(400))])
}

fn http10(context: &Context) -> CaseResult {
    let rows = [
        ("OPTIONS / HTTP/1.0\r\n\r\n", Ok("0hello/")),
        ("GET / HTTP/1.0\r\n\r\n", Ok("0hello/")),
        ("GET http://o/ HTTP/1.0\r\n\r\n", Ok("0ohello/")),
    ];
    each(&served(context, |_| {})?, &rows)
}

fn versions(context: &Context) -> CaseResult {
    each(
        &served(context, |_| {})?,
        &[
            (get!("GET / HTTP/1.9"), Ok("0ahello/")),
            (get!("GET / HTTP/2.0"), Err(505)),
            (get!("GET / HTTP/0.9"), Err(505)),
            (get!("GET / HTTP/1"), Err(400)),
            (get!("GET / http/1.1"), Err(400)),
        ],
    )
}

fn codings(context: &Context) -> CaseResult {
    each(
        &served(context, |_| {})?,
        &[
            (post!("transfer-encoding: gzip, chunked"), Err(501)),
            (post!("transfer-encoding: identity, chunked"), Err(501)),
            (post!("transfer-encoding: gzip"), Err(400)),
            (post!("transfer-encoding: chunked, gzip"), Err(400)),
            (post!("transfer-encoding: chunked, chunked"), Err(400)),
            (post!("transfer-encoding: , chunked"), Err(400)),
            (post!("transfer-encoding: xchunked"), Err(400)),
            (post!("transfer-encoding: chunked\r\ntransfer-encoding: chunked"), Err(400)),
            (post!("transfer-encoding: chunked\r\ncontent-length: 5"), Err(400)),
            (post!("content-length: 5\r\ntransfer-encoding: chunked"), Err(400)),
            ("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Err(400)),
            (
                "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n",
                Ok("0ahello/"),
            ),
        ],
    )
}

fn lengths(context: &Context) -> CaseResult {
    each(
        &served(context, |_| {})?,
        &[
            (post!("content-length: 5, 5"), Err(400)),
            (post!("content-length: 5\r\ncontent-length: 5"), Err(400)),
            (post!("content-length: 5\r\ncontent-length: 6"), Err(400)),
            (post!("content-length: +5"), Err(400)),
            (post!("content-length: -5"), Err(400)),
            (post!("content-length: 0x5"), Err(400)),
            (post!("content-length:"), Err(400)),
            (post!("content-length: 99999999999999999999"), Err(400)),
            ("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 005\r\n\r\n12345", Ok("0ahello/")),
        ],
    )
}

fn line_ends(context: &Context) -> CaseResult {
    each(
        &served(context, |_| {})?,
        &[
            ("GET / HTTP/1.1\nhost: a\r\nconnection: close\r\n\r\n", Err(400)),
            ("GET / HTTP/1.1\r\nhost: a\nconnection: close\r\n\r\n", Err(400)),
            ("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\n", Err(400)),
            ("GET / HTTP/1.1\nhost: a\nconnection: close\n\n", Err(400)),
            ("GET / HTTP/1.1\r\nhost: a\r\nx: 1\r2\r\nconnection: close\r\n\r\n", Err(400)),
            ("\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", Ok("0ahello/")),
        ],
    )
}

fn syntax(context: &Context) -> CaseResult {
    each(
        &served(context, |_| {})?,
        &[
            (post!("x : 1"), Err(400)),
            (post!("x\t: 1"), Err(400)),
            (post!(": 1"), Err(400)),
            (post!("x"), Err(400)),
            (post!("x: 1\r\n 2"), Err(400)),
            (post!("x(: 1"), Err(400)),
            (post!("x: \u{1}"), Err(400)),
            (post!("x: \0"), Err(400)),
            (" GET / HTTP/1.1\r\nhost: a\r\n\r\n", Err(400)),
            ("G(T / HTTP/1.1\r\nhost: a\r\n\r\n", Err(400)),
        ],
    )
}

fn limits(context: &Context) -> CaseResult {
    let with = |count: usize| {
        format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{}\r\n", "x: 1\r\n".repeat(count - 2))
    };
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: {}\r\n\r\n", "x".repeat(100 << 10));
    let (most, more) = (with(100), with(101));
    each(&served(context, |_| {})?, &[(&most, Ok("0ahello/")), (&more, Err(431)), (&large, Err(431))])?;
    let wide = served(context, |options| options.max_header_fields = 150)?;
    each(&wide, &[(&more, Ok("0ahello/")), (&with(150), Ok("0ahello/")), (&with(151), Err(431))])?;
    each(
        &served(context, |options| options.max_header_fields = 2)?,
        &[(&with(2), Ok("0ahello/")), (&with(3), Err(431))],
    )
}

/// Nothing after a body whose chunks are not valid is taken for a request.
fn chunks(context: &Context) -> CaseResult {
    let served = served(context, |_| {})?;
    let next = "GET /smuggled HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for body in [
        "1\nx\r\n0\r\n\r\n",
        "1\r\nx\n0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "0\r\n\n",
        "0\r\nx: 1\n\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
    ] {
        let wire = served.exchange(
            format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}{next}").as_bytes(),
        )?;
        check!(!wire.text().contains("/smuggled"), "a request after {body:?} was served: {:?}", wire.text());
    }
    let whole = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1;x=\"y\"\r\nx\r\n0\r\nx: 1\r\n\r\n{next}"
    );
    let text = served.exchange(whole.as_bytes())?.text();
    check!(text.contains("/smuggled"), "the request after a whole body was not served: {text:?}");
    Ok(())
}

fn trailers(context: &Context) -> CaseResult {
    let take = r#"
        (call $"[method]incoming-request.consume" (local.get $request) (i32.const 0x140))
        (local.set $input (call $"[static]incoming-body.finish" (i32.load (i32.const 0x144))))
        (call $"[method]pollable.block" (call $"[method]future-trailers.subscribe" (local.get $input)))
        (call $"[method]future-trailers.get" (local.get $input) (i32.const 0x140))
        (if (i32.eqz (i32.load8_u (i32.const 0x158))) (then (unreachable)))
        (local.set $input (i32.load (i32.const 0x15c)))"#;
    let guest = handler(&[RESPOND, take, &write_entries(), FINISH]);
    let served = Served::start(context, &guest, Setup::default())?;
    let sent = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sum: 1\r\n\
        content-length: 5\r\nhost: b\r\nauthorization: c\r\nset-cookie: d\r\ncontent-type: e\r\nte: trailers\r\n\r\n";
    let text = served.exchange(sent.as_bytes())?.text();
    check_eq!(body(&text), "x-sum=1;", "the trailers that the guest sees, of the answer {text:?}");
    Ok(())
}
