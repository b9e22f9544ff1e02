//! Whole exchanges: a request and its response, and one after another on a connection.

use crate::case::{Case, CaseResult};
use crate::cases::wasihttp::handler::{FINISH, HELLO, RESPOND, handler};
use crate::context::Context;
use crate::served::{End, Served, Setup};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("serving/exchange/closed-when-asked", "RFC 9112, section 9.6", closed),
    Case::must("serving/exchange/pipelined", "RFC 9112, section 9.3.2", pipelined),
    Case::must("serving/exchange/framing-is-not-by-chance", "RFC 9112, section 6.3", framing),
    Case::must("serving/exchange/http10-ends-with-its-connection", "RFC 9112, section 9.3", http10),
    Case::must("serving/exchange/body-that-nobody-asked-for", "RFC 9110, section 10.1.1", not_asked_for),
    Case::must("serving/exchange/values-have-no-outer-whitespace", "RFC 9110, section 5.5", values),
];

/// Writes `hello` and leaves it to the host when that goes out.
const WRITE: &str = r#"
    (call $"[method]output-stream.check-write" (local.get $stream) (i32.const 0x100))
    (call $"[method]output-stream.write" (local.get $stream) (i32.const 0x200) (i32.const 5) (i32.const 0x100))"#;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// A guest that answers `hello`.
fn greeter(context: &Context) -> CaseResult<Served> {
    Served::start(context, &handler(&[RESPOND, HELLO, FINISH]), Setup::default())
}

fn closed(context: &Context) -> CaseResult {
    let wire = greeter(context)?.exchange(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
    check_eq!(wire.status(), Some(200), "the status in {:?}", wire.text());
    check!(wire.text().contains("hello"), "the body is missing in {:?}", wire.text());
    check_eq!(wire.end, End::Closed, "the end of the connection");
    Ok(())
}

fn pipelined(context: &Context) -> CaseResult {
    let one = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let last = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let wire = greeter(context)?.exchange([one, one, last].concat().as_bytes())?;
    let text = wire.text();
    check_eq!(text.matches("HTTP/1.1 200 OK").count(), 3, "the responses in {text:?}");
    check_eq!(text.matches("hello").count(), 3, "the bodies in {text:?}");
    Ok(())
}

/// A body that is finished before anything of it may leave has a length; one that is flushed before is in chunks. Wasmtime's
/// host does not tell the two apart, and all are in chunks.
fn framing(context: &Context) -> CaseResult {
    let own = context.subject().component_host().is_none();
    for (write, length) in [(WRITE, own), (HELLO, false)] {
        let served = Served::start(context, &handler(&[RESPOND, write, FINISH]), Setup::default())?;
        for _ in 0..20 {
            let wire = served.exchange(GET)?;
            let text = wire.text();
            check_eq!(wire.status(), Some(200), "the status in {text:?}");
            check_eq!(text.contains("content-length: 5\r\n"), length, "whether there is a length in {text:?}");
            check_eq!(text.contains("transfer-encoding: chunked\r\n"), !length, "whether there are chunks in {text:?}");
        }
    }
    Ok(())
}

fn http10(context: &Context) -> CaseResult {
    let wire = greeter(context)?.exchange(b"GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n")?;
    let text = wire.text();
    check!(text.ends_with("\r\n\r\nhello"), "the answer is {text:?}");
    check!(!text.contains("keep-alive"), "a connection that ends is said to be kept: {text:?}");
    check!(text.contains("connection: close\r\n"), "nothing says that the connection ends: {text:?}");
    check_eq!(wire.end, End::Closed, "the end of the connection");
    Ok(())
}

/// The guest answers without a look at the body, which the client may then leave out.
fn not_asked_for(context: &Context) -> CaseResult {
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    let wire = greeter(context)?.exchange(head.as_bytes())?;
    let text = wire.text();
    check!(text.starts_with("HTTP/1.1 200 OK\r\n"), "the answer is {text:?}");
    check!(text.contains("connection: close\r\n"), "what follows could be the body or a request: {text:?}");
    check!(wire.end != End::StillOpen, "the connection is kept");
    Ok(())
}

fn values(context: &Context) -> CaseResult {
    let append = r#"
        (local.set $input (call $"[constructor]fields"))
        (call $"[method]fields.append" (local.get $input) (i32.const 0x260) (i32.const 3) (i32.const 0x264) (i32.const 3)
            (i32.const 0x100))
        (local.set $response (call $"[constructor]outgoing-response" (local.get $input)))
        (call $"[method]outgoing-response.body" (local.get $response) (i32.const 0x100))
        (local.set $body (i32.load (i32.const 0x104)))
        (call $set (local.get $out) (local.get $response))
        (call $"[static]outgoing-body.finish" (local.get $body) (i32.const 0) (i32.const 0) (i32.const 0x180))"#;
    let put: String = b"x-a\0 1\t"
        .iter()
        .enumerate()
        .map(|(at, byte)| format!("(i32.store8 (i32.const {}) (i32.const {byte}))", 0x260 + at))
        .collect();
    let wire = Served::start(context, &handler(&[&put, append]), Setup::default())?.exchange(GET)?;
    let text = wire.text();
    check!(text.contains("\r\nx-a: 1\r\n"), "the answer is {text:?}");
    Ok(())
}
