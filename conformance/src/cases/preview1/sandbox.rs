//! That no path leads out of a granted directory, and that one granted for reading stays as it is.

use std::fs;

use tempfile::TempDir;
use wharf_core::grants::WasiConfig;

use super::host;
use super::probe::{APPEND, CREAT, DIR, DIRECTORY, EXCL, Errno, READ, TRUNC, WRITE, WasiProbe, at, range};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("preview1/sandbox/dot-dot", "wasi_snapshot_preview1: path_open, errno perm", dot_dot),
    Case::must("preview1/sandbox/absolute-path", "wasi_snapshot_preview1: path_open, errno perm", absolute),
    Case::must("preview1/sandbox/symlink", "wasi_snapshot_preview1: path_open, errno perm", links),
    Case::must("preview1/sandbox/own-symlink", "wasi_snapshot_preview1: path_symlink", own_link),
    Case::must("preview1/sandbox/from-an-opened-directory", "wasi_snapshot_preview1: path_open, errno perm", opened),
    Case::must("preview1/sandbox/path-create-directory", "wasi_snapshot_preview1: path_create_directory", |c| {
        by_path(c, "path_create_directory")
    }),
    Case::must("preview1/sandbox/path-remove-directory", "wasi_snapshot_preview1: path_remove_directory", |c| {
        by_path(c, "path_remove_directory")
    }),
    Case::must("preview1/sandbox/path-unlink-file", "wasi_snapshot_preview1: path_unlink_file", |c| {
        by_path(c, "path_unlink_file")
    }),
    Case::must("preview1/sandbox/path-filestat", "wasi_snapshot_preview1: path_filestat_get", filestat),
    Case::must("preview1/sandbox/path-readlink", "wasi_snapshot_preview1: path_readlink", readlink),
    Case::must("preview1/sandbox/path-rename", "wasi_snapshot_preview1: path_rename", rename),
    Case::must("preview1/sandbox/path-link", "wasi_snapshot_preview1: path_link", hard_link),
    Case::must("preview1/sandbox/path-symlink", "wasi_snapshot_preview1: path_symlink", symlink),
    Case::must("preview1/sandbox/moved-while-open", "wasi_snapshot_preview1: path_rename, path_open", moved),
    Case::must("preview1/read-only/reading", "wasi_snapshot_preview1: path_open", read_only_reading),
    Case::must("preview1/read-only/opening-to-write", "wasi_snapshot_preview1: path_open", read_only_opening),
    Case::must("preview1/read-only/changing-by-path", "wasi_snapshot_preview1: errno perm", read_only_paths),
    Case::must("preview1/read-only/to-and-from-a-writable-one", "wasi_snapshot_preview1: path_link", read_only_links),
];

/// A probe that is granted `granted`, with a secret beside it in `outside`, and links that lead there. What lies in
/// `outside` must be the same at the end.
struct Fenced {
    probe: WasiProbe,
    directory: TempDir,
    before: Vec<String>,
}

impl Fenced {
    fn new(context: &Context) -> CaseResult<Self> {
        let directory = host::directory()?;
        let (granted, outside) = (directory.path().join("granted"), directory.path().join("outside"));
        host::make_directory(&granted)?;
        host::make_directory(granted.join("sub"))?;
        host::make_directory(&outside)?;
        host::make_directory(outside.join("empty"))?;
        host::put(outside.join("secret"), "secret")?;
        host::put(granted.join("mine"), "mine")?;
        host::link("../outside", granted.join("up"))?;
        host::link("../../outside/secret", granted.join("sub/far"))?;
        host::link("sub/far", granted.join("hop"))?;
        host::link(&outside, granted.join("absolute"))?;
        host::link("/proc/self/cwd", granted.join("magic"))?;
        let probe = WasiProbe::start(context, WasiConfig::new().preopen(&granted, "/")?)?;
        let before = host::listing(&outside)?;
        Ok(Fenced { probe, directory, before })
    }

    /// Paths that lead out, each in its own way.
    fn ways_out(&self) -> Vec<String> {
        let secret = self.directory.path().join("outside/secret").display().to_string();
        ["../outside/secret", "up/secret", "sub/far", "hop", "absolute/secret", "magic/x", "/etc/passwd", &secret]
            .map(str::to_owned)
            .to_vec()
    }

