//! What can be done below a directory, by path.
//!
//! cap-std resolves every path within the directory it starts from and refuses one that leads out of it.

use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, OpenOptions};

use crate::abi::paths;
use crate::abi::preview1::Wasi;
use crate::abi::preview1::errno::{Errno, Outcome};
use crate::abi::preview1::fds::{Counted, Fd, Object, OpenDir, OpenFile};
use crate::abi::preview1::file::{filestat, spec, times};
use crate::abi::preview1::rights;
use crate::abi::preview1::types::{
    FD_ALL, FD_APPEND, FD_DSYNC, FD_RSYNC, FD_SYNC, Filestat, O_ALL, O_CREAT, O_DIRECTORY, O_EXCL, O_TRUNC,
    SYMLINK_FOLLOW, known, path,
};
use crate::memory::Memory;

pub(super) fn create_directory(wasi: &Wasi, memory: &mut Memory<'_>, fd: u32, path_ptr: u32, path_len: u32) -> Outcome {
    let dir = wasi.fds.dir(fd, rights::PATH_CREATE_DIRECTORY)?;
    let path = path(memory, path_ptr, path_len)?;
    dir.to_change()?.create_dir(path)?;
    Ok(())
}

pub(super) fn filestat_get(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    flags: u32,
    path_ptr: u32,
    path_len: u32,
    stat: u32,
) -> Outcome {
    let dir = wasi.fds.dir(fd, rights::PATH_FILESTAT_GET)?;
    let path = path(memory, path_ptr, path_len)?;
    let follow = known(flags, SYMLINK_FOLLOW)? != 0;
    memory.slice(stat, Filestat::SIZE as u32)?;
    let metadata = paths::metadata(&dir.dir, &path, follow)?;
    memory.write(stat, &filestat(&metadata).encode())?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's parameters")]
pub(super) fn filestat_set_times(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    flags: u32,
    path_ptr: u32,
    path_len: u32,
    atim: u64,
    mtim: u64,
    set: u32,
) -> Outcome {
    let dir = wasi.fds.dir(fd, rights::PATH_FILESTAT_SET_TIMES)?;
    let path = path(memory, path_ptr, path_len)?;
    let follow = known(flags, SYMLINK_FOLLOW)? != 0;
    let (atim, mtim) = times(atim, mtim, set)?;
    let (atim, mtim) = (spec(atim), spec(mtim));
    let dir = dir.to_change()?;
    if follow {
        dir.set_times(path, atim, mtim)?
    } else {
        dir.set_symlink_times(path, atim, mtim)?
    }
    Ok(())
}

/// Makes a hard link. The link has to be as writable as what it links to, and a symbolic link is not followed.
#[expect(clippy::too_many_arguments, reason = "the ABI's parameters")]
pub(super) fn link(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    old_fd: u32,
    old_flags: u32,
    old_ptr: u32,
    old_len: u32,
    new_fd: u32,
    new_ptr: u32,
    new_len: u32,
) -> Outcome {
    let old_dir = wasi.fds.dir(old_fd, rights::PATH_LINK_SOURCE)?;
    let new_dir = wasi.fds.dir(new_fd, rights::PATH_LINK_TARGET)?;
    let old_path = path(memory, old_ptr, old_len)?;
    let new_path = path(memory, new_ptr, new_len)?;
    if known(old_flags, SYMLINK_FOLLOW)? != 0 {
        return Err(Errno::Inval.into());
    }
    old_dir.to_change()?.hard_link(old_path, new_dir.to_change()?, new_path)?;
    Ok(())
}

/// Opens a file or a directory.
///
/// The rights asked for decide whether a file is opened for reading and for writing. Beyond these two the descriptor
/// has every right that applies to it and that the directory passes on, as guests have come to expect.
#[expect(clippy::too_many_arguments, reason = "the ABI's parameters")]
pub(super) fn open(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    flags: u32,
    path_ptr: u32,
    path_len: u32,
    oflags: u32,
    base: u64,
    _inheriting: u64,
    fdflags: u32,
    opened: u32,
) -> Outcome {
    let (dir, passed_on) = wasi.fds.dir_and_inheriting(fd, rights::PATH_OPEN)?;
    let path = path(memory, path_ptr, path_len)?;
    let follow = known(flags, SYMLINK_FOLLOW)? != 0;
    let create = known(oflags, O_ALL)? & O_CREAT != 0;
    let (directory, exclusive, truncate) = (oflags & O_DIRECTORY != 0, oflags & O_EXCL != 0, oflags & O_TRUNC != 0);
    known(fdflags, FD_ALL)?;
    memory.slice(opened, 4)?;
    if directory && (create || exclusive || truncate) {
        return Err(Errno::Inval.into());
    }
    if create {
        wasi.fds.dir(fd, rights::PATH_CREATE_FILE)?;
    }
    if truncate {
        wasi.fds.dir(fd, rights::PATH_FILESTAT_SET_SIZE)?;
    }
    let (read, write) = (base & rights::FD_READ != 0, base & passed_on & rights::FD_WRITE != 0);
    if create || truncate || base & rights::FD_WRITE != 0 {
        dir.to_change()?;
    }
    wasi.fds.room(Counted::Other)?;

    // The host creates and truncates only what it opens for writing, and opens nothing for neither.
    let mut options = OpenOptions::new();
    options.write(write || create || truncate).read(read || !(write || create || truncate));
    options.create(create && !exclusive).create_new(create && exclusive).truncate(truncate);
    options.follow(if follow { FollowSymlinks::Yes } else { FollowSymlinks::No });
    options.sync(fdflags & FD_SYNC != 0).dsync(fdflags & FD_DSYNC != 0).rsync(fdflags & FD_RSYNC != 0);
    options.nonblock(true);
    let file = paths::open(&dir.dir, &path, &options, create)?;

    let fd = if file.metadata()?.is_dir() {
        let dir = OpenDir {
            dir: Arc::new(Dir::from_std_file(file.into_std())),
            name: None,
            writable: dir.writable,
            listing: Mutex::default(),
        };
        Fd::new(Object::Dir(Arc::new(dir)), passed_on & rights::DIRECTORY, passed_on)
    } else if directory {
        return Err(Errno::Notdir.into());
    } else {
        let file = OpenFile { file, writable: dir.writable };
        if fdflags & FD_APPEND != 0 {
            file.set_append(true)?;
        }
        let mut rights = passed_on & rights::FILE;
        if !read {
            rights &= !rights::FD_READ;
        }
        if !write {
            rights &= !rights::WRITING;
        }
        Fd { flags: fdflags, ..Fd::new(Object::File(Arc::new(file)), rights, rights) }
    };
    let number = wasi.fds.insert(fd)?;
    memory.write(opened, &number.to_le_bytes())?;
    Ok(())
}

/// Reads where a symbolic link leads, cut short to the buffer.
#[expect(clippy::too_many_arguments, reason = "the ABI's parameters")]
pub(super) fn readlink(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    path_ptr: u32,
    path_len: u32,
    buf: u32,
    buf_len: u32,
    used: u32,
) -> Outcome {
    let dir = wasi.fds.dir(fd, rights::PATH_READLINK)?;
    let path = path(memory, path_ptr, path_len)?;
    memory.slice(buf, buf_len)?;
    memory.slice(used, 4)?;
    let target = dir.dir.read_link(path)?;
    let target = target.as_os_str().as_bytes();
    let len = target.len().min(buf_len as usize);
    memory.write(buf, &target[..len])?;
    memory.write(used, &(len as u32).to_le_bytes())?;
    Ok(())
}

pub(super) fn remove_directory(wasi: &Wasi, memory: &mut Memory<'_>, fd: u32, path_ptr: u32, path_len: u32) -> Outcome {
    let dir = wasi.fds.dir(fd, rights::PATH_REMOVE_DIRECTORY)?;
    let path = path(memory, path_ptr, path_len)?;
    paths::remove_dir(dir.to_change()?, &path)?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's parameters")]
pub(super) fn rename(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    old_fd: u32,
    old_ptr: u32,
    old_len: u32,
    new_fd: u32,
    new_ptr: u32,
    new_len: u32,
) -> Outcome {
    let old_dir = wasi.fds.dir(old_fd, rights::PATH_RENAME_SOURCE)?;
    let new_dir = wasi.fds.dir(new_fd, rights::PATH_RENAME_TARGET)?;
    let old_path = path(memory, old_ptr, old_len)?;
    let new_path = path(memory, new_ptr, new_len)?;
    paths::rename(old_dir.to_change()?, &old_path, new_dir.to_change()?, &new_path)?;
    Ok(())
}

/// Makes a symbolic link to a relative path, which need not exist and is judged when it is followed.
pub(super) fn symlink(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    target_ptr: u32,
    target_len: u32,
    fd: u32,
    path_ptr: u32,
    path_len: u32,
) -> Outcome {
    let dir = wasi.fds.dir(fd, rights::PATH_SYMLINK)?;
    let target = path(memory, target_ptr, target_len)?;
    let path = path(memory, path_ptr, path_len)?;
    DirExt::symlink(dir.to_change()?, target, path)?;
    Ok(())
}

pub(super) fn unlink_file(wasi: &Wasi, memory: &mut Memory<'_>, fd: u32, path_ptr: u32, path_len: u32) -> Outcome {
    let dir = wasi.fds.dir(fd, rights::PATH_UNLINK_FILE)?;
    let path = path(memory, path_ptr, path_len)?;
    dir.to_change()?.remove_file_or_symlink(path)?;
    Ok(())
}
