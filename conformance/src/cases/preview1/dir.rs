//! Directories: their names, what is in them, and what can be done by path.

use std::collections::BTreeSet;
use std::fs;

use wharf_core::grants::WasiConfig;

use super::host;
use super::probe::{CREAT, DIR, DIRECTORY, Errno, READ, WRITE, WasiProbe, at, range};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("preview1/prestat/none-by-default", "wasi_snapshot_preview1: fd_prestat_get", none_by_default),
    Case::must("preview1/prestat/names", "wasi_snapshot_preview1: fd_prestat_dir_name", names),
    Case::must("preview1/prestat/only-what-was-granted", "wasi_snapshot_preview1: fd_prestat_get", only_granted),
    Case::must("preview1/readdir/entries", "wasi_snapshot_preview1: fd_readdir, dirent", entries_told),
    Case::must("preview1/readdir/small-buffers", "wasi_snapshot_preview1: fd_readdir, buf_len", small_buffers),
    Case::must("preview1/readdir/cut-short-at-any-byte", "wasi_snapshot_preview1: fd_readdir, bufused", cut_short),
    Case::must("preview1/readdir/any-cookie", "wasi_snapshot_preview1: fd_readdir, dircookie", any_cookie),
    Case::must("preview1/readdir/removing-on-the-way", "wasi_snapshot_preview1: fd_readdir", removing),
    Case::must("preview1/readdir/no-directory", "wasi_snapshot_preview1: fd_readdir", no_directory),
    Case::must("preview1/path/make-and-remove-directory", "wasi_snapshot_preview1: path_create_directory", make_remove),
    Case::must("preview1/path/unlink", "wasi_snapshot_preview1: path_unlink_file", unlink),
    Case::must("preview1/path/rename", "wasi_snapshot_preview1: path_rename", rename),
    Case::must("preview1/path/rename-between-directories", "wasi_snapshot_preview1: path_rename", rename_between),
    Case::must("preview1/path/link", "wasi_snapshot_preview1: path_link", hard_link),
    Case::must("preview1/path/symlink", "wasi_snapshot_preview1: path_symlink", symlink),
    Case::must("preview1/path/symlink-not-followed", "wasi_snapshot_preview1: path_open, lookupflags", not_followed),
    Case::must("preview1/path/readlink", "wasi_snapshot_preview1: path_readlink", readlink),
];

fn none_by_default(context: &Context) -> CaseResult {
    let mut probe = WasiProbe::start(context, WasiConfig::new())?;
    for fd in [0, 1, 2, 3, 4, 100, 0xffff_ffff] {
        probe.fails("fd_prestat_get", &[fd, at::OUT.into()], Errno::BADF)?;
        let seen = probe.open_as(fd, "etc/passwd", 0, READ, 0)?;
        check_eq!(seen, Err(Errno::BADF), "opening below descriptor {fd} when nothing is granted");
    }
    Ok(())
}

fn names(context: &Context) -> CaseResult {
    let directory = host::directory()?;
    let config = WasiConfig::new().preopen(directory.path(), "/data")?.preopen_read_only(directory.path(), ".")?;
    let mut probe = WasiProbe::start(context, config)?;
    for (fd, name) in [(3, "/data"), (4, ".")] {
        let len = name.len() as u32;
        probe.ok("fd_prestat_get", &[fd, at::OUT.into()], &[range(at::OUT, 8)])?;
        check_eq!(probe.probe.bytes(at::OUT, 1)?, [0], "the tag, which says that it is a directory");
        check_eq!(probe.probe.u32_at(at::OUT + 4)?, len, "the length of the name");
        probe.fails("fd_prestat_dir_name", &[fd, at::DATA.into(), u64::from(len) - 1], Errno::NAMETOOLONG)?;
        probe.ok("fd_prestat_dir_name", &[fd, at::DATA.into(), len.into()], &[range(at::DATA, len)])?;
        check_eq!(probe.probe.bytes(at::DATA, len)?, name.as_bytes(), "the name");
    }
    probe.fails("fd_prestat_get", &[5, at::OUT.into()], Errno::BADF)
}

