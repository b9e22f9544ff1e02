//! `wasi:http/types`: requests and responses.

use http::StatusCode;

use super::body::{Body, Made, Sent, Trailers, parts};
use crate::abi::concurrent::{ByteStream, FutureIn, FutureOut};
use crate::abi::wasi02::canon::{Borrow, Cx, Handle, Outcome, Own, variant};
use crate::abi::wasi02::http::fields::{self, Fields, Refusal};
use crate::abi::wasi02::http::incoming::IncomingRequest;
use crate::abi::wasi02::http::outgoing::{Method, Scheme, is_valid_authority, is_valid_path};
use crate::abi::wasi02::http::sending::{self, RequestOptions};
use crate::abi::wasi02::table::Resource;
use crate::budget::{Charge, allocation};

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
    pub(super) method: Method,
    pub(super) path: Option<String>,
    pub(super) scheme: Option<Scheme>,
    pub(super) authority: Option<String>,
    pub(super) headers: Fields,
    pub(super) options: Option<RequestOptions>,
    pub(super) body: Body,
    /// What the texts take.
    charge: Charge,
}

impl Resource for Request {
    const NAME: &'static str = "request";
}

impl Request {
    /// One that has arrived.
    pub(super) fn arrived(request: IncomingRequest) -> Option<Self> {
        let IncomingRequest { method, path, scheme, authority, headers, body, charge } = request;
        let body = Body::Arrived(body?);
        Some(Request { method, path, scheme, authority, headers, options: None, body, charge })
    }

    /// Charges the texts that were set. What does not fit ends the guest, with which they go.
    fn charge(&mut self) -> Outcome {
        let method = matches!(self.method, Method::Other(_)).then(|| self.method.name());
        let scheme = match &self.scheme {
            Some(Scheme::Other(name)) => Some(name.as_str()),
            _ => None,
        };
        let texts = [method, scheme, self.path.as_deref(), self.authority.as_deref()];
        let bytes = texts.into_iter().flatten().map(|text| allocation(text.len())).sum();
        Ok(self.charge.resize(bytes)?)
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
    let request = Request {
        method: Method::Get,
        path: None,
        scheme: None,
        authority: None,
        headers: headers.0.frozen(),
        options: options.map(|Own(options)| options),
        body: Body::Made(made),
        charge: cx.state.budget.nothing(),
    };
    Ok((cx.push(request)?, sent))
}

pub(super) fn method(cx: &mut Cx<'_>, this: This) -> Outcome<Method> {
    Ok(cx.get(this)?.method.clone())
}

/// Sets the method, which reads back as it was set.
pub(super) fn set_method(cx: &mut Cx<'_>, this: This, method: Method) -> Set {
    let request = cx.get(this)?;
    if !method.is_valid() {
        return Ok(Err(()));
    }
    request.method = method;
    request.charge().map(Ok)
}

pub(super) fn path(cx: &mut Cx<'_>, this: This) -> Outcome<Option<String>> {
    Ok(cx.get(this)?.path.clone())
}

pub(super) fn set_path(cx: &mut Cx<'_>, this: This, path: Option<String>) -> Set {
    let request = cx.get(this)?;
    if path.as_deref().is_some_and(|path| !is_valid_path(path)) {
        return Ok(Err(()));
    }
    request.path = path;
    request.charge().map(Ok)
}

pub(super) fn scheme(cx: &mut Cx<'_>, this: This) -> Outcome<Option<Scheme>> {
    Ok(cx.get(this)?.scheme.clone())
}

pub(super) fn set_scheme(cx: &mut Cx<'_>, this: This, scheme: Option<Scheme>) -> Set {
    let request = cx.get(this)?;
    if scheme.as_ref().is_some_and(|scheme| !scheme.is_valid()) {
        return Ok(Err(()));
    }
    request.scheme = scheme;
    request.charge().map(Ok)
}

pub(super) fn authority(cx: &mut Cx<'_>, this: This) -> Outcome<Option<String>> {
    Ok(cx.get(this)?.authority.clone())
}

pub(super) fn set_authority(cx: &mut Cx<'_>, this: This, authority: Option<String>) -> Set {
    let request = cx.get(this)?;
    if authority.as_deref().is_some_and(|authority| !is_valid_authority(authority)) {
        return Ok(Err(()));
    }
    request.authority = authority;
    request.charge().map(Ok)
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
    let headers = cx.get(this)?.headers.frozen();
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

pub(super) fn status_code(cx: &mut Cx<'_>, this: Borrow<Response>) -> Outcome<u16> {
    Ok(cx.get(this)?.status.as_u16())
}

/// Refuses an invalid status. One that is not final is refused when the response is returned.
pub(super) fn set_status_code(cx: &mut Cx<'_>, this: Borrow<Response>, status: u16) -> Set {
    let response = cx.get(this)?;
    match StatusCode::from_u16(status) {
        Ok(status) if (100..600).contains(&status.as_u16()) => {
            response.status = status;
            Ok(Ok(()))
        }
        _ => Ok(Err(())),
    }
}

pub(super) fn response_headers(cx: &mut Cx<'_>, this: Borrow<Response>) -> Outcome<Handle<Fields>> {
    let headers = cx.get(this)?.headers.frozen();
    cx.push(headers)
}

pub(super) fn consume_response(cx: &mut Cx<'_>, this: Own<Response>, res: FutureIn<Sent>) -> Outcome<Parts> {
    parts(cx, this.0.body, res)
}
