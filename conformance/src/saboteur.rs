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
use wharf_component::plan::{ASYNC_LOWER, ASYNC_MODULE};
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
    /// Every error of preview 1 is `inval`, those of sockets included.
    BlurErrnos,
    /// What a guest writes to a descriptor goes nowhere.
    SwallowWrites,
    /// What a guest sends through a socket goes nowhere.
    SwallowSends,
    /// A field that a `wasi:http` guest appends is not there.
    DropField,
    /// A body that a `wasi:http` guest finishes is not finished.
    ForgetFinish,
    /// A resource that a guest drops stays open.
    LeakResource,
    /// What a guest of WASI 0.3 writes to a stream goes nowhere.
    SwallowStream,
    /// A stream whose writable end a guest drops goes on.
    LeaveStreamOpen,
    /// What a task of WASI 0.3 returns is not passed on.
    ForgetReturn,
    /// A transport waits eight seconds longer for the first byte of a response than it may.
    LateFirstByte,
}

impl Sabotage {
    /// Every way to misbehave.
    pub const ALL: [Sabotage; 18] = [
        Sabotage::DropHeader,
        Sabotage::FollowDenied,
        Sabotage::CutBody,
        Sabotage::IgnoreDeadline,
        Sabotage::LeakHandle,
        Sabotage::WritePastStatus,
        Sabotage::IgnoreHalt,
        Sabotage::BlurTraps,
        Sabotage::BlurErrnos,
        Sabotage::SwallowWrites,
        Sabotage::SwallowSends,
        Sabotage::DropField,
        Sabotage::ForgetFinish,
        Sabotage::LeakResource,
        Sabotage::SwallowStream,
        Sabotage::LeaveStreamOpen,
        Sabotage::ForgetReturn,
        Sabotage::LateFirstByte,
    ];

