//! How much memory a server may take, and how what is no longer needed gets back to the system.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use wharf::core::{LoadOptions, TotalMemory};

/// How often it is looked at how much guests have given back.
const LOOK: Duration = Duration::from_millis(250);

/// How many bytes have to be given back for the allocator to be asked for them.
const MUCH: u64 = 4 << 20;

/// How many requests a server works on at a time, if there is memory for so many.
const PLACES: usize = 128;

/// What an instance may take at least, unless the operator says otherwise: guests that carry an interpreter begin with 9
/// to 16 MiB.
const LEAST: u64 = 64 << 20;

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

/// What the instances of a server may take, and how many there may be at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// What all of them may take together, in bytes; `None` if nobody knows how much there is.
    pub(crate) total: Option<u64>,
    /// What each may take, in bytes.
    pub(crate) each: u64,
    /// How many requests are worked on at a time.
    pub(crate) places: usize,
}

impl Shares {
    /// What the operator says, and where nothing is said what fits into `machine` bytes: three quarters of them for all,
    /// and as many places as have what each may take.
    pub(crate) fn of(machine: Option<u64>, total: Option<u64>, each: Option<u64>, places: Option<usize>) -> Self {
        let total = total.or_else(|| machine.map(|bytes| bytes / 4 * 3));
        let most = LoadOptions::default().max_memory;
        let Some(all) = total else {
            return Shares { total, each: each.unwrap_or(most), places: places.unwrap_or(PLACES) };
        };
        let share = all / places.unwrap_or(PLACES).max(1) as u64;
        let each = each.unwrap_or_else(|| share.clamp(LEAST, most).min(all));
        let fitting = usize::try_from(all / each.max(1)).unwrap_or(usize::MAX);
        Shares { total, each, places: places.unwrap_or_else(|| fitting.clamp(1, PLACES)) }
    }

    /// The account that the instances of a server share.
    pub(crate) fn account(&self) -> Option<TotalMemory> {
        self.total.map(|total| TotalMemory::shared(total, self.each))
    }
}

impl std::fmt::Display for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let requests = if self.places == 1 { "request" } else { "requests" };
        write!(f, "{} {requests} at a time, with up to {} of memory each", self.places, ByteSize(self.each))?;
        self.total.map_or(Ok(()), |total| write!(f, " and {} together", ByteSize(total)))
    }
}

/// How much memory this process may have: the machine's, or less where a control group that it is in has a limit. `None`
/// where the system does not say.
pub(crate) fn available() -> Option<u64> {
    available_in(Path::new("/"))
}

/// The same of a system whose files are there.
fn available_in(root: &Path) -> Option<u64> {
    let read = |path: &Path| fs::read_to_string(root.join(path)).ok();
    let machine = read(Path::new("proc/meminfo")).and_then(|text| total(&text));
    let groups = read(Path::new("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(group).flat_map(|(directory, file, group)| {
        // Each group around this one has a limit too. In a container, the groups may be named as outside of it: there the
        // container's own is the outermost.
        let ancestors = Path::new(group).ancestors();
        let files = ancestors.map(move |group| directory.join(group).join(file));
        files.filter_map(|file| read(&file)?.trim().parse::<u64>().ok()).collect::<Vec<_>>()
    });
    machine.into_iter().chain(limits).min()
}

/// Where the limit is that a line of `/proc/self/cgroup` is about: the directory of the groups, the name of the file in a
/// group, and the group.
fn group(line: &str) -> Option<(&'static Path, &'static str, &str)> {
    let mut fields = line.splitn(3, ':');
    let (id, controllers, group) = (fields.next()?, fields.next()?, fields.next()?.trim_start_matches('/'));
    if id == "0" && controllers.is_empty() {
        return Some((Path::new("sys/fs/cgroup"), "memory.max", group));
    }
    // Version 1 of control groups.
    let memory = controllers.split(',').any(|controller| controller == "memory");
    memory.then_some((Path::new("sys/fs/cgroup/memory"), "memory.limit_in_bytes", group))
}

