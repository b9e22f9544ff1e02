//! `wasi:filesystem` over granted directories, and `wasi:sockets`, which is refused.

use std::fs;

use tempfile::TempDir;
use wharf_core::GuestConfig;
use wharf_core::grants::WasiConfig;

use super::probe::{RET, Wasi02, module};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::preview1::host;
use crate::context::Context;
use crate::{check, check_eq};

const WIT: &str = "wasi:filesystem/types@0.2.12";
const POSIX: &str = "POSIX.1-2024, section 4.16 (pathname resolution)";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/files/nothing-is-granted-by-default", "wasi:filesystem/preopens@0.2.12", nothing),
    Case::must("wasihttp/files/write-and-read", WIT, write_and_read),
    Case::must("wasihttp/files/streams", WIT, streams),
    Case::must("wasihttp/files/listing", WIT, listing),
    Case::must("wasihttp/files/no-way-out", WIT, no_way_out),
    Case::must("wasihttp/files/read-only", WIT, read_only),
    Case::must("wasihttp/files/not-opened-for-it", WIT, not_opened_for_it),
    Case::must("wasihttp/files/changes-by-path", WIT, changes_by_path),
    Case::must("wasihttp/files/same-object", WIT, same_object),
    Case::must("wasihttp/files/opened-directories-are-mutable", WIT, opened_directories),
    Case::must("wasihttp/files/opened-directories-say-that-they-are-mutable", WIT, opened_flags),
    Case::must("wasihttp/files/opened-directories-stay-read-only", WIT, opened_read_only),
    Case::must("wasihttp/files/remove-dir-all", WIT, remove_dir_all),
    Case::must("wasihttp/files/opened-for-what-is-not-said", WIT, unsaid_mode),
    Case::must("wasihttp/files/a-directory-is-no-stream", WIT, directory_stream),
    Case::must("wasihttp/files/a-directory-is-not-read", "wasi:filesystem/types@0.2.12: read, pread", directory_read),
    Case::must("wasihttp/files/slash", POSIX, slash),
    Case::must("wasihttp/files/slash-stat", POSIX, slash_stat),
    Case::must("wasihttp/files/slash-rename", "POSIX.1-2024, rename: ENOTDIR", slash_rename),
    Case::must("wasihttp/files/slash-remove-directory", "POSIX.1-2024, rmdir", slash_remove),
    Case::must("wasihttp/sockets/are-refused", "wasi:sockets@0.2.12", sockets),
];

const INTERFACES: [&str; 5] =
    ["wasi:filesystem/types", "wasi:filesystem/preopens", "wasi:io/streams", "wasi:io/poll", "wasi:io/error"];

// Numbers of `error-code`.
const BAD_DESCRIPTOR: u8 = 3;
const EXIST: u8 = 7;
const IS_DIRECTORY: u8 = 14;
const NO_ENTRY: u8 = 20;
const NOT_DIRECTORY: u8 = 24;
const NOT_PERMITTED: u8 = 31;
const READ_ONLY: u8 = 33;

const READ: u64 = 1;
const WRITE: u64 = 2;
const MUTATE_DIRECTORY: u64 = 32;
const CREATE: u64 = 1;
const DIRECTORY: u64 = 2;
const TRUNCATE: u64 = 8;

/// A guest that is granted a new directory, the directory, and the handle of it.
fn granted(context: &Context, writable: bool) -> CaseResult<(Wasi02, TempDir, u64)> {
    let dir = tempfile::tempdir().map_err(Unmet::harness)?;
    let wasi = WasiConfig::new();
    let wasi = if writable { wasi.preopen(dir.path(), "/data")? } else { wasi.preopen_read_only(dir.path(), "/data")? };
    let mut probe = Wasi02::start(context, &module(&INTERFACES, ""), GuestConfig { wasi, ..GuestConfig::default() })?;
    probe.case("get-directories", &[])?;
    check_eq!(probe.word(4)?, 1, "the count of granted directories");
    let entry = probe.word(0)?;
    check_eq!(probe.string_at(entry + 4)?, b"/data", "its name");
    let handle = probe.probe.u32_at(entry)?;
    Ok((probe, dir, handle.into()))
}

