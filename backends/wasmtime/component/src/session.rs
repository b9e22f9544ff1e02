//! One instance of a component.

use std::time::Instant;

use http::Request;
use http_body_util::BodyExt;
use tokio::task::AbortHandle;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Accessor, Instance, Type, Val};
use wasmtime::{Engine, Store};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p3::{self, bindings::ServiceIndices};
use wharf_core::abi::wasi02::http::{Reply, refusal};
use wharf_core::http::Body;
use wharf_core::{Budget, Error, GuestConfig, HostedSession, Kind, Run, Stop, io, off_worker};

use crate::codes;
use crate::ends;
use crate::guest::{Command, ComponentGuest, Handler};
use crate::message::{self, Confirmed};
use crate::state::{self, Room, State};
use crate::stdio::{self, Writes};

/// One instance of a [`ComponentGuest`].
pub struct ComponentSession {
    /// Gone once the guest has ended.
    live: Option<Live>,
    handler: Option<Handler>,
    command: Option<Command>,
    run: Run,
    budget: Budget,
    outputs: [Writes; 2],
    _watchdog: Watchdog,
}

struct Live {
    store: Store<State>,
    instance: Instance,
}

impl ComponentSession {
    pub(crate) fn new(guest: &ComponentGuest, config: GuestConfig) -> Result<Self, Stop> {
        let run = Run::new(config.cancel);
        // A limit beyond what the clock can count to is no limit.
        run.set_deadline(config.timeout.and_then(|timeout| Instant::now().checked_add(timeout)));
        let outbound = config.outbound.map(|outbound| outbound.for_guest());
        let (wasi, outputs) = stdio::grant(&config.wasi)?;
        let engine = guest.pre.engine();
        let room = Room::new(&guest.options);
        let budget = room.budget().clone();
        let state = State::new(wasi, outputs[1].clone(), outbound, room, guest.streams);
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.room);
        store.set_hostcall_fuel(state::arguments(budget.limit()));
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let watchdog = Watchdog::start(&run, engine.clone());
        let _io = io().enter();
        let instance = run.wait(guest.pre.instantiate_async(&mut store))?.map_err(|error| ends::stop(&error))?;
        Ok(ComponentSession {
            live: Some(Live { store, instance }),
            handler: guest.handler.clone(),
            command: guest.command.clone(),
            run,
            budget,
            outputs,
            _watchdog: watchdog,
        })
    }

    /// Runs it as a command; gives whether it succeeded.
    ///
    /// # Errors
    /// [`Stop::Exit`] if it exits, [`Kind::Guest`] if it is not a command, else what ended it.
    pub fn run(&mut self) -> Result<bool, Stop> {
        let command = self.command.clone().ok_or_else(|| {
            let message = "the component exports no `wasi:cli/run`, so it cannot be run; `wharf serve` is for components \
                           that answer requests";
            Error::new(Kind::Guest, message)
        })?;
        let succeeded = self.enter(async |Live { store, instance }| match command {
            Command::Two(indices) => {
                let command = indices.load(&mut *store, instance)?;
                command.wasi_cli_run().call_run(&mut *store).await
            }
            Command::Three(indices) => {
                let command = indices.load(&mut *store, instance)?;
                let run = async |accessor: &Accessor<State>| {
                    let succeeded = command.wasi_cli_run().call_run(accessor).await?;
                    Self::handed_on(accessor).await;
                    Ok(succeeded)
                };
                store.run_concurrent(run).await?
            }
        })?;
        Ok(succeeded.is_ok())
    }

    /// Drives `work`, and the guest with it, on this thread. After an error the instance is gone, and what it had open
    /// with it.
    fn enter<T>(&mut self, work: impl AsyncFnOnce(&mut Live) -> wasmtime::Result<T>) -> Result<T, Stop> {
        if let Some(stop) = self.run.over() {
            return Err(stop);
        }
        let Some(live) = &mut self.live else {
            return Err(Error::new(Kind::Internal, "the instance has ended and cannot be called again").into());
        };
        let (run, outputs) = (&self.run, &self.outputs);
        // Wasmtime's host has no place for a guest that computes to stand aside.
        let waited = off_worker(|| {
            let _io = io().enter();
            run.drive(work(live), || outputs.iter().any(Writes::is_busy))
        });
        let result = waited.and_then(|ended| ended.map_err(|error| ends::stop(&error)));
        if result.is_err() {
            self.end();
        }
        for output in &self.outputs {
            // The guest is told of failures when it writes again; of this one there is nobody left to tell.
            if let Err(error) = self.run.wait(output.done())? {
                tracing::debug!("the guest's output failed: {error}");
            }
        }
        result
    }

    fn end(&mut self) {
        if let Some(mut live) = self.live.take() {
            // Said before anything that a body is made of goes.
            live.store.data_mut().break_off();
        }
    }

    async fn proxy(
        live: &mut Live,
        indices: &ProxyIndices,
        run: Run,
        mut request: Request<Body>,
        reply: Reply,
    ) -> wasmtime::Result<()> {
        let Live { store, instance } = live;
        let proxy = indices.load(&mut *store, instance)?;
        let method = request.method().clone();
        let scheme = if message::scheme(&request) == http::uri::Scheme::HTTPS { Scheme::Https } else { Scheme::Http };
        if message::authority(&request).is_none() {
            // Wasmtime has no request without one; this is how a client says that there is none (RFC 9110, section 7.2).
            request.headers_mut().insert(http::header::HOST, http::HeaderValue::from_static(""));
        }
        let request = store.data_mut().http().new_incoming_request(scheme, message::incoming(request))?;
        let respond =
            move |response: Result<_, wasmtime_wasi_http::p2::bindings::http::types::ErrorCode>| match response {
                Ok(response) => message::respond(&run, &method, response, reply),
                Err(code) => message::refuse(codes::to_core(code.into()), reply),
            };
        let outparam = store.data_mut().http().new_response_outparam_from_callback(respond)?;
        proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, outparam).await?;
        store.data_mut().close_outparams();
        Ok(())
    }

    async fn service(
        live: &mut Live,
        indices: &ServiceIndices,
        run: Run,
        request: Request<Body>,
        reply: Reply,
    ) -> wasmtime::Result<()> {
        let Live { store, instance } = live;
        let method = request.method().clone();
        let service = indices.load(&mut *store, instance)?;
        let (authority, scheme) = (message::authority(&request), message::scheme(&request));
        let (mut request, received) = p3::Request::from_http(store.data_mut().http().hooks, message::incoming(request));
        // A request that names its target by its path says only in its head where it was sent, and in nothing how.
        request.authority = authority;
        request.scheme.get_or_insert(scheme);
        let serve = async |accessor: &Accessor<State>| {
            match service.handle(accessor, request).await? {
                Err(code) => message::refuse(codes::to_core(code.into()), reply),
                Ok(response) => {
                    let response = accessor.with(|store| response.into_http(store, received))?;
                    let (head, body) = response.into_parts();
                    let (body, asked) = Confirmed::new(body);
                    let response = http::Response::from_parts(head, body.boxed_unsync());
                    message::respond(&run, &method, response, reply);
                    // The guest's tasks go on while the body is read; an end that is not asked for needs no answer.
                    if let Ok(confirm) = asked.await {
                        _ = confirm.send(());
                    }
                }
            }
            std::future::poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
            Self::handed_on(accessor).await;
            Ok(())
        };
        store.run_concurrent(serve).await?
    }

    /// Waits for the request bodies that were received and handed on as they are: their end is not the guest's to
    /// write.
    async fn handed_on(accessor: &Accessor<State>) {
        let mut passing = accessor.with(|mut store| store.data_mut().passing());
        // Nothing is sent: it ends with the last of them.
        _ = passing.recv().await;
    }

    /// The function's parameters and results, if all of them are integers.
    fn integers(export: &str, ty: &ComponentFunc, params: &[u64]) -> Result<(Vec<Val>, usize), Error> {
        let of_type = |(ty, slot): (Type, &u64)| match ty {
            Type::U32 => Some(Val::U32(*slot as u32)),
            Type::U64 => Some(Val::U64(*slot)),
            _ => None,
        };
        let types: Vec<Type> = ty.params().map(|(_, ty)| ty).collect();
        if types.len() != params.len() {
            let message = format!("`{export}` takes {} parameters, {} were given", types.len(), params.len());
            return Err(Error::new(Kind::Guest, message));
        }
        let values: Option<Vec<Val>> = types.into_iter().zip(params).map(of_type).collect();
        let values = values.ok_or_else(|| {
            let message =
                format!("`{export}` has parameters that are neither u32 nor u64, which cannot be passed here");
            Error::new(Kind::Guest, message)
        })?;
        Ok((values, ty.results().len()))
    }
}

