//! A directory for what is being compiled.
//!
//! What the compiler writes is executed, so nobody else may write it. The directory is this user's only, whatever the
//! mask of modes, and is opened once: everything in it is reached through its descriptor, so that whoever may rename it
//! gains nothing. Elsewhere than on Linux it is reached by its name.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Once;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Resource, geteuid, getrlimit};
use tempfile::TempDir;

use crate::error::Error;

const PREFIX: &str = "wharf-wasmedge-code-";
/// How many letters and digits follow.
const RANDOM: usize = 10;
/// A directory this old whose lock is free is nobody's any more. A younger one may not be locked yet.
const ABANDONED: Duration = Duration::from_secs(60 * 60);
/// How much space compiling takes: so much, and so many times the module. Two to six times have been seen.
const SPACE: (u64, u64) = (64 << 10, 8);

/// It is removed with this. If the process is killed, another one removes it later.
pub(crate) struct Scratch {
    directory: File,
    named: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self, Error> {
        static CLEAR: Once = Once::new();
        let above = std::env::temp_dir();
        CLEAR.call_once(|| clear_abandoned(&above));
        Self::within(&above).map_err(Error::system("cannot create a directory for compiled code"))
    }

    fn within(above: &Path) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).rand_bytes(RANDOM).permissions(Permissions::from_mode(0o700));
        let named = builder.tempdir_in(above)?;
        let directory = open(named.path())?;
        // Where nothing can be locked, nothing is taken for abandoned.
        let _ = directory.try_lock();
        let scratch = Scratch { directory, named };
        // Fails without /proc, which names would only seem to make up for.
        fs::metadata(scratch.path("."))?;
        Ok(scratch)
    }

    /// A file in it, as this process reaches it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        reach(self.directory.as_raw_fd(), self.named.path()).join(name)
    }

    /// A file in it, as a process reaches it whose standard output is [`this`](Self::as_output).
    pub(crate) fn path_of_output(&self, name: &str) -> PathBuf {
        reach(1, self.named.path()).join(name)
    }

    pub(crate) fn as_output(&self) -> io::Result<Stdio> {
        Ok(self.directory.try_clone()?.into())
    }

    /// Reads a file that this user has written: not what a link leads to, or what never ends.
    pub(crate) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(self.path(name))?;
        let found = file.metadata()?;
        if !found.is_file() || found.uid() != geteuid().as_raw() || found.nlink() != 1 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Fails if there is no space to compile a module of so many bytes: the linker maps what it writes, so that a disk
    /// which is full ends its process.
    pub(crate) fn reserve(&self, module: usize) -> Result<(), Error> {
        let bytes = SPACE.0.saturating_add(SPACE.1.saturating_mul(module as u64));
        let space = self.path("space");
        let reserved = if getrlimit(Resource::Fsize).current.is_some_and(|most| most < bytes) {
            Err(Errno::FBIG.into())
        } else {
            File::create(&space)
                .and_then(|file| Ok(retry_on_intr(|| fallocate(&file, FallocateFlags::empty(), 0, bytes))?))
        };
        // It is removed with the directory at the latest.
        let _ = fs::remove_file(&space);
        match reserved.as_ref().map_err(Errno::from_io_error) {
            Err(Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {}
            // Not every file system can tell.
            _ => return Ok(()),
        }
        let directory = self.named.path().parent().unwrap_or(self.named.path()).to_owned();
        reserved.map_err(|source| Error::NoSpace { directory, bytes, source })
    }

    pub(crate) fn empty(&self) {
        empty(&self.path("."));
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What has its name by now may be another.
        self.empty();
    }
}

/// Where what is in the open directory is found that was found at `path`.
fn reach(descriptor: i32, path: &Path) -> PathBuf {
    if cfg!(target_os = "linux") { format!("/proc/self/fd/{descriptor}").into() } else { path.to_owned() }
}

