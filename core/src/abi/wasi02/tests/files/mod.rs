//! `wasi:filesystem`: descriptors, and what can be done with paths below one.

mod paths;
mod streams;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::abi::wasi02::filesystem::{DescriptorType, ErrorCode};

/// `descriptor-flags`, `path-flags` and `open-flags`, as the WIT file numbers them.
const READ: u64 = 1;
const WRITE: u64 = 2;
const MUTATE: u64 = 32;
const FOLLOW: u64 = 1;
const CREATE: u64 = 1;
const DIRECTORY: u64 = 2;
const EXCLUSIVE: u64 = 4;
const TRUNCATE: u64 = 8;

/// `new-timestamp`, flattened: the case, and the seconds and nanoseconds of a moment.
const NO_CHANGE: [u64; 3] = [0, 0, 0];
const NOW: [u64; 3] = [1, 0, 0];

fn at(seconds: u64, nanoseconds: u64) -> [u64; 3] {
    [2, seconds, nanoseconds]
}

/// A guest that is granted a directory, which has a file, a directory, and a symbolic link to the file.
struct Files {
    guest: Guest,
    host: TempDir,
    /// The granted directory.
    root: u64,
}

fn files_of(config: impl FnOnce(WasiConfig, &TempDir) -> WasiConfig) -> Files {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("file"), "0123456789").unwrap();
    fs::create_dir(host.path().join("dir")).unwrap();
    symlink("file", host.path().join("link")).unwrap();
    let mut guest = Guest::new(&config(WasiConfig::new(), &host));
    guest.call("wasi:filesystem/preopens#get-directories", &[RET.into()]);
    let root = guest.u32(guest.u32(RET)).into();
    Files { guest, host, root }
}

fn files() -> Files {
    files_of(|config, host| config.preopen(host.path(), "/").unwrap())
}

fn read_only() -> Files {
    files_of(|config, host| config.preopen_read_only(host.path(), "/").unwrap())
}

type Answer<T = ()> = Result<T, ErrorCode>;

impl Files {
    /// Calls a method that answers a `result` whose value is aligned to `align`; gives where the value is.
    #[track_caller]
    fn method(&mut self, method: &str, align: u32, this: u64, args: &[u64]) -> Answer<u32> {
        let guest = &mut self.guest;
        (guest.args, guest.fake.next) = (ARGS, HEAP);
        guest.call(&format!("wasi:filesystem/types#[method]{method}"), &[&[this], args, &[RET.into()]].concat());
        match guest.get(RET, 1)[0] {
            0 => Ok(RET + align),
            1 => Err(code(guest.get(RET + align, 1)[0])),
            case => panic!("a result has no case {case}"),
        }
    }

    #[track_caller]
    fn does(&mut self, method: &str, this: u64, args: &[u64]) -> Answer {
        self.method(method, 1, this, args).map(drop)
    }

    /// A path's address and length.
    fn path(&mut self, path: &str) -> [u64; 2] {
        self.guest.bytes(path.as_bytes())
    }

    /// Calls a method of the granted directory whose first argument is a path.
    #[track_caller]
    fn path_does(&mut self, method: &str, path: &str) -> Answer {
        let path = self.path(path);
        self.does(method, self.root, &path)
    }

    #[track_caller]
    fn open_below(&mut self, dir: u64, path: &str, follow: u64, open: u64, flags: u64) -> Answer<u64> {
        let [ptr, len] = self.path(path);
        let at = self.method("descriptor.open-at", 4, dir, &[follow, ptr, len, open, flags])?;
        Ok(self.guest.u32(at).into())
    }

    #[track_caller]
    fn open(&mut self, path: &str, open: u64, flags: u64) -> Answer<u64> {
        self.open_below(self.root, path, FOLLOW, open, flags)
    }

    #[track_caller]
    fn readlink(&mut self, path: &str) -> Answer<Vec<u8>> {
        let path = self.path(path);
        let at = self.method("descriptor.readlink-at", 4, self.root, &path)?;
        Ok(self.guest.string(at))
    }

    /// What is at `offset`, and whether that is the end.
    #[track_caller]
    fn read(&mut self, file: u64, len: u64, offset: u64) -> Answer<(Vec<u8>, bool)> {
        let at = self.method("descriptor.read", 4, file, &[len, offset])?;
        let end = self.guest.get(at + 8, 1)[0];
        assert!(end < 2, "{end}");
        Ok((self.guest.string(at), end == 1))
    }

