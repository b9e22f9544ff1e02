//! Sockets in their three dialects, over the loopback interface.

mod configuration;
mod denials;
mod lookup;
mod options;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::abi::preview1::{WASMEDGE_V1, WASMEDGE_V2};
use crate::grants::Network;
use crate::http::{HttpError, HttpErrorKind, Policy, Resolver};

const INET4: u64 = 1;
const INET6: u64 = 2;
const DATAGRAM: u64 = 1;
const STREAM: u64 = 2;

/// Where an address's record lies, and the address; and where other results go.
const ADDRESS: u32 = 0x6000;
const IP: u32 = 0x6010;
const PORT: u32 = 0x6100;
const TYPE: u32 = 0x6104;
const COUNT: u32 = 0x6108;
const FLAGS: u32 = 0x610c;
const VALUE: u32 = 0x6200;
const LEN: u32 = 0x6300;

fn with(network: Network) -> Guest {
    Guest::new(WasiConfig::new().network(network))
}

/// A guest that may listen on any port of the loopback interface that the system chooses.
fn listening() -> Network {
    Network::new().allow_listen("127.0.0.1:0".parse().unwrap()).allow_listen("[::1]:0".parse().unwrap())
}

/// One that may connect to everything.
fn free() -> Network {
    let policy = Policy::builder().allow(crate::http::ALLOW_ALL).unwrap().allow_private_addresses(true).build();
    listening().connect(Arc::new(policy))
}

impl Guest {
    /// Calls a function of any dialect, by its name and how many arguments it has.
    #[track_caller]
    fn sock(&mut self, name: &str, args: &[u64]) -> u16 {
        let function = [FUNCTIONS, WASMEDGE_V1, WASMEDGE_V2]
            .into_iter()
            .flatten()
            .find(|function| function.name == name && function.params.len() == args.len())
            .unwrap_or_else(|| panic!("{name} with {} arguments is not a function", args.len()));
        let mut slots = args.to_vec();
        (function.call)(&self.wasi, &mut self.memory, &mut slots).unwrap();
        u16::try_from(slots[0]).unwrap()
    }

    #[track_caller]
    fn does(&mut self, name: &str, args: &[u64]) {
        assert_eq!(self.sock(name, args), OK, "{name}{args:?}");
    }

    #[track_caller]
    fn refuses(&mut self, name: &str, args: &[u64], errno: Errno) {
        assert_eq!(self.sock(name, args), errno as u16, "{name}{args:?}");
    }

    #[track_caller]
    fn socket(&mut self, family: u64, ty: u64) -> u64 {
        self.does("sock_open", &[family, ty, OUT.into()]);
        self.u32(OUT).into()
    }

