//! `sock_getaddrinfo`.

use super::*;

const NODE: u32 = 0x5000;
const SERVICE: u32 = 0x5100;
const HINTS: u32 = 0x5200;
const RESULTS: u32 = 0x5300;

/// Where the list is laid out: results of 28 bytes, addresses of 12, and room for 26 bytes of each.
const LIST_AT: u32 = 0xa000;

/// What a guest wants: flags, family, type, protocol.
type Hints = (u16, u8, u8, u8);

impl Guest {
    fn look_up(&mut self, node: &str, service: &str, (flags, family, ty, protocol): Hints, max: u32) -> u16 {
        self.put(NODE, node.as_bytes());
        self.put(SERVICE, service.as_bytes());
        self.put(HINTS, &[flags as u8, (flags >> 8) as u8, family, ty, protocol]);
        self.put(RESULTS, &LIST_AT.to_le_bytes());
        for at in 0..max.min(8) {
            let (result, address, data) = (LIST_AT + at * 28, LIST_AT + 0x400 + at * 12, LIST_AT + 0x800 + at * 32);
            let next = if at + 1 == max { 0 } else { result + 28 };
            self.put(result + 12, &address.to_le_bytes());
            self.put(result + 24, &next.to_le_bytes());
            self.put(address + 4, &26u32.to_le_bytes());
            self.put(address + 8, &data.to_le_bytes());
        }
        let (node_len, service_len) = (node.len() as u64, service.len() as u64);
        let args = [NODE.into(), node_len, SERVICE.into(), service_len, HINTS.into(), RESULTS.into(), max.into()];
        self.sock("sock_getaddrinfo", &[&args[..], &[COUNT.into()]].concat())
    }

    /// What was found: family, type, protocol, port and address.
    #[track_caller]
    fn found(&mut self, node: &str, service: &str, hints: Hints) -> Vec<(u8, u8, u8, u16, Vec<u8>)> {
        assert_eq!(self.look_up(node, service, hints, 8), OK, "{node} {service} {hints:?}");
        let mut found = Vec::new();
        for at in 0..self.u32(COUNT) {
            let (result, address, data) = (LIST_AT + at * 28, LIST_AT + 0x400 + at * 12, LIST_AT + 0x800 + at * 32);
            let [family, ty, protocol] = self.get(result + 2, 3).try_into().unwrap();
            let len = self.u32(address + 4);
            assert_eq!((self.u32(result + 8), len), if family == 1 { (16, 14) } else { (28, 26) });
            assert_eq!(self.get(address, 1), [family]);
            let bytes = self.get(data, len);
            let (from, to) = if family == 1 { (2, 6) } else { (6, 22) };
            let port = u16::from_be_bytes([bytes[0], bytes[1]]);
            found.push((family, ty, protocol, port, bytes[from..to].to_vec()));
        }
        found
    }
}

fn names() -> Network {
    let policy = ["*.example", "*.example:81"]
        .into_iter()
        .fold(Policy::builder(), |builder, entry| builder.allow(&format!("http://{entry}")).unwrap());
    Network::new().connect(Arc::new(policy.build())).resolver(Arc::new(Names))
}

fn naming() -> Guest {
    with(names())
}

#[test]
fn addresses_that_need_no_look_up() {
    let mut guest = naming();
    let (localhost, any) = (vec![127, 0, 0, 1], vec![0, 0, 0, 0]);
    assert_eq!(guest.found("10.1.2.3", "81", (0, 0, 2, 0)), [(1, 2, 1, 81, vec![10, 1, 2, 3])]);
    assert_eq!(guest.found("10.1.2.3\0", "", (4, 1, 1, 0)), [(1, 1, 2, 0, vec![10, 1, 2, 3])]);
    assert_eq!(guest.found("", "http", (0, 1, 0, 1)), [(1, 2, 1, 80, localhost)]);
    assert_eq!(guest.found("", "https", (1, 1, 2, 0)), [(1, 2, 1, 443, any)]);
    let both = guest.found("", "1", (0, 0, 0, 0));
    assert_eq!(both.iter().map(|found| (found.0, found.1)).collect::<Vec<_>>(), [(1, 2), (1, 1), (2, 2), (2, 1)]);
    assert_eq!(guest.found("::1", "53", (0, 2, 1, 2))[0].4, Ipv6Addr::LOCALHOST.octets());
    assert_eq!(guest.look_up("::1", "53", (0, 1, 0, 0), 8), Errno::Ainoname as u16, "of no such family");
}

