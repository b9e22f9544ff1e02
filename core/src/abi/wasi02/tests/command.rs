//! What every command gets: arguments, standard streams, clocks, randomness, log, and sockets, which it does not get.

use std::io::Read;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::grants::{Capture, Input, Output};

const READ: &str = "wasi:io/streams#[method]input-stream.read";
const BLOCKING_READ: &str = "wasi:io/streams#[method]input-stream.blocking-read";
const FLUSHED: &str = "wasi:io/streams#[method]output-stream.blocking-write-and-flush";
const SPLICE: &str = "wasi:io/streams#[method]output-stream.splice";
const BLOCKING_SPLICE: &str = "wasi:io/streams#[method]output-stream.blocking-splice";
const READY: &str = "wasi:io/poll#[method]pollable.ready";

impl Guest {
    /// Calls what answers a `result` of a list; `None` is a closed stream.
    #[track_caller]
    fn reads(&mut self, name: &str, stream: u64, len: u64) -> Option<Vec<u8>> {
        self.fake.next = HEAP;
        self.call(name, &[stream, len, RET.into()]);
        match self.get(RET, 1)[0] {
            0 => Some(self.string(RET + 4)),
            _ => {
                assert_eq!(self.get(RET + 4, 1), [1], "closed");
                None
            }
        }
    }

    /// The same of a number of 64 bits.
    #[track_caller]
    fn counts(&mut self, name: &str, args: &[u64]) -> Option<u64> {
        self.call(name, &[args, &[RET.into()]].concat());
        (self.get(RET, 1) == [0]).then(|| self.u64(RET + 8))
    }

    #[track_caller]
    fn stdin(&mut self) -> u64 {
        self.call("wasi:cli/stdin#get-stdin", &[])
    }
}

fn reading(input: impl Into<bytes::Bytes>) -> (Guest, u64) {
    let mut guest = Guest::new(&WasiConfig::new().stdin(Input::Bytes(input.into())));
    let stdin = guest.stdin();
    (guest, stdin)
}

/// A reader that gives what is sent to it, and ends when the sender is gone.
struct Sent(mpsc::Receiver<&'static str>);

impl Read for Sent {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Ok(text) = self.0.recv() else { return Ok(0) };
        buffer[..text.len()].copy_from_slice(text.as_bytes());
        Ok(text.len())
    }
}

#[test]
fn arguments_and_environment() {
    let mut guest = Guest::new(&WasiConfig::new().args(["a", "b c"]).unwrap().env("K", "v=w").unwrap());
    guest.call("wasi:cli/environment#get-arguments", &[RET.into()]);
    let list = guest.u32(RET);
    assert_eq!([guest.string(list), guest.string(list + 8)], [b"a".to_vec(), b"b c".to_vec()]);
    guest.call("wasi:cli/environment#get-environment", &[RET.into()]);
    let list = guest.u32(RET);
    assert_eq!([guest.string(list), guest.string(list + 8)], [b"K".to_vec(), b"v=w".to_vec()]);
    guest.call("wasi:cli/environment#initial-cwd", &[RET.into()]);
    assert_eq!(guest.get(RET, 1), [0], "there is none");
}

#[test]
fn the_most_random_bytes_at_once() {
    const BYTES: &str = "wasi:random/random#get-random-bytes";
    let mut guest = Guest::new(&WasiConfig::new());
    let limited = |outcome: Result<u64, Stop>| matches!(outcome, Err(Stop::Error(error)) if error.to_string().contains("random bytes were requested"));
    assert!(limited(guest.try_call(BYTES, &[(64 << 20) + 1, RET.into()])));
    // They do not fit into this guest's memory.
    assert!(!limited(guest.try_call(BYTES, &[64 << 20, RET.into()])));
    guest.fake.next = HEAP;
    guest.call(BYTES, &[16, RET.into()]);
    assert!(guest.string(RET) != [CANARY; 16] && guest.u32(RET + 4) == 16);
}

