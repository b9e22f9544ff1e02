//! Which addresses an allowed origin may lead to.

use wharf_core::http::{ALLOW_ALL, HttpErrorKind};

use super::{Script, ip};
use crate::case::{Case, CaseResult};
use crate::check_eq;
use crate::context::Context;
use crate::origin::{Origin, Reply};
use crate::probe::Req;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("outbound/policy/address-of-a-name-must-be-public", "policy: names lead outside", name_inside),
    Case::must("outbound/policy/address-under-allow-all", "policy: names lead outside", name_under_allow_all),
    Case::must("outbound/policy/address-under-a-wildcard", "policy: names lead outside", name_under_wildcard),
    Case::must("outbound/policy/address-of-metadata-service", "policy: insecure:allow-all", metadata),
    Case::must("outbound/policy/address-named-itself", "policy: an entry that is an address", named),
    Case::must("outbound/policy/address-of-localhost", "policy: the entry localhost", localhost),
    Case::must("outbound/policy/address-private-when-allowed", "policy: allow_private_addresses", private_allowed),
    Case::must("outbound/policy/address-good-among-bad", "policy: every address is checked", good_among_bad),
    Case::must("outbound/policy/address-looked-up-once", "Resolver: once for each connection", looked_up_once),
    Case::must("outbound/policy/address-checked-anew", "Resolver: once for each connection", checked_anew),
];

/// An address of every class that is not public, and of every kind of IPv6 address that hides an IPv4 one.
const INSIDE: [&str; 24] = [
    "127.0.0.1",
    "127.255.255.254",
    "::1",
    "10.0.0.5",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "fc00::1",
    "fd12:3456::1",
    "100.64.0.1",
    "169.254.0.1",
    "fe80::1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "255.255.255.255",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.5",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
];

fn name_inside(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("inside"))?;
    let port = origin.port();
    let mut net = context.net();
    for (index, address) in INSIDE.into_iter().enumerate() {
        let name = format!("rebind-{index}.test");
        net = net.allow(&format!("http://{name}:{port}")).name(&name, &[ip(address)?]);
    }
    let mut reach = net.reach(context)?;
    for (index, address) in INSIDE.into_iter().enumerate() {
        let url = format!("http://rebind-{index}.test:{port}/");
        let what = format!("an allowed name that resolves to {address}");
        reach.denied(&url).map_err(|unmet| unmet.context(&what))?;
        reach.because(&Req::get(&url), HttpErrorKind::AddressProhibited).map_err(|unmet| unmet.context(&what))?;
    }
    check_eq!(origin.accepted(), 0, "connections to the origin");
    Ok(())
}

fn name_under_allow_all(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("inside"))?;
    let resolver = Script::new(&[&[origin.address().ip()]]);
    let mut reach = context.net().allow(ALLOW_ALL).resolver(resolver).reach(context)?;
    reach.denied(&format!("http://rebind.test:{}/", origin.port()))?;
    reach.denied(&format!("http://notlocalhost:{}/", origin.port()))?;
    reach.denied(&format!("http://localhost.rebind.test:{}/", origin.port()))?;
    check_eq!(origin.accepted(), 0, "connections to the origin");
    check_eq!(reach.get(&origin.url("/"))?, b"inside", "the body from an address that the URL names");
    check_eq!(reach.get(&format!("http://localhost:{}/", origin.port()))?, b"inside", "the body from localhost");
    Ok(())
}

fn name_under_wildcard(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("inside"))?;
    let port = origin.port();
    let net = context.net().allow(&format!("*.rebind.test:{port}"));
    let mut reach = net.resolver(Script::new(&[&[origin.address().ip()]])).reach(context)?;
    reach.denied(&format!("http://a.rebind.test:{port}/"))?;
    reach.because(&Req::get(&format!("http://a.rebind.test:{port}/")), HttpErrorKind::AddressProhibited)?;
    check_eq!(origin.accepted(), 0, "connections to the origin");
    Ok(())
}

