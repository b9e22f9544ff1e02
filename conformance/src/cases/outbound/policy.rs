//! Which origins a policy allows.

use std::net::{IpAddr, Ipv6Addr};

use wharf_core::abi::experimental::ErrorCode;
use wharf_core::http::{ALLOW_ALL, HttpErrorKind};

use super::Script;
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::origin::{Certificate, Origin, Reply, TestCa};
use crate::probe::Req;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("outbound/policy/exact-origin", "policy: an entry is one origin", exact_origin),
    Case::must("outbound/policy/scheme-mismatch", "policy: an entry's scheme", scheme_mismatch),
    Case::must("outbound/policy/no-scheme-is-both", "policy: an entry without a scheme", no_scheme),
    Case::must("outbound/policy/port-mismatch", "policy: an entry's port", port_mismatch),
    Case::must("outbound/policy/no-port-is-default-port", "policy: an entry without a port", no_port),
    Case::must("outbound/policy/wildcard-names-what-is-below", "policy: wildcards", wildcard_below),
    Case::must("outbound/policy/wildcard-leaves-out-the-apex", "policy: wildcards", wildcard_apex),
    Case::must("outbound/policy/spellings-of-a-name", "policy: one spelling of each host", name_spellings),
    Case::must("outbound/policy/spellings-of-an-address", "policy: one spelling of each host", address_spellings),
    Case::must("outbound/policy/ipv6-literal", "policy: IPv6 addresses", ipv6_literal),
    Case::must("outbound/policy/allow-all", "policy: insecure:allow-all", allow_all),
    Case::must("outbound/policy/other-schemes", "policy: http and https only", other_schemes),
    Case::must("outbound/policy/userinfo-is-no-host", "policy: the host is what counts", userinfo_is_no_host),
    Case::must("outbound/policy/ambiguous-urls", "policy: what is checked is what is connected to", ambiguous),
    Case::must("outbound/policy/userinfo-is-refused", "RFC 9110, section 4.2.4", userinfo),
    Case::must("outbound/policy/denial-is-silent", "policy: asked before anything is sent", silent),
    Case::must("outbound/policy/no-tunnel", "Outbound::send: CONNECT", no_tunnel),
];

fn exact_origin(context: &Context) -> CaseResult {
    let (own, other) = (Origin::replying(Reply::ok("own"))?, Origin::replying(Reply::ok("other"))?);
    let mut reach = context.reach(&own)?;
    for path in ["/", "/a/b?c=d", "/#fragment", "/%2f%2f/"] {
        check_eq!(reach.get(&own.url(path))?, b"own", "the body of {path}");
    }
    let port = own.port();
    for host in ["localhost", "127.0.0.2", "[::1]", "127.0.0.1.example.test", "example.test"] {
        reach.denied(&format!("http://{host}:{port}/"))?;
    }
    reach.denied(&other.url("/"))?;
    reach.because(&Req::get(&other.url("/")), HttpErrorKind::Denied)?;
    check_eq!(other.accepted(), 0, "connections to the other origin");
    Ok(())
}

fn scheme_mismatch(context: &Context) -> CaseResult {
    let ca = TestCa::shared()?;
    let secure = Origin::https(ca, Certificate::Good, &["http/1.1"], |_| Reply::ok("secure"))?;
    let authority = secure.authority();
    let mut only_http = context.net().allow(&format!("http://{authority}")).trust(ca).reach(context)?;
    only_http.denied(&format!("https://{authority}/"))?;
    let mut only_https = context.net().allow(&format!("https://{authority}")).trust(ca).reach(context)?;
    only_https.denied(&format!("http://{authority}/"))?;
    check_eq!(secure.accepted(), 0, "connections to the origin");
    check_eq!(only_https.get(&format!("HTTPS://{authority}/"))?, b"secure", "the body over the allowed scheme");
    Ok(())
}

fn no_scheme(context: &Context) -> CaseResult {
    let ca = TestCa::shared()?;
    let plain = Origin::replying(Reply::ok("plain"))?;
    let secure = Origin::https(ca, Certificate::Good, &[], |_| Reply::ok("secure"))?;
    let net = context.net().allow(&plain.authority()).allow(&secure.authority()).trust(ca);
    let mut reach = net.name("localhost", &[secure.address().ip()]).reach(context)?;
    check_eq!(reach.get(&plain.url("/"))?, b"plain", "the body over http");
    check_eq!(reach.get(&secure.url("/"))?, b"secure", "the body over https");
    Ok(())
}

fn port_mismatch(context: &Context) -> CaseResult {
    let (own, other) = (Origin::replying(Reply::ok("own"))?, Origin::replying(Reply::ok("other"))?);
    let mut reach = context.net().allow(&own.authority()).reach(context)?;
    check_eq!(reach.get(&own.url("/"))?, b"own", "the body of the allowed port");
    reach.denied(&other.url("/"))?;
    reach.denied("http://127.0.0.1/")?;
    reach.denied("https://127.0.0.1/")?;
    check_eq!(other.accepted(), 0, "connections to the other port");
    Ok(())
}

