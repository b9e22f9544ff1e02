//! Reading and writing files, and what can be asked of a descriptor.

use std::fs;
use std::time::Duration;

use super::*;
use crate::abi::preview1::types::{
    FD_APPEND, FD_DSYNC, FD_NONBLOCK, FD_SYNC, MAX_IOVECS, O_CREAT, O_DIRECTORY, O_EXCL, O_TRUNC,
};

#[test]
fn scattered_reads_and_writes_use_all_buffers() {
    let (mut guest, dir) = Guest::with_dir();
    let fd = guest.open("file", O_CREAT, READ | WRITE);
    guest.put(DATA, b"Hello, world");
    let [iovs, len] = guest.iovecs(&[(DATA, 5), (0xffff_ffff, 0), (DATA + 5, 2), (DATA + 7, 5)]);
    guest.ok("fd_write", &[fd, iovs, len, OUT.into()]);
    assert_eq!(guest.u32(OUT), 12);
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"Hello, world");

    guest.ok("fd_seek", &[fd, 0, 0, OUT.into()]);
    guest.put(DATA, &[0xee; 32]);
    let [iovs, len] = guest.iovecs(&[(DATA, 3), (DATA + 4, 3), (DATA + 8, 16)]);
    guest.ok("fd_read", &[fd, iovs, len, OUT.into()]);
    assert_eq!(guest.u32(OUT), 12);
    assert_eq!(guest.get(DATA, 15), b"Hel\xeelo,\xee world\xee");
    assert_eq!(guest.read(fd, 16), b"");
}

#[test]
fn buffers_are_checked_before_anything_is_read() {
    let (mut guest, dir) = Guest::with_dir();
    fs::write(dir.path().join("file"), "content").unwrap();
    let fd = guest.open("file", 0, READ | WRITE);
    for bad in [(MEMORY as u32 - 3, 4), (0xffff_fffe, 4), (4, 0xffff_ffff)] {
        let [iovs, len] = guest.iovecs(&[(DATA, 3), bad]);
        for name in ["fd_read", "fd_write"] {
            guest.fails(name, &[fd, iovs, len, OUT.into()], Errno::Fault);
        }
        for name in ["fd_pread", "fd_pwrite"] {
            guest.fails(name, &[fd, iovs, len, 0, OUT.into()], Errno::Fault);
        }
    }
    assert_eq!(guest.get(DATA, 3), [0; 3]);
    guest.ok("fd_tell", &[fd, OUT.into()]);
    assert_eq!(guest.u64(OUT), 0);
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"content");
}

#[test]
fn hostile_counts_of_buffers_neither_hang_nor_allocate() {
    let (mut guest, _dir) = Guest::with_dir();
    let fd = guest.open("file", O_CREAT, READ | WRITE);
    let most = u64::from(MAX_IOVECS);
    guest.ok("fd_write", &[fd, LIST.into(), most, OUT.into()]);
    assert_eq!(guest.u32(OUT), 0);
    for count in [most + 1, 0x2000_0000, 0x2000_0001, 0xffff_ffff] {
        guest.fails("fd_write", &[fd, LIST.into(), count, OUT.into()], Errno::Inval);
        guest.fails("fd_read", &[fd, LIST.into(), count, OUT.into()], Errno::Inval);
    }
    guest.fails("fd_read", &[fd, MEMORY as u64 - 8, 2, OUT.into()], Errno::Fault);
}

#[test]
fn a_read_may_overwrite_the_list_of_its_buffers() {
    let (mut guest, dir) = Guest::with_dir();
    fs::write(dir.path().join("file"), [0xff; 64]).unwrap();
    let fd = guest.open("file", 0, READ);
    let [iovs, len] = guest.iovecs(&[(LIST, 16), (DATA, 16)]);
    guest.ok("fd_read", &[fd, iovs, len, OUT.into()]);
    assert_eq!(guest.u32(OUT), 32);
    assert_eq!(guest.get(DATA, 17), [&[0xff; 16][..], &[0]].concat());
}

