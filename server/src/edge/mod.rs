//! What may reach a guest: one place for HTTP/1.1, HTTP/2, with and without TLS.
//!
//! [`Edge::admit`] decides it of each request. What it can no longer see of HTTP/1, since parsers are lenient,
//! [`Heads`] has decided before on the bytes: no request reaches a guest whose authority or framing two parsers could
//! read differently. `docs/http-edge.md` lists the rules.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, StatusCode, Uri, Version, uri};
use http_body::{Body, Frame, SizeHint};
use wharf_core::http::keep_trailers;

mod authority;
mod chunked;
mod ends;
mod forwarded;
mod head;
mod refusal;
mod wire;

use self::authority::HostPort;
use self::ends::Ends;
use self::head::Limits;
pub(crate) use self::refusal::Refusal;
pub(crate) use self::wire::Heads;
use self::wire::Refused;
use crate::options::ServerOptions;

/// What decides for one connection whether its requests may reach the guest.
pub(crate) struct Edge {
    /// `https` if the connection has TLS, else `http`.
    scheme: Scheme,
    trusted_proxy: bool,
    limits: Limits,
    /// How many requests there were.
    count: AtomicU64,
    refused: Refused,
    ends: Ends,
}

impl Edge {
    pub(crate) fn new(options: &ServerOptions, tls: bool) -> Self {
        let head = options.max_header_bytes.max(8192);
        Edge {
            scheme: if tls { Scheme::HTTPS } else { Scheme::HTTP },
            trusted_proxy: options.trusted_proxy,
            limits: Limits { target: options.max_target_bytes.min(head), head, fields: options.max_header_fields },
            count: AtomicU64::new(0),
            refused: Refused::default(),
            ends: Ends::default(),
        }
    }

    /// Has the heads on a connection of HTTP/1 checked before they are parsed.
    pub(crate) fn heads<S>(&self, stream: S) -> Heads<S> {
        Heads::new(stream, self.limits, self.refused.clone(), self.ends.clone())
    }

    /// Decides whether a request may reach the guest. One that may has a target that says all that is known: its
    /// scheme, its authority, and a path.
    ///
    /// # Errors
    /// With what it is to be answered otherwise.
    pub(crate) fn admit<B>(&self, request: Request<B>) -> Result<Request<Admitted<B>>, Refusal> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        if let Some((_, refusal)) = self.refused.get().filter(|(refused, _)| *refused == number) {
            return Err(*refusal);
        }
        let (mut parts, body) = request.into_parts();
        self.size(&parts)?;
        if parts.version == Version::HTTP_2 {
            http2_fields(&mut parts.headers)?;
        }
        if parts.method == Method::CONNECT {
            // RFC 9110, sections 9.1 and 9.3.6.
            return Err(Refusal::new(
                StatusCode::NOT_IMPLEMENTED,
                "this server is not a proxy: it does not implement CONNECT",
            ));
        }
        let path = path(&parts)?;
        let scheme = self.scheme(&parts)?;
        match authority(&parts, &scheme)? {
            Some(authority) => {
                // Host is what it would be if it was not ignored (RFC 9112, section 3.2.2).
                let host = HeaderValue::from_str(authority.as_str()).map_err(|_| INVALID_HOST)?;
                parts.headers.insert(HOST, host);
                let mut target = uri::Parts::default();
                (target.scheme, target.authority, target.path_and_query) = (Some(scheme), Some(authority), Some(path));
                parts.uri = Uri::from_parts(target).map_err(|_| INVALID_TARGET)?;
            }
            None => {
                parts.uri = Uri::from(path);
                parts.extensions.insert(scheme);
            }
        }
        let ends = (parts.version < Version::HTTP_2).then(|| (self.ends.clone(), number));
        Ok(Request::from_parts(parts, Admitted { body, ends, given: 0, ended: false }))
    }

    /// The limits, on either protocol (RFC 9112, section 3; RFC 9110, section 15.5.15; RFC 6585, section 5).
    fn size(&self, parts: &Parts) -> Result<(), Refusal> {
        let path = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
        if path > self.limits.target {
            return Err(head::TARGET_TOO_LONG);
        }
        // As HTTP/2 counts them, RFC 9113, section 6.5.2.
        let fields = || parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum::<usize>();
        if parts.headers.len() > self.limits.fields || parts.version == Version::HTTP_2 && fields() > self.limits.head {
            return Err(head::HEAD_TOO_LARGE);
        }
        Ok(())
    }

    /// The scheme of the target URI (RFC 9110, sections 7.1 and 7.4).
    fn scheme(&self, parts: &Parts) -> Result<Scheme, Refusal> {
        let known = |scheme: &str| [Scheme::HTTP, Scheme::HTTPS].into_iter().find(|known| known.as_str() == scheme);
        let named = match parts.uri.scheme() {
            Some(scheme) => Some(known(scheme.as_str()).ok_or(OTHER_SCHEME)?),
            None => None,
        };
        if self.trusted_proxy {
            const INVALID: Refusal = Refusal::bad("the Forwarded field that the proxy added is not valid");
            let forwarded = forwarded::proto(&parts.headers).map_err(|()| INVALID)?;
            let forwarded = forwarded.map(|proto| known(&proto).ok_or(INVALID)).transpose()?;
            return Ok(forwarded.or(named).unwrap_or_else(|| self.scheme.clone()));
        }
        match named {
            Some(named) if named != self.scheme => Err(OTHER_SCHEME),
            _ => Ok(self.scheme.clone()),
        }
    }
}

