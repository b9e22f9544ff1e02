//! The export `wasi:http/incoming-handler`: a request for the guest, and the response that it sets.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use tokio::sync::oneshot;

use super::code::ErrorCode;
use super::fields::Fields;
use super::incoming::IncomingRequest;
use super::is_resource;
use super::outgoing::OutgoingResponse;
use super::pipe::Reader;
use crate::abi::wasi02::canon::{Borrow, Cx, Fault, Outcome, Own};
use crate::abi::wasi02::io::Pollable;
use crate::abi::wasi02::table::Resource;
use crate::abi::wasi02::{Host, State};
use crate::error::{Error, Kind};
use crate::http::{Body, requested_authority};
use crate::message::Content;
use crate::stop::Stop;

/// Receives a guest's response, once the guest has set it and has flushed part of its body, waits for something, or has
/// finished it. The guest may go on writing the body, which ends in an error if the guest leaves it unfinished. Dropped
/// unused if the guest ends before any of it may be sent: [`message`](crate::message) says what is answered then.
///
/// Clones reply to the same request: the first answer that one of them sends is the answer.
#[derive(Clone)]
pub struct Reply(Arc<Mutex<Option<oneshot::Sender<Answer>>>>);

/// What a request is answered with: the guest's response, or the error that it names in its place.
pub type Answer = Result<Response<Body>, ErrorCode>;

