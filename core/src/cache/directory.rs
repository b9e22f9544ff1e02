//! The directory: found to be nobody else's, and never looked up again.
//!
//! It is reached step by step from the root, each directory through the descriptor of the one before, and judged by what
//! was opened. What is done in it later is done relative to its own descriptor. So nobody can put another one in its place
//! between the check and its use.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Kind, Result};

/// How many symbolic links a path may lead through, as Linux has it.
const MAX_LINKS: u32 = 40;

/// How a directory on the way is opened: where the system can, without the right to read it.
#[cfg(target_os = "linux")]
const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const STEP: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Whose files are trusted: root's, who can do anything as it is, and this process's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trust {
    user: u32,
    /// What stands for every user whom this process's user namespace does not map, if there are any.
    pub(super) unmapped: Option<u32>,
}

impl Trust {
    /// The effective user's.
    pub(super) fn of_process() -> Self {
        Self::of(rustix::process::geteuid().as_raw())
    }

    pub(super) fn of(user: u32) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let map = read("/proc/self/uid_map");
        let map = map.as_deref().or(cfg!(target_os = "linux").then_some(""));
        Trust { user, unmapped: map.and_then(|map| unmapped(map, read("/proc/sys/kernel/overflowuid"))) }
    }

    fn owns(self, found: &Found) -> bool {
        (found.user == 0 || found.user == self.user) && self.unmapped != Some(found.user)
    }

    /// Who has it, in a message.
    fn owner(self, found: &Found) -> String {
        let stands = if self.unmapped == Some(found.user) { " (anybody outside of this user namespace)" } else { "" };
        format!("user {}{stands}", found.user)
    }

    /// Why an entry may have been written by somebody else, if it may.
    pub(super) fn doubt(self, entry: &Found) -> Option<String> {
        if !self.owns(entry) {
            return Some(format!("it belongs to {}", self.owner(entry)));
        }
        entry.mode.intersects(OTHERS).then(|| format!("others may write to it (its mode is {})", entry.mode()))
    }

    /// Refuses a directory that somebody else may change: the cache's own, or one above it.
    fn check(self, found: &Found, place: &Path, cache: &Path, above: bool) -> Result<()> {
        let what = if above {
            format!("`{}`, above the cache directory `{}`,", place.display(), cache.display())
        } else {
            format!("the cache directory `{}`", cache.display())
        };
        if !self.owns(found) {
            let message = format!(
                "{what} belongs to {}: that user could have their code run; choose a directory of your own",
                self.owner(found)
            );
            return Err(Error::new(Kind::Config, message));
        }
        // If it is sticky, everybody may put things there, and nobody may take away another's.
        let keeps = above && found.mode.contains(Mode::SVTX);
        if found.mode.intersects(OTHERS) && !keeps {
            let place = place.display();
            let advice = if found.mode.contains(Mode::SVTX) {
                format!("choose a directory in it, such as `{place}/wharf-{}`", self.user)
            } else {
                format!("use `chmod go-w {place}`, or choose another directory")
            };
            let message = format!(
                "{what} may be written by others (its mode is {}), who could then have their code run; {advice}",
                found.mode()
            );
            return Err(Error::new(Kind::Config, message));
        }
        Ok(())
    }
}

/// What stands for every user who is not in the map of a user namespace, of lines `INSIDE OUTSIDE COUNT`.
pub(super) fn unmapped(map: &str, overflow: Option<String>) -> Option<u32> {
    let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    let everybody = counts.sum::<u64>() >= u32::MAX.into();
    let overflow = overflow.and_then(|overflow| overflow.trim().parse().ok()).unwrap_or(65_534);
    (!everybody).then_some(overflow)
}

/// Everybody but the owner. Whoever an access control list lets write is among them: where there is one, its mask is what
/// the mode says of the group. Nor can anybody tell who is in a group, be it the user's own.
const OTHERS: Mode = Mode::WGRP.union(Mode::WOTH);

/// What something in the file system was found to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) kind: FileType,
    mode: Mode,
    user: u32,
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
}

impl Found {
    pub(super) fn of(handle: impl AsFd) -> io::Result<Self> {
        Ok(Found::from(rustix::fs::fstat(handle)?))
    }

    /// The mode as `chmod` takes it.
    fn mode(&self) -> String {
        format!("{:04o}", self.mode.bits())
    }
}

impl From<Stat> for Found {
    fn from(stat: Stat) -> Self {
        let epoch = SystemTime::UNIX_EPOCH;
        let seconds = Duration::from_secs(stat.st_mtime.unsigned_abs());
        let second = if stat.st_mtime < 0 { epoch.checked_sub(seconds) } else { epoch.checked_add(seconds) };
        let modified = second.and_then(|second| second.checked_add(Duration::from_nanos(stat.st_mtime_nsec as _)));
        Found {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: Mode::from_raw_mode(stat.st_mode),
            user: stat.st_uid,
            bytes: stat.st_size as u64,
            modified: modified.unwrap_or(epoch),
        }
    }
}

