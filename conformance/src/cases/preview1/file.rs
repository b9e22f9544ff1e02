//! Files: opening, reading, writing, positions.

use super::host;
use super::probe::{APPEND, CREAT, DIR, DIRECTORY, EXCL, Errno, READ, TRUNC, WRITE, WasiProbe, at, range};
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("preview1/file/open-missing", "wasi_snapshot_preview1: path_open", missing),
    Case::must("preview1/file/create", "wasi_snapshot_preview1: path_open, oflags creat", create),
    Case::must("preview1/file/create-exclusively", "wasi_snapshot_preview1: path_open, oflags excl", exclusive),
    Case::must("preview1/file/truncate", "wasi_snapshot_preview1: path_open, oflags trunc", truncate),
    Case::must("preview1/file/open-as-directory", "wasi_snapshot_preview1: path_open, oflags directory", directory),
    Case::must("preview1/file/append", "wasi_snapshot_preview1: path_open, fdflags append", append),
    Case::must("preview1/file/undefined-flags", "wasi_snapshot_preview1: path_open, flags", undefined),
    Case::must("preview1/file/odd-paths", "wasi_snapshot_preview1: path_open, path", odd_paths),
    Case::must("preview1/file/rights-decide-on-the-mode", "wasi_snapshot_preview1: path_open, rights", rights),
    Case::must("preview1/file/read-through-several-buffers", "wasi_snapshot_preview1: fd_read", scattered_read),
    Case::must("preview1/file/write-through-several-buffers", "wasi_snapshot_preview1: fd_write", gathered_write),
    Case::must("preview1/file/read-over-its-own-list", "wasi_snapshot_preview1: fd_read, iovs", own_list),
    Case::must("preview1/file/pread", "wasi_snapshot_preview1: fd_pread", pread),
    Case::must("preview1/file/pwrite", "wasi_snapshot_preview1: fd_pwrite", pwrite),
    Case::must("preview1/file/seek-and-tell", "wasi_snapshot_preview1: fd_seek, fd_tell", seek),
    Case::must("preview1/file/seek-out-of-range", "wasi_snapshot_preview1: fd_seek, whence", bad_seek),
    Case::must("preview1/file/bad-buffers", "wasi_snapshot_preview1: fd_read, fd_write, iovs", bad_buffers),
    Case::must("preview1/file/large", "wasi_snapshot_preview1: fd_write, fd_read", large),
];

/// A probe with the file `file`, which holds `content`, open to read and write.
fn open(context: &Context, content: &str) -> CaseResult<(WasiProbe, tempfile::TempDir, u64)> {
    let directory = host::directory()?;
    host::put(directory.path().join("file"), content)?;
    let mut probe = host::granted(context, &directory)?;
    let fd = probe.open("file", 0, READ | WRITE)?;
    Ok((probe, directory, fd))
}

fn missing(context: &Context) -> CaseResult {
    let (mut probe, directory) = host::with_directory(context)?;
    for path in ["file", "no/file", "file/"] {
        check_eq!(probe.open_as(DIR, path, 0, READ, 0)?, Err(Errno::NOENT), "opening {path:?}");
    }
    check_eq!(probe.open_as(DIR, "no/file", CREAT, WRITE, 0)?, Err(Errno::NOENT), "creating in a missing directory");
    check_eq!(host::listing(directory.path())?.len(), 0, "the count of files");
    Ok(())
}

fn create(context: &Context) -> CaseResult {
    let (mut probe, directory) = host::with_directory(context)?;
    let fd = probe.open("file", CREAT, READ | WRITE)?;
    check_eq!(fd, 4, "the descriptor, the lowest free one");
    check_eq!(probe.write(fd, b"content")?, 7, "bytes written");
    check_eq!(host::contents(directory.path().join("file"))?, b"content", "the file");
    let again = probe.open("file", CREAT, READ)?;
    check_eq!(again, 5, "the next descriptor");
    check_eq!(probe.read(again, 64)?, b"content", "the file, which creating again left as it was");
    probe.ok("fd_close", &[fd], &[])?;
    check_eq!(probe.open("file", 0, READ)?, 4, "the descriptor that was closed, given out again");
    Ok(())
}

