//! What comes to a guest: requests, responses, and their bodies.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use http::{HeaderMap, StatusCode};
use http_body::Body as _;

use super::code::ErrorCode;
use super::fields::Fields;
use super::head::{HasHead, HasStatus, Method, RequestHead, Scheme};
use crate::abi::wasi02::canon::{Borrow, Cx, Handle, Outcome, Own};
use crate::abi::wasi02::io::{End, InputStream, IoError, Pollable, Source, unconstrained};
use crate::abi::wasi02::table::Resource;
use crate::budget::{Budget, Charge, Exceeded, allocation};
use crate::http::{Body, HttpError, is_forbidden, keep_trailers};

/// What the host has of a message while it arrives, at most: what it reads ahead, and its part of a connection.
pub(crate) const READ_AHEAD: u64 = 96 << 10;

/// How many parts of a body are passed over at one look, so that no look takes long.
const PARTS: usize = 64;

/// A body while it arrives.
pub(crate) struct Arriving {
    body: Body,
    /// What has arrived and was not read.
    rest: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) end: Option<Result<(), HttpError>>,
    /// For what is read ahead, until the end.
    charge: Option<Charge>,
}

/// The body's resource and its stream share it.
pub(crate) type Shared = Arc<Mutex<Arriving>>;

pub(crate) fn lock(shared: &Shared) -> MutexGuard<'_, Arriving> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Arriving {
    /// A body for which `charge` is made.
    pub(crate) fn new(body: Body, charge: Charge) -> Shared {
        let charge = Some(charge);
        Arc::new(Mutex::new(Arriving { body, rest: Bytes::new(), trailers: None, end: None, charge }))
    }

    /// Whether it is known that nothing of it will be read.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    /// Ready when there are bytes that were not read, or the end.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.rest.is_empty() && self.end.is_none() {
            match unconstrained(context, |context| Pin::new(&mut self.body).poll_frame(context)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.end = Some(Ok(())),
                Poll::Ready(Some(Err(error))) => self.end = Some(Err(error)),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok().map(|mut trailers| {
                            keep_trailers(&mut trailers);
                            trailers
                        });
                    }
                },
            }
        }
        if self.end.is_some() {
            self.charge = None;
        }
        Poll::Ready(())
    }

    /// Passes over what is left; ready at the end.
    pub(crate) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..PARTS {
            if self.end.is_some() {
                return Poll::Ready(());
            }
            self.rest.clear();
            if self.poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The stream of an incoming body.
pub(crate) struct BodySource(pub(crate) Shared);

impl Source for BodySource {
    fn read(&mut self, max: usize) -> Result<Bytes, End> {
        let mut arriving = lock(&self.0);
        if arriving.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Ok(Bytes::new());
        }
        if arriving.rest.has_remaining() {
            let len = max.min(arriving.rest.len());
            return Ok(arriving.rest.split_to(len));
        }
        match &arriving.end {
            Some(Err(error)) => Err(End::Failed(IoError {
                message: error.to_string(),
                http: Some(ErrorCode::from(error)),
                filesystem: None,
            })),
            _ => Err(End::Closed),
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        lock(&self.0).poll(context)
    }
}

/// `wasi:http/types.incoming-body`.
pub(crate) struct IncomingBody {
    arriving: Shared,
    asked: bool,
}

impl Resource for IncomingBody {
    const NAME: &'static str = "incoming-body";
}

pub(crate) fn stream(cx: &mut Cx<'_>, this: Borrow<IncomingBody>) -> Outcome<Result<Handle<InputStream>, ()>> {
    let body = cx.get(this)?;
    if std::mem::replace(&mut body.asked, true) {
        return Ok(Err(()));
    }
    let stream = InputStream::new(BodySource(body.arriving.clone()));
    cx.push_child(stream, this).map(Ok)
}

pub(crate) fn finish(cx: &mut Cx<'_>, this: Own<IncomingBody>) -> Outcome<Handle<FutureTrailers>> {
    cx.push(FutureTrailers { arriving: Some(this.0.arriving) })
}

/// `wasi:http/types.future-trailers`.
pub(crate) struct FutureTrailers {
    /// `None` once the trailers were given.
    arriving: Option<Shared>,
}

impl Resource for FutureTrailers {
    const NAME: &'static str = "future-trailers";
}

impl FutureTrailers {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &self.arriving {
            Some(arriving) => lock(arriving).poll_end(context),
            None => Poll::Ready(()),
        }
    }
}

pub(crate) fn subscribe_trailers(cx: &mut Cx<'_>, this: Borrow<FutureTrailers>) -> Outcome<Handle<Pollable>> {
    cx.subscribe(this, FutureTrailers::poll)
}