/// The bytes of `MemTotal` in what `/proc/meminfo` says.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn the_total_is_read() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       16384 kB\nX: 2 kB\n"), Some(16 << 20));
        for bad in ["", "MemTotal: x kB", "MemTotal: 18446744073709551615 kB"] {
            assert_eq!(total(bad), None);
        }
    }

    #[test]
    fn defaults_fit_the_machine() {
        for machine in [128 * MIB, 512 * MIB, GIB, 2 * GIB, 4 * GIB, 8 * GIB, 16 * GIB, 64 * GIB, 2048 * GIB] {
            let Shares { total, each, places } = Shares::of(Some(machine), None, None, None);
            let total = total.unwrap();
            assert_eq!(total, machine / 4 * 3);
            assert!(each * places as u64 <= total, "{machine}: {places} times {each}");
            assert!((1..=PLACES).contains(&places) && each >= LEAST.min(total), "{machine}: {places} times {each}");
        }
        let shares = Shares::of(Some(4 * GIB), None, None, None);
        assert_eq!(shares, Shares { total: Some(3 * GIB), each: 64 * MIB, places: 48 });
        assert_eq!(
            shares.to_string(),
            "48 requests at a time, with up to 64.0 MiB of memory each and 3.0 GiB together"
        );
    }

    #[test]
    fn what_the_operator_says_holds_and_the_rest_fits_it() {
        let of = |total, each, places| Shares::of(Some(16 * GIB), total, each, places);
        assert_eq!(of(Some(GIB), None, None), Shares { total: Some(GIB), each: 64 * MIB, places: 16 });
        assert_eq!(of(None, Some(GIB), None), Shares { total: Some(12 * GIB), each: GIB, places: 12 });
        assert_eq!(of(None, None, Some(4)), Shares { total: Some(12 * GIB), each: 3 * GIB, places: 4 });
        assert_eq!(of(None, None, Some(1)), Shares { total: Some(12 * GIB), each: 4 * GIB, places: 1 });
        // More than fits, if that is what is said: what finds no memory is answered with 503.
        assert_eq!(of(None, Some(GIB), Some(64)), Shares { total: Some(12 * GIB), each: GIB, places: 64 });
        assert_eq!(of(None, None, Some(1000)), Shares { total: Some(12 * GIB), each: 64 * MIB, places: 1000 });
        for (total, each) in [(0, 0), (0, 1), (1, 0)] {
            assert!(of(Some(total), Some(each), None).places >= 1);
        }
        let unknown = Shares { total: None, each: 4 * GIB, places: PLACES };
        assert_eq!(Shares::of(None, None, None, None), unknown);
        assert_eq!(unknown.to_string(), "128 requests at a time, with up to 4.0 GiB of memory each");
    }

    /// A system with these files.
    fn system(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        available_in(root.path())
    }

    #[test]
    fn the_smallest_limit_around_this_process_counts() {
        let machine = ("proc/meminfo", "MemTotal: 16384 kB\n");
        assert_eq!(system(&[]), None);
        assert_eq!(system(&[machine]), Some(16 << 20));
        let two = ("proc/self/cgroup", "0::/a.slice/b.service\n");
        let (outer, inner) = ("sys/fs/cgroup/a.slice/memory.max", "sys/fs/cgroup/a.slice/b.service/memory.max");
        for (limits, expected) in
            [(["max\n", "max\n"], 16 << 20), (["1000\n", "2000\n"], 1000), (["2000\n", "1000\n"], 1000)]
        {
            assert_eq!(system(&[machine, two, (outer, limits[0]), (inner, limits[1])]), Some(expected), "{limits:?}");
        }
        // In a container that sees names from outside, and its own group at the root.
        assert_eq!(system(&[machine, two, ("sys/fs/cgroup/memory.max", "4096\n")]), Some(4096));
        // Version 1, which has a huge number for none.
        let one = ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/a/b\n0::/\n");
        let at = |path, limit| (path, limit);
        let root = at("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(system(&[machine, one, root]), Some(16 << 20));
        let own = at("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "5000\n");
        assert_eq!(system(&[machine, one, root, own]), Some(5000));
        // Another controller's group is none of memory.
        assert_eq!(system(&[machine, one, at("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1\n")]), Some(16 << 20));
    }
}
