//! Every function with random arguments: no panic, no hang, and the guest's memory stays what it was, a memory.

use std::collections::BTreeSet;
use std::fs;

use super::*;

/// A small generator of our own, so that a failure can be had again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A value of the kinds that a hostile guest would try.
    fn argument(&mut self) -> u64 {
        match self.below(10) {
            0 | 1 => self.below(10),
            2 => self.below(64),
            3 => 1 << self.below(64),
            4 => (MEMORY as u64 - 64) + self.below(128),
            5 => u64::from(PATH) + self.below(2) * u64::from(PATH_2 - PATH),
            6 => LIST.into(),
            7 => OUT.into(),
            8 => u64::MAX - self.below(16),
            _ => self.next(),
        }
    }
}

#[test]
fn no_call_panics_or_hangs() {
    let dir = tempfile::tempdir().unwrap();
    // Next to the granted directory, where nothing is to change.
    let granted = dir.path().join("granted");
    fs::create_dir_all(granted.join("dir")).unwrap();
    fs::write(dir.path().join("out"), "outside").unwrap();
    std::os::unix::fs::symlink("..", granted.join("link")).unwrap();
    let config = WasiConfig::new().args(["a", "b"]).unwrap().env("A", "B").unwrap();
    let config = config.preopen(&granted, "/").unwrap().preopen_read_only(&granted, "/ro").unwrap().max_fds(64);
    let network = Network::new().allow_listen("127.0.0.1:0".parse().unwrap()).max_sockets(8);
    let config = config.network(network);
    let functions = Dialect::ALL.into_iter().flat_map(Dialect::functions).collect::<Vec<_>>();
    let mut random = Random(0x5eed_0f0a_9ae5_7e57);
    let mut answers = BTreeSet::new();
    for round in 0..240 {
        // A new guest each time: the last one may have closed everything.
        let mut guest = Guest::new(config.clone());
        let names = ["file", "dir", "dir/file", "link", "../out", "a/../b"];
        guest.put(PATH, names[round % names.len()].as_bytes());
        guest.put(PATH_2, names[round / names.len() % names.len()].as_bytes());
        let anywhere = (random.next() as u32, random.next() as u32);
        guest.iovecs(&[(DATA, 64), (PATH, 4), anywhere][..random.below(3) as usize + 1]);
        guest.open_as(DIR + 1, ".", 0, READ, 0).unwrap();
        for _ in 0..150 {
            let function = functions[random.below(functions.len() as u64) as usize];
            let mut slots = (0..function.slots()).map(|_| random.argument()).collect::<Vec<_>>();
            let shown = format!("round {round}: {}{slots:x?}", function.name);
            // What waits ends by this.
            guest.run.set_deadline(Some(Instant::now() + Duration::from_millis(10)));
            let call = Instant::now();
            if (function.call)(&guest.wasi, &mut guest.memory, &mut slots).is_ok() {
                assert!(slots[0] <= Errno::Aisocktype as u64, "{shown}");
                answers.insert((function.name, slots[0]));
            }
            assert!(call.elapsed() < Duration::from_secs(20), "{shown}");
            assert_eq!(guest.bytes().len(), MEMORY, "{shown}");
        }
    }
    // It got past the first check of most functions.
    assert!(answers.len() > 150, "{} different answers", answers.len());
    assert_eq!(fs::read(dir.path().join("out")).unwrap(), b"outside");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}
