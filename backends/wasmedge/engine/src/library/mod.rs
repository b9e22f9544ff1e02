//! WasmEdge's library, which is opened when it is used for the first time.
//!
//! The library and LLVM, which it needs, take a process longer to load than all else that wharf does at its start, and
//! tens of megabytes. So on Linux a binary is not linked with it: [`stubs`] defines all functions of the C interface, for
//! `wasmedge-sys` and whoever else calls them, and [`open`] finds the library as the system would have at the start of the
//! process: by its name, where the binary's own search path and the system's lead.
//!
//! This crate calls [`open`] before anything else, and has a typed error. Who calls a function past this crate has the
//! library opened by that; if it cannot be, the process ends with the same words.

mod functions;
mod search;
mod stubs;

use std::ffi::{CStr, c_void};
use std::mem::transmute;
use std::process::abort;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL};

use self::stubs::{Entry, NAMES, entries, first};
use crate::error::Error;

/// The name that the linker would have noted: that of the interface, which has not changed since WasmEdge 0.10.
const NAME: &str = "libwasmedge.so.0";

/// The version, major and minor, whose interface `wasmedge-sys` declares: others have the same name, and other types.
const VERSION: [u32; 2] = [0, 17];

/// Opens the library, once for the process.
///
/// # Errors
/// [`Error::NoLibrary`] and [`Error::OtherLibrary`]; another call looks again.
pub(crate) fn open() -> Result<(), Error> {
    static OPENING: Mutex<()> = Mutex::new(());
    // The first entry is written last.
    let is_open = || address(&entries()[0]).is_some();
    if is_open() {
        return Ok(());
    }
    let _alone = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    if is_open() {
        return Ok(());
    }
    let (library, functions) = find(NAME)?;
    for (entry, function) in entries().iter().zip(functions).rev() {
        entry.store(function, Release);
    }
    // Never closed: it has handlers, and objects that callers keep.
    std::mem::forget(library);
    Ok(())
}

/// Opens the library `name`, which has to be of the right version, and finds its functions, in the order of [`NAMES`].
fn find(name: &str) -> Result<(Library, Vec<*mut c_void>), Error> {
    // SAFETY: what the library does when it is opened is what it would have done when the process started.
    let library = unsafe { Library::open(Some(name), RTLD_LAZY | RTLD_LOCAL) };
    let library = library.map_err(|error| Error::NoLibrary {
        name: name.to_owned(),
        searched: search::directories(),
        source: Box::new(error),
    })?;
    let functions = functions(&library).map_err(|why| Error::OtherLibrary { name: name.to_owned(), why })?;
    Ok((library, functions))
}

/// The addresses of the functions of a library, or why it is not the right one.
fn functions(library: &Library) -> Result<Vec<*mut c_void>, String> {
    let address = |name: &CStr| {
        // SAFETY: the symbol is read as an address, which it is.
        let found = unsafe { library.get::<*mut c_void>(name.to_bytes_with_nul()) };
        let missing = |_| format!("it has no function `{}`", name.to_string_lossy());
        found.map(|function| function.as_raw_ptr()).map_err(missing)
    };
    let number = |name| {
        // SAFETY: this is how the functions that tell the version are declared.
        let get = unsafe { transmute::<*mut c_void, extern "C" fn() -> u32>(address(name)?) };
        Ok::<_, String>(get())
    };
    match [number(c"WasmEdge_VersionGetMajor")?, number(c"WasmEdge_VersionGetMinor")?] {
        VERSION => NAMES.iter().copied().map(address).collect(),
        [major, minor] => Err(format!("it is version {major}.{minor}")),
    }
}

/// The address of a function, if it is known.
fn address(entry: &Entry) -> Option<*mut c_void> {
    let address = entry.load(Acquire);
    (address != first as *mut c_void).then_some(address)
}

/// The address of the function of an entry, for whoever called it before the library was open.
extern "C" fn bound(entry: &Entry) -> *mut c_void {
    if let Err(error) = open() {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        eprintln!("error: a function of WasmEdge was called, but {error}{cause}");
        abort();
    }
    address(entry).unwrap_or_else(|| abort())
}

#[cfg(test)]
mod tests {
    use super::{NAME, find};
    use crate::error::Error;

    #[test]
    fn a_library_that_is_not_there_is_an_error_that_says_where_it_was_looked_for() {
        let Err(error @ Error::NoLibrary { .. }) = find("libwasmedge-of-nobody.so.0") else { panic!("it was found") };
        let said = error.to_string();
        assert!(said.starts_with("the library `libwasmedge-of-nobody.so.0` cannot be opened"), "{said}");
        assert!(said.contains("`LD_LIBRARY_PATH`"), "{said}");
        // The directory of the one that this test is run with is among them.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        super::open().unwrap();
        let maps = maps + &std::fs::read_to_string("/proc/self/maps").unwrap();
        let path =
            maps.lines().find_map(|line| line.find('/').map(|at| &line[at..]).filter(|path| path.contains(NAME)));
        let directory = std::path::Path::new(path.expect("it is mapped")).parent().unwrap();
        assert!(said.contains(&directory.display().to_string()), "{said} without {}", directory.display());
    }

    #[test]
    fn a_library_of_something_else_is_an_error() {
        let Err(error @ Error::OtherLibrary { .. }) = find("libm.so.6") else { panic!("it was taken") };
        assert!(error.to_string().contains("it has no function `WasmEdge_VersionGetMajor`"), "{error}");
    }
}
