//! How requests end that share an instance: by themselves, with their client or their time, or with the instance.

use std::collections::VecDeque;
use std::io::Write;

use super::client::{Client, LONG, MANY, SHORT, enters, idle, query, served, settled, until, waiting};
use crate::case::{CaseResult, Unmet};
use crate::context::Context;
use crate::served::{End, Served, read_to_end};
use crate::{check, check_eq};

fn is_broken_off(client: Client, what: &str) -> CaseResult {
    let rest = client.rest();
    check!(!rest.ends_with("0\r\n\r\n"), "{what} looks whole: `{rest}`");
    Ok(())
}

fn has_status(client: Client, status: u16, what: &str) -> CaseResult {
    let rest = client.rest();
    check!(rest.starts_with(&format!("HTTP/1.1 {status} ")), "{what} is answered with `{rest}`");
    Ok(())
}

pub(super) fn trap(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 4, LONG)? else { return Ok(()) };
    let first = enters(&served, 'w', 1, 1)?;
    let mut second = enters(&served, 'u', 2, 2)?;
    let third = enters(&served, 'w', 3, 3)?;
    second.go_on()?;
    for (client, what) in [(first, "the first"), (second, "the one that traps"), (third, "the third")] {
        is_broken_off(client, what)?;
    }
    idle(&served, 0)?;
    check_eq!(query(&served)?.count, 1, "the next request, in a new instance");
    Ok(())
}

/// Asks for what does not answer yet, beside one that waits, and returns once it is in its instance.
fn silent(served: &Served, letter: char, inside: u8) -> CaseResult<Client> {
    let client = Client::ask(served, letter)?;
    until("the request does not enter", || Ok(query(served)?.inside > inside + 1))?;
    waiting(served, 1)?;
    Ok(client)
}

pub(super) fn trap_unanswered(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 4, LONG)? else { return Ok(()) };
    let first = enters(&served, 'w', 1, 1)?;
    let second = silent(&served, 'c', 1)?;
    has_status(Client::ask(&served, 't')?, 500, "the one that traps")?;
    has_status(second, 500, "the one beside it")?;
    is_broken_off(first, "the one that was answered")?;
    settled(&served)
}

pub(super) fn unanswered(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 4, LONG)? else { return Ok(()) };
    let first = enters(&served, 'w', 1, 1)?;
    has_status(Client::ask(&served, 'x')?, 500, "the one without an answer")?;
    is_broken_off(first, "the one beside it")?;
    idle(&served, 0)
}

pub(super) fn leaves(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 4, LONG)? else { return Ok(()) };
    let first = enters(&served, 'w', 1, 1)?;
    let second = silent(&served, 'c', 1)?;
    second.leave()?;
    until("the task is not cancelled", || Ok(query(&served)?.cancelled == 1))?;
    let report = first.finish()?;
    check_eq!((report.inside, report.cancelled), (1, 1), "what the one beside it sees");
    settled(&served)
}

pub(super) fn does_not_cancel(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 4, SHORT)? else { return Ok(()) };
    let client = Client::ask(&served, 'k')?;
    waiting(&served, 1)?;
    client.leave()?;
    idle(&served, 0)?;
    check_eq!(query(&served)?.count, 1, "the next request, in a new instance");
    Ok(())
}

pub(super) fn waits_too_long(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 4, SHORT)? else { return Ok(()) };
    let (first, second) = (Client::ask(&served, 'c')?, Client::ask(&served, 'w')?);
    has_status(first, 504, "the one that does not answer")?;
    is_broken_off(second, "the one that goes on answering")?;
    idle(&served, 0)?;
    check_eq!(query(&served)?.count, 1, "the next request, in a new instance");
    Ok(())
}

pub(super) fn computes_too_long(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 4, SHORT)? else { return Ok(()) };
    let first = Client::ask(&served, 'c')?;
    waiting(&served, 1)?;
    has_status(Client::ask(&served, 's')?, 504, "the one that computes")?;
    has_status(first, 504, "the one beside it, whose time is over as well")?;
    idle(&served, 0)?;
    check_eq!(query(&served)?.count, 1, "the next request, in a new instance");
    Ok(())
}

pub(super) fn arrived(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 4, LONG)? else { return Ok(()) };
    let first = enters(&served, 'w', 1, 1)?;
    Client::told(&served, 'a')?.0.finish()?;
    until("the response has not arrived", || Ok(query(&served)?.arrived == 1))?;
    let report = first.finish()?;
    check_eq!((report.arrived, report.lost), (1, 0), "responses that arrived, and that did not");
    Ok(())
}

pub(super) fn lost(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 4, LONG)? else { return Ok(()) };
    let first = enters(&served, 'w', 1, 1)?;
    // One that had ended could be on its way before it is seen that the client has left.
    Client::told(&served, 'A')?.0.leave()?;
    until("the response is not lost", || Ok(query(&served)?.lost == 1))?;
    let report = first.finish()?;
    check_eq!((report.arrived, report.lost), (0, 1), "responses that arrived, and that did not");
    Ok(())
}

pub(super) fn leaves_handles(context: &Context) -> CaseResult {
    for at_once in [1, 2] {
        let Some(served) = served(context, MANY, at_once, LONG)? else { return Ok(()) };
        check_eq!(Client::told(&served, 'o')?.1.count, 1, "the first request");
        idle(&served, 0)?;
        check_eq!(query(&served)?.count, 1, "the next request, in a new instance");
    }
    Ok(())
}

pub(super) fn keeps_a_body(context: &Context) -> CaseResult {
    let Some(served) = served(context, MANY, 4, LONG)? else { return Ok(()) };
    let first = enters(&served, 'w', 1, 1)?;
    let mut stream = served.connect()?;
    // A body of which the guest reads nothing, on a connection that could stay open.
    let head = b"POST /l HTTP/1.1\r\nhost: a.example\r\ncontent-length: 10\r\n\r\n12345";
    stream.write_all(head).map_err(Unmet::harness)?;
    let mut client = Client { stream, seen: VecDeque::new() };
    check_eq!(client.report()?.count, 2, "the request with a body");
    check_eq!(read_to_end(&mut client.stream).end, End::Closed, "how its connection ends");
    check_eq!(first.finish()?.inside, 1, "how many are inside");
    Ok(())
}
