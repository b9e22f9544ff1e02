//! `wasi:http` 0.2: requests and responses, on the bindings of the crate `wasip2`.

mod body;
mod reactor;
pub(crate) mod serve;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use http::{Request, Response};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{FutureIncomingResponse, OutgoingRequest, RequestOptions};

use self::body::{Incoming, Upload};
pub(crate) use self::reactor::wait;
use self::reactor::{Deadline, ready};
use super::convert::{self, nanoseconds};
use crate::{Body, Error, ErrorKind, Result, Timeouts, spawn};

/// What both ways to start a request come to.
type Pending = Pin<Box<dyn Future<Output = Result<Response<Body>>>>>;

/// A request whose body is being written.
pub(crate) struct Outgoing {
    upload: Upload,
    response: Awaited,
}

/// A response that is yet to come.
struct Awaited {
    future: FutureIncomingResponse,
    deadline: Option<Deadline>,
    /// Why the guest's own body could not be sent: the host knows only that it broke off.
    failed: Rc<RefCell<Option<Error>>>,
}

/// The request is on its way when this returns; its body goes as futures run.
pub(crate) fn start(mut request: Request<Body>, timeouts: Timeouts) -> Pending {
    convert::announce(&mut request);
    let (head, mut body) = request.into_parts();
    let Outgoing { mut upload, response } = match open(Request::from_parts(head, ()), timeouts) {
        Ok(outgoing) => outgoing,
        Err(error) => return Box::pin(std::future::ready(Err(error))),
    };
    let failed = response.failed.clone();
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
        upload.end(&failed).await;
    });
    Box::pin(response.head())
}

pub(crate) fn open(request: Request<()>, timeouts: Timeouts) -> Result<Outgoing> {
    let (head, ()) = request.into_parts();
    let invalid = |what: &'static str| Error::new(ErrorKind::Invalid).with_source(what);
    let outgoing = OutgoingRequest::new(convert::fields(&head.headers)?);
    outgoing.set_method(&convert::method(&head.method)).map_err(|()| invalid("the method"))?;
    let scheme = head.uri.scheme().ok_or_else(|| invalid("the URL has no scheme"))?;
    outgoing.set_scheme(Some(&convert::scheme(scheme))).map_err(|()| invalid("the scheme"))?;
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    outgoing.set_authority(authority).map_err(|()| invalid("the authority"))?;
    let path = head.uri.path_and_query().map(http::uri::PathAndQuery::as_str);
    outgoing.set_path_with_query(path).map_err(|()| invalid("the path"))?;

    let deadline = timeouts.total.map(Deadline::after);
    let upload = Upload::new(outgoing.body().expect("the body is taken once"), deadline);
    let future = outgoing_handler::handle(outgoing, options(timeouts)?).map_err(Error::from)?;
    let response = Awaited { future, deadline, failed: Rc::default() };
    Ok(Outgoing { upload, response })
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
    set.map_err(|()| Error::new(ErrorKind::Internal).with_source("the host has not all of the timeouts that are set"))?;
    Ok(Some(options))
}

impl Outgoing {
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.upload.write(bytes).await
    }

    pub(crate) fn finish(self) -> Pending {
        let Outgoing { upload, response } = self;
        let failed = response.failed.clone();
        spawn(async move { upload.end(&failed).await });
        Box::pin(response.head())
    }
}

impl Awaited {
    async fn head(self) -> Result<Response<Body>> {
        let incoming = loop {
            match self.future.get() {
                Some(Ok(Ok(incoming))) => break incoming,
                Some(Ok(Err(code))) => return Err(self.failed.take().unwrap_or_else(|| code.into())),
                Some(Err(())) => unreachable!("the response is taken once"),
                None => ready(self.future.subscribe(), self.deadline.as_ref()).await?,
            }
        };
        let status = incoming.status();
        let body = incoming.consume().expect("the body is taken once");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status
            .try_into()
            .map_err(|error: http::status::InvalidStatusCode| Error::new(ErrorKind::Internal).with_source(error))?;
        *response.headers_mut() = convert::headers(&incoming.headers())?;
        *response.body_mut() = Body::from_source(Incoming::new(body, self.deadline));
        Ok(response)
    }
}
