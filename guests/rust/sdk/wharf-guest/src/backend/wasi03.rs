//! `wasi:http` 0.3: requests and responses, on the bindings of the crate `wasip3`.

mod body;
mod deadline;
pub(crate) mod executor;
pub(crate) mod serve;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use wasip3::http::client;
use wasip3::http::types::{Request as WasiRequest, RequestOptions};

use self::body::{Incoming, Upload};
use self::deadline::Deadline;
use self::executor::spawn;
use super::convert::{self, nanoseconds};
use crate::{Body, Error, ErrorKind, Result, Timeouts};

/// What both ways to start a request come to.
type Pending = Pin<Box<dyn Future<Output = Result<Response<Body>>>>>;

/// Why the guest's own body could not be sent: the host knows only that it broke off.
type Failed = Rc<RefCell<Option<Error>>>;

/// A request whose body is being written.
pub(crate) struct Outgoing {
    upload: Upload,
    response: Pending,
    failed: Failed,
}

/// The request is on its way as soon as futures run, and so is its body.
pub(crate) fn start(mut request: Request<Body>, timeouts: Timeouts) -> Pending {
    convert::announce(&mut request);
    let (head, mut body) = request.into_parts();
    let streams = body.known_len() != Some(0);
    let Outgoing { mut upload, response, failed } = match prepare(Request::from_parts(head, ()), timeouts, streams) {
        Ok(outgoing) => outgoing,
        Err(error) => return Box::pin(std::future::ready(Err(error))),
    };
    spawn(async move {
        while let Some(chunk) = body.chunk().await {
            match chunk {
                // An origin that takes no more has answered, or the host says why it has not.
                Ok(chunk) if upload.write(&chunk).await.is_err() => return,
                Ok(_) => {}
                Err(error) => {
                    // Dropping the upload breaks the message off.
                    failed.replace(Some(error));
                    return;
                }
            }
        }
        upload.finish().await;
    });
    response
}

pub(crate) fn open(request: Request<()>, timeouts: Timeouts) -> Result<Outgoing> {
    prepare(request, timeouts, true)
}

fn prepare(request: Request<()>, timeouts: Timeouts, streams: bool) -> Result<Outgoing> {
    let (head, ()) = request.into_parts();
    let invalid = |what: &'static str| Error::new(ErrorKind::Invalid).with_source(what);
    let scheme = head.uri.scheme().ok_or_else(|| invalid("the URL has no scheme"))?;
    let headers = convert::fields(&head.headers)?;
    let options = options(timeouts)?;
    let deadline = Deadline::after(timeouts.total);
    let (upload, contents, trailers) = Upload::new(streams, deadline);
    // What becomes of its transmission is what `send` says.
    let (outgoing, _sent) = WasiRequest::new(headers, contents, trailers, options);
    outgoing.set_method(&convert::method(&head.method)).map_err(|()| invalid("the method"))?;
    outgoing.set_scheme(Some(&convert::scheme(scheme))).map_err(|()| invalid("the scheme"))?;
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    outgoing.set_authority(authority).map_err(|()| invalid("the authority"))?;
    let path = head.uri.path_and_query().map(http::uri::PathAndQuery::as_str);
    outgoing.set_path_with_query(path).map_err(|()| invalid("the path"))?;

    let failed = Failed::default();
    let why = failed.clone();
    let response = under_way(async move {
        match deadline.within(client::send(outgoing)).await? {
            Ok(response) => received(response, deadline),
            Err(code) => Err(why.take().unwrap_or_else(|| code.into())),
        }
    });
    Ok(Outgoing { upload, response, failed })
}

fn options(timeouts: Timeouts) -> Result<Option<RequestOptions>> {
    let Timeouts { connect, first_byte, between_bytes, total: _ } = timeouts;
    if [connect, first_byte, between_bytes] == [None; 3] {
        return Ok(None);
    }
    let options = RequestOptions::new();
    let set = options
        .set_connect_timeout(connect.map(nanoseconds))
        .and_then(|()| options.set_first_byte_timeout(first_byte.map(nanoseconds)))
        .and_then(|()| options.set_between_bytes_timeout(between_bytes.map(nanoseconds)));
    set.map_err(|_| Error::new(ErrorKind::Internal).with_source("the host has not all of the timeouts that are set"))?;
    Ok(Some(options))
}

fn received(incoming: wasip3::http::types::Response, deadline: Deadline) -> Result<Response<Body>> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = incoming
        .get_status_code()
        .try_into()
        .map_err(|error: http::status::InvalidStatusCode| Error::new(ErrorKind::Internal).with_source(error))?;
    *response.headers_mut() = convert::headers(&incoming.get_headers())?;
    let (stream, end) = wasip3::http::types::Response::consume_body(incoming, body::accepted());
    *response.body_mut() = Body::from_source(Incoming::new(stream, end, deadline));
    Ok(response)
}

impl Outgoing {
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.upload.write(bytes).await
    }

    pub(crate) fn finish(self) -> Pending {
        let Outgoing { upload, response, .. } = self;
        spawn(async move { upload.finish().await });
        response
    }
}

/// A future that goes on while others are waited for, until what this returns is dropped.
fn under_way(future: impl Future<Output = Result<Response<Body>>> + 'static) -> Pending {
    let shared = Rc::new(RefCell::new(UnderWay { future: Some(Box::pin(future)), done: None, waiting: None }));
    let beside = Rc::downgrade(&shared);
    spawn(poll_fn(move |cx| match beside.upgrade() {
        Some(shared) => shared.borrow_mut().go_on(cx),
        None => Poll::Ready(()),
    }));
    Box::pin(poll_fn(move |cx| {
        let mut shared = shared.borrow_mut();
        match shared.done.take() {
            Some(done) => Poll::Ready(done),
            None => {
                shared.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }))
}

struct UnderWay {
    future: Option<Pending>,
    done: Option<Result<Response<Body>>>,
    waiting: Option<Waker>,
}

impl UnderWay {
    fn go_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(future) = &mut self.future else { return Poll::Ready(()) };
        let Poll::Ready(done) = future.as_mut().poll(cx) else { return Poll::Pending };
        self.future = None;
        self.done = Some(done);
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
        Poll::Ready(())
    }
}
