//! One request, one instance.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use tokio::sync::oneshot;
use wharf_core::http::{Body, HttpError, HttpErrorKind};
use wharf_core::{Error, GuestConfig, HostedGuest, Kind, Result, Stop, chain};

use crate::admission::Admission;

/// The body of a response: it ends in an error where the guest left it unfinished, so that the server can break the
/// message off.
pub type ResponseBody = Body;

/// How much a handler takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerOptions {
    /// How many requests are worked on at a time, each on a thread of the blocking pool.
    pub max_concurrent: usize,
    /// How many more may wait for their turn; all others are answered with 503.
    pub max_waiting: usize,
    /// How long a request may wait for its turn before it is answered with 503.
    pub max_wait: Duration,
    /// How large a request body may be, in bytes.
    pub max_request_body: u64,
}

impl Default for HandlerOptions {
    /// 128 at a time, 1024 waiting, for at most 5 s; request bodies of 64 MiB.
    fn default() -> Self {
        HandlerOptions {
            max_concurrent: 128,
            max_waiting: 1024,
            max_wait: Duration::from_secs(5),
            max_request_body: 64 << 20,
        }
    }
}

/// Answers requests with a guest, with a fresh instance for each. Clones share their limits.
#[derive(Clone)]
pub struct Handler(Arc<Inner>);

struct Inner {
    guest: Arc<dyn HostedGuest>,
    config: Box<dyn Fn(u64) -> Result<GuestConfig> + Send + Sync>,
    admission: Admission,
    options: HandlerOptions,
    /// The number of the next request.
    next: AtomicU64,
}

impl Handler {
    /// A handler whose instances are granted what `config` says, which is asked for each request, with its number from
    /// 0 on. A configuration's time limit is that of one request, streaming its body included.
    ///
    /// # Errors
    /// [`Kind::Guest`] if the guest does not export `wasi:http/incoming-handler`.
    pub fn new(
        guest: Arc<dyn HostedGuest>,
        options: HandlerOptions,
        config: impl Fn(u64) -> Result<GuestConfig> + Send + Sync + 'static,
    ) -> Result<Self> {
        if !guest.is_handler() {
            let message = "the guest exports no `wasi:http/incoming-handler@0.2`, so it cannot serve; `wharf run` is for \
                           guests that are started as a command";
            return Err(Error::new(Kind::Guest, message));
        }
        let admission = Admission::new(options.max_concurrent, options.max_waiting, options.max_wait);
        Ok(Handler(Arc::new(Inner { guest, config: Box::new(config), admission, options, next: AtomicU64::new(0) })))
    }

    /// Answers one request: 503 if there are too many, 500 if the guest traps or sets no response, 504 if it runs out of
    /// time before it does; else what the guest says.
    ///
    /// # Cancel safety
    /// The guest works on if the future is dropped; its time limit ends it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let Some(place) = self.0.admission.enter().await else {
            tracing::warn!("a request was turned away: {} are being worked on", self.0.options.max_concurrent);
            let mut full = answer(StatusCode::SERVICE_UNAVAILABLE);
            full.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return full;
        };
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let limit = usize::try_from(self.0.options.max_request_body).unwrap_or(usize::MAX);
        let request = request.map(|body| Limited::new(body, limit).map_err(request_error).boxed_unsync());
        let (reply, response) = oneshot::channel();
        let inner = Arc::clone(&self.0);
        let ended = tokio::task::spawn_blocking(move || {
            let ended = inner.run(number, request, reply);
            drop(place);
            if let Err(error) = &ended {
                tracing::warn!("request {number}: {}", chain(error));
            }
            ended
        });
        match response.await {
            Ok(Ok(response)) => response,
            Ok(Err(code)) => {
                tracing::warn!("request {number}: the guest answered with the error {code:?}");
                answer(code.status())
            }
            Err(_never_set) => match ended.await {
                Ok(Err(error)) if error.kind() == Kind::Timeout => answer(StatusCode::GATEWAY_TIMEOUT),
                Ok(Ok(())) => {
                    tracing::warn!("request {number}: the guest ended without a response");
                    answer(StatusCode::INTERNAL_SERVER_ERROR)
                }
                _ => answer(StatusCode::INTERNAL_SERVER_ERROR),
            },
        }
    }
}

impl Inner {
    fn run(&self, number: u64, request: Request<Body>, reply: wharf_core::abi::wasi02::http::Reply) -> Result<()> {
        let ended = match self.guest.start((self.config)(number)?) {
            Ok(mut session) => session.handle(request, reply),
            Err(stop) => Err(stop),
        };
        match ended {
            Ok(()) | Err(Stop::Exit(0)) => Ok(()),
            Err(Stop::Exit(code)) => Err(Error::new(Kind::Guest, format!("the guest exited with {code}"))),
            Err(Stop::Error(error)) => Err(error),
        }
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
