//! Descriptors: closing, renumbering, attributes, flags, rights, and how many there may be.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;
use wharf_core::grants::WasiConfig;

use super::host;
use super::probe::{CREAT, DIR, DIRECTORY, EXCL, Errno, NONBLOCK, READ, TRUNC, WRITE, WasiProbe, at, range};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("preview1/fd/close", "wasi_snapshot_preview1: fd_close", close),
    Case::must("preview1/fd/renumber", "wasi_snapshot_preview1: fd_renumber", renumber),
    Case::must("preview1/fd/limit", "wasi_snapshot_preview1: path_open, errno nfile", limit),
    Case::must("preview1/fd/each-guest-has-its-own", "wasi_snapshot_preview1: fd", own_table),
    Case::must("preview1/fd/filestat", "wasi_snapshot_preview1: fd_filestat_get, filestat", filestat),
    Case::must("preview1/fd/set-size", "wasi_snapshot_preview1: fd_filestat_set_size", set_size),
    Case::must("preview1/fd/set-times", "wasi_snapshot_preview1: fd_filestat_set_times", set_times),
    Case::must("preview1/fd/set-flags", "wasi_snapshot_preview1: fd_fdstat_set_flags", set_flags),
    Case::must("preview1/fd/give-up-rights", "wasi_snapshot_preview1: fd_fdstat_set_rights", give_up),
    Case::must("preview1/fd/rights-are-inherited", "wasi_snapshot_preview1: fd_fdstat_set_rights", inherited),
    Case::must("preview1/fd/seek-includes-tell", "wasi_snapshot_preview1: rights fd_seek", seek_includes_tell),
    Case::must("preview1/fd/sync", "wasi_snapshot_preview1: fd_sync, fd_datasync", sync),
    Case::must("preview1/fd/advise-and-allocate", "wasi_snapshot_preview1: fd_advise, fd_allocate", advise),
    Case::must("preview1/path/filestat", "wasi_snapshot_preview1: path_filestat_get", path_filestat),
    Case::must("preview1/path/set-times", "wasi_snapshot_preview1: path_filestat_set_times", path_set_times),
];

const SEEK: u64 = 1 << 2;
const TELL: u64 = 1 << 5;
const PATH_OPEN: u64 = 1 << 13;

/// A probe with the file `file`, open to read and write.
fn open(context: &Context) -> CaseResult<(WasiProbe, TempDir, u64)> {
    let directory = host::directory()?;
    host::put(directory.path().join("file"), "content")?;
    let mut probe = host::granted(context, &directory)?;
    let fd = probe.open("file", 0, READ | WRITE)?;
    Ok((probe, directory, fd))
}

fn close(context: &Context) -> CaseResult {
    let (mut probe, _directory, fd) = open(context)?;
    probe.ok("fd_close", &[fd], &[])?;
    let [iovs, count] = probe.iovecs(&[(at::DATA, 4)])?;
    let out = u64::from(at::OUT);
    probe.fails("fd_read", &[fd, iovs, count, out], Errno::BADF)?;
    probe.fails("fd_write", &[fd, iovs, count, out], Errno::BADF)?;
    probe.fails("fd_tell", &[fd, out], Errno::BADF)?;
    probe.fails("fd_fdstat_get", &[fd, out], Errno::BADF)?;
    for bad in [fd, 1000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        probe.fails("fd_close", &[bad], Errno::BADF)?;
    }
    // What was granted can be given up as well.
    probe.ok("fd_close", &[DIR], &[])?;
    probe.fails("fd_prestat_get", &[DIR, out], Errno::BADF)?;
    check_eq!(probe.open_as(DIR, "file", 0, READ, 0)?, Err(Errno::BADF), "opening below what was given up");
    Ok(())
}

