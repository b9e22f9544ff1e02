//! What can be done below a directory, by path.

use std::sync::Arc;

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, Metadata, OpenOptions};

use super::{
    Answer, Descriptor, DescriptorFlags, DescriptorStat, ErrorCode, MetadataHash, NewTimestamp, Object, OpenFlags,
    PathFlags, This, spec,
};
use crate::abi::paths;
use crate::abi::wasi02::canon::{Cx, Handle, Outcome};

/// The longest path, in bytes.
const MAX_PATH: usize = 4096;

fn checked(path: &str) -> Answer<&str> {
    if path.len() > MAX_PATH { Err(ErrorCode::NameTooLong) } else { Ok(path) }
}

impl Descriptor {
    fn metadata_at(&self, flags: PathFlags, path: &str) -> Answer<Metadata> {
        let (dir, path) = (self.dir()?, checked(path)?);
        Ok(paths::metadata(dir, path, flags.has(PathFlags::SYMLINK_FOLLOW))?)
    }

    /// Opens a file or a directory.
    ///
    /// Where the WIT text is silent, guests have come to expect: what is not opened for writing is for reading, what is
    /// created or truncated may be written, and a directory may be changed as the one it was found under,
    /// `mutate-directory` or not. No toolchain sets that flag.
    fn open_at(
        &self,
        path_flags: PathFlags,
        path: &str,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> Answer<Descriptor> {
        use DescriptorFlags as D;
        let (dir, path) = (self.dir()?, checked(path)?);
        let (create, truncate) = (open.has(OpenFlags::CREATE), open.has(OpenFlags::TRUNCATE));
        let (directory, exclusive) = (open.has(OpenFlags::DIRECTORY), open.has(OpenFlags::EXCLUSIVE));
        let read = flags.has(D::READ) || !flags.has(D::WRITE);
        let write = flags.has(D::WRITE) || create || truncate;
        if directory && (create || exclusive || truncate) {
            return Err(ErrorCode::Invalid);
        }
        if (write || flags.has(D::MUTATE_DIRECTORY)) && !self.writable {
            return Err(ErrorCode::ReadOnly);
        }
        let mut options = OpenOptions::new();
        options.write(write).read(read);
        options.create(create && !exclusive).create_new(create && exclusive).truncate(truncate);
        let follow = path_flags.has(PathFlags::SYMLINK_FOLLOW);
        options.follow(if follow { FollowSymlinks::Yes } else { FollowSymlinks::No });
        options.sync(flags.has(D::FILE_INTEGRITY_SYNC)).dsync(flags.has(D::DATA_INTEGRITY_SYNC));
        options.rsync(flags.has(D::REQUESTED_WRITE_SYNC)).nonblock(true);
        let file = paths::open(dir, path, &options, create)?;
        let object = if file.metadata()?.is_dir() {
            Object::Dir(Arc::new(Dir::from_std_file(file.into_std())))
        } else if directory {
            return Err(ErrorCode::NotDirectory);
        } else {
            Object::File(Arc::new(file))
        };
        let synchronous = [D::FILE_INTEGRITY_SYNC, D::DATA_INTEGRITY_SYNC, D::REQUESTED_WRITE_SYNC];
        let flags = synchronous.map(|flag| (flag, flags.has(flag))).into_iter().chain([
            (D::READ, read),
            (D::WRITE, write),
            (D::MUTATE_DIRECTORY, self.writable && matches!(object, Object::Dir(_))),
        ]);
        let flags = flags.fold(D::NONE, |flags, (flag, set)| if set { flags | flag } else { flags });
        Ok(Descriptor { object, flags, writable: self.writable })
    }
}

/// The directories that a call changes: one, and another that may be the same.
fn both(cx: &mut Cx<'_>, this: This, other: This) -> Outcome<Answer<(Arc<Dir>, Arc<Dir>)>> {
    let this = cx.get(this)?.dir_to_change().cloned();
    let other = cx.get(other)?.dir_to_change().cloned();
    Ok(this.and_then(|this| Ok((this, other?))))
}

pub(super) fn create_directory(cx: &mut Cx<'_>, this: This, path: String) -> Outcome<Answer> {
    Ok(cx.get(this)?.dir_to_change().and_then(|dir| Ok(dir.create_dir(checked(&path)?)?)))
}

pub(super) fn stat(cx: &mut Cx<'_>, this: This, flags: PathFlags, path: String) -> Outcome<Answer<DescriptorStat>> {
    Ok(cx.get(this)?.metadata_at(flags, &path).map(|metadata| (&metadata).into()))
}

pub(super) fn set_times(
    cx: &mut Cx<'_>,
    this: This,
    flags: PathFlags,
    path: String,
    accessed: NewTimestamp,
    modified: NewTimestamp,
) -> Outcome<Answer> {
    let set = |dir: &Arc<Dir>| {
        let (accessed, modified) = (spec(accessed.time()?), spec(modified.time()?));
        let path = checked(&path)?;
        if flags.has(PathFlags::SYMLINK_FOLLOW) {
            dir.set_times(path, accessed, modified)?;
        } else {
            dir.set_symlink_times(path, accessed, modified)?;
        }
        Ok(())
    };
    Ok(cx.get(this)?.dir_to_change().and_then(set))
}

/// A symbolic link is not followed: what is linked has to lie where the path says.
pub(super) fn link(
    cx: &mut Cx<'_>,
    this: This,
    flags: PathFlags,
    old: String,
    other: This,
    new: String,
) -> Outcome<Answer> {
    if flags.has(PathFlags::SYMLINK_FOLLOW) {
        return Ok(Err(ErrorCode::Invalid));
    }
    let link = |(from, to): (Arc<Dir>, Arc<Dir>)| Ok(from.hard_link(checked(&old)?, &to, checked(&new)?)?);
    Ok(both(cx, this, other)?.and_then(link))
}

pub(super) fn open(
    cx: &mut Cx<'_>,
    this: This,
    path_flags: PathFlags,
    path: String,
    open_flags: OpenFlags,
    flags: DescriptorFlags,
) -> Outcome<Answer<Handle<Descriptor>>> {
    match cx.get(this)?.open_at(path_flags, &path, open_flags, flags) {
        Ok(descriptor) => cx.push(descriptor).map(Ok),
        Err(code) => Ok(Err(code)),
    }
}

pub(super) fn readlink(cx: &mut Cx<'_>, this: This, path: String) -> Outcome<Answer<String>> {
    let read = |dir: &Arc<Dir>| {
        let target = dir.read_link(checked(&path)?)?;
        target.into_os_string().into_string().map_err(|_| ErrorCode::IllegalByteSequence)
    };
    Ok(cx.get(this)?.dir().and_then(read))
}

pub(super) fn remove_directory(cx: &mut Cx<'_>, this: This, path: String) -> Outcome<Answer> {
    Ok(cx.get(this)?.dir_to_change().and_then(|dir| Ok(paths::remove_dir(dir, checked(&path)?)?)))
}

pub(super) fn rename(cx: &mut Cx<'_>, this: This, old: String, other: This, new: String) -> Outcome<Answer> {
    let rename = |(from, to): (Arc<Dir>, Arc<Dir>)| Ok(paths::rename(&from, checked(&old)?, &to, checked(&new)?)?);
    Ok(both(cx, this, other)?.and_then(rename))
}

/// The link may lead anywhere within what was granted, and is judged when it is followed.
pub(super) fn symlink(cx: &mut Cx<'_>, this: This, target: String, path: String) -> Outcome<Answer> {
    let link = |dir: &Arc<Dir>| Ok(DirExt::symlink(&**dir, checked(&target)?, checked(&path)?)?);
    Ok(cx.get(this)?.dir_to_change().and_then(link))
}

pub(super) fn unlink_file(cx: &mut Cx<'_>, this: This, path: String) -> Outcome<Answer> {
    Ok(cx.get(this)?.dir_to_change().and_then(|dir| Ok(dir.remove_file_or_symlink(checked(&path)?)?)))
}

pub(super) fn metadata_hash(
    cx: &mut Cx<'_>,
    this: This,
    flags: PathFlags,
    path: String,
) -> Outcome<Answer<MetadataHash>> {
    Ok(cx.get(this)?.metadata_at(flags, &path).map(|metadata| (&metadata).into()))
}
