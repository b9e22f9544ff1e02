//! What is sent as the target of a request, and who may send a guest on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt, Empty};
use wharf_core::abi::experimental::ErrorCode;
use wharf_core::http::{ALLOW_ALL, Body, HttpError, HttpErrorKind, Timeouts, Transport};

use crate::case::{Case, CaseResult};
use crate::check_eq;
use crate::context::Context;
use crate::origin::{Origin, Reply};
use crate::probe::Req;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("outbound/target/as-it-was-set", "RFC 9112, section 3.2.1", as_set),
    Case::must("outbound/target/written-by-people", "URL Standard: URL parsing", by_people),
    Case::must("outbound/redirect/location-as-it-was-sent", "RFC 3986, section 5.2.2", location),
    Case::must("outbound/redirect/inside-under-allow-all", "policy: insecure:allow-all", inside),
];

fn target(context: &Context, path: &str) -> CaseResult<String> {
    let origin = Origin::replying(Reply::status(204))?;
    context.reach(&origin)?.send(&Req::get(&origin.url(path)))?;
    Ok(origin.request()?.target)
}

fn as_set(context: &Context) -> CaseResult {
    for path in
        ["/a/%2e%2e/b?name='x'", "/a/../b/./c//d", "/%7e~%41", "/|^[]\\{\"}?|^[]\\{}`", "/100%?%zz", "/?", "/a?b?c"]
    {
        check_eq!(target(context, path)?, path, "the target");
    }
    check_eq!(target(context, "/a#fragment")?, "/a", "the target of a url with a fragment");
    check_eq!(target(context, "?query")?, "/?query", "the target of a url without a path");
    Ok(())
}

fn by_people(context: &Context) -> CaseResult {
    check_eq!(target(context, "/a b/ü?ü")?, "/a%20b/%C3%BC?%C3%BC", "the target");
    Ok(())
}

fn location(context: &Context) -> CaseResult {
    const PATH: &str = "/a/%2e%2e/b?name='x'";
    let other = Origin::replying(Reply::ok("arrived"))?;
    let absolute = other.url(PATH);
    let origin = Origin::http(move |request| match request.target.as_str() {
        "/absolute" => Reply::redirect(302, &absolute),
        "/rooted" => Reply::redirect(302, PATH),
        "/x/relative" => Reply::redirect(302, "../b"),
        _ => Reply::ok("arrived"),
    })?;
    let mut reach = context.net().allow(&origin.base()).allow(&other.base()).reach(context)?;
    for (path, seen, expected) in
        [("/x/relative", &origin, "/b"), ("/absolute", &other, PATH), ("/rooted", &origin, PATH)]
    {
        check_eq!(reach.get(&origin.url(path))?, b"arrived", "the body after {path}");
        let last = seen.requests().pop().unwrap_or_default();
        check_eq!(last.target, expected, "the target after {path}");
    }
    Ok(())
}

/// Answers everything with a redirect to `to`, wherever it is, and counts the requests.
struct Away {
    to: &'static str,
    sent: AtomicUsize,
}

#[async_trait::async_trait]
impl Transport for Away {
    async fn send(&self, _: http::Request<Body>, _: &Timeouts) -> Result<http::Response<Body>, HttpError> {
        let mut response = http::Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
        if self.sent.fetch_add(1, Ordering::SeqCst) == 0 {
            *response.status_mut() = http::StatusCode::FOUND;
            response.headers_mut().insert("location", http::HeaderValue::from_static(self.to));
        }
        Ok(response)
    }
}

/// A guest may name an address itself. An origin out there may not: it could not by a name, either.
fn inside(context: &Context) -> CaseResult {
    for (from, to, arrives) in [
        ("https://public.test/", "http://10.0.0.1/", false),
        ("https://public.test/", "http://127.0.0.1:8080/", false),
        ("https://public.test/", "http://[::ffff:192.168.0.1]/", false),
        ("https://public.test/", "http://localhost/", false),
        ("http://127.0.0.1/", "http://10.0.0.1/", false),
        ("https://public.test/", "http://93.184.216.34/", true),
        ("https://public.test/", "http://other.test/", true),
        ("http://127.0.0.1:1/", "http://localhost:2/", true),
        ("http://10.0.0.1/", "http://10.0.0.1:8080/", true),
    ] {
        let away = |_| Arc::new(Away { to, sent: AtomicUsize::new(0) });
        let transport = away(());
        let mut reach = context.net().allow(ALLOW_ALL).transport(transport.clone()).reach(context)?;
        if arrives {
            check_eq!(reach.get(from)?, b"", "the body after a redirect from {from} to {to}");
            continue;
        }
        reach.fails(&Req::get(from), ErrorCode::DestinationNotAllowed)?;
        check_eq!(transport.sent.load(Ordering::SeqCst), 1, "requests sent, of {from} to {to}");
        let reach = context.net().allow(ALLOW_ALL).transport(away(())).reach(context)?;
        reach.because(&Req::get(from), HttpErrorKind::AddressProhibited)?;
        let entry = http::Uri::from_static(to);
        let entry = entry.authority().map_or_else(String::new, |authority| format!("http://{authority}"));
        let named = context.net().allow(ALLOW_ALL).allow(&entry).transport(away(()));
        check_eq!(named.reach(context)?.get(from)?, b"", "the body after a redirect to {to}, which is named");
    }
    Ok(())
}
