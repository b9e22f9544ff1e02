//! How long a request may take.

use std::time::Duration;

use http::Extensions;

/// How long a request may take. What is left out is bounded by the host only.
///
/// ```
/// use std::time::Duration;
/// use wharf_guest::{TimeoutExt, Timeouts};
///
/// let timeouts = Timeouts { total: Some(Duration::from_secs(5)), ..Timeouts::default() };
/// let request = http::Request::get("https://api.example.com/").timeouts(timeouts).body(()).unwrap();
/// # assert_eq!(request.extensions().get(), Some(&timeouts));
/// ```
///
/// What is too late fails with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout). With `wasi:http` it fails in time.
/// `wasi_experimental_http` cannot tell its host how long to wait: there, a call that took longer fails once the host
/// returns from it, which is when its own timeouts end it at the latest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Until there is a connection. No effect of its own with `wasi_experimental_http`.
    pub connect: Option<Duration>,
    /// Until the response begins.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the response body.
    pub between_bytes: Option<Duration>,
    /// From the start of the request to the end of the response body.
    pub total: Option<Duration>,
}

impl Timeouts {
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}

/// Timeouts on requests.
pub trait TimeoutExt: Sized {
    /// Sets how long the request may take.
    #[must_use]
    fn timeouts(self, timeouts: Timeouts) -> Self;

    /// Sets how long the request may take from its start to the end of the response body.
    #[must_use]
    fn timeout(self, total: Duration) -> Self {
        self.timeouts(Timeouts { total: Some(total), ..Timeouts::default() })
    }
}

impl TimeoutExt for http::request::Builder {
    fn timeouts(self, timeouts: Timeouts) -> Self {
        self.extension(timeouts)
    }
}

impl<B> TimeoutExt for http::Request<B> {
    fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.extensions_mut().insert(timeouts);
        self
    }
}
