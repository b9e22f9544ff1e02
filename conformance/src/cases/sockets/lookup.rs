//! Looking names up.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use wharf_core::Run;
use wharf_core::grants::Network;
use wharf_core::http::{HttpError, HttpErrorKind, Outgoing, Policy, Resolver};

use super::peer;
use super::probe::{Form, INET4, STREAM, SockProbe};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::preview1::probe::{Errno, at, range};
use crate::context::Context;
use crate::origin::{Origin, Reply};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("sockets/lookup/ipv4", "WasmEdge V1: sock_getaddrinfo", ipv4),
    Case::must("sockets/lookup/ipv6", "WasmEdge V1: sock_getaddrinfo, IPv6", ipv6),
    Case::must("sockets/lookup/numbers", "WasmEdge V1: sock_getaddrinfo, numeric host", numbers),
    Case::must("sockets/lookup/kinds", "WasmEdge V1: sock_getaddrinfo, hints", kinds),
    Case::must("sockets/lookup/no-node", "WasmEdge V1: sock_getaddrinfo, passive", no_node),
    Case::must("sockets/lookup/errors", "WasmEdge V1: sock_getaddrinfo, errors", errors),
    Case::must("sockets/lookup/lists", "WasmEdge V1: sock_getaddrinfo, lists", lists),
    Case::must("sockets/lookup/then-connect", "policy: connecting to what a name led to", then_connect),
    Case::must("sockets/lookup/as-for-requests", "Network::sharing: one policy, one resolver", as_for_requests),
    Case::must("sockets/lookup/not-allowed", "policy: look-up", not_allowed),
    Case::must("sockets/lookup/leads-inside", "policy: addresses of names", leads_inside),
    Case::must("sockets/lookup/another-guests", "policy: look-ups are each guest's own", another_guests),
];

/// Names that the case made up.
struct Names(HashMap<&'static str, Vec<IpAddr>>);

#[async_trait::async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, HttpError> {
        let found = self.0.get(name).cloned();
        found.ok_or_else(|| HttpError::new(HttpErrorKind::DnsNotFound, format!("the case has no name {name}")))
    }
}

const PUBLIC: [u8; 4] = [93, 184, 216, 34];
const PUBLIC_6: Ipv6Addr = Ipv6Addr::new(0x2606, 0x2800, 0x21f, 0, 0, 0, 0, 1);

fn network(entries: &[&str], private: bool) -> CaseResult<Network> {
    let mut policy = Policy::builder().allow_private_addresses(private);
    for entry in entries {
        policy = policy.allow(entry).map_err(Unmet::harness)?;
    }
    let names = Names(HashMap::from([
        ("both.example", vec![PUBLIC.into(), PUBLIC_6.into()]),
        ("inside.example", vec![[127, 0, 0, 1].into()]),
        ("mixed.example", vec![[10, 0, 0, 1].into(), PUBLIC.into()]),
    ]));
    Ok(Network::new().connect(Arc::new(policy.build())).resolver(Arc::new(names)))
}

/// Where the records of results begin, each 28 bytes of a result, 12 of an address, 40 of data.
const RESULTS: u32 = at::DATA;
const RESULT: u32 = 28;
const ADDRESS: u32 = RESULTS + 0x1000;
const SOCKADDR: u32 = 12;
const DATA: u32 = RESULTS + 0x2000;
const DATA_LEN: u32 = 40;
const HINTS: u32 = at::LIST;

/// Lays out room for results, and calls.
fn call(
    probe: &mut SockProbe,
    node: &str,
    service: &str,
    hints: [u8; 5],
    results: u32,
    data_len: u32,
) -> CaseResult<(Errno, u32)> {
    for index in 0..results {
        let next = if index + 1 == results { 0 } else { RESULTS + (index + 1) * RESULT };
        let mut record = vec![0xee; RESULT as usize];
        record[12..16].copy_from_slice(&(ADDRESS + index * SOCKADDR).to_le_bytes());
        record[24..].copy_from_slice(&next.to_le_bytes());
        probe.wasi.probe.put(RESULTS + index * RESULT, &record)?;
        let mut address = vec![0xee; SOCKADDR as usize];
        address[4..8].copy_from_slice(&data_len.to_le_bytes());
        address[8..].copy_from_slice(&(DATA + index * DATA_LEN).to_le_bytes());
        probe.wasi.probe.put(ADDRESS + index * SOCKADDR, &address)?;
    }
    let mut record = vec![0; RESULT as usize];
    record[..5].copy_from_slice(&hints);
    probe.wasi.probe.put(HINTS, &record)?;
    probe.wasi.probe.put(at::OUT_2, &RESULTS.to_le_bytes())?;
    let [node, node_len] = probe.wasi.path(node)?;
    let [service, service_len] = probe.wasi.path_2(service)?;
    let out = [HINTS.into(), at::OUT_2.into(), results.into(), at::OUT.into()];
    let args = [[node, node_len, service, service_len], out].concat();
    let allowed = [range(RESULTS, 0x3000), range(at::OUT, 4)];
    let errno = probe.wasi.call("v1/sock_getaddrinfo", &args, &allowed)?;
    let count = if errno == Errno::SUCCESS { probe.wasi.probe.u32_at(at::OUT)? } else { 0 };
    Ok((errno, count))
}

