//! Runs cases on backends: each in a thread of its own, under a watchdog.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use wharf_core::http::{Limits, Policy, PooledTransport, Resolver, Transport};
use wharf_core::{Backend, Guest, HostedGuest, LoadOptions};

use crate::bare::assemble;
use crate::case::{Case, CaseResult, Outcome, Unmet};
use crate::cases::cases;
use crate::component::{Component, LoadComponent, of_module};
use crate::context::Context;
use crate::expected::{EXPECTED, Expected};
use crate::report::{CaseReport, Column, Report};

/// Makes the transport that a case sends through, of the case's own [`TransportParts`].
pub type MakeTransport = Arc<dyn Fn(TransportParts) -> CaseResult<Arc<dyn Transport>> + Send + Sync>;

/// What a case asks of its transport.
pub struct TransportParts {
    /// Which addresses it may connect to.
    pub policy: Arc<Policy>,
    /// What its caller keeps to: it may fail earlier where that is exceeded.
    pub limits: Limits,
    /// What looks names up, if not the system.
    pub resolver: Option<Arc<dyn Resolver>>,
    /// Certificate authorities to trust beside those of the system, in DER.
    pub roots: Vec<Vec<u8>>,
}

/// The areas and files of the cases that are about a transport: what is sent for a guest, and what comes back.
pub const SENDING: [&str; 7] = [
    "outbound/",
    "wasihttp/error/",
    "wasihttp/options/",
    "wasihttp/outbound/",
    "wasihttp/request/",
    "wasihttp/response/",
    "wasihttp/sent/",
];

/// Wraps the transport that cases send through.
pub type WrapTransport = Arc<dyn Fn(Arc<dyn Transport>) -> Arc<dyn Transport> + Send + Sync>;

/// A guest, once the first case that wants it has loaded it.
type SharedGuest = Arc<Mutex<Option<Arc<dyn HostedGuest>>>>;

/// What is put to the test: a backend, under the name its column bears.
#[derive(Clone)]
pub struct Subject {
    name: String,
    backend: Arc<dyn Backend>,
    only: Vec<String>,
    without: Vec<String>,
    through: MakeTransport,
    transport: Option<WrapTransport>,
    components: Option<LoadComponent>,
    guests: Arc<Mutex<HashMap<String, SharedGuest>>>,
}

