//! Finds the kind of an error that hyper, rustls or the system reports, from the errors it was caused by.

use std::error::Error as StdError;
use std::io;

use crate::error::{HttpError, HttpErrorKind};
use crate::origin::Origin;

/// How far the exchange had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The connection was being made, TLS included.
    Connect,
    /// The request was being sent, or its response waited for.
    Head,
    /// The response had begun.
    Body,
}

/// Says what `error`, of the system, rustls, hyper or h2, means for the exchange with `origin`. An [`HttpError`] among its
/// causes is taken as it is. What none of the causes says something of is a
/// [`ConnectionFailed`](HttpErrorKind::ConnectionFailed) while connecting, and a [`Protocol`](HttpErrorKind::Protocol) error
/// later.
pub fn classify(error: impl StdError + Send + Sync + 'static, phase: Phase, origin: &Origin) -> HttpError {
    let kind = match walk(&error, phase) {
        Found::Own(own) => return own,
        Found::Kind(kind) => kind,
        Found::Nothing if phase == Phase::Connect => HttpErrorKind::ConnectionFailed,
        Found::Nothing => HttpErrorKind::Protocol,
    };
    HttpError::new(kind, format!("{origin} {}", phrase(kind))).with_source(error)
}

/// Whether an origin says that it has not looked at the request that failed, since it did not take the HTTP/2 stream on, or
/// began to close the connection before it did (RFC 9113, sections 6.8 and 8.7). Such a request may be sent again, whatever
/// its method.
pub fn is_unprocessed(error: &(dyn StdError + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).filter_map(|error| error.downcast_ref()).any(refuses)
}

fn refuses(error: &h2::Error) -> bool {
    let reason = if error.is_go_away() { h2::Reason::NO_ERROR } else { h2::Reason::REFUSED_STREAM };
    error.is_remote() && error.reason() == Some(reason)
}

fn phrase(kind: HttpErrorKind) -> &'static str {
    match kind {
        HttpErrorKind::ConnectionRefused => "refused the connection",
        HttpErrorKind::ConnectionTimeout => "did not answer the attempt to connect",
        HttpErrorKind::ConnectionReset => "reset the connection",
        HttpErrorKind::ConnectionClosed => "closed the connection before it answered",
        HttpErrorKind::ConnectionFailed => "could not be connected to",
        HttpErrorKind::Unroutable => "cannot be reached from this machine",
        HttpErrorKind::TlsCertificate => "has a certificate that is not accepted",
        HttpErrorKind::TlsAlert(_) => "ended the tls handshake with an alert",
        HttpErrorKind::TlsProtocol => "does not speak tls as expected",
        HttpErrorKind::TransferCoding => "answered with a transfer coding other than chunked",
        HttpErrorKind::ResponseHeadersTooLarge => "answered with more headers than the limit",
        HttpErrorKind::IncompleteResponse => "ended the response before its announced end",
        HttpErrorKind::InvalidRequest => "cannot be sent this request",
        _ => "did not answer with valid http",
    }
}

enum Found {
    Own(HttpError),
    Kind(HttpErrorKind),
    Nothing,
}

/// Goes from an error to its causes. The deepest that says something decides: it is where the failure happened.
fn walk(error: &(dyn StdError + 'static), phase: Phase) -> Found {
    let mut found = Found::Nothing;
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(own) = error.downcast_ref::<HttpError>() {
            return Found::Own(own.clone());
        }
        let kind = if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Found::Kind(tls_kind(error));
        } else if let Some(error) = error.downcast_ref::<hyper::Error>() {
            hyper_kind(error, phase)
        } else if let Some(error) = error.downcast_ref::<h2::Error>() {
            h2_kind(error, phase)
        } else if let Some(error) = error.downcast_ref::<io::Error>() {
            io_kind(error, phase)
        } else {
            None
        };
        if let Some(kind) = kind {
            found = Found::Kind(kind);
        }
        // An io::Error names the cause of its payload as its own source, so the payload itself would be passed over.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(payload) => Some(payload),
            None => error.source(),
        };
    }
    found
}

fn tls_kind(error: &rustls::Error) -> HttpErrorKind {
    match error {
        rustls::Error::AlertReceived(alert) => HttpErrorKind::TlsAlert(u8::from(*alert)),
        rustls::Error::InvalidCertificate(_)
        | rustls::Error::InvalidCertRevocationList(_)
        | rustls::Error::NoCertificatesPresented => HttpErrorKind::TlsCertificate,
        _ => HttpErrorKind::TlsProtocol,
    }
}