fn no_port(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("x"))?;
    let mut reach = context.net().allow("127.0.0.1").allow("http://localhost").reach(context)?;
    reach.denied(&origin.url("/"))?;
    reach.denied(&format!("http://localhost:{}/", origin.port()))?;
    reach.denied("http://127.0.0.1:443/")?;
    reach.denied("https://127.0.0.1:80/")?;
    check_eq!(origin.accepted(), 0, "connections to a port that is not a default");
    Ok(())
}

/// A guest that may reach what is below example.test, where every one of these names leads to `origin`.
fn below(context: &Context, origin: &Origin, names: &[&str]) -> CaseResult<super::Reach> {
    let net = context.net().allow(&format!("http://*.example.test:{}", origin.port()));
    let net = net.policy(|policy| Ok(policy.allow_private_addresses(true)));
    names.iter().fold(net, |net, name| net.name(name, &[origin.address().ip()])).reach(context)
}

fn wildcard_below(context: &Context) -> CaseResult {
    let origin = Origin::http(|request| Reply::ok(request.authority.clone()))?;
    let port = origin.port();
    let names = ["a.example.test", "c.b.a.example.test", "xn--bcher-kva.example.test"];
    let mut reach = below(context, &origin, &names)?;
    for (host, seen) in ["a.example.test", "c.b.a.example.test", "bücher.example.test"].into_iter().zip(names) {
        let body = reach.get(&format!("http://{host}:{port}/"))?;
        check_eq!(body, format!("{seen}:{port}").into_bytes(), "the host that the origin saw for {host}");
    }
    Ok(())
}

fn wildcard_apex(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("x"))?;
    let port = origin.port();
    let names = ["example.test", "badexample.test", "a.example.test.evil.test", "test", "example.test."];
    let mut reach = below(context, &origin, &names)?;
    for name in names {
        reach.denied(&format!("http://{name}:{port}/"))?;
    }
    reach.denied(&origin.url("/"))?;
    check_eq!(origin.accepted(), 0, "connections to the origin");
    Ok(())
}

fn name_spellings(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("x"))?;
    let port = origin.port();
    let addresses = [origin.address().ip()];
    let mut reach = context
        .net()
        .allow(&format!("http://A.Example.TEST:{port}"))
        .allow(&format!("http://bücher.test.:{port}"))
        .policy(|policy| Ok(policy.allow_private_addresses(true)))
        .name("a.example.test", &addresses)
        .name("a.example.test.", &addresses)
        .name("xn--bcher-kva.test", &addresses)
        .reach(context)?;
    for host in
        ["a.example.test", "A.EXAMPLE.test", "a.example.test.", "a%2eexample.test", "bücher.test", "xn--bcher-kva.test"]
    {
        check_eq!(reach.get(&format!("http://{host}:{port}/"))?, b"x", "the body from {host}");
    }
    Ok(())
}

fn address_spellings(context: &Context) -> CaseResult {
    let origin = Origin::http(|request| Reply::ok(request.authority.clone()))?;
    let port = origin.port();
    let mut reach = context.reach(&origin)?;
    for host in ["127.0.0.1", "127.1", "0x7f.0.0.1", "0177.0.0.1", "2130706433", "127.0.0.1.", "%31%32%37.0.0.1"] {
        let body = reach.get(&format!("http://{host}:{port}/"))?;
        check_eq!(body, format!("127.0.0.1:{port}").into_bytes(), "the host that the origin saw for {host}");
    }
    // Another address in any spelling is another one.
    for host in ["127.2", "0x7f.2", "2130706434", "[::127.0.0.2]"] {
        reach.denied(&format!("http://{host}:{port}/"))?;
    }
    Ok(())
}

fn ipv6_literal(context: &Context) -> CaseResult {
    let origin = Origin::http_at(IpAddr::V6(Ipv6Addr::LOCALHOST), |request| Reply::ok(request.authority.clone()))?;
    let port = origin.port();
    check_eq!(origin.base(), format!("http://[::1]:{port}"), "the origin's own spelling");
    let mut reach = context.reach(&origin)?;
    for host in ["[::1]", "[0:0:0:0:0:0:0:1]", "[0::0:1]"] {
        let body = reach.get(&format!("http://{host}:{port}/"))?;
        check_eq!(body, format!("[::1]:{port}").into_bytes(), "the host that the origin saw for {host}");
    }
    let before = origin.accepted();
    for host in ["[::2]", "127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        reach.denied(&format!("http://{host}:{port}/"))?;
    }
    check_eq!(origin.accepted(), before, "connections to the origin");
    Ok(())
}