const OTHER_SCHEME: Refusal =
    Refusal::new(StatusCode::MISDIRECTED_REQUEST, "the scheme of the request target does not match this connection");
const INVALID_TARGET: Refusal = Refusal::bad("the request target is not valid for this method");
const INVALID_HOST: Refusal = Refusal::bad(
    "the host in Host or in the request target is not valid: it must be a name or an address, and may have a port",
);

/// The path and query of a target in origin-form, asterisk-form or absolute-form (RFC 9112, section 3.2; RFC 9113,
/// section 8.3.1).
fn path(parts: &Parts) -> Result<PathAndQuery, Refusal> {
    let Some(path) = parts.uri.path_and_query() else { return Err(INVALID_TARGET) };
    match path.as_str() {
        // The type takes UTF-8; a URI has none (RFC 3986, section 2).
        text if !text.is_ascii() => Err(INVALID_TARGET),
        "*" if parts.method == Method::OPTIONS => Ok(path.clone()),
        text if text.starts_with('/') => Ok(path.clone()),
        // RFC 9110, section 4.2.3: an empty path is `/`.
        text if parts.uri.scheme().is_some() && (text.is_empty() || text.starts_with('?')) => {
            format!("/{text}").parse().map_err(|_| INVALID_TARGET)
        }
        _ => Err(INVALID_TARGET),
    }
}

/// The host that a request is for (RFC 9110, section 7.2; RFC 9112, section 3.2; RFC 9113, section 8.3.1). Only
/// HTTP/1.0 may leave it out.
fn authority(parts: &Parts, scheme: &Scheme) -> Result<Option<Authority>, Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::bad("Host appears more than once"));
    }
    let host = match host.map(HeaderValue::to_str).transpose().map_err(|_| INVALID_HOST)? {
        Some(text) => Some((text, HostPort::parse(text).ok_or(INVALID_HOST)?)),
        None => None,
    };
    let target = parts.uri.authority();
    let named = target.map(|target| HostPort::parse(target.as_str()).ok_or(INVALID_HOST)).transpose()?;
    match (target, named, host) {
        (_, _, None) if parts.version == Version::HTTP_11 => Err(Refusal::bad("an HTTP/1.1 request must have a Host")),
        (Some(target), Some(named), host) => {
            let default = if *scheme == Scheme::HTTPS { 443 } else { 80 };
            let differs = host.is_some_and(|(_, host)| !host.is(&named, default));
            if differs && parts.version == Version::HTTP_2 {
                return Err(Refusal::bad("host and :authority name different hosts"));
            }
            Ok(Some(target.clone()))
        }
        (_, _, Some((text, _))) => text.parse().map(Some).map_err(|_| INVALID_HOST),
        _ if parts.version < Version::HTTP_11 => Ok(None),
        _ => Err(Refusal::bad("the request names no host, neither in :authority nor in host")),
    }
}

/// What HTTP/2 asks of fields beside what h2 checks (RFC 9113, sections 8.1.1, 8.2.1 and 8.2.3).
fn http2_fields(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let outer = |value: &HeaderValue| blank(value.as_bytes().first()) || blank(value.as_bytes().last());
    if headers.values().any(outer) {
        return Err(Refusal::bad("the value of a field begins or ends with whitespace"));
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() || length.is_some_and(|length| head::content_length(length.as_bytes()).is_err()) {
        return Err(Refusal::bad("Content-Length is not a valid length"));
    }
    let crumbs = headers.get_all(COOKIE).iter().count();
    if crumbs > 1 {
        let mut whole = BytesMut::new();
        for crumb in headers.get_all(COOKIE) {
            if !whole.is_empty() {
                whole.put_slice(b"; ");
            }
            whole.put_slice(crumb.as_bytes());
        }
        let whole = HeaderValue::from_maybe_shared(whole.freeze());
        headers.insert(COOKIE, whole.map_err(|_| Refusal::bad("the Cookie fields cannot be joined"))?);
    }
    Ok(())
}

/// The body of a request that may reach the guest, and in its trailer section only what may stand there.
pub(crate) struct Admitted<B> {
    body: B,
    /// Where bodies end on an HTTP/1 connection, and the number of this one's request.
    ends: Option<(Ends, u64)>,
    /// How many bytes were passed on.
    given: u64,
    ended: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Admitted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let mut polled = Pin::new(&mut this.body).poll_frame(context);
        if polled.is_pending()
            && let Some((ends, number)) = &this.ends
            && let Some(trailers) = ends.get(*number, this.given, context)
        {
            this.ended = true;
            polled = Poll::Ready((!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers))));
        }
        if let Poll::Ready(Some(Ok(frame))) = &mut polled {
            this.given += frame.data_ref().map_or(0, |data| data.len() as u64);
            if let Some(trailers) = frame.trailers_mut() {
                keep_trailers(trailers);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
