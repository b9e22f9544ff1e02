//! Keeps what takes long to make between loads: compiled code, and other things made from a guest's bytes.
//!
//! An entry is named by the digest of all that shaped it; for compiled code that is the guest, its limits, the backend,
//! its engine's version and its code key, and the sources here that rewrite modules. It begins with the digest of these
//! and its content, so that an entry that is cut short, damaged or belongs to another key is made again instead of
//! being used.
//!
//! Who can write an entry can have any code run: a digest is made as easily over other content, and nothing in an entry
//! says who wrote it. So what is trusted is the owner. The directory, all above it ([`directory`]) and each entry have
//! to be this user's or root's, and writable by nobody else.
//!
//! Several processes may use one directory. None waits for another: an entry is put in its place when it is complete, and a
//! process that finds that another has removed one makes it again.

mod bound;
mod directory;
mod entry;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;

pub use self::entry::{CacheKey, CodeKey};

use self::directory::{Directory, Trust};
use self::entry::{MAX_ENTRY, Miss};
use crate::error::{Error, Kind, Result};
use crate::trusted::TrustedCode;

/// How a [`CodeCache`] keeps what it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// The most bytes that all entries may have together; by default 2 GiB. When there are more, those that were used
    /// longest ago are removed. An entry that is larger by itself is not kept, and none may have more than 2 GiB.
    pub size: u64,
    /// What the entries that are written are of, for people, as [`CacheEntry::label`] then says it: the name of the guest's file,
    /// for example. No entry is found by it. What exceeds 255 bytes is left out.
    pub label: Option<String>,
}

impl Default for CacheOptions {
    /// 2 GiB, and no label.
    fn default() -> Self {
        CacheOptions { size: 2 << 30, label: None }
    }
}

/// A directory of what was made of guests: prepared modules, and their code.
#[derive(Debug)]
pub struct CodeCache {
    directory: Directory,
    options: CacheOptions,
}

/// Something that a [`CodeCache`] keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheEntry {
    /// What it is, as [`CacheKey::new`] was told: for compiled code the backend's name. What is being written, or was
    /// when its process was killed, is `unfinished`.
    pub kind: String,
    /// What it is of, as who had it written first called it. Nothing vouches for it; it may have any characters.
    pub label: Option<String>,
    /// How many bytes it has on the disk.
    pub bytes: u64,
    /// When it was last read or written.
    pub last_used: SystemTime,
}

/// What [`CodeCache::clear`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Cleared {
    /// How many entries, those included that were never finished.
    pub entries: u64,
    /// How many bytes these had.
    pub bytes: u64,
}

impl CodeCache {
    /// Uses `directory` with the default [`CacheOptions`].
    ///
    /// # Errors
    /// As [`with_options`](Self::with_options).
    pub fn open(directory: &Path) -> Result<Self> {
        Self::with_options(directory, CacheOptions::default())
    }

    /// Uses `directory`. If it is missing it is made, with all above it, for this user only.
    ///
    /// # Errors
    /// [`Kind::Config`] if it cannot be made or opened; if it belongs to another user than this process's effective one
    /// or root, or may be written by others; if one of the directories above it belongs to another user, or may be
    /// written by others, its group or one that an access control list names, and is not sticky, as `/tmp` is; if the path
    /// leads through another user's symbolic link. In a user namespace, the number that stands for all whom it does not map is
    /// always another user's.
    pub fn with_options(directory: &Path, options: CacheOptions) -> Result<Self> {
        let missing = || Error::new(Kind::Config, format!("the cache directory `{}` is missing", directory.display()));
        let directory = Directory::open(directory, Trust::of_process(), true)?.ok_or_else(missing)?;
        Ok(CodeCache { directory, options })
    }

    /// Uses `directory` if it is there, and makes nothing.
    ///
    /// # Errors
    /// As [`with_options`](Self::with_options).
    pub fn existing(directory: &Path, options: CacheOptions) -> Result<Option<Self>> {
        let directory = Directory::open(directory, Trust::of_process(), false)?;
        Ok(directory.map(|directory| CodeCache { directory, options }))
    }

    /// What is kept under `key`. What is damaged, was kept under another key, belongs to another user or may be written
    /// by others is not used, and a warning says so.
    ///
    /// The content is mapped from the file: it is there whatever happens to the entry, but a program of the same user that
    /// shortens the very file ends this process when the content is looked at.
    pub fn get(&self, key: &CacheKey) -> Option<Bytes> {
        let path = || self.directory.path.join(&key.file);
        let content = entry::read(&self.directory, key);
        match &content {
            Ok(_) => tracing::debug!(path = %path().display(), "found in the cache"),
            Err(Miss::None) => {}
            Err(Miss::Unusable(why)) => tracing::warn!(path = %path().display(), "a cache entry is not used: {why}"),
        }
        content.ok()
    }

