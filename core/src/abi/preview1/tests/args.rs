//! Arguments, environment, clocks, randomness.

use std::time::SystemTime;

use super::*;

#[test]
fn nothing_is_granted_by_default() {
    let mut guest = Guest::new(WasiConfig::default());
    for name in ["args_sizes_get", "environ_sizes_get"] {
        guest.put(OUT, &[0xff; 8]);
        guest.ok(name, &[OUT.into(), u64::from(OUT) + 4]);
        assert_eq!(guest.get(OUT, 8), [0; 8]);
    }
    assert_eq!(guest.read(0, 16), b"");
    assert_eq!(guest.write(1, b"lost"), 4);
    guest.fails("fd_prestat_get", &[DIR, OUT.into()], Errno::Badf);
}

#[test]
fn arguments_and_environment_arrive_with_nothing_written_beside_them() {
    let config = WasiConfig::new().args(["prog", "", "hé"]).unwrap().env("A", "1").unwrap().env("B", "x=y").unwrap();
    let mut guest = Guest::new(config.env("A", "2").unwrap());
    let (pointers, buffer) = (OUT, DATA);
    for (name, sizes, strings) in
        [("args_get", "args_sizes_get", "prog\0\0hé\0"), ("environ_get", "environ_sizes_get", "B=x=y\0A=2\0")]
    {
        guest.ok(sizes, &[u64::from(OUT) + 64, u64::from(OUT) + 68]);
        let count = guest.u32(OUT + 64);
        assert_eq!(guest.u32(OUT + 68) as usize, strings.len());
        guest.bytes().fill(0xee);
        guest.ok(name, &[pointers.into(), buffer.into()]);
        assert_eq!(guest.get(buffer, strings.len() as u32), strings.as_bytes());
        let mut at = buffer;
        for (index, string) in strings.split_terminator('\0').enumerate() {
            assert_eq!(guest.u32(pointers + 4 * index as u32), at);
            at += string.len() as u32 + 1;
        }
        assert_eq!(strings.split_terminator('\0').count() as u32, count);
        // Around both ranges everything is as it was.
        for canary in [pointers - 1, pointers + 4 * count, buffer - 1, buffer + strings.len() as u32] {
            assert_eq!(guest.get(canary, 1), [0xee]);
        }
    }
}

#[test]
fn strings_may_lie_right_at_the_end_of_memory() {
    let mut guest = Guest::new(WasiConfig::new().arg("abc").unwrap());
    let end = MEMORY as u64;
    guest.ok("args_get", &[0, end - 4]);
    guest.fails("args_get", &[0, end - 3], Errno::Fault);
    guest.ok("args_get", &[end - 4, 0]);
    guest.fails("args_get", &[end - 3, 0], Errno::Fault);
}

#[test]
fn clocks_tell_the_time() {
    let mut guest = Guest::new(WasiConfig::new());
    let now = |guest: &mut Guest, id: u64| {
        guest.ok("clock_time_get", &[id, 0, OUT.into()]);
        guest.u64(OUT)
    };
    let host = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let second = 1_000_000_000;
    assert!(now(&mut guest, 0).abs_diff(host) < 5 * second);
    let first = now(&mut guest, 1);
    assert!(first < 5 * second, "the monotonic clock starts with the guest, not at {first}");
    assert!(now(&mut guest, 1) >= first);
    for id in [2, 3] {
        guest.fails("clock_time_get", &[id, 0, OUT.into()], Errno::Badf);
        guest.fails("clock_res_get", &[id, OUT.into()], Errno::Badf);
    }
    guest.fails("clock_time_get", &[4, 0, OUT.into()], Errno::Inval);
    guest.ok("clock_res_get", &[1, OUT.into()]);
    assert_eq!(guest.u64(OUT), 1);
}

#[test]
fn randomness_fills_its_buffer_and_no_more() {
    let mut guest = Guest::new(WasiConfig::new());
    guest.ok("random_get", &[DATA.into(), 64]);
    assert_ne!(guest.get(DATA, 64), [0; 64]);
    assert_eq!(guest.get(DATA - 1, 1), [0]);
    assert_eq!(guest.get(DATA + 64, 1), [0]);
    guest.ok("random_get", &[MEMORY as u64, 0]);
    guest.fails("random_get", &[1, MEMORY as u64], Errno::Fault);
    guest.fails("random_get", &[16, 0xffff_ffff], Errno::Fault);
    assert_eq!(guest.get(0, 16), [0; 16]);
}

#[test]
fn randomness_ends_with_the_run() {
    let mut guest = Guest::new(WasiConfig::new());
    guest.run.cancel_token().cancel();
    let stop = guest.try_call("random_get", &[0, MEMORY as u64]).unwrap_err();
    assert!(matches!(stop, Stop::Error(error) if error.kind() == crate::Kind::Cancelled));
}

#[test]
fn signals_are_checked_before_they_are_refused() {
    let mut guest = Guest::new(WasiConfig::new());
    guest.fails("proc_raise", &[30], Errno::Notsup);
    guest.fails("proc_raise", &[31], Errno::Inval);
}
