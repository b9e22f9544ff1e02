//! `wasi:filesystem`, over the same granted directories as preview 1.
//!
//! cap-std resolves every path within the directory it starts from; one that leads out of it is `not-permitted`. What
//! would change a directory that was granted to be read only is `read-only`.

mod error;
mod paths;
mod streams;

use std::fs::FileTimes;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cap_fs_ext::{DirExt, SystemTimeSpec};
use cap_std::fs::{Dir, File, FileExt, FileType, FileTypeExt, Metadata, MetadataExt, ReadDir};
use sha2::{Digest, Sha256};

pub(crate) use self::error::ErrorCode;
use self::streams::{FileStream, Position};
use super::canon::{Borrow, Cx, Handle, Outcome, Own, flags, record, variant};
use super::clocks::Datetime;
use super::io::{InputStream, IoError, OutputStream};
use super::table::Resource;
use super::{drop_resource, interfaces};

/// The most bytes that one `read` of a descriptor gives, however many are asked for.
const MAX_READ: u64 = 1 << 20;

flags! {
    /// `wasi:filesystem/types.descriptor-flags`.
    pub(crate) struct DescriptorFlags {
        READ,
        WRITE,
        FILE_INTEGRITY_SYNC,
        DATA_INTEGRITY_SYNC,
        REQUESTED_WRITE_SYNC,
        MUTATE_DIRECTORY,
    }
}

flags! {
    /// `wasi:filesystem/types.path-flags`.
    pub(crate) struct PathFlags {
        SYMLINK_FOLLOW,
    }
}

flags! {
    /// `wasi:filesystem/types.open-flags`.
    pub(crate) struct OpenFlags {
        CREATE,
        DIRECTORY,
        EXCLUSIVE,
        TRUNCATE,
    }
}

variant! {
    /// `wasi:filesystem/types.descriptor-type`.
    pub(crate) enum DescriptorType as "descriptor-type" {
        Unknown, BlockDevice, CharacterDevice, Directory, Fifo, SymbolicLink, RegularFile, Socket,
    }
}

impl From<FileType> for DescriptorType {
    fn from(kind: FileType) -> Self {
        if kind.is_file() {
            DescriptorType::RegularFile
        } else if kind.is_dir() {
            DescriptorType::Directory
        } else if kind.is_symlink() {
            DescriptorType::SymbolicLink
        } else if kind.is_char_device() {
            DescriptorType::CharacterDevice
        } else if kind.is_block_device() {
            DescriptorType::BlockDevice
        } else if kind.is_fifo() {
            DescriptorType::Fifo
        } else if kind.is_socket() {
            DescriptorType::Socket
        } else {
            DescriptorType::Unknown
        }
    }
}

variant! {
    /// `wasi:filesystem/types.advice`.
    pub(crate) enum Advice as "advice" {
        Normal, Sequential, Random, WillNeed, DontNeed, NoReuse,
    }
}

variant! {
    /// `wasi:filesystem/types.new-timestamp`.
    pub(crate) enum NewTimestamp as "new-timestamp" {
        NoChange,
        Now,
        Timestamp(time: Datetime),
    }
}

impl NewTimestamp {
    /// The time to set; `None` leaves it as it is.
    fn time(&self) -> Result<Option<SystemTime>, ErrorCode> {
        match self {
            NewTimestamp::NoChange => Ok(None),
            NewTimestamp::Now => Ok(Some(SystemTime::now())),
            NewTimestamp::Timestamp(time) => {
                let since = Duration::from_secs(time.seconds)
                    .checked_add(Duration::from_nanos(time.nanoseconds.into()))
                    .ok_or(ErrorCode::Overflow)?;
                SystemTime::UNIX_EPOCH.checked_add(since).map(Some).ok_or(ErrorCode::Overflow)
            }
        }
    }
}

fn spec(time: Option<SystemTime>) -> Option<SystemTimeSpec> {
    time.map(|time| SystemTimeSpec::Absolute(cap_std::time::SystemTime::from_std(time)))
}

record! {
    /// `wasi:filesystem/types.descriptor-stat`.
    pub(crate) struct DescriptorStat {
        kind: DescriptorType,
        link_count: u64,
        size: u64,
        accessed: Option<Datetime>,
        modified: Option<Datetime>,
        changed: Option<Datetime>,
    }
}

