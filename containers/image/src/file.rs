//! Files: small ones, read up to a limit, and others, written whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::ImageError;

/// The content of `path`, which may have at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ImageError> {
    let read = || {
        let mut content = Vec::new();
        File::open(path)?.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::Error::other(format!("it has more than {limit} bytes")));
        }
        Ok(content)
    };
    read().map_err(|source| ImageError::File { action: "read", path: path.to_owned(), source })
}

/// Writes the file that `path` leads to: it then has all that `write` has written, or what it had before. What is there and
/// is not a file, such as a pipe, is written to.
pub(crate) fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), ImageError> {
    let written = match fs::metadata(path) {
        Ok(found) if found.is_file() => {
            fs::canonicalize(path).and_then(|path| beside(&path, Some(found.permissions()), write))
        }
        Ok(_) => File::options().write(true).open(path).and_then(|mut file| write(&mut file)),
        Err(error) if error.kind() == ErrorKind::NotFound => beside(path, None, write),
        Err(error) => Err(error),
    };
    written.map_err(|source| ImageError::File { action: "write", path: path.to_owned(), source })
}

/// Puts a file with this content at `path`, in the place of another, or of a link, which is not followed.
pub(crate) fn put(path: &Path, content: &[u8]) -> Result<(), ImageError> {
    let put = beside(path, None, |out| out.write_all(content));
    put.map_err(|source| ImageError::File { action: "write", path: path.to_owned(), source })
}

/// Writes a file beside `path`, which has that name once it is whole.
fn beside(
    path: &Path,
    permissions: Option<Permissions>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Less what the umask takes away, as of every new file.
    let mode = Permissions::from_mode(0o666);
    let mut unfinished = tempfile::Builder::new().prefix(".wharf-").permissions(mode).tempfile_in(directory)?;
    let mut out = BufWriter::new(&mut unfinished);
    write(&mut out)?;
    out.flush()?;
    drop(out);
    if let Some(permissions) = permissions {
        unfinished.as_file().set_permissions(permissions)?;
    }
    unfinished.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn a_file_is_whole_or_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let in_it = |name: &str| directory.path().join(name);
        let (file, link, former) = (in_it("file"), in_it("link"), in_it("former"));
        write(&file, |out| out.write_all(b"first")).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        fs::hard_link(&file, &former).unwrap();
        let fails =
            |out: &mut dyn Write| out.write_all(&[0; 1 << 20]).and(Err(io::Error::other("as the test wants it")));
        assert!(matches!(write(&file, fails), Err(ImageError::File { action: "write", .. })));
        assert_eq!(fs::read(&file).unwrap(), b"first");
        // What a link leads to is written anew, with its mode, and who has the former file still has that.
        write(&link, |out| out.write_all(b"second")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!((fs::read(&file).unwrap(), fs::read(&former).unwrap()), (b"second".to_vec(), b"first".to_vec()));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        put(&link, b"third").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
        assert_eq!((fs::read(&file).unwrap(), fs::read(&link).unwrap()), (b"second".to_vec(), b"third".to_vec()));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "nothing unfinished is left");
        assert!(write(directory.path(), |out| out.write_all(b"x")).is_err());
    }

    #[test]
    fn a_pipe_is_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        // It can be opened for writing at once, since it is open for reading, too.
        let mut reads = File::options().read(true).write(true).open(&pipe).unwrap();
        write(&pipe, |out| out.write_all(b"content")).unwrap();
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        let mut content = [0; 7];
        reads.read_exact(&mut content).unwrap();
        assert_eq!(&content, b"content");
    }
}