fn hyper_kind(error: &hyper::Error, phase: Phase) -> Option<HttpErrorKind> {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        Some(closed(phase))
    } else if error.is_parse_too_large() {
        Some(HttpErrorKind::ResponseHeadersTooLarge)
    } else if error.is_user() {
        Some(HttpErrorKind::InvalidRequest)
    } else if error.is_parse() {
        // hyper has no other way to tell which header it found wrong.
        let coding = error.to_string().contains("transfer-encoding");
        Some(if coding { HttpErrorKind::TransferCoding } else { HttpErrorKind::Protocol })
    } else {
        None
    }
}

fn h2_kind(error: &h2::Error, phase: Phase) -> Option<HttpErrorKind> {
    if let Some(error) = error.get_io() {
        return match walk(error, phase) {
            Found::Kind(kind) => Some(kind),
            Found::Own(_) | Found::Nothing => None,
        };
    }
    Some(if error.is_go_away() && error.is_remote() {
        closed(phase)
    } else if error.is_reset() && error.is_remote() {
        HttpErrorKind::ConnectionReset
    } else {
        HttpErrorKind::Protocol
    })
}

fn io_kind(error: &io::Error, phase: Phase) -> Option<HttpErrorKind> {
    use io::ErrorKind as Io;
    match error.kind() {
        Io::ConnectionRefused => Some(HttpErrorKind::ConnectionRefused),
        Io::ConnectionReset => Some(HttpErrorKind::ConnectionReset),
        Io::ConnectionAborted | Io::BrokenPipe | Io::NotConnected | Io::UnexpectedEof => Some(closed(phase)),
        Io::TimedOut if phase == Phase::Connect => Some(HttpErrorKind::ConnectionTimeout),
        Io::TimedOut => Some(HttpErrorKind::ConnectionReset),
        Io::HostUnreachable | Io::NetworkUnreachable | Io::NetworkDown | Io::AddrNotAvailable => {
            Some(HttpErrorKind::Unroutable)
        }
        Io::InvalidData | Io::InvalidInput => Some(HttpErrorKind::Protocol),
        _ => None,
    }
}

