//! Error codes: core's, and those of `wasmtime-wasi-http`, which stand for both 0.2 and 0.3.

use wasmtime_wasi_http::Error;
use wharf_core::abi::wasi02::http::{DnsErrorPayload, ErrorCode, FieldSizePayload, TlsAlertReceivedPayload};
use wharf_core::http::{HttpError, HttpErrorKind};

/// Translates the codes that have the same name and payload on both sides, and leaves the others to the arms given.
macro_rules! codes {
    ($($plain:ident)*; $($payload:ident)*) => {
        pub(crate) fn to_wasmtime(code: ErrorCode) -> Error {
            match code {
                $(ErrorCode::$plain => Error::$plain,)*
                $(ErrorCode::$payload(payload) => Error::$payload(payload),)*
                ErrorCode::DnsError(DnsErrorPayload { rcode, info_code }) => Error::DnsError { rcode, info_code },
                ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload { alert_id, alert_message }) => {
                    Error::TlsAlertReceived { alert_id, alert_message }
                }
                ErrorCode::HttpRequestHeaderSize(payload) => {
                    let (field_name, field_size) = payload.map_or((None, None), |p| (p.field_name, p.field_size));
                    Error::HttpRequestHeaderSize { field_name, field_size }
                }
                ErrorCode::HttpRequestTrailerSize(FieldSizePayload { field_name, field_size }) => {
                    Error::HttpRequestTrailerSize { field_name, field_size }
                }
                ErrorCode::HttpResponseHeaderSize(FieldSizePayload { field_name, field_size }) => {
                    Error::HttpResponseHeaderSize { field_name, field_size }
                }
                ErrorCode::HttpResponseTrailerSize(FieldSizePayload { field_name, field_size }) => {
                    Error::HttpResponseTrailerSize { field_name, field_size }
                }
            }
        }

        pub(crate) fn to_core(error: Error) -> ErrorCode {
            match error {
                $(Error::$plain => ErrorCode::$plain,)*
                $(Error::$payload(payload) => ErrorCode::$payload(payload),)*
                Error::DnsError { rcode, info_code } => ErrorCode::DnsError(DnsErrorPayload { rcode, info_code }),
                Error::TlsAlertReceived { alert_id, alert_message } => {
                    ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload { alert_id, alert_message })
                }
                Error::HttpRequestHeaderSize { field_name, field_size } => {
                    ErrorCode::HttpRequestHeaderSize(Some(FieldSizePayload { field_name, field_size }))
                }
                Error::HttpRequestTrailerSize { field_name, field_size } => {
                    ErrorCode::HttpRequestTrailerSize(FieldSizePayload { field_name, field_size })
                }
                Error::HttpResponseHeaderSize { field_name, field_size } => {
                    ErrorCode::HttpResponseHeaderSize(FieldSizePayload { field_name, field_size })
                }
                Error::HttpResponseTrailerSize { field_name, field_size } => {
                    ErrorCode::HttpResponseTrailerSize(FieldSizePayload { field_name, field_size })
                }
                // What Wasmtime's own transport reports, which is not in use.
                other => ErrorCode::InternalError(Some(other.to_string())),
            }
        }
    };
}

codes! {
    DnsTimeout DestinationNotFound DestinationUnavailable DestinationIpProhibited DestinationIpUnroutable
    ConnectionRefused ConnectionTerminated ConnectionTimeout ConnectionReadTimeout ConnectionWriteTimeout
    ConnectionLimitReached TlsProtocolError TlsCertificateError HttpRequestDenied HttpRequestLengthRequired
    HttpRequestMethodInvalid HttpRequestUriInvalid HttpRequestUriTooLong HttpResponseIncomplete HttpResponseTimeout
    HttpUpgradeFailed HttpProtocolError LoopDetected ConfigurationError;
    HttpRequestBodySize HttpRequestHeaderSectionSize HttpRequestTrailerSectionSize HttpResponseHeaderSectionSize
    HttpResponseBodySize HttpResponseTrailerSectionSize HttpResponseTransferCoding HttpResponseContentCoding
    InternalError
}

/// What a failed request, or a body that broke off, is to the guest.
pub(crate) fn for_guest(error: &HttpError) -> Error {
    to_wasmtime(ErrorCode::from(error))
}

/// What a body that the guest did not finish is to whoever receives it.
pub(crate) fn broken_off(error: Error) -> HttpError {
    match error {
        Error::HttpRequestBodySize(Some(seen)) => HttpError::new(
            HttpErrorKind::RequestBodyLength(seen),
            format!("the guest wrote {seen} bytes of a body, which is not the length that it announced"),
        ),
        other => HttpError::new(HttpErrorKind::RequestBodyAborted, format!("the guest aborted the body: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_way_there_and_back() {
        let size = || FieldSizePayload { field_name: Some("a".to_owned()), field_size: Some(7) };
        for code in [
            ErrorCode::DnsError(DnsErrorPayload { rcode: Some("NXDOMAIN".to_owned()), info_code: Some(3) }),
            ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload { alert_id: Some(40), alert_message: None }),
            ErrorCode::HttpRequestHeaderSize(Some(size())),
            ErrorCode::HttpRequestTrailerSize(size()),
            ErrorCode::HttpResponseHeaderSize(size()),
            ErrorCode::HttpResponseTrailerSize(size()),
            ErrorCode::HttpRequestBodySize(Some(5)),
            ErrorCode::LoopDetected,
            ErrorCode::InternalError(None),
        ] {
            assert_eq!(to_core(to_wasmtime(code.clone())), code);
        }
    }
}