#[test]
fn positions_are_moved_and_told() {
    let (mut guest, _dir) = Guest::with_dir();
    let fd = guest.open("file", O_CREAT, READ | WRITE);
    guest.write(fd, b"0123456789");
    for (offset, whence, at) in [(2i64, 0, 2), (3, 1, 5), (-1, 1, 4), (-4, 2, 6), (5, 2, 15), (0, 1, 15)] {
        guest.ok("fd_seek", &[fd, offset as u64, whence, OUT.into()]);
        assert_eq!(guest.u64(OUT), at);
        guest.ok("fd_tell", &[fd, OUT.into()]);
        assert_eq!(guest.u64(OUT), at);
    }
    for (offset, whence) in [(-1i64, 0), (-100, 1), (-100, 2), (i64::MIN, 0), (0, 3), (0, 0xffff_ffff)] {
        guest.fails("fd_seek", &[fd, offset as u64, whence, OUT.into()], Errno::Inval);
    }
    guest.fails("fd_seek", &[1, 0, 0, OUT.into()], Errno::Spipe);
    guest.fails("fd_tell", &[0, OUT.into()], Errno::Spipe);
    guest.fails("fd_seek", &[DIR, 0, 0, OUT.into()], Errno::Badf);
}

#[test]
fn reads_and_writes_at_an_offset_leave_the_position_alone() {
    let (mut guest, dir) = Guest::with_dir();
    let fd = guest.open("file", O_CREAT, READ | WRITE);
    guest.write(fd, b"0123456789");
    guest.put(DATA, b"ab");
    let [iovs, len] = guest.iovecs(&[(DATA, 1), (DATA + 1, 1)]);
    guest.ok("fd_pwrite", &[fd, iovs, len, 3, OUT.into()]);
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"012ab56789");
    let [iovs, len] = guest.iovecs(&[(DATA, 2), (DATA + 2, 30)]);
    guest.ok("fd_pread", &[fd, iovs, len, 7, OUT.into()]);
    assert_eq!(guest.u32(OUT), 3);
    assert_eq!(guest.get(DATA, 3), b"789");
    guest.ok("fd_tell", &[fd, OUT.into()]);
    assert_eq!(guest.u64(OUT), 10);
    for offset in [u64::MAX, i64::MAX as u64 + 1] {
        guest.fails("fd_pread", &[fd, iovs, len, offset, OUT.into()], Errno::Inval);
        guest.fails("fd_pwrite", &[fd, iovs, len, offset, OUT.into()], Errno::Inval);
    }
    guest.fails("fd_pread", &[0, iovs, len, 0, OUT.into()], Errno::Spipe);
    guest.fails("fd_pwrite", &[1, iovs, len, 0, OUT.into()], Errno::Spipe);
}

#[test]
fn appending_writes_go_to_the_end() {
    let (mut guest, dir) = Guest::with_dir();
    let path = dir.path().join("file");
    fs::write(&path, "one").unwrap();
    let fd = guest.open_as(DIR, "file", 0, READ | WRITE, FD_APPEND).unwrap();
    guest.write(fd, b"two");
    fs::write(&path, "onetwo!").unwrap();
    guest.write(fd, b"three");
    assert_eq!(fs::read(&path).unwrap(), b"onetwo!three");
    guest.ok("fd_fdstat_set_flags", &[fd, 0]);
    guest.ok("fd_seek", &[fd, 0, 0, OUT.into()]);
    guest.write(fd, b"ONE");
    guest.ok("fd_fdstat_set_flags", &[fd, FD_APPEND.into()]);
    guest.write(fd, b".");
    assert_eq!(fs::read(&path).unwrap(), b"ONEtwo!three.");
}

