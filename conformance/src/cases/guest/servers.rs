//! Servers inside guests, in three languages, on published libraries and on what each language brings.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use wharf_core::GuestConfig;
use wharf_core::grants::Network;
use wharf_guests::{
    ECHO_WASMEDGE, HELLO_GO, HELLO_HYPER, HELLO_POLL, HELLO_STD, HELLO_WASMEDGE, LISTENER, PrebuiltGuest,
};

use super::front::{Front, Running, granted, request};
use crate::case::{Case, CaseResult, Unmet};
use crate::check_eq;
use crate::context::Context;
use crate::prebuilt::{LONG, Printed};

const HELLO: &str = "guests: POST /hello";
const SOCKETS: &str = "the crate wasmedge_wasi_socket";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("guest/servers/hyper", HELLO, |c| hello(c, HELLO_HYPER, binds)).guests(&[HELLO_HYPER]),
    Case::must("guest/servers/wasmedge-socket", HELLO, |c| hello(c, HELLO_WASMEDGE, binds)).guests(&[HELLO_WASMEDGE]),
    Case::must("guest/servers/rust-std", HELLO, |c| hello(c, HELLO_STD, is_handed)).guests(&[HELLO_STD]),
    Case::must("guest/servers/c-poll", HELLO, |c| hello(c, HELLO_POLL, is_handed)).guests(&[HELLO_POLL]),
    Case::must("guest/servers/go", HELLO, |c| hello(c, HELLO_GO, is_handed)).guests(&[HELLO_GO]),
    Case::must("guest/servers/echo-one-by-one", SOCKETS, |c| echo(c, "serve", 3)).guests(&[ECHO_WASMEDGE]),
    Case::must("guest/servers/echo-many-at-once", SOCKETS, |c| echo(c, "poll", 20)).guests(&[ECHO_WASMEDGE]),
    Case::must("guest/servers/echo-connects", SOCKETS, connects).guests(&[ECHO_WASMEDGE]),
    Case::must("guest/servers/echo-datagrams", SOCKETS, datagrams).guests(&[ECHO_WASMEDGE]),
    Case::must("guest/servers/listener-and-directory", "preopened sockets: numbers", listener).guests(&[LISTENER]),
];

/// Enough for each of them.
const MEMORY: u64 = 64 << 20;

const ANYWHERE: &str = "127.0.0.1:0";

/// Starts a server and says where it listens.
type Start = fn(&Context, PrebuiltGuest) -> CaseResult<(Running, SocketAddr)>;

/// A server that is handed its listener.
fn is_handed(context: &Context, guest: PrebuiltGuest) -> CaseResult<(Running, SocketAddr)> {
    let (network, address) = granted()?;
    let (mut config, _) = context.program(guest.name, &[], GuestConfig::default())?;
    config.wasi = config.wasi.network(network);
    Ok((Running::start(context.prebuilt(guest, MEMORY)?, config), address))
}

/// A server that binds where its argument says, and prints where that is.
fn binds(context: &Context, guest: PrebuiltGuest) -> CaseResult<(Running, SocketAddr)> {
    binds_with(context, guest, &[ANYWHERE])
}

fn binds_with(context: &Context, guest: PrebuiltGuest, args: &[&str]) -> CaseResult<(Running, SocketAddr)> {
    let (mut config, printed) = context.program(guest.name, args, GuestConfig::default())?;
    config.wasi = config.wasi.network(Network::new().allow_listen(ANYWHERE.parse()?));
    let running = Running::start(context.prebuilt(guest, MEMORY)?, config);
    Ok((running, printed_address(&printed)?))
}

