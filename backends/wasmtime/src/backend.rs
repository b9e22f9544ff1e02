//! The engine's settings, and what it compiles.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use wasmtime::{Collector, Config, Enabled, Engine, InstancePre, Module as Code, PoolingAllocationConfig};
use wharf_core::image::{self, Imaged};
use wharf_core::{Backend, BackendInfo, Capability, Error, Imports, Instance, Module, Prepared, Result, TrustedCode};

use crate::instance::{self, Data};
use crate::interrupt::Clock;

/// How much stack a guest may use, in bytes: half of what a Rust thread has, so that host functions have the rest.
const GUEST_STACK: usize = 1 << 20;

/// How many instances the pool holds; what is more is made from scratch.
const POOL: u32 = 1000;

/// The most elements of a pooled table: as many as the engine lets a table begin with. Only address space is reserved.
const TABLE_ELEMENTS: usize = 10_000_000;

/// How much of a pooled instance's memory, and of its tables, stays in place to be reset for the next, in bytes: more
/// is given back to the system, and asked for anew. The next one is not kept if it has more than it needs from the start.
const KEPT_MEMORY: usize = image::MAX_IDLE / 2;
const KEPT_TABLE: usize = 64 << 10;

/// The Wasmtime engine with its Cranelift compiler.
pub struct Wasmtime {
    /// The engine with a pool of instances, if the system has the address space for it; then the one without.
    clocks: Vec<Arc<Clock>>,
    info: BackendInfo,
}

impl Wasmtime {
    /// Makes an engine that compiles for this machine.
    ///
    /// # Errors
    /// [`Kind::Engine`](wharf_core::Kind::Engine) if Wasmtime does not support this machine.
    pub fn new() -> Result<Self> {
        let mut config = Config::new();
        // A panic of the host ends in `Imports`; nothing else unwinds.
        config.native_unwind_info(false);
        config.epoch_interruption(true).max_wasm_stack(GUEST_STACK).collector(Collector::Null);
        let engine =
            Engine::new(&config).map_err(|error| Error::engine("wasmtime does not support this machine", error))?;
        let mut pool = PoolingAllocationConfig::new();
        // Nothing runs on a stack of its own; a guard page for each would be set up at once.
        pool.total_core_instances(POOL).total_memories(POOL).total_tables(POOL).total_stacks(0);
        pool.table_elements(TABLE_ELEMENTS).max_unused_warm_slots(POOL);
        // Where the system can tell which pages an instance wrote, only those are reset.
        pool.linear_memory_keep_resident(KEPT_MEMORY).table_keep_resident(KEPT_TABLE).pagemap_scan(Enabled::Auto);
        let pooled = Engine::new(config.allocation_strategy(pool)).ok();
        let mut code_key = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut code_key);
        let info = BackendInfo {
            name: "wasmtime",
            engine_version: wasmtime_environ::VERSION.to_owned(),
            code_key: format!("{:016x}", code_key.finish()),
            capabilities: vec![Capability::Interrupt, Capability::CompiledCode, Capability::MultiMemory],
        };
        let engines = pooled.into_iter().chain([engine]);
        Ok(Wasmtime { clocks: engines.map(|engine| Arc::new(Clock::new(engine))).collect(), info })
    }
}

impl Backend for Wasmtime {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn compile(&self, prepared: &Prepared) -> Result<Arc<dyn Module>> {
        // Both engines take the same code.
        let code = self.clocks[0].engine().precompile_module(&image::expose(prepared)?);
        let code = code.map_err(|error| Error::engine("wasmtime cannot compile the module", error))?;
        // SAFETY: this is what the engine has just compiled.
        self.load(prepared, unsafe { TrustedCode::new(code) })
    }

    fn load(&self, prepared: &Prepared, code: TrustedCode<'_>) -> Result<Arc<dyn Module>> {
        let link = |clock: &Arc<Clock>| {
            // SAFETY: that is what the type promises.
            let code = unsafe { Code::deserialize(clock.engine(), code.bytes()) }?;
            Ok::<_, wasmtime::Error>((Arc::clone(clock), instance::link(&code)?))
        };
        // What has more memories or tables than the pool holds for one instance goes without the pool.
        let (engines, failed): (Vec<_>, Vec<_>) = self.clocks.iter().map(link).partition(wasmtime::Result::is_ok);
        let compiled = Compiled { engines: engines.into_iter().flatten().collect() };
        match failed.into_iter().find_map(wasmtime::Result::err).filter(|_| compiled.engines.is_empty()) {
            Some(error) => Err(Error::engine("wasmtime cannot load the compiled code", error)),
            None => Ok(Arc::new(Imaged::filled(compiled, prepared)?)),
        }
    }
}

/// A compiled module, its imports linked.
pub(crate) struct Compiled {
    /// For each engine that takes it, in the order in which they are to be tried.
    pub(crate) engines: Vec<(Arc<Clock>, InstancePre<Data>)>,
}

impl Module for Compiled {
    fn serialize(&self) -> Result<Option<TrustedCode<'_>>> {
        let code = self.engines[0].1.module().serialize();
        let code = code.map_err(|error| Error::engine("wasmtime cannot serialize the compiled code", error))?;
        // SAFETY: the engine has just written it.
        Ok(Some(unsafe { TrustedCode::new(code) }))
    }

    fn instantiate(&self, imports: Arc<Imports>) -> Result<Box<dyn Instance>> {
        instance::new(self, &imports)
    }
}
