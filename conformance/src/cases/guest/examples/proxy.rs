//! `proxy`: a handler that takes its origin from `UPSTREAM`, or a server that takes it from its argument.

use std::sync::Arc;

use wharf_core::GuestConfig;
use wharf_core::http::Redirects;

use super::Example;
use crate::case::{CaseResult, Unmet};
use crate::cases::guest::front::{ASKED, Front, Running, granted, piece, request};
use crate::context::Context;
use crate::origin::{Body, Gate, Origin, Reply};
use crate::{check, check_eq};

const UPSTREAM: &str = "UPSTREAM";

pub(super) fn proxy(context: &Context, example: &Example) -> CaseResult {
    let gate = Gate::new();
    let opened = gate.clone();
    let origin = Origin::http(move |request| match request.target.as_str() {
        "/missing" => Reply::status(404),
        "/slow" => Reply::ok("").body(Body::Gated("first".into(), opened.clone(), " last".into())),
        "/broken" => Reply::ok("").body(Body::Broken("some".into())),
        _ => Reply::status(203)
            .header("set-cookie", "a=1")
            .header("x-kind", request.header("x-kind").unwrap_or("none"))
            .header("set-cookie", "b=2")
            .body(Body::Full([request.method.as_bytes(), b" ", &request.body].concat().into())),
    })?;
    let (allowed, base) = ([&origin], origin.base());
    let front = front(context, example, &allowed, &base)?;
    let ask = |method: &str, target: &str| front.answer(request(method, target, "")?);

    let body: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 251) as u8).collect();
    let mut put = request("PUT", "/path?q=%20", body.clone())?;
    put.headers_mut().insert("x-kind", http::HeaderValue::from_static("x/y"));
    put.headers_mut().insert("x-forwarded-host", http::HeaderValue::from_static("forged.example"));
    let answer = front.answer(put)?;
    check_eq!(answer.status, 203, "the status");
    check!(answer.headers.get("x-kind").is_some_and(|kind| kind == "x/y"), "a header: {:?}", answer.headers);
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    check_eq!(cookies, ["a=1", "b=2"], "a header that the origin repeats");
    check!(answer.whole()?.1 == [b"PUT ", &body[..]].concat(), "another body came back");
    let received = origin.request()?;
    check_eq!((received.method.as_str(), received.target.as_str()), ("PUT", "/path?q=%20"), "what the origin is asked");
    check_eq!(received.authority, origin.authority(), "the host that the origin is asked for");
    check_eq!(received.all("x-forwarded-host"), [ASKED.as_bytes()], "the host that the origin is told of");
    check!(received.body == body, "another body reached the origin");

    check_eq!(ask("DELETE", "/x")?.whole()?, (203, b"DELETE ".to_vec()), "the answer to a request without a body");
    check_eq!(ask("GET", "/missing")?.whole()?, (404, Vec::new()), "the answer of what is not there");

    // The first piece is here before the origin sends the last.
    let mut slow = front.ask(request("GET", "/slow", "")?)?.into_body();
    let next = |body: &mut _| piece(body)?.transpose().map_err(|error| Unmet::failed(error.to_string()));
    check_eq!(next(&mut slow)?.as_deref(), Some(&b"first"[..]), "the first piece");
    gate.open();
    let mut rest = Vec::new();
    while let Some(piece) = next(&mut slow)? {
        rest.extend(piece);
    }
    check_eq!(rest, b" last", "the rest");

    front.finish()?;
    let broken = ask("GET", "/broken")?;
    check!(broken.end.is_err(), "a response that breaks off looks whole to who asked");
    front.finish_or_exit()?;
    end(front)?;
    fails_well(context, example)
}

/// What the origin does not answer.
fn fails_well(context: &Context, example: &Example) -> CaseResult {
    let (denied, refusing) = (Origin::replying(Reply::ok("secret"))?, Origin::refusing()?);
    for (upstream, allowed) in [(&denied, &refusing), (&refusing, &refusing)] {
        let (allowed, base) = ([allowed], upstream.base());
        let front = front(context, example, &allowed, &base)?;
        let answer = front.answer(request("GET", "/", "")?)?.whole()?;
        check_eq!(answer, (502, b"502 Bad Gateway\n".to_vec()), "the answer for {base}");
        end(front)?;
    }
    check_eq!(denied.accepted(), 0, "the count of connections to an origin that is denied");
    if context.prebuilt(example.guest, example.traits.memory)?.is_handler() {
        let unset = (!example.traits.other_without_upstream).then_some("");
        for upstream in unset.into_iter().chain(["no origin"]) {
            let front = front(context, example, &[], upstream)?;
            check_eq!(front.answer(request("GET", "/", "")?)?.status, 500, "the status where UPSTREAM is {upstream:?}");
            end(front)?;
        }
    } else {
        let ended = example.run(context, None, &[])?;
        check!(ended.code == 2 && ended.err.starts_with("usage: "), "without an argument, the server ended {ended:?}");
    }
    Ok(())
}

/// Has it pass requests on to `upstream`, which may be one of those that are allowed. The server is started as a proxy has
/// to be whose ABI has the host follow redirects; for a handler no host does.
pub(super) fn front<'a>(
    context: &'a Context,
    example: &'a Example,
    allowed: &'a [&'a Origin],
    upstream: &'a str,
) -> CaseResult<Front<impl Fn() -> CaseResult<GuestConfig> + use<'a>>> {
    let guest = context.prebuilt(example.guest, example.traits.memory)?;
    let net = move || allowed.iter().fold(context.net(), |net, origin| net.allow(&origin.base()));
    if !guest.is_handler() {
        let (network, address) = granted()?;
        let args = [example.first, &[upstream]].concat();
        let (mut config, _) =
            context.program(example.guest.name, &args, net().redirects(Redirects::Manual).config()?)?;
        config.wasi = config.wasi.network(network);
        return Ok(Front::Server(Running::start(guest, config), address));
    }
    Ok(Front::handler(Arc::clone(&guest), move || {
        let (mut config, _) = context.program(example.guest.name, &[], net().config()?)?;
        if !upstream.is_empty() {
            config.wasi = config.wasi.env(UPSTREAM, upstream)?;
        }
        Ok(config)
    }))
}

/// Nothing of it trapped.
pub(super) fn end<F: Fn() -> CaseResult<GuestConfig>>(front: Front<F>) -> CaseResult {
    front.finish()?;
    match front {
        Front::Server(running, _) => running.stop(),
        Front::Handler(..) => Ok(()),
    }
}
