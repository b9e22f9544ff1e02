//! Loads a guest on a backend and runs it: the whole journey for an embedder who lets wharf own the instance.

pub(crate) mod door;
mod exports;
mod task;
mod together;

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use http::Extensions;
use tokio_util::sync::CancellationToken;

use wharf_grants::WasiConfig;
use wharf_plan::{ASYNC_LIFT, START_EXPORT};

use self::exports::{check_memories, check_reallocs, function, to_run};
use self::task::{Handler, Lifted};
pub(crate) use self::together::one_at_a_time;
use crate::abi::composed::{Composed, Declared};
use crate::abi::concurrent::TaskKind;
use crate::abi::preview1::Wasi;
use crate::abi::wasi02::Host;
use crate::abi::wasi02::canon::Resources;
use crate::abi::wasi02::http::Reply;
use crate::backend::{Backend, Capability, Instance, Module};
use crate::budget::{Budget, TotalMemory};
use crate::error::{Error, Kind, Result};
use crate::growth::{Growth, Space};
use crate::http::{Body, Outbound};
use crate::imports::Imports;
use crate::inspect::{self, INITIALIZE_EXPORT, Inspection};
use crate::limits::LoadOptions;
use crate::link::{self, Binding, Linked, read};
use crate::prepare::Prepared;
use crate::run::Run;
use crate::stop::Stop;
use crate::types::{Export, Import, Trap, TrapCode};
use crate::watch::{Watchdog, prepare_threads};

/// What one run of a guest is granted. The default grants nothing and sets no time limit. A clone grants the same, and is
/// cancelled with it.
#[derive(Default, Clone)]
pub struct GuestConfig {
    /// Arguments, environment, directories and standard streams.
    pub wasi: WasiConfig,
    /// Where its HTTP requests go; `None` denies every origin.
    pub outbound: Option<Outbound>,
    /// How long it may run, from its start, time in host functions included; `None` for no limit.
    pub timeout: Option<Duration>,
    /// Ends it early, from any thread.
    pub cancel: CancellationToken,
    /// What the embedder's own functions find of this run, by its type: see [`HostCall::data`](crate::linker::HostCall::data).
    pub data: Extensions,
}

/// A guest, compiled and linked, to be started any number of times.
pub struct Guest {
    module: Arc<dyn Module>,
    imports: Arc<[Import]>,
    bindings: Arc<[Binding]>,
    exports: Arc<[Export]>,
    /// The export that requests are handed to, if it answers any.
    handler: Option<Handler>,
    declared: Option<Arc<Declared>>,
    has_start: bool,
    /// Whether it is a reactor of WASI 0.2 with an initialiser.
    initializes: bool,
    composed: Option<Arc<Composed>>,
    /// The resources of the embedder.
    offered: Arc<Resources>,
    /// Its memories and tables, and what an instance may take.
    spaces: Arc<[Space]>,
    max_memory: u64,
    total_memory: Option<TotalMemory>,
    /// The backend's name, if it cannot interrupt a guest.
    uninterruptible: Option<&'static str>,
}

impl Guest {
    /// Checks, links and compiles `wasm` for `backend`.
    ///
    /// # Errors
    /// What [`Prepared::new`] and [`Inspection::check`] report, and [`Kind::Engine`] if the engine refuses it.
    pub fn load(backend: &dyn Backend, wasm: &[u8], options: &LoadOptions) -> Result<Self> {
        Self::from_prepared(backend, &Prepared::of_module(backend, wasm, options)?, options)
    }