fn printed_address(printed: &Printed) -> CaseResult<SocketAddr> {
    let before = Instant::now();
    loop {
        let said = printed.ended(0);
        if let Some((line, _)) = said.out.split_once('\n') {
            let address = line.strip_prefix("listening on ").and_then(|address| address.parse().ok());
            return address.ok_or_else(|| Unmet::failed(format!("the server says {line:?}, not where it listens")));
        }
        if before.elapsed() > LONG {
            return Err(Unmet::failed(format!("the server does not say where it listens, but {said:?}")));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn hello(context: &Context, guest: PrebuiltGuest, start: Start) -> CaseResult {
    let (running, address) = start(context, guest)?;
    let front = Front::<fn() -> CaseResult<GuestConfig>>::Server(running, address);
    let every_byte: Vec<u8> = (0..=255).collect();
    let long = b"a long name, ".repeat(4000);
    let greeting = |name: &[u8]| [b"Hello, ", name, b"!\n"].concat();
    let requests = [
        ("POST", "/hello", &b"Bob Morane"[..], 200, b"Hello, Bob Morane!\n".to_vec()),
        ("POST", "/hello", &every_byte, 200, greeting(&every_byte)),
        ("POST", "/hello", &long, 200, greeting(&long)),
        ("GET", "/", b"", 200, b"POST a name to /hello\n".to_vec()),
        ("GET", "/hello", b"", 404, Vec::new()),
        ("POST", "/else", b"Bob Morane", 404, Vec::new()),
    ];
    for (method, path, name, status, body) in requests {
        let mut asked = request(method, path, name.to_vec())?;
        asked.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
        let answer = front.answer(asked)?.whole()?;
        check_eq!(answer.0, status, "the status of {method} {path}");
        check_eq!(answer.1.escape_ascii().to_string(), body.escape_ascii().to_string(), "the body of {method} {path}");
    }
    match front {
        Front::Server(running, _) => running.stop(),
        Front::Handler(..) => Ok(()),
    }
}

/// What comes back of a text, up to the end that the guest makes.
fn echoed(address: SocketAddr, text: &str) -> CaseResult<String> {
    let mut stream = TcpStream::connect_timeout(&address, LONG).map_err(Unmet::harness)?;
    stream.set_read_timeout(Some(LONG)).map_err(Unmet::harness)?;
    let mut sending = stream.try_clone().map_err(Unmet::harness)?;
    // It comes back while it is sent.
    thread::scope(|scope| {
        let sent = scope.spawn(move || {
            sending.write_all(text.as_bytes())?;
            sending.shutdown(Shutdown::Write)
        });
        let mut back = String::new();
        stream.read_to_string(&mut back).map_err(|error| Unmet::failed(format!("nothing comes back: {error}")))?;
        sent.join().map_err(|_| Unmet::harness("sending panicked"))?.map_err(Unmet::harness)?;
        Ok(back)
    })
}

fn echo(context: &Context, command: &str, count: usize) -> CaseResult {
    let (running, address) = binds_with(context, ECHO_WASMEDGE, &[command, ANYWHERE, &count.to_string()])?;
    let texts: Vec<String> = (0..count).map(|number| format!("{number}, ").repeat(number * 1000)).collect();
    if command == "serve" {
        for text in &texts {
            check_eq!(echoed(address, text)?.len(), text.len(), "how much comes back");
        }
    } else {
        let back: Vec<CaseResult<String>> = thread::scope(|scope| {
            let peers: Vec<_> = texts.iter().map(|text| scope.spawn(move || echoed(address, text))).collect();
            peers.into_iter().map(|peer| peer.join().map_err(|_| Unmet::harness("a peer panicked"))?).collect()
        });
        for (back, text) in back.into_iter().zip(&texts) {
            check_eq!(back?, *text, "what comes back");
        }
    }
    check_eq!(running.code()?, 0, "the exit code once all were served");
    Ok(())
}

/// The guest connects to what is allowed, and to nothing else.
fn connects(context: &Context) -> CaseResult {
    let origin = std::net::TcpListener::bind(ANYWHERE).map_err(Unmet::harness)?;
    let to = origin.local_addr().map_err(Unmet::harness)?.to_string();
    let answers = thread::spawn(move || {
        let mut stream = origin.accept()?.0;
        stream.set_read_timeout(Some(LONG))?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        stream.write_all(&bytes.to_ascii_uppercase())
    });
    let run = |allowed: &str| {
        let outbound = context.net().allow(allowed).outbound()?;
        let mut config = GuestConfig::default();
        config.wasi = config.wasi.network(Network::sharing(&outbound));
        crate::prebuilt::run(context, ECHO_WASMEDGE, MEMORY, &["send", &to, "hello"], config)
    };
    let denied = run("other.example")?;
    check_eq!((denied.code, denied.out.as_str()), (1, ""), "exit code and stdout where it is denied");
    let ended = run(&to)?;
    check_eq!((ended.code, ended.out.as_str()), (0, "HELLO"), "exit code and stdout; {:?}", ended.err);
    answers.join().map_err(|_| Unmet::harness("the origin panicked"))?.map_err(Unmet::harness)
}

fn datagrams(context: &Context) -> CaseResult {
    let socket = UdpSocket::bind(ANYWHERE).map_err(Unmet::harness)?;
    socket.set_read_timeout(Some(LONG)).map_err(Unmet::harness)?;
    let to = socket.local_addr().map_err(Unmet::harness)?;
    let answers = thread::spawn(move || {
        let mut buffer = [0; 64];
        let (len, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..len].to_ascii_uppercase(), from)
    });
    let outbound = context.net().allow(&to.to_string()).outbound()?;
    let network = Network::sharing(&outbound).allow_listen(ANYWHERE.parse()?);
    let mut config = GuestConfig::default();
    config.wasi = config.wasi.network(network);
    let ended = crate::prebuilt::run(context, ECHO_WASMEDGE, MEMORY, &["ask", &to.to_string(), "hi"], config)?;
    check_eq!((ended.code, ended.out), (0, format!("{}\nHI", to.port())), "exit code and stdout; {:?}", ended.err);
    answers.join().map_err(|_| Unmet::harness("the origin panicked"))?.map_err(Unmet::harness)?;
    Ok(())
}

/// The listener is found at 3, and the directory behind it is found all the same.
fn listener(context: &Context) -> CaseResult {
    let directory = tempfile::tempdir().map_err(Unmet::harness)?;
    std::fs::write(directory.path().join("file"), "and a file").map_err(Unmet::harness)?;
    let (network, address) = granted()?;
    let (mut config, _) = context.program(LISTENER.name, &["2", "/data/file"], GuestConfig::default())?;
    config.wasi = config.wasi.network(network).preopen(directory.path(), "/data")?;
    let running = Running::start(context.prebuilt(LISTENER, MEMORY)?, config);
    for text in ["one ", "two "] {
        check_eq!(echoed(address, text)?, format!("{text}and a file"), "what comes back");
    }
    check_eq!(running.code()?, 0, "the exit code");
    Ok(())
}