    /// Opens `path` in each way there is, and each must be refused.
    fn refuses(&mut self, dir: u64, path: &str) -> CaseResult {
        for (oflags, rights) in
            [(0, READ), (0, WRITE), (0, 0), (DIRECTORY, READ), (CREAT, WRITE), (CREAT | TRUNC, READ | WRITE)]
        {
            let seen = self.probe.open_as(dir, path, oflags, rights, 0)?;
            check_eq!(seen, Err(Errno::PERM), "opening {path:?} with oflags {oflags} and rights {rights:#x}");
        }
        Ok(())
    }

    /// Nothing outside has changed.
    fn unharmed(self) -> CaseResult {
        check_eq!(host::listing(&self.directory.path().join("outside"))?, self.before, "what lies outside");
        check_eq!(host::contents(self.directory.path().join("outside/secret"))?, b"secret", "the secret");
        let beside = fs::read_dir(self.directory.path()).map_err(Unmet::harness)?.count();
        check_eq!(beside, 2, "the count of what lies beside the granted directory");
        Ok(())
    }
}

fn dot_dot(context: &Context) -> CaseResult {
    let mut fenced = Fenced::new(context)?;
    for path in [
        "..",
        "../",
        "../outside/secret",
        "sub/../../outside/secret",
        "./sub/.././../outside/secret",
        "sub/../..",
        "../granted/mine",
    ] {
        fenced.refuses(DIR, path)?;
    }
    // Going up and down again within it does not lead out.
    let fd = fenced.probe.open("sub/../mine", 0, READ)?;
    check_eq!(fenced.probe.read(fd, 16)?, b"mine", "a file by a path that goes up and stays within");
    fenced.unharmed()
}

fn absolute(context: &Context) -> CaseResult {
    let mut fenced = Fenced::new(context)?;
    let secret = fenced.directory.path().join("outside/secret").display().to_string();
    let inside = fenced.directory.path().join("granted/mine").display().to_string();
    for path in ["/", "/etc/passwd", "//etc/passwd", "/mine", "/..", &secret, &inside] {
        fenced.refuses(DIR, path)?;
    }
    fenced.unharmed()
}

fn links(context: &Context) -> CaseResult {
    let mut fenced = Fenced::new(context)?;
    for path in ["up/secret", "up/new", "sub/far", "hop", "absolute/secret", "absolute/empty", "magic/Cargo.toml"] {
        fenced.refuses(DIR, path)?;
    }
    fenced.unharmed()
}

/// A guest may make a link that leads out, as one that leads nowhere; it is when it is followed that it is refused.
fn own_link(context: &Context) -> CaseResult {
    let mut fenced = Fenced::new(context)?;
    let ([ptr, len], [ptr_2, len_2]) = (fenced.probe.path("../outside/secret")?, fenced.probe.path_2("own")?);
    fenced.probe.ok("path_symlink", &[ptr, len, DIR, ptr_2, len_2], &[])?;
    fenced.refuses(DIR, "own")?;
    // A link to an absolute path could only ever lead out.
    let ([ptr, len], [ptr_2, len_2]) = (fenced.probe.path("/etc/passwd")?, fenced.probe.path_2("root")?);
    fenced.probe.fails("path_symlink", &[ptr, len, DIR, ptr_2, len_2], Errno::PERM)?;
    fenced.unharmed()
}

/// A directory that the guest opened fences it in as the granted one does: its parent is out of its reach too.
fn opened(context: &Context) -> CaseResult {
    let mut fenced = Fenced::new(context)?;
    let sub = fenced.probe.open("sub", DIRECTORY, READ)?;
    for path in ["..", "../mine", "../sub", "far", "../../outside/secret", "/mine"] {
        fenced.refuses(sub, path)?;
    }
    fenced.unharmed()
}

fn by_path(context: &Context, function: &str) -> CaseResult {
    let mut fenced = Fenced::new(context)?;
    for path in ["../outside/empty", "up/empty", "up/secret", "absolute/empty", "/new", "../new", "sub/../../new"] {
        check_eq!(fenced.probe.by_path(function, DIR, path)?, Errno::PERM, "{function} of {path:?}");
    }
    fenced.unharmed()
}

fn filestat(context: &Context) -> CaseResult {
    let mut fenced = Fenced::new(context)?;
    for path in fenced.ways_out() {
        let [ptr, len] = fenced.probe.path(&path)?;
        fenced.probe.fails("path_filestat_get", &[DIR, 1, ptr, len, at::OUT.into()], Errno::PERM)?;
        fenced.probe.fails("path_filestat_set_times", &[DIR, 1, ptr, len, 0, 0, 5], Errno::PERM)?;
    }
    fenced.unharmed()
}