    /// Puts an address in memory, in a buffer of its own length; gives where its record is.
    fn ip(&mut self, ip: std::net::IpAddr) -> u64 {
        let octets = match ip {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        self.buffer(&octets)
    }

    fn buffer(&mut self, bytes: &[u8]) -> u64 {
        self.put(IP, bytes);
        self.put(ADDRESS, &IP.to_le_bytes());
        self.put(ADDRESS + 4, &(bytes.len() as u32).to_le_bytes());
        ADDRESS.into()
    }

    fn loopback(&mut self) -> u64 {
        self.ip(Ipv4Addr::LOCALHOST.into())
    }

    /// The port that a socket is bound to.
    #[track_caller]
    fn port(&mut self, fd: u64) -> u16 {
        let buffer = self.buffer(&[0; 128]);
        self.does("sock_getlocaladdr", &[fd, buffer, PORT.into()]);
        u16::try_from(self.u32(PORT)).unwrap()
    }

    #[track_caller]
    fn listens(&mut self) -> (u64, SocketAddr) {
        let fd = self.socket(INET4, STREAM);
        let address = self.loopback();
        self.does("sock_bind", &[fd, address, 0]);
        self.does("sock_listen", &[fd, 8]);
        let port = self.port(fd);
        (fd, (Ipv4Addr::LOCALHOST, port).into())
    }

    #[track_caller]
    fn connects(&mut self, to: SocketAddr) -> u64 {
        let fd = self.socket(if to.is_ipv4() { INET4 } else { INET6 }, STREAM);
        let address = self.ip(to.ip());
        self.does("sock_connect", &[fd, address, to.port().into()]);
        fd
    }

    #[track_caller]
    fn receives(&mut self, fd: u64, len: u32, flags: u64) -> Vec<u8> {
        let [iovs, count] = self.iovecs(&[(DATA, 2), (DATA + 2, len - 2)]);
        self.does("sock_recv", &[fd, iovs, count, flags, COUNT.into(), FLAGS.into()]);
        let len = self.u32(COUNT);
        self.get(DATA, len)
    }

    #[track_caller]
    fn sends(&mut self, fd: u64, text: &str) {
        self.put(DATA, text.as_bytes());
        let [iovs, count] = self.iovecs(&[(DATA, 1), (DATA + 1, text.len() as u32 - 1)]);
        self.does("sock_send", &[fd, iovs, count, 0, COUNT.into()]);
        assert_eq!(self.u32(COUNT), text.len() as u32);
    }

    /// An option's value.
    #[track_caller]
    fn option(&mut self, fd: u64, name: u64) -> Vec<u8> {
        self.put(LEN, &64u32.to_le_bytes());
        self.does("sock_getsockopt", &[fd, 0, name, VALUE.into(), LEN.into()]);
        let len = self.u32(LEN);
        self.get(VALUE, len)
    }

    fn set_option(&mut self, fd: u64, name: u64, value: &[u8]) -> u16 {
        self.put(VALUE, value);
        self.sock("sock_setsockopt", &[fd, 0, name, VALUE.into(), value.len() as u64])
    }
}

fn int(value: i32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

#[test]
fn kinds_of_sockets() {
    let mut guest = with(free());
    for (family, ty, filetype) in [(INET4, STREAM, 6), (INET4, DATAGRAM, 5), (INET6, STREAM, 6), (INET6, DATAGRAM, 5)] {
        let fd = guest.socket(family, ty);
        guest.ok("fd_fdstat_get", &[fd, OUT.into()]);
        assert_eq!(guest.get(OUT, 1), [filetype], "socket_dgram is 5, socket_stream 6");
        assert_eq!(guest.option(fd, 1), int(ty as i32));
    }
    for (family, ty, errno) in [
        (0, STREAM, Errno::Inval),
        (3, STREAM, Errno::Afnosupport),
        (4, STREAM, Errno::Inval),
        (0x1_0001, STREAM, Errno::Inval),
        (INET4, 0, Errno::Inval),
        (INET4, 3, Errno::Inval),
    ] {
        guest.refuses("sock_open", &[family, ty, OUT.into()], errno);
    }
    guest.refuses("sock_open", &[INET4, STREAM, MEMORY as u64 - 3], Errno::Fault);
}

#[test]
fn what_a_socket_has_the_right_to() {
    let mut guest = with(free());
    // To read, to write, to set flags, to be looked at, waited for and shut down; and a stream to accept.
    for (ty, bits) in [(DATAGRAM, &[1, 3, 6, 21, 27, 28][..]), (STREAM, &[1, 3, 6, 21, 27, 28, 29])] {
        let fd = guest.socket(INET4, ty);
        guest.ok("fd_fdstat_get", &[fd, OUT.into()]);
        assert_eq!(guest.u64(OUT + 8), bits.iter().map(|bit| 1 << bit).sum::<u64>());
    }
}

#[test]
fn no_more_sockets_than_are_allowed() {
    let mut guest = with(free().max_sockets(2));
    let first = guest.socket(INET4, STREAM);
    guest.socket(INET4, DATAGRAM);
    guest.refuses("sock_open", &[INET4, STREAM, OUT.into()], Errno::Nfile);
    guest.ok("fd_close", &[first]);
    guest.socket(INET4, STREAM);
}

#[test]
fn a_guest_answers_who_connects_to_it() {
    let mut guest = with(listening());
    let (listener, address) = guest.listens();
    assert_eq!(guest.option(listener, 13), int(1), "it accepts");
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"ping").unwrap();
    guest.does("sock_accept", &[listener, 0, OUT.into()]);
    let fd = guest.u32(OUT).into();
    assert_eq!(guest.option(fd, 13), int(0));
    assert_eq!(guest.receives(fd, 4, 1), b"ping", "a look takes nothing");
    assert_eq!(guest.receives(fd, 4, 2), b"ping");
    guest.sends(fd, "pong");
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"pong");
    let buffer = guest.buffer(&[0; 128]);
    guest.does("sock_getpeeraddr", &[fd, buffer, PORT.into()]);
    assert_eq!(guest.get(IP, 6), [1, 0, 127, 0, 0, 1]);
    assert_eq!(guest.u32(PORT), u32::from(client.local_addr().unwrap().port()));
    guest.does("sock_shutdown", &[fd, 2]);
    assert_eq!(client.read(&mut answer).unwrap(), 0, "nothing more is written");
    drop(client);
    assert_eq!(guest.receives(fd, 4, 0), b"", "nor read");
}

