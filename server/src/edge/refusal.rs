//! The answer to a request that does not reach the guest.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};

use crate::handler::ResponseBody;

/// Why a request does not reach the guest, and with what it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    reason: &'static str,
}

impl Refusal {
    pub(super) const fn new(status: StatusCode, reason: &'static str) -> Self {
        Refusal { status, reason }
    }

    /// The request is not valid.
    pub(super) const fn bad(reason: &'static str) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, reason)
    }

    /// The reason, for whoever debugs a client. An HTTP/1 connection ends with it: where the next request begins may not
    /// be certain any more.
    pub(crate) fn response(self, version: Version) -> Response<ResponseBody> {
        tracing::debug!("a request was refused with {}: {}", self.status, self.reason);
        let body = Full::new(Bytes::from(format!("{}\n", self.reason)));
        let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if version < Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    #[cfg(test)]
    pub(super) fn status(self) -> StatusCode {
        self.status
    }
}
