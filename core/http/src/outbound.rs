//! Sends a guest's request: policy, limits, timeouts and redirects round a transport.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::Request;
use http::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{HttpError, HttpErrorKind};
use crate::exchange::{Reader, exchange};
use crate::hop::{self, Hop};
use crate::incoming::{Exchange, Incoming};
use crate::limits::{Limits, Timeouts};
use crate::origin::Origin;
use crate::outgoing::Outgoing;
use crate::policy::{Policy, Redirects};
use crate::pooled::PooledTransport;
use crate::target::Target;
use crate::tls::TlsConfigError;
use crate::transport::Transport;

/// How many origins are named to the operator as denied before the rest is only logged for debugging: a guest must
/// not be able to fill a log.
const NAMED_DENIALS: usize = 64;

/// Sends the requests of a guest. Cheap to clone; clones share everything, the counts of [`Limits`] included.
#[derive(Clone)]
pub struct Outbound {
    shared: Arc<Shared>,
    permits: Permits,
    /// Whether a request was let through.
    sent: Arc<AtomicBool>,
}

struct Shared {
    policy: Arc<Policy>,
    limits: Limits,
    transport: Arc<dyn Transport>,
    denied: Mutex<HashSet<Origin>>,
}

/// What [`Limits`] counts.
#[derive(Clone)]
struct Permits {
    open: Arc<Semaphore>,
    in_flight: Arc<Semaphore>,
}

impl Permits {
    fn new(limits: &Limits) -> Self {
        let semaphore = |limit: u64| {
            let permits = usize::try_from(limit).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
            Arc::new(Semaphore::new(permits))
        };
        Permits { open: semaphore(limits.open_responses), in_flight: semaphore(limits.in_flight_requests) }
    }

    fn take(&self, limits: &Limits) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), HttpError> {
        let open = self.open.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{} responses are open already, as many as the limit allows", limits.open_responses);
            HttpError::new(HttpErrorKind::TooManyOpen, message)
        })?;
        let in_flight = self.in_flight.clone().try_acquire_owned().map_err(|_| {
            let limit = limits.in_flight_requests;
            let message = format!("{limit} requests are in flight already, as many as the limit allows");
            HttpError::new(HttpErrorKind::TooManyInFlight, message)
        })?;
        Ok((open, in_flight))
    }
}

impl Outbound {
    /// Sends what `policy` allows, within `limits`, through what `make` makes of them: the transport checks the addresses that
    /// names resolve to, by the same policy.
    ///
    /// # Errors
    /// What `make` says.
    pub fn new<E>(
        policy: Policy,
        limits: Limits,
        make: impl FnOnce(Arc<Policy>, &Limits) -> Result<Arc<dyn Transport>, E>,
    ) -> Result<Self, E> {
        let policy = Arc::new(policy);
        let transport = make(policy.clone(), &limits)?;
        let permits = Permits::new(&limits);
        let shared = Arc::new(Shared { policy, limits, transport, denied: Mutex::default() });
        Ok(Outbound { shared, permits, sent: Arc::default() })
    }

    /// Sends what `policy` allows, within `limits`, through a [`PooledTransport`] of its own.
    ///
    /// # Errors
    /// [`TlsConfigError`] if TLS cannot be set up.
    pub fn with_defaults(policy: Policy, limits: Limits) -> Result<Self, TlsConfigError> {
        Outbound::new(policy, limits, |policy, limits| {
            let builder = PooledTransport::builder(policy).header_limits(limits.header_count, limits.header_bytes);
            Ok(Arc::new(builder.build()?))
        })
    }

    /// The same policy, limits and transport, with separate counts, for another guest.
    #[must_use]
    pub fn for_guest(&self) -> Self {
        Outbound { shared: self.shared.clone(), permits: Permits::new(&self.shared.limits), sent: Arc::default() }
    }

