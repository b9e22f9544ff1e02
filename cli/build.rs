//! Links `wharf` and its tests against the WasmEdge that the set-up found, and compiles in what `wharf new` writes.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// What `wharf new` writes comes from here. All of it is links to where it belongs in the tree, so that a package of this
/// crate has the files themselves.
const EMBEDDED: &str = "embedded";

/// What is added to names that mean something to cargo and git here: `Cargo.toml`, as no directory with a manifest of its own
/// is packed, and `.gitignore`.
const SUFFIX: &str = ".embedded";

/// What building in place leaves behind.
const BUILT: [&str; 6] = ["target", "node_modules", "build", "dist", "__pycache__", ".venv"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_WASMEDGE").is_some() {
        wharf_wasmedge_link::emit();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(EMBEDDED);
    let mut table = String::from("&[\n");
    embed(&root, "", &mut table);
    table.push(']');
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("embedded.rs"), table).expect("the table is written");
}

/// Adds the files below a directory, in order, to a table of names, which begin with `name`, and contents.
fn embed(directory: &Path, name: &str, table: &mut String) {
    // A directory changes when something is added to it or removed.
    println!("cargo:rerun-if-changed={}", directory.display());
    let mut entries: Vec<_> = fs::read_dir(directory)
        .and_then(Iterator::collect)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, file) = (entry.path(), entry.file_name().into_string().expect("names are UTF-8"));
        if path.is_file() {
            let name = format!("{name}{}", file.strip_suffix(SUFFIX).unwrap_or(&file));
            println!("cargo:rerun-if-changed={}", path.display());
            writeln!(table, "    ({name:?}, include_bytes!({path:?})),").expect("a string takes it");
        } else if !BUILT.contains(&file.as_str()) {
            embed(&path, &format!("{name}{file}/"), table);
        }
    }
}
