//! What the example in JavaScript does beside the contract: as the Fetch standard specifies.

use wharf_guests::HTTP_JS;

use crate::case::{Case, CaseResult};
use crate::cases::guest::front::{Answer, Front, request};
use crate::cases::guest::handlers::JAVASCRIPT_MEMORY;
use crate::context::Context;
use crate::origin::{Origin, Reply};
use crate::served::{Served, Setup};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("guest/examples/javascript/throws", "response-outparam.set: the status that the guest set", throws)
        .guests(&[HTTP_JS]),
    Case::must("guest/examples/javascript/denied-is-a-type-error", "Fetch, section 5.6: a network error", denied)
        .guests(&[HTTP_JS]),
    Case::must("guest/examples/javascript/redirect-manual", "Fetch, section 4.3: redirect mode \"manual\"", manual)
        .guests(&[HTTP_JS]),
];

/// The answer of the server that the guest is without `UPSTREAM`.
fn get(context: &Context, allowed: &Origin, target: &str) -> CaseResult<Answer> {
    let guest = context.prebuilt(HTTP_JS, JAVASCRIPT_MEMORY)?;
    let front = Front::handler(guest, || {
        let config = context.net().allow(&allowed.base()).config()?;
        Ok(context.program(HTTP_JS.name, &[], config)?.0)
    });
    let answer = front.answer(request("GET", target, "")?)?;
    front.finish()?;
    Ok(answer)
}

/// Its runtime sets a response with 500 for a handler that throws, and drops the body unfinished: who asked sees a 500.
fn throws(context: &Context) -> CaseResult {
    let served = Served::guest(context.prebuilt(HTTP_JS, JAVASCRIPT_MEMORY)?, Setup::default())?;
    let wire = served.exchange(b"GET /throw HTTP/1.1\r\nhost: front.example\r\nconnection: close\r\n\r\n")?;
    check_eq!(wire.status(), Some(500), "the status for a handler that throws: {:?}", wire.text());
    check!(wire.text().contains("\r\n\r\n"), "the head is not whole: {:?}", wire.text());
    Ok(())
}

/// A program tells errors of the network from its own by this type.
fn denied(context: &Context) -> CaseResult {
    let (allowed, denied) = (Origin::replying(Reply::ok(""))?, Origin::replying(Reply::ok("secret"))?);
    let (status, body) = get(context, &allowed, &format!("/fetch?{}", denied.url("/")))?.whole()?;
    let error = String::from_utf8_lossy(&body);
    check!(status == 502 && error.starts_with("TypeError: "), "an origin that is denied: {status} {error:?}");
    check_eq!(denied.accepted(), 0, "the count of connections to it");
    Ok(())
}

/// The guest sees the redirect itself, and nothing asks for where it leads.
fn manual(context: &Context) -> CaseResult {
    let origin = Origin::http(|request| match request.target.as_str() {
        "/old" => Reply::redirect(302, "/new?a=1").header("set-cookie", "a=1").header("set-cookie", "b=2"),
        _ => Reply::ok("new"),
    })?;
    let answer = get(context, &origin, &format!("/manual?{}", origin.url("/old")))?;
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    check_eq!(answer.status, 302, "the status of a redirect");
    check_eq!(cookies, ["a=1", "b=2"], "its cookies");
    check!(answer.headers.get("location").is_some_and(|to| to == "/new?a=1"), "where it leads: {:?}", answer.headers);
    check_eq!(origin.requests().len(), 1, "the count of requests");
    Ok(())
}