#[test]
fn flags_can_be_changed_where_the_host_can() {
    let (mut guest, _dir) = Guest::with_dir();
    let fd = guest.open_as(DIR, "file", O_CREAT, WRITE, FD_SYNC | FD_DSYNC).unwrap();
    let flags = |guest: &mut Guest, fd: u64| {
        guest.ok("fd_fdstat_get", &[fd, OUT.into()]);
        guest.u32(OUT) >> 16
    };
    assert_eq!(flags(&mut guest, fd), FD_SYNC | FD_DSYNC);
    guest.write(fd, b"synchronised");
    let set = FD_SYNC | FD_DSYNC | FD_NONBLOCK;
    guest.ok("fd_fdstat_set_flags", &[fd, set.into()]);
    assert_eq!(flags(&mut guest, fd), set);
    guest.fails("fd_fdstat_set_flags", &[fd, FD_NONBLOCK.into()], Errno::Inval);
    guest.fails("fd_fdstat_set_flags", &[fd, (set | 32).into()], Errno::Inval);
    guest.fails("fd_fdstat_set_flags", &[DIR, 0], Errno::Badf);
    guest.ok("fd_fdstat_set_flags", &[0, FD_NONBLOCK.into()]);
    assert_eq!(flags(&mut guest, 0), FD_NONBLOCK);
}

#[test]
fn rights_asked_for_decide_on_reading_and_writing() {
    let (mut guest, dir) = Guest::with_dir();
    fs::write(dir.path().join("file"), "content").unwrap();
    let [iovs, len] = guest.iovecs(&[(DATA, 4)]);
    for (rights, reads, writes) in
        [(READ, true, false), (WRITE, false, true), (READ | WRITE, true, true), (0, false, false)]
    {
        let fd = guest.open("file", 0, rights);
        guest.ok("fd_fdstat_get", &[fd, OUT.into()]);
        assert_eq!(guest.u64(OUT + 8) & (READ | WRITE), rights);
        assert_eq!(guest.call("fd_read", &[fd, iovs, len, OUT.into()]) == OK, reads);
        assert_eq!(guest.call("fd_write", &[fd, iovs, len, OUT.into()]) == OK, writes);
        if !writes {
            guest.fails("fd_write", &[fd, iovs, len, OUT.into()], Errno::Badf);
            guest.fails("fd_filestat_set_size", &[fd, 0], Errno::Inval);
        }
    }
}

#[test]
fn granted_directories_pass_on_what_wasi_libc_looks_for() {
    let (mut guest, _dir) = Guest::with_dir();
    guest.ok("fd_fdstat_get", &[DIR, OUT.into()]);
    assert_eq!(guest.get(OUT, 1), [3]);
    let (base, inheriting) = (guest.u64(OUT + 8), guest.u64(OUT + 16));
    assert_ne!(base & rights::PATH_OPEN, 0);
    assert_eq!(base & rights::FD_SEEK, 0);
    assert_eq!(
        inheriting & (READ | WRITE | rights::PATH_OPEN | rights::FD_READDIR),
        READ | WRITE | rights::PATH_OPEN | rights::FD_READDIR
    );
}

#[test]
fn rights_given_up_are_gone() {
    let (mut guest, dir) = Guest::with_dir();
    fs::create_dir(dir.path().join("within")).unwrap();
    let fd = guest.open("file", O_CREAT, READ | WRITE);
    let kept = READ | rights::FD_TELL;
    guest.ok("fd_fdstat_set_rights", &[fd, kept, 0]);
    guest.fails("fd_fdstat_set_rights", &[fd, kept | WRITE, 0], Errno::Notcapable);
    guest.fails("fd_seek", &[fd, 1, 0, OUT.into()], Errno::Notcapable);
    guest.ok("fd_seek", &[fd, 0, 1, OUT.into()]);
    guest.fails("fd_filestat_get", &[fd, OUT.into()], Errno::Notcapable);
    guest.fails("fd_sync", &[fd], Errno::Notcapable);
    let fd = guest.open("file", 0, READ);
    guest.ok("fd_fdstat_set_rights", &[fd, rights::FD_SEEK, 0]);
    guest.ok("fd_tell", &[fd, OUT.into()]);
    guest.ok("fd_fdstat_set_rights", &[fd, 0, 0]);
    guest.fails("fd_tell", &[fd, OUT.into()], Errno::Notcapable);
    let fd = guest.open("file", 0, WRITE);
    guest.ok("fd_fdstat_set_rights", &[fd, WRITE, 0]);
    guest.fails("fd_filestat_set_size", &[fd, 0], Errno::Notcapable);

    let all = rights::DIRECTORY | rights::FILE;
    guest.ok("fd_fdstat_set_rights", &[DIR, rights::PATH_OPEN, all & !WRITE]);
    guest.path_fails("path_create_directory", "dir", Errno::Notcapable);
    assert_eq!(guest.open_as(DIR, "new", O_CREAT, READ, 0), Err(Errno::Notcapable as u16));
    assert_eq!(guest.open_as(DIR, "file", O_TRUNC, READ, 0), Err(Errno::Notcapable as u16));
    let fd = guest.open("file", 0, READ | WRITE);
    guest.ok("fd_fdstat_get", &[fd, OUT.into()]);
    assert_eq!(guest.u64(OUT + 8) & (READ | WRITE), READ);

    let left = all & !WRITE & !rights::PATH_UNLINK_FILE;
    guest.ok("fd_fdstat_set_rights", &[DIR, rights::PATH_OPEN, left]);
    let within = guest.open("within", O_DIRECTORY, 0);
    guest.ok("fd_fdstat_get", &[within, OUT.into()]);
    assert_eq!(guest.u64(OUT + 8), rights::DIRECTORY & left, "what applies to a directory");
    assert_eq!(guest.u64(OUT + 16), left, "what it passes on");
}