const ANY: [u8; 5] = [0; 5];
const TCP: [u8; 5] = [0, 0, 0, 2, 1];
const TCP_4: [u8; 5] = [0, 0, 1, 2, 1];
const TCP_6: [u8; 5] = [0, 0, 2, 2, 1];

fn data_v4(ip: [u8; 4], port: u16) -> Vec<u8> {
    [&port.to_be_bytes()[..], &ip, &[0; 8]].concat()
}

fn ipv4(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, network(&["both.example"], false)?)?;
    // The older crates end both with a zero.
    for (node, service) in [("both.example", "8080"), ("both.example\0", "8080\0")] {
        check_eq!(call(&mut probe, node, service, TCP_4, 3, 14)?, (Errno::SUCCESS, 1), "looking up {node:?}");
        let result = probe.wasi.probe.bytes(RESULTS, RESULT)?;
        check_eq!(&result[..5], &[0, 0, 1, 2, 1], "flags, family, type, protocol");
        check_eq!(&result[8..12], &16u32.to_le_bytes(), "the length of the address");
        check_eq!(&result[12..16], &ADDRESS.to_le_bytes(), "where the address is");
        check_eq!(&result[20..24], &[0; 4], "the length of the name");
        check_eq!(&result[24..], &(RESULTS + RESULT).to_le_bytes(), "the next result");
        let address = probe.wasi.probe.bytes(ADDRESS, SOCKADDR)?;
        check_eq!((address[0], &address[4..8]), (1, &14u32.to_le_bytes()[..]), "the family and the length of the data");
        check_eq!(probe.wasi.probe.bytes(DATA, 14)?, data_v4(PUBLIC, 8080), "the data");
    }
    Ok(())
}

fn ipv6(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, network(&["both.example"], false)?)?;
    check_eq!(call(&mut probe, "both.example", "https", TCP_6, 3, 26)?, (Errno::SUCCESS, 1), "looking up");
    check_eq!(probe.wasi.probe.u32_at(RESULTS + 8)?, 28, "the length of the address");
    let data = [&443u16.to_be_bytes()[..], &[0; 4], &PUBLIC_6.octets(), &[0; 4]].concat();
    check_eq!(probe.wasi.probe.bytes(DATA, 26)?, data, "the data");
    check_eq!(call(&mut probe, "both.example", "", TCP, 3, 26)?, (Errno::SUCCESS, 2), "looking up both kinds");
    // Nothing is written beyond the room there is, so the longer address is left out.
    check_eq!(call(&mut probe, "both.example", "", TCP, 3, 14)?, (Errno::SUCCESS, 1), "with room for the shorter");
    check_eq!(call(&mut probe, "both.example", "", TCP_6, 3, 14)?, (Errno::AINONAME, 0), "without any room for it");
    Ok(())
}

fn numbers(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, Network::new())?;
    check_eq!(call(&mut probe, "10.1.2.3", "80", TCP, 1, 14)?, (Errno::SUCCESS, 1), "an address");
    check_eq!(probe.wasi.probe.bytes(DATA, 14)?, data_v4([10, 1, 2, 3], 80), "the data");
    check_eq!(
        call(&mut probe, "10.1.2.3", "80", TCP_6, 1, 26)?,
        (Errno::AINONAME, 0),
        "an address of the other family"
    );
    let numeric = [4, 0, 0, 2, 1];
    check_eq!(
        call(&mut probe, "a.example", "80", numeric, 1, 14)?,
        (Errno::AINONAME, 0),
        "a name, if numbers are meant"
    );
    Ok(())
}