impl Wasi02 {
    /// Opens a file; gives the handle, or the number of the error code.
    fn open(&mut self, dir: u64, path: &str, open_flags: u64, flags: u64) -> CaseResult<Result<u64, u8>> {
        let [ptr, len] = self.bytes(path)?;
        let failed = self.case("[method]descriptor.open-at", &[dir, 1, ptr, len, open_flags, flags])? == 1;
        Ok(if failed { Err(self.byte(4)?) } else { Ok(self.word(4)?.into()) })
    }

    fn must_open(&mut self, dir: u64, path: &str, open_flags: u64, flags: u64) -> CaseResult<u64> {
        self.open(dir, path, open_flags, flags)?
            .map_err(|code| Unmet::failed(format!("opening {path} failed with error code {code}")))
    }

    /// Renames within a directory.
    fn rename(&mut self, dir: u64, old: &str, new: &str) -> CaseResult<Option<u8>> {
        let ([old, old_len], [new, new_len]) = (self.bytes(old)?, self.bytes(new)?);
        self.changes("[method]descriptor.rename-at", &[dir, old, old_len, dir, new, new_len])
    }

    /// The entries of a directory: names, and whether each is a directory.
    fn list(&mut self, dir: u64) -> CaseResult<Vec<(String, bool)>> {
        let entries = self.ok("[method]descriptor.read-directory", &[dir])?;
        let mut list = Vec::new();
        loop {
            let name = "[method]directory-entry-stream.read-directory-entry";
            check_eq!(self.case(name, &[entries])?, 0, "the answer of an entry");
            if self.byte(4)? == 0 {
                break;
            }
            let is_directory = self.byte(8)? == 3;
            list.push((String::from_utf8_lossy(&self.string_at(RET + 12)?).into_owned(), is_directory));
        }
        self.call("[resource-drop]directory-entry-stream", &[entries])?;
        Ok(list)
    }

    /// Calls a function of a directory that takes a path and answers `result<_, error-code>`.
    fn at(&mut self, function: &str, dir: u64, path: &str) -> CaseResult<Option<u8>> {
        let [ptr, len] = self.bytes(path)?;
        self.changes(&format!("[method]descriptor.{function}"), &[dir, ptr, len])
    }
}

fn nothing(context: &Context) -> CaseResult {
    let mut probe = Wasi02::start(context, &module(&INTERFACES, ""), GuestConfig::default())?;
    probe.case("get-directories", &[])?;
    check_eq!(probe.word(4)?, 0, "the count of granted directories");
    Ok(())
}

fn write_and_read(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = granted(context, true)?;
    let file = probe.must_open(root, "file", CREATE, READ | WRITE)?;
    let [ptr, len] = probe.bytes("hello")?;
    check_eq!(probe.case("[method]descriptor.write", &[file, ptr, len, 2])?, 0, "the answer of `write`");
    check_eq!(probe.probe.u64_at(RET + 8)?, 5, "the bytes written");
    check_eq!(fs::read(dir.path().join("file")).map_err(Unmet::harness)?, b"\0\0hello", "the file");
    check_eq!(probe.case("[method]descriptor.read", &[file, 100, 3])?, 0, "the answer of `read`");
    check_eq!(probe.string_at(RET + 4)?, b"ello", "what was read");
    probe.case("[method]descriptor.read", &[file, 100, 7])?;
    check_eq!((probe.word(8)?, probe.byte(12)?), (0, 1), "length and end when read at the end");
    check_eq!(probe.case("[method]descriptor.stat", &[file])?, 0, "the answer of `stat`");
    check_eq!(probe.byte(8)?, 6, "the type");
    check_eq!(probe.probe.u64_at(RET + 24)?, 7, "the size");
    Ok(())
}

fn streams(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = granted(context, true)?;
    let file = probe.must_open(root, "file", CREATE, READ | WRITE)?;
    let stream = probe.ok("[method]descriptor.write-via-stream", &[file, 0])?;
    for part in [b"one", b"two"] {
        check_eq!(probe.write(stream, part)?, 0, "the answer of a write");
    }
    let stream = probe.ok("[method]descriptor.append-via-stream", &[file])?;
    check_eq!(probe.write(stream, b"end")?, 0, "the answer of an append");
    check_eq!(fs::read(dir.path().join("file")).map_err(Unmet::harness)?, b"onetwoend", "the file");
    let stream = probe.ok("[method]descriptor.read-via-stream", &[file, 3])?;
    check_eq!(probe.read_all(stream)?, (b"twoend".to_vec(), true), "the file from its third byte");
    Ok(())
}

