//! `header_get` and `headers_get_all`.

use super::answers;
use super::code::{BUFFER_TOO_SMALL, SUCCESS};
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::origin::{Origin, Reply, Step};
use crate::probe::{HttpProbe, Req};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("experimental/header-get/value", "wasi_experimental_http: header_get", value),
    Case::must("experimental/header-get/any-case", "wasi_experimental_http: header_get, case-insensitive", any_case),
    Case::must("experimental/header-get/first-of-several", "wasi_experimental_http: header_get, first value", first),
    Case::must("experimental/header-get/empty-value", "wasi_experimental_http: header_get", empty_value),
    Case::must("experimental/header-get/exact-fit", "wasi_experimental_http: header_get, buffer", exact_fit),
    Case::must("experimental/header-get/too-small", "wasi_experimental_http: header_get, buffer", too_small),
    Case::must("experimental/header-get/no-buffer", "wasi_experimental_http: header_get, buffer", no_buffer),
    Case::must("experimental/header-get/colons-in-value", "wasi_experimental_http: header_get", colons),
    Case::must("experimental/header-get/again-and-again", "wasi_experimental_http: header_get", again),
    Case::must("experimental/headers-get-all/format", "wasi_experimental_http: headers on the wire", format),
    Case::must("experimental/headers-get-all/repeated", "wasi_experimental_http: headers on the wire", repeated),
    Case::must(
        "experimental/headers-get-all/exact-fit",
        "wasi_experimental_http: headers_get_all, buffer",
        all_exact_fit,
    ),
    Case::must(
        "experimental/headers-get-all/too-small",
        "wasi_experimental_http: headers_get_all, buffer",
        all_too_small,
    ),
    Case::must("experimental/headers-get-all/none", "wasi_experimental_http: headers on the wire", none),
    Case::must(
        "experimental/headers-get-all/before-and-after-body",
        "wasi_experimental_http: headers_get_all",
        around_body,
    ),
];

/// A response with these header lines, as a raw origin sends them, and a probe that holds it open.
fn open(context: &Context, lines: &[&str]) -> CaseResult<(Origin, HttpProbe, u32)> {
    let origin = Origin::raw(Step::exchange("200 OK", lines, "body"))?;
    let mut probe = context.http_probe(&origin)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    Ok((origin, probe, handle))
}

/// `header_get` must give this value.
fn gives(probe: &mut HttpProbe, handle: u32, name: &str, right: &str) -> CaseResult {
    let (code, value) = probe.header(handle, name.as_bytes(), 1000)?;
    answers(code, SUCCESS, &format!("`header_get` of {name:?}"))?;
    check_eq!(String::from_utf8_lossy(&value), right, "the value of {name:?}");
    Ok(())
}

fn value(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, &["x-a: one", "content-type: text/plain; charset=utf-8"])?;
    gives(&mut probe, handle, "x-a", "one")?;
    gives(&mut probe, handle, "content-type", "text/plain; charset=utf-8")
}

fn any_case(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, &["X-MiXed: yes"])?;
    for name in ["x-mixed", "X-MIXED", "X-Mixed", "x-miXeD"] {
        gives(&mut probe, handle, name, "yes")?;
    }
    Ok(())
}

fn first(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, &["set-cookie: a=1", "x-b: 2", "set-cookie: c=3"])?;
    gives(&mut probe, handle, "Set-Cookie", "a=1")
}

fn empty_value(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, &["x-empty:", "x-b: 2"])?;
    gives(&mut probe, handle, "x-empty", "")?;
    check_eq!(probe.header(handle, b"x-empty", 0)?, (SUCCESS, Vec::new()), "an empty value into a buffer of 0 bytes");
    Ok(())
}

fn exact_fit(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, &["x-a: 12345"])?;
    check_eq!(probe.header(handle, b"x-a", 5)?, (SUCCESS, b"12345".to_vec()), "five bytes into a buffer of five");
    Ok(())
}

/// The probe checks that neither the buffer nor the count was written.
fn too_small(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, &["x-a: 12345"])?;
    for len in [4, 1] {
        answers(
            probe.header(handle, b"x-a", len)?.0,
            BUFFER_TOO_SMALL,
            &format!("`header_get` of 5 bytes into {len}"),
        )?;
    }
    gives(&mut probe, handle, "x-a", "12345")
}

fn no_buffer(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, &["x-a: 12345"])?;
    answers(probe.header(handle, b"x-a", 0)?.0, BUFFER_TOO_SMALL, "`header_get` into a buffer of 0 bytes")
}

fn colons(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, &["link: <http://a:80/>; rel=\"b:c\""])?;
    gives(&mut probe, handle, "link", "<http://a:80/>; rel=\"b:c\"")
}

fn again(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, &["x-a: 1", "x-b: 2"])?;
    for _ in 0..50 {
        gives(&mut probe, handle, "x-a", "1")?;
        gives(&mut probe, handle, "x-b", "2")?;
    }
    Ok(())
}

fn format(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, &["X-A: one", "x-url: http://h:1/", "x-empty:"])?;
    let lines = probe.lines(handle)?;
    check_eq!(lines, ["content-length:4", "x-a:one", "x-empty:", "x-url:http://h:1/"], "the header lines");
    Ok(())
}

fn repeated(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, &["x-a: 1", "x-b: 2", "x-a: 3", "x-a: 1"])?;
    let lines = probe.lines(handle)?;
    check_eq!(lines, ["content-length:4", "x-a:1", "x-a:1", "x-a:3", "x-b:2"], "the header lines, each by itself");
    Ok(())
}

fn all_exact_fit(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, &["x-a: 1"])?;
    let right = "content-length:4\nx-a:1\n".len();
    let len = u32::try_from(right).map_err(crate::Unmet::harness)?;
    let (code, bytes) = probe.headers(handle, len)?;
    answers(code, SUCCESS, &format!("`headers_get_all` of {len} bytes into {len}"))?;
    check_eq!(bytes.len(), right, "the count of bytes");
    Ok(())
}

fn all_too_small(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context, &["x-a: 1"])?;
    for len in [22, 1, 0] {
        answers(probe.headers(handle, len)?.0, BUFFER_TOO_SMALL, &format!("`headers_get_all` of 23 bytes into {len}"))?;
    }
    check_eq!(probe.lines(handle)?.len(), 2, "the count of header lines afterwards");
    Ok(())
}

fn none(context: &Context) -> CaseResult {
    let origin = Origin::raw(vec![Step::ReadRequest, Step::text("HTTP/1.1 200 OK\r\n\r\nbody")])?;
    let mut probe = context.http_probe(&origin)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    check_eq!(probe.headers(handle, 0)?, (SUCCESS, Vec::new()), "the lines of a response without headers");
    Ok(())
}

fn around_body(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("body").header("x-a", "1"))?;
    let mut probe = context.http_probe(&origin)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    let before = probe.lines(handle)?;
    check!(before.contains(&"x-a:1".to_owned()), "the header is missing before the body: {before:?}");
    check_eq!(probe.read_all(handle)?, b"body", "the body");
    check_eq!(probe.lines(handle)?, before, "the header lines after the body");
    gives(&mut probe, handle, "x-a", "1")
}
