//! The time of one request until its response begins.
//!
//! reqwest has one connect timeout for a whole pool, and nothing that says when a request has its connection. Both are
//! needed for each request, so they are laid round its connector, which finds the request it works for in a task-local.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};
use tower_layer::Layer;
use tower_service::Service;

use super::error::{HttpError, HttpErrorKind};
use super::limits::{Limits, Timeouts};
use super::transport::Body;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

tokio::task_local! {
    /// The request for which a connection is wanted.
    static REQUEST: (Duration, Arc<Progress>);
    /// When the connection being made must be there.
    static DEADLINE: Instant;
}

/// The moment `duration` from now, or one that never comes if there is no such moment.
pub(super) fn deadline(duration: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(duration).unwrap_or(now + NEVER)
}

/// Sends through `send`, within the connect and first-byte timeouts.
pub(super) async fn timed<T>(
    body: Body,
    timeouts: &Timeouts,
    send: impl AsyncFnOnce(Watched) -> Result<T, HttpError>,
) -> Result<T, HttpError> {
    let progress = Arc::new(Progress::new(body.is_end_stream()));
    let body = SharedBody(Arc::new(Mutex::new(Some(body))));
    let watched = Watched { body: body.clone(), progress: progress.clone(), waiting: None };
    let sending = REQUEST.scope((timeouts.connect, progress.clone()), send(watched));
    let mut unless_answered = GiveUp(Some(body));
    let result = tokio::select! {
        biased;
        // Over HTTP/2 an error of the request's body reaches the origin but not the response, so it is kept here.
        result = sending => result.map_err(|error| progress.state().body_error.take().unwrap_or(error)),
        () = progress.stalled(timeouts.first_byte) => Err(if progress.state().body_ended {
            let message = format!("the response did not begin within {:?}", timeouts.first_byte);
            HttpError::new(HttpErrorKind::FirstByteTimeout, message)
        } else {
            let message = format!("the origin took nothing more of the request body for {:?}", timeouts.first_byte);
            HttpError::new(HttpErrorKind::WriteTimeout, message)
        }),
    };
    if result.is_ok() {
        unless_answered.0 = None;
    }
    result
}

/// A request body that can be taken away from who sends it.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<Option<Body>>>);

impl SharedBody {
    fn lock(&self) -> MutexGuard<'_, Option<Body>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a body away when it goes. A connection whose origin reads nothing keeps what it sends for as long as it
/// lives, and whoever writes the body would wait as long.
struct GiveUp(Option<SharedBody>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        let body = self.0.take().and_then(|body| body.lock().take());
        drop(body);
    }
}

/// Waits for `future` until the deadline of the connection being made.
pub(super) async fn within_deadline<T>(future: impl Future<Output = T>) -> Option<T> {
    match DEADLINE.try_with(|deadline| *deadline) {
        Ok(deadline) => timeout_at(deadline, future).await.ok(),
        Err(_) => Some(future.await),
    }
}

/// What the first-byte timeout counts from, and whether it counts.
struct Progress {
    state: Mutex<ProgressState>,
    resumed: Notify,
}

struct ProgressState {
    /// How many reasons there are not to count.
    pauses: usize,
    since: Instant,
    /// Whether nothing of the body is left to be taken.
    body_ended: bool,
    body_error: Option<HttpError>,
}

impl Progress {
    fn new(body_ended: bool) -> Self {
        let state = ProgressState { pauses: 0, since: Instant::now(), body_ended, body_error: None };
        Progress { state: Mutex::new(state), resumed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, ProgressState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pause(self: &Arc<Self>) -> Pause {
        self.state().pauses += 1;
        Pause(self.clone())
    }

    /// The body has given something to send, its end, or an error.
    fn advance(&self, body_ended: bool, body_error: Option<HttpError>) {
        let mut state = self.state();
        state.since = Instant::now();
        state.body_ended = body_ended;
        state.body_error = body_error;
    }

    /// Ends when the origin has kept the request waiting for `limit`.
    async fn stalled(&self, limit: Duration) {
        loop {
            let since = {
                let state = self.state();
                (state.pauses == 0).then_some(state.since)
            };
            match since {
                None => self.resumed.notified().await,
                Some(since) if since.elapsed() >= limit => return,
                Some(since) => sleep_until(since.checked_add(limit).unwrap_or_else(|| deadline(Duration::MAX))).await,
            }
        }
    }
}

/// While it lives, the first-byte timeout does not count; when it goes, it starts anew.
struct Pause(Arc<Progress>);

impl Drop for Pause {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.pauses -= 1;
        state.since = Instant::now();
        drop(state);
        self.0.resumed.notify_one();
    }
}

/// A request body that reports its progress.
pub(super) struct Watched {
    body: SharedBody,
    progress: Arc<Progress>,
    waiting: Option<Pause>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let (polled, ended) = match &mut *self.body.lock() {
            Some(body) => {
                let polled = Pin::new(&mut *body).poll_frame(context);
                let ended = !matches!(polled, Poll::Ready(Some(Ok(_)))) || body.is_end_stream();
                (polled, ended)
            }
            None => {
                let message = "the request was given up before its body was sent";
                (Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Cancelled, message)))), true)
            }
        };
        match &polled {
            Poll::Pending if self.waiting.is_none() => self.waiting = Some(self.progress.pause()),
            Poll::Pending => {}
            Poll::Ready(frame) => {
                self.progress.advance(ended, frame.as_ref().and_then(|frame| frame.as_ref().err().cloned()));
                self.waiting = None;
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.lock().as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.lock().as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

/// Lays the connect timeout of each request round the connector.
#[derive(Debug, Clone)]
pub(super) struct ConnectLayer;

impl<S> Layer<S> for ConnectLayer {
    type Service = ConnectService<S>;

    fn layer(&self, connector: S) -> ConnectService<S> {
        ConnectService { connector }
    }
}

#[derive(Debug, Clone)]
pub(super) struct ConnectService<S> {
    connector: S,
}

impl<S, T> Service<T> for ConnectService<S>
where
    S: Service<T, Error = BoxError>,
    S::Response: Send,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let request = REQUEST.try_with(Clone::clone).ok();
        let limit = request.as_ref().map_or_else(|| Limits::default().connect_timeout, |(limit, _)| *limit);
        let pause = request.map(|(_, progress)| progress.pause());
        let deadline = deadline(limit);
        let connecting = self.connector.call(target);
        Box::pin(async move {
            let _not_counted_as_waiting_for_the_response = pause;
            DEADLINE.scope(deadline, timeout_at(deadline, connecting)).await.unwrap_or_else(|_| {
                let message = format!("no connection was made within {limit:?}");
                Err(HttpError::new(HttpErrorKind::ConnectionTimeout, message).into())
            })
        })
    }
}
