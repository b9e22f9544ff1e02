//! What an IP address is for: which ones a resolved name may not lead to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The purpose of an address, by the special-purpose registries of IANA (RFC 6890) and the habits of cloud providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressClass {
    /// A public host of the Internet.
    Public,
    /// This machine.
    Loopback,
    /// A private network (RFC 1918, RFC 4193, local-use NAT64).
    Private,
    /// Shared between a provider and its customers (RFC 6598).
    SharedNat,
    /// The local link (RFC 3927, RFC 4291).
    LinkLocal,
    /// The metadata or platform service of a cloud, which gives credentials to whoever asks.
    Metadata,
    /// No address: `0.0.0.0/8` or `::`. Systems connect it to themselves.
    Unspecified,
    /// A group of hosts.
    Multicast,
    /// Every host of the link.
    Broadcast,
    /// For examples in documents (RFC 5737, RFC 3849, RFC 9637).
    Documentation,
    /// For measurements (RFC 2544, RFC 5180).
    Benchmarking,
    /// Reserved, or not assigned.
    Reserved,
}

impl AddressClass {
    /// The class of `ip`. An IPv6 address that carries an IPv4 one (mapped, compatible, NAT64, 6to4, Teredo, ISATAP)
    /// has the class of that, since that is where it leads.
    pub fn of(ip: IpAddr) -> AddressClass {
        match ip {
            IpAddr::V4(ip) => v4(ip),
            IpAddr::V6(ip) => v6(ip),
        }
    }

    /// With an article, for a message: `a private address`.
    fn phrase(self) -> &'static str {
        match self {
            AddressClass::Public => "a public address",
            AddressClass::Loopback => "a loopback address",
            AddressClass::Private => "a private address",
            AddressClass::SharedNat => "an address shared behind a provider's nat",
            AddressClass::LinkLocal => "a link-local address",
            AddressClass::Metadata => "the address of a cloud's metadata service",
            AddressClass::Unspecified => "an unspecified address",
            AddressClass::Multicast => "a multicast address",
            AddressClass::Broadcast => "a broadcast address",
            AddressClass::Documentation => "an address for documentation",
            AddressClass::Benchmarking => "an address for benchmarks",
            AddressClass::Reserved => "a reserved address",
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.phrase())
    }
}

/// Metadata and platform services outside the link-local range's usual address, by provider: AWS and most others, AWS
/// container credentials, Alibaba, Oracle, Azure.
const METADATA_V4: [Ipv4Addr; 5] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// The same for IPv6: AWS, AWS container credentials, Google.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

fn v4(ip: Ipv4Addr) -> AddressClass {
    if METADATA_V4.contains(&ip) {
        return AddressClass::Metadata;
    }
    match ip.octets() {
        [0, ..] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressClass::Private,
        [100, 64..=127, ..] => AddressClass::SharedNat,
        [169, 254, ..] => AddressClass::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => AddressClass::Documentation,
        [198, 18..=19, ..] => AddressClass::Benchmarking,
        [192, 0, 0, _] | [192, 88, 99, _] => AddressClass::Reserved,
        [255, 255, 255, 255] => AddressClass::Broadcast,
        [224..=239, ..] => AddressClass::Multicast,
        [240..=255, ..] => AddressClass::Reserved,
        _ => AddressClass::Public,
    }
}