impl Reply {
    /// A reply, and where its answer arrives: an error there says that all clones are gone and none has sent one.
    pub fn channel() -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        (Reply(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    /// Sends the answer. Returns whether somebody waits for it, and it is the first.
    pub fn send(self, answer: Answer) -> bool {
        let sender = self.lock().take();
        sender.is_some_and(|sender| sender.send(answer).is_ok())
    }

    /// Whether an answer has been sent.
    pub fn is_sent(&self) -> bool {
        self.lock().is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Option<oneshot::Sender<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `wasi:http/types.response-outparam`.
pub(crate) struct ResponseOutparam(Reply);

impl Resource for ResponseOutparam {
    const NAME: &'static str = "response-outparam";
}

/// Sets the response, whose head leaves as [`message`](crate::message) says.
pub(crate) fn set(
    cx: &mut Cx<'_>,
    param: Own<ResponseOutparam>,
    response: Result<Own<OutgoingResponse>, ErrorCode>,
) -> Outcome {
    let reply = param.0.0;
    let response = response.and_then(|Own(response)| {
        let (status, headers) = (response.status, response.headers.clone());
        let body = response.into_body();
        head(status, &headers, body.as_ref(), cx.state.answers_head).map(|head| (head, body))
    });
    match response {
        Ok((head, Some(body))) => body.respond(&cx.state.run, head, reply),
        Ok((head, None)) => _ = answer(reply, Ok(head.map(|()| empty()))),
        Err(code) => _ = answer(reply, Err(code)),
    }
    Ok(())
}

/// Gives an answer to whoever waits for it, and says whether anybody does: to the guest it makes no difference.
pub(crate) fn answer(reply: Reply, response: Answer) -> bool {
    let waited_for = reply.send(response);
    if !waited_for {
        tracing::debug!("the guest set a response that nothing waits for");
    }
    waited_for
}

/// The head of a response of which the guest writes this body, if it has asked for one; `answers_head` says that it is
/// to a HEAD.
pub(crate) fn head(
    status: StatusCode,
    fields: &Fields,
    body: Option<&Reader>,
    answers_head: bool,
) -> Result<Response<()>, ErrorCode> {
    if status.is_informational() {
        return Err(ErrorCode::HttpProtocolError);
    }
    let wrong = |message: String| Err(ErrorCode::InternalError(Some(message)));
    let Ok(announced) = fields.content_length() else {
        return wrong("the content-length of the response is not a valid length".to_owned());
    };
    let mut headers = fields.to_map();
    if status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    }
    if let (Some(length), true) = (announced, headers.contains_key(CONTENT_LENGTH)) {
        // Once, however often the guest said it (RFC 9110, section 8.6).
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let has_content = Content::of_response(answers_head, status, None) != Content::None;
    match (body, announced) {
        (None, Some(length @ 1..)) if has_content => {
            return wrong(format!(
                "the response announces a content-length of {length}, but the guest never took its body; write the \
                 body, or leave out the field"
            ));
        }
        (Some(reader), _) if !has_content => reader.leave_out(),
        (Some(reader), _) if reader.is_left_out() => {
            return wrong("the status was changed to one that has content after the body was taken".to_owned());
        }
        _ => {}
    }
    let mut message = Response::new(());
    *message.status_mut() = status;
    *message.headers_mut() = headers;
    Ok(message)
}

fn empty() -> Body {
    Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync()
}

/// The response to a request that no guest can handle: 400 if it names no authority, several, or one with userinfo, in
/// its target or in Host. Only HTTP/1.0 may leave the authority out (RFC 9112, section 3.2).
pub fn refusal(request: &Request<Body>) -> Option<Response<Body>> {
    authority(request).is_err().then(bad_request)
}

fn bad_request() -> Response<Body> {
    let mut refusal = Response::new(empty());
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    refusal
}

/// No server of wharf's sends them, so it says so; a guest goes on without.
pub(crate) fn send_informational(
    _: &mut Cx<'_>,
    _: Borrow<ResponseOutparam>,
    status: u16,
    _: Own<Fields>,
) -> Outcome<Result<(), ErrorCode>> {
    Ok(Err(if (100..200).contains(&status) {
        ErrorCode::InternalError(Some("informational responses are not supported".to_owned()))
    } else {
        ErrorCode::HttpProtocolError
    }))
}

impl Host {
    /// Opens the two handles that a guest's handler gets. A request that [`refusal`] is for is answered with 400 and
    /// does not reach the guest: then there are none.
    ///
    /// # Errors
    /// [`Kind::Limit`] if the guest has too many handles open, or the request is more than it may have.
    pub(crate) fn begin(&self, request: Request<Body>, reply: Reply) -> Result<Option<[u64; 2]>, Stop> {
        let Some((mut state, request)) = self.arrives(request, &reply)? else { return Ok(None) };
        let request = state.table.push(request, None).map_err(stop)?;
        let outparam = state.table.push(ResponseOutparam(reply), None).map_err(stop)?;
        let Some(handles) = &mut state.handles else { return Ok(Some([request.into(), outparam.into()])) };
        let request = handles.give_to_handler(IncomingRequest::NAME, request).map_err(stop)?;
        let outparam = handles.give_to_handler(ResponseOutparam::NAME, outparam).map_err(stop)?;
        Ok(Some([request.into(), outparam.into()]))
    }

    /// A request that arrives, and the state that it arrives in. One that [`refusal`] is for is answered.
    pub(crate) fn arrives(
        &self,
        request: Request<Body>,
        reply: &Reply,
    ) -> Result<Option<(MutexGuard<'_, State>, IncomingRequest)>, Stop> {
        let Ok(authority) = authority(&request) else {
            if !reply.clone().send(Ok(bad_request())) {
                tracing::debug!("dropped a request without an authority");
            }
            return Ok(None);
        };
        let mut state = self.lock();
        state.answers_head = request.method() == Method::HEAD;
        let request = IncomingRequest::new(request, authority, &state.budget)?;
        Ok(Some((state, request)))
    }

    /// Ends the wait for a response that the guest did not set, and looks at what it leaves behind.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        let closed = state.table.close_all::<ResponseOutparam>();
        let left = state.table.count(is_resource, Pollable::NAME);
        if !closed.is_empty() || left > 0 {
            tracing::debug!("the guest left {} requests unanswered and {left} handles open", closed.len());
            state.untidy = true;
        }
        if let Some(handles) = &mut state.handles {
            closed.into_iter().for_each(|index| handles.forget(ResponseOutparam::NAME, index));
        }
    }
}

/// The host that a request is for: the authority of its target, or else that of its one Host. In HTTP/1.0 it may be
/// nobody in particular.
fn authority(request: &Request<Body>) -> Result<Option<String>, Unusable> {
    match requested_authority(request.uri(), request.headers()) {
        Some(authority) => Ok(Some(authority.as_str().to_owned())),
        None if request.version() == Version::HTTP_10
            && request.uri().authority().is_none()
            && !request.headers().contains_key(HOST) =>
        {
            Ok(None)
        }
        None => Err(Unusable),
    }
}

/// A request does not say whom it is for in a way that can be used.
struct Unusable;

pub(crate) fn stop(fault: Fault) -> Stop {
    match fault {
        Fault::Stop(stop) => stop,
        Fault::Rule(rule) => Error::new(Kind::Internal, rule).into(),
        Fault::Again(_) => Error::new(Kind::Internal, "a request waits for another task").into(),
    }
}
