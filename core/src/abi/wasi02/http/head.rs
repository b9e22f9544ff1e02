//! What messages say beside their bodies, which is the same in each release of WASI: the method, target and fields of a
//! request, the status of a response.

use http::uri::Authority;
use http::{Method as HttpMethod, StatusCode, Uri};

use super::code::ErrorCode;
use super::fields::Fields;
use crate::abi::wasi02::canon::{Borrow, Cx, Outcome, variant};
use crate::abi::wasi02::table::Resource;
use crate::budget::{Budget, Charge, allocation};
use crate::http::{Target, is_path_and_query};

/// The longest method, scheme, authority or path that a guest may set: as long as a URI may be.
const MAX_PART: usize = (u16::MAX - 1) as usize;

variant! {
    /// `wasi:http/types.method`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum Method as "method" {
        Get, Head, Post, Put, Delete, Connect, Options, Trace, Patch,
        Other(name: String),
    }
}

impl Method {
    pub(crate) fn name(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Connect => "CONNECT",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::Patch => "PATCH",
            Method::Other(name) => name,
        }
    }
}

impl From<&HttpMethod> for Method {
    fn from(method: &HttpMethod) -> Self {
        match method.as_str() {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "CONNECT" => Method::Connect,
            "OPTIONS" => Method::Options,
            "TRACE" => Method::Trace,
            "PATCH" => Method::Patch,
            other => Method::Other(other.to_owned()),
        }
    }
}

variant! {
    /// `wasi:http/types.scheme`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum Scheme as "scheme" {
        Http,
        Https,
        Other(name: String),
    }
}

/// The head of a request.
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) path: Option<String>,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) authority: Option<String>,
    pub(crate) headers: Fields,
    /// What the texts take.
    pub(super) charge: Charge,
}

impl RequestHead {
    /// One of which only the fields were set.
    pub(crate) fn new(headers: Fields, budget: &Budget) -> Self {
        let charge = budget.nothing();
        RequestHead { method: Method::Get, path: None, scheme: None, authority: None, headers, charge }
    }

    /// Charges the texts that were set. What does not fit ends the guest, with which they go.
    fn charge(&mut self) -> Outcome {
        let method = matches!(self.method, Method::Other(_)).then(|| self.method.name());
        let scheme = match &self.scheme {
            Some(Scheme::Other(name)) => Some(name.as_str()),
            _ => None,
        };
        let texts = [method, scheme, self.path.as_deref(), self.authority.as_deref()];
        let bytes = texts.into_iter().flatten().map(|text| allocation(text.len())).sum();
        Ok(self.charge.resize(bytes)?)
    }

    /// The head of a request to send. Its target is what the guest set, and nothing in between is parsed twice.
    ///
    /// # Errors
    /// What the guest is told that it lacks, or that cannot be sent.
    pub(crate) fn to_message(&self) -> Result<http::Request<()>, ErrorCode> {
        let method = self.method.name().parse().map_err(|_| ErrorCode::HttpRequestMethodInvalid)?;
        let scheme = match &self.scheme {
            None | Some(Scheme::Https) => "https",
            Some(Scheme::Http) => "http",
            Some(Scheme::Other(name)) if name.eq_ignore_ascii_case("https") => "https",
            Some(Scheme::Other(name)) if name.eq_ignore_ascii_case("http") => "http",
            Some(Scheme::Other(_)) => return Err(ErrorCode::HttpProtocolError),
        };
        let authority = self.authority.as_deref().ok_or(ErrorCode::HttpRequestUriInvalid)?;
        let path = self.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
        let uri = uri.map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
        Target::of(&uri).map_err(|error| ErrorCode::from(&error))?;
        let mut message = http::Request::new(());
        *message.method_mut() = method;
        *message.uri_mut() = uri;
        *message.headers_mut() = self.headers.to_map();
        Ok(message)
    }
}

/// A request.
pub(crate) trait HasHead: Resource {
    fn head(&mut self) -> &mut RequestHead;
}

/// A response.
pub(crate) trait HasStatus: Resource {
    fn status(&mut self) -> &mut StatusCode;
}

type Set = Outcome<Result<(), ()>>;

fn too_long(text: &str) -> bool {
    text.len() > MAX_PART
}