    #[track_caller]
    fn write(&mut self, file: u64, text: &str, offset: u64) -> Answer<u64> {
        let [ptr, len] = self.path(text);
        let at = self.method("descriptor.write", 8, file, &[ptr, len, offset])?;
        Ok(self.guest.u64(at))
    }

    #[track_caller]
    fn flags(&mut self, this: u64) -> u64 {
        let at = self.method("descriptor.get-flags", 1, this, &[]).unwrap();
        self.guest.get(at, 1)[0].into()
    }

    /// `descriptor-stat`: type, links, size and three times, which may be absent.
    #[track_caller]
    fn stat(&mut self, method: &str, this: u64, args: &[u64]) -> Answer<Stat> {
        let at = self.method(method, 8, this, args)?;
        let time = |at| match self.guest.get(at, 1)[0] {
            0 => None,
            1 => Some((self.guest.u64(at + 8), self.guest.u32(at + 16))),
            case => panic!("an option has no case {case}"),
        };
        let [accessed, modified, changed] = [24, 48, 72].map(|field| time(at + field));
        Ok(Stat {
            kind: self.guest.get(at, 1)[0],
            links: self.guest.u64(at + 8),
            size: self.guest.u64(at + 16),
            accessed,
            modified,
            changed,
        })
    }

    #[track_caller]
    fn stat_at(&mut self, path: &str, flags: u64) -> Answer<Stat> {
        let [ptr, len] = self.path(path);
        self.stat("descriptor.stat-at", self.root, &[flags, ptr, len])
    }

    #[track_caller]
    fn hash(&mut self, method: &str, args: &[u64], this: u64) -> Answer<(u64, u64)> {
        let at = self.method(method, 8, this, args)?;
        Ok((self.guest.u64(at), self.guest.u64(at + 8)))
    }

    /// What the host has at a path.
    fn on_host(&self, path: &str) -> Option<fs::Metadata> {
        fs::symlink_metadata(self.host.path().join(path)).ok()
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.host.path().join(path)).unwrap()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    kind: u8,
    links: u64,
    size: u64,
    accessed: Option<(u64, u32)>,
    modified: Option<(u64, u32)>,
    changed: Option<(u64, u32)>,
}

fn code(case: u8) -> ErrorCode {
    use ErrorCode::*;
    [
        Access,
        WouldBlock,
        Already,
        BadDescriptor,
        Busy,
        Deadlock,
        Quota,
        Exist,
        FileTooLarge,
        IllegalByteSequence,
        InProgress,
        Interrupted,
        Invalid,
        Io,
        IsDirectory,
        Loop,
        TooManyLinks,
        MessageSize,
        NameTooLong,
        NoDevice,
        NoEntry,
        NoLock,
        InsufficientMemory,
        InsufficientSpace,
        NotDirectory,
        NotEmpty,
        NotRecoverable,
        Unsupported,
        NoTty,
        NoSuchDevice,
        Overflow,
        NotPermitted,
        Pipe,
        ReadOnly,
        InvalidSeek,
        TextFileBusy,
        CrossDevice,
    ][usize::from(case)]
}

#[test]
fn granted_directories_are_there_under_their_names() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    fs::write(dirs[1].path().join("in-second"), "").unwrap();
    let config = WasiConfig::new().preopen(dirs[0].path(), "/a").unwrap();
    let mut files = files_of(|_, _| config.preopen_read_only(dirs[1].path(), "/b").unwrap());
    (files.guest.args, files.guest.fake.next) = (ARGS, HEAP);
    files.guest.call("wasi:filesystem/preopens#get-directories", &[RET.into()]);
    let (list, count) = (files.guest.u32(RET), files.guest.u32(RET + 4));
    assert_eq!(count, 2);
    let [(first, a), (second, b)] =
        [list, list + 12].map(|at| (u64::from(files.guest.u32(at)), files.guest.string(at + 4)));
    assert_eq!((a, b), (b"/a".to_vec(), b"/b".to_vec()));
    assert_eq!((files.flags(first), files.flags(second)), (READ | MUTATE, READ));
    assert!(files.open_below(second, "in-second", 0, 0, READ).is_ok());
    assert_eq!(files.open_below(first, "in-second", 0, 0, READ), Err(ErrorCode::NoEntry));
}

#[test]
fn reading_gives_what_is_there_and_says_where_it_ends() {
    let mut files = files();
    let file = files.open("file", 0, READ).unwrap();
    assert_eq!(files.read(file, 4, 0), Ok((b"0123".to_vec(), false)));
    assert_eq!(files.read(file, 100, 8), Ok((b"89".to_vec(), false)));
    assert_eq!(files.read(file, 100, 10), Ok((vec![], true)));
    assert_eq!(files.read(file, 0, 10), Ok((vec![], false)), "nothing was asked for");
    assert_eq!(files.read(files.root, 1, 0), Err(ErrorCode::IsDirectory));
}