fn listing(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = granted(context, false)?;
    for name in ["a", "b", "c"] {
        fs::write(dir.path().join(name), "").map_err(Unmet::harness)?;
    }
    let entries = probe.ok("[method]descriptor.read-directory", &[root])?;
    let mut names = Vec::new();
    loop {
        let name = "[method]directory-entry-stream.read-directory-entry";
        check_eq!(probe.case(name, &[entries])?, 0, "the answer of an entry");
        if probe.byte(4)? == 0 {
            break;
        }
        check_eq!(probe.byte(8)?, 6, "the type of an entry");
        names.push(probe.string_at(RET + 12)?);
    }
    names.sort();
    check_eq!(names, [b"a", b"b", b"c"], "the names");
    Ok(())
}

fn no_way_out(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = granted(context, true)?;
    #[cfg(unix)]
    std::os::unix::fs::symlink("/", dir.path().join("link")).map_err(Unmet::harness)?;
    for path in ["../x", "/etc/passwd", "link/etc/passwd", "a/../../x"] {
        let opened = probe.open(root, path, 0, READ)?;
        check!(matches!(opened, Err(NOT_PERMITTED | NO_ENTRY)), "opening {path} gave {opened:?}");
        let made = probe.at("create-directory-at", root, path)?;
        check!(matches!(made, Some(NOT_PERMITTED | NO_ENTRY | EXIST)), "making {path} gave {made:?}");
    }
    check_eq!(probe.open(root, "../x", 0, READ)?, Err(NOT_PERMITTED), "opening ../x");
    Ok(())
}

fn read_only(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = granted(context, false)?;
    fs::write(dir.path().join("file"), "kept").map_err(Unmet::harness)?;
    check_eq!(probe.open(root, "new", CREATE, WRITE)?, Err(READ_ONLY), "creating a file");
    check_eq!(probe.open(root, "file", 0, WRITE)?, Err(READ_ONLY), "opening a file for writing");
    for function in ["create-directory-at", "remove-directory-at", "unlink-file-at"] {
        check_eq!(probe.at(function, root, "file")?, Some(READ_ONLY), "the answer of {function}");
    }
    check!(probe.open(root, "file", 0, READ)?.is_ok(), "a file cannot be read");
    check_eq!(fs::read(dir.path().join("file")).map_err(Unmet::harness)?, b"kept", "the file");
    Ok(())
}

fn not_opened_for_it(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = granted(context, true)?;
    fs::write(dir.path().join("file"), "kept").map_err(Unmet::harness)?;
    let file = probe.must_open(root, "file", 0, READ)?;
    let [ptr, len] = probe.bytes("x")?;
    check_eq!(probe.case("[method]descriptor.write", &[file, ptr, len, 0])?, 1, "the answer of `write`");
    check_eq!(probe.byte(8)?, BAD_DESCRIPTOR, "its error code");
    check_eq!(probe.case("[method]descriptor.write-via-stream", &[file, 0])?, 1, "the answer of `write-via-stream`");
    check_eq!(probe.changes("[method]descriptor.set-size", &[file, 0])?, Some(BAD_DESCRIPTOR), "`set-size`");
    Ok(())
}

fn changes_by_path(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = granted(context, true)?;
    check_eq!(probe.at("create-directory-at", root, "dir")?, None, "making a directory");
    check_eq!(probe.at("create-directory-at", root, "dir")?, Some(EXIST), "making it again");
    let ([old, old_len], [new, new_len]) = (probe.bytes("dir")?, probe.bytes("other")?);
    let rename = "[method]descriptor.rename-at";
    check_eq!(probe.changes(rename, &[root, old, old_len, root, new, new_len])?, None, "renaming it");
    check!(dir.path().join("other").is_dir(), "it does not have its new name");
    check_eq!(probe.at("remove-directory-at", root, "other")?, None, "removing it");
    check_eq!(probe.at("unlink-file-at", root, "other")?, Some(NO_ENTRY), "removing what is not there");
    Ok(())
}