/// A directory that nobody else can write to, nor exchange.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    pub(super) trust: Trust,
    handle: OwnedFd,
}

impl Directory {
    /// Opens `path`, and if `make` is given makes what is missing of it, for the owner only. Without it, a directory that
    /// is missing is none.
    pub(super) fn open(path: &Path, trust: Trust, make: bool) -> Result<Option<Self>> {
        let failed = |what: &str, place: &Path, error: io::Error| {
            let (cache, place) = (path.display(), place.display());
            let message = format!("the cache directory `{cache}` cannot be used, as `{place}` cannot be {what}");
            Error::new(Kind::Config, message).with_source(error)
        };
        let mut rest = VecDeque::new();
        prepend(&mut rest, &std::path::absolute(path).map_err(|error| failed("found", path, error))?);
        let root = || rustix::fs::open("/", STEP, Mode::empty());
        let mut place = PathBuf::from("/");
        let mut handle = root().map_err(|error| failed("opened", &place, error.into()))?;
        // Links that were followed, and directories that were made: what could go on for ever if somebody undoes it.
        let mut turns = 0;
        loop {
            let found = Found::of(&handle).map_err(|error| failed("examined", &place, error))?;
            trust.check(&found, &place, path, !rest.is_empty())?;
            let Some(name) = rest.pop_front() else { break };
            let next = place.join(&name);
            match rustix::fs::openat(&handle, &name, STEP, Mode::empty()) {
                Ok(opened) => {
                    (handle, place) = (opened, next);
                    continue;
                }
                Err(Errno::NOENT) if !make => return Ok(None),
                Err(Errno::NOENT) => match rustix::fs::mkdirat(&handle, &name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => rest.push_front(name),
                    Err(error) => return Err(failed("made", &next, error.into())),
                },
                Err(error @ (Errno::LOOP | Errno::NOTDIR)) => {
                    let link = rustix::fs::statat(&handle, &name, AtFlags::SYMLINK_NOFOLLOW);
                    let link = Found::from(link.map_err(|error| failed("examined", &next, error.into()))?);
                    if link.kind != FileType::Symlink {
                        return Err(failed("opened", &next, error.into()));
                    }
                    if !trust.owns(&link) {
                        let message = format!(
                            "`{}`, on the way to the cache directory `{}`, is a symbolic link of {}, who could \
                             then have their code run; choose a directory of your own",
                            next.display(),
                            path.display(),
                            trust.owner(&link)
                        );
                        return Err(Error::new(Kind::Config, message));
                    }
                    let target = rustix::fs::readlinkat(&handle, &name, Vec::new());
                    let target = target.map_err(|error| failed("read", &next, error.into()))?;
                    let target = PathBuf::from(OsStr::from_bytes(target.to_bytes()));
                    if target.is_absolute() {
                        handle = root().map_err(|error| failed("opened", &next, error.into()))?;
                        place = PathBuf::from("/");
                    }
                    prepend(&mut rest, &target);
                }
                Err(error) => return Err(failed("opened", &next, error.into())),
            }
            turns += 1;
            if turns > MAX_LINKS {
                return Err(failed("opened", &next, Errno::LOOP.into()));
            }
        }
        Ok(Some(Directory { path: path.to_owned(), trust, handle }))
    }

    /// Opens a file to be read. Of a symbolic link this fails, and it never waits.
    pub(super) fn read(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.handle, name, flags, Mode::empty())?.into())
    }

    /// Makes a file that was not there, for its owner only.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Renames a file, to take the place of what has the name already, as far as that can be removed.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let rename = || rustix::fs::renameat(&self.handle, from, &self.handle, to);
        match rename() {
            Err(Errno::ISDIR) => {
                self.remove(to)?;
                Ok(rename()?)
            }
            renamed => Ok(renamed?),
        }
    }

    /// Removes what has the name, if it is there: anything but a directory with something in it.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let remove = |flags| match rustix::fs::unlinkat(&self.handle, name, flags) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed,
        };
        match remove(AtFlags::empty()) {
            // The one where Linux runs, the other elsewhere.
            Err(Errno::ISDIR | Errno::PERM) => match remove(AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    let message = format!("`{name}` in it is a directory with something in it: remove that yourself");
                    Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, message))
                }
                removed => Ok(removed?),
            },
            removed => Ok(removed?),
        }
    }

    /// What is in it, if its name is UTF-8. What is gone before it was looked at is left out.
    pub(super) fn files(&self) -> io::Result<Vec<(String, Found)>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listing = match rustix::fs::openat(&self.handle, ".", flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            opened => rustix::fs::Dir::new(opened?)?,
        };
        let mut files = Vec::new();
        for entry in listing {
            let Ok(name) = entry?.file_name().to_str().map(str::to_owned) else { continue };
            let found = match rustix::fs::statat(&self.handle, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => Found::from(stat?),
            };
            files.push((name, found));
        }
        Ok(files)
    }
}

/// Puts the steps of `path` before the others.
fn prepend(rest: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        if let Component::Normal(_) | Component::ParentDir = component {
            rest.push_front(component.as_os_str().to_owned());
        }
    }
}
