//! Gives the sources that rewrite modules a name, `WHARF_CORE_REWRITES`, so that code which was compiled from what other
//! sources made of a module is known for it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// All that shapes the module an engine compiles, and how it is kept.
const REWRITES: [&str; 6] =
    ["src/compiled.rs", "src/growth.rs", "src/image", "src/meter", "src/prepare.rs", "src/types.rs"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    let mut files = Vec::new();
    for path in REWRITES {
        collect(Path::new(path), &mut files)?;
    }
    let mut digest = DefaultHasher::new();
    for file in &files {
        (file, fs::read(file)?).hash(&mut digest);
    }
    println!("cargo::rustc-env=WHARF_CORE_REWRITES={:016x}", digest.finish());

    let mut sources = Vec::new();
    collect(Path::new("src"), &mut sources)?;
    for source in sources {
        if !files.contains(&source) && fs::read_to_string(&source)?.contains("wasm_encoder") {
            let message = format!("{} encodes modules: it belongs to REWRITES in core/build.rs", source.display());
            return Err(io::Error::other(message));
        }
    }
    Ok(())
}

/// Adds a file, or the Rust sources below a directory in the order of their names.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut paths = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "rs") {
            collect(&path, files)?;
        }
    }
    Ok(())
}
