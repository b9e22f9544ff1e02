//! Waiting.

use std::fs;

use bytes::Bytes;

use super::*;
use crate::error::Kind;
use crate::grants::{Input, Network, Output};

const IN: u32 = DATA;
const EVENTS: u32 = DATA + 0x1000;

fn clock(userdata: u64, id: u32, timeout: u64, flags: u16) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[16..20].copy_from_slice(&id.to_le_bytes());
    bytes[24..32].copy_from_slice(&timeout.to_le_bytes());
    bytes[40..42].copy_from_slice(&flags.to_le_bytes());
    bytes
}

fn descriptor(userdata: u64, kind: u8, fd: u32) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[8] = kind;
    bytes[16..20].copy_from_slice(&fd.to_le_bytes());
    bytes
}

fn try_poll(guest: &mut Guest, subscriptions: &[[u8; 48]]) -> Result<u16, Stop> {
    for (at, subscription) in (IN..).step_by(48).zip(subscriptions) {
        guest.put(at, subscription);
    }
    guest.try_call("poll_oneoff", &[IN.into(), EVENTS.into(), subscriptions.len() as u64, OUT.into()])
}

/// The events: userdata, kind, bytes, hangup.
fn poll(guest: &mut Guest, subscriptions: &[[u8; 48]]) -> Vec<(u64, u8, u64, bool)> {
    assert_eq!(try_poll(guest, subscriptions).unwrap(), OK);
    let count = guest.u32(OUT);
    let mut events = Vec::new();
    for at in (EVENTS..).step_by(32).take(count as usize) {
        let bytes = guest.get(at, 32);
        assert_eq!(bytes[8..10], [0, 0], "no event has an error of its own");
        events.push((u64_at(&bytes, 0), bytes[10], u64_at(&bytes, 16), bytes[24] == 1));
    }
    events
}

fn milliseconds(count: u64) -> u64 {
    count * 1_000_000
}

#[test]
fn clocks_end_a_wait_at_their_time() {
    let mut guest = Guest::new(WasiConfig::new());
    for id in [0, 1] {
        let start = Instant::now();
        let waits = [clock(7, id, milliseconds(40), 0), clock(8, id, milliseconds(60_000), 0)];
        assert_eq!(poll(&mut guest, &waits), [(7, 0, 0, false)]);
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(40) && waited < Duration::from_secs(20), "{waited:?}");

        guest.ok("clock_time_get", &[id.into(), 0, OUT.into()]);
        let until = guest.u64(OUT) + milliseconds(40);
        let start = Instant::now();
        assert_eq!(poll(&mut guest, &[clock(9, id, until, 1)]), [(9, 0, 0, false)]);
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(30) && waited < Duration::from_secs(20), "{waited:?}");
        guest.ok("clock_time_get", &[id.into(), 0, OUT.into()]);
        assert!(guest.u64(OUT) >= until);
    }
}

#[test]
fn what_is_past_is_reported_at_once() {
    let mut guest = Guest::new(WasiConfig::new());
    let past = [clock(1, 0, 1, 1), clock(2, 1, 0, 1), clock(3, 1, 0, 0), clock(4, 1, u64::MAX, 0)];
    let events = poll(&mut guest, &past);
    assert_eq!(events, [(1, 0, 0, false), (2, 0, 0, false), (3, 0, 0, false)]);
}

#[test]
fn files_and_output_are_always_ready() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "content").unwrap();
    let mut guest = Guest::new(WasiConfig::new().preopen(dir.path(), "/").unwrap());
    let fd = guest.open("file", 0, READ | WRITE) as u32;
    let waits = [descriptor(1, 1, fd), descriptor(2, 2, fd), descriptor(3, 2, 1), clock(4, 1, milliseconds(60_000), 0)];
    assert_eq!(poll(&mut guest, &waits), [(1, 1, 7, false), (2, 2, 1, false), (3, 2, 1, false)]);
    guest.read(fd.into(), 16);
    assert_eq!(poll(&mut guest, &waits[..1]), [(1, 1, 0, true)]);
}

#[test]
fn input_is_ready_when_there_is_some_or_no_more() {
    let mut guest = Guest::new(WasiConfig::new().stdin(Input::Bytes(Bytes::from_static(b"abc"))));
    let wait = [descriptor(1, 1, 0)];
    assert_eq!(poll(&mut guest, &wait), [(1, 1, 3, false)]);
    guest.read(0, 3);
    assert_eq!(poll(&mut guest, &wait), [(1, 1, 0, true)]);
}

