//! What can be asked of and done to a descriptor, other than reading and writing.

use std::fs::FileTimes;
use std::time::{Duration, SystemTime};

use cap_fs_ext::{DirExt, SystemTimeSpec};
use cap_std::fs::{FileTypeExt, Metadata, MetadataExt};
use rustix::fs::OFlags;

use crate::abi::preview1::Wasi;
use crate::abi::preview1::errno::{Errno, Outcome};
use crate::abi::preview1::fds::{Object, OpenFile};
use crate::abi::preview1::rights;
use crate::abi::preview1::types::{
    FD_ALL, FD_APPEND, FD_DSYNC, FD_RSYNC, FD_SYNC, Fdstat, Filestat, Filetype, SET_ALL, SET_ATIM, SET_ATIM_NOW,
    SET_MTIM, SET_MTIM_NOW, known,
};
use crate::memory::Memory;

/// Passes the advice on to the host, where it has a use for it.
pub(super) fn advise(wasi: &Wasi, _: &mut Memory<'_>, fd: u32, offset: u64, len: u64, advice: u32) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let file = fd.file()?;
    fd.require(rights::FD_ADVISE)?;
    if advice > 5 {
        return Err(Errno::Inval.into());
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::Advice;
        let advice = match advice {
            0 => Advice::Normal,
            1 => Advice::Sequential,
            2 => Advice::Random,
            3 => Advice::WillNeed,
            4 => Advice::DontNeed,
            _ => Advice::NoReuse,
        };
        rustix::fs::fadvise(&file.file, offset, std::num::NonZeroU64::new(len), advice)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, offset, len);
    Ok(())
}

/// No host can do this for every file system, so none does: guests fall back to writing zeros.
pub(super) fn allocate(wasi: &Wasi, _: &mut Memory<'_>, fd: u32, _offset: u64, _len: u64) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    fd.file()?;
    fd.require(rights::FD_ALLOCATE)?;
    Err(Errno::Notsup.into())
}

pub(super) fn close(wasi: &Wasi, _: &mut Memory<'_>, fd: u32) -> Outcome {
    wasi.fds.close(fd).map(drop)
}

pub(super) fn renumber(wasi: &Wasi, _: &mut Memory<'_>, fd: u32, to: u32) -> Outcome {
    wasi.fds.renumber(fd, to).map(drop)
}

pub(super) fn datasync(wasi: &Wasi, _: &mut Memory<'_>, fd: u32) -> Outcome {
    let fd = wasi.fds.with(fd, rights::FD_DATASYNC)?;
    match &fd.object {
        Object::File(file) => file.file.sync_data()?,
        Object::Dir(dir) => dir.dir.open(".")?.sync_data()?,
        Object::Input(_) | Object::Output(_) | Object::Socket(_) => return Err(Errno::Badf.into()),
    }
    Ok(())
}

pub(super) fn sync(wasi: &Wasi, _: &mut Memory<'_>, fd: u32) -> Outcome {
    let fd = wasi.fds.with(fd, rights::FD_SYNC)?;
    match &fd.object {
        Object::File(file) => file.file.sync_all()?,
        Object::Dir(dir) => dir.dir.open(".")?.sync_all()?,
        Object::Input(_) | Object::Output(_) | Object::Socket(_) => return Err(Errno::Badf.into()),
    }
    Ok(())
}

pub(super) fn fdstat_get(wasi: &Wasi, memory: &mut Memory<'_>, fd: u32, stat: u32) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let filetype = match &fd.object {
        Object::Input(stream) => stream_type(stream.terminal()),
        Object::Output(stream) => stream_type(stream.terminal()),
        Object::File(file) => filetype(&file.file.metadata()?),
        Object::Dir(_) => Filetype::Directory,
        Object::Socket(socket) => socket.filetype(),
    };
    let fdstat = Fdstat { filetype, flags: fd.flags, base: fd.base, inheriting: fd.inheriting };
    memory.write(stat, &fdstat.encode())?;
    Ok(())
}

/// Sets `append` and `nonblock`; the `sync` flags are fixed when a file is opened.
pub(super) fn fdstat_set_flags(wasi: &Wasi, _: &mut Memory<'_>, fd: u32, flags: u32) -> Outcome {
    const FIXED: u32 = FD_DSYNC | FD_RSYNC | FD_SYNC;
    wasi.fds.update(fd, |fd| {
        if matches!(fd.object, Object::Dir(_)) {
            return Err(Errno::Badf.into());
        }
        fd.require(rights::FD_FDSTAT_SET_FLAGS)?;
        if (known(flags, FD_ALL)? ^ fd.flags) & FIXED != 0 {
            return Err(Errno::Inval.into());
        }
        if let Object::File(file) = &fd.object {
            file.set_append(flags & FD_APPEND != 0)?;
        }
        fd.flags = flags;
        Ok(())
    })
}

impl OpenFile {
    /// Makes each write go to the end of the file, or not. A file is always open without blocking: see [`super::io`].
    pub(super) fn set_append(&self, append: bool) -> Outcome {
        let append = if append { OFlags::APPEND } else { OFlags::empty() };
        rustix::fs::fcntl_setfl(&self.file, OFlags::NONBLOCK | append)?;
        Ok(())
    }
}