fn exclusive(context: &Context) -> CaseResult {
    let (mut probe, directory) = host::with_directory(context)?;
    let fd = probe.open("file", CREAT | EXCL, WRITE)?;
    probe.write(fd, b"mine")?;
    for oflags in [CREAT | EXCL, CREAT | EXCL | TRUNC] {
        check_eq!(probe.open_as(DIR, "file", oflags, WRITE, 0)?, Err(Errno::EXIST), "creating what is there");
    }
    // A link that leads nowhere is there as well.
    host::link("nowhere", directory.path().join("link"))?;
    check_eq!(probe.open_as(DIR, "link", CREAT | EXCL, WRITE, 0)?, Err(Errno::EXIST), "creating over a link");
    check_eq!(host::contents(directory.path().join("file"))?, b"mine", "the file");
    Ok(())
}

fn truncate(context: &Context) -> CaseResult {
    let (mut probe, directory, _) = open(context, "content")?;
    let fd = probe.open("file", TRUNC, WRITE)?;
    check_eq!(host::contents(directory.path().join("file"))?, b"", "the file, emptied");
    probe.write(fd, b"new")?;
    check_eq!(host::contents(directory.path().join("file"))?, b"new", "the file, written anew");
    check_eq!(probe.open_as(DIR, "other", TRUNC, WRITE, 0)?, Err(Errno::NOENT), "truncating what is not there");
    Ok(())
}

fn directory(context: &Context) -> CaseResult {
    let (mut probe, directory, file) = open(context, "content")?;
    host::make_directory(directory.path().join("dir"))?;
    check_eq!(probe.open_as(DIR, "file", DIRECTORY, READ, 0)?, Err(Errno::NOTDIR), "a file opened as a directory");
    check_eq!(probe.open_as(DIR, "dir", 0, WRITE, 0)?, Err(Errno::ISDIR), "a directory opened to write");
    check_eq!(probe.open_as(DIR, "file/x", 0, READ, 0)?, Err(Errno::NOTDIR), "a path through a file");
    for oflags in [CREAT, EXCL, TRUNC] {
        let seen = probe.open_as(DIR, "dir", DIRECTORY | oflags, READ, 0)?;
        check_eq!(seen, Err(Errno::INVAL), "a directory opened with oflags {oflags}");
    }
    let dir = probe.open("dir", DIRECTORY, READ)?;
    check_eq!(dir, 5, "the descriptor: no failure took one");
    let inner = probe.open_as(dir, "inner", CREAT, WRITE, 0)?;
    check_eq!(inner, Ok(6), "a file created below a directory that the guest opened");
    check!(directory.path().join("dir/inner").is_file(), "the file is not where it belongs");
    check_eq!(probe.open_as(file, "x", 0, READ, 0)?, Err(Errno::NOTDIR), "a path below a file");
    check_eq!(probe.open_as(1, "x", 0, READ, 0)?, Err(Errno::BADF), "a path below a stream");
    let [iovs, count] = probe.iovecs(&[(at::DATA, 4)])?;
    for function in ["fd_read", "fd_write"] {
        probe.fails(function, &[dir, iovs, count, at::OUT.into()], Errno::BADF)?;
    }
    Ok(())
}

fn append(context: &Context) -> CaseResult {
    let (mut probe, directory, other) = open(context, "one")?;
    let path = directory.path().join("file");
    let opened = probe.open_as(DIR, "file", 0, READ | WRITE, APPEND)?;
    let fd = opened.map_err(|errno| crate::Unmet::failed(format!("opening to append answered {errno:?}")))?;
    probe.write(fd, b"two")?;
    check_eq!(host::contents(&path)?, b"onetwo", "the file, appended to");
    probe.ok("fd_seek", &[fd, 0, 0, at::OUT.into()], &[range(at::OUT, 8)])?;
    probe.write(fd, b"three")?;
    check_eq!(host::contents(&path)?, b"onetwothree", "the file, appended to after a seek to its start");
    probe.ok("fd_fdstat_set_flags", &[fd, 0], &[])?;
    probe.ok("fd_seek", &[fd, 0, 0, at::OUT.into()], &[range(at::OUT, 8)])?;
    probe.write(fd, b"ONE")?;
    check_eq!(host::contents(&path)?, b"ONEtwothree", "the file, written to without the flag");
    probe.ok("fd_fdstat_set_flags", &[other, APPEND.into()], &[])?;
    probe.write(other, b"!")?;
    check_eq!(host::contents(&path)?, b"ONEtwothree!", "the file, appended to with the flag set later");
    Ok(())
}

