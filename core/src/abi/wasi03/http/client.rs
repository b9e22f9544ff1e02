//! `wasi:http/client`: a guest's request on its way.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use http_body_util::BodyExt;

use super::body::{Body, Transmission};
use super::messages::{Request, Response};
use crate::abi::wasi02::canon::{Cx, Handle, Outcome, Own};
use crate::abi::wasi02::http::ErrorCode;
use crate::abi::wasi02::http::fields::Fields;
use crate::abi::wasi02::http::incoming::{Arriving, READ_AHEAD, lock};
use crate::abi::wasi02::http::pipe::{Message, pipe};
use crate::abi::wasi02::io::unconstrained;
use crate::abi::wasi03::Later;
use crate::http::{HttpErrorKind, Outgoing};

type Answer = Result<Handle<Response>, ErrorCode>;

/// Sends a request. Whatever is wrong with it, or fails, is the answer.
///
/// The body of a request that is denied is taken and goes nowhere: else all that a library could tell its user is that it was
/// closed.
pub(super) fn send(cx: &mut Cx<'_>, Own(request): Own<Request>) -> Outcome<Later<Answer>> {
    let Request { head, options, body } = request;
    let charge = match cx.state.budget.charge(READ_AHEAD + head.headers.cost()) {
        Ok(charge) => charge,
        Err(exceeded) => return Ok(at_once(exceeded.into())),
    };
    let message = match head.to_message() {
        Ok(message) => message,
        Err(code) => return Ok(at_once(code)),
    };
    let Ok(announced) = head.headers.content_length() else {
        let message = "the content-length of the request is not a valid length".to_owned();
        return Ok(at_once(ErrorCode::InternalError(Some(message))));
    };
    let bodiless = announced.is_none()
        && match &body {
            Body::Made(made) => made.contents.is_none(),
            Body::Arrived(arriving) => lock(arriving).is_empty(),
        };
    let (writer, reader) = pipe(Message::Request, announced);
    let transmission = Transmission::new(body, writer.clone(), cx);
    cx.state.concurrent.pump(transmission)?;
    let Some(outbound) = &cx.state.outbound else {
        writer.discard();
        return Ok(at_once(ErrorCode::HttpRequestDenied));
    };
    let timeouts = options.unwrap_or_default().within(outbound.limits().timeouts());
    if bodiless {
        reader.leave_out();
    }
    let message = message.map(|()| Outgoing::Stream(reader.sending().boxed_unsync()));
    let mut pending = outbound.send_with(message, timeouts);
    if pending.refused().is_some_and(|error| error.kind() == HttpErrorKind::Denied) {
        writer.discard();
    }
    let mut charge = Some(charge);
    Ok(Box::new(move |cx, context| {
        let Poll::Ready(answered) = unconstrained(context, |context| Pin::new(&mut pending).poll(context)) else {
            return Ok(Poll::Pending);
        };
        Ok(Poll::Ready(match (answered, charge.take()) {
            (Ok(response), Some(charge)) => {
                let (parts, body) = response.into_parts();
                match Fields::arrived(&parts.headers, &cx.state.budget) {
                    Ok(headers) => {
                        let body = Body::Arrived(Arriving::new(body.boxed_unsync(), charge));
                        Ok(cx.push(Response { status: parts.status, headers, body })?)
                    }
                    Err(exceeded) => Err(exceeded.into()),
                }
            }
            (Ok(_), None) => Err(ErrorCode::InternalError(Some("the response was taken".to_owned()))),
            (Err(error), _) => Err(ErrorCode::from(&error)),
        }))
    }))
}

/// An answer that is known already.
fn at_once(code: ErrorCode) -> Later<Answer> {
    Box::new(move |_, _| Ok(Poll::Ready(Err(code.clone()))))
}
