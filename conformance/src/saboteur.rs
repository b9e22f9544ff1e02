//! Backends and transports that misbehave in one way each, to show that the suite notices.
//!
//! A saboteur wraps what is tested and is otherwise as good as it. The cases `suite/bites/...` run the cases that watch
//! for its misdeed, without it and with it: each has to pass first and fail then.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::{BodyExt, Empty};
use wharf_core::http::{Body, HttpError, Timeouts, Transport};
use wharf_core::{
    Backend, BackendInfo, Caller, Calls, Error, Imports, Instance, Interrupt, Kind, Memory, Module, Prepared, Result,
    Stop, Trap, TrapCode, TrustedCode,
};

use crate::runner::Subject;

/// One way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Responses arrive without the header whose name sorts last.
    DropHeader,
    /// A redirect is followed without asking the policy.
    FollowDenied,
    /// The body of a response is taken to end after its first part.
    CutBody,
    /// Interrupting a guest takes effect four seconds late.
    IgnoreDeadline,
    /// A closed response stays open.
    LeakHandle,
    /// One byte more is written than the status has.
    WritePastStatus,
    /// The guest goes on after a host function ended it.
    IgnoreHalt,
    /// Every trap is reported as the same one.
    BlurTraps,
}

impl Sabotage {
    /// Every way to misbehave.
    pub const ALL: [Sabotage; 8] = [
        Sabotage::DropHeader,
        Sabotage::FollowDenied,
        Sabotage::CutBody,
        Sabotage::IgnoreDeadline,
        Sabotage::LeakHandle,
        Sabotage::WritePastStatus,
        Sabotage::IgnoreHalt,
        Sabotage::BlurTraps,
    ];

    /// The ids of the cases that have to notice.
    pub fn noticed_by(self) -> &'static [&'static str] {
        match self {
            Sabotage::DropHeader => &["experimental/headers-get-all/format", "experimental/header-get/value"],
            Sabotage::FollowDenied => &["experimental/differs/redirect-to-denied-origin"],
            Sabotage::CutBody => &["experimental/body-read/cut-short", "experimental/body-read/pieces"],
            Sabotage::IgnoreDeadline => &["seam/interrupt/endless-loop", "guest/time-limit/endless-loop"],
            Sabotage::LeakHandle => &[
                "experimental/handle/closed-is-gone",
                "experimental/close/unread-body",
                "experimental/close/ends-the-transfer",
            ],
            Sabotage::WritePastStatus => &["experimental/req/status-is-two-bytes", "experimental/req/get"],
            Sabotage::IgnoreHalt => &["seam/stop/exit", "seam/stop/guest-does-not-go-on"],
            Sabotage::BlurTraps => &["seam/trap/unreachable", "seam/trap/division-by-zero", "guest/trap/is-typed"],
        }
    }

    /// The same subject, misbehaving.
    pub fn apply(self, subject: &Subject) -> Subject {
        let backend: Arc<dyn Backend> = Arc::new(BadBackend { inner: subject.backend().clone(), sabotage: self });
        let inner = subject.wrap_transport().cloned();
        Subject::new(backend).named(subject.name()).transport(Arc::new(move |transport| {
            let transport = match &inner {
                Some(wrap) => wrap(transport),
                None => transport,
            };
            Arc::new(BadTransport { inner: transport, sabotage: self })
        }))
    }
}

struct BadTransport {
    inner: Arc<dyn Transport>,
    sabotage: Sabotage,
}

#[async_trait]
impl Transport for BadTransport {
    async fn send(&self, request: Request<Body>, timeouts: &Timeouts) -> Result<Response<Body>, HttpError> {
        let mut response = self.inner.send(request, timeouts).await?;
        match self.sabotage {
            Sabotage::DropHeader => drop_last(response.headers_mut()),
            Sabotage::FollowDenied => {
                let location = response.headers().get("location").and_then(|location| location.to_str().ok());
                if let Some(uri) = location.and_then(|location| location.parse::<http::Uri>().ok()) {
                    let mut next = Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
                    *next.uri_mut() = uri;
                    return self.inner.send(next, timeouts).await;
                }
            }
            Sabotage::CutBody => {
                let (mut parts, mut body) = response.into_parts();
                parts.headers.remove("content-length");
                let first = match body.frame().await {
                    Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                    _ => bytes::Bytes::new(),
                };
                let first = http_body_util::Full::new(first).map_err(|never| match never {}).boxed_unsync();
                return Ok(Response::from_parts(parts, first));
            }
            _ => {}
        }
        Ok(response)
    }
}

