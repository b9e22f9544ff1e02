//! Where Wasmtime's host asks wharf: a guest's requests go through [`Outbound`], and through nothing else.

use std::future::Future;

use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};
use wharf_core::http::{Outbound, Outgoing};

use crate::codes;
use crate::held;
use crate::message::{self, Guarded};

/// A future of Wasmtime's interface.
type Task<T> = Box<dyn Future<Output = Result<T, Error>> + Send>;

/// How much of a body is taken from the guest at once, in bytes. Two such pieces wait for whoever reads, and a guest may
/// have many bodies.
const CHUNK: usize = 16 << 10;

/// One guest's way out.
pub(crate) struct Hooks {
    outbound: Option<Outbound>,
    ended: Option<CancellationToken>,
    /// Given to each request body that may be one that was received, and closed once all of them have gone.
    passing: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

impl Hooks {
    /// Sends through `outbound`; request bodies that are unfinished when `ended` is cancelled break off.
    pub(crate) fn new(outbound: Option<Outbound>, ended: Option<CancellationToken>) -> Self {
        Hooks { outbound, ended, passing: mpsc::channel(1) }
    }

    /// Nothing comes from it: it closes once no request body is under way that was received and handed on.
    pub(crate) fn passing(&mut self) -> mpsc::Receiver<()> {
        let (sender, receiver) = std::mem::replace(&mut self.passing, mpsc::channel(1));
        drop(sender);
        receiver
    }
}

impl WasiHttpHooks for Hooks {
    /// The transport writes it, once.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Task<()>,
    ) -> Task<(http::Response<WasiBody>, Task<()>)> {
        let Some(outbound) = &self.outbound else {
            return Box::new(async { Err(Error::HttpRequestDenied) });
        };
        let mut timeouts = outbound.limits().timeouts();
        if let Some(options) = options {
            timeouts.connect = options.connect_timeout.unwrap_or(timeouts.connect);
            timeouts.first_byte = options.first_byte_timeout.unwrap_or(timeouts.first_byte);
            timeouts.between_bytes = options.between_bytes_timeout.unwrap_or(timeouts.between_bytes);
        }
        let guard = self.ended.clone().map(|ended| (ended, self.passing.0.clone()));
        // A length that is not valid is refused where the request is sent.
        let announced = message::announced(request.headers()).unwrap_or_default();
        let request = request.map(|body| {
            if body.is_end_stream() {
                return Outgoing::empty();
            }
            let body = match guard {
                Some((ended, passing)) => Guarded::new(body, ended, passing).map_err(codes::broken_off).boxed_unsync(),
                None => body.map_err(codes::broken_off).boxed_unsync(),
            };
            Outgoing::Stream(held::request_body(body, announced))
        });
        let pending = outbound.send_with(request, timeouts);
        Box::new(async move {
            let response = pending.await.map_err(|error| codes::for_guest(&error))?;
            Ok((response.map(message::received), Box::new(async { Ok(()) }) as Task<()>))
        })
    }
}