#[test]
fn no_read_gives_more_than_a_mebibyte() {
    let mut files = files();
    fs::write(files.host.path().join("large"), vec![b'x'; (1 << 20) + 1]).unwrap();
    files.guest.fake.memory.resize(3 << 20, 0);
    let file = files.open("large", 0, READ).unwrap();
    for len in [1 << 20, (1 << 20) + 1, u64::MAX] {
        let (bytes, end) = files.read(file, len, 0).unwrap();
        assert_eq!((bytes.len(), end), (1 << 20, false), "{len}");
    }
}

#[test]
fn what_is_written_is_there() {
    let mut files = files();
    let file = files.open("file", 0, READ | WRITE).unwrap();
    assert_eq!(files.write(file, "abc", 2), Ok(3));
    assert_eq!(files.write(file, "z", 11), Ok(1));
    assert_eq!(files.text("file"), "01abc56789\0z");
    assert_eq!(files.does("descriptor.set-size", file, &[4]), Ok(()));
    assert_eq!(files.text("file"), "01ab");
    assert_eq!(files.does("descriptor.sync", file, &[]), Ok(()));
    assert_eq!(files.does("descriptor.sync-data", file, &[]), Ok(()));
    assert_eq!(files.does("descriptor.sync", files.root, &[]), Ok(()));
    assert_eq!(files.write(files.root, "a", 0), Err(ErrorCode::BadDescriptor));
}

#[test]
fn a_descriptor_does_what_it_was_opened_for() {
    let mut files = files();
    let reads = files.open("file", 0, READ).unwrap();
    let writes = files.open("file", 0, WRITE).unwrap();
    assert_eq!((files.flags(reads), files.flags(writes)), (READ, WRITE));
    assert_eq!(files.write(reads, "a", 0), Err(ErrorCode::BadDescriptor));
    assert_eq!(files.does("descriptor.set-size", reads, &[0]), Err(ErrorCode::BadDescriptor));
    assert_eq!(files.read(writes, 1, 0), Err(ErrorCode::BadDescriptor));
    for (method, args) in [("write-via-stream", &[0][..]), ("append-via-stream", &[])] {
        let method = format!("descriptor.{method}");
        assert_eq!(files.method(&method, 4, reads, args), Err(ErrorCode::BadDescriptor));
        assert!(files.method(&method, 4, writes, args).is_ok());
    }
    assert_eq!(files.method("descriptor.read-via-stream", 4, writes, &[0]), Err(ErrorCode::BadDescriptor));
    assert_eq!(files.method("descriptor.read-via-stream", 4, files.root, &[0]), Err(ErrorCode::IsDirectory));
    assert_eq!(files.text("file"), "0123456789");
    let neither = files.open("file", 0, 0).unwrap();
    assert_eq!(files.flags(neither), READ, "what is not opened for writing is for reading");
    let dir = files.open("dir", 0, READ).unwrap();
    assert_eq!(files.flags(dir), READ | MUTATE, "a directory may be changed as the one it was found under");
    for flag in [4, 8] {
        let synced = files.open("file", 0, WRITE | flag).unwrap();
        assert_eq!(files.flags(synced), WRITE | flag);
        assert_eq!(files.write(synced, "0", 0), Ok(1));
    }
}

#[test]
fn what_is_known_of_a_file() {
    let mut files = files();
    let file = fs::File::options().write(true).open(files.host.path().join("file")).unwrap();
    let (accessed, modified) = (Duration::new(1_000_000_000, 7), Duration::new(1_100_000_000, 8));
    let times = fs::FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH + accessed);
    file.set_times(times.set_modified(SystemTime::UNIX_EPOCH + modified)).unwrap();
    fs::hard_link(files.host.path().join("file"), files.host.path().join("same")).unwrap();
    let metadata = files.on_host("file").unwrap();
    let expected = Stat {
        kind: DescriptorType::RegularFile as u8,
        links: 2,
        size: 10,
        accessed: Some((1_000_000_000, 7)),
        modified: Some((1_100_000_000, 8)),
        changed: Some((metadata.ctime() as u64, metadata.ctime_nsec() as u32)),
    };
    assert_eq!(files.stat_at("file", 0).unwrap(), expected);
    let open = files.open("file", 0, READ).unwrap();
    assert_eq!(files.stat("descriptor.stat", open, &[]).unwrap(), expected);
    file.set_times(fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH - Duration::from_secs(1))).unwrap();
    assert_eq!(files.stat_at("file", 0).unwrap().modified, None, "before 1970");
    let dir = files.stat("descriptor.stat", files.root, &[]).unwrap();
    assert_eq!(dir.kind, DescriptorType::Directory as u8);
}

