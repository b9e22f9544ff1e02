//! From a file to a guest: a module as it is, a component flattened.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytesize::ByteSize;
use etcetera::BaseStrategy;
use wharf::core::{Backend, CodeCache, Guest, LoadOptions, Prepared};
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
    let load = |wasm: &[u8]| Guest::load(backend, wasm, &options);
    with_module(backend, path, &options, console, load)
}

/// Compiles the module or component at `path` and keeps the code, for when [`guest`] loads it with the same options.
pub(crate) fn fill_cache(
    backend: &dyn Backend,
    path: &Path,
    max_memory: ByteSize,
    cache_args: &CacheArgs,
    console: Console,
) -> anyhow::Result<()> {
    let cache =
        cache(cache_args)?.context("there is no directory to keep compiled code in; name one with --cache-dir")?;
    let options = LoadOptions { max_memory: max_memory.as_u64(), ..LoadOptions::default() };
    let fill = |wasm: &[u8]| cache.fill(backend, &Prepared::new(wasm, &options)?);
    with_module(backend, path, &options, console, fill)
}

/// Hands the file at `path`, a component flattened, to what loads it, while progress is shown.
fn with_module<T>(
    backend: &dyn Backend,
    path: &Path,
    options: &LoadOptions,
    console: Console,
    load: impl FnOnce(&[u8]) -> wharf::core::Result<T>,
) -> anyhow::Result<T> {
    let mut wasm = read_module(path, options.max_module_bytes)?;
    let what = path.file_name().unwrap_or_default().to_string_lossy();
    let named = || format!("`{}`", path.display());
    let progress = Progress::start(console, &format!("compiling {what} with {}", backend.info().name));
    if is_component(&wasm) {
        // Core takes modules with one memory only, whatever the engine can do.
        let portable = FlattenOptions { multi_memory: false, keep_names: true, ..FlattenOptions::default() };
        wasm = flatten(&wasm, &portable).with_context(named)?.wasm;
    }
    let loaded = load(&wasm);
    drop(progress);
    loaded.with_context(named)
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
