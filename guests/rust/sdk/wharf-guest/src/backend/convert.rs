//! Between the types of the crate `http` and those of `wasi:http`.

use std::time::Duration;

use super::wasi::http::types::{Fields, HeaderError, Method as WasiMethod, Scheme};
use crate::{Body, Error, ErrorKind, Result};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, uri};

/// Says how long a request's body is, where that is known and usual.
pub(super) fn announce(request: &mut Request<Body>) {
    let usual = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    if let Some(len) = request.body().known_len()
        && (len > 0 || usual)
    {
        request.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(len));
    }
}

/// What a duration is to WASI. More than 584 years are as many.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

pub(super) fn fields(headers: &HeaderMap) -> Result<Fields> {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name.as_str(), value.as_bytes()).map_err(|error| {
            let why = match error {
                HeaderError::Forbidden => "is the host's to set",
                _ => "is not taken by the host",
            };
            Error::new(ErrorKind::Invalid).with_source(format!("the header `{name}` {why}"))
        })?;
    }
    Ok(fields)
}

pub(super) fn headers(fields: &Fields) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    #[cfg(not(feature = "wasi-03"))]
    let entries = fields.entries();
    #[cfg(feature = "wasi-03")]
    let entries = fields.copy_all();
    for (name, value) in entries {
        let internal = |error: http::Error| {
            Error::new(ErrorKind::Internal).with_source(format!("the host gave a bad header `{name}`: {error}"))
        };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|error| internal(error.into()))?;
        headers.append(key, HeaderValue::from_bytes(&value).map_err(|error| internal(error.into()))?);
    }
    Ok(headers)
}

pub(super) fn method(method: &Method) -> WasiMethod {
    match *method {
        Method::GET => WasiMethod::Get,
        Method::HEAD => WasiMethod::Head,
        Method::POST => WasiMethod::Post,
        Method::PUT => WasiMethod::Put,
        Method::DELETE => WasiMethod::Delete,
        Method::CONNECT => WasiMethod::Connect,
        Method::OPTIONS => WasiMethod::Options,
        Method::TRACE => WasiMethod::Trace,
        Method::PATCH => WasiMethod::Patch,
        _ => WasiMethod::Other(method.as_str().to_owned()),
    }
}

pub(super) fn method_of(method: &WasiMethod) -> Result<Method, http::Error> {
    Ok(match method {
        WasiMethod::Get => Method::GET,
        WasiMethod::Head => Method::HEAD,
        WasiMethod::Post => Method::POST,
        WasiMethod::Put => Method::PUT,
        WasiMethod::Delete => Method::DELETE,
        WasiMethod::Connect => Method::CONNECT,
        WasiMethod::Options => Method::OPTIONS,
        WasiMethod::Trace => Method::TRACE,
        WasiMethod::Patch => Method::PATCH,
        WasiMethod::Other(name) => Method::from_bytes(name.as_bytes())?,
    })
}

pub(super) fn scheme(scheme: &uri::Scheme) -> Scheme {
    match scheme.as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    }
}

pub(super) fn scheme_of(scheme: &Scheme) -> &str {
    match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
        Scheme::Other(other) => other,
    }
}