impl Subject {
    /// A backend under its own name.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Subject {
            name: backend.info().name.to_owned(),
            backend,
            only: Vec::new(),
            without: Vec::new(),
            through: Arc::new(pooled),
            transport: None,
            components: None,
            guests: Arc::default(),
        }
    }

    /// Gives the column another name: one backend in two modes makes two columns.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Restricts this column to the cases whose id starts with one of `prefixes`.
    pub fn only<I: IntoIterator<Item: Into<String>>>(mut self, prefixes: I) -> Self {
        self.only = prefixes.into_iter().map(Into::into).collect();
        self
    }

    /// Leaves out of this column the cases whose id starts with one of `prefixes`.
    pub fn without<I: IntoIterator<Item: Into<String>>>(mut self, prefixes: I) -> Self {
        self.without = prefixes.into_iter().map(Into::into).collect();
        self
    }

    /// Has the cases send through the transports that `make` makes, in place of a [`PooledTransport`] each. The cases
    /// about a transport are those of [`SENDING`].
    pub fn through(mut self, make: MakeTransport) -> Self {
        self.through = make;
        self
    }

    /// Wraps the transport that cases send through, to prove a transport of one's own, or a saboteur.
    pub fn transport(mut self, wrap: WrapTransport) -> Self {
        self.transport = Some(wrap);
        self
    }

    /// The same column on another backend, whose guests are its own.
    pub(crate) fn on_backend(&self, backend: Arc<dyn Backend>) -> Self {
        Subject { backend, guests: Arc::default(), ..self.clone() }
    }

    /// The transport of one case.
    pub(crate) fn make_transport(&self, parts: TransportParts) -> CaseResult<Arc<dyn Transport>> {
        let transport = (self.through)(parts)?;
        Ok(self.wrapped(transport))
    }

    /// `transport` as this column has it.
    pub(crate) fn wrapped(&self, transport: Arc<dyn Transport>) -> Arc<dyn Transport> {
        match &self.transport {
            Some(wrap) => wrap(transport),
            None => transport,
        }
    }

    /// Puts another host for components to the test, beside the engine's: probes are wrapped as components, and cases that
    /// are about core modules are skipped.
    pub fn components(mut self, load: LoadComponent) -> Self {
        self.components = Some(load);
        self
    }

    /// The host for components, if that is what is put to the test.
    pub fn component_host(&self) -> Option<&LoadComponent> {
        self.components.as_ref()
    }

    /// The name of the column.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The backend.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The guest of WAT text that many cases start, compiled for the first of them, on the host that is put to the test.
    ///
    /// # Errors
    /// As [`Context::guest`].
    pub(crate) fn shared_guest(&self, wat: &str) -> CaseResult<Arc<dyn HostedGuest>> {
        self.shared(wat, || match &self.components {
            None => Ok(Arc::new(Guest::load(&*self.backend, &assemble(wat)?, &LoadOptions::default())?)),
            Some(load) => {
                let (component, names) = of_module(wat)?;
                Ok(Arc::new(Component { guest: load(&component)?, names }))
            }
        })
    }

    /// The guest of this key, loaded for the first case that wants it.
    ///
    /// # Errors
    /// What `load` says; the next case then tries again.
    pub(crate) fn shared(
        &self,
        key: &str,
        load: impl FnOnce() -> CaseResult<Arc<dyn HostedGuest>>,
    ) -> CaseResult<Arc<dyn HostedGuest>> {
        let shared = {
            let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
            guests.entry(key.to_owned()).or_default().clone()
        };
        // Who wants another guest does not wait for this one.
        let mut guest = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guest) = &*guest {
            return Ok(guest.clone());
        }
        let loaded = load()?;
        Ok(guest.insert(loaded).clone())
    }

    /// How the transport is wrapped, if it is.
    pub fn wrap_transport(&self) -> Option<&WrapTransport> {
        self.transport.as_ref()
    }

    /// Whether this column has the case.
    pub fn takes(&self, case: &Case) -> bool {
        let starts = |prefixes: &[String]| prefixes.iter().any(|prefix| case.id.starts_with(prefix.as_str()));
        (self.only.is_empty() || starts(&self.only)) && !starts(&self.without)
    }
}

/// The transport that wharf brings.
fn pooled(parts: TransportParts) -> CaseResult<Arc<dyn Transport>> {
    let TransportParts { policy, limits, resolver, roots } = parts;
    let mut builder = PooledTransport::builder(policy).header_limits(limits.header_count, limits.header_bytes);
    if let Some(resolver) = resolver {
        builder = builder.resolver(resolver);
    }
    for certificate in &roots {
        builder = builder.root_certificate(certificate)?;
    }
    Ok(Arc::new(builder.build()?))
}

/// How many times as long as any other a case may take that runs a guest of `guests/`: compiling one that brings an
/// interpreter along takes most of it, in a build that is not optimised.
const COMPILING: u32 = 45;

/// How cases are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Runs only cases whose id, or test name, contains one of these; empty runs all.
    pub filter: Vec<String>,
    /// How long a case may take before it counts as hung; much longer if it compiles a guest of `guests/`.
    pub timeout: Duration,
    /// How many cases run at a time.
    pub jobs: usize,
    /// The failures known beforehand.
    pub expected: Vec<Expected>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            filter: Vec::new(),
            timeout: Duration::from_secs(20),
            jobs: thread::available_parallelism().map_or(2, usize::from).min(4),
            expected: EXPECTED.to_vec(),
        }
    }
}

impl Options {
    fn takes(&self, case: &Case, subject: &Subject) -> bool {
        let name = case.test_name(subject.name());
        subject.takes(case)
            && (self.filter.is_empty()
                || self.filter.iter().any(|part| case.id.contains(part.as_str()) || name.contains(part.as_str())))
    }
}

/// What a run tells while it runs.
#[derive(Debug, Clone)]
pub struct Progress<'a> {
    /// The column's name.
    pub backend: &'a str,
    /// What came of the case.
    pub case: &'a CaseReport,
    /// How many cases have ended so far, this one included.
    pub done: usize,
    /// How many there are.
    pub total: usize,
}

/// Runs every case on every subject and reports.
pub fn run(subjects: &[Subject], options: &Options) -> Report {
    run_with(subjects, options, |_| {})
}

