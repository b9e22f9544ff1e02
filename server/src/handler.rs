//! Requests, and the instances that they are handed to.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use wharf_core::abi::wasi02::http::Reply;
use wharf_core::http::{Body, HttpError, HttpErrorKind};
use wharf_core::message::{self, Content, GuestEnd};
use wharf_core::{
    Entering, Error, Exceeded, GuestConfig, HostedGuest, Kind, Result, Stop, chain, no_handler, on_worker,
};

use crate::admission::Admission;
use crate::again::Again;
use crate::guarded::Guarded;
use crate::leash::Leash;
use crate::options::HandlerOptions;
use crate::pool::{Pool, Ready, exited};
use crate::request::RequestHead;
use crate::tally::Tally;
use crate::together::Together;

/// The body of a response. It ends in an error if the guest left it unfinished, so that the server can break the
/// message off.
pub type ResponseBody = Body;

/// Answers requests with a guest, with a fresh instance for each or with instances that are used again. Clones share
/// both, and the limits.
#[derive(Clone)]
pub struct Handler(Arc<Inner>);

struct Inner {
    pool: Arc<Pool>,
    together: Together,
    admission: Admission,
    options: HandlerOptions,
    /// The number of the next request.
    next: AtomicU64,
    /// Requests that were turned away.
    turned_away: Tally,
}

