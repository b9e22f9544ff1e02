//! Where the system looks for libraries.

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

/// The beginning of `Dl_serinfo` (dlinfo(3)).
#[repr(C)]
struct Found {
    size: usize,
    count: c_uint,
    first: [Directory; 0],
}

/// `Dl_serpath`.
#[repr(C)]
struct Directory {
    name: *const c_char,
    flags: c_uint,
}

/// The directories in which a library is looked for by its name, in this order: the program's own, those in
/// `LD_LIBRARY_PATH`, and the system's. Empty if the system does not tell. Its cache of installed libraries comes on top.
pub(super) fn directories() -> Vec<PathBuf> {
    // SAFETY: a handle of the program, for two requests. The first writes what it needs at most, the second, given as much
    // with that size in it, the directories behind it, whose names end with a zero and are part of it.
    unsafe {
        let program = libc::dlopen(ptr::null(), libc::RTLD_LAZY);
        let ask = |request: c_int, into: *mut c_void| !program.is_null() && libc::dlinfo(program, request, into) == 0;
        let mut size = Found { size: 0, count: 0, first: [] };
        if !ask(libc::RTLD_DI_SERINFOSIZE, (&raw mut size).cast()) {
            return Vec::new();
        }
        let mut words = vec![0_u64; size.size.div_ceil(size_of::<u64>()).max(size_of::<Found>())];
        let found: *mut Found = words.as_mut_ptr().cast();
        found.write(size);
        if !ask(libc::RTLD_DI_SERINFO, found.cast()) {
            return Vec::new();
        }
        let first = (&raw const (*found).first).cast::<Directory>();
        let name = |index| CStr::from_ptr((*first.add(index)).name).to_bytes();
        (0..(*found).count as usize).map(|index| PathBuf::from(OsStr::from_bytes(name(index)))).collect()
    }
}
