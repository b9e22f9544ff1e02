//! What is in new memories: how it gets there, and how it gets there once more.

use std::fs::File;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use rustix::mm::{MapFlags, ProtFlags, mmap};

use super::segments::Plan;
use super::written;
use crate::backend::Instance;
use crate::error::{Error, Kind, Result};

/// What an instance that is kept may have of its own, in bytes of its memories: nothing is charged for it.
const MAX_KEPT: usize = 8 << 20;
/// What an instance that is kept may have of its own that it did not need the last time, in bytes of its memories.
pub const MAX_IDLE: usize = 1 << 20;

/// The initial contents of a module's memories.
pub(super) struct Memories {
    memories: Vec<Memory>,
    source: Source,
}

/// Where a new instance has them from.
enum Source {
    /// The engine.
    Engine,
    /// From here: pages are mapped from the file, if there is one, and the rest is copied.
    Image(Option<File>),
}

/// A memory of which the contents are known.
pub(super) struct Memory {
    pub(super) export: String,
    /// How many bytes it has at first.
    pub(super) size: usize,
    /// What is in it and where, in the order of addresses. None is empty, or overlaps another.
    pub(super) data: Vec<(usize, Bytes)>,
    /// Pages that have all of that, if it is mapped.
    pub(super) mapped: Vec<Run>,
}

/// Whole pages of a memory, in bytes, and where in the file their contents begin.
pub(super) struct Run {
    pub(super) pages: Range<usize>,
    pub(super) at: usize,
}

impl Memories {
    /// Memories that the engine has filled.
    pub(super) fn filled(plan: &Plan<'_>, wasm: &Bytes) -> Self {
        Memories { memories: plan.memories(wasm), source: Source::Engine }
    }

    /// Memories that are to be [filled](Self::fill).
    ///
    /// # Safety
    /// As [`Imaged::new`](super::Imaged::new) says of all instances that are passed to the methods of this type.
    #[expect(unsafe_code, reason = "how an engine allocates memory cannot be checked, only promised")]
    pub(super) unsafe fn empty(plan: &Plan<'_>, wasm: &Bytes) -> Self {
        let (memories, len) = plan.lay_out(wasm);
        Self::with(memories, len, sealed)
    }

    /// The same with a file of `len` bytes that is made so. Where there cannot be one, all is copied.
    pub(super) fn with(
        mut memories: Vec<Memory>,
        len: usize,
        file: impl FnOnce(usize, &dyn Fn(&mut [u8])) -> io::Result<File>,
    ) -> Self {
        if len == 0 {
            return Memories { memories, source: Source::Image(None) };
        }
        let write = |bytes: &mut [u8]| {
            for memory in &memories {
                for Run { pages, at } in &memory.mapped {
                    memory.write(&mut bytes[*at..*at + pages.len()], pages.clone());
                }
            }
        };
        let file = file(len, &write).inspect_err(|error| {
            tracing::debug!(%error, "initial memory is copied: there is no file to map it from");
            for memory in &mut memories {
                memory.mapped.clear();
            }
        });
        Memories { memories, source: Source::Image(file.ok()) }
    }

    /// Puts the contents into a new instance, unless the engine has.
    ///
    /// # Errors
    /// [`Kind::Engine`] if the system refuses, [`Kind::Internal`] if a memory is not what the module says; the instance
    /// cannot be used then.
    pub(super) fn fill(&self, instance: &mut dyn Instance) -> Result<()> {
        let Source::Image(file) = &self.source else { return Ok(()) };
        for memory in &self.memories {
            let bytes = memory.find(instance)?;
            if bytes.len() != memory.size {
                return Err(memory.lost());
            }
            let Some(file) = file.as_ref().filter(|_| !memory.mapped.is_empty()) else {
                memory.copy(bytes);
                continue;
            };
            for Run { pages, at } in &memory.mapped {
                let pages = bytes.get_mut(pages.clone()).ok_or_else(|| memory.lost())?;
                put(file, *at as u64, pages).map_err(|error| {
                    Error::new(Kind::Engine, "the guest's initial memory cannot be mapped").with_source(error)
                })?;
            }
        }
        Ok(())
    }

    /// Puts the contents back into an instance that has been used. Returns how many bytes the system keeps for it, or
    /// `None` if it is not to be kept: its memories have grown, or it has written more than [`MAX_KEPT`], or much of what
    /// it has was not needed this time; or the system does not tell which pages were written, or refuses.
    pub(super) fn refill(&self, instance: &mut dyn Instance) -> Option<usize> {
        let mut kept = Kept::default();
        for memory in &self.memories {
            let bytes = memory.find(instance).ok()?;
            if bytes.len() != memory.size {
                return None;
            }
            if bytes.is_empty() {
                continue;
            }
            match written::pages(bytes, MAX_KEPT - kept.bytes) {
                Ok(Some(runs)) => {
                    for pages in runs {
                        memory.restore(bytes, pages, &mut kept);
                    }
                }
                Ok(None) | Err(_) => {
                    let Source::Image(_) = self.source else { return None };
                    discard(bytes).ok()?;
                    if memory.mapped.is_empty() {
                        memory.copy(bytes);
                    }
                }
            }
        }
        (kept.idle <= MAX_IDLE.max(kept.bytes / 2)).then_some(kept.bytes)
    }
}

