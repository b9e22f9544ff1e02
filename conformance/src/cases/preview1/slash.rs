//! What a trailing slash, or a dot behind one, says of a path: that it names a directory (POSIX.1-2024, section 4.16).

use tempfile::TempDir;

use super::host;
use super::probe::{CREAT, DIR, DIRECTORY, EXCL, Errno, READ, WRITE, WasiProbe, at, range};
use crate::case::{Case, CaseResult, Unmet};
use crate::check_eq;
use crate::context::Context;

const POSIX: &str = "POSIX.1-2024, section 4.16 (pathname resolution)";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("preview1/slash/filestat", POSIX, filestat),
    Case::must("preview1/slash/set-times", POSIX, set_times),
    Case::must("preview1/slash/open", POSIX, open),
    Case::must("preview1/slash/rename", "POSIX.1-2024, rename: ENOTDIR", rename),
    Case::must("preview1/slash/rename-keeps-a-link", "POSIX.1-2024, rename: ENOTDIR", rename_over_a_link),
    Case::must("preview1/slash/make-and-remove-directory", "POSIX.1-2024, mkdir, rmdir", make_remove),
    Case::must("preview1/slash/unlink", "POSIX.1-2024, unlink: ENOTDIR", unlink),
    Case::must("preview1/slash/link-and-symlink", "POSIX.1-2024, link, symlink: ENOTDIR", links),
    Case::must("preview1/slash/readlink", "POSIX.1-2024, readlink: ENOTDIR, EINVAL", readlink),
];

/// A probe and its directory, with a file `a`, an empty directory `d`, links `to-a` and `to-d`, one to nothing, and one
/// whose own target ends with a slash.
fn tree(context: &Context) -> CaseResult<(WasiProbe, TempDir)> {
    let (probe, directory) = host::with_directory(context)?;
    let root = directory.path();
    host::put(root.join("a"), "a")?;
    host::make_directory(root.join("d"))?;
    for (target, name) in [("a", "to-a"), ("d", "to-d"), ("nothing", "to-nothing"), ("a/", "to-a-slash")] {
        host::link(target, root.join(name))?;
    }
    Ok((probe, directory))
}

/// Paths to what is not a directory, which each claim that it is.
const NO_DIRECTORY: [&str; 8] = ["a/", "a//", "a/.", "a/./", "./a/", "d/../a/", "to-a/", "to-a/."];

/// Paths to the directory `d`.
const DIRECTORIES: [&str; 6] = ["d/", "d//", "d/.", "./d/", "to-d/", "to-d/."];

fn filestat(context: &Context) -> CaseResult {
    let (mut probe, _directory) = tree(context)?;
    for follow in [0, 1] {
        for path in NO_DIRECTORY.into_iter().chain(["a/..", "to-a-slash/"]) {
            let [ptr, len] = probe.path(path)?;
            let answer = probe.call("path_filestat_get", &[DIR, follow, ptr, len, at::OUT.into()], &[])?;
            check_eq!(answer, Errno::NOTDIR, "path_filestat_get of {path:?}, lookupflags {follow}");
        }
        // A link in front of a slash is followed, whatever the flags say.
        for path in DIRECTORIES {
            let [ptr, len] = probe.path(path)?;
            probe.ok("path_filestat_get", &[DIR, follow, ptr, len, at::OUT.into()], &[range(at::OUT, 64)])?;
            check_eq!(probe.probe.bytes(at::OUT + 16, 1)?, [3], "the type of {path:?}, lookupflags {follow}");
        }
        for path in ["nothing/", "to-nothing/"] {
            let [ptr, len] = probe.path(path)?;
            probe.fails("path_filestat_get", &[DIR, follow, ptr, len, at::OUT.into()], Errno::NOENT)?;
        }
    }
    let [ptr, len] = probe.path("to-a-slash")?;
    probe.fails("path_filestat_get", &[DIR, 1, ptr, len, at::OUT.into()], Errno::NOTDIR)?;
    for link in ["to-a", "to-d", "to-a-slash"] {
        let [ptr, len] = probe.path(link)?;
        probe.ok("path_filestat_get", &[DIR, 0, ptr, len, at::OUT.into()], &[range(at::OUT, 64)])?;
        check_eq!(probe.probe.bytes(at::OUT + 16, 1)?, [7], "the type of {link} itself");
    }
    Ok(())
}

