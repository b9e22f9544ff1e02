//! Looking names up: `sock_getaddrinfo`, whose results are a list that the guest has laid out beforehand.
//!
//! A result is a record of 28 bytes: `flags: u16`, `family: u8`, `type: u8`, `protocol: u8`, then from offset 8
//! `address length: u32`, `address: ptr`, `name: ptr`, `name length: u32`, `next: ptr`. Its address is a record of 12:
//! `family: u8`, from offset 4 `data length: u32`, `data: ptr`. The data is that of a `sockaddr` without its family:
//! port and address in network byte order, 14 bytes for IPv4 and 26 for IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use crate::abi::preview1::Wasi;
use crate::abi::preview1::errno::{Errno, Outcome};
use crate::abi::preview1::sock::address::{INET4, INET6};
use crate::abi::preview1::sock::wasmedge::{DATAGRAM, STREAM};
use crate::http::HttpErrorKind;
use crate::memory::Memory;

const RESULT: u32 = 28;
const ADDRESS: u32 = 12;

/// The most results of one call.
const MAX_RESULTS: u32 = 64;

/// The longest name or service, with a terminator.
const MAX_NAME: u32 = 256;

const PASSIVE: u16 = 1;
const NUMERIC_HOST: u16 = 4;
const NUMERIC_SERVICE: u16 = 8;
const FLAGS: u16 = 0x7f;

/// Protocols.
const TCP: u32 = 1;
const UDP: u32 = 2;

/// Services that guests know by name.
const SERVICES: [(&str, u16); 6] =
    [("http", 80), ("https", 443), ("domain", 53), ("ssh", 22), ("smtp", 25), ("ntp", 123)];

/// What a guest asks for.
struct Hints {
    flags: u16,
    family: u16,
    ty: u32,
    protocol: u32,
}

/// Where one result goes, which lies in memory.
struct Slot {
    result: u32,
    address: u32,
    data: u32,
    data_len: u32,
}

#[expect(clippy::too_many_arguments, reason = "the ABI's parameters")]
pub(in crate::abi::preview1) fn getaddrinfo(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    node: u32,
    node_len: u32,
    service: u32,
    service_len: u32,
    hints: u32,
    results: u32,
    max_results: u32,
    count: u32,
) -> Outcome {
    let node = text(memory, node, node_len)?;
    let service = text(memory, service, service_len)?;
    let hints = Hints::read(memory, hints)?;
    memory.slice(results, 4)?;
    memory.slice(count, 4)?;
    if node.is_empty() && service.is_empty() {
        return Err(Errno::Ainoname.into());
    }
    if max_results == 0 {
        return Err(Errno::Aimemory.into());
    }
    let slots = slots(memory, memory.read_u32(results)?, max_results)?;
    hints.check()?;
    let port = port(&service, &hints)?;
    let found = addresses(wasi, &node, &hints)?;

    let kinds = hints.kinds();
    let mut slots = slots.iter();
    let mut written = 0u32;
    for (ip, (ty, protocol)) in found.iter().flat_map(|ip| kinds.iter().map(move |kind| (*ip, *kind))) {
        // A guest that left no room for so long an address does not want it.
        let data = data(ip, port);
        let Some(slot) = slots.as_slice().first() else { break };
        if (slot.data_len as usize) < data.len() {
            continue;
        }
        slot.write(memory, &hints, ip, ty, protocol, &data)?;
        slots.next();
        written += 1;
    }
    if written == 0 {
        return Err(Errno::Ainoname.into());
    }
    memory.write(count, &written.to_le_bytes())?;
    Ok(())
}

/// A name, which may end with a terminator.
fn text(memory: &Memory<'_>, ptr: u32, len: u32) -> Outcome<String> {
    let bytes = memory.slice(ptr, len)?;
    if len > MAX_NAME {
        return Err(Errno::Ainoname.into());
    }
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    // No name has anything but visible ASCII, and what is asked for ends up in the operator's log.
    if !bytes.iter().all(u8::is_ascii_graphic) {
        return Err(Errno::Ainoname.into());
    }
    Ok(bytes.iter().map(|byte| char::from(*byte)).collect())
}

impl Hints {
    fn read(memory: &Memory<'_>, ptr: u32) -> Outcome<Self> {
        let bytes = memory.slice(ptr, RESULT)?;
        Ok(Hints {
            flags: u16::from_le_bytes([bytes[0], bytes[1]]),
            family: bytes[2].into(),
            ty: bytes[3].into(),
            protocol: bytes[4].into(),
        })
    }

    fn check(&self) -> Outcome {
        if self.flags & !FLAGS != 0 {
            return Err(Errno::Aibadflag.into());
        }
        if self.family > INET6 {
            return Err(Errno::Aifamily.into());
        }
        if self.ty > STREAM || self.protocol > UDP || self.kinds().is_empty() {
            return Err(Errno::Aisocktype.into());
        }
        Ok(())
    }

