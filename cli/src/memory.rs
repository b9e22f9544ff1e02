//! How much memory this machine has, and how what is no longer needed gets back to it.

use std::fs;
use std::time::Duration;

use wharf::core::TotalMemory;

/// How often it is looked at how much guests have given back.
const LOOK: Duration = Duration::from_millis(250);

/// How many bytes have to be given back for the allocator to be asked for them.
const MUCH: u64 = 4 << 20;

/// Sees to it that the system gets back what guests give back to `total`. It never ends.
pub(crate) async fn release(total: TotalMemory) {
    let mut seen = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = total.given_back();
        if now - seen >= MUCH {
            seen = now;
            if tokio::task::spawn_blocking(trim).await.is_err() {
                return;
            }
        }
    }
}

/// Has the allocator give back what it holds and nobody uses: the one of the GNU C library keeps what lies between things
/// that are still used.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library has it, and no crate wraps it")]
fn trim() {
    // SAFETY: it takes a number, and may be called at any time on any thread.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

/// Three quarters of the memory that this process may have: the machine's, or less where it runs in a container with a
/// limit of its own. `None` where the system does not say.
pub(crate) fn three_quarters() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    // Version 2 of control groups, then version 1.
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = files.into_iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    let bytes = machine.into_iter().chain(group).min()?;
    Some(bytes / 4 * 3)
}

/// The bytes of `MemTotal` in what `/proc/meminfo` says.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       16384 kB\nX: 2 kB\n"), Some(16 << 20));
        for bad in ["", "MemTotal: x kB", "MemTotal: 18446744073709551615 kB"] {
            assert_eq!(total(bad), None);
        }
    }
}