fn renumber(context: &Context) -> CaseResult {
    let directory = host::directory()?;
    host::put(directory.path().join("a"), "a")?;
    host::put(directory.path().join("b"), "b")?;
    let mut probe = host::granted(context, &directory)?;
    let (a, b) = (probe.open("a", 0, READ)?, probe.open("b", 0, READ)?);
    probe.ok("fd_renumber", &[b, a], &[])?;
    check_eq!(probe.read(a, 8)?, b"b", "what is read from the number moved to");
    probe.fails("fd_close", &[b], Errno::BADF)?;
    for to in [b, 1000, 0xffff_ffff] {
        probe.fails("fd_renumber", &[a, to], Errno::BADF)?;
        probe.fails("fd_renumber", &[to, a], Errno::BADF)?;
    }
    probe.ok("fd_renumber", &[a, a], &[])?;
    probe.ok("fd_renumber", &[a, 0], &[])?;
    probe.ok("fd_seek", &[0, 0, 0, at::OUT.into()], &[range(at::OUT, 8)])?;
    check_eq!(probe.read(0, 8)?, b"b", "what is read from standard input, moved onto");
    Ok(())
}

fn limit(context: &Context) -> CaseResult {
    let directory = host::directory()?;
    let config = || Ok::<_, Unmet>(WasiConfig::new().preopen(directory.path(), "/")?);
    let mut probe = WasiProbe::start(context, config()?.max_fds(6))?;
    check_eq!((probe.open("a", CREAT, READ)?, probe.open("a", 0, READ)?), (4, 5), "the last descriptors");
    for oflags in [CREAT, CREAT | EXCL] {
        check_eq!(probe.open_as(DIR, "b", oflags, READ, 0)?, Err(Errno::NFILE), "one too many");
    }
    check!(!directory.path().join("b").exists(), "a file was created that could not be opened");
    probe.ok("fd_close", &[4], &[])?;
    check_eq!(probe.open_as(DIR, ".", DIRECTORY, READ, 0)?, Ok(4), "one more, once there is room");
    // No limit takes away what was granted.
    let mut probe = WasiProbe::start(context, config()?.max_fds(0))?;
    probe.ok("fd_fdstat_get", &[DIR, at::OUT.into()], &[range(at::OUT, 24)])?;
    check_eq!(probe.open_as(DIR, "a", 0, READ, 0)?, Err(Errno::NFILE), "one more than none");
    // A larger limit holds as exactly. It is well below the host's own, which all cases share.
    let mut probe = WasiProbe::start(context, config()?.max_fds(100))?;
    for fd in 4..100 {
        check_eq!(probe.open_as(DIR, "a", 0, READ, 0)?, Ok(fd), "opening up to the limit");
    }
    for _ in 0..3 {
        check_eq!(probe.open_as(DIR, "a", 0, READ, 0)?, Err(Errno::NFILE), "one too many");
    }
    Ok(())
}

/// Two guests under one configuration, whose directories they share, do not see each other's descriptors.
fn own_table(context: &Context) -> CaseResult {
    let directory = host::directory()?;
    host::put(directory.path().join("file"), "content")?;
    let config = WasiConfig::new().preopen(directory.path(), "/")?;
    let mut one = WasiProbe::start(context, config.clone())?;
    let mut other = WasiProbe::start(context, config)?;
    let fd = one.open("file", 0, READ)?;
    other.fails("fd_close", &[fd], Errno::BADF)?;
    other.ok("fd_close", &[DIR], &[])?;
    check_eq!(one.open("file", 0, READ)?, fd + 1, "a descriptor of the guest that closed nothing");
    Ok(())
}

/// The record `filestat` in `OUT`: kind, links, size, atim, mtim.
fn stat(probe: &mut WasiProbe) -> CaseResult<(u8, u64, u64, u64, u64)> {
    let kind = probe.probe.bytes(at::OUT + 16, 1)?[0];
    let mut field = |offset| probe.probe.u64_at(at::OUT + offset);
    Ok((kind, field(24)?, field(32)?, field(40)?, field(48)?))
}