#[test]
fn input_that_arrives_ends_a_wait() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut guest = Guest::new(WasiConfig::new().stdin(Input::reader(reader)));
    let timeout = clock(2, 1, milliseconds(20), 0);
    assert_eq!(poll(&mut guest, &[descriptor(1, 1, 0), timeout]), [(2, 0, 0, false)]);
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        std::io::Write::write_all(&mut writer, b"late").unwrap();
    });
    assert_eq!(poll(&mut guest, &[descriptor(1, 1, 0), descriptor(3, 1, 0)]), [(1, 1, 4, false), (3, 1, 4, false)]);
    late.join().unwrap();
    assert_eq!(guest.read(0, 16), b"late");
    assert_eq!(poll(&mut guest, &[descriptor(1, 1, 0)]), [(1, 1, 0, true)]);
    assert_eq!(guest.read(0, 16), b"");
}

#[test]
fn a_wait_ends_with_the_run() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut guest = Guest::new(WasiConfig::new().stdin(Input::reader(reader)).stdout(Output::Discard));
    for waits in [vec![clock(1, 1, u64::MAX, 0)], vec![descriptor(1, 1, 0)]] {
        guest.run.set_deadline(Some(Instant::now() + Duration::from_millis(50)));
        let start = Instant::now();
        let stop = try_poll(&mut guest, &waits).unwrap_err();
        assert!(matches!(stop, Stop::Error(error) if error.kind() == Kind::Timeout));
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    guest.run.set_deadline(None);
    let token = guest.run.cancel_token();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        token.cancel();
    });
    let stop = try_poll(&mut guest, &[clock(1, 0, u64::MAX, 0)]).unwrap_err();
    assert!(matches!(stop, Stop::Error(error) if error.kind() == Kind::Cancelled));
    canceller.join().unwrap();
}

#[test]
fn bad_subscriptions_fail_the_call() {
    let (mut guest, _dir) = Guest::with_dir();
    let fails = |guest: &mut Guest, subscription, errno| {
        guest.put(EVENTS, &[0xee; 64]);
        assert_eq!(try_poll(guest, &[clock(1, 1, 0, 0), subscription]).unwrap(), errno as u16);
        assert_eq!(guest.get(EVENTS, 64), [0xee; 64]);
    };
    for id in [2, 3, 4, u32::MAX] {
        fails(&mut guest, clock(1, id, 0, 0), Errno::Inval);
    }
    fails(&mut guest, clock(1, 1, 0, 2), Errno::Inval);
    fails(&mut guest, descriptor(1, 3, 0), Errno::Inval);
    fails(&mut guest, descriptor(1, 1, 9), Errno::Badf);
    fails(&mut guest, descriptor(1, 1, 1), Errno::Badf);
    fails(&mut guest, descriptor(1, 2, 0), Errno::Badf);
    fails(&mut guest, descriptor(1, 1, DIR as u32), Errno::Badf);
}

#[test]
fn hostile_counts_neither_hang_nor_allocate() {
    let mut guest = Guest::new(WasiConfig::new().network(Network::new().max_sockets(4)));
    for count in [0, 4105, 0x0555_5556, 0xffff_ffff] {
        guest.fails("poll_oneoff", &[IN.into(), EVENTS.into(), count, OUT.into()], Errno::Inval);
    }
    // 4096, and two for each of its sockets.
    guest.fails("poll_oneoff", &[IN.into(), EVENTS.into(), 4104, OUT.into()], Errno::Fault);
    guest.fails("poll_oneoff", &[IN.into(), MEMORY as u64 - 31, 1, OUT.into()], Errno::Fault);
}

#[test]
fn events_may_be_written_over_subscriptions() {
    let mut guest = Guest::new(WasiConfig::new());
    guest.put(IN, &[clock(1, 1, 0, 0), clock(2, 1, 0, 0)].concat());
    guest.ok("poll_oneoff", &[IN.into(), IN.into(), 2, OUT.into()]);
    assert_eq!((guest.u64(IN), guest.u64(IN + 32)), (1, 2));
}

#[test]
fn a_guest_that_starts_anew_has_its_clock_go_on() {
    let mut guest = Guest::new(WasiConfig::new());
    std::thread::sleep(Duration::from_millis(50));
    let now = |guest: &mut Guest| {
        guest.ok("clock_time_get", &[1, 0, OUT.into()]);
        guest.u64(OUT)
    };
    let before = now(&mut guest);
    assert!(before >= milliseconds(50));
    guest.wasi.reset_for(WasiConfig::new());
    assert!(now(&mut guest) >= before);
}