fn only_granted(context: &Context) -> CaseResult {
    let (mut probe, _directory) = host::with_directory(context)?;
    let opened = probe.open(".", DIRECTORY, READ)?;
    for fd in [0, 1, 2, opened] {
        probe.fails("fd_prestat_get", &[fd, at::OUT.into()], Errno::BADF)?;
        probe.fails("fd_prestat_dir_name", &[fd, at::DATA.into(), 64], Errno::NOTDIR)?;
    }
    Ok(())
}

/// The whole entries in what one call put there: cookie of the next, inode, kind, name.
fn entries(bytes: &[u8]) -> Vec<(u64, u64, u8, Vec<u8>)> {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let (mut rest, mut entries) = (bytes, Vec::new());
    while rest.len() >= 24 {
        let len = number(&rest[16..20]) as usize;
        let Some(name) = rest.get(24..24 + len) else { break };
        entries.push((number(&rest[..8]), number(&rest[8..16]), rest[20], name.to_vec()));
        rest = &rest[24 + len..];
    }
    entries
}

fn read_dir(probe: &mut WasiProbe, fd: u64, len: u32, cookie: u64) -> CaseResult<Vec<u8>> {
    probe.fill("fd_readdir", &[fd, at::DATA.into(), len.into(), cookie, at::OUT.into()], len)
}

/// All names, as wasi-libc reads them: from the last whole entry on, until a buffer is not full.
fn all_names(probe: &mut WasiProbe, fd: u64, len: u32) -> CaseResult<Vec<Vec<u8>>> {
    let (mut names, mut cookie) = (Vec::new(), 0);
    loop {
        let bytes = read_dir(probe, fd, len, cookie)?;
        let whole = entries(&bytes);
        check!(!whole.is_empty() || bytes.len() < len as usize, "a buffer of {len} bytes holds no whole entry");
        for (next, _, _, name) in whole {
            names.push(name);
            cookie = next;
        }
        if bytes.len() < len as usize {
            return Ok(names);
        }
        check!(names.len() < 10_000, "the listing does not end");
    }
}

fn entries_told(context: &Context) -> CaseResult {
    use std::os::unix::fs::MetadataExt;
    let (mut probe, directory) = host::with_directory(context)?;
    host::put(directory.path().join("file"), "")?;
    host::make_directory(directory.path().join("dir"))?;
    host::link("nowhere", directory.path().join("link"))?;
    let inode = |name: &str| {
        fs::symlink_metadata(directory.path().join(name)).map(|metadata| metadata.ino()).map_err(Unmet::harness)
    };
    let bytes = read_dir(&mut probe, DIR, 4096, 0)?;
    let seen: BTreeSet<_> = entries(&bytes).into_iter().map(|(_, ino, kind, name)| (name, ino, kind)).collect();
    let right = [(".", 3), ("..", 3), ("file", 4), ("dir", 3), ("link", 7)];
    let right = right.into_iter().map(|(name, kind)| {
        // What lies above a granted directory is not the guest's to know.
        let ino = inode(if name == ".." { "." } else { name })?;
        Ok((name.as_bytes().to_vec(), ino, kind))
    });
    check_eq!(seen, right.collect::<CaseResult<BTreeSet<_>>>()?, "names, inodes and kinds");
    check_eq!(entries(&bytes).len(), 5, "the count of entries");
    Ok(())
}

fn small_buffers(context: &Context) -> CaseResult {
    let (mut probe, directory) = host::with_directory(context)?;
    let mut right = BTreeSet::from([b".".to_vec(), b"..".to_vec()]);
    for index in 0..60 {
        let name = format!("{index}{}", "x".repeat(index % 50));
        host::put(directory.path().join(&name), "")?;
        right.insert(name.into_bytes());
    }
    for len in [76, 77, 127, 256, 4096] {
        let names = all_names(&mut probe, DIR, len)?;
        check_eq!(names.len(), right.len(), "the count of entries through buffers of {len} bytes");
        check!(names.into_iter().collect::<BTreeSet<_>>() == right, "not every entry came through {len} bytes");
    }
    Ok(())
}

