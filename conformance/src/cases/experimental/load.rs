//! What a module may import, and what becomes of one that asks for something else.

use wharf_core::{Kind, LoadOptions};

use super::answers;
use super::code::{INVALID_HANDLE, SUCCESS};
use crate::bare::assemble;
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::origin::{Origin, Reply};
use crate::probe::{EXPERIMENTAL, HttpProbe, Req, Wat, at};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("experimental/load/all-functions", "wasi_experimental_http: imports", all_functions),
    Case::must("experimental/load/one-function-only", "wasi_experimental_http: imports", one_function),
    Case::must("experimental/load/alias-header-get-all", "wasi_experimental_http: header_get_all", alias),
    Case::must("experimental/load/req-of-fifteen", "wasi_experimental_http: releases 0.1 and 0.2", req_of_fifteen),
    Case::must("experimental/load/unknown-function", "wasi_experimental_http: imports", unknown_function),
    Case::must("experimental/load/every-problem-is-named", "wasi_experimental_http: imports", every_problem),
    Case::must("experimental/load/wrong-signature", "wasi_experimental_http: imports", wrong_signature),
    Case::must("experimental/load/no-memory", "wasi_experimental_http: the guest exports `memory`", no_memory),
];

fn all_functions(context: &Context) -> CaseResult {
    let mut probe = HttpProbe::start(context, wharf_core::GuestConfig::default())?;
    answers(probe.close(7)?, SUCCESS, "`close` of a handle never given")
}

fn one_function(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("one"))?;
    let wat = Wat::new().import(EXPERIMENTAL, "req", "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32", "i32");
    let mut probe = HttpProbe { probe: context.net().allow(&origin.base()).probe(&wat)? };
    check_eq!(probe.open(&Req::get(&origin.url("/")))?, (200, 0), "status and handle");
    Ok(())
}

/// The alias answers as the function does, byte for byte.
fn alias(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("").header("x-a", "1").header("x-b", "2"))?;
    let mut probe = context.http_probe(&origin)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    let mut answers_of = Vec::new();
    for function in ["headers_get_all", "header_get_all"] {
        probe.probe.canary()?;
        let code = probe.probe.call_i32(function, &[handle, at::BUFFER, at::BUFFER_LEN, at::WRITTEN])?;
        answers(code, SUCCESS, function)?;
        let written = probe.probe.u32_at(at::WRITTEN)?;
        answers_of.push(probe.probe.bytes(at::BUFFER, written)?);
        answers(
            probe.probe.call_i32(function, &[handle + 1, at::BUFFER, at::BUFFER_LEN, at::WRITTEN])?,
            INVALID_HANDLE,
            function,
        )?;
    }
    check!(!answers_of[0].is_empty(), "`headers_get_all` wrote nothing");
    check_eq!(answers_of[1], answers_of[0], "what `header_get_all` wrote");
    Ok(())
}

/// Loading must fail with kind Unsupported, on one line that contains each of `words`.
fn refused(context: &Context, wat: &str, words: &[&str]) -> CaseResult {
    match context.load(&assemble(wat)?) {
        Ok(_) => Err(Unmet::failed("the module was loaded")),
        Err(error) => {
            let text = wharf_core::chain(&error);
            check_eq!(error.kind(), Kind::Unsupported, "the kind of the error {text:?}");
            check!(!text.contains('\n'), "the error has several lines: {text:?}");
            for word in words {
                check!(text.contains(word), "the error does not say {word:?}: {text}");
            }
            Ok(())
        }
    }
}

fn req_of_fifteen(context: &Context) -> CaseResult {
    let params = ["i32"; 15].join(" ");
    let wat = Wat::new().import(EXPERIMENTAL, "req", &params, "i32");
    refused(context, &wat.text(), &["req", "15", "0.1", "0.2"])
}

fn unknown_function(context: &Context) -> CaseResult {
    let wat = Wat::new().import(EXPERIMENTAL, "header_gett", "i32 i32 i32 i32 i32 i32", "i32");
    refused(context, &wat.text(), &["header_gett", "wasi_experimental_http::header_get"])
}

fn every_problem(context: &Context) -> CaseResult {
    let wat = Wat::new().import("env", "first", "", "").import("env", "second", "i32", "i64");
    refused(context, &wat.text(), &["env::first", "env::second"])
}

fn wrong_signature(context: &Context) -> CaseResult {
    let wat = Wat::new().import(EXPERIMENTAL, "body_read", "i32 i32 i32", "i32");
    refused(context, &wat.text(), &["body_read", "(i32, i32, i32, i32) -> (i32)"])
}

/// Found before the guest runs: its first request could only fail.
fn no_memory(context: &Context) -> CaseResult {
    let wat = Wat::bare().import(EXPERIMENTAL, "close", "i32", "i32");
    refused(context, &wat.text(), &["memory"])?;
    // A module that imports nothing needs none.
    wharf_core::Guest::load(
        &**context.backend(),
        &assemble(r#"(module (func (export "_start")))"#)?,
        &LoadOptions::default(),
    )?;
    Ok(())
}
