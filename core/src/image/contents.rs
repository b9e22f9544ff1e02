//! What is in the pages of new memories, kept once.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes for whole pages of memories.
pub(super) enum Contents {
    /// A file that pages are mapped from.
    File(File),
    /// Where there cannot be such a file, they are copied.
    Bytes(Vec<u8>),
}

impl Contents {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        // An empty file is not needed.
        if bytes.is_empty() {
            return Contents::Bytes(bytes);
        }
        match sealed(&bytes) {
            Ok(file) => Contents::File(file),
            Err(error) => {
                tracing::debug!(%error, "initial memory is copied: there is no file to map it from");
                Contents::Bytes(bytes)
            }
        }
    }

    /// Gives `pages` the bytes that begin at `at`: mapped, where the system can, so that they take memory only when they are
    /// written to.
    ///
    /// # Safety
    /// The pages are whole ones of a private mapping, readable and writable, in whose place others may be mapped.
    ///
    /// # Errors
    /// The system's. The pages may be gone then.
    #[expect(unsafe_code, reason = "a mapping is replaced")]
    pub(super) unsafe fn put(&self, at: usize, pages: &mut [u8]) -> io::Result<()> {
        use rustix::mm::{MapFlags, ProtFlags, mmap};

        match self {
            Contents::Bytes(bytes) => pages.copy_from_slice(&bytes[at..at + pages.len()]),
            Contents::File(file) if pages.as_ptr().addr().is_multiple_of(rustix::param::page_size()) => {
                let (start, len) = (pages.as_mut_ptr().cast(), pages.len());
                let (access, how) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::FIXED);
                // SAFETY: nobody but the caller has these pages, who lets them be replaced.
                unsafe { mmap(start, len, access, how, file, at as u64)? };
            }
            Contents::File(file) => file.read_exact_at(pages, at as u64)?,
        }
        Ok(())
    }
}

/// A file in memory that nobody can write to, and no other program gets.
#[cfg(target_os = "linux")]
fn sealed(bytes: &[u8]) -> io::Result<File> {
    use std::io::Write;

    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

    let mut file: File = memfd_create("wharf-image", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into();
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file)
}

#[cfg(not(target_os = "linux"))]
fn sealed(_: &[u8]) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}
