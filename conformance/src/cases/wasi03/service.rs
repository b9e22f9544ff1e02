//! A service of WASI 0.3 by the crate `wasip3`: requests and responses, bodies both ways, and what it sends itself.

use std::sync::Arc;

use wharf_component::wasi03;
use wharf_core::{GuestConfig, HostedGuest};
use wharf_guests::HELLO_SERVICE;

use super::probe::load;
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::guest::front::{Front, request};
use crate::context::Context;
use crate::origin::{Body, Origin, Reply};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasi03/service/greets", "wasi:http/handler@0.3.0", |context| {
        let front = alone(context, None)?;
        check_eq!(get(&front, "/a?b=c")?, (200, b"hello from /a?b=c\n".to_vec()), "a greeting");
        front.finish()
    })
    .guests(&[HELLO_SERVICE]),
    Case::must("wasi03/service/echoes", "wasi:http/types@0.3.0: consume-body", |context| echoes(alone(context, None)?))
        .guests(&[HELLO_SERVICE]),
    Case::must("wasi03/service/fetches", "wasi:http/client@0.3.0", |context| {
        let origin = origin()?;
        fetches(alone(context, Some(&origin))?, &origin)
    })
    .guests(&[HELLO_SERVICE]),
    Case::must("wasi03/service/a-denied-request-is-an-error", "wasi:http/types@0.3.0: error-code", |context| {
        let origin = Origin::replying(Reply::status(200))?;
        let front = alone(context, None)?;
        match front.answer(request("GET", &format!("/fetch?{}", origin.url("/")), "")?) {
            Err(Unmet::Failed(message)) => check!(message.contains("HttpRequestDenied"), "the error is `{message}`"),
            _ => return Err(Unmet::failed("the request was answered")),
        }
        check_eq!(origin.requests().len(), 0, "requests that reached the origin");
        front.finish()
    })
    .guests(&[HELLO_SERVICE]),
    Case::must("wasi03/service/answers-with-an-error", "wasi:http/handler@0.3.0", |context| {
        answers_with_an_error(alone(context, None)?)
    })
    .guests(&[HELLO_SERVICE]),
    Case::must("wasi03/service/a-trap-breaks-the-response-off", "RFC 9112, section 8", |context| {
        let front = alone(context, None)?;
        match front.answer(request("GET", "/trap", "")?) {
            Ok(answer) => {
                check!(answer.end.is_err(), "the response looks whole, with {} bytes", answer.body.len());
                check!(front.finish().is_err(), "the guest should trap");
            }
            // Whoever waits for an answer is told of the trap.
            Err(Unmet::Failed(message)) => check!(message.contains("trap"), "the error is `{message}`"),
            Err(other) => return Err(other),
        }
        Ok(())
    })
    .guests(&[HELLO_SERVICE]),
    Case::must("wasi03/service/is-known-for-one", "wasi:http/handler@0.3.0", |_| {
        let named = wasi03(&component()?).unwrap_or_default();
        check!(named.starts_with("wasi:http/") && named.contains("@0.3."), "the interface of WASI 0.3 is {named:?}");
        Ok(())
    })
    .guests(&[HELLO_SERVICE]),
];

/// The service, which may send requests to this origin.
/// The service by itself, which may send requests to this origin.
fn alone<'a>(
    context: &'a Context,
    origin: Option<&'a Origin>,
) -> CaseResult<Front<impl Fn() -> CaseResult<GuestConfig> + use<'a>>> {
    let component = component()?;
    let guest = context.subject().shared("wasi03/service", || load(context, &component))?;
    Ok(front(context, guest, origin))
}

/// What is before a guest that is the service, or has it behind it.
pub(super) fn front<'a>(
    context: &'a Context,
    guest: Arc<dyn HostedGuest>,
    origin: Option<&'a Origin>,
) -> Front<impl Fn() -> CaseResult<GuestConfig> + use<'a>> {
    Front::handler(guest, move || {
        let net = context.net();
        let net = match origin {
            Some(origin) => net.allow(&origin.base()),
            None => net,
        };
        Ok(context.program(HELLO_SERVICE.name, &[], net.config()?)?.0)
    })
}

/// Bodies of all sizes come back.
pub(super) fn echoes(front: Front<impl Fn() -> CaseResult<GuestConfig>>) -> CaseResult {
    for size in [0, 1, 4096, 300_000, 3_000_000_u32] {
        let body: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let (status, back) = front.answer(request("POST", "/echo", body.clone())?)?.whole()?;
        check_eq!((status, back.len()), (200, body.len()), "status and length of what comes back");
        check!(back == body, "something else came back");
    }
    front.finish()
}

/// An origin for [`fetches`].
pub(super) fn origin() -> CaseResult<Origin> {
    Origin::replying(Reply::status(203).body(Body::Full("from the origin".into())))
}

/// What the origin answers comes back.
pub(super) fn fetches(front: Front<impl Fn() -> CaseResult<GuestConfig>>, origin: &Origin) -> CaseResult {
    let fetched = get(&front, &format!("/fetch?{}", origin.url("/")))?;
    check_eq!(fetched, (203, b"from the origin".to_vec()), "what is fetched");
    front.finish()
}

/// An error of the handler's is the answer.
pub(super) fn answers_with_an_error(front: Front<impl Fn() -> CaseResult<GuestConfig>>) -> CaseResult {
    match front.answer(request("GET", "/error", "")?) {
        Err(Unmet::Failed(message)) => check!(message.contains("LoopDetected"), "the error is `{message}`"),
        _ => return Err(Unmet::failed("an error was answered with a response")),
    }
    front.finish()
}

fn get(front: &Front<impl Fn() -> CaseResult<GuestConfig>>, target: &str) -> CaseResult<(u16, Vec<u8>)> {
    front.answer(request("GET", target, "")?)?.whole()
}

/// What its toolchain makes of the core module.
pub(super) fn component() -> CaseResult<Vec<u8>> {
    crate::prebuilt::read(HELLO_SERVICE)
}
