//! What a handler may return.

use std::fmt::Display;

use http::{Response, StatusCode};

use crate::Body;

/// What a handler may return: a response, or a `Result` of one.
///
/// The error of a `Result` goes to standard error, where the operator sees it; the response is then an empty one of status
/// 500. A handler that wants to say more makes a response of its errors itself.
pub trait IntoResponse {
    /// The response.
    fn into_response(self) -> Response<Body>;
}

impl<B: Into<Body>> IntoResponse for Response<B> {
    fn into_response(self) -> Response<Body> {
        self.map(Into::into)
    }
}

impl<T: IntoResponse, E: Display> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response<Body> {
        self.map_or_else(
            |error| {
                eprintln!("the handler failed: {error:#}");
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            },
            IntoResponse::into_response,
        )
    }
}