fn metadata(context: &Context) -> CaseResult {
    let mut reach = context.net().allow(ALLOW_ALL).reach(context)?;
    for host in [
        "169.254.169.254",
        "169.254.169.254.",
        "0xa9fea9fe",
        "2852039166",
        "0251.0376.0251.0376",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::169.254.169.254]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "168.63.129.16",
        "169.254.170.2",
        "169.254.1.1",
        "[fe80::1]",
    ] {
        reach.denied(&format!("http://{host}/latest/meta-data/"))?;
    }
    reach.because(&Req::get("http://169.254.169.254/"), HttpErrorKind::AddressProhibited)
}

fn named(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("named"))?;
    let rebind = format!("http://rebind.test:{}", origin.port());
    let net = context.net().allow(&origin.base()).allow(&rebind);
    let mut reach = net.name("rebind.test", &[origin.address().ip()]).reach(context)?;
    check_eq!(reach.get(&origin.url("/"))?, b"named", "the body from the address that the operator names");
    // That the address is allowed does not mean that a name may lead to it.
    reach.denied(&format!("{rebind}/"))?;
    check_eq!(origin.requests().len(), 1, "requests received");
    Ok(())
}

fn localhost(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("local"))?;
    let port = origin.port();
    let local = origin.address().ip();
    let mut reach = context
        .net()
        .allow(&format!("http://localhost:{port}"))
        .allow(&format!("http://*.localhost:{port}"))
        .name("localhost", &[local])
        .name("app.localhost", &[local])
        .name("lying.localhost", &[ip("10.0.0.5")?])
        .reach(context)?;
    check_eq!(reach.get(&format!("http://localhost:{port}/"))?, b"local", "the body from localhost");
    check_eq!(reach.get(&format!("http://app.localhost:{port}/"))?, b"local", "the body from app.localhost");
    reach.denied(&format!("http://lying.localhost:{port}/"))?;
    // The entry names the name, not the address.
    reach.denied(&format!("http://127.0.0.1:{port}/"))
}

fn private_allowed(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("inside"))?;
    let url = format!("http://db.internal.test:{}", origin.port());
    let net = context.net().allow(&url).name("db.internal.test", &[origin.address().ip()]);
    let mut reach = net.policy(|policy| Ok(policy.allow_private_addresses(true))).reach(context)?;
    check_eq!(reach.get(&format!("{url}/"))?, b"inside", "the body");
    Ok(())
}

fn good_among_bad(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("good"))?;
    let url = format!("http://localhost:{}", origin.port());
    let addresses = [ip("10.255.255.1")?, ip("169.254.169.254")?, origin.address().ip(), ip("192.168.255.1")?];
    let mut reach = context.net().allow(&url).name("localhost", &addresses).reach(context)?;
    check_eq!(reach.get(&format!("{url}/"))?, b"good", "the body from the only address that is allowed");
    Ok(())
}

/// A second look-up might have another answer than the one that was checked.
fn looked_up_once(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("pinned"))?;
    let url = format!("http://localhost:{}", origin.port());
    let resolver = Script::new(&[&[origin.address().ip()], &[ip("10.0.0.5")?]]);
    let mut reach = context.net().allow(&url).resolver(resolver.clone()).reach(context)?;
    check_eq!(reach.get(&format!("{url}/"))?, b"pinned", "the body");
    check_eq!(resolver.asked(), ["localhost"], "the names looked up for one connection");
    Ok(())
}

fn checked_anew(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("first").header("connection", "close"))?;
    let url = format!("http://localhost:{}", origin.port());
    let resolver = Script::new(&[&[origin.address().ip()], &[ip("10.0.0.5")?]]);
    let mut reach = context.net().allow(&url).resolver(resolver.clone()).reach(context)?;
    check_eq!(reach.get(&format!("{url}/"))?, b"first", "the body over the first connection");
    reach.denied(&format!("{url}/"))?;
    check_eq!(resolver.asked().len(), 2, "look-ups for two connections");
    Ok(())
}
