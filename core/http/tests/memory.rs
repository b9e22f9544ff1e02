//! What a large response costs. A binary of its own, since it measures the process.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "this test needs a part")]
#[path = "all/support/mod.rs"]
mod support;

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use support::*;
use wharf_http::{PooledBuilder as Builder, PooledTransport as Sends};

/// The memory of this process that is in use, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn a_large_response_and_a_slow_reader_cost_little_memory() {
    const TOTAL: u64 = 64 << 20;
    let (origin, sent) = flooding(TOTAL);
    let outbound = outbound(allowing(&[&origin]));
    let mut body = send(&outbound, get(&origin.url("/"))).unwrap().into_body();
    sleep(Duration::from_millis(500));
    // What the origin could send by now is in the buffers of the system and in the read-ahead.
    let ahead = sent.load(Ordering::SeqCst);
    assert!(ahead < TOTAL / 3, "{ahead} bytes were taken from the origin without a reader");
    let before = resident();
    let (mut read, mut peak) = (0, before);
    while let Some(chunk) = wait(body.chunk()) {
        read += chunk.unwrap().len() as u64;
        peak = peak.max(resident());
    }
    assert_eq!(read, TOTAL);
    assert!(peak.saturating_sub(before) < 4 << 20, "the process grew from {before} to {peak} bytes");
}