/// What the system keeps for an instance, in bytes.
#[derive(Default)]
struct Kept {
    bytes: usize,
    /// What of it was zero, as at first.
    idle: usize,
}

impl Memory {
    fn find<'a>(&self, instance: &'a mut dyn Instance) -> Result<&'a mut [u8]> {
        instance.memory_named(&self.export).ok_or_else(|| self.lost())
    }

    fn lost(&self) -> Error {
        let what = format!("the engine has no memory `{}` of the size that the module says", self.export);
        Error::new(Kind::Internal, what)
    }

    /// Copies all its data into a memory that is zero.
    fn copy(&self, bytes: &mut [u8]) {
        for (offset, data) in &self.data {
            bytes[*offset..*offset + data.len()].copy_from_slice(data);
        }
    }

    /// Calls `each` with what is in a part of it: from where on in that part, and data or, without any, zeros up to there.
    fn parts(&self, part: Range<usize>, mut each: impl FnMut(Range<usize>, Option<&[u8]>)) {
        let mut at = part.start;
        let first = self.data.partition_point(|(offset, data)| offset + data.len() <= part.start);
        for (offset, data) in self.data[first..].iter().take_while(|(offset, _)| *offset < part.end) {
            let place = (*offset).max(part.start)..(offset + data.len()).min(part.end);
            each(at - part.start..place.start - part.start, None);
            each(
                place.start - part.start..place.end - part.start,
                Some(&data[place.start - offset..place.end - offset]),
            );
            at = place.end;
        }
        each(at - part.start..part.len(), None);
    }

    /// Writes what is in a part of it to `bytes`, which are zero.
    fn write(&self, bytes: &mut [u8], part: Range<usize>) {
        self.parts(part, |place, data| {
            if let Some(data) = data {
                bytes[place].copy_from_slice(data);
            }
        });
    }

    /// Puts pages of its initial contents back.
    fn restore(&self, bytes: &mut [u8], pages: Range<usize>, kept: &mut Kept) {
        const STEP: usize = 4096;
        static ZEROS: [u8; STEP] = [0; STEP];
        kept.bytes += pages.len();
        for start in pages.clone().step_by(STEP) {
            let page = start..pages.end.min(start + STEP);
            let bytes = &mut bytes[page.clone()];
            let mut idle = true;
            self.parts(page.clone(), |place, data| {
                let bytes = &mut bytes[place];
                if let Some(data) = data {
                    idle = false;
                    bytes.copy_from_slice(data);
                } else if *bytes != ZEROS[..bytes.len()] {
                    idle = false;
                    bytes.fill(0);
                }
            });
            if idle {
                kept.idle += page.len();
            }
        }
    }
}

/// Gives `pages` the bytes that begin at `at`: mapped, if the pages are the system's, else read.
fn put(file: &File, at: u64, pages: &mut [u8]) -> io::Result<()> {
    use std::os::unix::fs::FileExt;

    if !pages.as_ptr().addr().is_multiple_of(rustix::param::page_size()) {
        return file.read_exact_at(pages, at);
    }
    let (start, len) = (pages.as_mut_ptr().cast(), pages.len());
    let (access, how) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::FIXED);
    #[expect(unsafe_code, reason = "a mapping is replaced, as `Memories::empty` was promised")]
    // SAFETY: these are pages of an instance's memory, which nobody else has meanwhile.
    unsafe { mmap(start, len, access, how, file, at) }?;
    Ok(())
}

/// Has private pages be as when they were mapped: zero, or what the file has.
#[cfg(target_os = "linux")]
fn discard(pages: &mut [u8]) -> io::Result<()> {
    use rustix::mm::{Advice, madvise};

    #[expect(unsafe_code, reason = "contents are discarded, as `Memories::empty` was promised")]
    // SAFETY: these are pages of an instance's memory, which nobody else has meanwhile; any bytes may be in them.
    unsafe { madvise(pages.as_mut_ptr().cast(), pages.len(), Advice::LinuxDontNeed) }?;
    Ok(())
}

/// Elsewhere this advice may be ignored.
#[cfg(not(target_os = "linux"))]
fn discard(_: &mut [u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A file in memory, of `len` bytes that `write` finds zero, that nobody can write to any more and no other program gets.
#[cfg(target_os = "linux")]
pub(super) fn sealed(len: usize, write: &dyn Fn(&mut [u8])) -> io::Result<File> {
    use memmap2::MmapOptions;
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

    let file: File = memfd_create("wharf-image", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into();
    file.set_len(len as u64)?;
    #[expect(unsafe_code, reason = "a file that changed while it is mapped would be undefined behaviour")]
    // SAFETY: nobody else has the file.
    let mut bytes = unsafe { MmapOptions::new().len(len).populate().map_mut(&file) }?;
    write(&mut bytes);
    drop(bytes);
    fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn sealed(_: usize, _: &dyn Fn(&mut [u8])) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}
