//! Requests of a probe, from the making to the trailers: what the cases of this area share.

use super::probe::{RET, Wasi02};
use crate::case::{CaseResult, Unmet};
use crate::check_eq;
use crate::context::Context;
use crate::net::Net;
use crate::origin::{Origin, Step};

// Numbers of `error-code`.
pub(super) const DNS_TIMEOUT: u8 = 0;
pub(super) const DNS_ERROR: u8 = 1;
pub(super) const DESTINATION_NOT_FOUND: u8 = 2;
pub(super) const IP_PROHIBITED: u8 = 4;
pub(super) const IP_UNROUTABLE: u8 = 5;
pub(super) const CONNECTION_REFUSED: u8 = 6;
pub(super) const CONNECTION_TERMINATED: u8 = 7;
pub(super) const CONNECTION_TIMEOUT: u8 = 8;
pub(super) const READ_TIMEOUT: u8 = 9;
pub(super) const WRITE_TIMEOUT: u8 = 10;
pub(super) const LIMIT_REACHED: u8 = 11;
pub(super) const TLS_PROTOCOL: u8 = 12;
pub(super) const TLS_CERTIFICATE: u8 = 13;
pub(super) const TLS_ALERT: u8 = 14;
pub(super) const REQUEST_DENIED: u8 = 15;
pub(super) const REQUEST_BODY_SIZE: u8 = 17;
pub(super) const METHOD_INVALID: u8 = 18;
pub(super) const URI_INVALID: u8 = 19;
pub(super) const URI_TOO_LONG: u8 = 20;
pub(super) const REQUEST_HEADERS: u8 = 21;
pub(super) const REQUEST_HEADER: u8 = 22;
pub(super) const REQUEST_TRAILERS: u8 = 23;
pub(super) const REQUEST_TRAILER: u8 = 24;
pub(super) const RESPONSE_INCOMPLETE: u8 = 25;
pub(super) const RESPONSE_HEADERS: u8 = 26;
pub(super) const RESPONSE_HEADER: u8 = 27;
pub(super) const RESPONSE_BODY_SIZE: u8 = 28;
pub(super) const RESPONSE_TRAILERS: u8 = 29;
pub(super) const RESPONSE_TRAILER: u8 = 30;
pub(super) const TRANSFER_CODING: u8 = 31;
pub(super) const RESPONSE_TIMEOUT: u8 = 33;
pub(super) const UPGRADE_FAILED: u8 = 34;
pub(super) const PROTOCOL_ERROR: u8 = 35;
pub(super) const INTERNAL_ERROR: u8 = 38;

/// A guest that may reach `origin`.
pub(super) fn reach(context: &Context, origin: &Origin) -> CaseResult<Wasi02> {
    context.net().allow(&origin.base()).wasi02(context)
}

impl Net<'_> {
    /// A probe of `wasi:http` with this.
    pub(super) fn wasi02(self, context: &Context) -> CaseResult<Wasi02> {
        let config = self.config()?;
        Wasi02::http(context, config)
    }
}

/// Why a request failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    /// The number of the `error-code`.
    pub(super) code: u8,
    /// Where its payload lies.
    pub(super) payload: u32,
}

impl Wasi02 {
    /// A request for `path` at `authority`, over plain HTTP.
    pub(super) fn request(&mut self, authority: &str, path: &str, headers: &[(&str, &str)]) -> CaseResult<u64> {
        let fields = self.fields(headers)?;
        let request = self.call("[constructor]outgoing-request", &[fields])?;
        check_eq!(self.call("[method]outgoing-request.set-scheme", &[request, 1, 0, 0, 0])?, 0, "`set-scheme`");
        check_eq!(self.set(request, "authority", authority)?, 0, "`set-authority` to {authority}");
        check_eq!(self.set(request, "path-with-query", path)?, 0, "`set-path-with-query` to {path}");
        Ok(request)
    }

    /// Makes a request one over https.
    pub(super) fn https(&mut self, request: u64) -> CaseResult {
        check_eq!(self.call("[method]outgoing-request.set-scheme", &[request, 1, 1, 0, 0])?, 0, "`set-scheme`");
        Ok(())
    }

    /// Sets a part of a request to a text.
    pub(super) fn set(&mut self, request: u64, part: &str, value: &str) -> CaseResult<u64> {
        let [ptr, len] = self.bytes(value)?;
        self.call(&format!("[method]outgoing-request.set-{part}"), &[request, 1, ptr, len])
    }

    /// Sends a request, which must be taken.
    pub(super) fn send(&mut self, request: u64) -> CaseResult<u64> {
        check_eq!(self.case("handle", &[request, 0, 0])?, 0, "the answer of `handle`");
        Ok(self.word(8)?.into())
    }

    /// Waits for the response; gives its handle, or the number of the error code.
    pub(super) fn response(&mut self, future: u64) -> CaseResult<Result<u64, u8>> {
        self.wait("[method]future-incoming-response.subscribe", future)?;
        check_eq!(self.case("[method]future-incoming-response.get", &[future])?, 1, "whether there is a response");
        check_eq!(self.byte(8)?, 0, "whether it was given before");
        Ok(if self.byte(16)? == 0 { Ok(self.word(24)?.into()) } else { Err(self.byte(24)?) })
    }

    /// Sends a request and waits for its response, which must come.
    pub(super) fn exchange(&mut self, request: u64) -> CaseResult<u64> {
        let future = self.send(request)?;
        let response = self.response(future)?;
        self.call("[resource-drop]future-incoming-response", &[future])?;
        response.map_err(|code| Unmet::failed(format!("the request failed with error code {code}")))
    }