/// Where a link leads can be read, for that is the guest's own to know; not through a path that leads out.
fn readlink(context: &Context) -> CaseResult {
    let mut fenced = Fenced::new(context)?;
    for path in ["up/secret", "absolute/secret", "../granted/up", "/proc/self/cwd", "magic/x"] {
        let [ptr, len] = fenced.probe.path(path)?;
        let args = [DIR, ptr, len, at::DATA.into(), 256, at::OUT.into()];
        fenced.probe.fails("path_readlink", &args, Errno::PERM)?;
    }
    fenced.unharmed()
}

fn rename(context: &Context) -> CaseResult {
    let mut fenced = Fenced::new(context)?;
    for path in ["../outside/secret", "up/secret", "absolute/secret", "/etc/passwd", "../new", "up/new"] {
        let ([ptr, len], [ptr_2, len_2]) = (fenced.probe.path(path)?, fenced.probe.path_2("mine")?);
        fenced.probe.fails("path_rename", &[DIR, ptr, len, DIR, ptr_2, len_2], Errno::PERM)?;
        fenced.probe.fails("path_rename", &[DIR, ptr_2, len_2, DIR, ptr, len], Errno::PERM)?;
    }
    check_eq!(host::contents(fenced.directory.path().join("granted/mine"))?, b"mine", "the guest's own file");
    fenced.unharmed()
}

fn hard_link(context: &Context) -> CaseResult {
    let mut fenced = Fenced::new(context)?;
    for path in ["../outside/secret", "up/secret", "absolute/secret", "/etc/passwd"] {
        let ([ptr, len], [ptr_2, len_2]) = (fenced.probe.path(path)?, fenced.probe.path_2("new")?);
        fenced.probe.fails("path_link", &[DIR, 0, ptr, len, DIR, ptr_2, len_2], Errno::PERM)?;
        let ([ptr, len], [ptr_2, len_2]) = (fenced.probe.path("mine")?, fenced.probe.path_2(path)?);
        fenced.probe.fails("path_link", &[DIR, 0, ptr, len, DIR, ptr_2, len_2], Errno::PERM)?;
    }
    fenced.unharmed()
}

fn symlink(context: &Context) -> CaseResult {
    let mut fenced = Fenced::new(context)?;
    for path in ["../outside/new", "up/new", "absolute/new", "/new", "../new"] {
        let ([ptr, len], [ptr_2, len_2]) = (fenced.probe.path("mine")?, fenced.probe.path_2(path)?);
        fenced.probe.fails("path_symlink", &[ptr, len, DIR, ptr_2, len_2], Errno::PERM)?;
    }
    fenced.unharmed()
}

/// A directory that is open while it is moved up still fences the guest in.
fn moved(context: &Context) -> CaseResult {
    let mut fenced = Fenced::new(context)?;
    check_eq!(fenced.probe.by_path("path_create_directory", DIR, "sub/deep")?, Errno::SUCCESS, "making a directory");
    let deep = fenced.probe.open("sub/deep", DIRECTORY, READ)?;
    let ([ptr, len], [ptr_2, len_2]) = (fenced.probe.path("sub/deep")?, fenced.probe.path_2("deep")?);
    fenced.probe.ok("path_rename", &[DIR, ptr, len, DIR, ptr_2, len_2], &[])?;
    for path in ["..", "../mine", "../../outside/secret"] {
        fenced.refuses(deep, path)?;
    }
    fenced.unharmed()
}

/// A probe that is granted one directory for reading, as 3, and another to read and write, as 4.
fn read_only(context: &Context) -> CaseResult<(WasiProbe, TempDir, TempDir)> {
    let (fixed, other) = (host::directory()?, host::directory()?);
    host::put(fixed.path().join("file"), "content")?;
    host::make_directory(fixed.path().join("dir"))?;
    host::link("file", fixed.path().join("link"))?;
    host::put(other.path().join("mine"), "mine")?;
    let config = WasiConfig::new().preopen_read_only(fixed.path(), "/fixed")?.preopen(other.path(), "/other")?;
    Ok((WasiProbe::start(context, config)?, fixed, other))
}