#[test]
fn attributes_are_told_and_changed() {
    let (mut guest, dir) = Guest::with_dir();
    let fd = guest.open("file", O_CREAT, READ | WRITE);
    guest.write(fd, b"0123456789");
    guest.ok("fd_filestat_set_size", &[fd, 4]);
    guest.ok("fd_filestat_set_times", &[fd, 1_500_000_000_123_456_789, 7, 1 | 4]);
    guest.put(OUT - 1, &[0xee; 66]);
    guest.ok("fd_filestat_get", &[fd, OUT.into()]);
    assert_eq!((guest.get(OUT - 1, 1), guest.get(OUT + 64, 1)), (vec![0xee], vec![0xee]));
    assert_eq!(guest.get(OUT + 16, 1), [4]);
    assert_eq!(guest.u64(OUT + 24), 1);
    assert_eq!(guest.u64(OUT + 32), 4);
    assert_eq!(guest.u64(OUT + 40), 1_500_000_000_123_456_789);
    assert_eq!(guest.u64(OUT + 48), 7);
    let metadata = fs::metadata(dir.path().join("file")).unwrap();
    assert_eq!(metadata.modified().unwrap(), std::time::UNIX_EPOCH + Duration::from_nanos(7));

    guest.ok("fd_filestat_set_times", &[fd, 0, 0, 8]);
    guest.ok("fd_filestat_get", &[fd, OUT.into()]);
    assert!(guest.u64(OUT + 48) > 1_600_000_000_000_000_000);
    for flags in [3, 12, 16] {
        guest.fails("fd_filestat_set_times", &[fd, 0, 0, flags], Errno::Inval);
    }
    guest.ok("fd_filestat_set_times", &[DIR, 9, 9, 5]);
    guest.ok("fd_filestat_get", &[DIR, OUT.into()]);
    assert_eq!((guest.get(OUT + 16, 1), guest.u64(OUT + 48)), (vec![3], 9));
    for stream in 0..3 {
        guest.ok("fd_filestat_get", &[stream, OUT.into()]);
        assert_eq!(guest.get(OUT, 64), [0; 64]);
        guest.fails("fd_filestat_set_size", &[stream, 0], Errno::Badf);
    }
    guest.fails("fd_filestat_set_size", &[fd, u64::MAX], Errno::Inval);
}

#[test]
fn directories_can_be_synchronised_and_not_advised_on() {
    let (mut guest, _dir) = Guest::with_dir();
    guest.ok("fd_sync", &[DIR]);
    guest.ok("fd_datasync", &[DIR]);
    guest.fails("fd_advise", &[DIR, 0, 0, 0], Errno::Badf);
    guest.fails("fd_allocate", &[DIR, 0, 0], Errno::Badf);
    let fd = guest.open("file", O_CREAT, WRITE);
    for advice in 0..6 {
        guest.ok("fd_advise", &[fd, 0, 0, advice]);
    }
    guest.fails("fd_advise", &[fd, 0, 0, 6], Errno::Inval);
}

