//! Between the types of the crate `http` and those of `wasi:http`.

use http::{HeaderMap, HeaderName, HeaderValue, Method, uri};
use wasip2::http::types::{Fields, HeaderError, Method as WasiMethod, Scheme};

use crate::{Error, ErrorKind, Result};

pub(super) fn fields(headers: &HeaderMap) -> Result<Fields> {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name.as_str(), value.as_bytes()).map_err(|error| {
            let why = match error {
                HeaderError::Forbidden => "is the host's to set",
                HeaderError::InvalidSyntax | HeaderError::Immutable => "is not taken by the host",
            };
            Error::new(ErrorKind::Invalid).with_source(format!("the header `{name}` {why}"))
        })?;
    }
    Ok(fields)
}

pub(super) fn headers(fields: &Fields) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields.entries() {
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