fn read_only_reading(context: &Context) -> CaseResult {
    let (mut probe, _fixed, _other) = read_only(context)?;
    let fd = probe.open("link", 0, READ)?;
    check_eq!(probe.read(fd, 64)?, b"content", "the file");
    let [iovs, count] = probe.iovecs(&[(at::DATA, 4)])?;
    probe.fails("fd_write", &[fd, iovs, count, at::OUT.into()], Errno::BADF)?;
    probe.fails("fd_pwrite", &[fd, iovs, count, 0, at::OUT.into()], Errno::BADF)?;
    let [ptr, len] = probe.path("file")?;
    probe.ok("path_filestat_get", &[DIR, 0, ptr, len, at::OUT.into()], &[range(at::OUT, 64)])?;
    let [ptr, len] = probe.path("link")?;
    let args = [DIR, ptr, len, at::DATA.into(), 64, at::OUT.into()];
    check_eq!(probe.fill("path_readlink", &args, 64)?, b"file", "where the link leads");
    let listed = probe.fill("fd_readdir", &[DIR, at::DATA.into(), 4096, 0, at::OUT.into()], 4096)?;
    check!(listed.len() > 24 * 5, "a listing of five entries takes {} bytes", listed.len());
    Ok(())
}

fn read_only_opening(context: &Context) -> CaseResult {
    let (mut probe, fixed, _other) = read_only(context)?;
    let before = host::listing(fixed.path())?;
    let dir = probe.open("dir", DIRECTORY, READ)?;
    for (at, path) in [(DIR, "file"), (DIR, "new"), (dir, "new")] {
        for (oflags, rights, fdflags) in [
            (0, WRITE, 0),
            (0, READ | WRITE, APPEND),
            (CREAT, READ, 0),
            (CREAT | EXCL, WRITE, 0),
            (TRUNC, READ, 0),
            (CREAT | TRUNC, READ | WRITE, 0),
        ] {
            let seen = probe.open_as(at, path, oflags, rights, fdflags)?;
            check_eq!(seen, Err(Errno::PERM), "opening {path:?} with oflags {oflags} and rights {rights:#x}");
        }
    }
    check_eq!(host::listing(fixed.path())?, before, "what is in the directory");
    Ok(())
}

fn read_only_paths(context: &Context) -> CaseResult {
    let (mut probe, fixed, _other) = read_only(context)?;
    let before = host::listing(fixed.path())?;
    let fd = probe.open("file", 0, READ)?;
    for (function, path) in
        [("path_create_directory", "new"), ("path_remove_directory", "dir"), ("path_unlink_file", "file")]
    {
        check_eq!(probe.by_path(function, DIR, path)?, Errno::PERM, "{function} of {path:?}");
    }
    let ([ptr, len], [ptr_2, len_2]) = (probe.path("file")?, probe.path_2("new")?);
    probe.fails("path_rename", &[DIR, ptr, len, DIR, ptr_2, len_2], Errno::PERM)?;
    probe.fails("path_link", &[DIR, 0, ptr, len, DIR, ptr_2, len_2], Errno::PERM)?;
    probe.fails("path_symlink", &[ptr, len, DIR, ptr_2, len_2], Errno::PERM)?;
    probe.fails("path_filestat_set_times", &[DIR, 1, ptr, len, 0, 0, 5], Errno::PERM)?;
    for fd in [fd, DIR] {
        probe.fails("fd_filestat_set_times", &[fd, 0, 0, 5], Errno::PERM)?;
    }
    probe.fails("fd_filestat_set_size", &[fd, 0], Errno::PERM)?;
    check_eq!(host::listing(fixed.path())?, before, "what is in the directory");
    Ok(())
}

/// Neither does anything get in, nor out to where it could be written to by another name.
fn read_only_links(context: &Context) -> CaseResult {
    const OTHER: u64 = DIR + 1;
    let (mut probe, fixed, other) = read_only(context)?;
    let before = (host::listing(fixed.path())?, host::listing(other.path())?);
    for (from, path, to) in [(DIR, "file", OTHER), (OTHER, "mine", DIR)] {
        let ([ptr, len], [ptr_2, len_2]) = (probe.path(path)?, probe.path_2("new")?);
        probe.fails("path_rename", &[from, ptr, len, to, ptr_2, len_2], Errno::PERM)?;
        probe.fails("path_link", &[from, 0, ptr, len, to, ptr_2, len_2], Errno::PERM)?;
    }
    check_eq!((host::listing(fixed.path())?, host::listing(other.path())?), before, "what is in the directories");
    Ok(())
}