    /// The same for a module that is prepared already. Its code is kept if it was prepared
    /// [with a cache](Prepared::with_cache).
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_prepared(backend: &dyn Backend, prepared: &Prepared, options: &LoadOptions) -> Result<Self> {
        prepare_threads()?;
        Inspection::with_linker(prepared, &options.linker).check()?;
        let info = backend.info();
        if prepared.memories() > 1 && !info.can(Capability::MultiMemory) {
            let message = format!(
                "the guest has {} memories, as composed components do, but the backend {} supports only one; run it on \
                 a backend that `wharf backends` lists with multi-memory",
                prepared.memories(),
                info.name
            );
            return Err(Error::new(Kind::Unsupported, message));
        }
        let composed = prepared.composed();
        let bind = |(index, import): (usize, &Import)| {
            let binding = link::bind(import, index, &options.linker, prepared.declared().map(|declared| &**declared));
            let binding = binding.map_err(|status| Error::new(Kind::Internal, status.to_string()))?;
            Ok(binding.called_by(composed.and_then(|composed| composed.caller(index))))
        };
        let bindings = prepared.own_imports().iter().enumerate().map(bind).collect::<Result<Arc<[Binding]>>>()?;
        check_memories(&bindings, prepared.exports())?;
        check_reallocs(&bindings, prepared.exports())?;
        let module = match &options.cache {
            Some(cache) => cache.compile(backend, prepared)?,
            None => backend.compile(prepared)?,
        };
        Ok(Guest {
            module,
            imports: prepared.imports().clone(),
            bindings,
            exports: prepared.exports().clone(),
            handler: Handler::of(prepared.exports())?,
            declared: prepared.declared().cloned(),
            has_start: prepared.has_start(),
            initializes: inspect::initializes(prepared.exports()),
            composed: composed.cloned(),
            offered: options.linker.resources().clone(),
            spaces: prepared.spaces().clone(),
            max_memory: options.max_memory,
            total_memory: options.total_memory.clone(),
            uninterruptible: (!info.can(Capability::Interrupt)).then_some(info.name),
        })
    }

    /// What the guest exports.
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// Whether it answers requests: it exports `wasi:http/incoming-handler` of WASI 0.2, or `wasi:http/handler` of WASI 0.3.
    /// [`Session::handle`] hands it one.
    pub fn is_handler(&self) -> bool {
        self.handler.is_some()
    }

    /// Whether its instances can work on several requests at a time, by [`Session::handle_together`]: it is a component of one
    /// piece that exports `wasi:http/handler` of WASI 0.3.
    pub fn answers_together(&self) -> bool {
        self.declared.is_some() && self.composed.is_none() && matches!(self.handler, Some(Handler::Wasi03(_)))
    }

    /// Makes an instance and runs its start function, if it has one. The time limit runs from here.
    ///
    /// # Errors
    /// The [`Stop`] that ended the start function, or why there is no instance: [`Kind::Unsupported`] for a time limit
    /// on a backend without [`Capability::Interrupt`], [`Kind::Limit`] if other instances have taken
    /// [`LoadOptions::total_memory`].
    pub fn start(&self, config: GuestConfig) -> Result<Session, Stop> {
        check_timeout(self.uninterruptible, config.timeout)?;
        let run = Run::new(config.cancel);
        run.set_deadline(deadline(config.timeout));
        // Limits count for each guest, whatever the embedder's other guests do with the same configuration.
        let outbound = config.outbound.map(|outbound| outbound.for_guest());
        let budget = Budget::within(self.max_memory, self.total_memory.clone());
        let growth = Growth::new(&self.spaces, &budget)?;
        let linked = Arc::new(Linked {
            bindings: self.bindings.clone(),
            host: Host::new(
                &config.wasi,
                outbound.clone(),
                run.clone(),
                self.composed.clone(),
                self.offered.clone(),
                budget.clone(),
            ),
            http: RwLock::new(link::http(outbound.clone(), &run, &budget)),
            wasi: RwLock::new(Wasi::new(config.wasi.clone(), run.clone()).bounded(&budget)),
            data: RwLock::new(config.data),
            run: run.clone(),
            budget,
        });
        let imports = Arc::new(Imports::bounded(self.imports.clone(), linked.clone(), growth));
        let instance = self.module.instantiate(imports.clone())?;
        let watch = Some(Watchdog::start(&run, instance.interrupt())?);
        let mut session = Session {
            instance,
            imports,
            linked,
            exports: self.exports.clone(),
            handler: self.handler.clone(),
            together: self.answers_together(),
            declared: self.declared.clone(),
            uninterruptible: self.uninterruptible,
            granted: config.wasi,
            outbound,
            run,
            watch,
            spent: false,
        };
        if self.has_start {
            session.enter(START_EXPORT, &mut [])?;
        }
        // What wraps a core module as a component calls this before anything else; here nothing wraps it.
        if self.initializes {
            session.enter(INITIALIZE_EXPORT, &mut [])?;
        }
        Ok(session)
    }

