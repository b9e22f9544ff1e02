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
pub(crate) mod images;
pub(crate) mod inspect;
mod load;
pub(crate) mod new;
pub(crate) mod package;
pub(crate) mod run;
pub(crate) mod serve;

use std::env::VarError;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};

use crate::args::{EnvEntry, Usage};

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

/// The value of a variable for a guest: the one given, or that of wharf's own environment, if it is set.
fn env_value(EnvEntry { name, value }: &EnvEntry) -> anyhow::Result<Option<String>> {
    match (value, std::env::var(name)) {
        (Some(value), _) => Ok(Some(value.clone())),
        (None, Ok(value)) => Ok(Some(value)),
        (None, Err(VarError::NotPresent)) => {
            tracing::debug!("--env {name}: wharf's environment has no such variable, so the guest does not get it");
            Ok(None)
        }
        (None, Err(error)) => Err(Usage(format!("--env {name}: {error}; write {name}=VALUE")).into()),
    }
}