fn v6(ip: Ipv6Addr) -> AddressClass {
    if METADATA_V6.contains(&ip) {
        return AddressClass::Metadata;
    }
    if let Some(inner) = embedded(ip) {
        return v4(inner);
    }
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        [0x64, 0xff9b, 1, ..] => AddressClass::Private,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::Private,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => AddressClass::Documentation,
        [0x2001, 2, 0, ..] => AddressClass::Benchmarking,
        [0x2001, 0..=0x1ff, ..] => AddressClass::Reserved,
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

/// The IPv4 address that an IPv6 address leads to, if it is of a kind that carries one.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Mapped, translated (RFC 2765), compatible, NAT64.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        // 6to4.
        [0x2002, high, low, ..] => Some(join(high, low)),
        // Teredo hides the far end's address by inverting it.
        [0x2001, 0, _, _, _, _, high, low] => Some(join(!high, !low)),
        // ISATAP, below any prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for (address, class) in [
            ("8.8.8.8", AddressClass::Public),
            ("1.1.1.1", AddressClass::Public),
            ("172.15.0.1", AddressClass::Public),
            ("172.32.0.1", AddressClass::Public),
            ("100.63.0.1", AddressClass::Public),
            ("100.128.0.1", AddressClass::Public),
            ("2606:4700::1111", AddressClass::Public),
            ("127.0.0.1", AddressClass::Loopback),
            ("127.255.0.1", AddressClass::Loopback),
            ("::1", AddressClass::Loopback),
            ("10.1.2.3", AddressClass::Private),
            ("172.16.0.1", AddressClass::Private),
            ("172.31.255.255", AddressClass::Private),
            ("192.168.0.1", AddressClass::Private),
            ("fd12::1", AddressClass::Private),
            ("fec0::1", AddressClass::Private),
            ("100.64.0.1", AddressClass::SharedNat),
            ("169.254.1.1", AddressClass::LinkLocal),
            ("fe80::1", AddressClass::LinkLocal),
            ("169.254.169.254", AddressClass::Metadata),
            ("fd00:ec2::254", AddressClass::Metadata),
            ("100.100.100.200", AddressClass::Metadata),
            ("0.0.0.0", AddressClass::Unspecified),
            ("0.1.2.3", AddressClass::Unspecified),
            ("::", AddressClass::Unspecified),
            ("224.0.0.1", AddressClass::Multicast),
            ("ff02::1", AddressClass::Multicast),
            ("255.255.255.255", AddressClass::Broadcast),
            ("240.0.0.1", AddressClass::Reserved),
            ("192.0.2.1", AddressClass::Documentation),
            ("198.51.100.1", AddressClass::Documentation),
            ("203.0.113.1", AddressClass::Documentation),
            ("2001:db8::1", AddressClass::Documentation),
            ("3fff::1", AddressClass::Documentation),
            ("198.18.0.1", AddressClass::Benchmarking),
            ("2001:2::1", AddressClass::Benchmarking),
            ("192.0.0.1", AddressClass::Reserved),
            ("192.88.99.1", AddressClass::Reserved),
            ("2001:100::1", AddressClass::Reserved),
            ("2001:200::1", AddressClass::Public),
            ("192.0.0.192", AddressClass::Metadata),
            ("fd00:ec2::23", AddressClass::Metadata),
            ("4000::1", AddressClass::Reserved),
            ("100::1", AddressClass::Reserved),
        ] {
            assert_eq!(AddressClass::of(address.parse().unwrap()), class, "{address}");
        }
    }

    /// For whom an address was refused.
    #[test]
    fn a_class_is_said_with_an_article() {
        for (address, phrase) in [
            ("8.8.8.8", "a public address"),
            ("::1", "a loopback address"),
            ("10.1.2.3", "a private address"),
            ("169.254.169.254", "the address of a cloud's metadata service"),
        ] {
            assert_eq!(AddressClass::of(address.parse().unwrap()).to_string(), phrase, "{address}");
        }
    }

    #[test]
    fn an_embedded_address_has_the_class_of_what_it_leads_to() {
        for (address, class) in [
            ("::ffff:10.0.0.1", AddressClass::Private),
            ("::10.0.0.1", AddressClass::Private),
            ("::ffff:0:10.0.0.1", AddressClass::Private),
            ("64:ff9b::127.0.0.1", AddressClass::Loopback),
            ("64:ff9b::8.8.8.8", AddressClass::Public),
            ("64:ff9b:1::8.8.8.8", AddressClass::Private),
            ("2002:7f00:1::", AddressClass::Loopback),
            ("2002:a9fe:a9fe::1", AddressClass::Metadata),
            ("2001:0:1:2:3:4:f5ff:fffe", AddressClass::Private),
            ("2606:4700::5efe:192.168.0.1", AddressClass::Private),
            ("::ffff:169.254.169.254", AddressClass::Metadata),
        ] {
            assert_eq!(AddressClass::of(address.parse().unwrap()), class, "{address}");
        }
    }
}