fn set_times(context: &Context) -> CaseResult {
    let (mut probe, directory) = tree(context)?;
    let before = host::listing(directory.path())?;
    for follow in [0, 1] {
        for path in NO_DIRECTORY {
            let [ptr, len] = probe.path(path)?;
            probe.fails("path_filestat_set_times", &[DIR, follow, ptr, len, 0, 0, 5], Errno::NOTDIR)?;
        }
    }
    check_eq!(host::listing(directory.path())?, before, "what is in the directory");
    for (follow, path) in [(0, "d/"), (1, "d/"), (0, "to-d/"), (1, "to-d/.")] {
        let [ptr, len] = probe.path(path)?;
        let time = 1_000_000_000 + follow;
        probe.ok("path_filestat_set_times", &[DIR, follow, ptr, len, time, time, 5], &[])?;
        let seen = std::fs::metadata(directory.path().join("d")).and_then(|metadata| metadata.modified());
        let seen = seen.map_err(Unmet::harness)?.duration_since(std::time::UNIX_EPOCH);
        check_eq!(seen.map_err(Unmet::harness)?.as_nanos(), u128::from(time), "the time of d, set by {path:?}");
    }
    Ok(())
}

fn open(context: &Context) -> CaseResult {
    let (mut probe, directory) = tree(context)?;
    let before = host::listing(directory.path())?;
    for path in NO_DIRECTORY {
        for (oflags, rights) in [(0, READ), (0, WRITE), (DIRECTORY, READ), (CREAT, WRITE), (CREAT | EXCL, WRITE)] {
            let seen = probe.open_as(DIR, path, oflags, rights, 0)?;
            check_eq!(seen, Err(Errno::NOTDIR), "opening {path:?} with oflags {oflags} and rights {rights:#x}");
        }
    }
    check_eq!(probe.open_as(DIR, "to-a-slash", 0, READ, 0)?, Err(Errno::NOTDIR), "opening a link to `a/`");
    for path in ["nothing/", "nothing/."] {
        let seen = probe.open_as(DIR, path, CREAT, READ | WRITE, 0)?;
        check_eq!(seen, Err(Errno::NOENT), "creating {path:?}");
    }
    check_eq!(host::listing(directory.path())?, before, "what is in the directory");
    for path in DIRECTORIES {
        let fd = probe.open(path, 0, READ)?;
        probe.ok("fd_close", &[fd], &[])?;
    }
    Ok(())
}

/// Renames, and gives the answer.
fn renames(probe: &mut WasiProbe, old: &str, new: &str) -> CaseResult<Errno> {
    let ([ptr, len], [ptr_2, len_2]) = (probe.path(old)?, probe.path_2(new)?);
    probe.call("path_rename", &[DIR, ptr, len, DIR, ptr_2, len_2], &[])
}

fn rename(context: &Context) -> CaseResult {
    let (mut probe, directory) = tree(context)?;
    host::put(directory.path().join("b"), "b")?;
    let before = host::listing(directory.path())?;
    for (old, new) in [
        ("a", "b/"),
        ("a", "new/"),
        ("a", "new//"),
        ("a", "d/"),
        ("a/", "b"),
        ("a/", "new"),
        ("a/.", "new"),
        ("a/", "new/"),
        ("to-d", "new/"),
        ("to-d/", "new"),
        ("d", "b/"),
        ("d/", "a"),
    ] {
        check_eq!(renames(&mut probe, old, new)?, Errno::NOTDIR, "renaming {old:?} to {new:?}");
    }
    check_eq!(renames(&mut probe, "nothing", "new/")?, Errno::NOENT, "renaming what is not there");
    check_eq!(host::listing(directory.path())?, before, "what is in the directory");
    for (old, new) in [("d", "e/"), ("e/", "f"), ("f//", "d/")] {
        check_eq!(renames(&mut probe, old, new)?, Errno::SUCCESS, "renaming {old:?} to {new:?}");
    }
    check_eq!(host::listing(directory.path())?, before, "what is in the directory once it is renamed back");
    Ok(())
}