impl Handler {
    /// Makes a handler whose instances are granted what `config` returns. It is called for each request with the request's
    /// head, and with `None` for an instance that is made ready before there is a request. A configuration's time limit is
    /// that of one request, streaming its body included; or else that of making an instance ready. If `config` fails, the
    /// request is answered with 500.
    ///
    /// An instance is used for a request only if its arguments, environment, directories and sockets are the ones that the
    /// request is granted. Others keep waiting for a request that they fit, up to [`HandlerOptions::max_idle`] of all
    /// configurations together; beyond that, the least recently used is dropped. Directories, listeners and resolvers are
    /// the same only in clones of the configuration that they were added to.
    ///
    /// # Errors
    /// [`Kind::Config`] if [`HandlerOptions::max_concurrent`] requests could occupy all
    /// [`blocking_threads`](HandlerOptions::blocking_threads); [`Kind::Guest`] if the guest does not export
    /// `wasi:http/incoming-handler`, nor `wasi:http/handler` of WASI 0.3; [`Kind::Config`] if its instances cannot work on as
    /// many requests at a time as [`HandlerOptions::max_concurrent_reuse`] says; else why it cannot be started, which is
    /// tried here.
    pub fn new(
        guest: Arc<dyn HostedGuest>,
        options: HandlerOptions,
        config: impl Fn(Option<RequestHead<'_>>) -> Result<GuestConfig> + Send + Sync + 'static,
    ) -> Result<Self> {
        let (guests, threads) = (options.max_concurrent, options.blocking_threads);
        if guests >= threads {
            let message = format!(
                "{guests} requests at a time need more threads than the {threads} that the runtime has for what blocks: \
                 lower `max_concurrent`, or give the runtime's builder a higher `max_blocking_threads` and say so in \
                 `blocking_threads`"
            );
            return Err(Error::new(Kind::Config, message));
        }
        if !guest.is_handler() {
            return Err(no_handler());
        }
        let at_once = options.max_concurrent_reuse.max(1);
        if at_once > 1 && !guest.answers_together() {
            let message = format!(
                "{at_once} requests at a time in one instance are for guests that export `wasi:http/handler@0.3` and run on \
                 wharf's own host; leave `max_concurrent_reuse` (--max-instance-concurrent-reuse-count) at 1"
            );
            return Err(Error::new(Kind::Config, message));
        }
        if at_once > 1 && !options.max_reuse.is_more_than_once() {
            let message = format!(
                "an instance cannot work on {at_once} requests at a time and answer only one: set `max_reuse` \
                 (--max-instance-reuse-count) as well"
            );
            return Err(Error::new(Kind::Config, message));
        }
        let admission = Admission::new(options.max_concurrent, options.max_waiting, options.max_wait);
        let pool = Pool::new(guest, &options, Box::new(config))?;
        Ok(Handler(Arc::new(Inner {
            pool,
            together: Together::new(at_once, options.max_busy),
            admission,
            options,
            next: AtomicU64::new(0),
            turned_away: Tally::default(),
        })))
    }

    /// How many instances wait for a request: fresh ones, and ones that have answered one.
    pub fn idle_instances(&self) -> (usize, usize) {
        self.0.pool.idle()
    }

    /// How many instances wait for something while they work on requests, so that another one could enter.
    pub fn waiting_instances(&self) -> usize {
        self.0.together.waiting()
    }

    /// Answers one request: with 503 if there are too many, or the memory of all guests is used up; else with the
    /// guest's response; or, if the guest ends before any of that was sent, as [`message`] says: with 504 if it ran out
    /// of time, else with 500.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the guest, and so does dropping the body before its end: what it waits for, its
    /// outbound connections and its place are free at once. An instance that may work on several requests goes on, and is
    /// asked to cancel what it does for this one, if it has not answered it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let Some(place) = self.0.admission.enter().await else {
            let working = self.0.options.max_concurrent;
            self.0.turned_away.add(move |count| {
                let requests = if count == 1 { "request was" } else { "requests were" };
                tracing::warn!("{count} {requests} turned away within a second: {working} are being worked on");
            });
            return unavailable();
        };
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let limit = usize::try_from(self.0.options.max_request_body).unwrap_or(usize::MAX);
        let (parts, body) = request.into_parts();
        let head = parts.method == Method::HEAD;
        let configured = (self.0.pool.configure)(Some(RequestHead::new(number, &parts)));
        let request = Request::from_parts(parts, Limited::new(body, limit).map_err(request_error).boxed_unsync());
        let mut config = match configured {
            Ok(config) => config,
            Err(error) => {
                tracing::warn!("request {number}: {}", chain(&error));
                return answer(StatusCode::INTERNAL_SERVER_ERROR);
            }
        };
        let cancel = config.cancel.child_token();
        // From here on the guest goes with whoever waits for its answer.
        let guard = cancel.clone().drop_guard();
        let (reply, response) = Reply::channel();
        let (tell, ended) = oneshot::channel();
        let left = cancel.clone();
        let end = move |ended: Result<(), Stop>| {
            let ended = match ended {
                Ok(()) | Err(Stop::Exit(0)) => Ok(()),
                Err(Stop::Exit(code)) => Err(exited(code)),
                Err(Stop::Error(error)) => Err(error),
            };
            drop(place);
            match &ended {
                Err(error) if left.is_cancelled() => tracing::debug!("request {number}: {}", chain(error)),
                Err(error) => tracing::warn!("request {number}: {}", chain(error)),
                Ok(()) => {}
            }
            // Whoever has the answer does not wait for the end.
            _ = tell.send(ended);
        };
        if self.0.together.is_meant() {
            let (head, body) = request.into_parts();
            let (body, leash) = Leash::new(body);
            let deadline = config.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
            let ended = Box::new(move |ended| {
                drop(leash);
                end(ended);
            });
            let request = Request::from_parts(head, body);
            let entering = Entering { request, reply, config, deadline, left: cancel, ended };
            self.0.enter(&Handle::current(), Box::new(entering));
        } else {
            config.cancel = cancel;
            let inner = Arc::clone(&self.0);
            self.0.spawn(&Handle::current(), move || end(inner.run(config, request, reply)));
        }
        match response.await {
            Ok(Ok(response)) if Content::of_response(head, response.status(), None) == Content::None => {
                // Nobody asks for its body.
                guard.disarm();
                response
            }
            Ok(Ok(response)) => response.map(|body| Guarded::new(body, guard).boxed_unsync()),
            Ok(Err(code)) => {
                guard.disarm();
                tracing::warn!("request {number}: the guest answered with the error {code:?}");
                answer(code.status())
            }
            Err(_nothing_sent) => {
                let end = match ended.await {
                    // Other guests have the memory, and will give it back.
                    Ok(Err(error)) if Exceeded::of(&error).is_some_and(Exceeded::is_total) => return unavailable(),
                    Ok(Err(error)) if error.kind() == Kind::Timeout => GuestEnd::TimedOut,
                    Ok(Ok(())) => {
                        tracing::warn!("request {number}: the guest ended without a whole response");
                        GuestEnd::Returned
                    }
                    _ => GuestEnd::Trapped,
                };
                answer(message::replacement(end))
            }
        }
    }

    /// Waits until no guest works on a request any more, nor on what it does after its response.
    pub async fn settled(&self) {
        self.0.admission.empty().await;
    }
}

impl Inner {
    /// Runs a guest: in a task of its own, since whoever takes the response is not to wait for the guest.
    fn spawn(&self, runtime: &Handle, guest: impl FnOnce() + Send + 'static) {
        if self.options.on_workers && runtime.runtime_flavor() == RuntimeFlavor::MultiThread {
            runtime.spawn(async move { on_worker(guest) });
        } else {
            runtime.spawn_blocking(guest);
        }
    }

    /// Has a request enter an instance that works on others, or gives it one of its own.
    fn enter(self: &Arc<Self>, runtime: &Handle, entering: Box<Entering>) {
        let offer =
            |inner: &Self, entering| inner.together.offer(entering, |entering| inner.pool.has_used(&entering.config));
        let Err(entering) = offer(self, entering) else { return };
        let (inner, handle) = (Arc::clone(self), runtime.clone());
        self.spawn(runtime, move || {
            // One may have begun to wait since.
            if let Err(entering) = offer(&inner, entering) {
                inner.work(&handle, entering);
            }
        });
    }