#[test]
fn all_that_is_asked_for_is_waited_for() {
    let mut guest = with(listening());
    let (listener, address) = guest.listens();
    let client = std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        for part in [&b"ab"[..], b"cd", b"e"] {
            client.write_all(part).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    guest.does("sock_accept", &[listener, 0, OUT.into()]);
    let fd = guest.u32(OUT).into();
    assert_eq!(guest.receives(fd, 4, 2), b"abcd");
    assert_eq!(guest.receives(fd, 4, 2), b"e", "or the end");
    client.join().unwrap();
}

#[test]
fn a_connection_is_read_and_written_as_a_file_is() {
    let mut guest = with(listening());
    let (listener, address) = guest.listens();
    let client = std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        client.write_all(b"late").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    });
    guest.does("sock_accept", &[listener, 0, OUT.into()]);
    let fd = guest.u32(OUT).into();
    assert_eq!(guest.read(fd, 9), b"late", "what has yet to come is waited for");
    assert_eq!(guest.write(fd, b"answer"), 6);
    guest.ok("fd_close", &[fd]);
    assert_eq!(client.join().unwrap(), "answer");
}

#[test]
fn what_does_not_wait_says_so() {
    let mut guest = with(listening());
    let (listener, address) = guest.listens();
    guest.ok("fd_fdstat_set_flags", &[listener, 4]);
    guest.refuses("sock_accept", &[listener, 0, OUT.into()], Errno::Again);
    let _client = TcpStream::connect(address).unwrap();
    guest.ok("fd_fdstat_set_flags", &[listener, 0]);
    guest.does("sock_accept", &[listener, 4, OUT.into()]);
    let fd = guest.u32(OUT).into();
    let [iovs, count] = guest.iovecs(&[(DATA, 4)]);
    guest.refuses("sock_recv", &[fd, iovs, count, 0, COUNT.into(), FLAGS.into()], Errno::Again);
    guest.ok("fd_fdstat_set_flags", &[fd, 0]);
    // A timeout of 20 ms ends a wait: seconds and microseconds.
    let timeout = [0i64.to_le_bytes(), 20_000i64.to_le_bytes()].concat();
    assert_eq!(guest.set_option(fd, 11, &timeout), OK);
    assert_eq!(guest.option(fd, 11), timeout);
    guest.refuses("sock_recv", &[fd, iovs, count, 0, COUNT.into(), FLAGS.into()], Errno::Again);
}

impl Guest {
    /// Polls for reading or writing; gives what each that is met says: its place, how many bytes, and whether the other end
    /// is gone.
    #[track_caller]
    fn polls(&mut self, subscriptions: &[(u64, bool)]) -> Vec<(u64, u64, bool)> {
        const EVENTS: u32 = 0xb000;
        for (at, (fd, writes)) in subscriptions.iter().enumerate() {
            let mut bytes = [0; 48];
            bytes[0] = at as u8;
            bytes[8] = if *writes { 2 } else { 1 };
            bytes[16..20].copy_from_slice(&(*fd as u32).to_le_bytes());
            self.put(DATA + 48 * at as u32, &bytes);
        }
        self.does("poll_oneoff", &[DATA.into(), EVENTS.into(), subscriptions.len() as u64, OUT.into()]);
        let count = self.u32(OUT);
        let event = |at| (self.u64(at), self.u64(at + 16), self.get(at + 24, 1) == [1]);
        (EVENTS..).step_by(32).take(count as usize).map(event).collect()
    }
}

#[test]
fn sockets_are_waited_for() {
    let mut guest = with(listening());
    let (listener, address) = guest.listens();
    let client = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        TcpStream::connect(address).unwrap()
    });
    assert_eq!(guest.polls(&[(listener, false)]), [(0, 1, false)], "somebody is there");
    let mut client = client.join().unwrap();
    guest.does("sock_accept", &[listener, 0, OUT.into()]);
    let fd = guest.u32(OUT).into();
    assert_eq!(guest.polls(&[(listener, false), (fd, false), (fd, true)]), [(2, 1, false)], "only to be written");
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        client.write_all(b"abc").unwrap();
        client
    });
    assert_eq!(guest.polls(&[(listener, false), (fd, false)]), [(1, 3, false)]);
    let client = writer.join().unwrap();
    assert_eq!(guest.receives(fd, 3, 0), b"abc");
    drop(client);
    assert_eq!(guest.polls(&[(fd, false)]), [(0, 0, true)], "the other end is gone");
}