#[test]
fn what_cannot_be_asked_for() {
    let mut guest = naming();
    for (node, service, hints, max, errno) in [
        ("", "", (0, 0, 0, 0), 8, Errno::Ainoname),
        ("::1", "1", (0, 0, 0, 0), 0, Errno::Aimemory),
        ("::1", "1", (0x80, 0, 0, 0), 8, Errno::Aibadflag),
        ("::1", "1", (0, 3, 0, 0), 8, Errno::Aifamily),
        ("::1", "1", (0, 0, 3, 0), 8, Errno::Aisocktype),
        ("::1", "1", (0, 0, 0, 3), 8, Errno::Aisocktype),
        ("::1", "1", (0, 0, 2, 2), 8, Errno::Aisocktype),
        ("::1", "nonsense", (0, 0, 0, 0), 8, Errno::Aiservice),
        ("::1", "http", (8, 0, 0, 0), 8, Errno::Ainoname),
        ("public.example", "1", (4, 0, 0, 0), 8, Errno::Ainoname),
        ("a b", "1", (0, 0, 0, 0), 8, Errno::Ainoname),
        ("a\0b", "1", (0, 0, 0, 0), 8, Errno::Ainoname),
    ] {
        assert_eq!(guest.look_up(node, service, hints, max), errno as u16, "{node} {service} {hints:?}");
    }
    assert_eq!(guest.look_up(&"a".repeat(257), "", (0, 0, 0, 0), 1), Errno::Ainoname as u16);
}

#[test]
fn names_are_looked_up_where_the_policy_has_them() {
    let mut guest = naming();
    let found = guest.found("public.example", "81", (0, 0, 2, 0));
    assert_eq!(found.iter().map(|found| (found.0, found.3)).collect::<Vec<_>>(), [(1, 81), (2, 81)]);
    assert_eq!(found[0].4, [93, 184, 216, 34]);
    for (name, errno) in [
        ("elsewhere.test", Errno::Acces),
        ("private.example", Errno::Acces),
        ("none.example", Errno::Ainoname),
        ("late.example", Errno::Aiagain),
        ("broken.example", Errno::Aifail),
        ("panics.example", Errno::Aifail),
    ] {
        assert_eq!(guest.look_up(name, "1", (0, 0, 0, 0), 8), errno as u16, "{name}");
    }
}

#[test]
fn a_look_up_ends_with_the_connect_timeout() {
    let mut guest = with(names().connect_timeout(Duration::from_millis(200)));
    assert_eq!(guest.look_up("slow.example", "1", (0, 0, 0, 0), 8), Errno::Aiagain as u16);
}

#[test]
fn an_address_is_allowed_under_a_name_that_led_to_it() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = u64::from(origin.local_addr().unwrap().port());
    let policy = Policy::builder().allow(&format!("http://private.example:{port}")).unwrap();
    let policy = Arc::new(policy.allow_private_addresses(true).build());
    let mut guest = with(Network::new().connect(policy).resolver(Arc::new(Names)));
    let (fd, address) = (guest.socket(INET4, STREAM), guest.loopback());
    guest.refuses("sock_connect", &[fd, address, port], Errno::Acces);
    guest.found("private.example", "", (0, 0, 0, 0));
    guest.refuses("sock_connect", &[fd, address, port ^ 1], Errno::Acces);
    guest.does("sock_connect", &[fd, address, port]);
}

#[test]
fn no_more_results_than_there_is_room_for() {
    let mut guest = naming();
    assert_eq!(guest.look_up("", "1", (0, 0, 0, 0), 3), OK);
    assert_eq!(guest.u32(COUNT), 3);
    // Room for addresses of IPv4 alone.
    guest.look_up("", "1", (0, 0, 0, 0), 1);
    guest.put(LIST_AT + 0x404, &14u32.to_le_bytes());
    let args = [NODE.into(), 0, SERVICE.into(), 1, HINTS.into(), RESULTS.into(), 1, COUNT.into()];
    guest.put(HINTS, &[0, 0, 2]);
    guest.refuses("sock_getaddrinfo", &args, Errno::Ainoname);
    guest.put(HINTS, &[0, 0, 1]);
    guest.does("sock_getaddrinfo", &args);
    assert_eq!(guest.u32(COUNT), 1);
}
