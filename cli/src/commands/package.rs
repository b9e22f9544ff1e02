//! `wharf package`, and what `wharf push` packs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, bail};
use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use rustix::io::Errno;
use wharf::core::LoadOptions;
use wharf_image::{Image, Package, Shape};

use crate::args::{ContentArgs, EnvEntry, FileGrant, PackageArgs, ShapeArg, Usage};
use crate::commands::{env_value, read_module};
use crate::{exit, output};

pub(crate) fn package(args: &PackageArgs) -> anyhow::Result<u8> {
    let image = build(&args.content, &args.file)?;
    let tag = args.tag.as_deref();
    if args.out.is_dir() || args.out.as_os_str().as_encoded_bytes().ends_with(b"/") {
        image.write_directory(tag, &args.out)?;
    } else {
        image.write_file(tag, &args.out)?;
    }
    output::print(&format!("{}\n", image.root().digest))?;
    Ok(exit::SUCCESS)
}

/// The image of the guest at `path`.
pub(super) fn build(args: &ContentArgs, path: &Path) -> anyhow::Result<Image> {
    let limit = LoadOptions::default().max_module_bytes;
    let bytes = fs::metadata(path).with_context(|| format!("cannot read `{}`", path.display()))?.len();
    if bytes > limit {
        bail!("`{}` has {bytes} bytes; a guest may have {limit}", path.display());
    }
    let wasm = read_module(path, limit)?;
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("`{}`: the name of the file is not UTF-8", path.display()))?;
    let shape = match args.shape {
        ShapeArg::Artifact => Shape::Artifact,
        ShapeArg::Image => Shape::Image,
    };
    let mut package = Package::new(name, wasm, shape).max_guest_bytes(limit);
    for platform in &args.platform {
        package = package.platform(platform.clone());
    }
    for arg in &args.arg {
        package = package.arg(arg);
    }
    for entry @ EnvEntry { name, .. } in &args.env {
        if let Some(value) = env_value(entry)? {
            package = package.env(name, &value);
        }
    }
    for port in &args.port {
        package = package.port(*port);
    }
    for (path, content) in files(&args.files, Room::default())? {
        package = package.file(path, content);
    }
    for (name, value) in &args.label {
        package = package.label(name, value);
    }
    for (name, value) in &args.annotation {
        package = package.annotation(name, value);
    }
    Ok(package.build()?)
}

/// What files may still be added.
struct Room {
    bytes: u64,
    entries: usize,
}

impl Default for Room {
    /// As much as an image may have.
    fn default() -> Self {
        Room { bytes: Package::MAX_FILES, entries: Package::MAX_ENTRIES }
    }
}

/// A file or a directory that was named, or was found.
struct Entry {
    host: PathBuf,
    /// The path in the image.
    path: String,
    /// What it was found in.
    parent: Option<Rc<File>>,
}

