//! Ranges that leave the memory, wrap around, or are empty, for every pointer of every function.

use super::answers;
use super::code::{BUFFER_TOO_SMALL, INVALID_URL, MEMORY_ACCESS, SUCCESS};
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::origin::{Origin, Reply};
use crate::probe::{HttpProbe, Req, ReqArgs, at};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("experimental/bounds/req-inputs", "wasi_experimental_http: error 4", req_inputs),
    Case::must("experimental/bounds/req-status-out", "wasi_experimental_http: error 3", req_status_out),
    Case::must("experimental/bounds/req-handle-out", "wasi_experimental_http: error 3", req_handle_out),
    Case::must("experimental/bounds/req-empty-inputs-anywhere", "wasi_experimental_http: req", req_empty_inputs),
    Case::must("experimental/bounds/req-last-bytes", "wasi_experimental_http: req", req_last_bytes),
    Case::must("experimental/bounds/header-get-name", "wasi_experimental_http: error 4", header_get_name),
    Case::must("experimental/bounds/header-get-value", "wasi_experimental_http: error 3", header_get_value),
    Case::must("experimental/bounds/header-get-written-out", "wasi_experimental_http: error 3", header_get_written),
    Case::must("experimental/bounds/headers-get-all-buffer", "wasi_experimental_http: error 3", headers_all_buffer),
    Case::must(
        "experimental/bounds/headers-get-all-written-out",
        "wasi_experimental_http: error 3",
        headers_all_written,
    ),
    Case::must("experimental/bounds/body-read-buffer", "wasi_experimental_http: error 3", body_read_buffer),
    Case::must("experimental/bounds/body-read-written-out", "wasi_experimental_http: error 3", body_read_written),
    Case::must("experimental/bounds/body-read-loses-nothing", "wasi_experimental_http: body_read", loses_nothing),
    Case::must(
        "experimental/bounds/claimed-length-is-not-touched",
        "wasi_experimental_http: header_get, buffer",
        claimed,
    ),
];

/// Ranges that are not in a memory of one page: over the end, beyond it, wrapping, and as large as can be.
const OUTSIDE: [(u32, u32); 7] = [
    (at::END - 4, 5),
    (at::END, 1),
    (at::END + 1, 0x20),
    (0xffff_fff0, 0x20),
    (0xffff_ffff, 1),
    (1, 0xffff_ffff),
    (0x8000_0000, 0x8000_0000),
];

/// Pointers at which four bytes do not fit into a memory of one page.
const NO_ROOM: [u32; 7] = [at::END - 3, at::END - 1, at::END, at::END + 4, 0x7fff_ffff, 0xffff_fffc, 0xffff_ffff];

fn open(context: &Context) -> CaseResult<(Origin, HttpProbe, u32)> {
    let origin = Origin::replying(Reply::ok("the body").header("x-a", "value"))?;
    let mut probe = context.http_probe(&origin)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    Ok((origin, probe, handle))
}

/// Puts a range in place of one of `req`'s own.
type Spoil = fn(&mut ReqArgs, (u32, u32));

fn req_inputs(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = context.http_probe(&origin)?;
    let url = origin.url("/");
    for range in OUTSIDE {
        let spoils: [(&str, Spoil); 4] = [
            ("url", |args, range| args.url = range),
            ("method", |args, range| args.method = range),
            ("headers", |args, range| args.headers = range),
            ("body", |args, range| args.body = range),
        ];
        for (name, spoil) in spoils {
            let mut args = probe.lay_out(&Req::get(&url))?;
            spoil(&mut args, range);
            answers(probe.call_req(&args)?, BUFFER_TOO_SMALL, &format!("`req` with {name} at {range:?}"))?;
        }
    }
    check_eq!(origin.requests().len(), 0, "requests that reached the origin");
    Ok(())
}

fn req_status_out(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = context.http_probe(&origin)?;
    let url = origin.url("/");
    for status_out in [at::END - 1, at::END, 0x8000_0000, 0xffff_fffe, 0xffff_ffff] {
        let mut args = probe.lay_out(&Req::get(&url))?;
        args.status_out = status_out;
        answers(probe.call_req(&args)?, MEMORY_ACCESS, &format!("`req` with status_out {status_out:#x}"))?;
        check_eq!(probe.probe.session.open_responses(), 0, "responses open after it");
    }
    Ok(())
}

fn req_handle_out(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = context.http_probe(&origin)?;
    let url = origin.url("/");
    for handle_out in NO_ROOM {
        let mut args = probe.lay_out(&Req::get(&url))?;
        args.handle_out = handle_out;
        answers(probe.call_req(&args)?, MEMORY_ACCESS, &format!("`req` with handle_out {handle_out:#x}"))?;
        check_eq!(probe.probe.session.open_responses(), 0, "responses open after it");
    }
    Ok(())
}

/// An empty range at the memory's end is in it; compiled guests pass such pointers for empty slices.
fn req_empty_inputs(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = context.http_probe(&origin)?;
    let url = origin.url("/");
    for pointer in [0, 1, at::END - 1, at::END] {
        let mut args = probe.lay_out(&Req::get(&url))?;
        args.headers = (pointer, 0);
        args.body = (pointer, 0);
        answers(probe.call_req(&args)?, SUCCESS, &format!("`req` with empty headers and body at {pointer:#x}"))?;
    }
    let mut args = probe.lay_out(&Req::get(&url))?;
    args.url = (at::END, 0);
    answers(probe.call_req(&args)?, INVALID_URL, "`req` with an empty URL at the memory's end")
}

