//! Bodies on their way between the guest and whoever it talks to.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use wasmtime_wasi_http::{Error, WasiBody};
use wharf_core::Run;
use wharf_core::abi::wasi02::http::{ErrorCode, Reply};
use wharf_core::http::{Body, HttpError, keep_trailers};
use wharf_core::message::Content;

use crate::codes;
use crate::held;

/// A request as Wasmtime takes it: a broken body is an error code.
pub(crate) fn incoming(request: http::Request<Body>) -> http::Request<WasiBody> {
    request.map(received)
}

/// A body that was received, as a guest may see it.
pub(crate) fn received(body: impl HttpBody<Data = Bytes, Error = HttpError> + Send + 'static) -> WasiBody {
    let body = body.map_frame(kept).map_err(|error: HttpError| codes::for_guest(&error)).boxed_unsync();
    Received(body).boxed_unsync()
}

/// A part of a body as a guest may see it.
fn kept(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        keep_trailers(trailers);
    }
    frame
}

/// Where a request was sent: by its target, or else by its `host`.
pub(crate) fn authority<T>(request: &http::Request<T>) -> Option<Authority> {
    let host = || Authority::try_from(request.headers().get(HOST)?.as_bytes()).ok();
    request.uri().authority().cloned().or_else(host)
}

/// How a request came: as its target says, or else, where that cannot since it has no authority, an extension.
pub(crate) fn scheme<T>(request: &http::Request<T>) -> Scheme {
    request.uri().scheme().or(request.extensions().get()).cloned().unwrap_or(Scheme::HTTP)
}

/// Gives on a response to a request of this method, with its body; what cannot be sent is an error code.
pub(crate) fn respond(run: &Run, method: &Method, response: Response<WasiBody>, reply: Reply) {
    let content = match content(method, &response) {
        Ok(content) => content,
        Err(code) => return refuse(code, reply),
    };
    held::respond(run, response.map(|body| body.map_err(codes::broken_off).boxed_unsync()), content, reply);
}

/// Gives an error in the place of a response.
pub(crate) fn refuse(code: ErrorCode, reply: Reply) {
    if !reply.send(Err(code)) {
        tracing::debug!("the guest set an error that nothing waits for");
    }
}

fn content(method: &Method, response: &Response<WasiBody>) -> Result<Content, ErrorCode> {
    if response.status().is_informational() {
        return Err(ErrorCode::HttpProtocolError);
    }
    let announced = announced(response.headers()).map_err(|()| {
        ErrorCode::InternalError(Some("the content-length of the response is not a valid length".to_owned()))
    })?;
    Ok(Content::of_response(method == Method::HEAD, response.status(), announced))
}

/// The length that a message announces.
///
/// # Errors
/// It is not a valid length, or there are several that differ.
pub(crate) fn announced(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    let mut announced = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits.and_then(|text| text.parse::<u64>().ok());
        if length.is_none() || announced.is_some() && announced != length {
            return Err(());
        }
        announced = length;
    }
    Ok(announced)
}

thread_local! {
    /// Whether a body that was received was polled on this thread. Wasmtime's host tells nobody whose a body is; what is
    /// polled within the poll of another is what that is made of.
    static POLLED: Cell<bool> = const { Cell::new(false) };
}

/// A body that was received, which Wasmtime's host sends on as it is if the guest hands it on.
struct Received(WasiBody);

impl HttpBody for Received {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        POLLED.set(true);
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// A body that has to be finished before the guest has ended: an end that comes after is none.
pub(crate) struct Guarded {
    body: WasiBody,
    ended: CancellationToken,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Held while this may be a body that was received, which is not the guest's to finish.
    passing: Option<mpsc::Sender<()>>,
}

impl Guarded {
    /// The body of a guest that `ended` is cancelled for. `passing` is given back once it is known to be of the guest's own
    /// making, or else once it has gone.
    pub(crate) fn new(body: WasiBody, ended: CancellationToken, passing: mpsc::Sender<()>) -> Self {
        let over = Box::pin(ended.clone().cancelled_owned());
        Guarded { body, ended, over, passing: Some(passing) }
    }
}

fn unfinished() -> Error {
    Error::InternalError(Some("the guest ended before it had finished the body".to_owned()))
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        POLLED.set(false);
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if !POLLED.get() {
            self.passing = None;
        }
        match polled {
            Poll::Ready(None) if self.ended.is_cancelled() => Poll::Ready(Some(Err(unfinished()))),
            // What was received may have no end.
            Poll::Pending => self.over.as_mut().poll(context).map(|()| Some(Err(unfinished()))),
            polled => polled,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body whose end the guest's own task has to confirm, so that one that broke down is not taken for one that is done.
pub(crate) struct Confirmed {
    body: WasiBody,
    ask: Option<oneshot::Sender<oneshot::Sender<()>>>,
    answer: Option<oneshot::Receiver<()>>,
}

impl Confirmed {
    /// The body, and where its end is told: with the sender that confirms it, or closed if nobody reads any more.
    pub(crate) fn new(body: WasiBody) -> (Self, oneshot::Receiver<oneshot::Sender<()>>) {
        let (ask, asked) = oneshot::channel();
        (Confirmed { body, ask: Some(ask), answer: None }, asked)
    }
}

impl HttpBody for Confirmed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            if let Some(answer) = &mut self.answer {
                return Pin::new(answer).poll(context).map(|confirmed| match confirmed {
                    Ok(()) => None,
                    Err(_) => Some(Err(unfinished())),
                });
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(None) => {
                    let (confirm, answer) = oneshot::channel();
                    // If nobody is left to confirm it, the answer is that.
                    if let Some(ask) = self.ask.take() {
                        _ = ask.send(confirm);
                    }
                    self.answer = Some(answer);
                }
                polled => return polled,
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
