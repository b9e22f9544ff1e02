//! `wasi:http/types.error-code`, and what of core's errors each code is.

use http::StatusCode;

use crate::abi::wasi02::canon::{record, variant};
use crate::budget::Exceeded;
use crate::http::{FieldSize, HttpError, HttpErrorKind};

record! {
    /// What is known of a failed name resolution.
    #[derive(Debug, Clone, PartialEq, Eq)]
    #[allow(missing_docs, reason = "the WIT file names them, and says no more")]
    pub struct DnsErrorPayload {
        rcode: Option<String>,
        info_code: Option<u16>,
    }
}

record! {
    /// A TLS alert.
    #[derive(Debug, Clone, PartialEq, Eq)]
    #[allow(missing_docs, reason = "the WIT file names them, and says no more")]
    pub struct TlsAlertReceivedPayload {
        alert_id: Option<u8>,
        alert_message: Option<String>,
    }
}

record! {
    /// A header or trailer that is too large.
    #[derive(Debug, Clone, PartialEq, Eq)]
    #[allow(missing_docs, reason = "the WIT file names them, and says no more")]
    pub struct FieldSizePayload {
        field_name: Option<String>,
        field_size: Option<u32>,
    }
}

variant! {
    /// `wasi:http/types.error-code`. The names are those of the WIT file.
    #[derive(Debug, Clone, PartialEq, Eq)]
    #[allow(missing_docs, reason = "the WIT file names them, and says no more")]
    pub enum ErrorCode as "error-code" {
        DnsTimeout,
        DnsError(payload: DnsErrorPayload),
        DestinationNotFound,
        DestinationUnavailable,
        DestinationIpProhibited,
        DestinationIpUnroutable,
        ConnectionRefused,
        ConnectionTerminated,
        ConnectionTimeout,
        ConnectionReadTimeout,
        ConnectionWriteTimeout,
        ConnectionLimitReached,
        TlsProtocolError,
        TlsCertificateError,
        TlsAlertReceived(payload: TlsAlertReceivedPayload),
        HttpRequestDenied,
        HttpRequestLengthRequired,
        HttpRequestBodySize(size: Option<u64>),
        HttpRequestMethodInvalid,
        HttpRequestUriInvalid,
        HttpRequestUriTooLong,
        HttpRequestHeaderSectionSize(size: Option<u32>),
        HttpRequestHeaderSize(payload: Option<FieldSizePayload>),
        HttpRequestTrailerSectionSize(size: Option<u32>),
        HttpRequestTrailerSize(payload: FieldSizePayload),
        HttpResponseIncomplete,
        HttpResponseHeaderSectionSize(size: Option<u32>),
        HttpResponseHeaderSize(payload: FieldSizePayload),
        HttpResponseBodySize(size: Option<u64>),
        HttpResponseTrailerSectionSize(size: Option<u32>),
        HttpResponseTrailerSize(payload: FieldSizePayload),
        HttpResponseTransferCoding(coding: Option<String>),
        HttpResponseContentCoding(coding: Option<String>),
        HttpResponseTimeout,
        HttpUpgradeFailed,
        HttpProtocolError,
        LoopDetected,
        ConfigurationError,
        InternalError(message: Option<String>),
    }
}

impl From<&FieldSize> for FieldSizePayload {
    fn from(field: &FieldSize) -> Self {
        let field_size = Some(u32::try_from(field.bytes).unwrap_or(u32::MAX));
        FieldSizePayload { field_name: Some(field.name.clone()), field_size }
    }
}

impl From<Exceeded> for ErrorCode {
    fn from(exceeded: Exceeded) -> Self {
        ErrorCode::InternalError(Some(exceeded.to_string()))
    }
}

