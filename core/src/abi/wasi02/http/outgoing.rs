//! What a guest makes: requests, responses, and their bodies.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::Authority;
use http::{Method as HttpMethod, StatusCode};

use super::code::ErrorCode;
use super::fields::Fields;
use super::pipe::{Message, Reader, Writer, pipe};
use crate::abi::wasi02::canon::{Borrow, Cx, Handle, Outcome, Own, variant};
use crate::abi::wasi02::io::{End, IoError, OutputStream, Sink};
use crate::abi::wasi02::table::Resource;
use crate::budget::{Budget, Charge, allocation};
use crate::http::{is_path_and_query, keep_trailers};
use crate::message::{Content, GuestEnd};
use crate::run::Run;

/// The longest method, scheme, authority or path that a guest may set: as long as a URI may be.
const MAX_PART: usize = (u16::MAX - 1) as usize;

variant! {
    /// `wasi:http/types.method`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum Method as "method" {
        Get, Head, Post, Put, Delete, Connect, Options, Trace, Patch,
        Other(name: String),
    }
}

impl Method {
    pub(crate) fn name(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Connect => "CONNECT",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::Patch => "PATCH",
            Method::Other(name) => name,
        }
    }
}

impl From<&HttpMethod> for Method {
    fn from(method: &HttpMethod) -> Self {
        match method.as_str() {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "CONNECT" => Method::Connect,
            "OPTIONS" => Method::Options,
            "TRACE" => Method::Trace,
            "PATCH" => Method::Patch,
            other => Method::Other(other.to_owned()),
        }
    }
}

variant! {
    /// `wasi:http/types.scheme`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum Scheme as "scheme" {
        Http,
        Https,
        Other(name: String),
    }
}

/// The body of a message that the guest makes.
enum Body {
    /// The guest has not asked for it: there is none.
    Unasked,
    /// What the guest writes comes out here.
    Asked(Reader),
}

/// `wasi:http/types.outgoing-request`.
pub(crate) struct OutgoingRequest {
    pub(crate) method: Method,
    pub(crate) path: Option<String>,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) authority: Option<String>,
    pub(crate) headers: Fields,
    body: Body,
    /// What the texts take.
    charge: Charge,
}

impl Resource for OutgoingRequest {
    const NAME: &'static str = "outgoing-request";
}

impl OutgoingRequest {
    /// What discards the body, if the guest asked for one, should the request be sent nowhere.
    pub(crate) fn discarding(&self) -> Discarding {
        match &self.body {
            Body::Unasked => Discarding(None),
            Body::Asked(reader) => Discarding(Some(reader.writer())),
        }
    }