    /// Runs the guest as a command and returns its exit code: `_start`, or else `wasi:cli/run`, or else the function
    /// with the empty name; or the function `invoke`. It must take no parameters.
    ///
    /// # Errors
    /// [`Kind::Guest`] if there is no such function, else the error that ended the guest: [`Kind::Trap`],
    /// [`Kind::Timeout`], [`Kind::Cancelled`] and so on.
    pub fn run(&self, config: GuestConfig, invoke: Option<&str>) -> Result<i32> {
        let export = to_run(&self.exports, invoke)?;
        let lifted = Lifted::of(&self.exports, export)?;
        let ended = self.start(config).and_then(|mut session| {
            let results = session.call(export, &[])?;
            session.returned(&lifted, &results)?;
            Ok(results)
        });
        match ended {
            // `wasi:cli/run` answers a result: its error is a failure.
            Ok(results) if invoke.is_none() && results.first().is_some_and(|failed| *failed as u32 != 0) => Ok(1),
            Ok(_) => Ok(0),
            Err(Stop::Exit(code)) => Ok(code),
            Err(Stop::Error(error)) => Err(error),
        }
    }
}

/// One instance of a guest.
pub struct Session {
    instance: Box<dyn Instance>,
    imports: Arc<Imports>,
    linked: Arc<Linked>,
    exports: Arc<[Export]>,
    handler: Option<Handler>,
    /// Whether it can work on several requests at a time.
    together: bool,
    declared: Option<Arc<Declared>>,
    uninterruptible: Option<&'static str>,
    /// What it was started with, any of which it may have remembered.
    granted: WasiConfig,
    /// What it sends requests with now, if it may.
    outbound: Option<Outbound>,
    run: Run,
    /// While its time runs.
    watch: Option<Watchdog>,
    /// Whether it trapped, exited or was interrupted, and is not to be used again.
    spent: bool,
}

impl Session {
    /// Calls an exported function with raw slots, and returns its results. What they point to is not freed: the caller
    /// has to call the post-return function, the export with `cabi_post_` before the name.
    ///
    /// # Errors
    /// [`Stop::Exit`] if the guest exits. A trap is an error of [`Kind::Trap`] whose source is a [`Trap`]. After
    /// either, and after a time limit, the instance cannot be called again.
    pub fn call(&mut self, export: &str, params: &[u64]) -> Result<Vec<u64>, Stop> {
        let export = inspect::lifted(&self.exports, export).map_or_else(|| export.to_owned(), str::to_owned);
        let export = export.as_str();
        let ty = function(&self.exports, export)?;
        if ty.params.len() != params.len() {
            let message = format!("`{export}` takes {} parameters, {} were given", ty.params.len(), params.len());
            return Err(Error::new(Kind::Config, message).into());
        }
        let results = ty.results.len();
        let mut slots = params.to_vec();
        slots.resize(params.len().max(results), 0);
        if export.starts_with(ASYNC_LIFT) {
            return self.run_task(export, &mut slots, TaskKind::Slots);
        }
        let waits = self.declared.as_ref().is_some_and(|declared| declared.may_wait(export));
        self.linked.host.set_may_block(&mut *self.instance, waits);
        self.enter(export, &mut slots)?;
        slots.truncate(results);
        Ok(slots)
    }

    /// Hands a request to the guest's export `wasi:http/incoming-handler`, or `wasi:http/handler`, and returns when that does.
    ///
    /// The response goes to `reply` as soon as the guest sets it, and its body follows while the guest writes it: take
    /// it on another thread. A request without an authority, in its target or in Host, is answered with 400. If the
    /// guest sets no response `reply` is dropped. A body that the guest leaves unfinished, for whatever reason, ends in
    /// an error, so that the message on the wire can be broken off.
    ///
    /// # Errors
    /// As [`call`](Session::call); [`Kind::Guest`] if there is no such export.
    pub fn handle(&mut self, request: http::Request<Body>, reply: Reply) -> Result<(), Stop> {
        let Some(handler) = self.handler.clone() else {
            return Err(crate::no_handler().into());
        };
        let handler = match handler {
            Handler::Wasi02(handler) => handler,
            Handler::Wasi03(handler) => return self.handle03(&handler, request, reply),
        };
        let Some(mut slots) = self.linked.host.begin(request, reply)? else { return Ok(()) };
        let ended = self.enter(&handler.name, &mut slots).and_then(|()| self.returned(&handler, &[]));
        self.linked.host.end();
        ended
    }

    /// Stops the guest's time limit and closes what belongs to its open HTTP messages, as after it has answered a
    /// request. Its memory, files and other handles stay. Returns whether the instance can be used again: it cannot if
    /// it trapped, exited or was interrupted, nor if it left a request unanswered, abandoned a message, or left handles
    /// of a request open, which could be confused with those of the next one.
    pub fn recycle(&mut self) -> bool {
        self.spent |= self.watch.take().is_some_and(|watch| !watch.end());
        self.spent |= self.linked.host.is_untidy();
        self.linked.recycle(&self.run);
        !self.spent
    }

