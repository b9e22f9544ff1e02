//! `wasi:filesystem` over granted directories, and `wasi:sockets`, which is refused.

use std::fs;

use tempfile::TempDir;
use wharf_core::GuestConfig;
use wharf_core::abi::preview1::WasiConfig;

use super::probe::{RET, Wasi02, module};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

const WIT: &str = "wasi:filesystem/types@0.2.12";

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
    Case::must("wasihttp/sockets/are-refused", "wasi:sockets@0.2.12", sockets),
];

const INTERFACES: [&str; 5] =
    ["wasi:filesystem/types", "wasi:filesystem/preopens", "wasi:io/streams", "wasi:io/poll", "wasi:io/error"];

// Numbers of `error-code`.
const BAD_DESCRIPTOR: u8 = 3;
const EXIST: u8 = 7;
const NO_ENTRY: u8 = 20;
const NOT_PERMITTED: u8 = 31;
const READ_ONLY: u8 = 33;

const READ: u64 = 1;
const WRITE: u64 = 2;
const CREATE: u64 = 1;

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
