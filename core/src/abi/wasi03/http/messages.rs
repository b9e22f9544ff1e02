//! `wasi:http/types`: requests and responses.

use http::StatusCode;

use super::body::{Body, Made, Sent, Trailers, parts};
use crate::abi::concurrent::{ByteStream, FutureIn, FutureOut};
use crate::abi::wasi02::canon::{Borrow, Cx, Handle, Outcome, Own, variant};
use crate::abi::wasi02::http::fields::{self, Fields, Refusal};
use crate::abi::wasi02::http::head::{HasHead, HasStatus, RequestHead};
use crate::abi::wasi02::http::incoming::IncomingRequest;
use crate::abi::wasi02::http::sending::{self, RequestOptions};
use crate::abi::wasi02::table::Resource;

variant! {
    /// `wasi:http/types.header-error`.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) enum HeaderError as "header-error" {
        InvalidSyntax,
        Forbidden,
        Immutable,
        SizeExceeded,
        Other(message: Option<String>),
    }
}

impl Refusal for HeaderError {
    fn of(error: fields::HeaderError) -> Self {
        match error {
            fields::HeaderError::InvalidSyntax => HeaderError::InvalidSyntax,
            fields::HeaderError::Forbidden => HeaderError::Forbidden,
            fields::HeaderError::Immutable => HeaderError::Immutable,
        }
    }

    fn too_large(_: String) -> Outcome<Self> {
        Ok(HeaderError::SizeExceeded)
    }
}

variant! {
    /// `wasi:http/types.request-options-error`.
    #[derive(Debug, PartialEq, Eq)]
    #[allow(dead_code, reason = "all of them are supported")]
    pub(super) enum OptionsError as "request-options-error" {
        NotSupported,
        Immutable,
        Other(message: Option<String>),
    }
}

/// What `new` gives: the message, and what becomes of it.
pub(super) type New<T> = (Handle<T>, FutureOut<Sent>);

/// What `consume-body` gives.
pub(super) type Parts = (ByteStream, FutureOut<Trailers>);

/// `wasi:http/types.request`.
pub(crate) struct Request {
    pub(super) head: RequestHead,
    pub(super) options: Option<RequestOptions>,
    pub(super) body: Body,
}

impl Resource for Request {
    const NAME: &'static str = "request";
}

impl HasHead for Request {
    fn head(&mut self) -> &mut RequestHead {
        &mut self.head
    }
}

impl Request {
    /// One that has arrived.
    pub(super) fn arrived(request: IncomingRequest) -> Option<Self> {
        Some(Request { head: request.head, options: None, body: Body::Arrived(request.body?) })
    }
}

type This = Borrow<Request>;
type Set = Outcome<Result<(), ()>>;

pub(super) fn new_request(
    cx: &mut Cx<'_>,
    headers: Own<Fields>,
    contents: Option<ByteStream>,
    trailers: FutureIn<Trailers>,
    options: Option<Own<RequestOptions>>,
) -> Outcome<New<Request>> {
    let (made, sent) = Made::new(contents, trailers);
    let head = RequestHead::new(headers.0.frozen(), &cx.state.budget);
    let request = Request { head, options: options.map(|Own(options)| options), body: Body::Made(made) };
    Ok((cx.push(request)?, sent))
}

/// Read back, options are not to be changed.
pub(super) fn options(cx: &mut Cx<'_>, this: This) -> Outcome<Option<Handle<RequestOptions>>> {
    match cx.get(this)?.options {
        Some(options) => cx.push(RequestOptions { immutable: true, ..options }).map(Some),
        None => Ok(None),
    }
}

/// Read back, headers are not to be changed.
pub(super) fn request_headers(cx: &mut Cx<'_>, this: This) -> Outcome<Handle<Fields>> {
    let headers = cx.get(this)?.head.headers.frozen();
    cx.push(headers)
}

pub(super) fn consume_request(cx: &mut Cx<'_>, this: Own<Request>, res: FutureIn<Sent>) -> Outcome<Parts> {
    parts(cx, this.0.body, res)
}

type Options = Borrow<RequestOptions>;
type SetOption = Outcome<Result<(), OptionsError>>;

fn set(
    cx: &mut Cx<'_>,
    this: Options,
    duration: Option<u64>,
    set: fn(&mut Cx<'_>, Options, Option<u64>) -> Set,
) -> SetOption {
    if cx.get(this)?.immutable {
        return Ok(Err(OptionsError::Immutable));
    }
    set(cx, this, duration).map(|set| set.map_err(|()| OptionsError::NotSupported))
}

pub(super) fn set_connect(cx: &mut Cx<'_>, this: Options, duration: Option<u64>) -> SetOption {
    set(cx, this, duration, sending::set_connect)
}

pub(super) fn set_first_byte(cx: &mut Cx<'_>, this: Options, duration: Option<u64>) -> SetOption {
    set(cx, this, duration, sending::set_first_byte)
}

pub(super) fn set_between_bytes(cx: &mut Cx<'_>, this: Options, duration: Option<u64>) -> SetOption {
    set(cx, this, duration, sending::set_between_bytes)
}

pub(super) fn clone_options(cx: &mut Cx<'_>, this: Options) -> Outcome<Handle<RequestOptions>> {
    let options = *cx.get(this)?;
    cx.push(RequestOptions { immutable: false, ..options })
}

/// `wasi:http/types.response`.
pub(crate) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: Fields,
    pub(super) body: Body,
}

impl Resource for Response {
    const NAME: &'static str = "response";
}

impl HasStatus for Response {
    fn status(&mut self) -> &mut StatusCode {
        &mut self.status
    }
}

pub(super) fn new_response(
    cx: &mut Cx<'_>,
    headers: Own<Fields>,
    contents: Option<ByteStream>,
    trailers: FutureIn<Trailers>,
) -> Outcome<New<Response>> {
    let (made, sent) = Made::new(contents, trailers);
    let response = Response { status: StatusCode::OK, headers: headers.0.frozen(), body: Body::Made(made) };
    Ok((cx.push(response)?, sent))
}

pub(super) fn response_headers(cx: &mut Cx<'_>, this: Borrow<Response>) -> Outcome<Handle<Fields>> {
    let headers = cx.get(this)?.headers.frozen();
    cx.push(headers)
}

pub(super) fn consume_response(cx: &mut Cx<'_>, this: Own<Response>, res: FutureIn<Sent>) -> Outcome<Parts> {
    parts(cx, this.0.body, res)
}
