//! Responses on their way out: part of each is kept back until the guest has finished it, as [`message`] says.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::Notify;
use wharf_core::abi::wasi02::http::Reply;
use wharf_core::http::{Body, HttpError, HttpErrorKind, keep_trailers};
use wharf_core::message::{Content, GuestEnd, Progress, Verdict};
use wharf_core::{Kept, Run, io};

use crate::message;

/// Wakes up whoever keeps a head back, when the guest waits.
struct Waits(Notify);

impl Kept for Waits {
    fn let_go(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Gives a response on once some of it may leave. What the guest has written counts as flushed: Wasmtime's host does not
/// tell the two apart. If the guest ends before, `reply` is dropped.
pub(crate) fn respond(run: &Run, response: Response<Body>, content: Content, reply: Reply) {
    let waits = Arc::new(Waits(Notify::new()));
    run.keep(waits.clone());
    io().spawn(async move {
        let (head, body) = response.into_parts();
        let mut body = Vouched::new(body, content);
        body.announced = message::announced(&head.headers).unwrap_or_default();
        let may_leave = body.progress.head_may_leave();
        let first = tokio::select! {
            biased;
            first = body.frame() => Some(first),
            () = waits.0.notified(), if may_leave => None,
        };
        body.progress.head_sent = true;
        body.first = match first {
            Some(Some(Err(error))) => {
                tracing::debug!("the guest did not finish its response: {error}");
                return;
            }
            Some(Some(Ok(frame))) => Some(frame),
            Some(None) | None => None,
        };
        if !reply.send(Ok(Response::from_parts(head, body.boxed_unsync()))) {
            tracing::debug!("the guest set a response that nothing waits for");
        }
    });
}

/// A request's body, whose last byte waits for its end, so that no origin takes what is unfinished for whole.
pub(crate) fn request_body(body: Body, announced: Option<u64>) -> Body {
    Vouched::new(body, Content::announced(announced)).boxed_unsync()
}

/// A body whose last byte waits for its end, where its length ends it.
struct Vouched {
    body: Body,
    progress: Progress,
    /// The length that a response announces, where its content may be left out.
    announced: Option<u64>,
    /// How many bytes were passed on.
    passed: u64,
    /// What was taken out to see whether there is anything.
    first: Option<Frame<Bytes>>,
    /// What waits for the end.
    last: Option<Bytes>,
    /// What comes after it.
    trailers: Option<Frame<Bytes>>,
    /// Whether the body is whole.
    ended: bool,
}

impl Vouched {
    fn new(body: Body, content: Content) -> Self {
        let progress = Progress { content, written: 0, head_sent: false };
        Vouched { body, progress, announced: None, passed: 0, first: None, last: None, trailers: None, ended: false }
    }

    /// What of the next bytes may be passed on.
    fn take(&mut self, mut data: Bytes) -> Result<Bytes, HttpError> {
        self.progress.written = self.progress.written.saturating_add(data.len() as u64);
        match self.progress.content {
            Content::None => return Ok(Bytes::new()),
            Content::Length(length) if self.progress.written > length => return Err(self.wrong_length()),
            Content::Length(_) | Content::Open => {}
        }
        let ready = self.progress.sendable(self.progress.written).saturating_sub(self.passed);
        let ready = usize::try_from(ready).unwrap_or(usize::MAX).min(data.len());
        let last = data.split_off(ready);
        if !last.is_empty() {
            self.last = Some(last);
        }
        self.passed += data.len() as u64;
        Ok(data)
    }

    fn wrong_length(&self) -> HttpError {
        let written = self.progress.written;
        let message = format!("the guest wrote {written} bytes of a body that announces another length");
        HttpError::new(HttpErrorKind::RequestBodyLength(written), message)
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, HttpError>>>;

impl HttpBody for Vouched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        if let Some(frame) = self.first.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        while !self.ended {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                // Wasmtime's host holds a message without content to the length that it announces, and does not tell
                // one that is finished without it from one that is dropped.
                Poll::Ready(Some(Err(_)))
                    if self.progress.content == Content::None
                        && self.announced.is_some_and(|announced| announced != self.progress.written) =>
                {
                    self.ended = true;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => self.ended = true,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        let data = self.take(data)?;
                        if !data.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                    }
                    Err(frame) => {
                        let trailers = frame.into_trailers().ok().filter(|_| self.progress.content != Content::None);
                        self.trailers = trailers.map(|mut trailers| {
                            keep_trailers(&mut trailers);
                            Frame::trailers(trailers)
                        });
                    }
                },
            }
        }
        if self.progress.verdict(GuestEnd::Finished) != Verdict::Whole {
            self.ended = false;
            return Poll::Ready(Some(Err(self.wrong_length())));
        }
        if let Some(last) = self.last.take() {
            self.passed += last.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(last))));
        }
        Poll::Ready(self.trailers.take().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.first.is_none() && self.last.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let waits = self.first.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
        match self.progress.content {
            Content::Length(length) if length > 0 => SizeHint::with_exact(length.saturating_sub(self.passed) + waits),
            _ if self.is_end_stream() => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