    /// Gives a request an instance that works on no others, and works on until there are none that have entered it.
    fn work(self: &Arc<Self>, runtime: &Handle, entering: Box<Entering>) {
        if let Some(over) = entering.over() {
            return entering.end(Err(over));
        }
        let timeout = entering.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let mut ready = match self.pool.take(GuestConfig { timeout, ..entering.config.clone() }) {
            Ok(ready) => ready,
            Err(stop) => return entering.end(Err(stop)),
        };
        let (inner, handle) = (Arc::clone(self), runtime.clone());
        let elsewhere = move |entering| {
            let (again, runtime) = (Arc::clone(&inner), handle.clone());
            inner.spawn(&handle, move || again.work(&runtime, entering));
        };
        match self.together.open(entering, ready.left(), elsewhere) {
            Ok(opened) => {
                if let Err(stop) = ready.session.handle_together(&opened.door) {
                    // Each request was told.
                    tracing::debug!("an instance ended: {stop}");
                }
                let entered = opened.door.entered();
                drop(opened);
                self.pool.put_after(ready, entered);
            }
            Err(entering) => {
                let message = "an instance that works on no request has no room for one";
                entering.end(Err(Error::new(Kind::Internal, message).into()));
            }
        }
    }

    fn run(&self, config: GuestConfig, request: Request<Body>, reply: Reply) -> Result<(), Stop> {
        if config.cancel.is_cancelled() {
            return Err(Error::new(Kind::Cancelled, "nothing waits for the answer any more").into());
        }
        if self.pool.reuses() {
            self.answer_reusing(config, request, reply)
        } else {
            self.pool.take(config).and_then(|ready| self.answer(ready, request, reply).0)
        }
    }

    /// How the guest ended, and whether its instance can be given another request.
    fn answer(&self, mut ready: Ready, request: Request<Body>, reply: Reply) -> (Result<(), Stop>, bool) {
        let ended = ready.session.handle(request, reply);
        (ended, self.pool.put(ready))
    }

    /// The same with an instance that may have answered others. If it ends without an answer, a new one gets the request,
    /// where that can be.
    fn answer_reusing(&self, config: GuestConfig, request: Request<Body>, reply: Reply) -> Result<(), Stop> {
        let started = Instant::now();
        let mut ready = self.pool.take(config.clone())?;
        if ready.answered() == 0 {
            let (ended, fit) = self.answer(ready, request, reply.clone());
            // What it leaves open after an answer, it will again.
            self.learn(ended.is_ok() && reply.is_sent() && !fit, false);
            return ended;
        }
        let is_second = ready.answered() == 1;
        let (lent, again) = Again::keep(request);
        let ended = ready.session.handle(lent, reply.clone());
        let has_sent = ready.session.has_sent_requests();
        self.pool.put(ready);
        if reply.is_sent() {
            if is_second && ended.is_ok() {
                self.pool.learned.answered();
            }
            return ended;
        }
        let left = config.timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
        if is_out_of_time_or_memory(&ended) || left.is_some_and(|left| left.is_zero()) {
            return ended;
        }
        let Some(request) = again.request(has_sent) else {
            self.learn(is_second, false);
            return ended;
        };
        tracing::debug!("an instance that has answered others ended without an answer: a new one gets the request");
        let ready = self.pool.start_for(GuestConfig { timeout: left, ..config })?;
        let (ended, _) = self.answer(ready, request, reply.clone());
        if reply.is_sent() {
            self.learn(is_second, true);
        }
        ended
    }

    /// Takes note if an instance has answered one request and no second; a new one has answered that, if `proven`.
    fn learn(&self, only_once: bool, proven: bool) {
        if only_once && self.pool.learned.failed(proven) {
            tracing::warn!(
                "the guest cannot answer a second request with the same instance, or leaves open what belongs to the first: \
                 from now on each request gets an instance of its own"
            );
            self.pool.drop_used();
        }
    }
}

/// Whether a guest ended for a reason that has nothing to do with which instance it was.
fn is_out_of_time_or_memory(ended: &Result<(), Stop>) -> bool {
    let Err(Stop::Error(error)) = ended else { return false };
    matches!(error.kind(), Kind::Timeout | Kind::Cancelled) || Exceeded::of(error).is_some_and(Exceeded::is_total)
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.pool.close();
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl<B> tower_service::Service<Request<B>> for Handler
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    /// Always ready: [`Handler::handle`] turns away what is too much.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let handler = self.clone();
        Box::pin(async move { Ok(handler.handle(request).await) })
    }
}

/// What a request is answered with that may be sent again soon.
fn unavailable() -> Response<ResponseBody> {
    let mut unavailable = answer(StatusCode::SERVICE_UNAVAILABLE);
    unavailable.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    unavailable
}

fn answer(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// What the guest gets for a request body that broke off or is too large.
fn request_error(error: Box<dyn StdError + Send + Sync>) -> HttpError {
    if error.is::<http_body_util::LengthLimitError>() {
        return HttpError::new(HttpErrorKind::RequestBodyTooLarge, "the request body is larger than the limit");
    }
    HttpError::new(HttpErrorKind::RequestBodyAborted, "the request body ended before its end").with_source(error)
}