impl Entry {
    /// Opens it, without waiting for whom it would wait for otherwise; none if it is a link, or cannot be opened as a file.
    fn open(&self) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        // Where it was found, whatever has the name of that by now.
        let opened = match (&self.parent, self.host.file_name()) {
            (Some(parent), Some(name)) => openat(parent, name, flags, Mode::empty()),
            _ => openat(CWD, &self.host, flags, Mode::empty()),
        };
        match opened {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::LOOP | Errno::NXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What is in this directory, which was opened.
    fn inner(&self, directory: &File) -> io::Result<impl Iterator<Item = io::Result<PathBuf>>> {
        Ok(Dir::read_from(directory)?.filter_map(|entry| {
            let name = match &entry {
                Ok(entry) => entry.file_name().to_bytes(),
                Err(error) => return Some(Err((*error).into())),
            };
            (!matches!(name, b"." | b"..")).then(|| Ok(self.host.join(OsStr::from_bytes(name))))
        }))
    }
}

/// The files that were named, and those in the directories that were, by their paths in the image.
fn files(grants: &[FileGrant], mut room: Room) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let most = room.entries;
    let mut count = |host: &Path| match room.entries.checked_sub(1) {
        Some(left) => {
            room.entries = left;
            Ok(())
        }
        None => bail!(
            "--file: with `{}`, there are more than {most} files and directories, the most that is possible",
            host.display()
        ),
    };
    for FileGrant { host, path } in grants {
        count(host)?;
        let path = path.trim_end_matches('/').to_owned();
        let mut left = vec![Entry { host: host.clone(), path, parent: None }];
        while let Some(entry) = left.pop() {
            let Entry { host, path, .. } = &entry;
            let failed = || format!("--file: cannot read `{}`", host.display());
            // It is judged by what was opened, which nobody can exchange any more.
            let opened = entry.open().with_context(failed)?;
            let kind = opened.as_ref().map(File::metadata).transpose().with_context(failed)?;
            let Some((file, kind)) = opened.zip(kind).filter(|(_, kind)| kind.is_dir() || kind.is_file()) else {
                bail!("--file: `{}` is neither a file nor a directory; name what it leads to", host.display());
            };
            if kind.is_dir() {
                let parent = Rc::new(file);
                for inner in entry.inner(&parent).with_context(failed)? {
                    let host = inner.with_context(failed)?;
                    let Some(name) = host.file_name().and_then(OsStr::to_str) else {
                        bail!("--file: the name of `{}` is not UTF-8", host.display());
                    };
                    count(&host)?;
                    let path = format!("{path}/{name}");
                    left.push(Entry { host, path, parent: Some(parent.clone()) });
                }
                continue;
            }
            let Some(content) = read(file, kind.len(), room.bytes).with_context(failed)? else {
                bail!(
                    "--file: with `{}`, the files have more than {} bytes, the most that is possible",
                    host.display(),
                    Package::MAX_FILES
                );
            };
            room.bytes -= content.len() as u64;
            if files.insert(path.clone(), content).is_some() {
                return Err(Usage(format!("--file: two files have the path `{path}` in the image")).into());
            }
        }
    }
    Ok(files)
}

/// What a file has, whose length is said to be this; `None` if that is more than `limit` bytes, which are then not kept.
fn read(file: File, length: u64, limit: u64) -> io::Result<Option<Vec<u8>>> {
    if length > limit {
        return Ok(None);
    }
    let mut content = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    Ok(Some(content).filter(|content| content.len() as u64 <= limit))
}

#[cfg(test)]
mod tests {
    use rustix::fs::mkfifoat;

    use super::*;

    fn found(directory: &Path, room: Room) -> Result<Vec<String>, String> {
        let grants = [FileGrant { host: directory.to_owned(), path: "/in".to_owned() }];
        files(&grants, room).map(|files| files.into_keys().collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_added_is_counted_while_it_is_found() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("a")).unwrap();
        for name in ["a/b", "c"] {
            fs::write(directory.path().join(name), "12").unwrap();
        }
        let room = |entries, bytes| found(directory.path(), Room { bytes, entries });
        assert_eq!(room(4, 4).unwrap(), ["/in/a/b", "/in/c"]);
        // All of a directory is counted, and nothing of it read.
        let error = room(2, 0).unwrap_err();
        assert!(error.contains("more than 2 files and directories"), "{error}");
        let error = room(4, 3).unwrap_err();
        assert!(error.contains("the files have more than "), "{error}");
    }

    #[test]
    fn nothing_is_waited_for_or_followed() {
        for kind in ["pipe", "link", "socket"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(kind);
            let _held = match kind {
                "pipe" => mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).map(|()| None).unwrap(),
                "link" => std::os::unix::fs::symlink("/etc/passwd", &path).map(|()| None).unwrap(),
                _ => Some(std::os::unix::net::UnixListener::bind(&path).unwrap()),
            };
            let error = found(directory.path(), Room::default()).unwrap_err();
            assert!(error.contains(kind) && error.contains("is neither a file nor a directory"), "{error}");
        }
    }
}