#[test]
fn types() {
    let mut files = files();
    let _socket = UnixListener::bind(files.host.path().join("socket")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, files.host.path().join("fifo"), rustix::fs::Mode::RUSR).unwrap();
    assert!(files.on_host("fifo").unwrap().file_type().is_fifo());
    for (path, kind) in [
        ("file", DescriptorType::RegularFile),
        ("dir", DescriptorType::Directory),
        ("link", DescriptorType::SymbolicLink),
        ("fifo", DescriptorType::Fifo),
        ("socket", DescriptorType::Socket),
    ] {
        assert_eq!(files.stat_at(path, 0).unwrap().kind, kind as u8, "{path}");
    }
    for (path, kind) in [("file", DescriptorType::RegularFile), ("dir", DescriptorType::Directory)] {
        let open = files.open(path, 0, READ).unwrap();
        let at = files.method("descriptor.get-type", 1, open, &[]).unwrap();
        assert_eq!(files.guest.get(at, 1)[0], kind as u8, "{path}");
    }
    let mut devices = files_of(|config, _| config.preopen_read_only("/dev", "/dev").unwrap());
    assert_eq!(devices.stat_at("null", 0).unwrap().kind, DescriptorType::CharacterDevice as u8);
}

#[test]
fn the_same_object_by_another_name() {
    let mut files = files();
    fs::hard_link(files.host.path().join("file"), files.host.path().join("same")).unwrap();
    fs::write(files.host.path().join("other"), "0123456789").unwrap();
    let [file, same, other] = ["file", "same", "other"].map(|path| files.open(path, 0, READ).unwrap());
    let is_same = "wasi:filesystem/types#[method]descriptor.is-same-object";
    assert_eq!(files.guest.call(is_same, &[file, same]), 1);
    assert_eq!(files.guest.call(is_same, &[file, other]), 0);
    let hashes = [file, same, other].map(|file| files.hash("descriptor.metadata-hash", &[], file).unwrap());
    assert_eq!(hashes[0], hashes[1]);
    assert!(hashes[0].0 != hashes[2].0 && hashes[0].1 != hashes[2].1, "{hashes:?}");
    assert_ne!(hashes[0].0, hashes[0].1);
}

#[test]
fn times_are_set() {
    let mut files = files();
    let times = |files: &mut Files| {
        let stat = files.stat_at("file", 0).unwrap();
        (stat.accessed.unwrap(), stat.modified.unwrap())
    };
    let file = files.open("file", 0, READ).unwrap();
    let set = "descriptor.set-times";
    assert_eq!(files.does(set, file, &[at(5, 6), at(7, 8)].concat()), Ok(()));
    assert_eq!(times(&mut files), ((5, 6), (7, 8)));
    assert_eq!(files.does(set, file, &[NO_CHANGE, at(9, 0)].concat()), Ok(()));
    assert_eq!(times(&mut files), ((5, 6), (9, 0)));
    assert_eq!(files.does(set, file, &[NOW, NO_CHANGE].concat()), Ok(()));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (accessed, modified) = times(&mut files);
    assert!(accessed.0 <= now && now - accessed.0 < 600, "{accessed:?}");
    assert_eq!(modified, (9, 0));
    for overflow in [at(u64::MAX, 0), at(u64::MAX, 1_000_000_000)] {
        assert_eq!(files.does(set, file, &[NO_CHANGE, overflow].concat()), Err(ErrorCode::Overflow));
    }
    let dir = files.open("dir", 0, READ).unwrap();
    assert_eq!(files.does(set, dir, &[at(1, 0), at(2, 0)].concat()), Ok(()));
    let stat = files.stat_at("dir", 0).unwrap();
    assert_eq!((stat.accessed, stat.modified), (Some((1, 0)), Some((2, 0))));
}

#[test]
fn advice_is_for_files() {
    let mut files = files();
    let file = files.open("file", 0, READ).unwrap();
    for advice in 0..6 {
        assert_eq!(files.does("descriptor.advise", file, &[0, 4, advice]), Ok(()));
    }
    assert_eq!(files.does("descriptor.advise", files.root, &[0, 4, 0]), Err(ErrorCode::BadDescriptor));
}