fn same_object(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = granted(context, false)?;
    for name in ["a", "b"] {
        fs::write(dir.path().join(name), "").map_err(Unmet::harness)?;
    }
    let one = probe.must_open(root, "a", 0, READ)?;
    let again = probe.must_open(root, "a", 0, READ)?;
    let other = probe.must_open(root, "b", 0, READ)?;
    let same = "[method]descriptor.is-same-object";
    check_eq!(probe.call(same, &[one, again])?, 1, "whether a file is itself");
    check_eq!(probe.call(same, &[one, other])?, 0, "whether a file is another");
    Ok(())
}

/// A directory opened as every toolchain opens it, without `mutate-directory`, may be changed as the granted one may.
fn opened_directories(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = granted(context, true)?;
    fs::create_dir(dir.path().join("sub")).map_err(Unmet::harness)?;
    for flags in [READ, 0, READ | MUTATE_DIRECTORY] {
        let sub = probe.must_open(root, "sub", DIRECTORY, flags)?;
        check_eq!(probe.at("create-directory-at", sub, "deeper")?, None, "making a directory in it");
        let deeper = probe.must_open(sub, "deeper", DIRECTORY, flags)?;
        let file = probe.must_open(deeper, "file", CREATE, WRITE)?;
        probe.call("[resource-drop]descriptor", &[file])?;
        check_eq!(probe.at("unlink-file-at", deeper, "file")?, None, "unlinking a file two levels down");
        check_eq!(probe.at("remove-directory-at", sub, "deeper")?, None, "removing a directory in it");
    }
    Ok(())
}

fn opened_flags(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = granted(context, true)?;
    fs::create_dir(dir.path().join("sub")).map_err(Unmet::harness)?;
    for flags in [READ, 0, READ | MUTATE_DIRECTORY] {
        let sub = probe.must_open(root, "sub", DIRECTORY, flags)?;
        probe.case("[method]descriptor.get-flags", &[sub])?;
        check_eq!(u64::from(probe.byte(1)?), READ | MUTATE_DIRECTORY, "its flags, opened with {flags}");
    }
    Ok(())
}

fn opened_read_only(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = granted(context, false)?;
    fs::create_dir(dir.path().join("sub")).map_err(Unmet::harness)?;
    fs::write(dir.path().join("sub/file"), "kept").map_err(Unmet::harness)?;
    let sub = probe.must_open(root, "sub", DIRECTORY, READ)?;
    probe.case("[method]descriptor.get-flags", &[sub])?;
    check_eq!(u64::from(probe.byte(1)?), READ, "its flags");
    let refused = |code: Option<u8>| matches!(code, Some(READ_ONLY | NOT_PERMITTED));
    for (function, path) in [("create-directory-at", "new"), ("unlink-file-at", "file")] {
        let code = probe.at(function, sub, path)?;
        check!(refused(code), "{function} below a directory granted for reading gave {code:?}");
    }
    for (open, flags) in [(CREATE, 0), (TRUNCATE, READ), (0, WRITE)] {
        let code = probe.open(sub, "file", open, flags)?.err();
        check!(refused(code), "opening with {open} and {flags} gave {code:?}");
    }
    check_eq!(fs::read(dir.path().join("sub/file")).map_err(Unmet::harness)?, b"kept", "the file");
    Ok(())
}

/// The calls that Rust's `remove_dir_all` makes: each directory is opened for reading, listed, and emptied through that.
fn remove_dir_all(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = granted(context, true)?;
    for path in ["tree", "tree/one", "tree/one/two"] {
        fs::create_dir(dir.path().join(path)).map_err(Unmet::harness)?;
        fs::write(dir.path().join(path).join("file"), "").map_err(Unmet::harness)?;
    }
    empty(&mut probe, root, "tree")?;
    check_eq!(probe.at("remove-directory-at", root, "tree")?, None, "removing what was emptied");
    check!(!dir.path().join("tree").exists(), "it is still there");
    Ok(())
}

