//! From bytes to a program: a core module as it is, a component flattened or on an engine's own component host.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use wharf_core::{
    Backend, BackendInfo, CacheOptions, CodeCache, Error, Guest, HostedGuest, Inspection, Kind, Linker, LoadOptions,
    Prepared, Result,
};

use crate::component;
use crate::program::Program;

/// Which host a component runs on. Core modules run on wharf's own, and are refused where another is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ComponentHost {
    /// Wharf's own, the same on every backend: the component is flattened into one core module (WASI 0.2, and what it
    /// has of WASI 0.3).
    Core,
    /// Wasmtime's own component model, with WASI 0.2 and 0.3, under wharf's policy and limits; for the backend `wasmtime`,
    /// with the feature `wasmtime-component`.
    Wasmtime,
}

/// What guests are loaded with: a backend, a host for components, limits, and a directory for compiled code.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = wharf::Runtime::builder().backend("wasmer").max_memory(64 << 20).build()?;
/// // A core module or a component, of whatever toolchain.
/// let program = runtime.load(&std::fs::read("guest.wasm")?)?;
/// let exit_code = program.run(wharf::core::GuestConfig::default(), None)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Runtime {
    backend: Arc<dyn Backend>,
    host: Option<ComponentHost>,
    options: LoadOptions,
}

impl Runtime {
    /// Chooses how guests are loaded. Unless told otherwise: the [default](crate::DEFAULT) backend, the host that a guest
    /// needs, the limits of [`LoadOptions::default`], and nothing kept.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder {
            backend: Chosen::Name(crate::DEFAULT.to_owned()),
            host: None,
            options: LoadOptions::default(),
            cache: None,
            linker: None,
        }
    }

    /// What the backend says of itself.
    pub fn info(&self) -> &BackendInfo {
        self.backend.info()
    }

    /// Makes a guest ready to be compiled: everything is checked that can be before.
    ///
    /// # Errors
    /// - [`Kind::Guest`]: neither a core module nor a component, truncated or invalid;
    /// - [`Kind::Unsupported`]: it needs what wharf, the host or the backend does not have, which is named;
    /// - [`Kind::Limit`]: it is larger than the limits allow;
    /// - [`Kind::Config`]: the runtime's host for components is not one for this guest.
    pub fn prepare(&self, wasm: &[u8]) -> Result<PreparedProgram> {
        let kind = match self.choose(wasm)? {
            ComponentHost::Core if component::is_component(wasm) => match self.flat(wasm) {
                Ok(prepared) => Ready::Core(prepared),
                Err(error) if self.leaves_to_wasmtime(wasm, &error) => {
                    tracing::info!("the component runs on wasmtime's own component host: {error}");
                    Ready::Wasmtime(wasm.to_vec())
                }
                Err(error) => return Err(error),
            },
            ComponentHost::Core => Ready::Core(Prepared::of_module(&*self.backend, wasm, &self.options)?),
            ComponentHost::Wasmtime => Ready::Wasmtime(wasm.to_vec()),
        };
        Ok(PreparedProgram { runtime: self.clone(), kind })
    }

    /// The component as a module that wharf's own host has all imports of.
    fn flat(&self, wasm: &[u8]) -> Result<Prepared> {
        let prepared = component::prepare(&*self.backend, wasm, &self.options)?;
        if component::wasi03(wasm).is_some() {
            Inspection::with_linker(&prepared, &self.options.linker).check()?;
        }
        Ok(prepared)
    }

    /// Whether a component of WASI 0.3 that needs what wharf's own host does not have is for the one that has it.
    fn leaves_to_wasmtime(&self, wasm: &[u8], error: &Error) -> bool {
        self.host.is_none()
            && cfg!(feature = "wasmtime-component")
            && self.backend.info().name == WITH_HOST
            && error.kind() == Kind::Unsupported
            && component::wasi03(wasm).is_some()
    }

    /// Loads a guest, which may then be started any number of times.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare) and [`PreparedProgram::compile`].
    pub fn load(&self, wasm: &[u8]) -> Result<Program> {
        self.prepare(wasm)?.compile()
    }

    /// Which host the guest runs on: the one asked for, or else the one that can.
    fn choose(&self, wasm: &[u8]) -> Result<ComponentHost> {
        let config = |message: String| Err(Error::new(Kind::Config, message));
        // What is neither is told so when it is read.
        if !component::is_component(wasm) {
            return match self.host {
                Some(ComponentHost::Wasmtime) if wasm.starts_with(CORE_MODULE) => config(
                    "this is a core module, and the component host `wasmtime-component` is for components only; leave \
                     the host out"
                        .to_owned(),
                ),
                _ => Ok(ComponentHost::Core),
            };
        }
        let backend = self.backend.info().name;
        match self.host {
            None | Some(ComponentHost::Core) => Ok(ComponentHost::Core),
            Some(ComponentHost::Wasmtime) if backend == WITH_HOST => Ok(ComponentHost::Wasmtime),
            Some(ComponentHost::Wasmtime) => config(format!(
                "the component host `wasmtime-component` is for the backend {WITH_HOST}, and the backend is {backend}"
            )),
        }
    }
}

