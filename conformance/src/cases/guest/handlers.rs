//! The same handler on several toolchains: what it does may not depend on which.

use wharf_guests::{HELLO_HTTP, HTTP_JS, HTTP_PY, HTTP_WAKI, HTTP_WSTD, PrebuiltGuest};

use super::front::{Front, request};
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::origin::{Origin, Reply};
use crate::{check, check_eq};

const PROVES: &str = "wasi:http/incoming-handler";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("guest/handlers/bindings", PROVES, |c| handler(c, HELLO_HTTP, MEMORY)).guests(&[HELLO_HTTP]),
    Case::must("guest/handlers/wstd", PROVES, |c| handler(c, HTTP_WSTD, MEMORY)).guests(&[HTTP_WSTD]),
    Case::must("guest/handlers/waki", PROVES, |c| handler(c, HTTP_WAKI, MEMORY)).guests(&[HTTP_WAKI]),
    Case::must("guest/handlers/javascript", PROVES, |c| handler(c, HTTP_JS, JAVASCRIPT_MEMORY)).guests(&[HTTP_JS]),
    Case::must("guest/handlers/python", PROVES, |c| handler(c, HTTP_PY, PYTHON_MEMORY)).guests(&[HTTP_PY]),
];

const MEMORY: u64 = 8 << 20;
/// What the guest in JavaScript gets. It is compiled for as long as all of its cases take, so they share one of this size.
pub(super) const JAVASCRIPT_MEMORY: u64 = 12 << 20;
/// The same of the guest in Python.
pub(super) const PYTHON_MEMORY: u64 = 24 << 20;

fn handler(context: &Context, guest: PrebuiltGuest, memory: u64) -> CaseResult {
    let origin = Origin::http(|request| match request.target.as_str() {
        "/teapot" => Reply::status(418).body(crate::origin::Body::Full("short and stout".into())),
        _ => Reply::ok("from the origin"),
    })?;
    let denied = Origin::replying(Reply::ok("out of reach"))?;
    let loaded = context.prebuilt(guest, memory)?;
    let front = Front::handler(loaded, || {
        let config = context.net().allow(&origin.base()).config()?;
        Ok(context.program(guest.name, &[], config)?.0)
    });
    let get = |target: &str| front.answer(request("GET", target, "")?)?.whole();

    check_eq!(get("/a?b=c")?, (200, b"hello from /a?b=c\n".to_vec()), "a greeting");
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    for body in [&b""[..], b"short", &body] {
        let (status, back) = front.answer(request("POST", "/echo", body.to_vec())?)?.whole()?;
        check_eq!((status, back.len()), (200, body.len()), "status and length of what comes back");
        check!(back == body, "something else came back");
    }
    check_eq!(get(&format!("/fetch?{}", origin.url("/x")))?, (200, b"from the origin".to_vec()), "what is fetched");
    let teapot = get(&format!("/fetch?{}", origin.url("/teapot")))?;
    check_eq!(teapot, (418, b"short and stout".to_vec()), "a status and a body that are passed on");
    check_eq!(get(&format!("/fetch?{}", denied.url("/")))?.0, 502, "the status for an origin that is denied");
    check_eq!(denied.accepted(), 0, "the count of connections to it");
    front.finish()
}