impl From<&HttpError> for ErrorCode {
    fn from(error: &HttpError) -> Self {
        use HttpErrorKind as H;
        if let Some(field) = error.field().map(FieldSizePayload::from) {
            match error.kind() {
                H::RequestHeadersTooLarge => return ErrorCode::HttpRequestHeaderSize(Some(field)),
                H::RequestTrailersTooLarge => return ErrorCode::HttpRequestTrailerSize(field),
                H::ResponseHeadersTooLarge => return ErrorCode::HttpResponseHeaderSize(field),
                H::ResponseTrailersTooLarge => return ErrorCode::HttpResponseTrailerSize(field),
                _ => {}
            }
        }
        match error.kind() {
            H::Denied | H::RedirectDenied => ErrorCode::HttpRequestDenied,
            H::AddressProhibited => ErrorCode::DestinationIpProhibited,
            H::InvalidUrl => ErrorCode::HttpRequestUriInvalid,
            H::UrlTooLong => ErrorCode::HttpRequestUriTooLong,
            H::InvalidMethod => ErrorCode::HttpRequestMethodInvalid,
            H::RequestHeadersTooLarge => ErrorCode::HttpRequestHeaderSectionSize(None),
            H::RequestTrailersTooLarge => ErrorCode::HttpRequestTrailerSectionSize(None),
            H::RequestBodyTooLarge => ErrorCode::HttpRequestBodySize(None),
            H::RequestBodyLength(seen) => ErrorCode::HttpRequestBodySize(Some(seen)),
            H::TooManyInFlight | H::TooManyOpen => ErrorCode::ConnectionLimitReached,
            H::DnsNotFound => {
                ErrorCode::DnsError(DnsErrorPayload { rcode: Some("NXDOMAIN".to_owned()), info_code: None })
            }
            H::DnsFailed => ErrorCode::DnsError(DnsErrorPayload { rcode: None, info_code: None }),
            H::DnsTimeout => ErrorCode::DnsTimeout,
            H::NoAddress => ErrorCode::DestinationNotFound,
            H::ConnectionRefused => ErrorCode::ConnectionRefused,
            H::Unroutable => ErrorCode::DestinationIpUnroutable,
            H::ConnectionTimeout => ErrorCode::ConnectionTimeout,
            H::ConnectionReset | H::ConnectionClosed => ErrorCode::ConnectionTerminated,
            H::ConnectionFailed => ErrorCode::DestinationUnavailable,
            H::TlsCertificate => ErrorCode::TlsCertificateError,
            H::TlsProtocol => ErrorCode::TlsProtocolError,
            H::TlsAlert(alert) => {
                let alert_message = Some(crate::http::alert_name(alert));
                ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload { alert_id: Some(alert), alert_message })
            }
            H::WriteTimeout => ErrorCode::ConnectionWriteTimeout,
            H::FirstByteTimeout | H::TotalTimeout => ErrorCode::HttpResponseTimeout,
            H::BetweenBytesTimeout => ErrorCode::ConnectionReadTimeout,
            H::Upgraded => ErrorCode::HttpUpgradeFailed,
            H::Protocol | H::InvalidRedirect => ErrorCode::HttpProtocolError,
            H::TransferCoding => ErrorCode::HttpResponseTransferCoding(None),
            H::ResponseHeadersTooLarge => ErrorCode::HttpResponseHeaderSectionSize(None),
            H::ResponseTrailersTooLarge => ErrorCode::HttpResponseTrailerSectionSize(None),
            H::ResponseBodyTooLarge => ErrorCode::HttpResponseBodySize(None),
            H::IncompleteResponse => ErrorCode::HttpResponseIncomplete,
            H::TooManyRedirects => ErrorCode::LoopDetected,
            H::InvalidRequest | H::RequestBodyAborted | H::Cancelled | H::Internal => {
                ErrorCode::InternalError(Some(error.to_string()))
            }
        }
    }
}

