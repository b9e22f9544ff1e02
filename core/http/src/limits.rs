//! How much a guest may use of HTTP.

use std::time::Duration;

/// How much one guest may use. A limit of 0 means none allowed, never unlimited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Responses whose [`Incoming`](crate::Incoming) has not been dropped, requests under way included. Default 64.
    pub open_responses: u64,
    /// Requests that wait for the head of their response. Default 64.
    pub in_flight_requests: u64,
    /// Bytes of all headers of one message: name, value and 4 more for each. Trailers have the same limit of their
    /// own. Default 64 KiB.
    ///
    /// [`PooledTransport`](crate::PooledTransport) reads at most about 400 KiB of an HTTP/1.1 head, so a higher value
    /// has no effect there.
    pub header_bytes: u64,
    /// Headers of one message, each value counted. Trailers have the same limit of their own. Default 256.
    pub header_count: u64,
    /// Bytes of one request body. Default 64 MiB, since some ABIs hold it whole.
    pub request_body_bytes: u64,
    /// Bytes of one response body. Default unlimited (`u64::MAX`): a response is streamed, so its size costs no memory.
    pub response_body_bytes: u64,
    /// See [`Timeouts::connect`]. Default 10 s.
    pub connect_timeout: Duration,
    /// See [`Timeouts::first_byte`]. Default 30 s.
    pub first_byte_timeout: Duration,
    /// See [`Timeouts::between_bytes`]. Default 30 s.
    pub between_bytes_timeout: Duration,
    /// See [`Timeouts::total`]. Default none: the guest's own deadline bounds it.
    pub total_timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            open_responses: 64,
            in_flight_requests: 64,
            header_bytes: 64 << 10,
            header_count: 256,
            request_body_bytes: 64 << 20,
            response_body_bytes: u64::MAX,
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(30),
            between_bytes_timeout: Duration::from_secs(30),
            total_timeout: None,
        }
    }
}

impl Limits {
    /// Bytes of header fields that a guest may have in one place before it sends them: at least 16 KiB, and more than
    /// [`header_bytes`](Limits::header_bytes), so that fields that are too large for a message are reported when it is
    /// sent. A guest that keeps far more is ended.
    pub fn kept_header_bytes(&self) -> u64 {
        self.header_bytes.saturating_mul(2).max(16 << 10)
    }

    /// The four timeouts, as a request takes them.
    pub fn timeouts(&self) -> Timeouts {
        Timeouts {
            connect: self.connect_timeout,
            first_byte: self.first_byte_timeout,
            between_bytes: self.between_bytes_timeout,
            total: self.total_timeout,
        }
    }
}

/// How long one request may take. Each has an error kind of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Resolving the name, connecting and the TLS handshake, all together. Each hop of a redirect has it anew.
    pub connect: Duration,
    /// From the connection, or from the last part of the request body that was sent if that is later, to the head of
    /// the response. Time in which the request body has nothing to send does not count: that is the guest's own. Where
    /// it has and the origin does not take it, the error is [`WriteTimeout`](crate::HttpErrorKind::WriteTimeout).
    /// Each hop of a redirect has it anew.
    pub first_byte: Duration,
    /// The longest pause of the response body. Time in which the guest does not read does not count.
    pub between_bytes: Duration,
    /// From the call to the end of the response body, redirects included; `None` for no such bound.
    pub total: Option<Duration>,
}

impl Timeouts {
    /// Each timeout, but no longer than that of `host`: what a guest asks for, limited by what it may have.
    #[must_use]
    pub fn at_most(self, host: &Timeouts) -> Timeouts {
        Timeouts {
            connect: self.connect.min(host.connect),
            first_byte: self.first_byte.min(host.first_byte),
            between_bytes: self.between_bytes.min(host.between_bytes),
            total: [self.total, host.total].into_iter().flatten().min(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_cannot_lengthen_a_timeout() {
        let host = Limits { total_timeout: Some(Duration::from_secs(5)), ..Limits::default() }.timeouts();
        let asked = Timeouts {
            connect: Duration::from_secs(99),
            first_byte: Duration::from_secs(1),
            between_bytes: Duration::MAX,
            total: None,
        };
        let given = asked.at_most(&host);
        assert_eq!(given.connect, Duration::from_secs(10));
        assert_eq!(given.first_byte, Duration::from_secs(1));
        assert_eq!(given.between_bytes, Duration::from_secs(30));
        assert_eq!(given.total, Some(Duration::from_secs(5)));
        assert_eq!(
            Timeouts { total: Some(Duration::from_secs(1)), ..asked }.at_most(&host).total.unwrap().as_secs(),
            1
        );
    }
}