fn filestat(context: &Context) -> CaseResult {
    use std::os::unix::fs::MetadataExt;
    let (mut probe, directory, fd) = open(context)?;
    probe.ok("fd_filestat_get", &[fd, at::OUT.into()], &[range(at::OUT, 64)])?;
    let (kind, links, size, _, mtim) = stat(&mut probe)?;
    check_eq!((kind, links, size), (4, 1, 7), "kind, links and size of the file");
    let metadata = fs::metadata(directory.path().join("file")).map_err(Unmet::harness)?;
    let right = u128::from(mtim);
    let modified = metadata.modified().map_err(Unmet::harness)?.duration_since(UNIX_EPOCH).map_err(Unmet::harness)?;
    check_eq!(right, modified.as_nanos(), "the time of the last change");
    check_eq!(probe.probe.u64_at(at::OUT)?, metadata.dev(), "the device");
    check_eq!(probe.probe.u64_at(at::OUT + 8)?, metadata.ino(), "the inode");
    probe.ok("fd_filestat_get", &[DIR, at::OUT.into()], &[range(at::OUT, 64)])?;
    check_eq!(stat(&mut probe)?.0, 3, "the kind of the directory");
    Ok(())
}

fn set_size(context: &Context) -> CaseResult {
    let (mut probe, directory, fd) = open(context)?;
    let path = directory.path().join("file");
    probe.ok("fd_filestat_set_size", &[fd, 4], &[])?;
    check_eq!(host::contents(&path)?, b"cont", "the file, made shorter");
    probe.ok("fd_filestat_set_size", &[fd, 6], &[])?;
    check_eq!(host::contents(&path)?, b"cont\0\0", "the file, made longer");
    for size in [u64::MAX, 1 << 63] {
        probe.fails("fd_filestat_set_size", &[fd, size], Errno::INVAL)?;
    }
    let read_only = probe.open("file", 0, READ)?;
    probe.fails("fd_filestat_set_size", &[read_only, 0], Errno::INVAL)?;
    probe.fails("fd_filestat_set_size", &[DIR, 0], Errno::BADF)?;
    check_eq!(host::contents(&path)?.len(), 6, "the file's size");
    Ok(())
}

fn set_times(context: &Context) -> CaseResult {
    const ATIM: u64 = 1_500_000_000_123_456_789;
    let (mut probe, directory, fd) = open(context)?;
    let times = |probe: &mut WasiProbe| {
        probe.ok("fd_filestat_get", &[fd, at::OUT.into()], &[range(at::OUT, 64)])?;
        stat(probe).map(|stat| (stat.3, stat.4))
    };
    probe.ok("fd_filestat_set_times", &[fd, ATIM, 7, 1 | 4], &[])?;
    check_eq!(times(&mut probe)?, (ATIM, 7), "both times");
    let modified = fs::metadata(directory.path().join("file")).and_then(|metadata| metadata.modified());
    check_eq!(modified.map_err(Unmet::harness)?, UNIX_EPOCH + Duration::from_nanos(7), "what the host sees");
    probe.ok("fd_filestat_set_times", &[fd, 1, 1, 0], &[])?;
    check_eq!(times(&mut probe)?, (ATIM, 7), "the times when neither is to be set");
    probe.ok("fd_filestat_set_times", &[fd, 1, 1, 8], &[])?;
    let (atim, mtim) = times(&mut probe)?;
    check!(atim == ATIM && mtim > 1_600_000_000_000_000_000, "with one set to now, the times are {atim} and {mtim}");
    for flags in [1 | 2, 4 | 8, 16, 0xffff_ffff] {
        probe.fails("fd_filestat_set_times", &[fd, 0, 0, flags], Errno::INVAL)?;
    }
    probe.ok("fd_filestat_set_times", &[DIR, 9, 9, 5], &[])?;
    probe.ok("fd_filestat_get", &[DIR, at::OUT.into()], &[range(at::OUT, 64)])?;
    check_eq!(stat(&mut probe)?.4, 9, "the directory's time");
    Ok(())
}

fn set_flags(context: &Context) -> CaseResult {
    const SYNC: u64 = 16;
    let (mut probe, _directory, fd) = open(context)?;
    let flags = |probe: &mut WasiProbe| {
        probe.ok("fd_fdstat_get", &[fd, at::OUT.into()], &[range(at::OUT, 24)])?;
        probe.probe.u16_at(at::OUT + 2)
    };
    check_eq!(flags(&mut probe)?, 0, "the flags at first");
    probe.ok("fd_fdstat_set_flags", &[fd, NONBLOCK.into()], &[])?;
    check_eq!(u32::from(flags(&mut probe)?), NONBLOCK, "the flags set");
    // Whether writes are synchronised is settled when a file is opened; what no flag stands for is nothing to set.
    for bad in [SYNC, 32, 0x1_0000, 0xffff_ffff] {
        probe.fails("fd_fdstat_set_flags", &[fd, bad], Errno::INVAL)?;
    }
    check_eq!(u32::from(flags(&mut probe)?), NONBLOCK, "the flags after what was refused");
    probe.fails("fd_fdstat_set_flags", &[DIR, 0], Errno::BADF)
}

