//! A request whose body is written, where the whole request is handed over at once.

use std::future::Future;
use std::pin::Pin;

use http::{Request, Response};

use crate::{Body, Result, Timeouts};

/// What was written so far.
pub(crate) struct Outgoing {
    request: Request<()>,
    timeouts: Timeouts,
    body: Vec<u8>,
}

/// Nothing is refused yet: the host sees the request when it is whole.
pub(crate) fn open(request: Request<()>, timeouts: Timeouts) -> Result<Outgoing> {
    Ok(Outgoing { request, timeouts, body: Vec::new() })
}

impl Outgoing {
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn finish(self) -> Pin<Box<dyn Future<Output = Result<Response<Body>>>>> {
        super::start(self.request.map(|()| self.body.into()), self.timeouts)
    }
}
