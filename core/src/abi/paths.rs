//! Paths below a directory, the same for every ABI: cap-std's operations, and what a trailing slash means to them.
//!
//! POSIX.1-2024, section 4.16 (4.13 before): a path that ends with a slash names a directory, and a symbolic link in
//! front of the slash is followed. cap-std looks at components, and a trailing slash or dot is not one; where that
//! makes a difference the operation is done here. Paths that lead out of the directory stay cap-std's to refuse.

use std::io;

use cap_std::fs::{Dir, File, Metadata, OpenOptions};
use rustix::io::Errno;

/// Whether a path can name nothing but a directory: it ends with a slash, `.` or `..`.
fn names_directory(path: &str) -> bool {
    path.ends_with('/') || matches!(path.rsplit('/').next(), Some("." | ".."))
}

/// A path without its trailing slashes; one of slashes alone stays.
fn without_slashes(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => path,
        rest => rest,
    }
}

/// `lstat`, or `stat` to `follow` a symbolic link.
pub(in crate::abi) fn metadata(dir: &Dir, path: &str, follow: bool) -> io::Result<Metadata> {
    if !names_directory(path) {
        return if follow { dir.metadata(path) } else { dir.symlink_metadata(path) };
    }
    let metadata = dir.metadata(path)?;
    if metadata.is_dir() { Ok(metadata) } else { Err(Errno::NOTDIR.into()) }
}

/// `open`, which with `create` makes no directory: POSIX.1-2024, `open`, ENOTDIR and ENOENT.
pub(in crate::abi) fn open(dir: &Dir, path: &str, options: &OpenOptions, create: bool) -> io::Result<File> {
    if create && names_directory(path) {
        metadata(dir, path, true)?;
    }
    dir.open_with(path, options)
}

/// `rename`. What is not a directory does not become one by its new name.
pub(in crate::abi) fn rename(from: &Dir, old: &str, to: &Dir, new: &str) -> io::Result<()> {
    if new.ends_with('/') && !from.symlink_metadata(without_slashes(old))?.is_dir() {
        return Err(Errno::NOTDIR.into());
    }
    from.rename(old, to, new)
}

/// `rmdir`. A symbolic link is not one, with or without a trailing slash: POSIX.1-2024, `rmdir`, ENOTDIR.
pub(in crate::abi) fn remove_dir(dir: &Dir, path: &str) -> io::Result<()> {
    dir.remove_dir(without_slashes(path))
}