/// Runs every case on every subject, telling `progress` as each ends, from the threads that run them.
pub fn run_with(subjects: &[Subject], options: &Options, progress: impl Fn(Progress<'_>) + Sync) -> Report {
    let cases = cases();
    let work: Vec<(usize, &Case)> = subjects
        .iter()
        .enumerate()
        .flat_map(|(column, subject)| {
            cases.iter().copied().filter(|case| options.takes(case, subject)).map(move |case| (column, case))
        })
        .collect();
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<CaseReport>>> = work.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, work.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((column, case)) = work.get(index) else { return };
                    let subject = &subjects[*column];
                    let report = execute(case, subject, options);
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    progress(Progress { backend: subject.name(), case: &report, done, total: work.len() });
                    *results[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
                }
            });
        }
    });
    let mut columns: Vec<Column> = subjects.iter().map(Column::of).collect();
    for ((column, _), result) in work.iter().zip(results) {
        columns[*column].results.extend(result.into_inner().unwrap_or_else(PoisonError::into_inner));
    }
    Report::new(columns)
}

/// Runs one case on one subject.
pub fn execute(case: &Case, subject: &Subject, options: &Options) -> CaseReport {
    let started = Instant::now();
    let (outcome, message) = verdict(case, subject, options);
    CaseReport {
        id: case.id.to_owned(),
        level: case.level,
        proves: case.proves.to_owned(),
        outcome,
        message,
        milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

fn verdict(case: &Case, subject: &Subject, options: &Options) -> (Outcome, Option<String>) {
    let capabilities = &subject.backend().info().capabilities;
    let lacking = case.needs.iter().find(|need| !capabilities.contains(&need.capability));
    let timeout = if case.guests.is_empty() { options.timeout } else { options.timeout * COMPILING };
    let result = watch(lacking.map_or(case.run, |need| need.twin), case, subject, timeout);
    if let Some(need) = lacking {
        let name = need.capability.name();
        return match result {
            Ok(()) => (Outcome::Unsupported, Some(format!("the engine lacks `{name}`, and said so"))),
            Err(unmet) => settle(Err(unmet.context(format!("the engine lacks `{name}`")))),
        };
    }
    let known = options.expected.iter().find(|known| known.backend == subject.name() && known.id == case.id);
    match (known, result) {
        (None, result) => settle(result),
        (Some(known), Ok(())) => {
            (Outcome::Xpass, Some(format!("passes, though expected to fail: {} ({})", known.reason, known.link)))
        }
        (Some(known), Err(Unmet::Failed(message))) if message.contains(known.message) => {
            (Outcome::Xfail, Some(format!("{} ({}): {message}", known.reason, known.link)))
        }
        (Some(known), Err(Unmet::Failed(message))) => {
            (Outcome::Fail, Some(format!("fails, but not with {:?} as expected: {message}", known.message)))
        }
        (Some(_), result) => settle(result),
    }
}

fn settle(result: CaseResult) -> (Outcome, Option<String>) {
    match result {
        Ok(()) => (Outcome::Pass, None),
        Err(Unmet::Failed(message)) => (Outcome::Fail, Some(message)),
        Err(Unmet::Skipped(message)) => (Outcome::Skipped, Some(message)),
        Err(Unmet::Harness(message)) => (Outcome::Error, Some(message)),
    }
}

/// Runs `run` in its own thread. A thread that does not end in time is left behind: nothing can end it, and the
/// other cases still get their turn.
fn watch(run: fn(&Context) -> CaseResult, case: &Case, subject: &Subject, timeout: Duration) -> CaseResult {
    let (send, receive) = mpsc::sync_channel(1);
    let context = Context::new(subject.clone());
    let spawned = thread::Builder::new().name(case.id.to_owned()).spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(|| run(&context)));
        drop(context);
        let result = result.unwrap_or_else(|panic| Err(Unmet::Harness(format!("panicked: {}", panic_text(&*panic)))));
        // Nobody listens any more once the watchdog has given up.
        let _ = send.send(result);
    });
    if let Err(error) = spawned {
        return Err(Unmet::Harness(format!("no thread to run the case in: {error}")));
    }
    match receive.recv_timeout(timeout) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(Unmet::Harness(format!("did not end within {timeout:?}"))),
        Err(RecvTimeoutError::Disconnected) => Err(Unmet::Harness("the case's thread died".to_owned())),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