/// Opens a directory that is this user's only.
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = directory.metadata()?;
    let own = found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0;
    if own { Ok(directory) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Removes the files in a directory, as far as that can be done.
fn empty(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
}

/// Removes the directories of this user's processes that were killed, as far as that can be done.
fn clear_abandoned(above: &Path) {
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if random.is_none_or(|random| random.len() != RANDOM) {
            continue;
        }
        let Ok(directory) = open(&path) else { continue };
        let age = directory.metadata().and_then(|found| found.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > ABANDONED) && directory.try_lock().is_ok() {
            empty(&reach(directory.as_raw_fd(), &path));
            let _ = fs::remove_dir(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn it_is_its_owners_only_and_is_removed() {
        let above = tempfile::tempdir().unwrap();
        let scratch = Scratch::within(above.path()).unwrap();
        assert_eq!(fs::metadata(scratch.named.path()).unwrap().mode() & 0o7777, 0o700);
        fs::write(scratch.path("code"), "code").unwrap();
        drop(scratch);
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_that_others_may_write_is_not_used() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("one");
        fs::create_dir(&path).unwrap();
        for (mode, used) in [(0o700, true), (0o720, false), (0o702, false), (0o755, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(open(&path).is_ok(), used, "{mode:o}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        symlink(&path, above.path().join("link")).unwrap();
        assert!(open(&above.path().join("link")).is_err());
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(4242), None).unwrap();
            assert!(open(&path).is_err(), "it is another's");
        }
    }

    /// As whoever may write to the directory above can have it.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_takes_its_place_is_not_looked_at() {
        let above = tempfile::tempdir().unwrap();
        let scratch = Scratch::within(above.path()).unwrap();
        fs::write(scratch.path("code"), "before").unwrap();
        let path = scratch.named.path().to_owned();
        fs::rename(&path, above.path().join("away")).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("code"), "another's").unwrap();
        assert_eq!(scratch.read("code").unwrap(), b"before");
        fs::write(scratch.path("code"), "after").unwrap();
        assert_eq!(scratch.read("code").unwrap(), b"after");
        drop(scratch);
        assert_eq!(fs::read_dir(above.path().join("away")).unwrap().count(), 0);
    }

    #[test]
    fn only_a_file_of_this_user_is_read() {
        let above = tempfile::tempdir().unwrap();
        let scratch = Scratch::within(above.path()).unwrap();
        let code = scratch.path("code");
        fs::write(&code, "code").unwrap();
        assert_eq!(scratch.read("code").unwrap(), b"code");
        fs::hard_link(&code, scratch.path("again")).unwrap();
        assert!(scratch.read("code").is_err(), "it has another name");
        fs::remove_file(scratch.path("again")).unwrap();
        symlink("code", scratch.path("link")).unwrap();
        assert!(scratch.read("link").is_err());
        fs::create_dir(scratch.path("directory")).unwrap();
        assert!(scratch.read("directory").is_err());
        assert!(scratch.read("none").is_err());
        if geteuid().is_root() {
            std::os::unix::fs::chown(&code, Some(4242), None).unwrap();
            assert!(scratch.read("code").is_err(), "another has written it");
        }
    }

    #[test]
    fn too_little_space_is_an_error_that_names_the_directory() {
        let above = tempfile::tempdir().unwrap();
        let scratch = Scratch::within(above.path()).unwrap();
        scratch.reserve(100).unwrap();
        let error = scratch.reserve(1 << 55).unwrap_err().to_string();
        assert!(error.contains(&format!("`{}`", above.path().display())) && error.contains("TMPDIR"), "{error}");
        assert_eq!(fs::read_dir(scratch.path(".")).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let above = tempfile::tempdir().unwrap();
        let made = || Scratch::within(above.path()).unwrap();
        let (old, young, used, other) = (made(), made(), made(), above.path().join("wharf-wasmedge-code-mine"));
        fs::create_dir(&other).unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o700)).unwrap();
        fs::write(old.path("code"), "code").unwrap();
        let ago = SystemTime::now() - 2 * ABANDONED;
        for directory in [&old.directory, &used.directory, &File::open(&other).unwrap()] {
            directory.set_modified(ago).unwrap();
        }
        old.directory.unlock().unwrap();
        young.directory.unlock().unwrap();
        clear_abandoned(above.path());
        let kept = [old.named.path(), young.named.path(), used.named.path(), &other].map(Path::exists);
        assert_eq!(kept, [false, true, true, true]);
    }
}
