//! Serving: a request of the host becomes a call of the handler.

use std::error::Error as StdError;

use http::{Request, Response, Uri};
use wasip2::http::types::{ErrorCode, IncomingRequest, OutgoingResponse, ResponseOutparam};

use super::super::convert;
use super::body::{Incoming, Upload};
use crate::{Body, ErrorKind, IntoResponse, Result, block_on, executor};

/// Has the handler answer one request, and sends its response, whose body streams.
///
/// A body that breaks off leaves a broken message, never one that looks whole, and is told to standard error.
pub fn serve<F, O>(handler: F, request: IncomingRequest, out: ResponseOutparam)
where
    F: FnOnce(Request<Body>) -> O,
    O: Future,
    O::Output: IntoResponse,
{
    let request = match accept(request) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("the request cannot be read: {error}");
            ResponseOutparam::set(out, Err(ErrorCode::HttpRequestUriInvalid));
            return;
        }
    };
    block_on(async {
        if let Err(error) = respond(handler(request).await.into_response(), out).await {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            // The body of the response is the guest's own: it is no request that failed.
            let what = if error.kind() == ErrorKind::Body { "its body".to_owned() } else { error.to_string() };
            eprintln!("the response could not be sent: {what}{cause}");
        }
    });
    // The instance may be used for another request, which is not to inherit them.
    executor::clear();
}

fn accept(request: IncomingRequest) -> Result<Request<Body>, Box<dyn StdError>> {
    let mut uri = Uri::builder().path_and_query(request.path_with_query().unwrap_or_else(|| "/".to_owned()));
    if let Some(authority) = request.authority() {
        let scheme = request.scheme();
        uri = uri.authority(authority).scheme(scheme.as_ref().map_or("http", convert::scheme_of));
    }
    let body = request.consume().map_err(|()| "the body is taken")?;
    let mut accepted = Request::new(Body::from_source(Incoming::new(body, None)));
    *accepted.method_mut() = convert::method_of(&request.method())?;
    *accepted.uri_mut() = uri.build()?;
    *accepted.headers_mut() = convert::headers(&request.headers())?;
    Ok(accepted)
}

async fn respond(response: Response<Body>, out: ResponseOutparam) -> Result<()> {
    let (head, mut body) = response.into_parts();
    let outgoing = match convert::fields(&head.headers) {
        Ok(fields) => OutgoingResponse::new(fields),
        Err(error) => {
            ResponseOutparam::set(out, Err(ErrorCode::InternalError(None)));
            return Err(error);
        }
    };
    let taken = outgoing.set_status_code(head.status.as_u16());
    let to = outgoing.body().expect("the body is taken once");
    if taken.is_err() {
        ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some(format!("the status {}", head.status)))));
        return Err(crate::Error::new(ErrorKind::Invalid).with_source(format!("the status {}", head.status)));
    }
    ResponseOutparam::set(out, Ok(outgoing));
    let mut upload = Upload::new(to, None);
    while let Some(chunk) = body.chunk().await {
        upload.write(&chunk?).await?;
    }
    upload.finish().await
}