fn give_up(context: &Context) -> CaseResult {
    let (mut probe, directory, fd) = open(context)?;
    probe.ok("fd_fdstat_set_rights", &[fd, READ | TELL, 0], &[])?;
    probe.ok("fd_fdstat_get", &[fd, at::OUT.into()], &[range(at::OUT, 24)])?;
    check_eq!(probe.probe.u64_at(at::OUT + 8)?, READ | TELL, "the rights kept");
    check_eq!(probe.probe.u64_at(at::OUT + 16)?, 0, "the rights to inherit");
    for base in [READ | TELL | WRITE, u64::MAX, 1 << 63] {
        probe.fails("fd_fdstat_set_rights", &[fd, base, 0], Errno::NOTCAPABLE)?;
    }
    probe.fails("fd_fdstat_set_rights", &[fd, READ, READ], Errno::NOTCAPABLE)?;
    probe.fails("fd_seek", &[fd, 1, 0, at::OUT.into()], Errno::NOTCAPABLE)?;
    // To ask for the position is to tell.
    probe.ok("fd_seek", &[fd, 0, 1, at::OUT.into()], &[range(at::OUT, 8)])?;
    probe.fails("fd_filestat_get", &[fd, at::OUT.into()], Errno::NOTCAPABLE)?;
    probe.fails("fd_sync", &[fd], Errno::NOTCAPABLE)?;
    let [iovs, count] = probe.iovecs(&[(at::DATA, 4)])?;
    probe.fails("fd_write", &[fd, iovs, count, at::OUT.into()], Errno::BADF)?;
    check_eq!(host::contents(directory.path().join("file"))?, b"content", "the file");
    Ok(())
}

/// What a directory does not pass on is not had by what is opened through it.
fn inherited(context: &Context) -> CaseResult {
    let (mut probe, directory, _) = open(context)?;
    probe.ok("fd_fdstat_get", &[DIR, at::OUT.into()], &[range(at::OUT, 24)])?;
    check_eq!(probe.probe.bytes(at::OUT, 1)?, [3], "the kind of a directory");
    let (base, inheriting) = (probe.probe.u64_at(at::OUT + 8)?, probe.probe.u64_at(at::OUT + 16)?);
    check!(base & PATH_OPEN != 0 && base & SEEK == 0, "the rights of a directory are {base:#x}");
    check_eq!(inheriting & (READ | WRITE), READ | WRITE, "what a directory passes on");
    probe.ok("fd_fdstat_set_rights", &[DIR, PATH_OPEN, inheriting & !WRITE], &[])?;
    check_eq!(probe.by_path("path_create_directory", DIR, "dir")?, Errno::NOTCAPABLE, "making a directory");
    for oflags in [CREAT, CREAT | EXCL] {
        check_eq!(probe.open_as(DIR, "new", oflags, READ, 0)?, Err(Errno::NOTCAPABLE), "creating a file");
    }
    check_eq!(probe.open_as(DIR, "file", TRUNC, READ, 0)?, Err(Errno::NOTCAPABLE), "truncating a file");
    let fd = probe.open("file", 0, READ | WRITE)?;
    let [iovs, count] = probe.iovecs(&[(at::DATA, 4)])?;
    probe.fails("fd_write", &[fd, iovs, count, at::OUT.into()], Errno::BADF)?;
    check_eq!(probe.read(fd, 64)?, b"content", "the file");
    check_eq!(host::listing(directory.path())?.len(), 1, "the count of files");
    Ok(())
}

