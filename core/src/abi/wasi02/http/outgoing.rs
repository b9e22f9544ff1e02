//! What a guest makes: requests, responses, and their bodies.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;

use super::code::ErrorCode;
use super::fields::Fields;
use super::head::{HasHead, HasStatus, RequestHead};
use super::pipe::{Message, Reader, Writer, pipe};
use crate::abi::wasi02::canon::{Borrow, Cx, Handle, Outcome, Own};
use crate::abi::wasi02::io::{End, IoError, OutputStream, Sink};
use crate::abi::wasi02::table::Resource;
use crate::budget::Budget;
use crate::http::keep_trailers;
use crate::message::{Content, GuestEnd};
use crate::run::Run;

/// The body of a message that the guest makes.
enum Body {
    /// The guest has not asked for it: there is none.
    Unasked,
    /// What the guest writes comes out here.
    Asked(Reader),
}

/// `wasi:http/types.outgoing-request`.
pub(crate) struct OutgoingRequest {
    pub(crate) head: RequestHead,
    body: Body,
}

impl Resource for OutgoingRequest {
    const NAME: &'static str = "outgoing-request";
}

impl HasHead for OutgoingRequest {
    fn head(&mut self) -> &mut RequestHead {
        &mut self.head
    }
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
pub(crate) fn new_request(cx: &mut Cx<'_>, headers: Own<Fields>) -> Outcome<Handle<OutgoingRequest>> {
    let head = RequestHead::new(headers.0.frozen(), &cx.state.budget);
    cx.push(OutgoingRequest { head, body: Body::Unasked })
}

pub(crate) fn request_headers(cx: &mut Cx<'_>, this: Request) -> Outcome<Handle<Fields>> {
    let headers = cx.get(this)?.head.headers.clone();
    cx.push_child(headers, this)
}

pub(crate) fn request_body(cx: &mut Cx<'_>, this: Request) -> Outcome<Result<Handle<OutgoingBody>, ()>> {
    let request = cx.get(this)?;
    let body = ask(&mut request.body, &request.head.headers, Message::Request, false);
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

impl HasStatus for OutgoingResponse {
    fn status(&mut self) -> &mut StatusCode {
        &mut self.status
    }
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