type Trailers = Result<Option<Handle<Fields>>, ErrorCode>;

pub(crate) fn trailers(cx: &mut Cx<'_>, this: Borrow<FutureTrailers>) -> Outcome<Option<Result<Trailers, ()>>> {
    let future = cx.get(this)?;
    if future.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        return Ok(None);
    }
    let Some(arriving) = future.arriving.take() else { return Ok(Some(Err(()))) };
    let budget = cx.state.budget.clone();
    let mut arriving = lock(&arriving);
    if let Some(Err(error)) = &arriving.end {
        return Ok(Some(Ok(Err(error.into()))));
    }
    let Some(trailers) = arriving.trailers.take() else { return Ok(Some(Ok(Ok(None)))) };
    Ok(Some(Ok(match Fields::arrived(&trailers, &budget) {
        Ok(trailers) => Ok(Some(cx.push_child(trailers, this)?)),
        Err(exceeded) => Err(exceeded.into()),
    })))
}

/// `wasi:http/types.incoming-response`.
pub(crate) struct IncomingResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: Fields,
    pub(crate) body: Option<Shared>,
}

impl Resource for IncomingResponse {
    const NAME: &'static str = "incoming-response";
}

impl HasStatus for IncomingResponse {
    fn status(&mut self) -> &mut StatusCode {
        &mut self.status
    }
}

type Response = Borrow<IncomingResponse>;

pub(crate) fn response_headers(cx: &mut Cx<'_>, this: Response) -> Outcome<Handle<Fields>> {
    let headers = cx.get(this)?.headers.clone();
    cx.push_child(headers, this)
}

pub(crate) fn consume_response(cx: &mut Cx<'_>, this: Response) -> Outcome<Result<Handle<IncomingBody>, ()>> {
    match cx.get(this)?.body.take() {
        Some(arriving) => cx.push(IncomingBody { arriving, asked: false }).map(Ok),
        None => Ok(Err(())),
    }
}

/// `wasi:http/types.incoming-request`.
pub(crate) struct IncomingRequest {
    pub(crate) head: RequestHead,
    pub(crate) body: Option<Shared>,
}

impl Resource for IncomingRequest {
    const NAME: &'static str = "incoming-request";
}

impl HasHead for IncomingRequest {
    fn head(&mut self) -> &mut RequestHead {
        &mut self.head
    }
}

impl IncomingRequest {
    /// A request for `authority`. What belongs to the connection is not for the guest, and neither is what a Connection
    /// header names. A server says how the request came by the scheme of its target or, where the target cannot have one
    /// since it has no authority, by an extension of the type [`http::uri::Scheme`].
    ///
    /// # Errors
    /// The guest may not have so much.
    pub(crate) fn new(
        request: http::Request<Body>,
        authority: Option<String>,
        budget: &Budget,
    ) -> Result<Self, Exceeded> {
        let (mut parts, body) = request.into_parts();
        let nominated: Vec<http::HeaderName> = parts
            .headers
            .get_all(http::header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .filter(|name| !is_forbidden(name) && name != http::header::CONTENT_LENGTH)
            .collect();
        for name in nominated {
            parts.headers.remove(name);
        }
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let texts =
            [parts.method.as_str(), path, authority.as_deref().unwrap_or_default()].map(|text| allocation(text.len()));
        let head = RequestHead {
            charge: budget.charge(texts.into_iter().sum())?,
            method: Method::from(&parts.method),
            path: parts.uri.path_and_query().map(|path| path.as_str().to_owned()),
            // A request that came in its usual form has no scheme in its target: a server that has TLS says so there.
            scheme: Some(parts.uri.scheme().or(parts.extensions.get()).map_or(Scheme::Http, |scheme| {
                match scheme.as_str() {
                    "http" => Scheme::Http,
                    "https" => Scheme::Https,
                    other => Scheme::Other(other.to_owned()),
                }
            })),
            authority,
            headers: Fields::arrived(&parts.headers, budget)?,
        };
        Ok(IncomingRequest { head, body: Some(Arriving::new(body, budget.charge(READ_AHEAD)?)) })
    }
}

type Request = Borrow<IncomingRequest>;

pub(crate) fn request_headers(cx: &mut Cx<'_>, this: Request) -> Outcome<Handle<Fields>> {
    let headers = cx.get(this)?.head.headers.clone();
    cx.push_child(headers, this)
}

pub(crate) fn consume_request(cx: &mut Cx<'_>, this: Request) -> Outcome<Result<Handle<IncomingBody>, ()>> {
    match cx.get(this)?.body.take() {
        Some(arriving) => cx.push(IncomingBody { arriving, asked: false }).map(Ok),
        None => Ok(Err(())),
    }
}