    /// Whether the instance may be used again with `config`: it is in a state that allows it, and was started with the
    /// same arguments, environment, directories and use of sockets, any of which it may have remembered.
    pub fn may_reset_for(&self, config: &GuestConfig) -> bool {
        !self.spent && self.granted.grants_the_same(&config.wasi)
    }

    /// Lets the guest continue with another configuration: its time limit starts now, its limits count from zero, and
    /// its standard streams and requests go where `config` says. Files it opened by preview 1 are closed.
    ///
    /// # Errors
    /// [`Kind::Config`] if it [may not](Session::may_reset_for); [`Kind::Unsupported`] as [`Guest::start`].
    pub fn reset_for(&mut self, config: GuestConfig) -> Result<()> {
        check_timeout(self.uninterruptible, config.timeout)?;
        if !self.may_reset_for(&config) {
            let message = "the instance has ended, or was started with other grants; start a new one";
            return Err(Error::new(Kind::Config, message));
        }
        self.run.reset(deadline(config.timeout), config.cancel);
        let outbound = config.outbound.map(|outbound| outbound.for_guest());
        self.linked.reset_for(config.wasi, outbound.clone(), config.data, &self.run);
        self.outbound = outbound;
        self.watch = Some(Watchdog::start(&self.run, self.instance.interrupt())?);
        Ok(())
    }

    /// How many handles of WASI 0.2 the guest has open.
    pub fn open_handles(&self) -> usize {
        self.linked.host.open_handles()
    }

    /// The memory it uses: its memories, its tables, and what the host keeps for it.
    pub fn budget(&self) -> &Budget {
        &self.linked.budget
    }

    /// Whether it has sent a request of its own since it was started, or last [reset](Self::reset_for).
    pub fn has_sent_requests(&self) -> bool {
        self.outbound.as_ref().is_some_and(Outbound::has_sent)
    }

    /// The guest's memory, if it exports one.
    pub fn memory(&mut self) -> Option<&mut [u8]> {
        self.instance.memory()
    }

    /// How many HTTP responses the guest holds open.
    pub fn open_responses(&self) -> usize {
        read(&self.linked.http).open_responses()
    }

    /// Calls the post-return function of an export that has returned these results, which were read.
    fn returned(&mut self, lifted: &Lifted, results: &[u64]) -> Result<(), Stop> {
        let Some(post_return) = &lifted.post_return else { return Ok(()) };
        self.linked.host.returning(true, &lifted.name, &mut *self.instance);
        let ended = self.enter(post_return, &mut results.to_vec());
        self.linked.host.returning(false, &lifted.name, &mut *self.instance);
        ended
    }

    fn enter(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Stop> {
        if let Some(stop) = self.run.over() {
            return Err(stop);
        }
        self.check_unspent()?;
        let Err(trap) = self.instance.call(export, slots) else { return Ok(()) };
        // It is not called again, and whoever waits for it has to know now.
        self.spent = true;
        self.linked.host.close();
        Err(match self.imports.take_stop() {
            Some(stop) => stop,
            None => self.stop_for(trap),
        })
    }

    /// Refuses to have an instance called that is not to be used again.
    fn check_unspent(&self) -> Result<()> {
        if self.spent {
            let message = "the instance has trapped or ended, and is not to be called again; start a new one";
            return Err(Error::new(Kind::Config, message));
        }
        Ok(())
    }

    /// What ended a guest that no host function ended.
    fn stop_for(&self, trap: Trap) -> Stop {
        match trap.code {
            TrapCode::Interrupted => self.run.over().unwrap_or_else(|| {
                Error::new(Kind::Internal, "the guest was interrupted without a reason").with_source(trap).into()
            }),
            TrapCode::Host => Error::new(Kind::Internal, "a host function ended the guest without a reason").into(),
            _ => Error::new(Kind::Trap, "the guest trapped").with_source(trap).into(),
        }
    }
}

/// Refuses a time limit that nothing would enforce.
fn check_timeout(uninterruptible: Option<&str>, timeout: Option<Duration>) -> Result<()> {
    match (uninterruptible, timeout) {
        (Some(backend), Some(_)) => {
            let message =
                format!("the backend {backend} cannot interrupt a guest; run this guest without a time limit");
            Err(Error::new(Kind::Unsupported, message))
        }
        _ => Ok(()),
    }
}

/// When the time is over. A limit beyond what the clock can count to is no limit.
fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}
