//! What is in new memories, and how it gets there.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::mm::{MapFlags, ProtFlags, mmap};

use super::segments::Plan;
use crate::backend::Instance;
use crate::error::{Error, Kind, Result};

/// The initial contents of a module's memories.
pub(super) struct Memories {
    memories: Vec<Memory>,
    /// What pages are mapped from.
    file: Option<File>,
}

/// A memory of which the contents are known.
pub(super) struct Memory {
    pub(super) export: String,
    /// How many bytes it has at first.
    pub(super) size: usize,
    /// Data that is copied into it, and where to, in this order.
    pub(super) copied: Vec<(usize, Vec<u8>)>,
    /// Data that is mapped into it.
    pub(super) mapped: Vec<Run>,
}

/// Whole pages of a memory, in bytes, and where in the file their contents begin.
pub(super) struct Run {
    pub(super) pages: Range<usize>,
    pub(super) at: usize,
}

impl Memories {
    /// # Safety
    /// As [`Imaged::new`](super::Imaged::new) says of all instances that are passed to the methods of this type.
    #[expect(unsafe_code, reason = "how an engine allocates memory cannot be checked, only promised")]
    pub(super) unsafe fn new(plan: &Plan<'_>) -> Self {
        let (memories, bytes) = plan.lay_out();
        Self::with(memories, &bytes, sealed)
    }

    /// Where there cannot be a file, all is copied.
    pub(super) fn with(mut memories: Vec<Memory>, bytes: &[u8], file: impl FnOnce(&[u8]) -> io::Result<File>) -> Self {
        if bytes.is_empty() {
            return Memories { memories, file: None };
        }
        let file = file(bytes).inspect_err(|error| {
            tracing::debug!(%error, "initial memory is copied: there is no file to map it from");
            for memory in &mut memories {
                for Run { pages, at } in memory.mapped.drain(..) {
                    memory.copied.push((pages.start, bytes[at..at + pages.len()].to_vec()));
                }
            }
        });
        Memories { memories, file: file.ok() }
    }

    /// Maps what is to be mapped into a new instance.
    ///
    /// # Errors
    /// [`Kind::Engine`] if the system refuses; the instance cannot be used then.
    pub(super) fn map(&self, instance: &mut dyn Instance) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        for memory in &self.memories {
            for Run { pages, at } in &memory.mapped {
                let pages = memory.find(instance)?.get_mut(pages.clone()).ok_or_else(|| memory.lost())?;
                put(file, *at as u64, pages).map_err(|error| {
                    Error::new(Kind::Engine, "the guest's initial memory cannot be mapped").with_source(error)
                })?;
            }
        }
        Ok(())
    }

    /// Copies what is to be copied into an instance that is new, or whose contents were discarded.
    ///
    /// # Errors
    /// [`Kind::Internal`] if a memory is not what the module says.
    pub(super) fn copy(&self, instance: &mut dyn Instance) -> Result<()> {
        for memory in self.memories.iter().filter(|memory| !memory.copied.is_empty()) {
            let bytes = memory.find(instance)?;
            for (offset, data) in &memory.copied {
                let place = bytes.get_mut(*offset..*offset + data.len()).ok_or_else(|| memory.lost())?;
                place.copy_from_slice(data);
            }
        }
        Ok(())
    }

    /// Discards what an instance has written: its memories are then as after [`map`](Self::map). False if they have grown,
    /// or the system refuses.
    pub(super) fn discard(&self, instance: &mut dyn Instance) -> bool {
        self.memories.iter().all(|memory| match memory.find(instance) {
            Ok(bytes) => bytes.len() == memory.size && (bytes.is_empty() || discard(bytes).is_ok()),
            Err(_) => false,
        })
    }
}

impl Memory {
    fn find<'a>(&self, instance: &'a mut dyn Instance) -> Result<&'a mut [u8]> {
        instance.memory_named(&self.export).ok_or_else(|| self.lost())
    }

    fn lost(&self) -> Error {
        let what = format!("the engine has no memory `{}` of the size that the module says", self.export);
        Error::new(Kind::Internal, what)
    }
}

/// Gives `pages` the bytes that begin at `at`: mapped, if the pages are the system's, else read.
fn put(file: &File, at: u64, pages: &mut [u8]) -> io::Result<()> {
    if !pages.as_ptr().addr().is_multiple_of(rustix::param::page_size()) {
        return file.read_exact_at(pages, at);
    }
    let (start, len) = (pages.as_mut_ptr().cast(), pages.len());
    let (access, how) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::FIXED);
    #[expect(unsafe_code, reason = "a mapping is replaced, as `Memories::new` was promised")]
    // SAFETY: these are pages of an instance's memory, which nobody else has meanwhile.
    unsafe { mmap(start, len, access, how, file, at) }?;
    Ok(())
}

/// Has private pages be as when they were mapped: zero, or what the file has.
#[cfg(target_os = "linux")]
fn discard(pages: &mut [u8]) -> io::Result<()> {
    use rustix::mm::{Advice, madvise};

    #[expect(unsafe_code, reason = "contents are discarded, as `Memories::new` was promised")]
    // SAFETY: these are pages of an instance's memory, which nobody else has meanwhile; any bytes may be in them.
    unsafe { madvise(pages.as_mut_ptr().cast(), pages.len(), Advice::LinuxDontNeed) }?;
    Ok(())
}

/// Elsewhere this advice may be ignored.
#[cfg(not(target_os = "linux"))]
fn discard(_: &mut [u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A file in memory that nobody can write to, and no other program gets.
#[cfg(target_os = "linux")]
pub(super) fn sealed(bytes: &[u8]) -> io::Result<File> {
    use std::io::Write;

    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

    let mut file: File = memfd_create("wharf-image", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into();
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn sealed(_: &[u8]) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}