fn cut_short(context: &Context) -> CaseResult {
    let (mut probe, _directory) = host::with_directory(context)?;
    let whole = read_dir(&mut probe, DIR, 4096, 0)?;
    check_eq!(whole.len(), 24 + 1 + 24 + 2, "the size of an empty directory's entries");
    for len in 0..=whole.len() {
        let part = read_dir(&mut probe, DIR, len as u32, 0)?;
        check_eq!(part, whole[..len], "what a buffer of {len} bytes holds");
    }
    Ok(())
}

fn any_cookie(context: &Context) -> CaseResult {
    let (mut probe, directory) = host::with_directory(context)?;
    for index in 0..20 {
        host::put(directory.path().join(index.to_string()), "")?;
    }
    let all = entries(&read_dir(&mut probe, DIR, 4096, 0)?);
    check_eq!(all.len(), 22, "the count of entries");
    for index in [5, 0, 21, 7, 8, 7, 1] {
        let rest = entries(&read_dir(&mut probe, DIR, 4096, all[index].0)?);
        check_eq!(rest, all[index + 1..], "the entries after entry {index}");
    }
    check_eq!(read_dir(&mut probe, DIR, 4096, u64::MAX)?, b"", "the entries after the last there can be");
    // From the start, a listing shows what is there now.
    host::put(directory.path().join("new"), "")?;
    check_eq!(entries(&read_dir(&mut probe, DIR, 4096, 0)?).len(), 23, "the count of entries with a new one");
    Ok(())
}

fn removing(context: &Context) -> CaseResult {
    let (mut probe, directory) = host::with_directory(context)?;
    for index in 0..100 {
        host::put(directory.path().join(format!("file {index}")), "")?;
    }
    let mut cookie = 0;
    loop {
        let bytes = read_dir(&mut probe, DIR, 256, cookie)?;
        for (next, _, kind, name) in entries(&bytes) {
            cookie = next;
            if kind == 4 {
                let [ptr, len] = probe.path(&name)?;
                probe.ok("path_unlink_file", &[DIR, ptr, len], &[])?;
            }
        }
        if bytes.len() < 256 {
            break;
        }
    }
    check_eq!(host::listing(directory.path())?.len(), 0, "the count of files left");
    Ok(())
}

fn no_directory(context: &Context) -> CaseResult {
    let (mut probe, _directory) = host::with_directory(context)?;
    let file = probe.open("file", CREAT, READ)?;
    for (fd, errno) in [(file, Errno::NOTDIR), (1, Errno::BADF), (100, Errno::BADF)] {
        probe.fails("fd_readdir", &[fd, at::DATA.into(), 64, 0, at::OUT.into()], errno)?;
    }
    Ok(())
}

fn make_remove(context: &Context) -> CaseResult {
    let (mut probe, directory) = host::with_directory(context)?;
    let path = directory.path().join("dir");
    check_eq!(probe.by_path("path_create_directory", DIR, "dir")?, Errno::SUCCESS, "making a directory");
    check!(path.is_dir(), "there is no directory");
    check_eq!(probe.by_path("path_create_directory", DIR, "dir")?, Errno::EXIST, "making it again");
    check_eq!(probe.by_path("path_create_directory", DIR, "no/dir")?, Errno::NOENT, "making one in none");
    probe.open("dir/file", CREAT, WRITE)?;
    for (name, errno) in [("dir", Errno::NOTEMPTY), ("dir/file", Errno::NOTDIR), ("missing", Errno::NOENT)] {
        check_eq!(probe.by_path("path_remove_directory", DIR, name)?, errno, "removing the directory {name:?}");
    }
    check_eq!(probe.by_path("path_unlink_file", DIR, "dir/file")?, Errno::SUCCESS, "removing the file");
    check_eq!(probe.by_path("path_remove_directory", DIR, "dir")?, Errno::SUCCESS, "removing the directory");
    check!(!path.exists(), "the directory is still there");
    Ok(())
}

