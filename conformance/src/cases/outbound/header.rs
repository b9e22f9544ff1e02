//! Which headers cross the border between guest and origin.

use wharf_core::abi::experimental::ErrorCode;
use wharf_core::http::HttpErrorKind;

use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::origin::{Origin, Received, Step};
use crate::probe::Req;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("outbound/policy/header-of-the-connection-is-not-sent", "RFC 9110, section 7.6.1", not_sent),
    Case::must("outbound/policy/header-of-the-connection-is-not-seen", "RFC 9110, section 7.6.1", not_seen),
    Case::must("outbound/policy/header-nothing-added", "RFC 9110, section 5: fields are the sender's", nothing_added),
    Case::must("outbound/policy/header-accept-is-the-guests", "RFC 9110, section 12.5.1", accept),
    Case::must("outbound/policy/header-te-trailers-stays", "RFC 9110, section 10.1.4", te_trailers),
    Case::must("outbound/policy/header-content-length-must-be-right", "RFC 9110, section 8.6", content_length),
    Case::must("outbound/policy/header-forbidden-by-the-operator", "PolicyBuilder::forbid_header", forbidden),
];

/// Sends `req` to the root of a raw origin, and gives what arrived.
fn arrived(context: &Context, req: Req<'_>) -> CaseResult<Received> {
    let origin = Origin::raw(Step::exchange("200 OK", &[], ""))?;
    context.reach(&origin)?.send(&Req { url: origin.url("/").as_bytes(), ..req })?;
    let request = origin.request()?;
    check_eq!(request.all("host"), [origin.authority().as_bytes()], "the host headers");
    Ok(request)
}

const CONNECTION: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "te",
    "x-hop",
];

fn not_sent(context: &Context) -> CaseResult {
    let lines = "Host:evil.test\nConnection:close, X-Hop\nX-Hop:1\nKeep-Alive:timeout=5\nProxy-Connection:keep-alive\n\
                 Proxy-Authenticate:Basic\nProxy-Authorization:Basic eDp5\nTransfer-Encoding:chunked\nUpgrade:h2c\n\
                 HTTP2-Settings:AAMAAABkAAQAoAAAAAIAAAAA\nTE:gzip\nX-Own:kept\n";
    let request = arrived(context, Req::get("").method("POST").headers(lines).body(b"body"))?;
    for name in CONNECTION {
        check!(request.all(name).is_empty(), "the guest's {name} arrived: {:?}", request.headers);
    }
    check_eq!(request.all("x-own"), [b"kept"], "a header of the guest's own");
    check_eq!(request.all("content-length"), [b"4"], "the length of the body");
    check_eq!(request.body, b"body", "the body");
    Ok(())
}

fn not_seen(context: &Context) -> CaseResult {
    let lines = [
        "connection: x-hop, keep-alive",
        "x-hop: 1",
        "keep-alive: timeout=5",
        "proxy-connection: keep-alive",
        "proxy-authenticate: Basic",
        "upgrade: h2c",
        "te: gzip",
        "host: evil.test",
        "x-own: kept",
    ];
    let origin = Origin::raw(Step::exchange("200 OK", &lines, "body"))?;
    let mut reach = context.reach(&origin)?;
    let (_, handle) = reach.probe.open(&Req::get(&origin.url("/")))?;
    check_eq!(reach.probe.lines(handle)?, ["content-length:4", "x-own:kept"], "the headers that the guest sees");
    for name in CONNECTION.into_iter().chain(["host"]) {
        let (code, _) = reach.probe.header(handle, name.as_bytes(), 100)?;
        check_eq!(code, ErrorCode::HeaderNotFound as u32, "the code of `header_get` for {name}");
    }
    Ok(())
}