impl From<&Metadata> for DescriptorStat {
    fn from(metadata: &Metadata) -> Self {
        // A time before 1970 cannot be expressed, and is left out.
        let time = |seconds: i64, nanoseconds: i64| {
            let (seconds, nanoseconds) = (u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?);
            Some(Datetime { seconds, nanoseconds })
        };
        DescriptorStat {
            kind: metadata.file_type().into(),
            link_count: metadata.nlink(),
            size: metadata.size(),
            accessed: time(metadata.atime(), metadata.atime_nsec()),
            modified: time(metadata.mtime(), metadata.mtime_nsec()),
            changed: time(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

record! {
    /// `wasi:filesystem/types.directory-entry`.
    pub(crate) struct DirectoryEntry {
        kind: DescriptorType,
        name: String,
    }
}

record! {
    /// `wasi:filesystem/types.metadata-hash-value`.
    pub(crate) struct MetadataHash {
        lower: u64,
        upper: u64,
    }
}

impl From<&Metadata> for MetadataHash {
    /// Of what tells one object from another.
    fn from(metadata: &Metadata) -> Self {
        let hash = Sha256::new().chain_update(metadata.dev().to_le_bytes()).chain_update(metadata.ino().to_le_bytes());
        let half = |at: usize, hash: &[u8]| hash[at..at + 8].iter().fold(0, |half, byte| half << 8 | u64::from(*byte));
        let hash = hash.finalize();
        MetadataHash { lower: half(0, &hash), upper: half(8, &hash) }
    }
}

/// What a descriptor refers to.
enum Object {
    File(Arc<File>),
    Dir(Arc<Dir>),
}

/// `wasi:filesystem/types.descriptor`.
pub(crate) struct Descriptor {
    object: Object,
    flags: DescriptorFlags,
    /// Whether the granted directory it was found under may be written to.
    writable: bool,
}

impl Resource for Descriptor {
    const NAME: &'static str = "descriptor";
}

/// What a function here answers, before it is handed on to the guest.
type Answer<T = ()> = Result<T, ErrorCode>;

impl Descriptor {
    /// The file, to be read. A directory is told apart, as POSIX specifies: no `read` of one is possible.
    fn to_read(&self) -> Answer<&Arc<File>> {
        match &self.object {
            Object::File(file) if self.flags.has(DescriptorFlags::READ) => Ok(file),
            Object::File(_) => Err(ErrorCode::BadDescriptor),
            Object::Dir(_) => Err(ErrorCode::IsDirectory),
        }
    }

    /// The file, to be written. A directory is never opened for that.
    fn to_write(&self) -> Answer<&Arc<File>> {
        match &self.object {
            Object::File(file) if self.flags.has(DescriptorFlags::WRITE) => Ok(file),
            _ => Err(ErrorCode::BadDescriptor),
        }
    }

    fn dir(&self) -> Answer<&Arc<Dir>> {
        match &self.object {
            Object::Dir(dir) => Ok(dir),
            Object::File(_) => Err(ErrorCode::NotDirectory),
        }
    }

    /// The directory, for something that changes what is in it.
    fn dir_to_change(&self) -> Answer<&Arc<Dir>> {
        let dir = self.dir()?;
        if self.writable { Ok(dir) } else { Err(ErrorCode::ReadOnly) }
    }

    fn metadata(&self) -> Answer<Metadata> {
        Ok(match &self.object {
            Object::File(file) => file.metadata()?,
            Object::Dir(dir) => dir.dir_metadata()?,
        })
    }

    fn sync(&self, all: bool) -> Answer {
        let sync = |file: &File| if all { file.sync_all() } else { file.sync_data() };
        match &self.object {
            Object::File(file) => sync(file)?,
            Object::Dir(dir) => sync(&dir.open(".")?)?,
        }
        Ok(())
    }

    fn set_times(&self, accessed: &NewTimestamp, modified: &NewTimestamp) -> Answer {
        if !self.writable {
            return Err(ErrorCode::ReadOnly);
        }
        let (accessed, modified) = (accessed.time()?, modified.time()?);
        match &self.object {
            Object::File(file) => {
                let mut times = FileTimes::new();
                times = accessed.map_or(times, |time| times.set_accessed(time));
                times = modified.map_or(times, |time| times.set_modified(time));
                file.try_clone()?.into_std().set_times(times)?;
            }
            Object::Dir(dir) => dir.set_times(".", spec(accessed), spec(modified))?,
        }
        Ok(())
    }
}

type This = Borrow<Descriptor>;

fn read_via_stream(cx: &mut Cx<'_>, this: This, offset: u64) -> Outcome<Answer<Handle<InputStream>>> {
    let file = match cx.get(this)?.to_read() {
        Ok(file) => file.clone(),
        Err(code) => return Ok(Err(code)),
    };
    cx.push(InputStream::new(FileStream::new(file, Position::At(offset)))).map(Ok)
}

fn writing(cx: &mut Cx<'_>, this: This, position: Position) -> Outcome<Answer<Handle<OutputStream>>> {
    let file = match cx.get(this)?.to_write() {
        Ok(file) => file.clone(),
        Err(code) => return Ok(Err(code)),
    };
    cx.push(OutputStream::new(FileStream::new(file, position))).map(Ok)
}

fn write_via_stream(cx: &mut Cx<'_>, this: This, offset: u64) -> Outcome<Answer<Handle<OutputStream>>> {
    writing(cx, this, Position::At(offset))
}

fn append_via_stream(cx: &mut Cx<'_>, this: This) -> Outcome<Answer<Handle<OutputStream>>> {
    writing(cx, this, Position::End)
}

fn advise(cx: &mut Cx<'_>, this: This, offset: u64, length: u64, advice: Advice) -> Outcome<Answer> {
    let Object::File(file) = &cx.get(this)?.object else { return Ok(Err(ErrorCode::BadDescriptor)) };
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::Advice as Os;
        let advice = match advice {
            Advice::Normal => Os::Normal,
            Advice::Sequential => Os::Sequential,
            Advice::Random => Os::Random,
            Advice::WillNeed => Os::WillNeed,
            Advice::DontNeed => Os::DontNeed,
            Advice::NoReuse => Os::NoReuse,
        };
        Ok(rustix::fs::fadvise(file, offset, std::num::NonZeroU64::new(length), advice).map_err(ErrorCode::from))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, offset, length, advice);
        Ok(Ok(()))
    }
}

fn sync_data(cx: &mut Cx<'_>, this: This) -> Outcome<Answer> {
    Ok(cx.get(this)?.sync(false))
}

fn sync(cx: &mut Cx<'_>, this: This) -> Outcome<Answer> {
    Ok(cx.get(this)?.sync(true))
}

fn get_flags(cx: &mut Cx<'_>, this: This) -> Outcome<Answer<DescriptorFlags>> {
    Ok(Ok(cx.get(this)?.flags))
}

fn get_type(cx: &mut Cx<'_>, this: This) -> Outcome<Answer<DescriptorType>> {
    Ok(cx.get(this)?.metadata().map(|metadata| metadata.file_type().into()))
}

fn set_size(cx: &mut Cx<'_>, this: This, size: u64) -> Outcome<Answer> {
    let file = cx.get(this)?.to_write();
    Ok(file.and_then(|file| Ok(file.set_len(size)?)))
}

fn set_times(cx: &mut Cx<'_>, this: This, accessed: NewTimestamp, modified: NewTimestamp) -> Outcome<Answer> {
    Ok(cx.get(this)?.set_times(&accessed, &modified))
}

fn read(cx: &mut Cx<'_>, this: This, length: u64, offset: u64) -> Outcome<Answer<(Bytes, bool)>> {
    let file = match cx.get(this)?.to_read() {
        Ok(file) => file,
        Err(code) => return Ok(Err(code)),
    };
    let mut buffer = vec![0; length.min(MAX_READ) as usize];
    Ok(match file.read_at(&mut buffer, offset) {
        Ok(len) => {
            buffer.truncate(len);
            Ok((buffer.into(), len == 0 && length > 0))
        }
        Err(error) => Err(error.into()),
    })
}

fn write(cx: &mut Cx<'_>, this: This, buffer: Bytes, offset: u64) -> Outcome<Answer<u64>> {
    let file = cx.get(this)?.to_write();
    Ok(file.and_then(|file| Ok(file.write_at(&buffer, offset)? as u64)))
}

fn stat(cx: &mut Cx<'_>, this: This) -> Outcome<Answer<DescriptorStat>> {
    Ok(cx.get(this)?.metadata().map(|metadata| (&metadata).into()))
}

fn is_same_object(cx: &mut Cx<'_>, this: This, other: This) -> Outcome<bool> {
    let object = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let this = cx.get(this)?.metadata().map(object);
    let other = cx.get(other)?.metadata().map(object);
    Ok(this.is_ok() && this == other)
}

fn metadata_hash(cx: &mut Cx<'_>, this: This) -> Outcome<Answer<MetadataHash>> {
    Ok(cx.get(this)?.metadata().map(|metadata| (&metadata).into()))
}

/// `wasi:filesystem/types.directory-entry-stream`.
pub(crate) struct Entries(ReadDir);

impl Resource for Entries {
    const NAME: &'static str = "directory-entry-stream";
}

fn read_directory(cx: &mut Cx<'_>, this: This) -> Outcome<Answer<Handle<Entries>>> {
    match cx.get(this)?.dir().and_then(|dir| Ok(dir.entries()?)) {
        Ok(entries) => cx.push(Entries(entries)).map(Ok),
        Err(code) => Ok(Err(code)),
    }
}

/// The next entry; `.` and `..` are left out.
fn read_entry(cx: &mut Cx<'_>, this: Borrow<Entries>) -> Outcome<Answer<Option<DirectoryEntry>>> {
    let entry = |entry: cap_std::fs::DirEntry| {
        let name = entry.file_name().into_string().map_err(|_| ErrorCode::IllegalByteSequence)?;
        Ok(DirectoryEntry { kind: entry.file_type()?.into(), name })
    };
    Ok(cx.get(this)?.0.next().map(|next| next.map_err(ErrorCode::from).and_then(entry)).transpose())
}

fn error_code(cx: &mut Cx<'_>, error: Borrow<IoError>) -> Outcome<Option<ErrorCode>> {
    Ok(cx.get(error)?.filesystem)
}

fn directories(cx: &mut Cx<'_>) -> Outcome<Vec<(Handle<Descriptor>, String)>> {
    let directories = cx.state.directories.clone();
    let open = |granted: &wharf_grants::Directory| {
        let mutate = if granted.writable { DescriptorFlags::MUTATE_DIRECTORY } else { DescriptorFlags::NONE };
        let flags = DescriptorFlags::READ | mutate;
        let descriptor = Descriptor { object: Object::Dir(granted.dir.clone()), flags, writable: granted.writable };
        Ok((cx.push(descriptor)?, granted.guest.to_string()))
    };
    directories.iter().map(open).collect()
}

interfaces! { "wasi:filesystem/types";
    "[method]descriptor.read-via-stream"(this: This, offset: u64) -> Answer<Handle<InputStream>> => read_via_stream;
    "[method]descriptor.write-via-stream"(this: This, offset: u64) -> Answer<Handle<OutputStream>> => write_via_stream;
    "[method]descriptor.append-via-stream"(this: This) -> Answer<Handle<OutputStream>> => append_via_stream;
    "[method]descriptor.advise"(this: This, offset: u64, length: u64, advice: Advice) -> Answer => advise;
    "[method]descriptor.sync-data"(this: This) -> Answer => sync_data;
    "[method]descriptor.get-flags"(this: This) -> Answer<DescriptorFlags> => get_flags;
    "[method]descriptor.get-type"(this: This) -> Answer<DescriptorType> => get_type;
    "[method]descriptor.set-size"(this: This, size: u64) -> Answer => set_size;
    "[method]descriptor.set-times"(this: This, accessed: NewTimestamp, modified: NewTimestamp) -> Answer => set_times;
    "[method]descriptor.read"(this: This, length: u64, offset: u64) -> Answer<(Bytes, bool)> => read;
    "[method]descriptor.write"(this: This, buffer: Bytes, offset: u64) -> Answer<u64> => write;
    "[method]descriptor.read-directory"(this: This) -> Answer<Handle<Entries>> => read_directory;
    "[method]descriptor.sync"(this: This) -> Answer => sync;
    "[method]descriptor.create-directory-at"(this: This, path: String) -> Answer => paths::create_directory;
    "[method]descriptor.stat"(this: This) -> Answer<DescriptorStat> => stat;
    "[method]descriptor.stat-at"(this: This, flags: PathFlags, path: String) -> Answer<DescriptorStat> => paths::stat;
    "[method]descriptor.set-times-at"(
        this: This, flags: PathFlags, path: String, accessed: NewTimestamp, modified: NewTimestamp
    ) -> Answer => paths::set_times;
    "[method]descriptor.link-at"(
        this: This, flags: PathFlags, old: String, other: This, new: String
    ) -> Answer => paths::link;
    "[method]descriptor.open-at"(
        this: This, path_flags: PathFlags, path: String, open_flags: OpenFlags, flags: DescriptorFlags
    ) -> Answer<Handle<Descriptor>> => paths::open;
    "[method]descriptor.readlink-at"(this: This, path: String) -> Answer<String> => paths::readlink;
    "[method]descriptor.remove-directory-at"(this: This, path: String) -> Answer => paths::remove_directory;
    "[method]descriptor.rename-at"(this: This, old: String, other: This, new: String) -> Answer => paths::rename;
    "[method]descriptor.symlink-at"(this: This, target: String, path: String) -> Answer => paths::symlink;
    "[method]descriptor.unlink-file-at"(this: This, path: String) -> Answer => paths::unlink_file;
    "[method]descriptor.is-same-object"(this: This, other: This) -> bool => is_same_object;
    "[method]descriptor.metadata-hash"(this: This) -> Answer<MetadataHash> => metadata_hash;
    "[method]descriptor.metadata-hash-at"(
        this: This, flags: PathFlags, path: String
    ) -> Answer<MetadataHash> => paths::metadata_hash;
    "[resource-drop]descriptor"(this: Own<Descriptor>) -> () => drop_resource;
    "[method]directory-entry-stream.read-directory-entry"(
        this: Borrow<Entries>
    ) -> Answer<Option<DirectoryEntry>> => read_entry;
    "[resource-drop]directory-entry-stream"(this: Own<Entries>) -> () => drop_resource;
    "filesystem-error-code"(error: Borrow<IoError>) -> Option<ErrorCode> => error_code;
    @ "wasi:filesystem/preopens";
    "get-directories"() -> Vec<(Handle<Descriptor>, String)> => directories;
}
