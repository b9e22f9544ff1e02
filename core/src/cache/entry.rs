//! One entry: its name, what it begins with, how it is read and written.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::SystemTime;

use blake3::Hasher;
use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::directory::{Directory, Found};
use crate::error::{Error, Kind, Result};

/// A BLAKE3, which is as hard to forge as a SHA-256 and faster: every start of a guest makes one of its entry.
type Digest = [u8; DIGEST];

/// How many bytes a digest has.
pub(super) const DIGEST: usize = blake3::OUT_LEN;

/// Content begins at a multiple of so many bytes, for engines that want their code to be aligned.
const ALIGN: usize = 64;

/// How many bytes an entry without a label has before its content.
#[cfg(test)]
pub(super) const HEAD: usize = ALIGN;

/// The most bytes that an entry says of what it is of.
const MAX_LABEL: usize = u8::MAX as usize;

/// How an entry is laid out: a digest, how long its label is, the label, zeros up to a multiple of [`ALIGN`], the content. What
/// every digest begins with, so that an entry of another layout is not looked at.
const LAYOUT: &[u8] = b"3";

/// The most bytes an entry may have, whoever wrote it and whatever the bound.
pub(super) const MAX_ENTRY: u64 = 2 << 30;

/// What follows in every digest, so that what anybody may keep is never taken for what an engine executes, or for what core
/// has validated.
const DATA: &[u8] = b"data";
const CODE: &[u8] = b"code";
const GUEST: &[u8] = b"guest";

/// What the names of all files of the cache end in, and of no others.
const ENTRY: &str = ".wharf";

/// What the names of files begin with that are being written, in the place of a kind.
const UNFINISHED: &str = "unfinished";

/// The most characters of a kind, which leave room in a file name.
const MAX_KIND: usize = 64;

/// What an entry is, and the digest of all that it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheKey {
    pub(super) file: String,
    digest: Digest,
}

impl CacheKey {
    /// Names the entry of this `kind` that was made of `parts`: every byte that may change what is made, and the
    /// version of what makes it. Of two keys that differ in any of these, neither finds the other's entry.
    ///
    /// Files begin with the kind, which is a plain word.
    ///
    /// # Errors
    /// [`Kind::Config`] if the kind is anything but 1 to 64 ASCII letters, digits, `-` and `_`, or is `unfinished`.
    pub fn new(kind: &str, parts: &[&[u8]]) -> Result<Self> {
        Self::of(DATA, kind, parts)
    }

    /// Names what core made of a guest and `engine` of that, as [`new`](Self::new) has it. Core alone makes such keys.
    pub(crate) fn of_guest(engine: &str, parts: &[&[u8]]) -> Result<Self> {
        Self::of(GUEST, engine, parts)
    }

    fn of(sort: &[u8], kind: &str, parts: &[&[u8]]) -> Result<Self> {
        if !is_kind(kind) || kind == UNFINISHED {
            let message = format!(
                "{kind:?} is not a valid kind of what is kept: it has to be 1 to {MAX_KIND} ASCII letters, digits, `-` and \
                 `_`, and not `{UNFINISHED}`"
            );
            return Err(Error::new(Kind::Config, message));
        }
        let mut digest = Hasher::new();
        for part in [&[LAYOUT, sort, kind.as_bytes()], parts].concat() {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let digest: Digest = digest.finalize().into();
        Ok(CacheKey { file: format!("{kind}-{}{ENTRY}", hex(&digest)), digest })
    }
}

/// A key of compiled code. Neither sort of key finds an entry of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeKey(pub(super) CacheKey);

impl CodeKey {
    /// Names the code that `engine` made of `parts`, as [`CacheKey::new`] has it.
    ///
    /// # Errors
    /// As there, if the engine's name is not such a word.
    pub fn new(engine: &str, parts: &[&[u8]]) -> Result<Self> {
        Ok(CodeKey(CacheKey::of(CODE, engine, parts)?))
    }
}

/// Whether it is a plain word, which leads to no other directory.
fn is_kind(kind: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_KIND).contains(&kind.len()) && kind.bytes().all(is_part)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a file is by its name: an entry of this kind, or one that is being written. Any other is not the cache's.
pub(super) fn kind(file: &str) -> Option<&str> {
    let is_hex = |text: &str, bytes: usize| {
        text.len() == 2 * bytes && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let (kind, number) = file.strip_suffix(ENTRY)?.rsplit_once('-')?;
    let bytes = if kind == UNFINISHED { size_of::<u64>() } else { DIGEST };
    (is_kind(kind) && is_hex(number, bytes)).then_some(kind)
}

/// Whether a file is not an entry yet.
pub(super) fn is_unfinished(file: &str) -> bool {
    kind(file) == Some(UNFINISHED)
}

/// What an entry begins with: it binds what follows to what it was made of, so that no entry stands for another.
fn seal(key: &CacheKey, following: [&[u8]; 2]) -> Digest {
    let [label, content] = following;
    Hasher::new().update(&key.digest).update(label).update(content).finalize().into()
}

/// The label as an entry has it: its length, as much of it as there is room for, zeros.
fn labelled(label: Option<&str>) -> Vec<u8> {
    let label = label.unwrap_or_default();
    let label = &label[..label.floor_char_boundary(MAX_LABEL)];
    let mut labelled = [&[label.len() as u8], label.as_bytes()].concat();
    labelled.resize(labelled_bytes(label.len() as u8), 0);
    labelled
}

/// How many bytes that is for a label of so many.
fn labelled_bytes(label: u8) -> usize {
    (DIGEST + 1 + usize::from(label)).next_multiple_of(ALIGN) - DIGEST
}

/// How many bytes an entry has.
pub(super) fn size(label: Option<&str>, content: &[u8]) -> u64 {
    (DIGEST + labelled(label).len() + content.len()) as u64
}

/// What an entry says that it is of, if it is one that could be used: its content is not looked at.
pub(super) fn label(directory: &Directory, file: &str) -> Option<String> {
    let mut file = directory.read(file).ok()?;
    let found = Found::of(&file).ok()?;
    if found.kind != FileType::RegularFile || directory.trust.doubt(&found).is_some() {
        return None;
    }
    let mut head = [0; DIGEST + 1];
    file.read_exact(&mut head).ok()?;
    let mut label = vec![0; head[DIGEST].into()];
    file.read_exact(&mut label).ok()?;
    String::from_utf8(label).ok().filter(|label| !label.is_empty())
}

/// Why there is nothing to use.
pub(super) enum Miss {
    None,
    Unusable(String),
}

impl From<io::Error> for Miss {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => Miss::None,
            Some(Errno::LOOP) => Miss::Unusable("it is a symbolic link".to_owned()),
            _ => Miss::Unusable(error.to_string()),
        }
    }
}

