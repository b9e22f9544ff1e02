//! From a file to a guest: a module as it is, a component flattened or on wasmtime's own host.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::time::Duration;

use anyhow::{Context, bail};
use wharf::core::{Backend, Capability, CodeCache, Guest, HostedGuest, LoadOptions, Prepared, TotalMemory};
use wharf_component::{FlattenError, is_component, wasi03};

use crate::args::{CacheArgs, ComponentHost, HostArgs, LoadArgs, Usage};
use crate::commands::{cache, flat, read_module};
use crate::console::Console;
use crate::progress::Progress;
use crate::{exit, output};

/// What a guest is loaded for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose<'a> {
    /// To be run, by this function if one is named.
    Run(Option<&'a str>),
    /// To answer requests.
    Serve,
    /// Anything else.
    Other,
}

/// How a guest is loaded.
pub(crate) struct Loading<'a> {
    pub(crate) purpose: Purpose<'a>,
    /// What all its instances may take together.
    pub(crate) total_memory: Option<TotalMemory>,
    pub(crate) host: &'a HostArgs,
    pub(crate) limits: &'a LoadArgs,
    pub(crate) cache: &'a CacheArgs,
}

impl<'a> Loading<'a> {
    pub(crate) fn new(host: &'a HostArgs, limits: &'a LoadArgs, cache: &'a CacheArgs) -> Self {
        Loading { purpose: Purpose::Other, total_memory: None, host, limits, cache }
    }

    fn options(&self, cache: Option<Arc<CodeCache>>) -> LoadOptions {
        LoadOptions {
            max_memory: self.limits.max_memory.as_u64(),
            max_function_bytes: self.limits.max_function_size.as_u64(),
            total_memory: self.total_memory.clone(),
            cache,
            ..LoadOptions::default()
        }
    }

    /// Loads the module or component at `path`.
    pub(crate) fn guest(
        &self,
        backend: &dyn Backend,
        path: &Path,
        console: Console,
    ) -> anyhow::Result<Arc<dyn HostedGuest>> {
        let options = self.options(cache::open(self.cache)?);
        let wasm = read_module(path, options.max_module_bytes)?;
        let native = choose(self.host.component_host, backend.info().name, path, &wasm)? == ComponentHost::Native;
        let load = || -> anyhow::Result<Arc<dyn HostedGuest>> {
            if native {
                let _compiling = self.compiling(backend, path, console)?;
                return Ok(load_native(&wasm, &options)?);
            }
            let prepared = prepare(backend, &wasm, &options)?;
            match self.purpose {
                Purpose::Run(invoke) => prepared.check_run(invoke)?,
                Purpose::Serve => prepared.check_serve()?,
                Purpose::Other => {}
            }
            let _compiling = self.compiling(backend, path, console)?;
            Ok(Arc::new(Guest::from_prepared(backend, &prepared, &options)?))
        };
        load().with_context(|| format!("`{}`", path.display()))
    }

    /// Compiles the module or component at `path` and keeps what is made of it, for when [`guest`](Self::guest) loads it
    /// with the same options.
    pub(crate) fn fill_cache(&self, backend: &dyn Backend, path: &Path, console: Console) -> anyhow::Result<()> {
        let cache = cache::open(self.cache)?
            .context("there is no directory to keep compiled code in; name one with --cache-dir")?;
        let options = self.options(Some(cache.clone()));
        let wasm = read_module(path, options.max_module_bytes)?;
        let native = choose(self.host.component_host, backend.info().name, path, &wasm)? == ComponentHost::Native;
        let _compiling = self.compiling(backend, path, console)?;
        let fill = || -> anyhow::Result<()> {
            if native {
                return Ok(fill_native(&wasm, &cache)?);
            }
            Ok(cache.fill(backend, &prepare(backend, &wasm, &options)?)?)
        };
        fill().with_context(|| format!("`{}`", path.display()))
    }

    /// Shows that compiling goes on, and sees to it that it ends.
    fn compiling(&self, backend: &dyn Backend, path: &Path, console: Console) -> anyhow::Result<(Progress, Alarm)> {
        let what = path.file_name().unwrap_or_default().to_string_lossy();
        let progress = Progress::start(console, &format!("compiling {what} with {}", backend.info().name));
        Ok((progress, Alarm::set(self.limits.compile_timeout, path)?))
    }
}

/// Ends this process when compiling takes too long: no engine's compiler can be stopped. Dropped, it does nothing.
struct Alarm(#[expect(dead_code, reason = "its end is what the thread waits for")] Sender<()>);

impl Alarm {
    fn set(limit: Duration, path: &Path) -> anyhow::Result<Self> {
        let (sender, ended) = std::sync::mpsc::channel::<()>();
        let path = path.display().to_string();
        let wait = move || {
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                let limit = humantime::format_duration(limit);
                output::error(&format!("`{path}` was still being compiled after {limit}: raise --compile-timeout"));
                std::process::exit(exit::TIMEOUT.into());
            }
        };
        std::thread::Builder::new().name("wharf-alarm".to_owned()).spawn(wait).context("cannot start a thread")?;
        Ok(Alarm(sender))
    }
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