#[test]
fn what_was_sent_before_a_timeout_is_counted() {
    let mut guest = with(listening());
    let (listener, address) = guest.listens();
    let mut client = TcpStream::connect(address).unwrap();
    guest.does("sock_accept", &[listener, 0, OUT.into()]);
    let fd = guest.u32(OUT).into();
    let timeout = [0i64.to_le_bytes(), 20_000i64.to_le_bytes()].concat();
    assert_eq!(guest.set_option(fd, 12, &timeout), OK);
    let [iovs, count] = guest.iovecs(&[(0, MEMORY as u32)]);
    let mut sent = 0;
    let end = loop {
        match guest.sock("sock_send", &[fd, iovs, count, 0, COUNT.into()]) {
            OK => sent += u64::from(guest.u32(COUNT)),
            errno => break errno,
        }
        assert!(sent < 1 << 30, "nobody reads it");
    };
    assert_eq!(end, Errno::Again as u16);
    guest.ok("fd_close", &[fd]);
    let read = std::io::copy(&mut client, &mut std::io::sink()).unwrap();
    assert_eq!(read, sent);
}

#[test]
fn a_guest_connects_to_what_it_may() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = origin.local_addr().unwrap();
    let policy = Policy::builder().allow(&format!("http://{to}")).unwrap().build();
    let mut guest = with(Network::new().connect(Arc::new(policy)));
    let fd = guest.connects(to);
    let (mut server, from) = origin.accept().unwrap();
    guest.sends(fd, "hello");
    let mut text = [0; 5];
    server.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hello");
    assert_eq!(guest.port(fd), from.port());
    let address = guest.loopback();
    let other = guest.socket(INET4, STREAM);
    guest.refuses("sock_connect", &[other, address, u64::from(to.port()) ^ 1], Errno::Acces);
    guest.refuses("sock_connect", &[other, address, 0x1_0000 + u64::from(to.port())], Errno::Inval);
    guest.refuses("sock_bind", &[other, address, 0], Errno::Acces);
    guest.refuses("sock_listen", &[other, 1], Errno::Acces);
    let v6 = guest.socket(INET6, STREAM);
    guest.refuses("sock_connect", &[v6, address, to.port().into()], Errno::Afnosupport);
}

#[test]
fn who_does_not_listen_refuses() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut guest = with(free());
    let (address, fd) = (guest.loopback(), guest.socket(INET4, STREAM));
    guest.refuses("sock_connect", &[fd, address, closed.port().into()], Errno::Connrefused);
    let buffer = guest.buffer(&[0; 128]);
    guest.refuses("sock_getpeeraddr", &[fd, buffer, PORT.into()], Errno::Notconn);
}

#[test]
fn datagrams() {
    let mut guest = with(free());
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = peer.local_addr().unwrap().port();
    let fd = guest.socket(INET4, DATAGRAM);
    let address = guest.loopback();
    guest.does("sock_bind", &[fd, address, 0]);
    guest.refuses("sock_listen", &[fd, 1], Errno::Notsup);
    guest.put(DATA, b"hello");
    let [iovs, count] = guest.iovecs(&[(DATA, 2), (DATA + 2, 3)]);
    guest.does("sock_send_to", &[fd, iovs, count, address, port.into(), 0, COUNT.into()]);
    assert_eq!(guest.u32(COUNT), 5);
    let mut text = [0; 9];
    let (len, from) = peer.recv_from(&mut text).unwrap();
    assert_eq!((&text[..len], from.port()), (&b"hello"[..], guest.port(fd)));
    for (answer, len, truncated) in [("hi", 2, 0), ("hello!", 5, 1)] {
        peer.send_to(answer.as_bytes(), from).unwrap();
        let buffer = guest.buffer(&[0; 128]);
        let args = [fd, iovs, count, buffer, 0, PORT.into(), COUNT.into(), FLAGS.into()];
        guest.does("sock_recv_from", &args);
        assert_eq!((guest.u32(COUNT), guest.get(FLAGS, 2)), (len, vec![truncated, 0]), "{answer}");
        assert_eq!(guest.get(DATA, len), &answer.as_bytes()[..len as usize]);
        assert_eq!(guest.get(IP, 6), [1, 0, 127, 0, 0, 1]);
        assert_eq!(guest.get(PORT, 2), port.to_le_bytes());
    }
    // The older dialect has no port, and a buffer of the address alone.
    peer.send_to(b"old", from).unwrap();
    let buffer = guest.buffer(&[0; 4]);
    guest.does("sock_recv_from", &[fd, iovs, count, buffer, 0, COUNT.into(), FLAGS.into()]);
    assert_eq!((guest.u32(COUNT), guest.get(IP, 4)), (3, vec![127, 0, 0, 1]));
}

