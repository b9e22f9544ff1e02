//! The engine's settings.

use wasmtime::{Collector, Config, Engine};
use wharf_core::{CodeCache, Error, Kind, LoadOptions, Result};

use crate::code;
use crate::guest::ComponentGuest;

/// How much stack a guest may use, in bytes; as with wharf's own host on Wasmtime.
const GUEST_STACK: usize = 1 << 20;
/// The stack that guest and host functions share.
const WHOLE_STACK: usize = 2 << 20;

/// Wasmtime with its component model, WASI 0.2 and 0.3.
#[derive(Clone)]
pub struct WasmtimeComponents(Engine);

impl WasmtimeComponents {
    /// Makes an engine that compiles for this machine.
    ///
    /// # Errors
    /// [`Kind::Engine`] if Wasmtime does not support this machine.
    pub fn new() -> Result<Self> {
        let mut config = Config::new();
        config
            .wasm_component_model(true)
            .wasm_component_model_async(true)
            .wasm_component_model_more_async_builtins(true)
            .epoch_interruption(true)
            .max_wasm_stack(GUEST_STACK)
            .async_stack_size(WHOLE_STACK)
            .collector(Collector::Null);
        Engine::new(&config)
            .map(WasmtimeComponents)
            .map_err(|error| Error::engine("wasmtime cannot make an engine for this machine", error))
    }

    /// Compiles a component, or takes its code from [`LoadOptions::cache`], and finds what it imports.
    ///
    /// # Errors
    /// [`Kind::Limit`] if it is larger than [`LoadOptions::max_module_bytes`], [`Kind::Guest`] if it is not a valid
    /// component, [`Kind::Unsupported`] if it imports something that this host does not have.
    pub fn load(&self, component: &[u8], options: &LoadOptions) -> Result<ComponentGuest> {
        if component.len() as u64 > options.max_module_bytes {
            let message = format!("the component is larger than the limit of {} bytes", options.max_module_bytes);
            return Err(Error::new(Kind::Limit, message));
        }
        ComponentGuest::new(code::load(&self.0, component, options.cache.as_deref())?, options)
    }

    /// Compiles a component and puts its code into the cache, unless it is there already.
    ///
    /// # Errors
    /// [`Kind::Guest`] if it is not a valid component, and what [`CodeCache::put`] reports.
    pub fn fill(&self, component: &[u8], cache: &CodeCache) -> Result<()> {
        code::fill(&self.0, component, cache)
    }
}