/// Removes what is in a directory.
fn empty(probe: &mut Wasi02, parent: u64, name: &str) -> CaseResult {
    let this = probe.must_open(parent, name, DIRECTORY, READ)?;
    for (name, is_directory) in probe.list(this)? {
        if is_directory {
            empty(probe, this, &name)?;
        }
        let function = if is_directory { "remove-directory-at" } else { "unlink-file-at" };
        check_eq!(probe.at(function, this, &name)?, None, "{function} of {name}");
    }
    probe.call("[resource-drop]descriptor", &[this])?;
    Ok(())
}

/// Without a word about it a file is opened for reading; what is created or truncated may be written.
fn unsaid_mode(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = granted(context, true)?;
    fs::write(dir.path().join("file"), "text").map_err(Unmet::harness)?;
    for (open, flags, expected) in [
        (0, 0, READ),
        (0, READ, READ),
        (0, WRITE, WRITE),
        (CREATE, READ, READ | WRITE),
        (CREATE, 0, READ | WRITE),
        (TRUNCATE, 0, READ | WRITE),
        (TRUNCATE, WRITE, WRITE),
    ] {
        fs::write(dir.path().join("file"), "text").map_err(Unmet::harness)?;
        let file = probe.must_open(root, "file", open, flags)?;
        probe.case("[method]descriptor.get-flags", &[file])?;
        check_eq!(u64::from(probe.byte(1)?), expected, "the flags of what was opened with {open} and {flags}");
        let reads = probe.case("[method]descriptor.read", &[file, 10, 0])? == 0;
        check_eq!(reads, expected & READ != 0, "whether what was opened with {open} and {flags} can be read");
        let [ptr, len] = probe.bytes("T")?;
        let writes = probe.case("[method]descriptor.write", &[file, ptr, len, 0])? == 0;
        check_eq!(writes, expected & WRITE != 0, "whether what was opened with {open} and {flags} can be written");
    }
    Ok(())
}

fn directory_stream(context: &Context) -> CaseResult {
    let (mut probe, _dir, root) = granted(context, true)?;
    check_eq!(probe.case("[method]descriptor.read-via-stream", &[root, 0])?, 1, "the answer of `read-via-stream`");
    check_eq!(probe.byte(4)?, IS_DIRECTORY, "its error code");
    for (function, args) in [("write-via-stream", &[root, 0][..]), ("append-via-stream", &[root])] {
        check_eq!(probe.case(&format!("[method]descriptor.{function}"), args)?, 1, "the answer of `{function}`");
        check_eq!(probe.byte(4)?, BAD_DESCRIPTOR, "its error code: a directory is not open for writing");
    }
    Ok(())
}

fn directory_read(context: &Context) -> CaseResult {
    let (mut probe, _dir, root) = granted(context, true)?;
    check_eq!(probe.case("[method]descriptor.read", &[root, 10, 0])?, 1, "the answer of `read`");
    check_eq!(probe.byte(4)?, IS_DIRECTORY, "its error code");
    Ok(())
}

/// A file `a`, a directory `d`, and links to them.
fn tree(context: &Context) -> CaseResult<(Wasi02, TempDir, u64)> {
    let (probe, dir, root) = granted(context, true)?;
    host::put(dir.path().join("a"), "a")?;
    host::put(dir.path().join("b"), "b")?;
    host::make_directory(dir.path().join("d"))?;
    host::link("a", dir.path().join("to-a"))?;
    host::link("d", dir.path().join("to-d"))?;
    Ok((probe, dir, root))
}

fn slash(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = tree(context)?;
    let before = host::listing(dir.path())?;
    for path in ["a/", "a/.", "./a/", "to-a/"] {
        for (open, flags) in [(0, READ), (0, WRITE), (CREATE, WRITE), (DIRECTORY, READ)] {
            let opened = probe.open(root, path, open, flags)?;
            // Of an open that creates Linux says that it is a directory, before it has looked.
            let right = opened == Err(NOT_DIRECTORY) || open == CREATE && opened == Err(IS_DIRECTORY);
            check!(right, "opening {path} with {open} and {flags} gave {opened:?}");
        }
        check_eq!(probe.at("unlink-file-at", root, path)?, Some(NOT_DIRECTORY), "unlinking {path}");
        let [ptr, len] = probe.bytes(path)?;
        check_eq!(probe.case("[method]descriptor.readlink-at", &[root, ptr, len])?, 1, "readlink-at of {path}");
        check_eq!(probe.byte(4)?, NOT_DIRECTORY, "its error code");
    }
    for path in ["d/", "to-d/", "to-d/."] {
        probe.must_open(root, path, 0, READ)?;
    }
    check_eq!(host::listing(dir.path())?, before, "what is in the directory");
    Ok(())
}