    /// The kinds of sockets, with their protocols, that are asked for.
    fn kinds(&self) -> Vec<(u32, u32)> {
        let wanted =
            |ty, protocol| (self.ty == 0 || self.ty == ty) && (self.protocol == 0 || self.protocol == protocol);
        [(STREAM, TCP), (DATAGRAM, UDP)].into_iter().filter(|(ty, protocol)| wanted(*ty, *protocol)).collect()
    }

    fn wants(&self, ip: &IpAddr) -> bool {
        match self.family {
            INET4 => ip.is_ipv4(),
            INET6 => ip.is_ipv6(),
            _ => true,
        }
    }
}

/// Follows the list that the guest laid out, for as many as are of use.
fn slots(memory: &Memory<'_>, first: u32, max_results: u32) -> Outcome<Vec<Slot>> {
    let mut slots = Vec::new();
    let mut result = first;
    for _ in 0..max_results.min(MAX_RESULTS) {
        memory.slice(result, RESULT)?;
        let address = memory.read_u32(result.wrapping_add(12))?;
        memory.slice(address, ADDRESS)?;
        let data_len = memory.read_u32(address.wrapping_add(4))?;
        let data = memory.read_u32(address.wrapping_add(8))?;
        memory.slice(data, data_len)?;
        slots.push(Slot { result, address, data, data_len });
        result = memory.read_u32(result.wrapping_add(24))?;
        if result == 0 {
            break;
        }
    }
    Ok(slots)
}

fn port(service: &str, hints: &Hints) -> Outcome<u16> {
    if service.is_empty() {
        return Ok(0);
    }
    if let Ok(port) = service.parse() {
        return Ok(port);
    }
    if hints.flags & NUMERIC_SERVICE != 0 {
        return Err(Errno::Ainoname.into());
    }
    let known = SERVICES.iter().find(|(name, _)| *name == service);
    known.map(|(_, port)| *port).ok_or_else(|| Errno::Aiservice.into())
}

/// The addresses of `node` that the guest asks for and may know.
fn addresses(wasi: &Wasi, node: &str, hints: &Hints) -> Outcome<Vec<IpAddr>> {
    let mut found = if node.is_empty() {
        match hints.flags & PASSIVE {
            0 => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            _ => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        }
    } else if let Ok(ip) = node.parse() {
        vec![ip]
    } else if hints.flags & NUMERIC_HOST != 0 {
        return Err(Errno::Ainoname.into());
    } else {
        look_up(wasi, node)?
    };
    found.retain(|ip| hints.wants(ip));
    Ok(found)
}

fn look_up(wasi: &Wasi, name: &str) -> Outcome<Vec<IpAddr>> {
    wasi.sockets.check_lookup(name)?;
    let network = wasi.sockets.granted();
    let (resolver, wanted) = (network.resolver.clone(), name.to_owned());
    let mut task = crate::io().spawn(async move { resolver.resolve(&wanted).await });
    let end = Instant::now().checked_add(network.connect_timeout);
    let Some(found) = wasi.run.wait_until(&mut task, end)? else {
        task.abort();
        return Err(Errno::Aiagain.into());
    };
    // A join error means that the embedder's resolver panicked.
    match found.map_err(|_| Errno::Aifail)? {
        Ok(found) => wasi.sockets.keep_allowed(name, found),
        Err(error) if error.kind() == HttpErrorKind::DnsNotFound => Err(Errno::Ainoname.into()),
        Err(error) if error.kind() == HttpErrorKind::DnsTimeout => Err(Errno::Aiagain.into()),
        Err(error) => {
            tracing::debug!("looking up {name:?} failed: {}", crate::error::chain(&error));
            Err(Errno::Aifail.into())
        }
    }
}

/// A `sockaddr` without its family.
fn data(ip: IpAddr, port: u16) -> Vec<u8> {
    let port = port.to_be_bytes();
    match ip {
        IpAddr::V4(ip) => [&port[..], &ip.octets(), &[0; 8]].concat(),
        IpAddr::V6(ip) => [&port[..], &[0; 4], &ip.octets(), &[0; 4]].concat(),
    }
}

impl Slot {
    fn write(
        &self,
        memory: &mut Memory<'_>,
        hints: &Hints,
        ip: IpAddr,
        ty: u32,
        protocol: u32,
        data: &[u8],
    ) -> Outcome {
        let (family, len) = if ip.is_ipv4() { (INET4, 16u32) } else { (INET6, 28) };
        let [flags_low, flags_high] = hints.flags.to_le_bytes();
        // Each of these numbers is below 256.
        memory.write(self.result, &[flags_low, flags_high, family as u8, ty as u8, protocol as u8])?;
        memory.write(self.result.wrapping_add(8), &len.to_le_bytes())?;
        memory.write(self.result.wrapping_add(20), &0u32.to_le_bytes())?;
        memory.write(self.address, &[family as u8])?;
        memory.write(self.address.wrapping_add(4), &(data.len() as u32).to_le_bytes())?;
        memory.write(self.data, data)?;
        Ok(())
    }
}
