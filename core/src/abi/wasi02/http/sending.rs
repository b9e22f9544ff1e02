//! `wasi:http/outgoing-handler`: a guest's request on its way, and the response when it is there.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http_body_util::BodyExt;

use super::code::ErrorCode;
use super::fields::Fields;
use super::incoming::{Arriving, IncomingResponse, READ_AHEAD};
use super::outgoing::OutgoingRequest;
use crate::abi::wasi02::canon::{Borrow, Cx, Handle, Outcome, Own};
use crate::abi::wasi02::io::{Pollable, unconstrained};
use crate::abi::wasi02::table::Resource;
use crate::budget::Charge;
use crate::http::{HttpError, HttpErrorKind, Incoming, Outgoing, Pending, Timeouts};

/// `wasi:http/types.request-options`: durations in nanoseconds.
#[derive(Default, Clone, Copy)]
pub(crate) struct RequestOptions {
    pub(crate) connect: Option<u64>,
    pub(crate) first_byte: Option<u64>,
    pub(crate) between_bytes: Option<u64>,
    /// Whether they were read back from a request of WASI 0.3.
    pub(crate) immutable: bool,
}

impl Resource for RequestOptions {
    const NAME: &'static str = "request-options";
}

impl RequestOptions {
    /// The times that are asked for, and the host's where none are.
    pub(crate) fn within(&self, mut timeouts: Timeouts) -> Timeouts {
        let asked = |nanoseconds: Option<u64>, host| nanoseconds.map_or(host, Duration::from_nanos);
        timeouts.connect = asked(self.connect, timeouts.connect);
        timeouts.first_byte = asked(self.first_byte, timeouts.first_byte);
        timeouts.between_bytes = asked(self.between_bytes, timeouts.between_bytes);
        timeouts
    }
}

type Options = Borrow<RequestOptions>;
type Set = Outcome<Result<(), ()>>;

pub(crate) fn new_options(cx: &mut Cx<'_>) -> Outcome<Handle<RequestOptions>> {
    cx.push(RequestOptions::default())
}

pub(crate) fn connect(cx: &mut Cx<'_>, this: Options) -> Outcome<Option<u64>> {
    Ok(cx.get(this)?.connect)
}

pub(crate) fn set_connect(cx: &mut Cx<'_>, this: Options, duration: Option<u64>) -> Set {
    cx.get(this)?.connect = duration;
    Ok(Ok(()))
}

pub(crate) fn first_byte(cx: &mut Cx<'_>, this: Options) -> Outcome<Option<u64>> {
    Ok(cx.get(this)?.first_byte)
}

pub(crate) fn set_first_byte(cx: &mut Cx<'_>, this: Options, duration: Option<u64>) -> Set {
    cx.get(this)?.first_byte = duration;
    Ok(Ok(()))
}

pub(crate) fn between_bytes(cx: &mut Cx<'_>, this: Options) -> Outcome<Option<u64>> {
    Ok(cx.get(this)?.between_bytes)
}

pub(crate) fn set_between_bytes(cx: &mut Cx<'_>, this: Options, duration: Option<u64>) -> Set {
    cx.get(this)?.between_bytes = duration;
    Ok(Ok(()))
}

/// `wasi:http/types.future-incoming-response`. Dropping it ends the request.
pub(crate) struct FutureIncomingResponse(State);

enum State {
    /// With the charge for what is sent and read ahead.
    Pending(Pending, Charge),
    Ready(Result<http::Response<Incoming>, HttpError>, Charge),
    Given,
}

impl Resource for FutureIncomingResponse {
    const NAME: &'static str = "future-incoming-response";
}

impl FutureIncomingResponse {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.0 = match std::mem::replace(&mut self.0, State::Given) {
            State::Pending(mut pending, charge) => {
                match unconstrained(context, |context| Pin::new(&mut pending).poll(context)) {
                    Poll::Pending => {
                        self.0 = State::Pending(pending, charge);
                        return Poll::Pending;
                    }
                    Poll::Ready(result) => State::Ready(result, charge),
                }
            }
            state => state,
        };
        Poll::Ready(())
    }
}

/// Sends a request. What is wrong with it is answered at once; what its sending fails with, by the future, and so is
/// that it is denied: to programs that is a network error like any other, as the Fetch standard specifies.
///
/// Libraries write the body before they look at the future. That of a request that is denied is taken and goes nowhere:
/// else all that they could tell their user is that it was closed.
pub(crate) fn handle(
    cx: &mut Cx<'_>,
    request: Own<OutgoingRequest>,
    options: Option<Own<RequestOptions>>,
) -> Outcome<Result<Handle<FutureIncomingResponse>, ErrorCode>> {
    let charge = match cx.state.budget.charge(READ_AHEAD + request.0.head.headers.cost()) {
        Ok(charge) => charge,
        Err(exceeded) => return Ok(Err(exceeded.into())),
    };
    let discarding = request.0.discarding();
    let request = match message(request.0) {
        Ok(request) => request,
        Err(code) => return Ok(Err(code)),
    };
    let Some(outbound) = &cx.state.outbound else {
        discarding.discard();
        let denied = HttpError::new(HttpErrorKind::Denied, "the guest is not allowed to send requests");
        return cx.push(FutureIncomingResponse(State::Ready(Err(denied), charge))).map(Ok);
    };
    let timeouts = options.map(|Own(options)| options).unwrap_or_default().within(outbound.limits().timeouts());
    let pending = outbound.send_with(request, timeouts);
    if pending.refused().is_some_and(|error| error.kind() == HttpErrorKind::Denied) {
        discarding.discard();
    }
    cx.push(FutureIncomingResponse(State::Pending(pending, charge))).map(Ok)
}

fn message(request: OutgoingRequest) -> Result<http::Request<Outgoing>, ErrorCode> {
    let head = request.head.to_message()?;
    Ok(head.map(|()| match request.into_body() {
        Some(reader) => Outgoing::Stream(reader.sending().boxed_unsync()),
        None => Outgoing::empty(),
    }))
}

pub(crate) fn subscribe(cx: &mut Cx<'_>, this: Borrow<FutureIncomingResponse>) -> Outcome<Handle<Pollable>> {
    cx.subscribe(this, FutureIncomingResponse::poll)
}

type Response = Result<Handle<IncomingResponse>, ErrorCode>;

pub(crate) fn get(cx: &mut Cx<'_>, this: Borrow<FutureIncomingResponse>) -> Outcome<Option<Result<Response, ()>>> {
    let future = cx.get(this)?;
    if future.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        return Ok(None);
    }
    Ok(Some(match std::mem::replace(&mut future.0, State::Given) {
        State::Ready(Ok(response), charge) => {
            let (parts, body) = response.into_parts();
            match Fields::arrived(&parts.headers, &cx.state.budget) {
                Ok(headers) => {
                    let body = Some(Arriving::new(body.boxed_unsync(), charge));
                    Ok(Ok(cx.push(IncomingResponse { status: parts.status, headers, body })?))
                }
                Err(exceeded) => Ok(Err(exceeded.into())),
            }
        }
        State::Ready(Err(error), _) => Ok(Err(ErrorCode::from(&error))),
        State::Pending(..) | State::Given => Err(()),
    }))
}
