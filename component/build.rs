//! Gives the sources a name, `WHARF_COMPONENT_SOURCES`, so that a flattened module which other sources made is known for one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=src");
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files)?;
    files.sort();
    let mut digest = DefaultHasher::new();
    for file in files {
        (&file, fs::read(&file)?).hash(&mut digest);
    }
    println!("cargo::rustc-env=WHARF_COMPONENT_SOURCES={:016x}", digest.finish());
    Ok(())
}

/// Adds the files of a directory and of those below it.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