fn unlink(context: &Context) -> CaseResult {
    let (mut probe, directory) = host::with_directory(context)?;
    host::put(directory.path().join("file"), "content")?;
    host::make_directory(directory.path().join("dir"))?;
    host::link("file", directory.path().join("link"))?;
    for (name, errno) in [("dir", Errno::ISDIR), ("file/", Errno::NOTDIR), ("missing", Errno::NOENT)] {
        check_eq!(probe.by_path("path_unlink_file", DIR, name)?, errno, "removing the file {name:?}");
    }
    // A link is removed, not what it leads to; and what is open stays readable.
    let fd = probe.open("file", 0, READ)?;
    check_eq!(probe.by_path("path_unlink_file", DIR, "link")?, Errno::SUCCESS, "removing the link");
    check!(directory.path().join("file").exists(), "the file went with the link");
    check_eq!(probe.by_path("path_unlink_file", DIR, "file")?, Errno::SUCCESS, "removing the file");
    check_eq!(probe.read(fd, 64)?, b"content", "what was open when it was removed");
    check_eq!(host::listing(directory.path())?.len(), 1, "the count of what is left");
    Ok(())
}

/// Calls `path_rename` from one directory and path to another.
fn renames(probe: &mut WasiProbe, from: (u64, &str), to: (u64, &str)) -> CaseResult<Errno> {
    let ([ptr, len], [ptr_2, len_2]) = (probe.path(from.1)?, probe.path_2(to.1)?);
    probe.call("path_rename", &[from.0, ptr, len, to.0, ptr_2, len_2], &[])
}

fn rename(context: &Context) -> CaseResult {
    let (mut probe, directory) = host::with_directory(context)?;
    host::put(directory.path().join("a"), "a")?;
    host::put(directory.path().join("b"), "b")?;
    host::make_directory(directory.path().join("dir"))?;
    check_eq!(renames(&mut probe, (DIR, "a"), (DIR, "c"))?, Errno::SUCCESS, "renaming to what is not there");
    check!(!directory.path().join("a").exists(), "the old name is still there");
    check_eq!(renames(&mut probe, (DIR, "c"), (DIR, "b"))?, Errno::SUCCESS, "renaming over a file");
    check_eq!(host::contents(directory.path().join("b"))?, b"a", "the file renamed");
    for (from, to, errno) in [
        ("missing", "x", Errno::NOENT),
        ("b", "dir", Errno::ISDIR),
        ("dir", "b", Errno::NOTDIR),
        ("dir", "dir/inner", Errno::INVAL),
    ] {
        check_eq!(renames(&mut probe, (DIR, from), (DIR, to))?, errno, "renaming {from:?} to {to:?}");
    }
    Ok(())
}

fn rename_between(context: &Context) -> CaseResult {
    let (one, other) = (host::directory()?, host::directory()?);
    host::put(one.path().join("file"), "content")?;
    let config = WasiConfig::new().preopen(one.path(), "/one")?.preopen(other.path(), "/other")?;
    let mut probe = WasiProbe::start(context, config)?;
    check_eq!(renames(&mut probe, (3, "file"), (4, "moved"))?, Errno::SUCCESS, "moving a file");
    check_eq!(host::contents(other.path().join("moved"))?, b"content", "the file moved");
    check_eq!(host::listing(one.path())?.len(), 0, "what is left behind");
    check_eq!(renames(&mut probe, (4, "moved"), (1, "x"))?, Errno::BADF, "moving a file into a stream");
    Ok(())
}