/// How a core module begins.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// The backend whose engine has a component host.
const WITH_HOST: &str = "wasmtime";

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Runtime");
        out.field("backend", self.backend.info()).field("host", &self.host).field("options", &self.options).finish()
    }
}

/// Makes a [`Runtime`].
#[must_use = "`build` makes the runtime"]
pub struct RuntimeBuilder {
    backend: Chosen,
    host: Option<ComponentHost>,
    options: LoadOptions,
    cache: Option<(PathBuf, CacheOptions)>,
    linker: Option<Linker>,
}

enum Chosen {
    Name(String),
    Backend(Arc<dyn Backend>),
}

impl RuntimeBuilder {
    /// Runs guests on the backend of this name, as [`backend`](crate::backend) makes it.
    pub fn backend(mut self, name: impl Into<String>) -> Self {
        self.backend = Chosen::Name(name.into());
        self
    }

    /// Runs guests on this backend: one with settings of its own, or of somebody else's.
    pub fn with_backend(mut self, backend: impl Into<Arc<dyn Backend>>) -> Self {
        self.backend = Chosen::Backend(backend.into());
        self
    }

    /// Runs components on this host, and refuses those that it does not run.
    pub fn component_host(mut self, host: ComponentHost) -> Self {
        self.host = Some(host);
        self
    }

    /// The most bytes that an instance may take, all together: see [`LoadOptions::max_memory`].
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.options.max_memory = bytes;
        self
    }

    /// Has components keep their adapter for preview 1: see [`LoadOptions::keep_adapter`].
    pub fn keep_adapter(mut self) -> Self {
        self.options.keep_adapter = true;
        self
    }

    /// All limits on what is loaded, and a cache; what was set before is lost.
    pub fn options(mut self, options: LoadOptions) -> Self {
        self.options = options;
        self
    }

    /// Keeps flattened components and compiled code in this directory, which is made if it is missing: see
    /// [`CodeCache::open`].
    pub fn cache_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache = Some((directory.into(), CacheOptions::default()));
        self
    }

    /// Offers guests the embedder's own functions and resources, beside wharf's. A component that imports them runs on
    /// wharf's own host.
    pub fn linker(mut self, linker: Linker) -> Self {
        self.linker = Some(linker);
        self
    }

    /// Makes the runtime.
    ///
    /// # Errors
    /// Those of [`backend`](crate::backend), which lists the backends there are, and of [`CodeCache::open`].
    pub fn build(self) -> Result<Runtime> {
        let RuntimeBuilder { backend, host, mut options, cache, linker } = self;
        let backend = match backend {
            Chosen::Name(name) => crate::backend(&name)?.into(),
            Chosen::Backend(backend) => backend,
        };
        if let Some((directory, kept)) = cache {
            options.cache = Some(Arc::new(CodeCache::with_options(&directory, kept)?));
        }
        if let Some(linker) = linker {
            options.linker = linker;
        }
        Ok(Runtime { backend, host, options })
    }
}

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backend = match &self.backend {
            Chosen::Name(name) => name,
            Chosen::Backend(backend) => backend.info().name,
        };
        let mut out = f.debug_struct("RuntimeBuilder");
        out.field("backend", &backend).field("host", &self.host).field("options", &self.options).finish_non_exhaustive()
    }
}