fn drop_last(headers: &mut HeaderMap) {
    let last: Option<HeaderName> = headers.keys().max_by_key(|name| name.as_str()).cloned();
    if let Some(name) = last {
        headers.remove(name);
    }
}

struct BadBackend {
    inner: Arc<dyn Backend>,
    sabotage: Sabotage,
}

impl BadBackend {
    fn module(&self, inner: Arc<dyn Module>) -> Arc<dyn Module> {
        Arc::new(BadModule { inner, sabotage: self.sabotage })
    }
}

impl Backend for BadBackend {
    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    fn compile(&self, prepared: &Prepared) -> Result<Arc<dyn Module>> {
        self.inner.compile(prepared).map(|module| self.module(module))
    }

    fn load(&self, prepared: &Prepared, code: TrustedCode<'_>) -> Result<Arc<dyn Module>> {
        self.inner.load(prepared, code).map(|module| self.module(module))
    }
}

struct BadModule {
    inner: Arc<dyn Module>,
    sabotage: Sabotage,
}

impl Module for BadModule {
    fn serialize(&self) -> Result<Option<TrustedCode<'_>>> {
        self.inner.serialize()
    }

    fn instantiate(&self, imports: Arc<Imports>) -> Result<Box<dyn Instance>> {
        let types = Arc::from(imports.types());
        let bad = Imports::new(types, BadCalls { inner: imports, sabotage: self.sabotage });
        let inner = self.inner.instantiate(Arc::new(bad))?;
        Ok(Box::new(BadInstance { inner, sabotage: self.sabotage }))
    }
}

/// Stands before the host functions. Why they ended the guest is kept where core looks for it, in the inner ones.
struct BadCalls {
    inner: Arc<Imports>,
    sabotage: Sabotage,
}

impl Calls for BadCalls {
    fn call(&self, index: usize, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
        let import = self.inner.types().get(index).map(|import| (import.module.as_str(), import.name.as_str()));
        let status_out = slots.get(8).copied();
        if self.sabotage == Sabotage::LeakHandle && import == Some(("wasi_experimental_http", "close")) {
            slots[0] = 0;
            return Ok(());
        }
        let halted = self.inner.call(index, caller, slots).is_err();
        if halted && self.sabotage != Sabotage::IgnoreHalt {
            return Err(Stop::Error(Error::new(Kind::Internal, "ended by the host function behind the saboteur")));
        }
        if self.sabotage == Sabotage::WritePastStatus && import == Some(("wasi_experimental_http", "req")) {
            // As a host does that takes the status for four bytes.
            if let (Some(at), Ok(mut memory)) = (status_out, Memory::of(caller)) {
                let _beyond_the_memory = memory.write((at as u32).saturating_add(2), &[0]);
            }
        }
        Ok(())
    }
}

struct BadInstance {
    inner: Box<dyn Instance>,
    sabotage: Sabotage,
}

impl Caller for BadInstance {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.inner.memory()
    }

    fn memory_named(&mut self, export: &str) -> Option<&mut [u8]> {
        self.inner.memory_named(export)
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        self.inner.call(export, slots).map_err(|trap| match self.sabotage {
            Sabotage::BlurTraps => Trap::new(TrapCode::Other, trap.message),
            _ => trap,
        })
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        self.inner.global(export)
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        self.inner.set_global(export, value)
    }
}

impl Instance for BadInstance {
    fn interrupt(&self) -> Arc<dyn Interrupt> {
        match self.sabotage {
            Sabotage::IgnoreDeadline => Arc::new(LateInterrupt(self.inner.interrupt())),
            _ => self.inner.interrupt(),
        }
    }
}

/// Late rather than never, so that the guest's thread does not outlive the case.
struct LateInterrupt(Arc<dyn Interrupt>);

impl Interrupt for LateInterrupt {
    fn interrupt(&self) {
        let inner = self.0.clone();
        let late = move || {
            thread::sleep(Duration::from_secs(4));
            inner.interrupt();
        };
        if thread::Builder::new().name("late-interrupt".to_owned()).spawn(late).is_err() {
            // Without a thread the guest would run for good.
            self.0.interrupt();
        }
    }
}