impl ErrorCode {
    /// The status of a server's response when its handler failed with this code: that of a gateway if an upstream
    /// server is at fault, else 500.
    pub fn status(&self) -> StatusCode {
        use ErrorCode as E;
        match self {
            E::DnsTimeout
            | E::ConnectionTimeout
            | E::ConnectionReadTimeout
            | E::ConnectionWriteTimeout
            | E::HttpResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
            E::DnsError(_)
            | E::DestinationNotFound
            | E::DestinationUnavailable
            | E::DestinationIpUnroutable
            | E::ConnectionRefused
            | E::ConnectionTerminated
            | E::TlsProtocolError
            | E::TlsCertificateError
            | E::TlsAlertReceived(_)
            | E::HttpResponseIncomplete
            | E::HttpResponseHeaderSectionSize(_)
            | E::HttpResponseHeaderSize(_)
            | E::HttpResponseBodySize(_)
            | E::HttpResponseTrailerSectionSize(_)
            | E::HttpResponseTrailerSize(_)
            | E::HttpResponseTransferCoding(_)
            | E::HttpResponseContentCoding(_)
            | E::HttpUpgradeFailed
            | E::HttpProtocolError => StatusCode::BAD_GATEWAY,
            E::ConnectionLimitReached => StatusCode::SERVICE_UNAVAILABLE,
            E::LoopDetected => StatusCode::LOOP_DETECTED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each kind has the code whose name in the WIT file says the same, and a server answers with the status that a gateway
    /// would (RFC 9110, section 15.6) where it is an upstream server that failed.
    #[test]
    fn every_failure_has_a_code_and_a_status() {
        use ErrorCode as E;
        use HttpErrorKind as H;
        let dns =
            |rcode: Option<&str>| E::DnsError(DnsErrorPayload { rcode: rcode.map(str::to_owned), info_code: None });
        let alert = TlsAlertReceivedPayload { alert_id: Some(48), alert_message: Some("UnknownCA".to_owned()) };
        let internal = || E::InternalError(Some("what happened".to_owned()));
        for (kind, expected, status) in [
            (H::Denied, E::HttpRequestDenied, 500),
            (H::RedirectDenied, E::HttpRequestDenied, 500),
            (H::AddressProhibited, E::DestinationIpProhibited, 500),
            (H::InvalidUrl, E::HttpRequestUriInvalid, 500),
            (H::UrlTooLong, E::HttpRequestUriTooLong, 500),
            (H::InvalidMethod, E::HttpRequestMethodInvalid, 500),
            (H::RequestHeadersTooLarge, E::HttpRequestHeaderSectionSize(None), 500),
            (H::RequestTrailersTooLarge, E::HttpRequestTrailerSectionSize(None), 500),
            (H::RequestBodyTooLarge, E::HttpRequestBodySize(None), 500),
            (H::RequestBodyLength(7), E::HttpRequestBodySize(Some(7)), 500),
            (H::TooManyInFlight, E::ConnectionLimitReached, 503),
            (H::TooManyOpen, E::ConnectionLimitReached, 503),
            (H::DnsNotFound, dns(Some("NXDOMAIN")), 502),
            (H::DnsFailed, dns(None), 502),
            (H::DnsTimeout, E::DnsTimeout, 504),
            (H::NoAddress, E::DestinationNotFound, 502),
            (H::ConnectionRefused, E::ConnectionRefused, 502),
            (H::Unroutable, E::DestinationIpUnroutable, 502),
            (H::ConnectionTimeout, E::ConnectionTimeout, 504),
            (H::ConnectionReset, E::ConnectionTerminated, 502),
            (H::ConnectionClosed, E::ConnectionTerminated, 502),
            (H::ConnectionFailed, E::DestinationUnavailable, 502),
            (H::TlsCertificate, E::TlsCertificateError, 502),
            (H::TlsProtocol, E::TlsProtocolError, 502),
            (H::TlsAlert(48), E::TlsAlertReceived(alert), 502),
            (H::WriteTimeout, E::ConnectionWriteTimeout, 504),
            (H::FirstByteTimeout, E::HttpResponseTimeout, 504),
            (H::TotalTimeout, E::HttpResponseTimeout, 504),
            (H::BetweenBytesTimeout, E::ConnectionReadTimeout, 504),
            (H::Upgraded, E::HttpUpgradeFailed, 502),
            (H::Protocol, E::HttpProtocolError, 502),
            (H::InvalidRedirect, E::HttpProtocolError, 502),
            (H::TransferCoding, E::HttpResponseTransferCoding(None), 502),
            (H::ResponseHeadersTooLarge, E::HttpResponseHeaderSectionSize(None), 502),
            (H::ResponseTrailersTooLarge, E::HttpResponseTrailerSectionSize(None), 502),
            (H::ResponseBodyTooLarge, E::HttpResponseBodySize(None), 502),
            (H::IncompleteResponse, E::HttpResponseIncomplete, 502),
            (H::TooManyRedirects, E::LoopDetected, 508),
            (H::InvalidRequest, internal(), 500),
            (H::RequestBodyAborted, internal(), 500),
            (H::Cancelled, internal(), 500),
            (H::Internal, internal(), 500),
        ] {
            assert_eq!(ErrorCode::from(&HttpError::new(kind, "what happened")), expected, "{kind:?}");
            assert_eq!(expected.status().as_u16(), status, "{kind:?}");
        }
    }

    #[test]
    fn a_field_that_is_too_large_is_named() {
        let field = FieldSizePayload { field_name: Some("x-large".to_owned()), field_size: Some(u32::MAX) };
        let code = |kind| {
            let seen = FieldSize { name: "x-large".to_owned(), bytes: u64::MAX };
            ErrorCode::from(&HttpError::new(kind, "too large").with_field(seen))
        };
        for (kind, expected) in [
            (HttpErrorKind::RequestHeadersTooLarge, ErrorCode::HttpRequestHeaderSize(Some(field.clone()))),
            (HttpErrorKind::RequestTrailersTooLarge, ErrorCode::HttpRequestTrailerSize(field.clone())),
            (HttpErrorKind::ResponseHeadersTooLarge, ErrorCode::HttpResponseHeaderSize(field.clone())),
            (HttpErrorKind::ResponseTrailersTooLarge, ErrorCode::HttpResponseTrailerSize(field)),
        ] {
            assert_eq!(code(kind), expected);
        }
    }
}
