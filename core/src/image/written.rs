//! Which pages of a memory were written to, as the system knows.

use std::io;
use std::ops::Range;

/// The pages of `memory`, in bytes, that may have been written to: not those that were never touched, or are still a file's.
/// `None` if they are more than `at_most` bytes.
///
/// One that is the system's page of zeros may have been only read. But since 6.12 Linux puts that page also in the place of
/// one that zeros were written to, when it splits a huge page; and many of them take page tables.
///
/// # Errors
/// If the system does not tell: Linux does from 6.7 on, where `/proc` is mounted.
#[cfg(target_os = "linux")]
pub(super) fn pages(memory: &[u8], at_most: usize) -> io::Result<Option<Vec<Range<usize>>>> {
    let start = memory.as_ptr().addr();
    let page = rustix::param::page_size();
    if !start.is_multiple_of(page) || !memory.len().is_multiple_of(page) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (mut at, end) = (start, start + memory.len());
    let (mut pages, mut bytes) = (Vec::new(), 0);
    let mut regions = [linux::Region::default(); linux::REGIONS];
    while at < end {
        let (found, reached) = linux::scan(at..end, &mut regions)?;
        for region in found {
            let run = region.bytes().start.max(start) - start..region.bytes().end.min(end) - start;
            bytes += run.len();
            if bytes > at_most {
                return Ok(None);
            }
            pages.push(run);
        }
        // It goes on where the regions were used up.
        at = reached.max(at + 1);
    }
    Ok(Some(pages))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn pages(_: &[u8], _: usize) -> io::Result<Option<Vec<Range<usize>>>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// `PAGEMAP_SCAN` of Linux, from `linux/fs.h` and the kernel's `admin-guide/mm/pagemap.rst`.
#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::c_void;
    use std::fs::File;
    use std::io;
    use std::ops::Range;
    use std::sync::{Arc, Mutex, PoisonError};

    use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

    use crate::process::Mark;

    /// How many regions one call finds.
    pub(super) const REGIONS: usize = 128;

    /// What is true of a page.
    const FILE: u64 = 1 << 2;
    const PRESENT: u64 = 1 << 3;
    const SWAPPED: u64 = 1 << 4;

    /// `struct page_region`.
    #[derive(Debug, Clone, Copy, Default)]
    #[repr(C)]
    pub(super) struct Region {
        start: u64,
        end: u64,
        categories: u64,
    }

    impl Region {
        /// Its addresses.
        pub(super) fn bytes(&self) -> Range<usize> {
            self.start as usize..self.end as usize
        }
    }

    /// `struct pm_scan_arg`.
    #[repr(C)]
    struct Scan {
        size: u64,
        flags: u64,
        start: u64,
        end: u64,
        walk_end: u64,
        regions: u64,
        regions_len: u64,
        max_pages: u64,
        category_inverted: u64,
        category_mask: u64,
        category_anyof_mask: u64,
        return_mask: u64,
    }

    /// The page map of a process, which goes on being that of this one in those that are forked off.
    struct Pagemap {
        file: File,
        process: Mark,
    }

    /// That of this process.
    fn pagemap() -> io::Result<Arc<Pagemap>> {
        static OPENED: Mutex<Option<Arc<Pagemap>>> = Mutex::new(None);
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        match &*opened {
            Some(pagemap) if pagemap.process.is_here() => Ok(Arc::clone(pagemap)),
            _ => {
                let pagemap = Arc::new(Pagemap { file: File::open("/proc/self/pagemap")?, process: Mark::new()? });
                Ok(Arc::clone(opened.insert(pagemap)))
            }
        }
    }

    /// The regions within `addresses`, as many as `regions` has room for, whose pages are this process's own; and where the
    /// search ended.
    pub(super) fn scan(addresses: Range<usize>, regions: &mut [Region]) -> io::Result<(&[Region], usize)> {
        let pagemap = pagemap()?;
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            flags: 0,
            start: addresses.start as u64,
            end: addresses.end as u64,
            walk_end: 0,
            regions: regions.as_mut_ptr().expose_provenance() as u64,
            regions_len: regions.len() as u64,
            max_pages: 0,
            category_inverted: FILE,
            category_mask: FILE,
            category_anyof_mask: PRESENT | SWAPPED,
            // The same for all, so that neighbours are one region.
            return_mask: FILE,
        };
        #[expect(unsafe_code, reason = "a call of the system that no library wraps")]
        // SAFETY: the kernel reads and writes `Scan`, which is laid out as it says, and writes `regions_len` regions at most
        // where `regions` are. It only looks at the pages.
        let found = unsafe { ioctl(&pagemap.file, &mut scan) }?;
        Ok((regions.get(..found).ok_or(io::ErrorKind::InvalidData)?, scan.walk_end as usize))
    }

    #[expect(unsafe_code, reason = "a call of the system that no library wraps")]
    // SAFETY: the opcode is that of a call that takes a pointer to this struct, and returns how many regions it wrote.
    unsafe impl Ioctl for &mut Scan {
        type Output = usize;

        const IS_MUTATING: bool = true;

        fn opcode(&self) -> Opcode {
            opcode::read_write::<Scan>(b'f', 16)
        }

        fn as_ptr(&mut self) -> *mut c_void {
            std::ptr::from_mut::<Scan>(self).cast()
        }

        unsafe fn output_from_ptr(found: IoctlOutput, _: *mut c_void) -> rustix::io::Result<usize> {
            usize::try_from(found).map_err(|_| rustix::io::Errno::INVAL)
        }
    }
}