fn nothing_added(context: &Context) -> CaseResult {
    let names = |req: Req<'_>| -> CaseResult<Vec<String>> {
        let mut names: Vec<String> =
            arrived(context, req)?.headers.into_iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        Ok(names)
    };
    check_eq!(names(Req::get(""))?, ["host"], "the headers of a plain GET");
    check_eq!(names(Req::get("").method("HEAD").headers("x-a:1\n"))?, ["host", "x-a"], "those of a HEAD");
    let post = Req::get("").method("POST").body(b"x");
    check_eq!(names(post)?, ["content-length", "host"], "the headers of a POST");
    Ok(())
}

fn accept(context: &Context) -> CaseResult {
    let own = Req::get("").headers("accept:text/html\naccept:*/*;q=0.1\n");
    check_eq!(arrived(context, own)?.all("accept"), [&b"text/html"[..], b"*/*;q=0.1"], "the guest's own Accept");
    Ok(())
}

fn te_trailers(context: &Context) -> CaseResult {
    let request = arrived(context, Req::get("").headers("te:trailers\n"))?;
    check_eq!(request.all("te"), [b"trailers"], "the guest's TE");
    check_eq!(request.all("connection"), [b"te"], "the values of Connection");
    Ok(())
}

/// A length that is not the body's would let a guest smuggle a second request.
fn content_length(context: &Context) -> CaseResult {
    let right = Req::get("").method("POST").headers("content-length:4\n").body(b"body");
    check_eq!(arrived(context, right)?.all("content-length"), [b"4"], "the right length");
    let twice = Req { headers: b"content-length:4\nContent-Length:4\n", ..right };
    check_eq!(arrived(context, twice)?.all("content-length"), [b"4"], "the right length, given twice");

    let origin = Origin::raw(Step::exchange("200 OK", &[], ""))?;
    let mut reach = context.reach(&origin)?;
    let url = origin.url("/");
    for (lines, kind) in [
        ("content-length:3\n", HttpErrorKind::RequestBodyLength(4)),
        ("content-length:5\n", HttpErrorKind::RequestBodyLength(4)),
        ("content-length:0\n", HttpErrorKind::RequestBodyLength(4)),
        ("content-length:4\ncontent-length:5\n", HttpErrorKind::InvalidRequest),
        ("content-length:-4\n", HttpErrorKind::InvalidRequest),
        ("content-length:+4\n", HttpErrorKind::InvalidRequest),
        ("content-length:4,4\n", HttpErrorKind::InvalidRequest),
        ("content-length:four\n", HttpErrorKind::InvalidRequest),
        ("content-length:18446744073709551620\n", HttpErrorKind::InvalidRequest),
    ] {
        let req = Req::get(&url).method("POST").headers(lines).body(b"body");
        let what = format!("{lines:?} with a body of four bytes");
        reach.fails(&req, ErrorCode::RequestFailed).map_err(|unmet| unmet.context(&what))?;
        reach.because(&req, kind).map_err(|unmet| unmet.context(&what))?;
    }
    check_eq!(origin.accepted(), 0, "connections for requests with a wrong length");
    Ok(())
}

fn forbidden(context: &Context) -> CaseResult {
    let origin = Origin::raw(Step::exchange("200 OK", &["X-Internal-Token: answer", "x-own: kept"], ""))?;
    let net = context.net().allow(&origin.base());
    let mut reach = net
        .policy(|policy| policy.forbid_header("x-internal-token").map_err(|error| error.to_string()))
        .reach(context)?;
    let url = origin.url("/");
    let lines = "X-INTERNAL-token:forged\nx-own:kept\n";
    let (_, handle) = reach.probe.open(&Req::get(&url).headers(lines))?;
    let request = origin.request()?;
    check!(request.all("x-internal-token").is_empty(), "a forbidden header was sent: {:?}", request.headers);
    check_eq!(request.all("x-own"), [b"kept"], "a header that is not forbidden, as sent");
    check_eq!(reach.probe.lines(handle)?, ["content-length:0", "x-own:kept"], "the headers that the guest sees");
    Ok(())
}
