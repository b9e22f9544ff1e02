//! The codes a guest gets back, and which failure of the host becomes which.

use crate::http::{HttpError, HttpErrorKind};

/// The result code of a function of the ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ErrorCode {
    /// It worked.
    Success = 0,
    /// No response has this handle.
    InvalidHandle = 1,
    /// The guest exports no memory.
    MemoryNotFound = 2,
    /// A range to be written is not within the memory.
    MemoryAccess = 3,
    /// The buffer cannot hold the result, or a range to be read is not within the memory.
    BufferTooSmall = 4,
    /// The response has no such header.
    HeaderNotFound = 5,
    /// Text that is not UTF-8.
    NotUtf8 = 6,
    /// The policy does not allow this origin.
    DestinationNotAllowed = 7,
    /// Not a method.
    InvalidMethod = 8,
    /// Not a list of headers.
    InvalidEncoding = 9,
    /// Not a URL.
    InvalidUrl = 10,
    /// Sending the request or reading the response failed.
    RequestFailed = 11,
    /// The host failed.
    HostFailed = 12,
    /// The guest holds as many open responses as it may.
    TooManySessions = 13,
}

/// The code for a failure to send or to receive.
///
/// One that only the policy can explain is a denial; all that happens beyond the policy is one code, as guests expect.
pub(super) fn of(error: &HttpError) -> ErrorCode {
    match error.kind() {
        HttpErrorKind::Denied | HttpErrorKind::AddressProhibited | HttpErrorKind::RedirectDenied => {
            ErrorCode::DestinationNotAllowed
        }
        HttpErrorKind::InvalidUrl | HttpErrorKind::UrlTooLong => ErrorCode::InvalidUrl,
        HttpErrorKind::InvalidMethod => ErrorCode::InvalidMethod,
        HttpErrorKind::TooManyOpen | HttpErrorKind::TooManyInFlight => ErrorCode::TooManySessions,
        HttpErrorKind::Internal => {
            tracing::error!(error = %crate::error::chain(error), "the host failed the guest's request");
            ErrorCode::HostFailed
        }
        _ => {
            tracing::warn!(error = %crate::error::chain(error), "the guest's request failed");
            ErrorCode::RequestFailed
        }
    }
}
