//! From a file to a guest: a module as it is, a component flattened or on wasmtime's own host.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytesize::ByteSize;
use etcetera::BaseStrategy;
use wharf::core::{Backend, Capability, CodeCache, Guest, HostedGuest, LoadOptions, Prepared};
use wharf_component::{FlattenError, is_component, wasi03};

use crate::args::{CacheArgs, ComponentHost, HostArgs, Usage};
use crate::commands::{flat, read_module};
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
    let native = choose(host.component_host, backend.info().name, path, &wasm)? == ComponentHost::Native;
    let _progress = compiling(backend, path, console);
    let load = || -> anyhow::Result<Arc<dyn HostedGuest>> {
        if native {
            return Ok(load_native(&wasm, &options)?);
        }
        let prepared = prepare(backend, &wasm, &options)?;
        Ok(Arc::new(Guest::from_prepared(backend, &prepared, &options)?))
    };
    load().with_context(|| format!("`{}`", path.display()))
}

/// Compiles the module or component at `path` and keeps what is made of it, for when [`guest`] loads it with the same
/// options.
pub(crate) fn fill_cache(
    backend: &dyn Backend,
    host: &HostArgs,
    path: &Path,
    max_memory: ByteSize,
    cache_args: &CacheArgs,
    console: Console,
) -> anyhow::Result<()> {
    let cache =
        cache(cache_args)?.context("there is no directory to keep compiled code in; name one with --cache-dir")?;
    let options = LoadOptions { max_memory: max_memory.as_u64(), cache: Some(cache.clone()), ..LoadOptions::default() };
    let wasm = read_module(path, options.max_module_bytes)?;
    let native = choose(host.component_host, backend.info().name, path, &wasm)? == ComponentHost::Native;
    let _progress = compiling(backend, path, console);
    let fill = || -> anyhow::Result<()> {
        if native {
            return Ok(fill_native(&wasm, &cache)?);
        }
        Ok(cache.fill(backend, &prepare(backend, &wasm, &options)?)?)
    };
    fill().with_context(|| format!("`{}`", path.display()))
}

/// Makes what was read from a file ready to be compiled: a module as it is, a component flattened.
fn prepare(backend: &dyn Backend, wasm: &[u8], options: &LoadOptions) -> anyhow::Result<Prepared> {
    if !is_component(wasm) {
        return Ok(Prepared::new(wasm, options)?);
    }
    let prepared = flat::prepare(wasm, options)?;
    let memories = prepared.memories();
    if memories > 1 && !backend.info().can(Capability::MultiMemory) {
        return Err(FlattenError::NeedsMultiMemory { memories }.into());
    }
    Ok(prepared)
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
fn load_native(component: &[u8], options: &LoadOptions) -> wharf::core::Result<Arc<dyn HostedGuest>> {
    Ok(Arc::new(wharf::native::Native::new()?.load(component, options)?))
}

#[cfg(feature = "native")]
fn fill_native(component: &[u8], cache: &CodeCache) -> wharf::core::Result<()> {
    wharf::native::Native::new()?.fill(component, cache)
}

#[cfg(not(feature = "native"))]
fn load_native(_: &[u8], _: &LoadOptions) -> wharf::core::Result<Arc<dyn HostedGuest>> {
    Err(no_native())
}

#[cfg(not(feature = "native"))]
fn fill_native(_: &[u8], _: &CodeCache) -> wharf::core::Result<()> {
    Err(no_native())
}

#[cfg(not(feature = "native"))]
fn no_native() -> wharf::core::Error {
    let message = "wasmtime's own component host is not compiled in; build with `--features native`";
    wharf::core::Error::new(wharf::core::Kind::Unsupported, message)
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
