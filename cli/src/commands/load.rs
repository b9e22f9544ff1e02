//! From a file to a guest: a module as it is, a component flattened or on wasmtime's own host.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytesize::ByteSize;
use etcetera::BaseStrategy;
use wharf::core::{Backend, Capability, CodeCache, Guest, HostedGuest, LoadOptions, Prepared};
use wharf_component::{FlattenOptions, flatten, is_component, wasi03};

use crate::args::{CacheArgs, ComponentHost, HostArgs, Usage};
use crate::commands::read_module;
use crate::console::Console;
use crate::progress::Progress;

/// Loads the module or component at `path`.
pub(crate) fn guest(
    backend: &dyn Backend,
    host: &HostArgs,
    path: &Path,
    max_memory: ByteSize,
    cache_args: &CacheArgs,
    console: Console,
) -> anyhow::Result<Arc<dyn HostedGuest>> {
    let options = LoadOptions { max_memory: max_memory.as_u64(), cache: cache(cache_args)?, ..LoadOptions::default() };
    let wasm = read_module(path, options.max_module_bytes)?;
    if choose(host.component_host, backend.info().name, path, &wasm)? == ComponentHost::Native {
        let _progress = compiling(backend, path, console);
        return native(&wasm, &options).with_context(|| format!("`{}`", path.display()));
    }
    let load = |wasm: &[u8]| Guest::load(backend, wasm, &options);
    Ok(Arc::new(with_module(backend, path, wasm, console, load)?))
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
    with_module(backend, path, read_module(path, options.max_module_bytes)?, console, fill)
}

/// Hands what was read from `path`, a component flattened, to what loads it, while progress is shown.
fn with_module<T>(
    backend: &dyn Backend,
    path: &Path,
    mut wasm: Vec<u8>,
    console: Console,
    load: impl FnOnce(&[u8]) -> wharf::core::Result<T>,
) -> anyhow::Result<T> {
    let named = || format!("`{}`", path.display());
    let progress = compiling(backend, path, console);
    if is_component(&wasm) {
        let multi_memory = backend.info().can(Capability::MultiMemory);
        let options = FlattenOptions { multi_memory, keep_names: true, ..FlattenOptions::default() };
        wasm = flatten(&wasm, &options).with_context(named)?.wasm;
    }
    let loaded = load(&wasm);
    drop(progress);
    loaded.with_context(named)
}

fn compiling(backend: &dyn Backend, path: &Path, console: Console) -> Progress {
    let what = path.file_name().unwrap_or_default().to_string_lossy();
    Progress::start(console, &format!("compiling {what} with {}", backend.info().name))
}

/// Which host the guest runs on: the one asked for, or else the one that can.
fn choose(asked: Option<ComponentHost>, backend: &str, path: &Path, wasm: &[u8]) -> anyhow::Result<ComponentHost> {
    let path = path.display();
    if !is_component(wasm) {
        if asked == Some(ComponentHost::Native) {
            let message = format!("`{path}` is a core module, and --component-host native is for components only");
            return Err(Usage(message).into());
        }
        return Ok(ComponentHost::Core);
    }
    let wasi03 = wasi03(wasm);
    match (asked, &wasi03) {
        (Some(ComponentHost::Core), Some(name)) => {
            let message = format!(
                "`{path}` is a component of WASI 0.3, by `{name}`, which wharf's own host does not run; leave out \
                 --component-host core"
            );
            return Err(Usage(message).into());
        }
        (None | Some(ComponentHost::Core), None) => return Ok(ComponentHost::Core),
        (Some(ComponentHost::Native), _) | (None, Some(_)) => {}
    }
    match wasi03 {
        _ if backend == "wasmtime" => Ok(ComponentHost::Native),
        Some(name) => bail!(
            "`{path}` is a component of WASI 0.3, by `{name}`, which runs on wasmtime only; use --backend wasmtime, not \
             {backend}"
        ),
        None => {
            let message = format!("--component-host native is for the backend wasmtime, and the backend is {backend}");
            Err(Usage(message).into())
        }
    }
}

#[cfg(feature = "native")]
fn native(component: &[u8], options: &LoadOptions) -> wharf::core::Result<Arc<dyn HostedGuest>> {
    Ok(Arc::new(wharf::native::Native::new()?.load(component, options)?))
}

#[cfg(not(feature = "native"))]
fn native(_: &[u8], _: &LoadOptions) -> wharf::core::Result<Arc<dyn HostedGuest>> {
    let message = "wasmtime's own component host is not compiled in; build with `--features native`";
    Err(wharf::core::Error::new(wharf::core::Kind::Unsupported, message))
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
