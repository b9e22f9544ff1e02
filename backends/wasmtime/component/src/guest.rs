//! A component, compiled and linked.

use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime_wasi::p2::bindings::CommandIndices;
use wasmtime_wasi::p3::bindings::CommandIndices as Command3Indices;
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::p3::bindings::ServiceIndices;
use wasmtime_wasi_http::{WasiHttp, WasiHttpView};
use wharf_core::{Error, GuestConfig, HostedGuest, HostedSession, Kind, LoadOptions, Result, Stop, prepare_threads};

use crate::session::ComponentSession;
use crate::state::State;
use crate::{logging, middleware};

/// How a component answers requests.
#[derive(Clone)]
pub(crate) enum Handler {
    /// `wasi:http/incoming-handler` of WASI 0.2.
    Proxy(ProxyIndices),
    /// `wasi:http/handler` of WASI 0.3.
    Service(ServiceIndices),
}

/// How a component is run as a command.
#[derive(Clone)]
pub(crate) enum Command {
    /// `wasi:cli/run` of WASI 0.2.
    Two(CommandIndices),
    /// `wasi:cli/run` of WASI 0.3.
    Three(Command3Indices),
}

/// A component on Wasmtime's own component model, to be started any number of times.
pub struct ComponentGuest {
    pub(crate) pre: InstancePre<State>,
    pub(crate) handler: Option<Handler>,
    pub(crate) command: Option<Command>,
    pub(crate) options: LoadOptions,
    /// Whether it has bodies of WASI 0.3.
    pub(crate) streams: bool,
}

impl ComponentGuest {
    pub(crate) fn new(component: Component, options: &LoadOptions) -> Result<Self> {
        prepare_threads()?;
        let engine = component.engine().clone();
        let engine = &engine;
        refuse_offered(&component, options)?;
        let linker = linker(engine).map_err(|error| Error::engine("wasmtime cannot link its own host", error))?;
        let pre = linker.instantiate_pre(&component).map_err(|error| {
            let message =
                "the component imports something that wasmtime's component host does not have, or not with this type";
            Error::new(Kind::Unsupported, message).with_source(error)
        })?;
        let (mut handler, mut command, mut streams) = (None, None, false);
        let wrong = |error| {
            Error::new(Kind::Guest, "an export does not have the type that its name requires").with_source(error)
        };
        let ty = component.component_type();
        for (name, _) in ty.exports(engine) {
            if name.starts_with("wasi:http/incoming-handler@0.2.") {
                handler = Some(Handler::Proxy(ProxyIndices::new(&pre).map_err(wrong)?));
            } else if name.starts_with("wasi:http/handler@0.3.") {
                handler = Some(Handler::Service(ServiceIndices::new(&pre).map_err(wrong)?));
            } else if name.starts_with("wasi:cli/run@0.2.") {
                command = Some(Command::Two(CommandIndices::new(&pre).map_err(wrong)?));
            } else if name.starts_with("wasi:cli/run@0.3.") {
                command = Some(Command::Three(Command3Indices::new(&pre).map_err(wrong)?));
            }
            streams |= name.contains("@0.3.");
        }
        streams |= ty.imports(engine).any(|(name, _)| name.contains("@0.3."));
        Ok(ComponentGuest { pre, handler, command, options: options.clone(), streams })
    }

    /// Makes an instance. The time limit runs from here.
    ///
    /// # Errors
    /// The [`Stop`] that ended its start functions, or why there is no instance.
    pub fn start(&self, config: GuestConfig) -> Result<ComponentSession, Stop> {
        ComponentSession::new(self, config)
    }
}

/// Refuses a component that imports what its embedder offers: those functions are wharf's own host's, which is the same on
/// every engine.
fn refuse_offered(component: &Component, options: &LoadOptions) -> Result<()> {
    let ty = component.component_type();
    let mut names = ty.imports(component.engine()).map(|(name, _)| name);
    match names.find(|name| options.linker.offers(name)) {
        Some(name) => {
            let message = format!(
                "the component imports `{name}`, which the embedder offers on wharf's own host for components only; let \
                 it run on that one"
            );
            Err(Error::new(Kind::Unsupported, message))
        }
        None => Ok(()),
    }
}

impl HostedGuest for ComponentGuest {
    fn is_handler(&self) -> bool {
        self.handler.is_some()
    }

    fn start(&self, config: GuestConfig) -> Result<Box<dyn HostedSession>, Stop> {
        Ok(Box::new(ComponentGuest::start(self, config)?))
    }

    fn run(&self, config: GuestConfig, invoke: Option<&str>) -> Result<i32> {
        let ended = ComponentGuest::start(self, config).and_then(|mut session| match invoke {
            Some(export) => session.call(export, &[]).map(|_| true),
            None => session.run(),
        });
        match ended {
            Ok(succeeded) => Ok(i32::from(!succeeded)),
            Err(Stop::Exit(code)) => Ok(code),
            Err(Stop::Error(error)) => Err(error),
        }
    }
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    // Functions that are marked as unstable are there, as on wharf's own host.
    let mut wasi = wasmtime_wasi::p2::bindings::LinkOptions::default();
    wasi.network_error_code(true);
    wasmtime_wasi::p2::add_to_linker_with_options_async(&mut linker, &wasi)?;
    let mut http = wasmtime_wasi_http::p2::bindings::LinkOptions::default();
    http.informational_outbound_responses(true);
    outgoing_handler::add_to_linker::<_, WasiHttp>(&mut linker, State::http)?;
    types::add_to_linker::<_, WasiHttp>(&mut linker, &(&http).into(), State::http)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    middleware::add_to_linker(&mut linker)?;
    logging::add_to_linker(&mut linker)?;
    Ok(linker)
}