/// Gives up rights.
pub(super) fn fdstat_set_rights(wasi: &Wasi, _: &mut Memory<'_>, fd: u32, base: u64, inheriting: u64) -> Outcome {
    wasi.fds.update(fd, |fd| {
        if base & !fd.base != 0 || inheriting & !fd.inheriting != 0 {
            return Err(Errno::Notcapable.into());
        }
        (fd.base, fd.inheriting) = (base, inheriting);
        Ok(())
    })
}

pub(super) fn filestat_get(wasi: &Wasi, memory: &mut Memory<'_>, fd: u32, stat: u32) -> Outcome {
    let fd = wasi.fds.with(fd, rights::FD_FILESTAT_GET)?;
    let filestat = match &fd.object {
        Object::Input(stream) => stream_stat(stream_type(stream.terminal())),
        Object::Output(stream) => stream_stat(stream_type(stream.terminal())),
        Object::Socket(socket) => stream_stat(socket.filetype()),
        Object::File(file) => filestat(&file.file.metadata()?),
        Object::Dir(dir) => filestat(&dir.dir.dir_metadata()?),
    };
    memory.write(stat, &filestat.encode())?;
    Ok(())
}

pub(super) fn filestat_set_size(wasi: &Wasi, _: &mut Memory<'_>, fd: u32, size: u64) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let file = fd.file()?.to_change()?;
    // What was not opened for writing is `inval`, as POSIX specifies; a right given up later is `notcapable`.
    fd.require(rights::FD_WRITE).map_err(|_| Errno::Inval)?;
    fd.require(rights::FD_FILESTAT_SET_SIZE)?;
    file.set_len(size)?;
    Ok(())
}

pub(super) fn filestat_set_times(
    wasi: &Wasi,
    _: &mut Memory<'_>,
    fd: u32,
    atim: u64,
    mtim: u64,
    flags: u32,
) -> Outcome {
    let fd = wasi.fds.with(fd, rights::FD_FILESTAT_SET_TIMES)?;
    let (atim, mtim) = times(atim, mtim, flags)?;
    match &fd.object {
        Object::File(file) => {
            let mut times = FileTimes::new();
            if let Some(atim) = atim {
                times = times.set_accessed(atim);
            }
            if let Some(mtim) = mtim {
                times = times.set_modified(mtim);
            }
            file.to_change()?.try_clone()?.into_std().set_times(times)?;
        }
        Object::Dir(dir) => dir.to_change()?.set_times(".", spec(atim), spec(mtim))?,
        Object::Input(_) | Object::Output(_) | Object::Socket(_) => return Err(Errno::Badf.into()),
    }
    Ok(())
}

/// The times to set; `None` is a time to leave as it is.
pub(super) fn times(atim: u64, mtim: u64, flags: u32) -> Outcome<(Option<SystemTime>, Option<SystemTime>)> {
    known(flags, SET_ALL)?;
    let time = |time: u64, set: u32, now: u32| match (flags & set != 0, flags & now != 0) {
        (true, true) => Err(Errno::Inval),
        (true, false) => {
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(time)).map(Some).ok_or(Errno::Overflow)
        }
        (false, true) => Ok(Some(SystemTime::now())),
        (false, false) => Ok(None),
    };
    Ok((time(atim, SET_ATIM, SET_ATIM_NOW)?, time(mtim, SET_MTIM, SET_MTIM_NOW)?))
}

/// A time as cap-std takes it.
pub(super) fn spec(time: Option<SystemTime>) -> Option<SystemTimeSpec> {
    time.map(|time| SystemTimeSpec::Absolute(cap_std::time::SystemTime::from_std(time)))
}

/// Attributes as the ABI has them. Times before 1970 are 0.
pub(super) fn filestat(metadata: &Metadata) -> Filestat {
    let nanoseconds = |seconds: i64, nanoseconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or_default();
        seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(nanoseconds).unwrap_or_default())
    };
    Filestat {
        dev: metadata.dev(),
        ino: metadata.ino(),
        filetype: filetype(metadata),
        nlink: metadata.nlink(),
        size: metadata.size(),
        atim: nanoseconds(metadata.atime(), metadata.atime_nsec()),
        mtim: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        ctim: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    }
}

fn filetype(metadata: &Metadata) -> Filetype {
    filetype_of(metadata.file_type())
}

/// The kind of thing, as the ABI defines it: it knows no pipes, and of sockets it would want to know which.
pub(super) fn filetype_of(kind: cap_std::fs::FileType) -> Filetype {
    if kind.is_file() {
        Filetype::RegularFile
    } else if kind.is_dir() {
        Filetype::Directory
    } else if kind.is_symlink() {
        Filetype::SymbolicLink
    } else if kind.is_char_device() {
        Filetype::CharacterDevice
    } else if kind.is_block_device() {
        Filetype::BlockDevice
    } else {
        Filetype::Unknown
    }
}

fn stream_type(terminal: bool) -> Filetype {
    if terminal { Filetype::CharacterDevice } else { Filetype::Unknown }
}

fn stream_stat(filetype: Filetype) -> Filestat {
    Filestat { dev: 0, ino: 0, filetype, nlink: 0, size: 0, atim: 0, mtim: 0, ctim: 0 }
}