    /// Keeps `content` under `key`, in the place of what was kept there before. Who reads meanwhile gets the one or the
    /// other. Then what was used longest ago is removed, until all that is kept has the size that is allowed.
    ///
    /// # Errors
    /// [`Kind::Limit`] if it is too large to be kept, [`Kind::Config`] if the directory cannot be written.
    pub fn put(&self, key: &CacheKey, content: &[u8]) -> Result<()> {
        let label = self.options.label.as_deref();
        let (bytes, most) = (entry::size(label, content), self.options.size.min(MAX_ENTRY));
        if bytes > most {
            let advice = if most < MAX_ENTRY { "; raise the limit `cache-size`" } else { "" };
            let message = format!("{bytes} bytes do not fit into the cache, which may keep {most}{advice}");
            return Err(Error::new(Kind::Limit, message));
        }
        entry::write(&self.directory, key, label, content).map_err(|error| self.failed("written", error))?;
        if let Err(error) = bound::keep_within(&self.directory, self.options.size) {
            tracing::warn!(%error, "the cache directory `{}` may exceed its size", self.directory.path.display());
        }
        Ok(())
    }

    /// The code that is kept under `key`, trusted since nobody else can have written it; otherwise as
    /// [`get`](Self::get).
    #[expect(unsafe_code, reason = "the promise is that of whoever had the code kept")]
    pub fn code(&self, key: &CodeKey) -> Option<TrustedCode<'static>> {
        // SAFETY: an entry of this sort is written by `put_code`, whose caller promises that the engine that the key names
        // made it of what the key names; its digest says that it is unchanged, and its owner and mode, with those of the
        // directory and all above it, that nobody else has written it.
        self.get(&key.0).map(|code| unsafe { TrustedCode::kept(code) })
    }

    /// Keeps code under `key`, as [`put`](Self::put) does.
    ///
    /// # Errors
    /// As `put`.
    ///
    /// # Safety
    /// The engine of `key` made the code of what `key` names.
    #[expect(unsafe_code, reason = "which engine made the code, and of what, cannot be checked, only promised")]
    pub unsafe fn put_code(&self, key: &CodeKey, code: &TrustedCode<'_>) -> Result<()> {
        self.put(&key.0, code.bytes())
    }

    /// All that is kept, what was used last first.
    ///
    /// # Errors
    /// [`Kind::Config`] if the directory cannot be read.
    pub fn entries(&self) -> Result<Vec<CacheEntry>> {
        let files = bound::list(&self.directory).map_err(|error| self.failed("read", error))?;
        let entry = |file: bound::Kept| {
            let kind = entry::kind(&file.file)?.to_owned();
            let label =
                (!entry::is_unfinished(&file.file)).then(|| entry::label(&self.directory, &file.file)).flatten();
            Some(CacheEntry { kind, label, bytes: file.bytes, last_used: file.last_used })
        };
        Ok(files.into_iter().filter_map(entry).collect())
    }

    /// Removes all that is kept. Other files in the directory stay, as does what is being written.
    ///
    /// # Errors
    /// [`Kind::Config`] if the directory cannot be read, or an entry not be removed; the others are removed nonetheless.
    pub fn clear(&self) -> Result<Cleared> {
        let (mut cleared, mut result) = (Cleared::default(), Ok(()));
        for file in bound::list(&self.directory).map_err(|error| self.failed("read", error))? {
            if !entry::is_unfinished(&file.file) || file.is_abandoned(&self.directory) {
                match self.directory.remove(&file.file) {
                    Ok(()) => {
                        cleared.entries += 1;
                        cleared.bytes += file.bytes;
                    }
                    Err(error) => result = Err(self.failed("written", error)),
                }
            }
        }
        result.map(|()| cleared)
    }

    /// How it keeps what it keeps.
    pub fn options(&self) -> &CacheOptions {
        &self.options
    }

    /// The directory, as it was named.
    pub fn directory(&self) -> &Path {
        &self.directory.path
    }

    fn failed(&self, what: &str, error: std::io::Error) -> Error {
        let message = format!("the cache directory `{}` cannot be {what}", self.directory.path.display());
        Error::new(Kind::Config, message).with_source(error)
    }
}