    /// The cases that have to notice, and words that tell that it is this which they notice.
    pub fn noticed_by(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Sabotage::DropHeader => &[
                ("experimental/headers-get-all/format", "\"x-empty:\"]"),
                ("experimental/header-get/value", "`header_get` of \"x-a\": expected 0, saw 5"),
                ("outbound/redirect/handed-to-the-guest", "the location of a 301"),
            ],
            Sabotage::FollowDenied => &[
                ("experimental/differs/redirect-to-denied-origin", "expected 7, saw 0"),
                ("outbound/redirect/denied-hop", "expected 7, saw 0"),
            ],
            Sabotage::CutBody => &[
                ("experimental/body-read/cut-short", "ended like a whole one"),
                ("experimental/body-read/pieces", "a body sent in pieces"),
                ("outbound/body/in-many-packets", "the body: expected [98, 111, 100, 121], saw [98"),
                ("outbound/body/cut-before-its-length", "ended like a whole one"),
            ],
            Sabotage::IgnoreDeadline => &[
                ("backend/interrupt/endless-loop", "after it was interrupted"),
                ("guest/time-limit/endless-loop", "a limit of 200ms ended the guest after 4"),
            ],
            Sabotage::LeakHandle => &[
                ("experimental/handle/closed-is-gone", "of a closed handle: expected 1, saw 0"),
                ("experimental/close/unread-body", "expected 0, saw 1"),
                ("experimental/close/ends-the-transfer", "still open after `close`"),
            ],
            Sabotage::WritePastStatus => &[
                ("experimental/req/status-is-two-bytes", "outside the ranges it was given"),
                ("experimental/req/get", "outside the ranges it was given"),
            ],
            Sabotage::IgnoreHalt => &[
                ("backend/stop/exit", "saw the call return"),
                ("backend/stop/guest-does-not-go-on", "saw the call return"),
            ],
            Sabotage::BlurTraps => &[
                ("backend/trap/unreachable", "expected a trap Unreachable, saw Other"),
                ("backend/trap/division-by-zero", "expected a trap DivisionByZero, saw Other"),
                ("guest/trap/is-typed", "expected Unreachable, saw Other"),
            ],
            Sabotage::BlurErrnos => &[
                ("preview1/sandbox/dot-dot", "expected Err(perm (63)), saw Err(inval (28))"),
                ("preview1/file/open-missing", "expected Err(noent (44)), saw Err(inval (28))"),
                ("sockets/connect/refused", "expected connrefused (14), saw inval (28)"),
                ("sockets/denied/connect", "expected acces (2), saw inval (28)"),
            ],
            Sabotage::SwallowWrites => &[
                ("preview1/stdio/output-is-captured", "bytes written: expected 11"),
                ("preview1/file/append", "the file, appended to"),
            ],
            Sabotage::SwallowSends => {
                &[("sockets/stream/sends-all", "how much is sent"), ("sockets/stream/gathered", "how much is sent")]
            }
            Sabotage::DropField => &[
                ("wasihttp/fields/order-and-casing-stay", "saw []"),
                ("serving/exchange/values-have-no-outer-whitespace", "the answer is"),
            ],
            Sabotage::ForgetFinish => &[
                ("serving/exchange/pipelined", "expected 3, saw 1"),
                ("serving/exchange/framing-is-not-by-chance", "saw Some(500)"),
            ],
            Sabotage::LeakResource => &[
                ("linker/resource/own-borrow-drop", "the values once one handle is dropped: expected 1, saw 2"),
                ("linker/resource/open-ones-keep-an-instance-from-reuse", "cannot be used again"),
            ],
            Sabotage::SwallowStream => &[
                ("wasi03/streams/standard-output-is-written", "what is written: expected \"01234\", saw \"\""),
                ("wasi03/service/greets", "a greeting"),
            ],
            Sabotage::LeaveStreamOpen => {
                &[("wasi03/streams/a-reader-is-told-that-the-writer-is-gone", "the guest trapped")]
            }
            Sabotage::ForgetReturn => &[
                ("wasi03/futures/a-read-meets-a-write", "ended without returning a result"),
                ("wasi03/streams/a-read-meets-a-write", "ended without returning a result"),
            ],
            Sabotage::LateFirstByte => &[("outbound/timeout/first-byte", "under a limit of 200ms")],
        }
    }

    /// The same subject, misbehaving.
    pub fn apply(self, subject: &Subject) -> Subject {
        let backend: Arc<dyn Backend> = Arc::new(BadBackend { inner: subject.backend().clone(), sabotage: self });
        let inner = subject.wrap_transport().cloned();
        subject.on_backend(backend).transport(Arc::new(move |transport| {
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
        let mut patient = *timeouts;
        patient.first_byte += Duration::from_secs(8);
        let timeouts = if self.sabotage == Sabotage::LateFirstByte { &patient } else { timeouts };
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

/// `inval` of preview 1.
const INVAL: u64 = 28;

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
        let preview1 = |name| import == Some(("wasi_snapshot_preview1", name));
        let skipped = match self.sabotage {
            Sabotage::LeakHandle => import == Some(("wasi_experimental_http", "close")),
            Sabotage::SwallowWrites => preview1("fd_write"),
            Sabotage::SwallowSends => preview1("sock_send"),
            Sabotage::LeakResource => import.is_some_and(|(_, name)| name.starts_with("[resource-drop]")),
            _ => false,
        };
        if skipped {
            slots[0] = 0;
            return Ok(());
        }
        let concurrent = import.filter(|(module, _)| *module == ASYNC_MODULE).map(|(_, name)| name);
        let concurrent = concurrent.and_then(|name| name.trim_start_matches(ASYNC_LOWER).split(['[', ';']).next());
        match (self.sabotage, concurrent) {
            (Sabotage::SwallowStream, Some("stream.write")) => {
                // All of it was written.
                slots[0] = slots[2] << 4;
                return Ok(());
            }
            (Sabotage::LeaveStreamOpen, Some("stream.drop-writable"))
            | (Sabotage::ForgetReturn, Some("task.return")) => return Ok(()),
            _ => {}
        }
        let forgotten = match self.sabotage {
            Sabotage::DropField => Some("[method]fields.append"),
            Sabotage::ForgetFinish => Some("[static]outgoing-body.finish"),
            _ => None,
        };
        if let (Some((_, name)), Some(forgotten)) = (import, forgotten)
            && name.split(';').next() == Some(forgotten)
        {
            // The last parameter is where the result goes: no error.
            let result = slots.last().copied().unwrap_or_default() as u32;
            let _beyond_the_memory = Memory::of(caller).map(|mut memory| memory.write(result, &[0]));
            return Ok(());
        }
        let halted = self.inner.call(index, caller, slots).is_err();
        if halted && self.sabotage != Sabotage::IgnoreHalt {
            return Err(Stop::Error(Error::new(Kind::Internal, "ended by the host function behind the saboteur")));
        }
        let in_preview1 = import.is_some_and(|(module, _)| module == "wasi_snapshot_preview1");
        if self.sabotage == Sabotage::BlurErrnos && in_preview1 && slots.first().is_some_and(|errno| *errno != 0) {
            slots[0] = INVAL;
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
