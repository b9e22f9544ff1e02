//! From a file to a guest: a module as it is, a component flattened.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytesize::ByteSize;
use etcetera::BaseStrategy;
use wharf::core::{Backend, Capability, CodeCache, Guest, LoadOptions};
use wharf_component::{FlattenOptions, flatten, is_component};

use crate::args::CacheArgs;
use crate::commands::read_module;
use crate::console::Console;
use crate::progress::Progress;

/// Loads the module or component at `path`.
pub(crate) fn guest(
    backend: &dyn Backend,
    path: &Path,
    max_memory: ByteSize,
    cache_args: &CacheArgs,
    console: Console,
) -> anyhow::Result<Guest> {
    let options = LoadOptions { max_memory: max_memory.as_u64(), cache: cache(cache_args)?, ..LoadOptions::default() };
    let mut wasm = read_module(path, options.max_module_bytes)?;
    let what = path.file_name().unwrap_or_default().to_string_lossy();
    let named = || format!("`{}`", path.display());
    let progress = Progress::start(console, &format!("compiling {what} with {}", backend.info().name));
    if is_component(&wasm) {
        let multi_memory = backend.info().can(Capability::MultiMemory);
        let options = FlattenOptions { multi_memory, keep_names: true, ..FlattenOptions::default() };
        wasm = flatten(&wasm, &options).with_context(named)?.wasm;
    }
    let guest = Guest::load(backend, &wasm, &options);
    drop(progress);
    guest.with_context(named)
}

fn cache(args: &CacheArgs) -> anyhow::Result<Option<Arc<CodeCache>>> {
    if args.no_cache {
        return Ok(None);
    }
    if let Some(directory) = &args.cache_dir {
        return Ok(Some(Arc::new(CodeCache::open(directory).context("--cache-dir")?)));
    }
    // Nobody asked for this one, so that a machine without it only runs slower.
    let Ok(user) = etcetera::base_strategy::choose_native_strategy() else {
        tracing::info!("compiled code is not kept: the user has no home directory");
        return Ok(None);
    };
    match CodeCache::open(&user.cache_dir().join("wharf")) {
        Ok(cache) => Ok(Some(Arc::new(cache))),
        Err(error) => {
            tracing::warn!("compiled code is not kept: {}", wharf::core::chain(&error));
            Ok(None)
        }
    }
}
