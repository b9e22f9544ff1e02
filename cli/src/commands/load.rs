//! From a file and options to a guest, with progress and an end to compiling.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::time::Duration;

use anyhow::Context;
use wharf::core::{CodeCache, Error, Kind, LoadOptions, TotalMemory};
use wharf::{PreparedProgram, Program, Runtime};

use crate::args::{BackendArgs, CacheArgs, ComponentHost, HostArgs, ImageArgs, LoadArgs, Usage};
use crate::commands::{cache, images};
use crate::console::Console;
use crate::progress::Progress;
use crate::{backend, exit, output};

/// What a guest is loaded for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose<'a> {
    /// To be run, by this function if one is named.
    Run(Option<&'a str>),
    /// To answer requests.
    Serve,
}

/// How a guest is loaded.
pub(crate) struct Loading<'a> {
    /// What all its instances may take together.
    pub(crate) total_memory: Option<TotalMemory>,
    pub(crate) backend: &'a BackendArgs,
    pub(crate) host: &'a HostArgs,
    pub(crate) limits: &'a LoadArgs,
    pub(crate) cache: &'a CacheArgs,
    pub(crate) images: &'a ImageArgs,
}

impl<'a> Loading<'a> {
    pub(crate) fn new(
        backend: &'a BackendArgs,
        host: &'a HostArgs,
        limits: &'a LoadArgs,
        cache: &'a CacheArgs,
        images: &'a ImageArgs,
    ) -> Self {
        Loading { total_memory: None, backend, host, limits, cache, images }
    }

    /// Loads the module or component at `path`, a file or an image.
    pub(crate) fn guest(&self, path: &Path, purpose: Purpose<'_>, console: Console) -> anyhow::Result<Program> {
        let cache = cache::open(self.cache, path)?;
        let runtime = self.runtime(cache.clone())?;
        let wasm = self.read(path, cache.as_ref(), console)?;
        let load = || {
            let prepared = prepare(&runtime, &wasm)?;
            match purpose {
                Purpose::Run(invoke) => prepared.check_run(invoke)?,
                Purpose::Serve => prepared.check_serve()?,
            }
            let _compiling = self.compiling(&runtime, path, console)?;
            Ok(prepared.compile()?)
        };
        named(path, load())
    }

    /// Compiles the module or component at `path` and keeps what is made of it, for when [`guest`](Self::guest) loads it
    /// with the same options.
    pub(crate) fn fill_cache(&self, path: &Path, console: Console) -> anyhow::Result<()> {
        let cache = cache::open(self.cache, path)?
            .context("there is no directory to keep compiled code in; name one with --cache-dir")?;
        let runtime = self.runtime(Some(cache.clone()))?;
        let wasm = self.read(path, Some(&cache), console)?;
        let fill = || {
            let _compiling = self.compiling(&runtime, path, console)?;
            Ok(prepare(&runtime, &wasm)?.keep()?)
        };
        named(path, fill())
    }

    fn read(&self, path: &Path, cache: Option<&Arc<CodeCache>>, console: Console) -> anyhow::Result<Vec<u8>> {
        images::guest(path, LoadOptions::default().max_module_bytes, self.images, cache, console)
    }

    fn runtime(&self, cache: Option<Arc<CodeCache>>) -> anyhow::Result<Runtime> {
        let defaults = LoadOptions::default();
        let mut builder = Runtime::builder().with_backend(backend::make(self.backend)?).options(LoadOptions {
            max_memory: self.limits.max_memory.map_or(defaults.max_memory, |size| size.as_u64()),
            max_function_bytes: self.limits.max_function_size.as_u64(),
            total_memory: self.total_memory.clone(),
            cache,
            keep_adapter: self.host.keep_adapter,
            ..defaults
        });
        if let Some(host) = self.host.component_host {
            builder = builder.component_host(match host {
                ComponentHost::Core => wharf::ComponentHost::Core,
                ComponentHost::Wasmtime => wharf::ComponentHost::Wasmtime,
            });
        }
        Ok(builder.build()?)
    }

    /// Shows that compiling goes on, and sees to it that it ends.
    fn compiling(&self, runtime: &Runtime, path: &Path, console: Console) -> anyhow::Result<(Progress, CompileLimit)> {
        let what = path.file_name().unwrap_or_default().to_string_lossy();
        let progress = Progress::start(console, &format!("compiling {what} with {}", runtime.info().name));
        Ok((progress, CompileLimit::set(self.limits.compile_timeout, path)?))
    }
}

/// A guest that does not go with the options is a mistake in the command line.
fn prepare(runtime: &Runtime, wasm: &[u8]) -> anyhow::Result<PreparedProgram> {
    runtime.prepare(wasm).map_err(|error: Error| match error.kind() {
        Kind::Config => Usage(format!("--component-host: {error}")).into(),
        _ => error.into(),
    })
}

/// Says which file it was.
fn named<T>(path: &Path, loaded: anyhow::Result<T>) -> anyhow::Result<T> {
    loaded.map_err(|error| match error.downcast::<Usage>() {
        Ok(Usage(message)) => Usage(format!("`{}`: {message}", path.display())).into(),
        Err(error) => error.context(format!("`{}`", path.display())),
    })
}

/// Ends this process when compiling takes too long: no engine's compiler can be stopped. Dropped, it does nothing.
struct CompileLimit(#[expect(dead_code, reason = "its end is what the thread waits for")] Sender<()>);

impl CompileLimit {
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
        std::thread::Builder::new().name("wharf-limit".to_owned()).spawn(wait).context("cannot start a thread")?;
        Ok(CompileLimit(sender))
    }
}