    /// Whether a request was sent, or may have been: one was let through.
    pub fn has_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    /// What may be reached.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.shared.policy
    }

    /// How much may be used.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// What sends.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.shared.transport
    }

    /// [`Policy::check_origin`], with one line to the operator's log for each origin that is denied.
    ///
    /// # Errors
    /// As [`Policy::check_origin`].
    pub fn check(&self, target: &Target) -> Result<(), HttpError> {
        self.shared.check(target)
    }

    /// Sends `request`, within the timeouts of [`limits`](Outbound::limits), and returns the response, also if it is a
    /// redirect.
    ///
    /// The URI is absolute, and sent as it is ([`Target`]). Headers that belong to the connection, and those the policy
    /// forbids, are removed, from the response too; nothing is added to what the guest set, except what the connection
    /// needs. A Content-Length must be that of the body.
    ///
    /// May be called from any thread, and the future polled from any. Whatever can be refused at once is refused at
    /// once; dropping the future ends the request.
    pub fn send(&self, request: Request<Outgoing>) -> Pending {
        self.send_with(request, self.shared.limits.timeouts())
    }

    /// [`send`](Outbound::send), within `timeouts`; each is bounded by that of [`limits`](Outbound::limits).
    pub fn send_with(&self, request: Request<Outgoing>, timeouts: Timeouts) -> Pending {
        self.pending(request, timeouts.at_most(&self.shared.limits.timeouts()), Redirects::Manual)
    }

    /// [`send`](Outbound::send), for a guest whose ABI leaves redirects to its host: they are followed as
    /// [`Policy::redirects`] says, without Authorization and Cookie once they leave the origin.
    pub fn follow(&self, request: Request<Outgoing>) -> Pending {
        self.pending(request, self.shared.limits.timeouts(), self.shared.policy.redirects())
    }

    fn pending(&self, request: Request<Outgoing>, timeouts: Timeouts, redirects: Redirects) -> Pending {
        match self.start(request, timeouts, redirects) {
            Ok(waiting) => Pending { state: State::Waiting(waiting) },
            Err(error) => Pending { state: State::Failed(error) },
        }
    }

    fn start(
        &self,
        request: Request<Outgoing>,
        timeouts: Timeouts,
        redirects: Redirects,
    ) -> Result<Waiting, HttpError> {
        let shared = self.shared.clone();
        let hop = Hop::first(request, &shared.policy, &shared.limits, |target| shared.check(target))?;
        let (open, in_flight) = self.permits.take(&shared.limits)?;
        self.sent.store(true, Ordering::Relaxed);
        let (writer, reader) = exchange();
        let task = crate::io().spawn(async move {
            let report = |origin: &Origin| shared.report(origin);
            let context = hop::Context {
                policy: &shared.policy,
                limits: &shared.limits,
                transport: &*shared.transport,
                report: &report,
                timeouts,
                redirects,
            };
            let end = context.run(hop, in_flight, &writer).await;
            writer.finish(end);
        });
        Ok(Waiting { reader, exchange: Exchange::new(task.abort_handle(), open) })
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("policy", &self.shared.policy)
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn check(&self, target: &Target) -> Result<(), HttpError> {
        self.policy.check_origin(target.origin()).inspect_err(|_| self.report(target.origin()))
    }

    fn report(&self, origin: &Origin) {
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        let first = denied.len() < NAMED_DENIALS && denied.insert(origin.clone());
        drop(denied);
        if first {
            tracing::warn!("a guest was denied {origin}; to permit it, allow {origin}");
        } else {
            tracing::debug!("a guest was denied {origin}");
        }
    }
}

/// A request under way. Polled from any thread, inside or outside an async runtime; dropping it ends the request.
///
/// It yields its output once.
#[must_use = "dropping it ends the request"]
pub struct Pending {
    state: State,
}

enum State {
    Waiting(Waiting),
    Failed(HttpError),
    Taken,
}

struct Waiting {
    reader: Reader,
    exchange: Exchange,
}

impl Pending {
    /// Why the request was refused before anything was sent, if it was.
    pub fn refused(&self) -> Option<&HttpError> {
        match &self.state {
            State::Failed(error) => Some(error),
            State::Waiting(_) | State::Taken => None,
        }
    }
}

impl Future for Pending {
    type Output = Result<Response<Incoming>, HttpError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Waiting(waiting) => match waiting.reader.poll_head(context) {
                Poll::Pending => {
                    self.state = State::Waiting(waiting);
                    Poll::Pending
                }
                Poll::Ready(head) => {
                    let Waiting { reader, exchange } = waiting;
                    Poll::Ready(head.map(|head| head.map(|()| Incoming::new(reader, exchange))))
                }
            },
            State::Failed(error) => Poll::Ready(Err(error)),
            State::Taken => Poll::Ready(Err(HttpError::new(
                HttpErrorKind::Internal,
                "a response was asked for after it had been given",
            ))),
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}
