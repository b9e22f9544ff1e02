//! Links `wharf` and its tests against the WasmEdge that the set-up found, compiles in what `wharf new` writes, and names
//! the source that says how flattened components are kept.

use std::fmt::Write;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// What `wharf new` writes comes from these: their path from the root of the tree, and what templates call them.
const EMBEDDED: [(&str, &str); 4] =
    [("guests/templates", "templates"), ("guests/sdk", "sdk"), ("guests/rust/sdk", "rust/sdk"), ("core/wit", "wit")];

/// What shapes the entries of flattened components in the cache, beside what flattens them.
const KEEPING: &str = "src/commands/flat.rs";

/// What building in place leaves behind.
const BUILT: [&str; 6] = ["target", "node_modules", "build", "dist", "__pycache__", ".venv"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_WASMEDGE").is_some() {
        wharf_wasmedge_link::emit();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut table = String::from("&[\n");
    for (path, name) in EMBEDDED {
        let path = root.join(path);
        if path.is_dir() {
            embed(&path, name, &mut table);
        }
    }
    table.push(']');
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("embedded.rs"), table).expect("the table is written");

    println!("cargo:rerun-if-changed={KEEPING}");
    let mut digest = DefaultHasher::new();
    fs::read(KEEPING).expect("the source is there").hash(&mut digest);
    println!("cargo:rustc-env=WHARF_FLAT_SOURCES={:016x}", digest.finish());
}

/// Adds the files below a directory, in order, to a table of names and contents.
fn embed(directory: &Path, name: &str, table: &mut String) {
    // A directory changes when something is added to it or removed.
    println!("cargo:rerun-if-changed={}", directory.display());
    let mut entries: Vec<_> = fs::read_dir(directory)
        .and_then(Iterator::collect)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, file) = (entry.path(), entry.file_name().into_string().expect("names are UTF-8"));
        let name = format!("{name}/{file}");
        if path.is_file() {
            println!("cargo:rerun-if-changed={}", path.display());
            writeln!(table, "    ({name:?}, include_bytes!({path:?})),").expect("a string takes it");
        } else if !BUILT.contains(&file.as_str()) {
            embed(&path, &name, table);
        }
    }
}
