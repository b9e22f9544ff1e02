//! Serving: a request of the host becomes a call of the handler.

use std::error::Error as StdError;
use std::future::Future;

use http::{Request, Response, Uri};
use wasip3::http::types::{ErrorCode, Request as WasiRequest, Response as WasiResponse};
use wasip3::wit_bindgen;

use super::super::convert;
use super::body::{Incoming, Upload, accepted};
use super::deadline::Deadline;
use super::executor::Tasks;
use crate::{Body, ErrorKind, IntoResponse, Result};

/// Has the handler answer one request. The body of its response streams after this.
///
/// A body that breaks off leaves a broken message, never one that looks whole, and is told to standard error.
///
/// # Errors
/// If the request cannot be read, or the response is none that the host takes.
pub async fn serve<F, O>(handler: F, request: WasiRequest) -> Result<WasiResponse, ErrorCode>
where
    F: FnOnce(Request<Body>) -> O,
    O: Future,
    O::Output: IntoResponse,
{
    let request = accept(request).map_err(|error| {
        eprintln!("the request cannot be read: {error}");
        ErrorCode::HttpRequestUriInvalid
    })?;
    let tasks = Tasks::default();
    let response = tasks.drive(async { handler(request).await.into_response() }).await;
    let (response, upload, body) = respond(response).map_err(|error| {
        told(&error);
        ErrorCode::InternalError(error.source().map(ToString::to_string))
    })?;
    // What the handler left behind ends with this.
    wit_bindgen::spawn_local(async move {
        if let Err(error) = tasks.drive(send(upload, body)).await {
            told(&error);
        }
    });
    Ok(response)
}

fn accept(request: WasiRequest) -> Result<Request<Body>, Box<dyn StdError>> {
    let mut uri = Uri::builder().path_and_query(request.get_path_with_query().unwrap_or_else(|| "/".to_owned()));
    if let Some(authority) = request.get_authority() {
        let scheme = request.get_scheme();
        uri = uri.authority(authority).scheme(scheme.as_ref().map_or("http", convert::scheme_of));
    }
    let mut accepted_request = Request::new(Body::empty());
    *accepted_request.method_mut() = convert::method_of(&request.get_method())?;
    *accepted_request.uri_mut() = uri.build()?;
    *accepted_request.headers_mut() = convert::headers(&request.get_headers())?;
    let (stream, end) = WasiRequest::consume_body(request, accepted());
    *accepted_request.body_mut() = Body::from_source(Incoming::new(stream, end, Deadline::never()));
    Ok(accepted_request)
}

fn respond(response: Response<Body>) -> Result<(WasiResponse, Upload, Body)> {
    let (head, body) = response.into_parts();
    let fields = convert::fields(&head.headers)?;
    let (upload, contents, trailers) = Upload::new(body.known_len() != Some(0), Deadline::never());
    // A client that has left ends this.
    let (response, _sent) = WasiResponse::new(fields, contents, trailers);
    response
        .set_status_code(head.status.as_u16())
        .map_err(|()| crate::Error::new(ErrorKind::Invalid).with_source(format!("the status {}", head.status)))?;
    Ok((response, upload, body))
}

async fn send(mut upload: Upload, mut body: Body) -> Result<()> {
    while let Some(chunk) = body.chunk().await {
        upload.write(&chunk?).await?;
    }
    upload.finish().await;
    Ok(())
}

fn told(error: &crate::Error) {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    // The body of the response is the guest's own: it is no request that failed.
    let what = if error.kind() == ErrorKind::Body { "its body".to_owned() } else { error.to_string() };
    eprintln!("the response could not be sent: {what}{cause}");
}