fn undefined(context: &Context) -> CaseResult {
    let (mut probe, _directory) = host::with_directory(context)?;
    let [path, len] = probe.path("file")?;
    for [flags, oflags, fdflags] in [
        [2, 0, 0],
        [0x8000_0000, 0, 0],
        [0, 16, 0],
        [0, 0x1_0001, 0],
        [0, 0, 32],
        [0, 0, 0x1_0000],
        [0xffff_ffff, 0xffff_ffff, 0xffff_ffff],
    ] {
        let args = [DIR, flags, path, len, oflags, READ, READ, fdflags, at::OUT.into()];
        probe.fails("path_open", &args, Errno::INVAL)?;
    }
    Ok(())
}

fn odd_paths(context: &Context) -> CaseResult {
    let (mut probe, directory) = host::with_directory(context)?;
    let long = "a".repeat(300);
    for (path, errno) in [("", Errno::NOENT), ("a\0b", Errno::INVAL), (&*long, Errno::NAMETOOLONG)] {
        check_eq!(probe.open_as(DIR, path, CREAT, WRITE, 0)?, Err(errno), "creating {path:?}");
        check_eq!(probe.by_path("path_create_directory", DIR, path)?, errno, "making the directory {path:?}");
    }
    let [path, len] = probe.path(b"\xff\xfe")?;
    probe.fails("path_create_directory", &[DIR, path, len], Errno::ILSEQ)?;
    let [path, _] = probe.path(vec![b'a'; 4097])?;
    probe.fails("path_create_directory", &[DIR, path, 4097], Errno::NAMETOOLONG)?;
    check_eq!(host::listing(directory.path())?.len(), 0, "the count of files");
    // Plain ones, said in a roundabout way.
    host::make_directory(directory.path().join("dir"))?;
    for path in ["./dir/.//../file", "dir/../file", "ünï ço∂é"] {
        let fd = probe.open(path, CREAT, WRITE)?;
        probe.ok("fd_close", &[fd], &[])?;
    }
    check!(directory.path().join("file").is_file(), "the file is not where it belongs");
    check!(directory.path().join("ünï ço∂é").is_file(), "the file is not under its name");
    Ok(())
}

fn rights(context: &Context) -> CaseResult {
    let (mut probe, directory, _) = open(context, "content")?;
    for (asked, reads, writes) in
        [(READ, true, false), (WRITE, false, true), (READ | WRITE, true, true), (0, false, false)]
    {
        let fd = probe.open("file", 0, asked)?;
        probe.ok("fd_fdstat_get", &[fd, at::OUT.into()], &[range(at::OUT, 24)])?;
        check_eq!(probe.probe.bytes(at::OUT, 1)?, [4], "the kind of a file");
        check_eq!(probe.probe.u64_at(at::OUT + 8)? & (READ | WRITE), asked, "the rights of a file");
        let [iovs, count] = probe.iovecs(&[(at::DATA, 1)])?;
        probe.probe.put(at::DATA, b"c")?;
        let outs = [range(at::DATA, 1), range(at::OUT, 4)];
        for (function, may) in [("fd_read", reads), ("fd_write", writes)] {
            let right = if may { Errno::SUCCESS } else { Errno::BADF };
            let errno = probe.call(function, &[fd, iovs, count, at::OUT.into()], &outs)?;
            check_eq!(errno, right, "{function} of a file opened with rights {asked:#x}");
        }
    }
    check_eq!(host::contents(directory.path().join("file"))?.len(), 7, "the file's size");
    Ok(())
}

