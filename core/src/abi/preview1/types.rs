//! The numbers, flags and records of the ABI, as they lie in a guest's memory.
//!
//! Sizes and offsets are those of the WITX file; a test compares them.

use crate::abi::preview1::errno::{Errno, Outcome};
use crate::memory::Memory;

// Flags of a file descriptor.
pub(super) const FD_APPEND: u32 = 1;
pub(super) const FD_DSYNC: u32 = 2;
pub(super) const FD_NONBLOCK: u32 = 4;
pub(super) const FD_RSYNC: u32 = 8;
pub(super) const FD_SYNC: u32 = 16;
pub(super) const FD_ALL: u32 = 31;

// How `path_open` opens.
pub(super) const O_CREAT: u32 = 1;
pub(super) const O_DIRECTORY: u32 = 2;
pub(super) const O_EXCL: u32 = 4;
pub(super) const O_TRUNC: u32 = 8;
pub(super) const O_ALL: u32 = 15;

// Which times to set, and to what.
pub(super) const SET_ATIM: u32 = 1;
pub(super) const SET_ATIM_NOW: u32 = 2;
pub(super) const SET_MTIM: u32 = 4;
pub(super) const SET_MTIM_NOW: u32 = 8;
pub(super) const SET_ALL: u32 = 15;

/// Follow a symbolic link at the end of a path.
pub(super) const SYMLINK_FOLLOW: u32 = 1;

/// Refuses flags with bits the ABI does not define.
pub(super) fn known(flags: u32, all: u32) -> Outcome<u32> {
    if flags & !all == 0 { Ok(flags) } else { Err(Errno::Inval.into()) }
}

/// The kind of thing behind a file descriptor or a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Filetype {
    Unknown = 0,
    BlockDevice = 1,
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    SocketDgram = 5,
    SocketStream = 6,
    SymbolicLink = 7,
}

/// Attributes of a file: the record `filestat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filestat {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) filetype: Filetype,
    pub(super) nlink: u64,
    pub(super) size: u64,
    pub(super) atim: u64,
    pub(super) mtim: u64,
    pub(super) ctim: u64,
}

impl Filestat {
    pub(super) const SIZE: usize = 64;

    pub(super) fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        put(&mut bytes, 0, &self.dev.to_le_bytes());
        put(&mut bytes, 8, &self.ino.to_le_bytes());
        put(&mut bytes, 16, &[self.filetype as u8]);
        put(&mut bytes, 24, &self.nlink.to_le_bytes());
        put(&mut bytes, 32, &self.size.to_le_bytes());
        put(&mut bytes, 40, &self.atim.to_le_bytes());
        put(&mut bytes, 48, &self.mtim.to_le_bytes());
        put(&mut bytes, 56, &self.ctim.to_le_bytes());
        bytes
    }
}

/// Attributes of a file descriptor: the record `fdstat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fdstat {
    pub(super) filetype: Filetype,
    pub(super) flags: u32,
    pub(super) base: u64,
    pub(super) inheriting: u64,
}

impl Fdstat {
    pub(super) const SIZE: usize = 24;

    pub(super) fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        put(&mut bytes, 0, &[self.filetype as u8]);
        put(&mut bytes, 2, &(self.flags as u16).to_le_bytes());
        put(&mut bytes, 8, &self.base.to_le_bytes());
        put(&mut bytes, 16, &self.inheriting.to_le_bytes());
        bytes
    }
}

/// The head of a directory entry: the record `dirent`. The name follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dirent {
    pub(super) next: u64,
    pub(super) ino: u64,
    pub(super) name_len: u32,
    pub(super) filetype: Filetype,
}

impl Dirent {
    pub(super) const SIZE: usize = 24;

    pub(super) fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        put(&mut bytes, 0, &self.next.to_le_bytes());
        put(&mut bytes, 8, &self.ino.to_le_bytes());
        put(&mut bytes, 16, &self.name_len.to_le_bytes());
        put(&mut bytes, 20, &[self.filetype as u8]);
        bytes
    }
}

/// What `poll_oneoff` reports: the record `event`. Its error is always success: a bad subscription fails the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) userdata: u64,
    pub(super) kind: u8,
    pub(super) nbytes: u64,
    pub(super) hangup: bool,
}

impl Event {
    pub(super) const SIZE: usize = 32;

    pub(super) fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        put(&mut bytes, 0, &self.userdata.to_le_bytes());
        put(&mut bytes, 8, &(Errno::Success as u16).to_le_bytes());
        put(&mut bytes, 10, &[self.kind]);
        put(&mut bytes, 16, &self.nbytes.to_le_bytes());
        put(&mut bytes, 24, &u16::from(self.hangup).to_le_bytes());
        bytes
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// The most buffers one call reads from or writes to, as in POSIX.
pub(super) const MAX_IOVECS: u32 = 1024;

/// One buffer of a scattered read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Iovec {
    pub(super) ptr: u32,
    pub(super) len: u32,
}

/// Reads a list of buffers and checks that each lies in memory. Empty ones are left out.
///
/// The list is copied, because a read may overwrite the memory it lies in.
pub(super) fn iovecs(memory: &Memory<'_>, ptr: u32, len: u32) -> Outcome<Vec<Iovec>> {
    if len > MAX_IOVECS {
        return Err(Errno::Inval.into());
    }
    let list = memory.slice(ptr, len * 8)?;
    let mut iovecs = Vec::with_capacity(len as usize);
    for pair in list.chunks_exact(8) {
        let iovec = Iovec { ptr: u32_at(pair, 0), len: u32_at(pair, 4) };
        if iovec.len > 0 {
            memory.slice(iovec.ptr, iovec.len)?;
            iovecs.push(iovec);
        }
    }
    Ok(iovecs)
}

/// The little-endian `u32` at `at`, which must lie within `bytes`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

/// The little-endian `u64` at `at`, which must lie within `bytes`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

/// The longest path taken from a guest, in bytes: more than any host accepts.
const MAX_PATH: u32 = 4096;

/// Reads a path.
pub(super) fn path(memory: &Memory<'_>, ptr: u32, len: u32) -> Outcome<String> {
    let bytes = memory.slice(ptr, len)?;
    if len > MAX_PATH {
        return Err(Errno::Nametoolong.into());
    }
    let path = std::str::from_utf8(bytes).map_err(|_| Errno::Ilseq)?;
    Ok(path.to_owned())
}
