//! The host's error codes.

use super::wasi::http::types::ErrorCode;
use crate::{Code, Error, ErrorKind};

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        let (kind, name) = explain(&code);
        let error = Error::new(kind).with_code(Code::WasiHttp(name));
        match code {
            ErrorCode::InternalError(Some(why)) => error.with_source(why),
            _ => error,
        }
    }
}

/// The kind of each code, and its name in WIT.
fn explain(code: &ErrorCode) -> (ErrorKind, &'static str) {
    use ErrorKind::{Denied, Failed, Internal, Invalid, Limit, Timeout};
    match code {
        ErrorCode::DnsTimeout => (Timeout, "DNS-timeout"),
        ErrorCode::DnsError(_) => (Failed, "DNS-error"),
        ErrorCode::DestinationNotFound => (Failed, "destination-not-found"),
        ErrorCode::DestinationUnavailable => (Failed, "destination-unavailable"),
        ErrorCode::DestinationIpProhibited => (Denied, "destination-IP-prohibited"),
        ErrorCode::DestinationIpUnroutable => (Failed, "destination-IP-unroutable"),
        ErrorCode::ConnectionRefused => (Failed, "connection-refused"),
        ErrorCode::ConnectionTerminated => (Failed, "connection-terminated"),
        ErrorCode::ConnectionTimeout => (Timeout, "connection-timeout"),
        ErrorCode::ConnectionReadTimeout => (Timeout, "connection-read-timeout"),
        ErrorCode::ConnectionWriteTimeout => (Timeout, "connection-write-timeout"),
        ErrorCode::ConnectionLimitReached => (Limit, "connection-limit-reached"),
        ErrorCode::TlsProtocolError => (Failed, "TLS-protocol-error"),
        ErrorCode::TlsCertificateError => (Failed, "TLS-certificate-error"),
        ErrorCode::TlsAlertReceived(_) => (Failed, "TLS-alert-received"),
        ErrorCode::HttpRequestDenied => (Denied, "HTTP-request-denied"),
        ErrorCode::HttpRequestLengthRequired => (Invalid, "HTTP-request-length-required"),
        ErrorCode::HttpRequestBodySize(_) => (Invalid, "HTTP-request-body-size"),
        ErrorCode::HttpRequestMethodInvalid => (Invalid, "HTTP-request-method-invalid"),
        ErrorCode::HttpRequestUriInvalid => (Invalid, "HTTP-request-URI-invalid"),
        ErrorCode::HttpRequestUriTooLong => (Invalid, "HTTP-request-URI-too-long"),
        ErrorCode::HttpRequestHeaderSectionSize(_) => (Invalid, "HTTP-request-header-section-size"),
        ErrorCode::HttpRequestHeaderSize(_) => (Invalid, "HTTP-request-header-size"),
        ErrorCode::HttpRequestTrailerSectionSize(_) => (Invalid, "HTTP-request-trailer-section-size"),
        ErrorCode::HttpRequestTrailerSize(_) => (Invalid, "HTTP-request-trailer-size"),
        ErrorCode::HttpResponseIncomplete => (Failed, "HTTP-response-incomplete"),
        ErrorCode::HttpResponseHeaderSectionSize(_) => (Limit, "HTTP-response-header-section-size"),
        ErrorCode::HttpResponseHeaderSize(_) => (Limit, "HTTP-response-header-size"),
        ErrorCode::HttpResponseBodySize(_) => (Limit, "HTTP-response-body-size"),
        ErrorCode::HttpResponseTrailerSectionSize(_) => (Limit, "HTTP-response-trailer-section-size"),
        ErrorCode::HttpResponseTrailerSize(_) => (Limit, "HTTP-response-trailer-size"),
        ErrorCode::HttpResponseTransferCoding(_) => (Failed, "HTTP-response-transfer-coding"),
        ErrorCode::HttpResponseContentCoding(_) => (Failed, "HTTP-response-content-coding"),
        ErrorCode::HttpResponseTimeout => (Timeout, "HTTP-response-timeout"),
        ErrorCode::HttpUpgradeFailed => (Failed, "HTTP-upgrade-failed"),
        ErrorCode::HttpProtocolError => (Failed, "HTTP-protocol-error"),
        ErrorCode::LoopDetected => (Failed, "loop-detected"),
        ErrorCode::ConfigurationError => (Internal, "configuration-error"),
        ErrorCode::InternalError(_) => (Internal, "internal-error"),
    }
}
