//! Granted directories and listings.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};

use super::*;
use crate::abi::preview1::types::O_DIRECTORY;

/// The whole entries in what one call wrote: cookie of the next, inode, kind, name.
fn entries(bytes: &[u8]) -> Vec<(u64, u64, u8, Vec<u8>)> {
    let mut rest = bytes;
    let mut entries = Vec::new();
    while rest.len() >= 24 {
        let len = u32_at(rest, 16) as usize;
        let Some(name) = rest.get(24..24 + len) else { break };
        entries.push((u64_at(rest, 0), u64_at(rest, 8), rest[20], name.to_vec()));
        rest = &rest[24 + len..];
    }
    entries
}

fn read_dir(guest: &mut Guest, fd: u64, len: u32, cookie: u64) -> Vec<u8> {
    guest.ok("fd_readdir", &[fd, DATA.into(), len.into(), cookie, OUT.into()]);
    let used = guest.u32(OUT);
    guest.get(DATA, used)
}

/// All names, as wasi-libc reads them: from the last whole entry on, until a buffer is not full.
fn names(guest: &mut Guest, fd: u64, len: u32) -> Vec<Vec<u8>> {
    let (mut names, mut cookie) = (Vec::new(), 0);
    loop {
        let bytes = read_dir(guest, fd, len, cookie);
        for (next, _, _, name) in entries(&bytes) {
            names.push(name);
            cookie = next;
        }
        if bytes.len() < len as usize {
            return names;
        }
    }
}

#[test]
fn granted_directories_have_names() {
    let dir = tempfile::tempdir().unwrap();
    let config = WasiConfig::new().preopen(dir.path(), "/data").unwrap().preopen(dir.path(), ".").unwrap();
    let mut guest = Guest::new(config);
    for (fd, name) in [(3, "/data"), (4, ".")] {
        guest.put(OUT, &[0xee; 8]);
        guest.ok("fd_prestat_get", &[fd, OUT.into()]);
        assert_eq!((guest.u32(OUT), guest.u32(OUT + 4) as usize), (0, name.len()));
        guest.put(DATA, &[0xee; 8]);
        guest.fails("fd_prestat_dir_name", &[fd, DATA.into(), name.len() as u64 - 1], Errno::Nametoolong);
        assert_eq!(guest.get(DATA, 8), [0xee; 8]);
        guest.ok("fd_prestat_dir_name", &[fd, DATA.into(), 0xffff_ffff]);
        assert_eq!(guest.get(DATA, name.len() as u32 + 1), [name.as_bytes(), &[0xee]].concat());
    }
    guest.fails("fd_prestat_get", &[5, OUT.into()], Errno::Badf);
    let sub = guest.open(".", O_DIRECTORY, READ);
    for fd in [0, sub] {
        guest.fails("fd_prestat_get", &[fd, OUT.into()], Errno::Badf);
        guest.fails("fd_prestat_dir_name", &[fd, DATA.into(), 8], Errno::Notdir);
    }
}

#[test]
fn a_listing_tells_kinds_and_inodes() {
    let (mut guest, dir) = Guest::with_dir();
    fs::write(dir.path().join("file"), "").unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
    let bytes = read_dir(&mut guest, DIR, 4096, 0);
    let entries = entries(&bytes);
    let host = fs::read_dir(dir.path()).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.ino(), entry.file_name().as_bytes().to_vec())
    });
    let ino = fs::metadata(dir.path()).unwrap().ino();
    let host = host.chain([(ino, b".".to_vec()), (ino, b"..".to_vec())]).collect::<BTreeSet<_>>();
    assert_eq!(entries.iter().map(|(_, ino, _, name)| (*ino, name.clone())).collect::<BTreeSet<_>>(), host);
    for (_, _, kind, name) in &entries {
        let expected = match name.as_slice() {
            b"file" => 4,
            b"link" => 7,
            _ => 3,
        };
        assert_eq!(*kind, expected, "{}", name.escape_ascii());
    }
    assert_eq!(entries.iter().map(|entry| entry.0).collect::<Vec<_>>(), (1..=5).collect::<Vec<_>>());
    assert_eq!(read_dir(&mut guest, DIR, 4096, 5), b"");
    assert_eq!(read_dir(&mut guest, DIR, 4096, u64::MAX), b"");
}

