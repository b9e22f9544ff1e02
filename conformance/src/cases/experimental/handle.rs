//! Handles: numbered from 0, reused, and gone when closed.

use super::answers;
use super::code::{INVALID_HANDLE, SUCCESS};
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::origin::{Body, Origin, Reply};
use crate::probe::{HttpProbe, Req};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("experimental/handle/first-is-zero", "wasi_experimental_http: body and handles", first_is_zero),
    Case::must("experimental/handle/closed-is-reused", "wasi_experimental_http: body and handles", closed_is_reused),
    Case::must("experimental/handle/closed-is-gone", "wasi_experimental_http: body and handles", closed_is_gone),
    Case::must("experimental/handle/many-differ", "wasi_experimental_http: body and handles", many_differ),
    Case::must("experimental/handle/reused-is-new", "wasi_experimental_http: body and handles", reused_is_new),
    Case::must(
        "experimental/handle/failed-request-takes-none",
        "wasi_experimental_http: body and handles",
        failed_takes_none,
    ),
    Case::must("experimental/close/unknown", "wasi_experimental_http: close", close_unknown),
    Case::must("experimental/close/twice", "wasi_experimental_http: close", close_twice),
    Case::must("experimental/close/unread-body", "wasi_experimental_http: close", close_unread),
    Case::must("experimental/close/other-stays", "wasi_experimental_http: close", close_other_stays),
    Case::must("experimental/close/ends-the-transfer", "wasi_experimental_http: close", close_ends_transfer),
];

fn echo(context: &Context) -> CaseResult<(Origin, HttpProbe)> {
    let origin = Origin::http(|request| Reply::ok(request.target.clone()))?;
    let probe = context.http_probe(&origin)?;
    Ok((origin, probe))
}

fn first_is_zero(context: &Context) -> CaseResult {
    let (origin, mut probe) = echo(context)?;
    check_eq!(probe.open(&Req::get(&origin.url("/")))?.1, 0, "the first handle");
    Ok(())
}

fn closed_is_reused(context: &Context) -> CaseResult {
    let (origin, mut probe) = echo(context)?;
    let url = origin.url("/");
    for _ in 0..3 {
        check_eq!(probe.open(&Req::get(&url))?.1, 0, "the handle after closing the only one");
        probe.close(0)?;
    }
    check_eq!(probe.open(&Req::get(&url))?.1, 0, "the first of two");
    check_eq!(probe.open(&Req::get(&url))?.1, 1, "the second of two");
    probe.close(1)?;
    check_eq!(probe.open(&Req::get(&url))?.1, 1, "the handle after closing the second");
    Ok(())
}

fn closed_is_gone(context: &Context) -> CaseResult {
    let (origin, mut probe) = echo(context)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    probe.close(handle)?;
    answers(probe.read(handle, 10)?.0, INVALID_HANDLE, "`body_read` of a closed handle")?;
    answers(probe.headers(handle, 100)?.0, INVALID_HANDLE, "`headers_get_all` of a closed handle")?;
    answers(probe.header(handle, b"x", 100)?.0, INVALID_HANDLE, "`header_get` of a closed handle")
}

fn many_differ(context: &Context) -> CaseResult {
    let (origin, mut probe) = echo(context)?;
    let mut handles = Vec::new();
    for number in 0..20 {
        let (_, handle) = probe.open(&Req::get(&origin.url(&format!("/{number}"))))?;
        check!(!handles.contains(&handle), "the handle {handle} was given twice");
        handles.push(handle);
    }
    for (number, handle) in handles.into_iter().enumerate().rev() {
        check_eq!(probe.read_all(handle)?, format!("/{number}").as_bytes(), "the body of handle {handle}");
    }
    Ok(())
}

fn reused_is_new(context: &Context) -> CaseResult {
    let (origin, mut probe) = echo(context)?;
    let (_, old) = probe.open(&Req::get(&origin.url("/old")))?;
    probe.read(old, 2)?;
    probe.close(old)?;
    let (_, new) = probe.open(&Req::get(&origin.url("/new")))?;
    check_eq!(new, old, "the handle");
    check_eq!(probe.read_all(new)?, b"/new", "the body behind it");
    Ok(())
}

fn failed_takes_none(context: &Context) -> CaseResult {
    let (origin, mut probe) = echo(context)?;
    for _ in 0..5 {
        let code = probe.req(&Req::get("http://denied.test/"))?;
        check!(code != SUCCESS, "a request to a denied origin answered 0");
    }
    check_eq!(probe.open(&Req::get(&origin.url("/")))?.1, 0, "the first handle after requests that failed");
    Ok(())
}

fn close_unknown(context: &Context) -> CaseResult {
    let (_origin, mut probe) = echo(context)?;
    for handle in [0, 1, 0x8000_0000, 0xffff_ffff] {
        answers(probe.close(handle)?, SUCCESS, &format!("`close` of {handle}, which was never given"))?;
    }
    Ok(())
}

fn close_twice(context: &Context) -> CaseResult {
    let (origin, mut probe) = echo(context)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    answers(probe.close(handle)?, SUCCESS, "the first `close`")?;
    answers(probe.close(handle)?, SUCCESS, "the second `close`")
}

fn close_unread(context: &Context) -> CaseResult {
    let (origin, mut probe) = echo(context)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    check_eq!(probe.probe.session.open_responses(), 1, "responses open");
    answers(probe.close(handle)?, SUCCESS, "`close` of a response whose body was not read")?;
    check_eq!(probe.probe.session.open_responses(), 0, "responses open after closing the only one");
    Ok(())
}

fn close_other_stays(context: &Context) -> CaseResult {
    let (origin, mut probe) = echo(context)?;
    let (_, one) = probe.open(&Req::get(&origin.url("/one")))?;
    let (_, two) = probe.open(&Req::get(&origin.url("/two")))?;
    probe.close(one)?;
    check_eq!(probe.read_all(two)?, b"/two", "the body of the other response");
    Ok(())
}

/// A body without end must not go on being received for nobody.
fn close_ends_transfer(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("").body(Body::Endless))?;
    let mut probe = context.http_probe(&origin)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    probe.read(handle, 100)?;
    check_eq!(origin.open(), 1, "connections open while the body arrives");
    probe.close(handle)?;
    check!(origin.wait_until(|origin| origin.open() == 0), "the connection is still open after `close`");
    Ok(())
}