/// A guest that was checked, and is yet to be compiled.
pub struct PreparedProgram {
    runtime: Runtime,
    kind: Ready,
}

enum Ready {
    /// For wharf's own host.
    Core(Prepared),
    /// A component, which its host checks when it compiles it.
    Wasmtime(Vec<u8>),
}

impl PreparedProgram {
    /// Whether [`Program::run`] would find what it runs: to be asked before a long compilation. A component on an engine's
    /// own host is looked at when it is compiled.
    ///
    /// # Errors
    /// What `Program::run` reports.
    pub fn check_run(&self, invoke: Option<&str>) -> Result<()> {
        match &self.kind {
            Ready::Core(prepared) => prepared.check_run(invoke),
            Ready::Wasmtime(_) => Ok(()),
        }
    }

    /// Whether the program could answer requests: to be asked before a long compilation. A component on an engine's own
    /// host is looked at when it is compiled.
    ///
    /// # Errors
    /// [`no_handler`](wharf_core::no_handler).
    pub fn check_serve(&self) -> Result<()> {
        match &self.kind {
            Ready::Core(prepared) => prepared.check_serve(),
            Ready::Wasmtime(_) => Ok(()),
        }
    }

    /// Compiles it, or takes its code from the cache.
    ///
    /// # Errors
    /// [`Kind::Engine`] if the engine refuses it, [`Kind::Guest`] or [`Kind::Unsupported`] if its host does.
    pub fn compile(self) -> Result<Program> {
        let PreparedProgram { runtime: Runtime { backend, options, .. }, kind } = self;
        let guest: Arc<dyn HostedGuest> = match kind {
            Ready::Core(prepared) => Arc::new(Guest::from_prepared(&*backend, &prepared, &options)?),
            Ready::Wasmtime(component) => wasmtime::load(&component, &options)?,
        };
        Ok(Program::new(guest))
    }

    /// Compiles it and keeps the code, unless it is kept already, for when it is loaded.
    ///
    /// # Errors
    /// As [`compile`](Self::compile); [`Kind::Config`] if the runtime has no cache, or it cannot be written;
    /// [`Kind::Unsupported`] if the backend has no code to keep.
    pub fn keep(self) -> Result<()> {
        let Runtime { backend, options, .. } = self.runtime;
        let Some(cache) = options.cache else {
            return Err(Error::new(Kind::Config, "there is no cache to keep compiled code in; give the runtime one"));
        };
        match self.kind {
            Ready::Core(prepared) => cache.fill(&*backend, &prepared),
            Ready::Wasmtime(component) => wasmtime::fill(&component, &cache),
        }
    }
}

impl fmt::Debug for PreparedProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedProgram").field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

#[cfg(feature = "wasmtime-component")]
mod wasmtime {
    use super::*;
    use crate::wasmtime_component::WasmtimeComponents;

    pub(super) fn load(component: &[u8], options: &LoadOptions) -> Result<Arc<dyn HostedGuest>> {
        Ok(Arc::new(WasmtimeComponents::new()?.load(component, options)?))
    }

    pub(super) fn fill(component: &[u8], cache: &CodeCache) -> Result<()> {
        WasmtimeComponents::new()?.fill(component, cache)
    }
}

#[cfg(not(feature = "wasmtime-component"))]
mod wasmtime {
    use super::*;

    fn missing() -> Error {
        let message = "wasmtime's own component host is not compiled in; build with `--features wasmtime-component`";
        Error::new(Kind::Unsupported, message)
    }

    pub(super) fn load(_: &[u8], _: &LoadOptions) -> Result<Arc<dyn HostedGuest>> {
        Err(missing())
    }

    pub(super) fn fill(_: &[u8], _: &CodeCache) -> Result<()> {
        Err(missing())
    }
}