fn scattered_read(context: &Context) -> CaseResult {
    let (mut probe, _directory, fd) = open(context, "Hello, world")?;
    let list = [(at::DATA, 3), (0xffff_fff0, 0), (at::DATA + 3, 2), (at::DATA + 5, 60)];
    let [iovs, count] = probe.iovecs(&list)?;
    check_eq!(probe.fill("fd_read", &[fd, iovs, count, at::OUT.into()], 65)?, b"Hello, world", "the file");
    check_eq!(probe.read(fd, 64)?, b"", "its end");
    // Backwards, with a gap that stays as it is.
    probe.ok("fd_seek", &[fd, 0, 0, at::OUT.into()], &[range(at::OUT, 8)])?;
    let [iovs, count] = probe.iovecs(&[(at::DATA + 8, 5), (at::DATA, 4)])?;
    let outs = [range(at::DATA + 8, 5), range(at::DATA, 4), range(at::OUT, 4)];
    probe.ok("fd_read", &[fd, iovs, count, at::OUT.into()], &outs)?;
    check_eq!(probe.probe.u32_at(at::OUT)?, 9, "bytes read");
    check_eq!(probe.probe.bytes(at::DATA + 8, 5)?, b"Hello", "the first buffer");
    check_eq!(probe.probe.bytes(at::DATA, 4)?, b", wo", "the second buffer");
    Ok(())
}

fn gathered_write(context: &Context) -> CaseResult {
    let (mut probe, directory, fd) = open(context, "")?;
    probe.probe.put(at::DATA, b"world, Hello")?;
    let list = [(at::DATA + 7, 5), (0, 0), (at::DATA + 5, 2), (at::DATA, 5), (at::DATA + 7, 1)];
    let [iovs, count] = probe.iovecs(&list)?;
    probe.ok("fd_write", &[fd, iovs, count, at::OUT.into()], &[range(at::OUT, 4)])?;
    check_eq!(probe.probe.u32_at(at::OUT)?, 13, "bytes written");
    check_eq!(host::contents(directory.path().join("file"))?, b"Hello, worldH", "the file");
    Ok(())
}

/// The list of buffers is read before the first of them is filled.
fn own_list(context: &Context) -> CaseResult {
    let (mut probe, _directory, fd) = open(context, &"x".repeat(64))?;
    let [iovs, count] = probe.iovecs(&[(at::LIST, 16), (at::DATA, 16)])?;
    let outs = [range(at::LIST, 16), range(at::DATA, 16), range(at::OUT, 4)];
    probe.ok("fd_read", &[fd, iovs, count, at::OUT.into()], &outs)?;
    check_eq!(probe.probe.u32_at(at::OUT)?, 32, "bytes read");
    check_eq!(probe.probe.bytes(at::DATA, 16)?, [b'x'; 16], "the second buffer");
    Ok(())
}

fn tell(probe: &mut WasiProbe, fd: u64) -> CaseResult<u64> {
    probe.ok("fd_tell", &[fd, at::OUT.into()], &[range(at::OUT, 8)])?;
    probe.probe.u64_at(at::OUT)
}

fn pread(context: &Context) -> CaseResult {
    let (mut probe, _directory, fd) = open(context, "0123456789")?;
    let [iovs, count] = probe.iovecs(&[(at::DATA, 2), (at::DATA + 2, 30)])?;
    for (offset, right) in [(0, "0123456789"), (7, "789"), (10, ""), (1 << 40, "")] {
        let seen = probe.fill("fd_pread", &[fd, iovs, count, offset, at::OUT.into()], 32)?;
        check_eq!(String::from_utf8_lossy(&seen), right, "what lies at {offset}");
    }
    for offset in [u64::MAX, 1 << 63] {
        probe.fails("fd_pread", &[fd, iovs, count, offset, at::OUT.into()], Errno::INVAL)?;
    }
    check_eq!(tell(&mut probe, fd)?, 0, "the position, which stayed");
    Ok(())
}

fn pwrite(context: &Context) -> CaseResult {
    let (mut probe, directory, fd) = open(context, "0123456789")?;
    probe.probe.put(at::DATA, b"ab")?;
    let [iovs, count] = probe.iovecs(&[(at::DATA, 1), (at::DATA + 1, 1)])?;
    for offset in [3, 11] {
        probe.ok("fd_pwrite", &[fd, iovs, count, offset, at::OUT.into()], &[range(at::OUT, 4)])?;
        check_eq!(probe.probe.u32_at(at::OUT)?, 2, "bytes written at {offset}");
    }
    for offset in [u64::MAX, 1 << 63] {
        probe.fails("fd_pwrite", &[fd, iovs, count, offset, at::OUT.into()], Errno::INVAL)?;
    }
    check_eq!(host::contents(directory.path().join("file"))?, b"012ab56789\0ab", "the file");
    check_eq!(tell(&mut probe, fd)?, 0, "the position, which stayed");
    Ok(())
}