fn slash_stat(context: &Context) -> CaseResult {
    let (mut probe, _dir, root) = tree(context)?;
    for path in ["a/", "a/.", "./a/", "to-a/"] {
        for function in ["stat-at", "metadata-hash-at"] {
            for follow in [0, 1] {
                let [ptr, len] = probe.bytes(path)?;
                let name = format!("[method]descriptor.{function}");
                check_eq!(
                    probe.case(&name, &[root, follow, ptr, len])?,
                    1,
                    "{function} of {path}, path-flags {follow}"
                );
                check_eq!(probe.byte(8)?, NOT_DIRECTORY, "its error code");
            }
        }
    }
    for path in ["d/", "to-d/", "to-d/."] {
        let [ptr, len] = probe.bytes(path)?;
        check_eq!(probe.case("[method]descriptor.stat-at", &[root, 0, ptr, len])?, 0, "stat-at of {path}");
        check_eq!(probe.byte(8)?, 3, "the type of {path}");
    }
    Ok(())
}

fn slash_rename(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = tree(context)?;
    let before = host::listing(dir.path())?;
    for (old, new) in [("a", "b/"), ("a", "new/"), ("a/", "b"), ("a", "to-d/"), ("a", "to-a/"), ("d", "to-d/")] {
        check_eq!(probe.rename(root, old, new)?, Some(NOT_DIRECTORY), "renaming {old} to {new}");
    }
    check_eq!(host::listing(dir.path())?, before, "what is in the directory");
    for (old, new) in [("d", "e/"), ("e/", "d")] {
        check_eq!(probe.rename(root, old, new)?, None, "renaming {old} to {new}");
    }
    check_eq!(host::listing(dir.path())?, before, "what is in the directory once it is renamed back");
    Ok(())
}

fn slash_remove(context: &Context) -> CaseResult {
    let (mut probe, dir, root) = tree(context)?;
    let before = host::listing(dir.path())?;
    for path in ["a/", "to-a/", "to-d/", "to-d"] {
        check_eq!(probe.at("remove-directory-at", root, path)?, Some(NOT_DIRECTORY), "removing {path}");
    }
    check_eq!(host::listing(dir.path())?, before, "what is in the directory");
    check_eq!(probe.at("create-directory-at", root, "new/")?, None, "making new/");
    check_eq!(probe.at("remove-directory-at", root, "new/")?, None, "removing new/");
    check_eq!(probe.at("remove-directory-at", root, "d//")?, None, "removing d//");
    Ok(())
}

fn sockets(context: &Context) -> CaseResult {
    const ACCESS_DENIED: u8 = 1;
    let interfaces = [
        "wasi:sockets/network",
        "wasi:sockets/instance-network",
        "wasi:sockets/tcp-create-socket",
        "wasi:sockets/tcp",
        "wasi:sockets/udp-create-socket",
        "wasi:sockets/ip-name-lookup",
    ];
    let mut probe = Wasi02::start(context, &module(&interfaces, ""), GuestConfig::default())?;
    for function in ["create-tcp-socket", "create-udp-socket"] {
        for family in [0, 1] {
            check_eq!(probe.case(function, &[family])?, 1, "the answer of {function}");
            check_eq!(probe.byte(4)?, ACCESS_DENIED, "its error code");
        }
    }
    let network = probe.call("instance-network", &[])?;
    let [ptr, len] = probe.bytes("localhost")?;
    check_eq!(probe.case("resolve-addresses", &[network, ptr, len])?, 1, "the answer of `resolve-addresses`");
    check_eq!(probe.byte(4)?, ACCESS_DENIED, "its error code");
    probe.traps("[method]tcp-socket.is-listening", &[network], "not `tcp-socket`")
}