impl Drop for ComponentSession {
    fn drop(&mut self) {
        let _io = io().enter();
        self.end();
    }
}

impl HostedSession for ComponentSession {
    fn call(&mut self, export: &str, params: &[u64]) -> Result<Vec<u64>, Stop> {
        let Some(Live { store, instance }) = &mut self.live else {
            return Err(Error::new(Kind::Internal, "the instance has ended and cannot be called again").into());
        };
        let Some((ComponentItem::ComponentFunc(ty), index)) = instance.get_export(&mut *store, None, export) else {
            let message = format!("the component exports no function `{export}` outside of its interfaces");
            return Err(Error::new(Kind::Guest, message).into());
        };
        let (values, results) = Self::integers(export, &ty, params)?;
        let results = self.enter(async |Live { store, instance }| {
            let function = instance
                .get_func(&mut *store, index)
                .ok_or_else(|| wasmtime::format_err!("the export was not found again"))?;
            let mut returned = vec![Val::Bool(false); results];
            function.call_async(&mut *store, &values, &mut returned).await?;
            Ok(returned)
        })?;
        Ok(results.iter().filter_map(slot).collect())
    }

    fn handle(&mut self, request: Request<Body>, reply: Reply) -> Result<(), Stop> {
        let Some(handler) = self.handler.clone() else {
            let message = "the component exports neither `wasi:http/incoming-handler@0.2` nor `wasi:http/handler@0.3`, and \
                           cannot be handed a request";
            return Err(Error::new(Kind::Guest, message).into());
        };
        if let Some(refusal) = refusal(&request) {
            if !reply.send(Ok(refusal)) {
                tracing::debug!("dropped a request without an authority");
            }
            return Ok(());
        }
        let run = self.run.clone();
        self.enter(async |live| match handler {
            Handler::Proxy(indices) => Self::proxy(live, &indices, run, request, reply).await,
            Handler::Service(indices) => Self::service(live, &indices, run, request, reply).await,
        })
    }

