//! Granted directories, and listing a directory.
//!
//! A cookie is an entry's place in the listing. A guest normally asks for the entry after the last it got, so an open
//! directory keeps its place and the entry that did not fit; only a guest that goes back has it read anew.

use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, PoisonError};

use cap_std::fs::{Dir, MetadataExt, ReadDir};

use crate::abi::preview1::Wasi;
use crate::abi::preview1::errno::{Errno, Outcome};
use crate::abi::preview1::fds::{Object, OpenDir};
use crate::abi::preview1::file::filetype_of;
use crate::abi::preview1::rights;
use crate::abi::preview1::types::{Dirent, Filetype};
use crate::memory::Memory;

/// The tag of what is granted and no directory.
const NO_DIRECTORY: u8 = 1;

pub(super) fn prestat_get(wasi: &Wasi, memory: &mut Memory<'_>, fd: u32, prestat: u32) -> Outcome {
    let Some(name) = granted_name(wasi, fd)? else {
        // Guests look for granted directories from 3 on and stop at what is `badf`: so that they find those behind a
        // listener, it is shown as granted, of a kind they do not know.
        if matches!(wasi.fds.get(fd)?.object, Object::Socket(_)) && wasi.fds.granted_after(fd) {
            memory.write(prestat, &[NO_DIRECTORY, 0, 0, 0, 0, 0, 0, 0])?;
            return Ok(());
        }
        return Err(Errno::Badf.into());
    };
    let len = u32::try_from(name.len()).map_err(|_| Errno::Overflow)?;
    // The tag of a directory is 0.
    let mut bytes = [0; 8];
    bytes[4..].copy_from_slice(&len.to_le_bytes());
    memory.write(prestat, &bytes)?;
    Ok(())
}

/// Writes the name without a terminator.
pub(super) fn prestat_dir_name(wasi: &Wasi, memory: &mut Memory<'_>, fd: u32, path: u32, path_len: u32) -> Outcome {
    let Some(name) = granted_name(wasi, fd)? else {
        return Err(Errno::Notdir.into());
    };
    if name.len() > path_len as usize {
        return Err(Errno::Nametoolong.into());
    }
    memory.write(path, name.as_bytes())?;
    Ok(())
}

fn granted_name(wasi: &Wasi, fd: u32) -> Outcome<Option<Arc<str>>> {
    match wasi.fds.get(fd)?.object {
        Object::Dir(dir) => Ok(dir.name.clone()),
        Object::Input(_) | Object::Output(_) | Object::File(_) | Object::Socket(_) => Ok(None),
    }
}

/// A directory being listed.
pub(super) struct Listing {
    entries: ReadDir,
    /// The directory's own inode, shown for `.` and `..` alike: what lies above is not the guest's to know.
    ino: u64,
    /// The cookie of the entry that comes next.
    at: u64,
    /// That entry, if it was read already.
    head: Option<Entry>,
}

struct Entry {
    ino: u64,
    filetype: Filetype,
    name: Vec<u8>,
}

impl Listing {
    fn open(dir: &Dir) -> Outcome<Self> {
        Ok(Listing { entries: dir.entries()?, ino: dir.dir_metadata()?.ino(), at: 0, head: None })
    }

    /// The entry that comes next, without going on to the one after it.
    fn peek(&mut self) -> Outcome<Option<&Entry>> {
        if self.head.is_none() {
            self.head = match self.at {
                0 => Some(Entry { ino: self.ino, filetype: Filetype::Directory, name: b".".to_vec() }),
                1 => Some(Entry { ino: self.ino, filetype: Filetype::Directory, name: b"..".to_vec() }),
                _ => self.entries.next().transpose()?.map(Entry::new).transpose()?,
            };
        }
        Ok(self.head.as_ref())
    }

    fn advance(&mut self) {
        self.head = None;
        self.at += 1;
    }
}

impl Entry {
    fn new(entry: cap_std::fs::DirEntry) -> Outcome<Self> {
        let filetype = filetype_of(entry.file_type()?);
        let ino = std::os::unix::fs::DirEntryExt::ino(&entry);
        Ok(Entry { ino, filetype, name: entry.file_name().into_vec() })
    }
}

/// Fills the buffer with entries, the last of which may be cut short: then `used` is the buffer's length.
pub(super) fn readdir(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    buf: u32,
    buf_len: u32,
    cookie: u64,
    used: u32,
) -> Outcome {
    let dir = wasi.fds.dir(fd, rights::FD_READDIR)?;
    memory.slice(used, 4)?;
    let buffer = memory.slice_mut(buf, buf_len)?;
    let len = list(wasi, &dir, buffer, cookie)?;
    memory.write(used, &(len as u32).to_le_bytes())?;
    Ok(())
}

fn list(wasi: &Wasi, dir: &OpenDir, buffer: &mut [u8], cookie: u64) -> Outcome<usize> {
    let mut place = dir.listing.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut listing = match place.take_if(|listing| listing.at <= cookie) {
        Some(listing) => listing,
        None => Listing::open(&dir.dir)?,
    };
    let mut len = 0;
    while len < buffer.len() {
        wasi.alive()?;
        let at = listing.at;
        let Some(entry) = listing.peek()? else { break };
        if at >= cookie {
            let name_len = u32::try_from(entry.name.len()).map_err(|_| Errno::Overflow)?;
            let head = Dirent { next: at + 1, ino: entry.ino, name_len, filetype: entry.filetype };
            let written = fill(&mut buffer[len..], &head.encode()) + fill_after(buffer, len, &entry.name);
            len += written;
            if written < Dirent::SIZE + entry.name.len() {
                break;
            }
        }
        listing.advance();
    }
    *dir.listing.lock().unwrap_or_else(PoisonError::into_inner) = Some(listing);
    Ok(len)
}

/// Copies as much of `bytes` as fits.
fn fill(buffer: &mut [u8], bytes: &[u8]) -> usize {
    let len = bytes.len().min(buffer.len());
    buffer[..len].copy_from_slice(&bytes[..len]);
    len
}

/// Copies as much of a name as fits behind its head, which starts at `at`.
fn fill_after(buffer: &mut [u8], at: usize, name: &[u8]) -> usize {
    buffer.get_mut(at + Dirent::SIZE..).map_or(0, |rest| fill(rest, name))
}