#[test]
fn every_entry_is_seen_once_whatever_the_buffer() {
    let (mut guest, dir) = Guest::with_dir();
    let mut expected = BTreeSet::from([b".".to_vec(), b"..".to_vec()]);
    for index in 0..300 {
        let name = format!("{index}{}", "x".repeat(index % 50));
        fs::write(dir.path().join(&name), "").unwrap();
        expected.insert(name.into_bytes());
    }
    for len in [80, 81, 127, 256, 4096, 16 << 10] {
        let names = names(&mut guest, DIR, len);
        assert_eq!(names.len(), expected.len(), "{len}");
        assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), expected, "{len}");
    }
}

#[test]
fn an_entry_is_cut_short_at_any_byte_and_nothing_is_written_behind_it() {
    let (mut guest, _dir) = Guest::with_dir();
    let whole = read_dir(&mut guest, DIR, 4096, 0);
    assert_eq!(whole.len(), 24 + 1 + 24 + 2);
    for len in 0..=whole.len() as u32 {
        guest.put(DATA, &[0xee; 64]);
        assert_eq!(read_dir(&mut guest, DIR, len, 0), whole[..len as usize]);
        assert_eq!(guest.get(DATA + len, 1), [0xee]);
    }
}

#[test]
fn any_cookie_can_be_gone_back_to() {
    let (mut guest, dir) = Guest::with_dir();
    for index in 0..20 {
        fs::write(dir.path().join(index.to_string()), "").unwrap();
    }
    let all = entries(&read_dir(&mut guest, DIR, 4096, 0));
    for cookie in [5, 0, 21, 7, 8, 7, 1, 22] {
        assert_eq!(entries(&read_dir(&mut guest, DIR, 4096, cookie)), all[cookie as usize..], "{cookie}");
    }
}

#[test]
fn files_may_be_removed_on_the_way() {
    let (mut guest, dir) = Guest::with_dir();
    for index in 0..500 {
        fs::write(dir.path().join(format!("file {index}")), "").unwrap();
    }
    let mut cookie = 0;
    loop {
        let bytes = read_dir(&mut guest, DIR, 512, cookie);
        for (next, _, kind, name) in entries(&bytes) {
            cookie = next;
            if kind == 4 {
                let [path, len] = guest.path(std::str::from_utf8(&name).unwrap());
                guest.ok("path_unlink_file", &[DIR, path, len]);
            }
        }
        if bytes.len() < 512 {
            break;
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_listing_from_the_start_shows_what_is_there_now() {
    let (mut guest, dir) = Guest::with_dir();
    assert_eq!(names(&mut guest, DIR, 4096).len(), 2);
    fs::write(dir.path().join("new"), "").unwrap();
    assert_eq!(names(&mut guest, DIR, 4096).len(), 3);
}

#[test]
fn a_name_that_is_not_utf8_is_listed_as_it_is() {
    let (mut guest, dir) = Guest::with_dir();
    fs::write(dir.path().join(OsStr::from_bytes(b"\xff")), "").unwrap();
    assert_eq!(names(&mut guest, DIR, 4096)[2], b"\xff");
}

#[test]
fn only_directories_are_listed() {
    let (mut guest, dir) = Guest::with_dir();
    fs::write(dir.path().join("file"), "").unwrap();
    let file = guest.open("file", 0, READ);
    guest.fails("fd_readdir", &[file, DATA.into(), 64, 0, OUT.into()], Errno::Notdir);
    guest.fails("fd_readdir", &[1, DATA.into(), 64, 0, OUT.into()], Errno::Badf);
    guest.fails("fd_readdir", &[DIR, DATA.into(), 0xffff_ffff, 0, OUT.into()], Errno::Fault);
}

#[test]
fn descriptors_are_charged_and_directories_with_what_listing_them_takes() {
    let (mut guest, dir) = Guest::with_dir();
    fs::write(dir.path().join("file"), "").unwrap();
    let budget = crate::budget::Budget::new(1 << 20);
    let config = WasiConfig::new().preopen(dir.path(), "/").unwrap();
    guest.wasi = Wasi::new(config, guest.run.clone()).bounded(&budget);
    let before = budget.used();
    let file = guest.open("file", 0, READ);
    let with_file = budget.used();
    assert!(with_file >= before + (1 << 10), "{before} {with_file}");
    let listed = guest.open(".", O_DIRECTORY, rights::FD_READDIR);
    assert!(budget.used() >= with_file + (33 << 10), "{with_file} {}", budget.used());
    guest.ok("fd_close", &[file]);
    guest.ok("fd_close", &[listed]);
    assert_eq!(budget.used(), before);
}