fn rename_over_a_link(context: &Context) -> CaseResult {
    let (mut probe, directory) = tree(context)?;
    let before = host::listing(directory.path())?;
    for (old, new) in [("a", "to-d/"), ("a", "to-a/"), ("a", "to-nothing/"), ("d", "to-d/"), ("d", "to-a/")] {
        check_eq!(renames(&mut probe, old, new)?, Errno::NOTDIR, "renaming {old:?} to {new:?}");
    }
    check_eq!(host::listing(directory.path())?, before, "what is in the directory");
    // Without a slash it is the link that is replaced.
    check_eq!(renames(&mut probe, "a", "to-d")?, Errno::SUCCESS, "renaming a file to a link");
    check_eq!(host::contents(directory.path().join("to-d"))?, b"a", "what was a link");
    Ok(())
}

fn make_remove(context: &Context) -> CaseResult {
    let (mut probe, directory) = tree(context)?;
    let (make, remove) = ("path_create_directory", "path_remove_directory");
    for path in ["new/", "new//", "d/new/"] {
        check_eq!(probe.by_path(make, DIR, path)?, Errno::SUCCESS, "making {path:?}");
        check_eq!(probe.by_path(make, DIR, path)?, Errno::EXIST, "making {path:?} again");
        check_eq!(probe.by_path(remove, DIR, path)?, Errno::SUCCESS, "removing {path:?}");
        check_eq!(probe.by_path(remove, DIR, path)?, Errno::NOENT, "removing {path:?} again");
    }
    let before = host::listing(directory.path())?;
    for path in ["a/", "to-a/", "to-d/"] {
        check_eq!(probe.by_path(make, DIR, path)?, Errno::EXIST, "making {path:?}, which is there");
    }
    for path in ["a", "a/", "a/.", "to-a/", "to-d", "to-d/"] {
        check_eq!(probe.by_path(remove, DIR, path)?, Errno::NOTDIR, "removing {path:?}");
    }
    check_eq!(probe.by_path(remove, DIR, "d/.")?, Errno::INVAL, "removing a directory by its dot");
    check_eq!(host::listing(directory.path())?, before, "what is in the directory");
    Ok(())
}

fn unlink(context: &Context) -> CaseResult {
    let (mut probe, directory) = tree(context)?;
    let before = host::listing(directory.path())?;
    for path in NO_DIRECTORY {
        check_eq!(probe.by_path("path_unlink_file", DIR, path)?, Errno::NOTDIR, "unlinking {path:?}");
    }
    for path in DIRECTORIES {
        check_eq!(probe.by_path("path_unlink_file", DIR, path)?, Errno::ISDIR, "unlinking {path:?}");
    }
    check_eq!(host::listing(directory.path())?, before, "what is in the directory");
    check_eq!(probe.by_path("path_unlink_file", DIR, "to-d")?, Errno::SUCCESS, "unlinking a link itself");
    Ok(())
}

fn links(context: &Context) -> CaseResult {
    let (mut probe, directory) = tree(context)?;
    let before = host::listing(directory.path())?;
    for (old, new, errno) in [
        ("a/", "new", Errno::NOTDIR),
        ("to-a/", "new", Errno::NOTDIR),
        ("a", "new/", Errno::NOENT),
        ("a", "a/", Errno::NOTDIR),
        ("a", "d/", Errno::EXIST),
    ] {
        let ([ptr, len], [ptr_2, len_2]) = (probe.path(old)?, probe.path_2(new)?);
        let answer = probe.call("path_link", &[DIR, 0, ptr, len, DIR, ptr_2, len_2], &[])?;
        check_eq!(answer, errno, "linking {old:?} to {new:?}");
    }
    for (new, errno) in [("new/", Errno::NOENT), ("a/", Errno::NOTDIR), ("d/", Errno::EXIST)] {
        let ([ptr, len], [ptr_2, len_2]) = (probe.path("a")?, probe.path_2(new)?);
        let answer = probe.call("path_symlink", &[ptr, len, DIR, ptr_2, len_2], &[])?;
        check_eq!(answer, errno, "making a symbolic link {new:?}");
    }
    check_eq!(host::listing(directory.path())?, before, "what is in the directory");
    Ok(())
}

fn readlink(context: &Context) -> CaseResult {
    let (mut probe, _directory) = tree(context)?;
    for (path, errno) in [("to-a/", Errno::NOTDIR), ("to-d/", Errno::INVAL), ("to-nothing/", Errno::NOENT)] {
        let [ptr, len] = probe.path(path)?;
        probe.fails("path_readlink", &[DIR, ptr, len, at::DATA.into(), 64, at::OUT.into()], errno)?;
    }
    Ok(())
}