#[test]
fn numbers_are_reused_lowest_first_and_moved() {
    let (mut guest, dir) = Guest::with_dir();
    fs::write(dir.path().join("a"), "a").unwrap();
    fs::write(dir.path().join("b"), "b").unwrap();
    assert_eq!((guest.open("a", 0, READ), guest.open("b", 0, READ)), (4, 5));
    guest.ok("fd_renumber", &[5, 4]);
    assert_eq!(guest.read(4, 1), b"b");
    guest.fails("fd_close", &[5], Errno::Badf);
    guest.fails("fd_renumber", &[4, 5], Errno::Badf);
    guest.ok("fd_renumber", &[4, 4]);
    assert_eq!(guest.open("a", 0, READ), 5);
    guest.ok("fd_close", &[0]);
    assert_eq!(guest.open("a", 0, READ), 0);
    guest.ok("fd_renumber", &[0, 1]);
    assert_eq!(guest.read(1, 1), b"a");
    guest.ok("fd_close", &[DIR]);
    guest.fails("fd_prestat_get", &[DIR, OUT.into()], Errno::Badf);
}

#[test]
fn descriptors_are_limited() {
    let dir = tempfile::tempdir().unwrap();
    let mut guest = Guest::new(WasiConfig::new().preopen(dir.path(), "/").unwrap().max_fds(6));
    assert_eq!((guest.open("a", O_CREAT, READ), guest.open("a", 0, READ)), (4, 5));
    assert_eq!(guest.open_as(DIR, "b", O_CREAT | O_EXCL, READ, 0), Err(Errno::Nfile as u16));
    assert!(!dir.path().join("b").exists(), "what cannot be opened is not created");
    guest.ok("fd_close", &[4]);
    assert_eq!(guest.open_as(DIR, ".", O_DIRECTORY, READ, 0), Ok(4));
    // The limit never takes away what was granted.
    let mut guest = Guest::new(WasiConfig::new().preopen(dir.path(), "/").unwrap().max_fds(0));
    guest.ok("fd_prestat_get", &[DIR, OUT.into()]);
    assert_eq!(guest.open_as(DIR, "a", 0, READ, 0), Err(Errno::Nfile as u16));
}

/// The rights to these, as the WITX file numbers them.
fn rights_of(bits: impl IntoIterator<Item = u32>) -> u64 {
    bits.into_iter().map(|bit| 1 << bit).sum()
}

#[test]
fn each_descriptor_has_the_rights_that_make_sense_for_it() {
    let (mut guest, dir) = Guest::with_dir();
    fs::write(dir.path().join("file"), "").unwrap();
    // datasync, read, seek, set flags, sync, tell, write, advise, allocate, stat, set size, set times, poll.
    let file_rights = rights_of((0..=8).chain([21, 22, 23, 27]));
    let file = guest.open("file", 0, file_rights);
    for (fd, bits) in [
        // read, set flags, stat, poll; and to write in place of read.
        (0, rights_of([1, 3, 21, 27])),
        (1, rights_of([3, 6, 21, 27])),
        (2, rights_of([3, 6, 21, 27])),
        // datasync, sync, all that is done by path, stat, set times.
        (DIR, rights_of([0, 4].into_iter().chain(9..=21).chain([23, 24, 25, 26]))),
        (file, file_rights),
    ] {
        guest.ok("fd_fdstat_get", &[fd, OUT.into()]);
        assert_eq!(guest.u64(OUT + 8), bits, "{fd}");
    }
    guest.ok("fd_fdstat_get", &[DIR, OUT.into()]);
    let inherits = file_rights | rights_of([0, 4].into_iter().chain(9..=21).chain([23, 24, 25, 26]));
    assert_eq!(guest.u64(OUT + 16), inherits, "what is opened below a directory may have the rights of either");
    let writing = rights_of([6, 8, 22]);
    let mut guest = Guest::new(WasiConfig::new().preopen_read_only(dir.path(), "/").unwrap());
    let file = guest.open("file", 0, file_rights & !writing);
    guest.ok("fd_fdstat_get", &[file, OUT.into()]);
    assert_eq!(guest.u64(OUT + 8), file_rights & !writing);
}