fn closed(phase: Phase) -> HttpErrorKind {
    match phase {
        Phase::Connect | Phase::Head => HttpErrorKind::ConnectionClosed,
        Phase::Body => HttpErrorKind::IncompleteResponse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(error: impl StdError + 'static, phase: Phase) -> Option<HttpErrorKind> {
        match walk(&error, phase) {
            Found::Own(own) => Some(own.kind()),
            Found::Kind(kind) => Some(kind),
            Found::Nothing => None,
        }
    }

    /// Only the origin can say that it has not begun with a request.
    #[test]
    fn what_did_not_come_from_the_origin_refuses_nothing() {
        for reason in [h2::Reason::REFUSED_STREAM, h2::Reason::NO_ERROR] {
            assert!(!refuses(&h2::Error::from(reason)), "{reason:?}");
        }
    }

    #[test]
    fn an_error_inside_an_io_error_is_found() {
        let tls = rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure);
        let error = io::Error::new(io::ErrorKind::InvalidData, tls);
        assert_eq!(kind(io::Error::other(error), Phase::Connect), Some(HttpErrorKind::TlsAlert(40)));
        let own = HttpError::new(HttpErrorKind::AddressProhibited, "own");
        assert_eq!(kind(io::Error::other(own), Phase::Connect), Some(HttpErrorKind::AddressProhibited));
    }

    #[test]
    fn io_errors_mean_what_the_phase_makes_of_them() {
        for (error, phase, expected) in [
            (io::ErrorKind::ConnectionRefused, Phase::Connect, HttpErrorKind::ConnectionRefused),
            (io::ErrorKind::TimedOut, Phase::Connect, HttpErrorKind::ConnectionTimeout),
            (io::ErrorKind::UnexpectedEof, Phase::Head, HttpErrorKind::ConnectionClosed),
            (io::ErrorKind::UnexpectedEof, Phase::Body, HttpErrorKind::IncompleteResponse),
            (io::ErrorKind::NetworkUnreachable, Phase::Connect, HttpErrorKind::Unroutable),
            (io::ErrorKind::InvalidData, Phase::Body, HttpErrorKind::Protocol),
        ] {
            assert_eq!(kind(io::Error::from(error), phase), Some(expected), "{error} {phase:?}");
        }
        assert_eq!(kind(io::Error::other("?"), Phase::Head), None);
    }

    #[test]
    fn certificates_and_the_protocol_are_told_apart() {
        let certificate = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert_eq!(kind(certificate, Phase::Connect), Some(HttpErrorKind::TlsCertificate));
        assert_eq!(kind(rustls::Error::DecryptError, Phase::Connect), Some(HttpErrorKind::TlsProtocol));
    }

    #[test]
    fn what_the_system_says_has_a_kind() {
        for (error, head, connect) in [
            (io::ErrorKind::ConnectionReset, HttpErrorKind::ConnectionReset, HttpErrorKind::ConnectionReset),
            (io::ErrorKind::ConnectionAborted, HttpErrorKind::ConnectionClosed, HttpErrorKind::ConnectionClosed),
            (io::ErrorKind::BrokenPipe, HttpErrorKind::ConnectionClosed, HttpErrorKind::ConnectionClosed),
            (io::ErrorKind::NotConnected, HttpErrorKind::ConnectionClosed, HttpErrorKind::ConnectionClosed),
            (io::ErrorKind::TimedOut, HttpErrorKind::ConnectionReset, HttpErrorKind::ConnectionTimeout),
            (io::ErrorKind::HostUnreachable, HttpErrorKind::Unroutable, HttpErrorKind::Unroutable),
            (io::ErrorKind::NetworkDown, HttpErrorKind::Unroutable, HttpErrorKind::Unroutable),
            (io::ErrorKind::AddrNotAvailable, HttpErrorKind::Unroutable, HttpErrorKind::Unroutable),
            (io::ErrorKind::InvalidInput, HttpErrorKind::Protocol, HttpErrorKind::Protocol),
        ] {
            assert_eq!(kind(io::Error::from(error), Phase::Head), Some(head), "{error}");
            assert_eq!(kind(io::Error::from(error), Phase::Connect), Some(connect), "{error}");
        }
    }

    #[test]
    fn the_message_says_who_did_what_and_keeps_the_cause() {
        let origin = crate::target::Target::parse("http://example.com/").unwrap().origin().clone();
        let says = |error: io::Error, phase| {
            let error = classify(error, phase, &origin);
            assert!(StdError::source(&error).is_some(), "{error}");
            (error.kind(), error.to_string())
        };
        let unknown = || io::Error::other("?");
        let tls = |error| io::Error::other(rustls::Error::AlertReceived(error));
        for (error, phase, expected, text) in [
            (io::ErrorKind::ConnectionRefused.into(), Phase::Connect, HttpErrorKind::ConnectionRefused, "refused"),
            (io::ErrorKind::TimedOut.into(), Phase::Connect, HttpErrorKind::ConnectionTimeout, "attempt to connect"),
            (io::ErrorKind::ConnectionReset.into(), Phase::Head, HttpErrorKind::ConnectionReset, "reset"),
            (io::ErrorKind::UnexpectedEof.into(), Phase::Head, HttpErrorKind::ConnectionClosed, "before it answered"),
            (unknown(), Phase::Connect, HttpErrorKind::ConnectionFailed, "could not be connected to"),
            (io::ErrorKind::NetworkDown.into(), Phase::Connect, HttpErrorKind::Unroutable, "cannot be reached"),
            (tls(rustls::AlertDescription::UnknownCA), Phase::Connect, HttpErrorKind::TlsAlert(48), "with an alert"),
            (io::Error::other(rustls::Error::DecryptError), Phase::Connect, HttpErrorKind::TlsProtocol, "speak tls"),
            (io::ErrorKind::UnexpectedEof.into(), Phase::Body, HttpErrorKind::IncompleteResponse, "announced end"),
            (unknown(), Phase::Body, HttpErrorKind::Protocol, "valid http"),
        ] {
            let (kind, message) = says(error, phase);
            assert_eq!(kind, expected, "{message}");
            assert!(message.starts_with("http://example.com") && message.contains(text), "{message}");
        }
        let certificate = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let (kind, message) = says(io::Error::other(certificate), Phase::Connect);
        assert_eq!(kind, HttpErrorKind::TlsCertificate);
        assert!(message.contains("certificate that is not accepted"), "{message}");
    }
}