impl Method {
    /// Whether a request may have it.
    fn is_valid(&self) -> bool {
        !too_long(self.name()) && HttpMethod::from_bytes(self.name().as_bytes()).is_ok()
    }
}

impl Scheme {
    /// Whether a request may have it.
    fn is_valid(&self) -> bool {
        match self {
            Scheme::Http | Scheme::Https => true,
            Scheme::Other(name) => !too_long(name) && name.parse::<http::uri::Scheme>().is_ok(),
        }
    }
}

/// Whether a request may have this path, with its query.
fn is_valid_path(path: &str) -> bool {
    !too_long(path) && (path.is_empty() || is_path_and_query(path))
}

/// Whether a request may be for this authority.
fn is_valid_authority(authority: &str) -> bool {
    let port_is_number = |parsed: &Authority| {
        // The parser takes any digits for a port, and none after the colon.
        let after = &authority[authority.rfind(parsed.host()).map_or(0, |at| at + parsed.host().len())..];
        after.is_empty() || after.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
    };
    !too_long(authority) && authority.parse::<Authority>().is_ok_and(|parsed| port_is_number(&parsed))
}

/// Sets what is valid, and charges the guest for it.
fn set<R: HasHead>(cx: &mut Cx<'_>, this: Borrow<R>, valid: bool, set: impl FnOnce(&mut RequestHead)) -> Set {
    let head = cx.get(this)?.head();
    if !valid {
        return Ok(Err(()));
    }
    set(head);
    head.charge().map(Ok)
}

pub(crate) fn method<R: HasHead>(cx: &mut Cx<'_>, this: Borrow<R>) -> Outcome<Method> {
    Ok(cx.get(this)?.head().method.clone())
}

/// Sets the method, which reads back as it was set: `other("PATCH")` and `patch` are the same on the wire only.
pub(crate) fn set_method<R: HasHead>(cx: &mut Cx<'_>, this: Borrow<R>, method: Method) -> Set {
    let valid = method.is_valid();
    set(cx, this, valid, |head| head.method = method)
}

pub(crate) fn path<R: HasHead>(cx: &mut Cx<'_>, this: Borrow<R>) -> Outcome<Option<String>> {
    Ok(cx.get(this)?.head().path.clone())
}

pub(crate) fn set_path<R: HasHead>(cx: &mut Cx<'_>, this: Borrow<R>, path: Option<String>) -> Set {
    let valid = path.as_deref().is_none_or(is_valid_path);
    set(cx, this, valid, |head| head.path = path)
}

pub(crate) fn scheme<R: HasHead>(cx: &mut Cx<'_>, this: Borrow<R>) -> Outcome<Option<Scheme>> {
    Ok(cx.get(this)?.head().scheme.clone())
}

/// Sets the scheme, which reads back as it was set.
pub(crate) fn set_scheme<R: HasHead>(cx: &mut Cx<'_>, this: Borrow<R>, scheme: Option<Scheme>) -> Set {
    let valid = scheme.as_ref().is_none_or(Scheme::is_valid);
    set(cx, this, valid, |head| head.scheme = scheme)
}

pub(crate) fn authority<R: HasHead>(cx: &mut Cx<'_>, this: Borrow<R>) -> Outcome<Option<String>> {
    Ok(cx.get(this)?.head().authority.clone())
}

pub(crate) fn set_authority<R: HasHead>(cx: &mut Cx<'_>, this: Borrow<R>, authority: Option<String>) -> Set {
    let valid = authority.as_deref().is_none_or(is_valid_authority);
    set(cx, this, valid, |head| head.authority = authority)
}

pub(crate) fn status<R: HasStatus>(cx: &mut Cx<'_>, this: Borrow<R>) -> Outcome<u16> {
    Ok(cx.get(this)?.status().as_u16())
}

/// Refuses an invalid status. One that is not final is refused when the response is given away.
pub(crate) fn set_status<R: HasStatus>(cx: &mut Cx<'_>, this: Borrow<R>, status: u16) -> Set {
    let response = cx.get(this)?;
    match StatusCode::from_u16(status) {
        Ok(status) if (100..600).contains(&status.as_u16()) => {
            *response.status() = status;
            Ok(Ok(()))
        }
        _ => Ok(Err(())),
    }
}
