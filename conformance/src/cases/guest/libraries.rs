//! Guests on published libraries, unchanged: what they were written for holds here.

use wharf_core::GuestConfig;
use wharf_core::grants::Network;
use wharf_guests::{FETCH, FETCH_HTTP_REQ, FETCH_REQWEST, PUBLISHED, PrebuiltGuest, RUST_COMPAT};

use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::origin::{Body, Origin, Reply};
use crate::prebuilt::run;
use crate::{check, check_eq};

const PUBLISHED_CRATE: &str = "the crate wasi-experimental-http 0.10";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("guest/libraries/wasi-experimental-http", PUBLISHED_CRATE, |c| published(c, PUBLISHED))
        .guests(&[PUBLISHED]),
    Case::must("guest/libraries/wasi-experimental-http-fetch", PUBLISHED_CRATE, fetch).guests(&[FETCH]),
    Case::must("guest/libraries/wharf-guest-compat", PUBLISHED_CRATE, |c| published(c, RUST_COMPAT))
        .guests(&[RUST_COMPAT]),
    Case::must("guest/libraries/wasmedge-http-req", "the crate wasmedge_http_req", |c| over_sockets(c, FETCH_HTTP_REQ))
        .guests(&[FETCH_HTTP_REQ]),
    Case::must("guest/libraries/reqwest-wasi", "the crate reqwest_wasi", |c| over_sockets(c, FETCH_REQWEST))
        .guests(&[FETCH_REQWEST]),
];

/// Enough for each of them.
const MEMORY: u64 = 64 << 20;

/// Each function checks what it gets, and traps if it is something else.
fn published(context: &Context, guest: PrebuiltGuest) -> CaseResult {
    let origin = Origin::http(|request| match request.target.as_str() {
        "/get" => Reply::ok("hello from the origin"),
        "/echo" => Reply::ok(request.body.clone()),
        "/headers" => Reply::ok("").header("x-first", "1").header("x-colon", "a:b: c"),
        "/long-header" => Reply::ok("").header("x-long", "v".repeat(20 << 10)),
        "/large" => Reply::ok((0..3 << 20).map(|i: u32| (i % 251) as u8).collect::<Vec<u8>>()),
        other => Reply::ok(other.rsplit('/').next().unwrap_or_default().to_owned()),
    })?;
    let loaded = context.prebuilt(guest, MEMORY)?;
    let sends =
        [("get", 1), ("post", 1), ("headers", 1), ("long_header", 1), ("concurrent", 3), ("large", 1), ("whole", 1)];
    for (function, requests) in sends.into_iter().chain([("denied", 0)]) {
        let before = origin.requests().len();
        let config = context.net().allow(&origin.base()).config()?;
        let (mut config, printed) = context.program(guest.name, &[], config)?;
        config.wasi = config.wasi.env("ORIGIN", origin.base())?;
        let code = loaded.run(config, Some(function));
        let code = code.map_err(|error| {
            crate::Unmet::from(error).context(format_args!("{function} printed {:?}", printed.ended(1).err))
        })?;
        check_eq!(code, 0, "the exit code of {function}");
        check_eq!(origin.requests().len() - before, requests, "the count of requests of {function}");
    }
    Ok(())
}

fn fetch(context: &Context) -> CaseResult {
    let origin = Origin::http(|request| match request.target.as_str() {
        "/large" => Reply::ok("").body(Body::Filler(3 << 20)),
        _ => Reply::status(203)
            .header("x-b", "a:b")
            .header("x-a", request.header("x-sent").unwrap_or_default())
            .body(Body::Full([request.method.as_bytes(), b" ", &request.body].concat().into())),
    })?;
    let ask = |args: &[&str]| run(context, FETCH, MEMORY, args, context.net().allow(&origin.base()).config()?);
    let ended = ask(&[&origin.url("/"), "PUT", "text", "x-sent:1"])?;
    let expected = "203 Non Authoritative Information\ncontent-length: 8\nx-a: 1\nx-b: a:b\n\nPUT text";
    check_eq!((ended.code, ended.out.as_str()), (0, expected), "exit code and stdout; {:?}", ended.err);
    let counted = ask(&["--count", &origin.url("/large")])?;
    check!(counted.out.contains("\n\n3145728 bytes, checksum "), "what is printed of a large body: {counted:?}");
    let denied = run(context, FETCH, MEMORY, &[&origin.url("/")], context.net().config()?)?;
    check_eq!((denied.code, denied.out.as_str()), (1, ""), "exit code and stdout where it is denied");
    Ok(())
}

/// A library that speaks HTTP itself, over sockets, reaches what is allowed and nothing else.
fn over_sockets(context: &Context, guest: PrebuiltGuest) -> CaseResult {
    let text = "a long answer, ".repeat(10_000);
    let long = text.clone();
    let origin = Origin::http(move |request| match &*request.method {
        "GET" => Reply::ok(long.clone()),
        _ => Reply::ok([&b"posted: "[..], &request.body].concat()),
    })?;
    let url = origin.url("/x");
    let ask = |allowed: &str, args: &[&str]| {
        let outbound = context.net().allow(allowed).outbound()?;
        let mut config = GuestConfig::default();
        config.wasi = config.wasi.network(Network::sharing(&outbound));
        run(context, guest, MEMORY, args, config)
    };
    let posted = ask(&origin.base(), &[&url, "text"])?;
    check_eq!((posted.code, posted.out.as_str()), (0, "200\nposted: text"), "a POST; {:?}", posted.err);
    let got = ask(&origin.base(), &[&url])?;
    check_eq!((got.code, got.out), (0, format!("200\n{text}")), "a GET; {:?}", got.err);
    let denied = ask("http://other.example", &[&url])?;
    check_eq!((denied.code, denied.out.as_str()), (1, ""), "exit code and stdout where it is denied");
    check_eq!(origin.accepted(), 2, "the count of connections");
    Ok(())
}
