//! How much is kept: what was used longest ago goes first.

use std::io;
use std::time::{Duration, SystemTime};

use super::directory::Directory;
use super::entry;

/// After this time nobody writes a file any more: who began to was killed.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// A file of the cache.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) last_used: SystemTime,
    age: Duration,
}

impl Kept {
    /// Whether it is the beginning of an entry that nobody will finish. Who writes one locks it before there is anything in
    /// it; where nothing can be locked, the age has to do.
    pub(super) fn is_abandoned(&self, directory: &Directory) -> bool {
        let is_free = || directory.read(&self.file).is_ok_and(|file| file.try_lock_shared().is_ok());
        entry::is_unfinished(&self.file) && (self.age > ABANDONED || (self.bytes > 0 && is_free()))
    }
}

/// The files of the cache, what was used last first. Others in the directory are not looked at.
pub(super) fn list(directory: &Directory) -> io::Result<Vec<Kept>> {
    let now = SystemTime::now();
    let mut list = Vec::new();
    for (file, found) in directory.files()? {
        if entry::kind(&file).is_some() {
            let last_used = found.modified;
            // A time that is still to come is as wrong as it is far: such a file must not stay for ever.
            let age = now.duration_since(last_used).unwrap_or_else(|ahead| ahead.duration());
            list.push(Kept { file, bytes: found.bytes, last_used, age });
        }
    }
    list.sort_by(|one, other| one.age.cmp(&other.age).then_with(|| one.file.cmp(&other.file)));
    Ok(list)
}

/// Removes what was abandoned, and then what was used longest ago until the rest has at most `bound` bytes.
///
/// Others may do the same meanwhile: what is gone already counts as removed.
///
/// # Errors
/// The first of those that removing files reported; the others were removed nonetheless.
pub(super) fn keep_within(directory: &Directory, bound: u64) -> io::Result<()> {
    let mut result = Ok(());
    let mut remove = |file: &Kept, why: &str| {
        let removed = directory.remove(&file.file);
        let done = removed.is_ok();
        if done {
            tracing::debug!(file = file.file, bytes = file.bytes, "removed from the cache: {why}");
        } else if result.is_ok() {
            result = removed;
        }
        done
    };
    let (abandoned, kept): (Vec<_>, Vec<_>) =
        list(directory)?.into_iter().partition(|file| file.is_abandoned(directory));
    for file in &abandoned {
        remove(file, "it was never completely written");
    }
    let mut total = kept.iter().fold(0, |sum: u64, file| sum.saturating_add(file.bytes));
    // Who still writes a file will finish it, and then keep to the bound in turn.
    for oldest in kept.iter().rev().filter(|file| !entry::is_unfinished(&file.file)) {
        if total <= bound {
            break;
        }
        if remove(oldest, "it was the least recently used") {
            total = total.saturating_sub(oldest.bytes);
        }
    }
    result
}