    /// The body, if the guest asked for one.
    pub(crate) fn into_body(self) -> Option<Reader> {
        match self.body {
            Body::Unasked => None,
            Body::Asked(reader) => Some(reader),
        }
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

/// The body of a request that may turn out to be sent nowhere.
pub(crate) struct Discarding(Option<Writer>);

impl Discarding {
    /// Takes what the guest writes, and sends it nowhere.
    pub(crate) fn discard(self) {
        if let Some(writer) = self.0 {
            writer.discard();
        }
    }
}

type Request = Borrow<OutgoingRequest>;
type Set = Outcome<Result<(), ()>>;

fn too_long(text: &str) -> bool {
    text.len() > MAX_PART
}

impl Method {
    /// Whether a request may have it.
    pub(crate) fn is_valid(&self) -> bool {
        !too_long(self.name()) && HttpMethod::from_bytes(self.name().as_bytes()).is_ok()
    }
}

impl Scheme {
    /// Whether a request may have it.
    pub(crate) fn is_valid(&self) -> bool {
        match self {
            Scheme::Http | Scheme::Https => true,
            Scheme::Other(name) => !too_long(name) && name.parse::<http::uri::Scheme>().is_ok(),
        }
    }
}

/// Whether a request may have this path, with its query.
pub(crate) fn is_valid_path(path: &str) -> bool {
    !too_long(path) && (path.is_empty() || is_path_and_query(path))
}

/// Whether a request may be for this authority.
pub(crate) fn is_valid_authority(authority: &str) -> bool {
    let port_is_number = |parsed: &Authority| {
        // The parser takes any digits for a port, and none after the colon.
        let after = &authority[authority.rfind(parsed.host()).map_or(0, |at| at + parsed.host().len())..];
        after.is_empty() || after.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
    };
    !too_long(authority) && authority.parse::<Authority>().is_ok_and(|parsed| port_is_number(&parsed))
}

pub(crate) fn new_request(cx: &mut Cx<'_>, headers: Own<Fields>) -> Outcome<Handle<OutgoingRequest>> {
    let headers = headers.0.frozen();
    let request = OutgoingRequest {
        method: Method::Get,
        path: None,
        scheme: None,
        authority: None,
        headers,
        body: Body::Unasked,
        charge: cx.state.budget.nothing(),
    };
    cx.push(request)
}

pub(crate) fn method(cx: &mut Cx<'_>, this: Request) -> Outcome<Method> {
    Ok(cx.get(this)?.method.clone())
}

/// Sets the method, which reads back as it was set: `other("PATCH")` and `patch` are the same on the wire only.
pub(crate) fn set_method(cx: &mut Cx<'_>, this: Request, method: Method) -> Set {
    let request = cx.get(this)?;
    if !method.is_valid() {
        return Ok(Err(()));
    }
    request.method = method;
    request.charge().map(Ok)
}

pub(crate) fn path(cx: &mut Cx<'_>, this: Request) -> Outcome<Option<String>> {
    Ok(cx.get(this)?.path.clone())
}

pub(crate) fn set_path(cx: &mut Cx<'_>, this: Request, path: Option<String>) -> Set {
    let request = cx.get(this)?;
    if path.as_deref().is_some_and(|path| !is_valid_path(path)) {
        return Ok(Err(()));
    }
    request.path = path;
    request.charge().map(Ok)
}

pub(crate) fn scheme(cx: &mut Cx<'_>, this: Request) -> Outcome<Option<Scheme>> {
    Ok(cx.get(this)?.scheme.clone())
}

/// Sets the scheme, which reads back as it was set.
pub(crate) fn set_scheme(cx: &mut Cx<'_>, this: Request, scheme: Option<Scheme>) -> Set {
    let request = cx.get(this)?;
    if scheme.as_ref().is_some_and(|scheme| !scheme.is_valid()) {
        return Ok(Err(()));
    }
    request.scheme = scheme;
    request.charge().map(Ok)
}

pub(crate) fn authority(cx: &mut Cx<'_>, this: Request) -> Outcome<Option<String>> {
    Ok(cx.get(this)?.authority.clone())
}

pub(crate) fn set_authority(cx: &mut Cx<'_>, this: Request, authority: Option<String>) -> Set {
    let request = cx.get(this)?;
    if authority.as_deref().is_some_and(|authority| !is_valid_authority(authority)) {
        return Ok(Err(()));
    }
    request.authority = authority;
    request.charge().map(Ok)
}

pub(crate) fn request_headers(cx: &mut Cx<'_>, this: Request) -> Outcome<Handle<Fields>> {
    let headers = cx.get(this)?.headers.clone();
    cx.push_child(headers, this)
}

pub(crate) fn request_body(cx: &mut Cx<'_>, this: Request) -> Outcome<Result<Handle<OutgoingBody>, ()>> {
    let request = cx.get(this)?;
    let body = ask(&mut request.body, &request.headers, Message::Request, false);
    body.map(|body| cx.push(body)).transpose().map(|body| body.ok_or(()))
}

/// Makes the body on the first call. An invalid length is left for the sending to refuse.
fn ask(body: &mut Body, headers: &Fields, message: Message, bodiless: bool) -> Option<OutgoingBody> {
    match body {
        Body::Asked(_) => None,
        Body::Unasked => {
            let (writer, reader) = pipe(message, headers.content_length().unwrap_or_default());
            if bodiless {
                reader.leave_out();
            }
            *body = Body::Asked(reader);
            Some(OutgoingBody { writer, asked: false })
        }
    }
}

/// `wasi:http/types.outgoing-response`.
pub(crate) struct OutgoingResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: Fields,
    body: Body,
}

impl Resource for OutgoingResponse {
    const NAME: &'static str = "outgoing-response";
}

impl OutgoingResponse {
    /// The body, if the guest asked for one.
    pub(crate) fn into_body(self) -> Option<Reader> {
        match self.body {
            Body::Unasked => None,
            Body::Asked(reader) => Some(reader),
        }
    }
}

type Response = Borrow<OutgoingResponse>;

pub(crate) fn new_response(cx: &mut Cx<'_>, headers: Own<Fields>) -> Outcome<Handle<OutgoingResponse>> {
    cx.push(OutgoingResponse { status: StatusCode::OK, headers: headers.0.frozen(), body: Body::Unasked })
}

pub(crate) fn status_code(cx: &mut Cx<'_>, this: Response) -> Outcome<u16> {
    Ok(cx.get(this)?.status.as_u16())
}

/// Refuses an invalid status. One that is not final is refused when the response is set.
pub(crate) fn set_status_code(cx: &mut Cx<'_>, this: Response, status: u16) -> Set {
    let response = cx.get(this)?;
    match StatusCode::from_u16(status) {
        Ok(status) if (100..600).contains(&status.as_u16()) => {
            response.status = status;
            Ok(Ok(()))
        }
        _ => Ok(Err(())),
    }
}

pub(crate) fn response_headers(cx: &mut Cx<'_>, this: Response) -> Outcome<Handle<Fields>> {
    let headers = cx.get(this)?.headers.clone();
    cx.push_child(headers, this)
}

pub(crate) fn response_body(cx: &mut Cx<'_>, this: Response) -> Outcome<Result<Handle<OutgoingBody>, ()>> {
    let head = cx.state.answers_head;
    let response = cx.get(this)?;
    let bodiless = Content::of_response(head, response.status, None) == Content::None;
    let body = ask(&mut response.body, &response.headers, Message::Response, bodiless);
    body.map(|body| cx.push(body)).transpose().map(|body| body.ok_or(()))
}

/// `wasi:http/types.outgoing-body`. Dropped without `finish` it breaks its message off.
pub(crate) struct OutgoingBody {
    writer: Writer,
    asked: bool,
}

impl Resource for OutgoingBody {
    const NAME: &'static str = "outgoing-body";
}

impl Drop for OutgoingBody {
    /// The guest has ended, or what it did before was the end of the body.
    fn drop(&mut self) {
        self.writer.end(GuestEnd::Returned);
    }
}

/// `[resource-drop]outgoing-body`: the guest gives the message up.
pub(crate) fn drop_body(cx: &mut Cx<'_>, this: Own<OutgoingBody>) -> Outcome {
    cx.state.untidy = true;
    this.0.writer.end(GuestEnd::Dropped);
    Ok(())
}

pub(crate) fn write(cx: &mut Cx<'_>, this: Borrow<OutgoingBody>) -> Outcome<Result<Handle<OutputStream>, ()>> {
    let body = cx.get(this)?;
    if std::mem::replace(&mut body.asked, true) {
        return Ok(Err(()));
    }
    let writer = body.writer.clone();
    let stream = OutputStream::new(BodySink { writer, budget: cx.state.budget.clone() });
    cx.push_child(stream, this).map(Ok)
}

pub(crate) fn finish(
    _: &mut Cx<'_>,
    this: Own<OutgoingBody>,
    trailers: Option<Own<Fields>>,
) -> Outcome<Result<(), ErrorCode>> {
    let trailers = trailers.map(|trailers| {
        let mut trailers = trailers.0.to_map();
        keep_trailers(&mut trailers);
        trailers
    });
    Ok(this.0.writer.finish(trailers.filter(|trailers| !trailers.is_empty())))
}

/// The stream of an outgoing body.
pub(crate) struct BodySink {
    pub(crate) writer: Writer,
    /// Charged for what is written until it is sent.
    pub(crate) budget: Budget,
}

impl Sink for BodySink {
    fn room(&mut self) -> Result<u64, End> {
        self.writer.room().ok_or(End::Closed)
    }

    fn write(&mut self, run: &Run, bytes: Bytes) -> Result<(), End> {
        if self.writer.room().is_none() {
            return Err(End::Closed);
        }
        let bytes = self.budget.hold(bytes).map_err(|exceeded| {
            // What was written does not go out as if it were all.
            self.writer.end(GuestEnd::Dropped);
            End::Failed(IoError { message: exceeded.to_string(), http: Some(exceeded.into()), filesystem: None })
        })?;
        self.writer.write(run, bytes).map_err(|code| {
            let message = "more was written than the content-length announces".to_owned();
            End::Failed(IoError { message, http: Some(code), filesystem: None })
        })
    }

    fn flush(&mut self) {
        self.writer.flush();
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.writer.poll_room(context)
    }

    fn stuck(&mut self) -> Option<&'static str> {
        self.writer.stuck().then_some(
            "the buffer of the body is full and its message has not been sent, so the wait would never end; send the \
             request or set the response before writing the body",
        )
    }
}
