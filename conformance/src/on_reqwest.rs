//! The column of the transport on reqwest, which wharf's default one is compared with.

use std::sync::Arc;

use wharf_core::http::Transport;
use wharf_http_reqwest::ReqwestTransport;

use crate::case::{CaseResult, Unmet};
use crate::expected::REQWEST;
use crate::runner::{SENDING, Subject, TransportParts};

impl Subject {
    /// The same backend, in a column named [`REQWEST`] of the cases that are about a transport, which send on reqwest. Each
    /// difference to the transport on hyper is listed in [`EXPECTED`](crate::EXPECTED).
    #[must_use]
    pub fn on_reqwest(&self) -> Subject {
        self.clone().named(REQWEST).only(SENDING).through(Arc::new(transport))
    }
}

fn transport(parts: TransportParts) -> CaseResult<Arc<dyn Transport>> {
    let mut builder = ReqwestTransport::builder(parts.policy).limits(&parts.limits);
    if let Some(resolver) = parts.resolver {
        builder = builder.resolver(resolver);
    }
    for certificate in &parts.roots {
        builder = builder.root_certificate(certificate)?;
    }
    Ok(Arc::new(builder.build().map_err(Unmet::harness)?))
}