fn kinds(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, Network::new())?;
    check_eq!(call(&mut probe, "10.1.2.3", "80", ANY, 4, 14)?, (Errno::SUCCESS, 2), "any kind");
    check_eq!(probe.wasi.probe.bytes(RESULTS + 2, 3)?, [1, 2, 1], "the first: a stream");
    check_eq!(probe.wasi.probe.bytes(RESULTS + RESULT + 2, 3)?, [1, 1, 2], "the second: datagrams");
    check_eq!(call(&mut probe, "10.1.2.3", "80", [0, 0, 0, 1, 0], 4, 14)?, (Errno::SUCCESS, 1), "datagrams");
    check_eq!(call(&mut probe, "10.1.2.3", "80", [0, 0, 0, 1, 1], 4, 14)?.0, Errno::AISOCKTYPE, "datagrams over TCP");
    check_eq!(call(&mut probe, "10.1.2.3", "80", ANY, 1, 14)?, (Errno::SUCCESS, 1), "any kind, with room for one");
    Ok(())
}

fn no_node(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, Network::new())?;
    check_eq!(call(&mut probe, "", "80", TCP_4, 1, 14)?, (Errno::SUCCESS, 1), "no node");
    check_eq!(probe.wasi.probe.bytes(DATA, 14)?, data_v4([127, 0, 0, 1], 80), "the data");
    check_eq!(call(&mut probe, "", "80", [1, 0, 1, 2, 1], 1, 14)?, (Errno::SUCCESS, 1), "no node, passive");
    check_eq!(probe.wasi.probe.bytes(DATA, 14)?, data_v4([0, 0, 0, 0], 80), "the data");
    Ok(())
}

fn errors(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, network(&["both.example", "absent.example"], false)?)?;
    for (node, service, hints, results, errno) in [
        ("", "", TCP, 1, Errno::AINONAME),
        ("absent.example", "80", TCP, 1, Errno::AINONAME),
        ("both.example", "no-such-service", TCP, 1, Errno::AISERVICE),
        ("both.example", "70000", TCP, 1, Errno::AISERVICE),
        ("both.example", "http", [8, 0, 0, 2, 1], 1, Errno::AINONAME),
        ("both.example", "80", TCP, 0, Errno::AIMEMORY),
        ("both.example", "80", [0x80, 0, 0, 2, 1], 1, Errno::AIBADFLAG),
        ("both.example", "80", [0, 0, 3, 2, 1], 1, Errno::AIFAMILY),
        ("both.example", "80", [0, 0, 0, 3, 1], 1, Errno::AISOCKTYPE),
        ("both.example", "80", [0, 0, 0, 2, 3], 1, Errno::AISOCKTYPE),
        ("a b.example", "80", TCP, 1, Errno::AINONAME),
        ("line\nbreak.example", "80", TCP, 1, Errno::AINONAME),
        (&"a".repeat(300), "80", TCP, 1, Errno::AINONAME),
    ] {
        check_eq!(call(&mut probe, node, service, hints, results, 14)?.0, errno, "looking up {node:?} {service:?}");
    }
    Ok(())
}

fn lists(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, Network::new())?;
    check_eq!(call(&mut probe, "10.1.2.3", "80", TCP, 1, 14)?.0, Errno::SUCCESS, "a good list");
    let [node, node_len] = probe.wasi.path("10.1.2.3")?;
    let [service, service_len] = probe.wasi.path_2("80")?;
    let args =
        |results: u64, max: u64| [node, node_len, service, service_len, HINTS.into(), results, max, at::OUT.into()];
    let function = "v1/sock_getaddrinfo";
    for wild in [at::END - 1, at::END, 0x7fff_ffff, 0xffff_fff0, 0xffff_ffff] {
        probe.wasi.fails(function, &args(wild.into(), 1), Errno::FAULT)?;
        // The list's head, a result's address, an address's data.
        for place in [at::OUT_2, RESULTS + 12, ADDRESS + 8] {
            let before = probe.wasi.probe.bytes(place, 4)?;
            probe.wasi.probe.put(place, &wild.to_le_bytes())?;
            probe.wasi.fails(function, &args(at::OUT_2.into(), 1), Errno::FAULT)?;
            probe.wasi.probe.put(place, &before)?;
        }
    }
    // A list that leads back to itself, and a guest that claims to have room for four billion results.
    probe.wasi.probe.put(RESULTS + 24, &RESULTS.to_le_bytes())?;
    let allowed = [range(RESULTS, 0x3000), range(at::OUT, 4)];
    probe.wasi.ok(function, &args(at::OUT_2.into(), 0xffff_ffff), &allowed)?;
    check!(probe.wasi.probe.u32_at(at::OUT)? >= 1, "no result");
    Ok(())
}