fn seek(context: &Context) -> CaseResult {
    let (mut probe, directory, fd) = open(context, "0123456789")?;
    for (offset, whence, right) in [(2i64, 0, 2), (3, 1, 5), (-1, 1, 4), (-4, 2, 6), (0, 1, 6), (0, 2, 10), (4, 1, 14)]
    {
        probe.ok("fd_seek", &[fd, offset as u64, whence, at::OUT.into()], &[range(at::OUT, 8)])?;
        check_eq!(probe.probe.u64_at(at::OUT)?, right, "the position after {offset} from {whence}");
        check_eq!(tell(&mut probe, fd)?, right, "what `fd_tell` says of it");
    }
    check_eq!(probe.read(fd, 8)?, b"", "what lies beyond the end");
    probe.write(fd, b"end")?;
    check_eq!(host::contents(directory.path().join("file"))?, b"0123456789\0\0\0\0end", "the file");
    Ok(())
}

fn bad_seek(context: &Context) -> CaseResult {
    let (mut probe, _directory, fd) = open(context, "0123456789")?;
    probe.ok("fd_seek", &[fd, 5, 0, at::OUT.into()], &[range(at::OUT, 8)])?;
    for (offset, whence) in [(-1i64, 0), (-6, 1), (-11, 2), (i64::MIN, 0), (i64::MAX, 1), (0, 3), (0, 0xffff_ffff)] {
        let args = [fd, offset as u64, whence, at::OUT.into()];
        check_eq!(probe.call("fd_seek", &args, &[])?, Errno::INVAL, "what {offset} from {whence} answers");
    }
    probe.fails("fd_seek", &[DIR, 0, 0, at::OUT.into()], Errno::BADF)?;
    check_eq!(tell(&mut probe, fd)?, 5, "the position, which stayed");
    Ok(())
}

/// Every buffer is checked before a byte is moved.
fn bad_buffers(context: &Context) -> CaseResult {
    let (mut probe, directory, fd) = open(context, "content")?;
    for bad in [(at::END - 3, 4), (at::END, 1), (0xffff_fff0, 0x20), (1, 0xffff_ffff)] {
        let [iovs, count] = probe.iovecs(&[(at::DATA, 2), bad])?;
        for function in ["fd_read", "fd_write"] {
            probe.fails(function, &[fd, iovs, count, at::OUT.into()], Errno::FAULT)?;
        }
        for function in ["fd_pread", "fd_pwrite"] {
            probe.fails(function, &[fd, iovs, count, 0, at::OUT.into()], Errno::FAULT)?;
        }
    }
    check_eq!(tell(&mut probe, fd)?, 0, "the position, which stayed");
    check_eq!(host::contents(directory.path().join("file"))?, b"content", "the file, which stayed");
    Ok(())
}

/// More than one of core's own steps, both ways.
fn large(context: &Context) -> CaseResult {
    const LEN: u32 = 2 * (1 << 20) + 5;
    let (mut probe, directory, fd) = open(context, "")?;
    check_eq!(probe.probe.call_i32("grow", &[LEN / at::END + 1])?, 1, "the memory's size in pages before it grew");
    let pattern: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8).collect();
    probe.probe.put(at::END, &pattern)?;
    let [iovs, count] = probe.iovecs(&[(at::END, LEN)])?;
    probe.ok("fd_write", &[fd, iovs, count, at::OUT.into()], &[range(at::OUT, 4)])?;
    check_eq!(probe.probe.u32_at(at::OUT)?, LEN, "bytes written");
    check!(host::contents(directory.path().join("file"))? == pattern, "the file does not hold what was written");
    probe.probe.memory()?[at::END as usize..].fill(0);
    probe.ok("fd_seek", &[fd, 0, 0, at::OUT.into()], &[range(at::OUT, 8)])?;
    let [iovs, count] = probe.iovecs(&[(at::END, LEN)])?;
    probe.ok("fd_read", &[fd, iovs, count, at::OUT.into()], &[range(at::END, LEN), range(at::OUT, 4)])?;
    check_eq!(probe.probe.u32_at(at::OUT)?, LEN, "bytes read");
    check!(probe.probe.bytes(at::END, LEN)? == pattern, "what was read is not what was written");
    Ok(())
}