fn allow_all(context: &Context) -> CaseResult {
    let origins = [Origin::replying(Reply::ok("x"))?, Origin::replying(Reply::ok("x"))?];
    let mut reach = context.net().allow(ALLOW_ALL).reach(context)?;
    for origin in &origins {
        check_eq!(reach.get(&origin.url("/"))?, b"x", "the body");
        check_eq!(reach.get(&format!("http://localhost:{}/", origin.port()))?, b"x", "the body from localhost");
    }
    Ok(())
}

fn other_schemes(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("x"))?;
    let mut reach = context.net().allow(ALLOW_ALL).reach(context)?;
    let authority = origin.authority();
    for scheme in ["ftp", "ws", "wss", "httpx", "unix", "h2c"] {
        reach.fails(&Req::get(&format!("{scheme}://{authority}/")), ErrorCode::InvalidUrl)?;
    }
    for url in ["file:///etc/passwd", "data:text/plain,x", "about:blank", "javascript:1"] {
        reach.fails(&Req::get(url), ErrorCode::InvalidUrl)?;
    }
    check_eq!(origin.accepted(), 0, "connections to the origin");
    Ok(())
}

fn userinfo_is_no_host(context: &Context) -> CaseResult {
    let (own, other) = (Origin::replying(Reply::ok("own"))?, Origin::replying(Reply::ok("other"))?);
    let mut reach = context.reach(&own)?;
    for user in [own.authority(), "127.0.0.1".to_owned(), format!("http:%2f%2f{}", own.authority())] {
        reach.fails(&Req::get(&format!("http://{user}@{}/", other.authority())), ErrorCode::InvalidUrl)?;
    }
    check_eq!(other.accepted(), 0, "connections to the origin behind the @");
    Ok(())
}

/// URLs that two parsers may read differently: whoever is right, nothing may arrive where the policy did not look.
fn ambiguous(context: &Context) -> CaseResult {
    let (own, other) = (Origin::replying(Reply::ok("own"))?, Origin::replying(Reply::ok("other"))?);
    let (a, b) = (own.authority(), other.authority());
    let mut reach = context.reach(&own)?;
    for url in [
        format!("http://{a}\\@{b}/"),
        format!("http://{b}\\@{a}/"),
        format!("http://{a}#@{b}/"),
        format!("http://{b}#@{a}/"),
        format!("http://{a}?@{b}/"),
        format!("http://{b}?@{a}/"),
        format!("http://{a}/@{b}/"),
        format!("http://{a}\n@{b}/"),
        format!("http://{a}\t@{b}/"),
        format!("http:{b}"),
        format!("http:/{b}"),
        format!("http:\\\\{b}\\"),
        format!("http:///{b}/"),
        format!(" http://{b}/ "),
        format!("http://{a}@{a}@{b}/"),
        format!("http://{a};{b}/"),
        format!("http://{a},{b}/"),
        format!("http://{a} {b}/"),
        format!("http://{b}%00{a}/"),
    ] {
        let code = reach.probe.req(&Req::get(&url))?;
        let right = [ErrorCode::Success, ErrorCode::DestinationNotAllowed, ErrorCode::InvalidUrl];
        check!(right.map(|code| code as u32).contains(&code), "`req` for {url:?} answered {code}");
        check_eq!(other.accepted(), 0, "connections to the denied origin after {url:?}");
    }
    Ok(())
}

fn userinfo(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("x"))?;
    let mut reach = context.reach(&origin)?;
    for user in ["us%65r:p%40ss", "user", ":word", "a@b"] {
        let url = format!("http://{user}@{}/path", origin.authority());
        reach.fails(&Req::get(&url), ErrorCode::InvalidUrl)?;
        reach.fails(&Req::get(&format!("{url} ü")), ErrorCode::InvalidUrl)?;
    }
    check_eq!(origin.accepted(), 0, "connections to the origin");
    Ok(())
}

fn silent(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("x"))?;
    let resolver = Script::new(&[&[origin.address().ip()]]);
    let mut reach = context.net().allow("http://allowed.test").resolver(resolver.clone()).reach(context)?;
    for _ in 0..100 {
        reach.denied(&format!("http://secret-data.evil.test:{}/", origin.port()))?;
    }
    check_eq!(resolver.asked(), Vec::<String>::new(), "names looked up for denied requests");
    check_eq!(origin.accepted(), 0, "connections to the origin");
    Ok(())
}

fn no_tunnel(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("x"))?;
    let mut reach = context.reach(&origin)?;
    let url = origin.url("/");
    reach.fails(&Req::get(&url).method("CONNECT"), ErrorCode::InvalidMethod)?;
    reach.because(&Req::get(&url).method("CONNECT"), HttpErrorKind::InvalidMethod)?;
    check_eq!(origin.accepted(), 0, "connections to the origin");
    Ok(())
}
