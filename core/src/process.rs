//! Whether this is still the process that something was opened in.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

/// A mark on a process, which those that are forked off from it do not have, however they are: the system clears it
/// (`MADV_WIPEONFORK`).
pub(crate) struct Mark(&'static AtomicBool);

impl Mark {
    /// Marks this process. Each takes a page for as long as the process is there.
    ///
    /// # Errors
    /// If the system has no page, or does not clear pages of processes that are forked off: Linux does from 4.14 on.
    #[expect(unsafe_code, reason = "a page that the system clears")]
    pub(crate) fn new() -> io::Result<Self> {
        let page = rustix::param::page_size();
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the system chooses the address, and nobody else has the page.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), page, access, MapFlags::PRIVATE) }?;
        // SAFETY: it is that page.
        unsafe { madvise(start, page, Advice::LinuxWipeOnFork) }?;
        // SAFETY: it is aligned, zero, which is false, and never unmapped.
        let mark = unsafe { &*start.cast::<AtomicBool>() };
        mark.store(true, Ordering::Relaxed);
        Ok(Mark(mark))
    }

    /// Whether this process is the one.
    pub(crate) fn is_here(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What `holds` says in a process that is forked off from this one. It must do little, and nothing that another thread
    /// may hold a lock for: the C library's allocator can be used after a fork.
    #[expect(unsafe_code, reason = "no safe function forks")]
    pub(crate) fn in_a_child(holds: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child does what `holds` does, and ends.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            // SAFETY: nothing is run on the way out.
            unsafe { libc::_exit(i32::from(!holds())) };
        }
        let mut status = -1;
        // SAFETY: it is a child of this process, and `status` takes what is written.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        status == 0
    }

    #[test]
    fn a_forked_process_does_not_have_the_mark() {
        let mark = Mark::new().unwrap();
        assert!(in_a_child(|| !mark.is_here()));
        assert!(mark.is_here());
    }
}