    /// Sends a request, which must fail, at once or later; gives the number of the error code.
    pub(super) fn fails(&mut self, request: u64) -> CaseResult<u8> {
        Ok(self.failure(request)?.code)
    }

    /// Sends a request, which must fail, at once or later.
    pub(super) fn failure(&mut self, request: u64) -> CaseResult<Failure> {
        if self.case("handle", &[request, 0, 0])? == 1 {
            return Ok(Failure { code: self.byte(8)?, payload: RET + 16 });
        }
        let future = self.word(8)?.into();
        self.fails_later(future)
    }

    /// Waits for a response, which must not come.
    pub(super) fn fails_later(&mut self, future: u64) -> CaseResult<Failure> {
        match self.response(future)? {
            Ok(_) => Err(Unmet::failed("a request that should fail was answered")),
            Err(code) => Ok(Failure { code, payload: RET + 32 }),
        }
    }

    /// The error code of the failed operation that a stream has just answered.
    pub(super) fn stream_failure(&mut self) -> CaseResult<u8> {
        check_eq!(self.byte(4)?, 0, "the case of the `stream-error`");
        let error = self.word(8)?.into();
        check_eq!(self.case("http-error-code", &[error])?, 1, "whether the error is one of HTTP");
        self.byte(8)
    }

    /// The body of a response and its stream.
    pub(super) fn consume(&mut self, response: u64) -> CaseResult<(u64, u64)> {
        let body = self.ok("[method]incoming-response.consume", &[response])?;
        Ok((body, self.ok("[method]incoming-body.stream", &[body])?))
    }

    /// The body of a request and its stream.
    pub(super) fn produce(&mut self, request: u64) -> CaseResult<(u64, u64)> {
        let body = self.ok("[method]outgoing-request.body", &[request])?;
        Ok((body, self.ok("[method]outgoing-body.write", &[body])?))
    }

    /// Finishes a body with these trailers; gives the number of the error code, if it fails.
    pub(super) fn finish_with(&mut self, body: u64, stream: u64, trailers: &[(&str, &str)]) -> CaseResult<Option<u8>> {
        self.call("[resource-drop]output-stream", &[stream])?;
        let trailers = self.fields(trailers)?;
        Ok(match self.case("[static]outgoing-body.finish", &[body, 1, trailers])? {
            0 => None,
            _ => Some(self.byte(8)?),
        })
    }

    /// Finishes a body without trailers; gives the number of the error code, if it fails.
    pub(super) fn finish(&mut self, body: u64, stream: u64) -> CaseResult<Option<u8>> {
        self.call("[resource-drop]output-stream", &[stream])?;
        Ok(match self.case("[static]outgoing-body.finish", &[body, 0, 0])? {
            0 => None,
            _ => Some(self.byte(8)?),
        })
    }
}

pub(super) const POST: u64 = 2;

/// A POST with a body under way, whose headers are these.
pub(super) fn posting(probe: &mut Wasi02, origin: &Origin, headers: &[(&str, &str)]) -> CaseResult<(u64, u64, u64)> {
    let request = probe.request(&origin.authority(), "/", headers)?;
    check_eq!(probe.call("[method]outgoing-request.set-method", &[request, POST, 0, 0])?, 0, "`set-method`");
    let (body, stream) = probe.produce(request)?;
    Ok((probe.send(request)?, body, stream))
}

/// A POST whose body is given up after its first part; gives the response to come.
pub(super) fn giving_up(probe: &mut Wasi02, origin: &Origin) -> CaseResult<u64> {
    let (future, body, stream) = posting(probe, origin, &[])?;
    check_eq!(probe.write(stream, b"part")?, 0, "the answer of a write");
    probe.call("[resource-drop]output-stream", &[stream])?;
    probe.call("[resource-drop]outgoing-body", &[body])?;
    Ok(future)
}

/// An origin that sends this once it has read a request.
pub(super) fn sending(answer: &str) -> CaseResult<Origin> {
    Origin::raw(vec![Step::ReadRequest, Step::text(answer), Step::Finish, Step::Hold])
}

/// Takes the trailers of a body whose stream is gone; gives the entries, or the number of the error code.
pub(super) fn take_trailers(probe: &mut Wasi02, body: u64) -> CaseResult<Result<Vec<(String, String)>, u8>> {
    let future = probe.call("[static]incoming-body.finish", &[body])?;
    probe.wait("[method]future-trailers.subscribe", future)?;
    check_eq!(probe.case("[method]future-trailers.get", &[future])?, 1, "whether there are trailers");
    check_eq!(probe.byte(8)?, 0, "whether they were given before");
    if probe.byte(16)? == 1 {
        return Ok(Err(probe.byte(24)?));
    }
    let trailers = if probe.byte(24)? == 1 { Some(u64::from(probe.word(28)?)) } else { None };
    let entries = match trailers {
        Some(trailers) => {
            check_eq!(probe.append(trailers, "a", "1")?, Some(2), "the error of `append`");
            probe.entries(trailers)?
        }
        None => Vec::new(),
    };
    check_eq!(probe.case("[method]future-trailers.get", &[future])?, 1, "the second `get`");
    check_eq!(probe.byte(8)?, 1, "whether the second `get` is an error");
    Ok(Ok(entries))
}

pub(super) const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n4\r\nbody\r\n";