fn req_last_bytes(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = context.http_probe(&origin)?;
    let url = origin.url("/");
    let mut args = probe.lay_out(&Req::get(&url))?;
    args.handle_out = at::END - 4;
    args.status_out = at::END - 6;
    answers(probe.call_req(&args)?, SUCCESS, "`req` with out-pointers to the memory's last bytes")?;
    check_eq!(probe.probe.bytes(at::END - 6, 6)?, [200, 0, 0, 0, 0, 0], "the memory's last bytes");
    Ok(())
}

fn header_get_name(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context)?;
    for (pointer, len) in OUTSIDE {
        let code = probe.call("header_get", &[handle, pointer, len, at::BUFFER, 100, at::WRITTEN], &[])?;
        answers(code, BUFFER_TOO_SMALL, &format!("`header_get` with a name of {len} bytes at {pointer:#x}"))?;
    }
    Ok(())
}

/// A buffer that holds the value by its length, and does not lie in the memory.
fn header_get_value(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context)?;
    for pointer in [at::END - 4, at::END, 0xffff_fff0, 0xffff_ffff] {
        probe.probe.put(at::HEADERS, b"x-a")?;
        let code = probe.call("header_get", &[handle, at::HEADERS, 3, pointer, 100, at::WRITTEN], &[])?;
        answers(code, MEMORY_ACCESS, &format!("`header_get` into a buffer at {pointer:#x}"))?;
    }
    Ok(())
}

fn header_get_written(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context)?;
    let buffer = at::BUFFER..at::BUFFER + 5;
    for written_out in NO_ROOM {
        probe.probe.put(at::HEADERS, b"x-a")?;
        let arguments = [handle, at::HEADERS, 3, at::BUFFER, 100, written_out];
        let code = probe.call("header_get", &arguments, std::slice::from_ref(&buffer))?;
        answers(code, MEMORY_ACCESS, &format!("`header_get` with written_out {written_out:#x}"))?;
    }
    Ok(())
}

fn headers_all_buffer(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context)?;
    for pointer in [at::END - 4, at::END, 0xffff_fff0, 0xffff_ffff] {
        let code = probe.call("headers_get_all", &[handle, pointer, 1000, at::WRITTEN], &[])?;
        answers(code, MEMORY_ACCESS, &format!("`headers_get_all` into a buffer at {pointer:#x}"))?;
    }
    Ok(())
}

fn headers_all_written(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context)?;
    let buffer = at::BUFFER..at::BUFFER + 1000;
    for written_out in NO_ROOM {
        let arguments = [handle, at::BUFFER, 1000, written_out];
        let code = probe.call("headers_get_all", &arguments, std::slice::from_ref(&buffer))?;
        answers(code, MEMORY_ACCESS, &format!("`headers_get_all` with written_out {written_out:#x}"))?;
    }
    Ok(())
}

fn body_read_buffer(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context)?;
    for pointer in [at::END - 4, at::END, 0xffff_fff0, 0xffff_ffff] {
        let code = probe.call("body_read", &[handle, pointer, 100, at::WRITTEN], &[])?;
        answers(code, MEMORY_ACCESS, &format!("`body_read` into a buffer at {pointer:#x}"))?;
    }
    Ok(())
}

fn body_read_written(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context)?;
    let buffer = at::BUFFER..at::BUFFER + 100;
    for written_out in NO_ROOM {
        let arguments = [handle, at::BUFFER, 100, written_out];
        let code = probe.call("body_read", &arguments, std::slice::from_ref(&buffer))?;
        answers(code, MEMORY_ACCESS, &format!("`body_read` with written_out {written_out:#x}"))?;
    }
    Ok(())
}

/// Bytes that could not be handed over are still there for the next read.
fn loses_nothing(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context)?;
    for (pointer, written_out) in [(at::END, at::WRITTEN), (at::BUFFER, at::END)] {
        let buffer = at::BUFFER..at::BUFFER + 100;
        let code = probe.call("body_read", &[handle, pointer, 100, written_out], std::slice::from_ref(&buffer))?;
        answers(code, MEMORY_ACCESS, "`body_read` with a bad pointer")?;
    }
    check_eq!(probe.read_all(handle)?, b"the body", "the body read afterwards");
    Ok(())
}

/// Only the bytes of the answer count: a guest may overstate its buffer's length, and some do.
fn claimed(context: &Context) -> CaseResult {
    let (_origin, mut probe, handle) = open(context)?;
    probe.probe.canary()?;
    probe.probe.put(at::HEADERS, b"x-a")?;
    let answer = [at::BUFFER..at::BUFFER + 5, at::WRITTEN..at::WRITTEN + 4];
    let code = probe.call("header_get", &[handle, at::HEADERS, 3, at::BUFFER, 0xffff_ffff, at::WRITTEN], &answer)?;
    answers(code, SUCCESS, "`header_get` with a buffer said to have 4 GiB")?;
    check!(probe.probe.bytes(at::BUFFER, 5)? == b"value", "the value did not arrive");
    let answer = [at::BUFFER..at::BUFFER + 8, at::WRITTEN..at::WRITTEN + 4];
    let code = probe.call("body_read", &[handle, at::BUFFER, 0xffff_ffff, at::WRITTEN], &answer)?;
    answers(code, SUCCESS, "`body_read` with a buffer said to have 4 GiB")
}
