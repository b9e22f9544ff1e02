//! The time of one request until its response begins.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::error::{HttpError, HttpErrorKind};
use crate::transport::Body;

/// The moment `duration` from now, or one that never comes if there is no such moment.
pub fn deadline(duration: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(duration).unwrap_or(now + NEVER)
}

/// Sends `body` with a request through `send`, within the time that a response may take to begin
/// ([`Timeouts::first_byte`](crate::Timeouts::first_byte)). An error of the body comes back as it is.
///
/// # Errors
/// [`HttpErrorKind::FirstByteTimeout`], or [`HttpErrorKind::WriteTimeout`] if it is the body that the origin does not take;
/// else what `send` says.
pub async fn timed<T>(
    body: Body,
    first_byte: Duration,
    send: impl AsyncFnOnce(Watched) -> Result<T, HttpError>,
) -> Result<T, HttpError> {
    let progress = Arc::new(Progress::new(body.is_end_stream()));
    let body = SharedBody(Arc::new(Mutex::new(Some(body))));
    let watched = Watched { body: body.clone(), progress: progress.clone(), waiting: None, trailers: None };
    let sending = send(watched);
    let mut unless_answered = GiveUp(Some(body));
    let result = tokio::select! {
        biased;
        // Over HTTP/2 an error of the request's body reaches the origin but not the response, so it is kept here.
        result = sending => result.map_err(|error| progress.state().body_error.take().unwrap_or(error)),
        () = progress.stalled(first_byte) => Err(if progress.state().body_ended {
            let message = format!("the response did not begin within {first_byte:?}");
            HttpError::new(HttpErrorKind::FirstByteTimeout, message)
        } else {
            let message = format!("the origin took nothing more of the request body for {first_byte:?}");
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
pub struct Pause(Arc<Progress>);

impl Drop for Pause {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.pauses -= 1;
        state.since = Instant::now();
        drop(state);
        self.0.resumed.notify_one();
    }
}

/// A request body that reports its progress, and is gone once the request was given up.
pub struct Watched {
    body: SharedBody,
    progress: Arc<Progress>,
    waiting: Option<Pause>,
    /// The only trailers that can be sent, if not all can.
    trailers: Option<Vec<HeaderName>>,
}

impl Watched {
    /// The same body, to be sent again because none of it was.
    pub fn again(&self) -> Self {
        Watched { body: self.body.clone(), progress: self.progress.clone(), waiting: None, trailers: None }
    }

    /// While the result lives, the first-byte timeout does not count.
    pub fn pause(&self) -> Pause {
        self.progress.pause()
    }

    /// Makes trailers of other names an error, where they would be lost; `None` allows all.
    pub fn allow_trailers(&mut self, names: Option<Vec<HeaderName>>) {
        self.trailers = names;
    }

    fn check_trailers(&self, trailers: &HeaderMap) -> Result<(), HttpError> {
        let Some(allowed) = &self.trailers else { return Ok(()) };
        match trailers.keys().find(|name| !allowed.contains(name)) {
            None => Ok(()),
            Some(name) => {
                let message = format!(
                    "the trailer {name} cannot be sent over HTTP/1.1, since the request's headers did not announce it; \
                     name it in a header trailer"
                );
                Err(HttpError::new(HttpErrorKind::InvalidRequest, message))
            }
        }
    }
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
        let polled = match polled {
            Poll::Ready(Some(Ok(frame))) => {
                let checked = frame.trailers_ref().map_or(Ok(()), |trailers| self.check_trailers(trailers));
                Poll::Ready(Some(checked.map(|()| frame)))
            }
            polled => polled,
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
