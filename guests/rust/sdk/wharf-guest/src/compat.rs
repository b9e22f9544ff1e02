//! The interface of the published crate `wasi-experimental-http` 0.10, for guests that were written for it.
//!
//! Instead of the dependency `wasi-experimental-http`, depend on `wharf-guest`, move `http` from 0.2 to 1, and say at the
//! root of the crate:
//!
//! ```
//! use wharf_guest::compat as wasi_experimental_http;
//! # use bytes::Bytes;
//! # use http::Request;
//! # let _installed = wharf_guest::mock::install(|_| http::Response::new("seen").into());
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # let request = Request::get("https://api.example.com/").body(None::<Bytes>)?;
//! let mut response = wasi_experimental_http::request(request)?;
//! assert_eq!(response.status_code, 200);
//! let body = response.body_read_all()?;
//! # Ok(()) }
//! # run().unwrap();
//! ```
//!
//! Names, arguments and what they do are the same, with these differences:
//! - errors are [`Error`], with the ABI's code, and no longer `anyhow::Error`, which `?` makes of them where it is asked to;
//! - [`headers_get_all`](Response::headers_get_all) keeps all values of a repeated header, where the crate kept the last;
//! - nothing is logged through `tracing`;
//! - it works with `wasi:http` and natively too.

use std::fmt;
use std::io::Read;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};

use crate::{Body, Code, Error, ErrorKind, Result};

/// The ABI's code for a header that is not there.
const HEADER_NOT_FOUND: u32 = 5;

/// A response that is open.
pub struct Response {
    /// Its status.
    pub status_code: StatusCode,
    headers: HeaderMap,
    body: Body,
}

impl Response {
    /// Reads the next piece of the body into `buffer`: how many bytes, 0 at the end.
    ///
    /// # Errors
    /// If the body breaks off.
    pub fn body_read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        Ok(self.body.read(buffer)?)
    }

    /// Reads the rest of the body.
    ///
    /// # Errors
    /// If the body breaks off.
    pub fn body_read_all(&mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        self.body.read_to_end(&mut all)?;
        Ok(all)
    }

    /// The first value of a header, whose name may be in any case.
    ///
    /// # Errors
    /// If it is not there, or not UTF-8.
    pub fn header_get(&self, name: String) -> Result<String> {
        let missing = || Error::new(ErrorKind::Invalid).with_code(Code::Experimental(HEADER_NOT_FOUND));
        let value = self.headers.get(&name).ok_or_else(missing)?;
        String::from_utf8(value.as_bytes().to_vec()).map_err(|error| Error::new(ErrorKind::Invalid).with_source(error))
    }

    /// All headers.
    ///
    /// # Errors
    /// None: they came with the response. The result is the published crate's.
    pub fn headers_get_all(&self) -> Result<HeaderMap> {
        Ok(self.headers.clone())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status_code", &self.status_code).finish_non_exhaustive()
    }
}

/// Sends a request.
///
/// # Errors
/// Those of [`send`](crate::send).
pub fn request(request: Request<Option<Bytes>>) -> Result<Response> {
    let (head, body) = crate::send(request)?.into_parts();
    Ok(Response { status_code: head.status, headers: head.headers, body })
}

/// Sends a request and reads the whole response.
///
/// # Errors
/// Those of [`send`](crate::send), and of the body of the response.
pub fn send_request(request: Request<Option<Bytes>>) -> Result<http::Response<Option<Bytes>>> {
    self::request(request)?.try_into()
}

impl TryFrom<Response> for http::Response<Option<Bytes>> {
    type Error = Error;

    fn try_from(mut response: Response) -> Result<Self> {
        let mut whole = http::Response::new(Some(response.body_read_all()?.into()));
        *whole.status_mut() = response.status_code;
        *whole.headers_mut() = response.headers;
        Ok(whole)
    }
}
