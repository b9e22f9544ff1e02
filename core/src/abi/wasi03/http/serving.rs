//! The export `wasi:http/handler`: a request for the guest, and the response that it returns.

use http::Request as HttpRequest;

use super::body::{Transmission, at_once};
use super::messages::{Request, Response};
use crate::abi::concurrent::{Pump, is_call};
use crate::abi::wasi02::Host;
use crate::abi::wasi02::canon::{Cx, Lift, Outcome, Own, lift};
use crate::abi::wasi02::http::pipe::{Message, pipe};
use crate::abi::wasi02::http::serving::{answer, head, stop};
use crate::abi::wasi02::http::{ErrorCode, Reply, is_resource};
use crate::abi::wasi02::io::Pollable;
use crate::abi::wasi02::table::Resource;
use crate::error::{Error, Kind};
use crate::http::Body as Incoming;
use crate::stop::Stop;

/// How many handles an instance may have open between two requests, none of them of a message.
const MAX_KEPT: usize = 64;

type Returned = Result<Own<Response>, ErrorCode>;

/// Answers with what `task.return` is called with.
pub(crate) fn respond(cx: &mut Cx<'_>, slots: &mut [u64], reply: Reply) -> Outcome {
    let (returned,) = lift::<(Returned,)>(cx, slots)?;
    send(cx, returned, reply)
}

/// Sends the response, whose head leaves as [`message`](crate::message) says.
fn send(cx: &mut Cx<'_>, returned: Returned, reply: Reply) -> Outcome {
    let Response { status, headers, body } = match returned {
        Ok(Own(response)) => response,
        Err(code) => {
            _ = answer(reply, Err(code));
            return Ok(());
        }
    };
    let (writer, reader) = pipe(Message::Response, headers.content_length().unwrap_or_default());
    let message = match head(status, &headers, Some(&reader), cx.state.answers_head) {
        Ok(message) => message,
        Err(code) => {
            _ = answer(reply, Err(code));
            return Ok(());
        }
    };
    let mut transmission = Transmission::new(body, writer, cx);
    // What is there already is part of what is answered.
    let ended = transmission.poll(&mut at_once()).is_ready();
    reader.respond(&cx.state.run, message, reply);
    if !ended {
        cx.state.concurrent.pump(transmission)?;
    }
    Ok(())
}

/// Whether a resource belongs to a request.
fn is_left(resource: &str) -> bool {
    is_resource(resource) || [Request::NAME, Response::NAME].contains(&resource) || is_call(resource)
}

impl Host {
    /// Opens the handle that a guest's handler gets; none for a request that was answered without it.
    ///
    /// # Errors
    /// [`Kind::Limit`] if the guest has too many handles open, or the request is more than it may have.
    pub(crate) fn begin03(&self, request: HttpRequest<Incoming>, reply: &Reply) -> Result<Option<u64>, Stop> {
        let Some((mut state, request)) = self.arrives(request, reply)? else { return Ok(None) };
        let Some(request) = Request::arrived(request) else {
            return Err(Error::new(Kind::Internal, "a request has no body").into());
        };
        let handle = state.table.push(request, None).map_err(stop)?;
        let handle = match &mut state.handles {
            Some(handles) => handles.give_to_handler(Request::NAME, handle).map_err(stop)?,
            None => handle,
        };
        Ok(Some(handle.into()))
    }

    /// Looks at what a guest leaves behind that works on no request any more.
    pub(crate) fn end03(&self) {
        let mut state = self.lock();
        // What the components of a composed guest have of each other is not looked into.
        state.untidy |= state.handles.is_some();
        let left = state.table.count(is_left, Pollable::NAME);
        let refuses = state.concurrent.refuses_tasks();
        if left > 0 || refuses || state.table.len() > MAX_KEPT {
            let all = state.table.len();
            tracing::debug!(
                "the guest left {left} handles of messages open, {all} of all kinds, backpressure: {refuses}"
            );
            state.untidy = true;
        }
    }

    /// Answers with what a handler has returned that was called synchronously: a pointer to it.
    pub(crate) fn respond_from(
        &self,
        ptr: u32,
        options: &crate::abi::wasi02::options::Options,
        caller: &mut dyn crate::types::Caller,
        reply: Reply,
    ) -> Result<(), Stop> {
        self.call(("wasi:http/handler", "handle"), options, caller, &mut [], |cx, _| {
            let returned = <Returned as Lift>::load(cx, ptr)?;
            send(cx, returned, reply)
        })
    }
}