fn then_connect(context: &Context) -> CaseResult {
    let (listener, address) = peer::listen()?;
    let entry = format!("inside.example:{}", address.port());
    let mut probe = SockProbe::start(context, network(&[&entry], true)?)?;
    let fd = probe.open(INET4, STREAM)?;
    check_eq!(probe.to("v1/sock_connect", fd, address, Form::Bare)?, Errno::ACCES, "connecting without a look-up");
    check_eq!(call(&mut probe, "inside.example", "http", TCP_4, 1, 14)?, (Errno::SUCCESS, 1), "looking up");
    let other = peer::nobody()?;
    check_eq!(probe.to("v1/sock_connect", fd, other, Form::Bare)?, Errno::ACCES, "connecting to another port");
    check_eq!(probe.to("v1/sock_connect", fd, address, Form::Bare)?, Errno::SUCCESS, "connecting after the look-up");
    peer::accept(&listener).map(drop)
}

/// What a guest may send requests to it may connect to, and nothing else, by one policy and one resolver.
fn as_for_requests(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("x"))?;
    let port = origin.port();
    let allowed = format!("http://shared.test:{port}");
    let net = context.net().allow(&allowed).policy(|policy| Ok(policy.allow_private_addresses(true)));
    let here = [origin.address().ip()];
    let outbound = net.name("shared.test", &here).name("other.test", &here).outbound()?;
    let asks = |name: &str| {
        let uri = format!("http://{name}:{port}/").parse().map_err(Unmet::harness)?;
        let mut request = http::Request::new(Outgoing::empty());
        *request.uri_mut() = uri;
        Ok::<_, Unmet>(Run::default().wait(outbound.send(request))?.map(|_| ()).map_err(|error| error.kind()))
    };
    let mut probe = SockProbe::start(context, Network::sharing(&outbound))?;
    check_eq!(asks("other.test")?, Err(HttpErrorKind::Denied), "a request to a name that is not allowed");
    check_eq!(call(&mut probe, "other.test", "80", TCP_4, 1, 14)?.0, Errno::ACCES, "looking it up");
    check_eq!(asks("shared.test")?, Ok(()), "a request to a name that is allowed");
    check_eq!(call(&mut probe, "shared.test", "80", TCP_4, 1, 14)?, (Errno::SUCCESS, 1), "looking it up");
    let fd = probe.open(INET4, STREAM)?;
    check_eq!(probe.to("v1/sock_connect", fd, origin.address(), Form::Bare)?, Errno::SUCCESS, "connecting to it");
    let fd = probe.open(INET4, STREAM)?;
    check_eq!(probe.to("v1/sock_connect", fd, peer::nobody()?, Form::Bare)?, Errno::ACCES, "connecting elsewhere");
    Ok(())
}

fn not_allowed(context: &Context) -> CaseResult {
    for entries in [&[][..], &["other.example"], &["*.both.example"]] {
        let mut probe = SockProbe::start(context, network(entries, false)?)?;
        check_eq!(call(&mut probe, "both.example", "80", TCP, 1, 14)?.0, Errno::ACCES, "with {entries:?} allowed");
    }
    Ok(())
}

fn leads_inside(context: &Context) -> CaseResult {
    let mut probe = SockProbe::start(context, network(&["inside.example", "mixed.example"], false)?)?;
    check_eq!(call(&mut probe, "inside.example", "80", TCP, 2, 14)?.0, Errno::ACCES, "a name that leads inside");
    check_eq!(call(&mut probe, "mixed.example", "80", TCP, 2, 14)?, (Errno::SUCCESS, 1), "one that leads both ways");
    check_eq!(probe.wasi.probe.bytes(DATA, 14)?, data_v4(PUBLIC, 80), "where it leads");
    Ok(())
}

fn another_guests(context: &Context) -> CaseResult {
    let (_listener, address) = peer::listen()?;
    let network = network(&[&format!("inside.example:{}", address.port())], true)?;
    let mut one = SockProbe::start(context, network.clone())?;
    let mut other = SockProbe::start(context, network)?;
    check_eq!(call(&mut one, "inside.example", "http", TCP_4, 1, 14)?.0, Errno::SUCCESS, "looking up");
    let fd = other.open(INET4, STREAM)?;
    check_eq!(other.to("v1/sock_connect", fd, address, Form::Bare)?, Errno::ACCES, "the other guest's connecting");
    Ok(())
}