    /// By the function `peek` of type `func(at: u32, len: u32) -> list<u8>`, if the component exports it.
    fn read_memory(&mut self, at: u32, len: u32) -> Option<Vec<u8>> {
        let Live { store, instance } = self.live.as_mut()?;
        let peek = instance.get_typed_func::<(u32, u32), (Vec<u8>,)>(store, "peek").ok()?;
        let (bytes,) = self.enter(async |live| peek.call_async(&mut live.store, (at, len)).await).ok()?;
        Some(bytes)
    }

    /// By the function `poke` of type `func(at: u32, bytes: list<u8>)`, if the component exports it.
    fn write_memory(&mut self, at: u32, bytes: &[u8]) -> Option<()> {
        let Live { store, instance } = self.live.as_mut()?;
        let poke = instance.get_typed_func::<(u32, &[u8]), ()>(store, "poke").ok()?;
        self.enter(async |live| poke.call_async(&mut live.store, (at, bytes)).await).ok()
    }

    fn open_handles(&mut self) -> usize {
        self.live.as_mut().map_or(0, |live| live.store.data_mut().handles())
    }

    /// Its memories and tables only: what Wasmtime's host keeps for it is bounded, and not counted.
    fn budget(&self) -> Budget {
        self.budget.clone()
    }
}

/// An integer or a truth as a slot.
fn slot(value: &Val) -> Option<u64> {
    Some(match value {
        Val::Bool(value) => u64::from(*value),
        Val::U8(value) => u64::from(*value),
        Val::U16(value) => u64::from(*value),
        Val::U32(value) => u64::from(*value),
        Val::U64(value) => *value,
        _ => return None,
    })
}

/// Has a guest that is over yield, so that the thread which drives it sees that it is. Stops watching when dropped.
struct Watchdog(AbortHandle);

impl Watchdog {
    fn start(run: &Run, engine: Engine) -> Self {
        let (deadline, cancel) = (run.deadline(), run.cancel_token());
        let watch = async move {
            match deadline {
                Some(deadline) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(deadline.into()) => {}
                        () = cancel.cancelled() => {}
                    }
                }
                None => cancel.cancelled().await,
            }
            // Every guest of the engine yields once, and those that are not over go on.
            engine.increment_epoch();
        };
        Watchdog(io().spawn(watch).abort_handle())
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.abort();
    }
}