fn hard_link(context: &Context) -> CaseResult {
    let (mut probe, directory) = host::with_directory(context)?;
    host::put(directory.path().join("file"), "content")?;
    let ([ptr, len], [ptr_2, len_2]) = (probe.path("file")?, probe.path_2("hard")?);
    // That a link at the end is followed is not offered.
    probe.fails("path_link", &[DIR, 1, ptr, len, DIR, ptr_2, len_2], Errno::INVAL)?;
    probe.ok("path_link", &[DIR, 0, ptr, len, DIR, ptr_2, len_2], &[])?;
    probe.fails("path_link", &[DIR, 0, ptr, len, DIR, ptr_2, len_2], Errno::EXIST)?;
    probe.ok("path_filestat_get", &[DIR, 0, ptr_2, len_2, at::OUT.into()], &[range(at::OUT, 64)])?;
    check_eq!(probe.probe.u64_at(at::OUT + 24)?, 2, "the count of links");
    let fd = probe.open("hard", 0, WRITE)?;
    probe.write(fd, b"CON")?;
    check_eq!(host::contents(directory.path().join("file"))?, b"CONtent", "the file, written to by its other name");
    Ok(())
}

fn symlink(context: &Context) -> CaseResult {
    let (mut probe, directory) = host::with_directory(context)?;
    host::put(directory.path().join("file"), "content")?;
    host::make_directory(directory.path().join("dir"))?;
    for (target, path) in [("file", "link"), ("../file", "dir/link"), ("nowhere", "dangling"), ("loop", "loop")] {
        let ([ptr, len], [ptr_2, len_2]) = (probe.path(target)?, probe.path_2(path)?);
        probe.ok("path_symlink", &[ptr, len, DIR, ptr_2, len_2], &[])?;
        probe.fails("path_symlink", &[ptr, len, DIR, ptr_2, len_2], Errno::EXIST)?;
        let seen = fs::read_link(directory.path().join(path)).map_err(Unmet::harness)?;
        check_eq!(seen.to_string_lossy(), target, "where {path} leads");
    }
    for path in ["link", "dir/link"] {
        let fd = probe.open(path, 0, READ)?;
        check_eq!(probe.read(fd, 64)?, b"content", "the file read through {path}");
    }
    check_eq!(probe.open_as(DIR, "dangling", 0, READ, 0)?, Err(Errno::NOENT), "following a link to nowhere");
    check_eq!(probe.open_as(DIR, "loop", 0, READ, 0)?, Err(Errno::LOOP), "following a link to itself");
    Ok(())
}

fn not_followed(context: &Context) -> CaseResult {
    let (mut probe, directory) = host::with_directory(context)?;
    host::put(directory.path().join("file"), "content")?;
    host::link("file", directory.path().join("link"))?;
    let [ptr, len] = probe.path("link")?;
    for oflags in [0, CREAT] {
        let args = [DIR, 0, ptr, len, oflags.into(), READ, READ, 0, at::OUT.into()];
        probe.fails("path_open", &args, Errno::LOOP)?;
    }
    let [ptr, len] = probe.path("file")?;
    let args = [DIR, 0, ptr, len, 0, READ, READ, 0, at::OUT.into()];
    probe.ok("path_open", &args, &[range(at::OUT, 4)])
}

fn readlink(context: &Context) -> CaseResult {
    let (mut probe, directory) = host::with_directory(context)?;
    host::put(directory.path().join("file"), "")?;
    host::link("some/where", directory.path().join("link"))?;
    let [ptr, len] = probe.path("link")?;
    for (room, right) in [(64_u32, "some/where"), (10, "some/where"), (9, "some/wher"), (1, "s"), (0, "")] {
        let args = [DIR, ptr, len, at::DATA.into(), room.into(), at::OUT.into()];
        let seen = probe.fill("path_readlink", &args, room)?;
        check_eq!(String::from_utf8_lossy(&seen), right, "the target in a buffer of {room} bytes");
    }
    for (path, errno) in [("file", Errno::INVAL), ("missing", Errno::NOENT)] {
        let [ptr, len] = probe.path(path)?;
        probe.fails("path_readlink", &[DIR, ptr, len, at::DATA.into(), 64, at::OUT.into()], errno)?;
    }
    Ok(())
}