#[test]
fn exits() {
    let mut guest = Guest::new(&WasiConfig::new());
    for (name, status, code) in [("exit", 0, 0), ("exit", 1, 1), ("exit-with-code", 0, 0), ("exit-with-code", 42, 42)] {
        match guest.try_call(&format!("wasi:cli/exit#{name}"), &[status]) {
            Err(Stop::Exit(exit)) => assert_eq!(exit, code, "{name}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn input_is_read_to_its_end() {
    let (mut guest, stdin) = reading("abcdef");
    assert_eq!(guest.reads(READ, stdin, 0).unwrap(), b"");
    assert_eq!(guest.reads(READ, stdin, 2).unwrap(), b"ab");
    assert_eq!(guest.reads(BLOCKING_READ, stdin, 1).unwrap(), b"c");
    assert_eq!(guest.counts("wasi:io/streams#[method]input-stream.skip", &[stdin, 1]), Some(1));
    assert_eq!(guest.counts("wasi:io/streams#[method]input-stream.blocking-skip", &[stdin, 1]), Some(1));
    assert_eq!(guest.reads(BLOCKING_READ, stdin, 9).unwrap(), b"f");
    assert_eq!(guest.reads(READ, stdin, 1), None);
    assert_eq!(guest.reads(READ, stdin, 0), None, "it stays closed");
    let pollable = guest.call("wasi:io/streams#[method]input-stream.subscribe", &[stdin]);
    assert_eq!(guest.call(READY, &[pollable]), 1);
}

#[test]
fn no_read_gives_more_than_64_kib() {
    let (mut guest, stdin) = reading(vec![b'x'; (64 << 10) + 1]);
    assert_eq!(guest.counts("wasi:io/streams#[method]input-stream.skip", &[stdin, u64::MAX]), Some(64 << 10));
    assert_eq!(guest.reads(READ, stdin, u64::MAX).unwrap(), b"x");
}

#[test]
fn input_that_has_yet_to_come_is_waited_for() {
    let (sender, receiver) = mpsc::channel();
    let mut guest = Guest::new(&WasiConfig::new().stdin(Input::reader(Sent(receiver))));
    let stdin = guest.stdin();
    assert_eq!(guest.reads(READ, stdin, 9).unwrap(), b"", "nothing is there");
    let pollable = guest.call("wasi:io/streams#[method]input-stream.subscribe", &[stdin]);
    assert_eq!(guest.call(READY, &[pollable]), 0);
    sender.send("ab").unwrap();
    guest.call("wasi:io/poll#[method]pollable.block", &[pollable]);
    assert_eq!(guest.call(READY, &[pollable]), 1);
    assert_eq!(guest.reads(READ, stdin, 1).unwrap(), b"a");
    assert_eq!(guest.reads(BLOCKING_READ, stdin, 9).unwrap(), b"b");
    sender.send("c").unwrap();
    assert_eq!(guest.reads(BLOCKING_READ, stdin, 9).unwrap(), b"c");
    drop(sender);
    assert_eq!(guest.reads(BLOCKING_READ, stdin, 9), None);
}

#[test]
fn output_goes_where_it_belongs() {
    let (out, err) = (Capture::new(100), Capture::new(100));
    let config = WasiConfig::new().stdout(Output::Capture(out.clone())).stderr(Output::Capture(err.clone()));
    let mut guest = Guest::new(&config);
    for (name, text) in [("stdout", "to out"), ("stderr", "to err")] {
        let stream = guest.call(&format!("wasi:cli/{name}#get-{name}"), &[]);
        let [ptr, len] = guest.bytes(text.as_bytes());
        guest.call(FLUSHED, &[stream, ptr, len, RET.into()]);
        assert_eq!(guest.get(RET, 1), [0]);
        let room = guest.counts("wasi:io/streams#[method]output-stream.check-write", &[stream]);
        assert_eq!(room, Some(64 << 10));
        for flush in ["flush", "blocking-flush"] {
            guest.call(&format!("wasi:io/streams#[method]output-stream.{flush}"), &[stream, RET.into()]);
            assert_eq!(guest.get(RET, 1), [0], "{flush}");
        }
        let pollable = guest.call("wasi:io/streams#[method]output-stream.subscribe", &[stream]);
        assert_eq!(guest.call(READY, &[pollable]), 1);
    }
    assert_eq!((out.contents(), err.contents()), (b"to out".to_vec(), b"to err".to_vec()));
}

#[test]
fn streams_are_spliced() {
    let out = Capture::new(100);
    let config = WasiConfig::new().stdin(Input::Bytes("abcdef".into())).stdout(Output::Capture(out.clone()));
    let mut guest = Guest::new(&config);
    let (stdin, stdout) = (guest.stdin(), guest.call("wasi:cli/stdout#get-stdout", &[]));
    assert_eq!(guest.counts(SPLICE, &[stdout, stdin, 0]), Some(0));
    assert_eq!(guest.counts(BLOCKING_SPLICE, &[stdout, stdin, 0]), Some(0));
    assert_eq!(guest.counts(SPLICE, &[stdout, stdin, 2]), Some(2));
    assert_eq!(guest.counts(BLOCKING_SPLICE, &[stdout, stdin, 3]), Some(3));
    assert_eq!(guest.counts(SPLICE, &[stdout, stdin, 9]), Some(1));
    assert_eq!(out.contents(), b"abcdef");
    for splice in [SPLICE, BLOCKING_SPLICE] {
        assert_eq!(guest.counts(splice, &[stdout, stdin, 9]), None, "the source has ended");
    }
    let write = "wasi:io/streams#[method]output-stream.write";
    guest.traps(write, &[stdout, ARGS.into(), 1, RET.into()], "`check-write` allowed 0");
}

#[test]
fn what_is_no_terminal_is_none() {
    let mut guest = Guest::new(&WasiConfig::new());
    for name in ["stdin", "stdout", "stderr"] {
        guest.call(&format!("wasi:cli/terminal-{name}#get-terminal-{name}"), &[RET.into()]);
        assert_eq!(guest.get(RET, 1), [0], "{name}");
    }
    assert_eq!(guest.host.open_handles(), 0);
}

#[test]
fn the_monotonic_clock_goes_on_and_is_waited_for() {
    let mut guest = Guest::new(&WasiConfig::new());
    let now = "wasi:clocks/monotonic-clock#now";
    let first = guest.call(now, &[]);
    assert!(first < 60_000_000_000, "it begins with the guest: {first}");
    assert_eq!(guest.call("wasi:clocks/monotonic-clock#resolution", &[]), 1);
    let wait = 5_000_000;
    let duration = guest.call("wasi:clocks/monotonic-clock#subscribe-duration", &[wait]);
    guest.call("wasi:io/poll#[method]pollable.block", &[duration]);
    let second = guest.call(now, &[]);
    assert!(second >= first + wait, "{first} {second}");
    let instant = guest.call("wasi:clocks/monotonic-clock#subscribe-instant", &[second + wait]);
    guest.call("wasi:io/poll#[method]pollable.block", &[instant]);
    assert!(guest.call(now, &[]) >= second + wait);
    let past = guest.call("wasi:clocks/monotonic-clock#subscribe-instant", &[first]);
    let never = guest.call("wasi:clocks/monotonic-clock#subscribe-instant", &[u64::MAX]);
    assert_eq!([past, never].map(|pollable| guest.call(READY, &[pollable])), [1, 0]);
}

#[test]
fn the_wall_clock_is_the_hosts_and_its_zone_is_utc() {
    let mut guest = Guest::new(&WasiConfig::new());
    let host = || std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let before = host();
    guest.call("wasi:clocks/wall-clock#now", &[RET.into()]);
    let now = Duration::new(guest.u64(RET), guest.u32(RET + 8));
    assert!(before <= now && now <= host(), "{now:?}");
    guest.call("wasi:clocks/wall-clock#resolution", &[RET.into()]);
    assert_eq!((guest.u64(RET), guest.u32(RET + 8)), (0, 1));
    guest.call("wasi:clocks/timezone#display", &[1_000_000, 0, RET.into()]);
    assert_eq!((guest.u32(RET), guest.string(RET + 4), guest.get(RET + 12, 1)), (0, b"UTC".to_vec(), vec![0]));
    assert_eq!(guest.call("wasi:clocks/timezone#utc-offset", &[1_000_000, 0]), 0);
    use crate::abi::wasi02::clocks::Datetime;
    let early = std::time::SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(
        Datetime::from(early),
        Datetime::from(std::time::SystemTime::UNIX_EPOCH),
        "there is no time before 1970"
    );
}

#[test]
fn randomness() {
    let mut guest = Guest::new(&WasiConfig::new());
    for name in ["wasi:random/random#get-random-bytes", "wasi:random/insecure#get-insecure-random-bytes"] {
        let mut drawn = Vec::new();
        for len in [0, 1, 32, 32] {
            guest.call(name, &[len, RET.into()]);
            let bytes = guest.string(RET);
            assert_eq!(bytes.len() as u64, len, "{name}");
            drawn.push(bytes);
        }
        assert_ne!(drawn[2], drawn[3], "{name}");
        match guest.try_call(name, &[(64 << 20) + 1, RET.into()]) {
            Err(Stop::Error(error)) => assert_eq!(error.kind(), Kind::Limit, "{error}"),
            other => panic!("{other:?}"),
        }
    }
    for name in ["wasi:random/random#get-random-u64", "wasi:random/insecure#get-insecure-random-u64"] {
        assert_ne!(guest.call(name, &[]), guest.call(name, &[]), "{name}");
    }
    let seed = |guest: &mut Guest| {
        guest.call("wasi:random/insecure-seed#insecure-seed", &[RET.into()]);
        (guest.u64(RET), guest.u64(RET + 8))
    };
    let first = seed(&mut guest);
    assert_eq!(seed(&mut guest), first, "the same for all of a guest's life");
    assert_ne!(first.0, first.1);
    assert_ne!(seed(&mut Guest::new(&WasiConfig::new())), first);
}

#[test]
fn a_message_is_a_line_of_standard_error() {
    let err = Capture::new(1000);
    let mut guest = Guest::new(&WasiConfig::new().stderr(Output::Capture(err.clone())));
    for (level, context, message) in [(0, "", "one"), (2, "db", "two"), (5, "", "three")] {
        let (context, message) = (guest.bytes(context.as_bytes()), guest.bytes(message.as_bytes()));
        guest.call("wasi:logging/logging#log", &[&[level], &context[..], &message].concat());
    }
    assert_eq!(String::from_utf8(err.contents()).unwrap(), "trace: one\ninfo: db: two\ncritical: three\n");
}

#[test]
fn sockets_are_refused() {
    const ACCESS_DENIED: u8 = 1;
    let mut guest = Guest::new(&WasiConfig::new());
    for protocol in ["tcp", "udp"] {
        for family in [0, 1] {
            let create = format!("wasi:sockets/{protocol}-create-socket#create-{protocol}-socket");
            guest.call(&create, &[family, RET.into()]);
            assert_eq!((guest.get(RET, 1), guest.get(RET + 4, 1)), (vec![1], vec![ACCESS_DENIED]), "{create}");
        }
    }
    let network = guest.call("wasi:sockets/instance-network#instance-network", &[]);
    let [ptr, len] = guest.bytes(b"example.com");
    guest.call("wasi:sockets/ip-name-lookup#resolve-addresses", &[network, ptr, len, RET.into()]);
    assert_eq!((guest.get(RET, 1), guest.get(RET + 4, 1)), (vec![1], vec![ACCESS_DENIED]));
    for method in ["tcp#[method]tcp-socket.finish-bind", "udp#[method]udp-socket.finish-bind"] {
        guest.traps(&format!("wasi:sockets/{method}"), &[network, RET.into()], "a resource of type `network`");
        guest.traps(&format!("wasi:sockets/{method}"), &[77, RET.into()], "not an open handle");
    }
    let set = "wasi:sockets/tcp#[method]tcp-socket.set-hop-limit";
    guest.traps(set, &[network, 1, RET.into()], "a resource of type `network`");
    guest.call("wasi:sockets/network#[resource-drop]network", &[network]);
    assert_eq!(guest.host.open_handles(), 0);
}

#[test]
fn what_a_guest_reads_and_writes_follows_its_grants() {
    let (old, new) = (Capture::new(100), Capture::new(100));
    let config = WasiConfig::new().arg("old").unwrap().stdin(Input::Bytes("a".into()));
    let mut guest = Guest::new(&config.stdout(Output::Capture(old.clone())));
    let (stdin, stdout) = (guest.stdin(), guest.call("wasi:cli/stdout#get-stdout", &[]));
    let config = WasiConfig::new().arg("new").unwrap().env("K", "v").unwrap().stdin(Input::Bytes("b".into()));
    guest.host.reset_for(&config.stdout(Output::Capture(new.clone())).stderr(Output::Capture(new.clone())), None);
    assert_eq!(guest.reads(READ, stdin, 9).unwrap(), b"b");
    let [ptr, len] = guest.bytes(b"text ");
    guest.call(FLUSHED, &[stdout, ptr, len, RET.into()]);
    let stderr = guest.call("wasi:cli/stderr#get-stderr", &[]);
    guest.call(FLUSHED, &[stderr, ptr, len, RET.into()]);
    assert_eq!((old.contents(), new.contents()), (vec![], b"text text ".to_vec()));
    guest.call("wasi:cli/environment#get-arguments", &[RET.into()]);
    assert_eq!(guest.string(guest.u32(RET)), b"new");
    guest.call("wasi:cli/environment#get-environment", &[RET.into()]);
    assert_eq!((guest.u32(RET + 4), guest.string(guest.u32(RET))), (1, b"K".to_vec()));
}
