//! Gives the sources a name, `WHARF_PLAN_SOURCES`, so that a plan of other sources is known for one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::{fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=src");
    let mut files = fs::read_dir("src")?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    let mut digest = DefaultHasher::new();
    for file in files {
        (file.file_name(), fs::read(&file)?).hash(&mut digest);
    }
    println!("cargo::rustc-env=WHARF_PLAN_SOURCES={:016x}", digest.finish());
    Ok(())
}
