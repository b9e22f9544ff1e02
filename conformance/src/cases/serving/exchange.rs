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
];

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
