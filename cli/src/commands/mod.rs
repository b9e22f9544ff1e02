//! One module a command. Each returns the exit code, or the error that `main` prints.

pub(crate) mod backends;
pub(crate) mod cache;
pub(crate) mod compile;
pub(crate) mod completions;
mod component;
#[cfg(feature = "conformance")]
pub(crate) mod conformance;
pub(crate) mod demo;
mod grants;
pub(crate) mod inspect;
mod load;
pub(crate) mod new;
pub(crate) mod run;
pub(crate) mod serve;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};

/// Reads a module file of at most `limit` bytes and one more, so that whoever checks the size sees that it is too large.
fn read_module(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read `{}`", path.display());
    let file = File::open(path).with_context(cannot)?;
    if file.metadata().with_context(cannot)?.is_dir() {
        bail!("`{}` is a directory; give a .wasm file", path.display());
    }
    let mut wasm = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut wasm).with_context(cannot)?;
    Ok(wasm)
}