#[test]
fn a_datagram_from_who_may_not_be_heard_is_passed_over() {
    let (friend, stranger) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let to = friend.local_addr().unwrap();
    let policy = Policy::builder().allow(&format!("http://{to}")).unwrap().build();
    let mut guest = with(Network::new().connect(Arc::new(policy)));
    let fd = guest.socket(INET4, DATAGRAM);
    let address = guest.loopback();
    guest.put(DATA, b"hello");
    let [iovs, count] = guest.iovecs(&[(DATA, 5)]);
    let strangers = stranger.local_addr().unwrap().port();
    guest.refuses("sock_send_to", &[fd, iovs, count, address, strangers.into(), 0, COUNT.into()], Errno::Acces);
    guest.does("sock_send_to", &[fd, iovs, count, address, to.port().into(), 0, COUNT.into()]);
    let (_, from) = friend.recv_from(&mut [0; 9]).unwrap();
    for flags in [1, 0] {
        stranger.send_to(b"evil", from).unwrap();
        friend.send_to(b"good", from).unwrap();
        assert_eq!(guest.receives(fd, 4, flags), b"good", "{flags}");
        if flags == 1 {
            assert_eq!(guest.receives(fd, 4, 0), b"good", "a look takes nothing");
        }
    }
}

#[test]
fn addresses_in_the_older_dialect() {
    let mut guest = with(listening());
    for (family, ip, number) in
        [(INET4, std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4), (INET6, std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 6)]
    {
        let fd = guest.socket(family, STREAM);
        let address = guest.ip(ip);
        guest.does("sock_bind", &[fd, address, 0]);
        guest.does("sock_getlocaladdr", &[fd, address, TYPE.into(), PORT.into()]);
        assert_eq!(guest.u32(TYPE), number);
        assert!((1..=0xffff).contains(&guest.u32(PORT)));
        let long = guest.buffer(&[0; 128]);
        guest.refuses("sock_getlocaladdr", &[fd, long, TYPE.into(), PORT.into()], Errno::Inval);
        let short = guest.buffer(&[0; 4]);
        guest.refuses("sock_getlocaladdr", &[fd, short, PORT.into()], Errno::Inval);
        let errno = if family == INET6 { Errno::Nomem as u16 } else { OK };
        assert_eq!(guest.sock("sock_getlocaladdr", &[fd, short, TYPE.into(), PORT.into()]), errno);
    }
    let fd = guest.socket(INET4, STREAM);
    for (bytes, errno) in [
        (vec![0; 5], Errno::Inval),
        ([&[3, 0][..], &[0; 126]].concat(), Errno::Afnosupport),
        ([&[9, 0][..], &[0; 126]].concat(), Errno::Inval),
        ([&[2, 0][..], &[0; 126]].concat(), Errno::Afnosupport),
    ] {
        let address = guest.buffer(&bytes);
        guest.refuses("sock_bind", &[fd, address, 0], errno);
    }
    guest.put(ADDRESS, &(MEMORY as u32 - 3).to_le_bytes());
    guest.put(ADDRESS + 4, &4u32.to_le_bytes());
    guest.refuses("sock_bind", &[fd, ADDRESS.into(), 0], Errno::Fault);
}

#[test]
fn a_listener_that_the_embedder_opened() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut guest = with(Network::new().listener(listener).unwrap());
    let fd = 3;
    guest.refuses("sock_listen", &[fd, 1], Errno::Inval);
    guest.refuses("sock_shutdown", &[fd, 3], Errno::Notconn);
    assert_eq!(guest.set_option(fd, 0, &int(1)), Errno::Perm as u16);
    assert_eq!(guest.set_option(fd, 11, &[0; 16]), OK, "what only this guest has");
    assert_eq!(guest.port(fd), address.port());
    let _client = TcpStream::connect(address).unwrap();
    guest.does("sock_accept", &[fd, 0, OUT.into()]);
}

/// Knows two names, and fails for the others as they say.
struct Names;

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> Result<Vec<std::net::IpAddr>, HttpError> {
        match name {
            "public.example" => Ok(vec!["93.184.216.34".parse().unwrap(), "2606:2800::1".parse().unwrap()]),
            "private.example" => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
            "slow.example" => std::future::pending().await,
            "late.example" => Err(HttpError::new(HttpErrorKind::DnsTimeout, "too late")),
            "broken.example" => Err(HttpError::new(HttpErrorKind::DnsFailed, "broken")),
            "panics.example" => panic!("a resolver may"),
            _ => Err(HttpError::new(HttpErrorKind::DnsNotFound, "there is none")),
        }
    }
}
