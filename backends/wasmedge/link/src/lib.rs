//! Links binaries against a WasmEdge that `setup/wasmedge.sh` unpacked together with the C library it was built for.
//!
//! Where no WasmEdge is installed, the script unpacks a distribution's packages into a private directory and exports
//! its path as [`SYSROOT`]. Libraries from there need that directory's dynamic linker and C library, so every binary
//! that has WasmEdge in it must name them. Cargo hands a library's linker arguments to nobody, so each package that
//! builds such binaries has a `build.rs` with one line:
//!
//! ```no_run
//! wharf_wasmedge_link::emit();
//! ```
//!
//! and this crate among its build dependencies. With an installed WasmEdge that variable is unset; if [`LIBRARY`] names
//! where it is, binaries look there when they start.
//! Documentation tests get no such arguments: in those packages, mark examples that would run the engine `no_run`.

use std::env;
use std::path::Path;

/// The environment variable that holds the private directory, an absolute path.
pub const SYSROOT: &str = "WHARF_WASMEDGE_SYSROOT";

/// The environment variable that holds the directory of libwasmedge, for the engine's own bindings too.
pub const LIBRARY: &str = "WASMEDGE_LIB_DIR";

/// The dynamic linker and the library directory of each machine the script knows, below the private directory.
const LAYOUTS: [(&str, &str, &str); 2] = [
    ("x86_64", "usr/lib/x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
    ("aarch64", "usr/lib/aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
];

/// Prints, from a build script, what the package's binaries, tests, examples and benchmarks must be linked with.
///
/// # Panics
/// If [`SYSROOT`] is set but holds no dynamic linker: a build that went on would make binaries that cannot start.
pub fn emit() {
    let directory = |name: &str| {
        println!("cargo:rerun-if-env-changed={name}");
        env::var_os(name).filter(|directory| !directory.is_empty())
    };
    let library = directory(LIBRARY);
    let Some(sysroot) = directory(SYSROOT) else {
        if let Some(library) = library {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", Path::new(&library).display());
        }
        return;
    };
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    for argument in arguments(Path::new(&sysroot), &arch) {
        println!("cargo:rustc-link-arg={argument}");
    }
}

fn arguments(sysroot: &Path, arch: &str) -> [String; 3] {
    let (libraries, linker) = LAYOUTS
        .iter()
        .find(|(name, ..)| *name == arch)
        .map(|(_, libraries, linker)| (sysroot.join(libraries), sysroot.join(libraries).join(linker)))
        .unwrap_or_else(|| panic!("{SYSROOT} is set, but no such directory is known for {arch}: unset it"));
    assert!(
        linker.is_file(),
        "{SYSROOT} is {}, which holds no dynamic linker {}: run setup/wasmedge.sh again, or unset it",
        sysroot.display(),
        linker.display(),
    );
    [
        format!("-Wl,--dynamic-linker={}", linker.display()),
        format!("-Wl,-rpath,{}", libraries.display()),
        // The path must also serve the libraries that libwasmedge itself needs: RPATH does, RUNPATH does not.
        "-Wl,--disable-new-dtags".to_owned(),
    ]
}