/// Finds the content of the entry and notes that it was used. It is mapped, and not copied: what is not looked at takes no time.
pub(super) fn read(directory: &Directory, key: &CacheKey) -> std::result::Result<Bytes, Miss> {
    let unusable = |why: &str| Miss::Unusable(why.to_owned());
    let file = directory.read(&key.file)?;
    let found = Found::of(&file)?;
    if found.kind != FileType::RegularFile {
        return Err(unusable("it is not a regular file"));
    }
    if let Some(doubt) = directory.trust.doubt(&found) {
        return Err(Miss::Unusable(doubt));
    }
    if found.bytes > MAX_ENTRY {
        return Err(unusable("it is too large to be an entry"));
    }
    let entry = map(&file)?;
    let start = check(&entry, key).ok_or_else(|| unusable("it is damaged, or was kept under another key"))?;
    mark_used(&file);
    Ok(Bytes::from_owner(entry).slice(start..))
}

#[expect(unsafe_code, reason = "that nobody changes a file while it is mapped cannot be checked, only known")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: nobody but this user, and root, can write to the file, which its owner and mode say; and an entry is never
    // written to once it has its name, only replaced and removed.
    unsafe { MmapOptions::new().map_copy_read_only(file) }
}

/// Where the content of an entry begins, if it is whole and was kept under `key`.
fn check(entry: &[u8], key: &CacheKey) -> Option<usize> {
    let (sealed, following) = entry.split_first_chunk::<DIGEST>()?;
    let (label, content) = following.split_at_checked(labelled_bytes(*following.first()?))?;
    (*sealed == seal(key, [label, content])).then_some(DIGEST + label.len())
}

/// Notes that a file is in use now. The times that the system sets by itself are too coarse to tell which came first.
///
/// Where this fails, as in a directory that is only read, what was used last is not known, and nothing is removed
/// either.
fn mark_used(file: &File) {
    if let Err(error) = file.set_modified(SystemTime::now()) {
        tracing::debug!(%error, "cannot record when a cache entry was last used");
    }
}

/// Writes the entry beside its place, and puts it there when it is whole.
pub(super) fn write(directory: &Directory, key: &CacheKey, label: Option<&str>, content: &[u8]) -> io::Result<()> {
    let random = getrandom::u64().map_err(io::Error::other)?;
    let unfinished = Unfinished { directory, name: format!("{UNFINISHED}-{random:016x}{ENTRY}") };
    let mut file = directory.create(&unfinished.name)?;
    // For others to see that somebody writes it, where the file system can tell.
    let _ = file.try_lock();
    let label = labelled(label);
    file.write_all(&seal(key, [&label, content]))?;
    file.write_all(&label)?;
    file.write_all(content)?;
    mark_used(&file);
    directory.rename(&unfinished.name, &key.file)
}

/// A file that is removed with this, unless it has another name by then.
struct Unfinished<'a> {
    directory: &'a Directory,
    name: String,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // Whoever writes next to this directory removes it.
        let _ = self.directory.remove(&self.name);
    }
}