/// The WITX file: "This flag implies `rights::fd_tell`".
fn seek_includes_tell(context: &Context) -> CaseResult {
    let (mut probe, _directory, fd) = open(context)?;
    probe.ok("fd_fdstat_set_rights", &[fd, SEEK, 0], &[])?;
    for (function, args) in [
        ("fd_seek", &[fd, 3, 0, at::OUT.into()][..]),
        ("fd_seek", &[fd, 0, 1, at::OUT.into()]),
        ("fd_tell", &[fd, at::OUT.into()]),
    ] {
        probe.ok(function, args, &[range(at::OUT, 8)])?;
        check_eq!(probe.probe.u64_at(at::OUT)?, 3, "the position");
    }
    Ok(())
}

fn sync(context: &Context) -> CaseResult {
    let (mut probe, _directory, fd) = open(context)?;
    for function in ["fd_sync", "fd_datasync"] {
        for fd in [fd, DIR] {
            probe.ok(function, &[fd], &[])?;
        }
        probe.fails(function, &[1], Errno::NOTCAPABLE)?;
        probe.fails(function, &[fd + 1], Errno::BADF)?;
    }
    Ok(())
}

fn advise(context: &Context) -> CaseResult {
    let (mut probe, _directory, fd) = open(context)?;
    for advice in 0..6 {
        probe.ok("fd_advise", &[fd, 0, 7, advice], &[])?;
    }
    for advice in [6, 0xffff_ffff] {
        probe.fails("fd_advise", &[fd, 0, 7, advice], Errno::INVAL)?;
    }
    probe.fails("fd_advise", &[DIR, 0, 0, 0], Errno::BADF)?;
    // No host can for every file system, so guests are told to do it themselves everywhere.
    probe.fails("fd_allocate", &[fd, 0, 100], Errno::NOTSUP)?;
    probe.fails("fd_allocate", &[DIR, 0, 100], Errno::BADF)
}

fn path_filestat(context: &Context) -> CaseResult {
    let (mut probe, directory, _) = open(context)?;
    host::make_directory(directory.path().join("dir"))?;
    host::link("../file", directory.path().join("dir/link"))?;
    host::link("nowhere", directory.path().join("dangling"))?;
    for (flags, path, kind) in [
        (0, "file", 4),
        (1, "file", 4),
        (0, "dir", 3),
        (0, ".", 3),
        (0, "dir/link", 7),
        (1, "dir/link", 4),
        (0, "dangling", 7),
    ] {
        let [ptr, len] = probe.path(path)?;
        probe.ok("path_filestat_get", &[DIR, flags, ptr, len, at::OUT.into()], &[range(at::OUT, 64)])?;
        check_eq!(stat(&mut probe)?.0, kind, "the kind of {path:?} with flags {flags}");
    }
    for (flags, path, errno) in [
        (1, "dangling", Errno::NOENT),
        (0, "missing", Errno::NOENT),
        (0, "file/x", Errno::NOTDIR),
        (2, "file", Errno::INVAL),
        (0xffff_ffff, "file", Errno::INVAL),
    ] {
        let [ptr, len] = probe.path(path)?;
        probe.fails("path_filestat_get", &[DIR, flags, ptr, len, at::OUT.into()], errno)?;
    }
    Ok(())
}

fn path_set_times(context: &Context) -> CaseResult {
    let (mut probe, directory, _) = open(context)?;
    host::link("file", directory.path().join("link"))?;
    let [ptr, len] = probe.path("link")?;
    for (flags, time) in [(0, 5), (1, 6)] {
        probe.ok("path_filestat_set_times", &[DIR, flags, ptr, len, time, time, 5], &[])?;
    }
    for (flags, time, what) in [(0, 5, "the link"), (1, 6, "the file it leads to")] {
        probe.ok("path_filestat_get", &[DIR, flags, ptr, len, at::OUT.into()], &[range(at::OUT, 64)])?;
        check_eq!(stat(&mut probe)?.4, time, "the time of {what}");
    }
    for (flags, set) in [(2, 5), (0, 3), (0, 12), (0, 16)] {
        probe.fails("path_filestat_set_times", &[DIR, flags, ptr, len, 1, 1, set], Errno::INVAL)?;
    }
    let [ptr, len] = probe.path("missing")?;
    probe.fails("path_filestat_set_times", &[DIR, 1, ptr, len, 1, 1, 5], Errno::NOENT)
}
