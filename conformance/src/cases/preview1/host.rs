//! The host's side of a case: temporary directories that are granted to the probe, and what is in them.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use wharf_core::grants::WasiConfig;

use super::probe::WasiProbe;
use crate::case::{CaseResult, Unmet};
use crate::context::Context;

/// A directory that is gone when the case ends.
pub(in crate::cases) fn directory() -> CaseResult<TempDir> {
    tempfile::tempdir().map_err(Unmet::harness)
}

/// Writes a file for the guest to find.
pub(in crate::cases) fn put(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> CaseResult {
    fs::write(path, bytes).map_err(Unmet::harness)
}

/// Makes a directory for the guest to find.
pub(in crate::cases) fn make_directory(path: impl AsRef<Path>) -> CaseResult {
    fs::create_dir(path).map_err(Unmet::harness)
}

/// Makes a symbolic link for the guest to find.
pub(in crate::cases) fn link(target: impl AsRef<Path>, path: impl AsRef<Path>) -> CaseResult {
    std::os::unix::fs::symlink(target, path).map_err(Unmet::harness)
}

/// What a file holds that the guest should have left there.
pub(in crate::cases) fn contents(path: impl AsRef<Path>) -> CaseResult<Vec<u8>> {
    let path = path.as_ref();
    fs::read(path).map_err(|error| Unmet::failed(format!("the host cannot read {}: {error}", path.display())))
}

/// What a directory holds, all the way down, in order: paths, kinds, sizes, times of change, targets of links.
pub(in crate::cases) fn listing(directory: &Path) -> CaseResult<Vec<String>> {
    let mut lines = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).map_err(Unmet::harness)? {
            let path = entry.map_err(Unmet::harness)?.path();
            let metadata = fs::symlink_metadata(&path).map_err(Unmet::harness)?;
            let modified = metadata.modified().map_err(Unmet::harness)?;
            let target = fs::read_link(&path).ok();
            lines.push(format!("{path:?} {:?} {} {modified:?} {target:?}", metadata.file_type(), metadata.len()));
            if metadata.is_dir() {
                left.push(path);
            }
        }
    }
    lines.sort();
    Ok(lines)
}

/// A probe that is granted `directory`, to read and write, as `/`.
pub(in crate::cases) fn granted(context: &Context, directory: &TempDir) -> CaseResult<WasiProbe> {
    WasiProbe::start(context, WasiConfig::new().preopen(directory.path(), "/")?)
}

/// A probe that is granted a new and empty directory.
pub(in crate::cases) fn with_directory(context: &Context) -> CaseResult<(WasiProbe, TempDir)> {
    let directory = directory()?;
    Ok((granted(context, &directory)?, directory))
}
