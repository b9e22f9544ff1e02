//! `wasi:http`: types, sending requests, and answering them.
//!
//! Where the text of the WIT files leaves a choice, or hosts differ:
//! - fields keep the order and the casing that the guest gave them; more than 128 KiB of them end the guest;
//! - headers, trailers, bodies' streams and pollables are children: dropping the parent first is a trap;
//! - an outgoing body that is dropped without `finish`, also because the guest ended, breaks its message off, or has it
//!   replaced while nothing of it was sent: [`message`](crate::message) decides;
//! - what is written is sent once it is flushed, or the guest waits, or 64 KiB are there. As much may be written before the
//!   response is set or the request sent; a wait for more room than that would never end, and is a trap;
//! - what a request fails with at the policy or later is answered by its future;
//! - a response to HEAD, and one with status 304, may announce the length of a body that it does not have; of what a
//!   guest writes for one that has none, nothing is sent;
//! - over HTTP/1.1 a trailer is sent to a client that says `te: trailers`, if the header Trailer names it, or if the guest
//!   finishes the body before any of the response was sent, when it is named for it; else it is left out. In a
//!   request it has to be named by the guest: else the request fails (`docs/outbound.md`). What RFC 9110, section 6.5.1,
//!   keeps out of trailers is left out over every protocol, and not shown to guests;
//! - three of the error codes are never this host's own: HTTP-request-length-required, since 411 is an origin's answer
//!   like any other; HTTP-response-content-coding, since codings are the guest's to undo; and configuration-error, since
//!   a wrong configuration keeps a guest from starting.

mod code;
pub(crate) mod fields;
pub(crate) mod head;
pub(crate) mod incoming;
pub(crate) mod outgoing;
pub(crate) mod pipe;
pub(crate) mod sending;
pub(crate) mod serving;

use bytes::Bytes;

pub use self::code::{DnsErrorPayload, ErrorCode, FieldSizePayload, TlsAlertReceivedPayload};
use self::fields::{Fields, HeaderError};
use self::head::{Method, Scheme};
use self::incoming::{FutureTrailers, IncomingBody, IncomingRequest, IncomingResponse};
use self::outgoing::{OutgoingBody, OutgoingRequest, OutgoingResponse};
use self::sending::{FutureIncomingResponse, RequestOptions};
use self::serving::ResponseOutparam;
pub use self::serving::{Answer, Reply, refusal};
use super::canon::{Borrow, Cx, Handle, Outcome, Own};
use super::io::{InputStream, IoError, OutputStream, Pollable};
use super::{drop_resource, interfaces};

/// Which error of HTTP a stream's error is, if it is one.
fn http_error_code(cx: &mut Cx<'_>, error: Borrow<IoError>) -> Outcome<Option<ErrorCode>> {
    Ok(cx.get(error)?.http.clone())
}

/// Whether the resource of this name is one of `wasi:http`.
pub(crate) fn is_resource(name: &str) -> bool {
    let drops = FUNCTIONS.iter().filter_map(|function| function.name.strip_prefix("[resource-drop]"));
    drops.into_iter().any(|resource| resource == name)
}

type Set = Result<(), ()>;
type Changed = Result<(), HeaderError>;
type Entries = Vec<(String, Bytes)>;

/// What a future gives: nothing yet, or once what came of it, and an error from then on.
type Once<T> = Option<Result<Result<T, ErrorCode>, ()>>;

interfaces! { "wasi:http/types";
    "[constructor]fields"() -> Handle<Fields> => fields::new;
    "[static]fields.from-list"(entries: Entries) -> Result<Handle<Fields>, HeaderError> => fields::from_list;
    "[method]fields.get"(this: Borrow<Fields>, name: String) -> Vec<Bytes> => fields::get;
    "[method]fields.has"(this: Borrow<Fields>, name: String) -> bool => fields::has;
    "[method]fields.set"(this: Borrow<Fields>, name: String, value: Vec<Bytes>) -> Changed => fields::set;
    "[method]fields.delete"(this: Borrow<Fields>, name: String) -> Changed => fields::delete;
    "[method]fields.append"(this: Borrow<Fields>, name: String, value: Bytes) -> Changed => fields::append;
    "[method]fields.entries"(this: Borrow<Fields>) -> Entries => fields::entries;
    "[method]fields.clone"(this: Borrow<Fields>) -> Handle<Fields> => fields::clone;
    "[resource-drop]fields"(this: Own<Fields>) -> () => drop_resource;

    "[method]incoming-request.method"(this: Borrow<IncomingRequest>) -> Method => head::method;
    "[method]incoming-request.path-with-query"(this: Borrow<IncomingRequest>) -> Option<String> => head::path;
    "[method]incoming-request.scheme"(this: Borrow<IncomingRequest>) -> Option<Scheme> => head::scheme;
    "[method]incoming-request.authority"(this: Borrow<IncomingRequest>) -> Option<String> => head::authority;
    "[method]incoming-request.headers"(this: Borrow<IncomingRequest>) -> Handle<Fields> => incoming::request_headers;
    "[method]incoming-request.consume"(
        this: Borrow<IncomingRequest>
    ) -> Result<Handle<IncomingBody>, ()> => incoming::consume_request;
    "[resource-drop]incoming-request"(this: Own<IncomingRequest>) -> () => drop_resource;

    "[constructor]outgoing-request"(headers: Own<Fields>) -> Handle<OutgoingRequest> => outgoing::new_request;
    "[method]outgoing-request.body"(
        this: Borrow<OutgoingRequest>
    ) -> Result<Handle<OutgoingBody>, ()> => outgoing::request_body;
    "[method]outgoing-request.method"(this: Borrow<OutgoingRequest>) -> Method => head::method;
    "[method]outgoing-request.set-method"(this: Borrow<OutgoingRequest>, method: Method) -> Set => head::set_method;
    "[method]outgoing-request.path-with-query"(this: Borrow<OutgoingRequest>) -> Option<String> => head::path;
    "[method]outgoing-request.set-path-with-query"(
        this: Borrow<OutgoingRequest>, path: Option<String>
    ) -> Set => head::set_path;
    "[method]outgoing-request.scheme"(this: Borrow<OutgoingRequest>) -> Option<Scheme> => head::scheme;
    "[method]outgoing-request.set-scheme"(
        this: Borrow<OutgoingRequest>, scheme: Option<Scheme>
    ) -> Set => head::set_scheme;
    "[method]outgoing-request.authority"(this: Borrow<OutgoingRequest>) -> Option<String> => head::authority;
    "[method]outgoing-request.set-authority"(
        this: Borrow<OutgoingRequest>, authority: Option<String>
    ) -> Set => head::set_authority;
    "[method]outgoing-request.headers"(this: Borrow<OutgoingRequest>) -> Handle<Fields> => outgoing::request_headers;
    "[resource-drop]outgoing-request"(this: Own<OutgoingRequest>) -> () => drop_resource;

    "[constructor]request-options"() -> Handle<RequestOptions> => sending::new_options;
    "[method]request-options.connect-timeout"(this: Borrow<RequestOptions>) -> Option<u64> => sending::connect;
    "[method]request-options.set-connect-timeout"(
        this: Borrow<RequestOptions>, duration: Option<u64>
    ) -> Set => sending::set_connect;
    "[method]request-options.first-byte-timeout"(this: Borrow<RequestOptions>) -> Option<u64> => sending::first_byte;
    "[method]request-options.set-first-byte-timeout"(
        this: Borrow<RequestOptions>, duration: Option<u64>
    ) -> Set => sending::set_first_byte;
    "[method]request-options.between-bytes-timeout"(
        this: Borrow<RequestOptions>
    ) -> Option<u64> => sending::between_bytes;
    "[method]request-options.set-between-bytes-timeout"(
        this: Borrow<RequestOptions>, duration: Option<u64>
    ) -> Set => sending::set_between_bytes;
    "[resource-drop]request-options"(this: Own<RequestOptions>) -> () => drop_resource;

    "[method]response-outparam.send-informational"(
        this: Borrow<ResponseOutparam>, status: u16, headers: Own<Fields>
    ) -> Result<(), ErrorCode> => serving::send_informational;
    "[static]response-outparam.set"(
        param: Own<ResponseOutparam>, response: Result<Own<OutgoingResponse>, ErrorCode>
    ) -> () => serving::set;
    "[resource-drop]response-outparam"(this: Own<ResponseOutparam>) -> () => drop_resource;

    "[method]incoming-response.status"(this: Borrow<IncomingResponse>) -> u16 => head::status;
    "[method]incoming-response.headers"(this: Borrow<IncomingResponse>) -> Handle<Fields> => incoming::response_headers;
    "[method]incoming-response.consume"(
        this: Borrow<IncomingResponse>
    ) -> Result<Handle<IncomingBody>, ()> => incoming::consume_response;
    "[resource-drop]incoming-response"(this: Own<IncomingResponse>) -> () => drop_resource;

    "[method]incoming-body.stream"(
        this: Borrow<IncomingBody>
    ) -> Result<Handle<InputStream>, ()> => incoming::stream;
    "[static]incoming-body.finish"(this: Own<IncomingBody>) -> Handle<FutureTrailers> => incoming::finish;
    "[resource-drop]incoming-body"(this: Own<IncomingBody>) -> () => drop_resource;

    "[method]future-trailers.subscribe"(this: Borrow<FutureTrailers>) -> Handle<Pollable> => incoming::subscribe_trailers;
    "[method]future-trailers.get"(
        this: Borrow<FutureTrailers>
    ) -> Once<Option<Handle<Fields>>> => incoming::trailers;
    "[resource-drop]future-trailers"(this: Own<FutureTrailers>) -> () => drop_resource;

    "[constructor]outgoing-response"(headers: Own<Fields>) -> Handle<OutgoingResponse> => outgoing::new_response;
    "[method]outgoing-response.status-code"(this: Borrow<OutgoingResponse>) -> u16 => head::status;
    "[method]outgoing-response.set-status-code"(
        this: Borrow<OutgoingResponse>, status: u16
    ) -> Set => head::set_status;
    "[method]outgoing-response.headers"(this: Borrow<OutgoingResponse>) -> Handle<Fields> => outgoing::response_headers;
    "[method]outgoing-response.body"(
        this: Borrow<OutgoingResponse>
    ) -> Result<Handle<OutgoingBody>, ()> => outgoing::response_body;
    "[resource-drop]outgoing-response"(this: Own<OutgoingResponse>) -> () => drop_resource;

    "[method]outgoing-body.write"(this: Borrow<OutgoingBody>) -> Result<Handle<OutputStream>, ()> => outgoing::write;
    "[static]outgoing-body.finish"(
        this: Own<OutgoingBody>, trailers: Option<Own<Fields>>
    ) -> Result<(), ErrorCode> => outgoing::finish;
    "[resource-drop]outgoing-body"(this: Own<OutgoingBody>) -> () => outgoing::drop_body;

    "[method]future-incoming-response.subscribe"(
        this: Borrow<FutureIncomingResponse>
    ) -> Handle<Pollable> => sending::subscribe;
    "[method]future-incoming-response.get"(
        this: Borrow<FutureIncomingResponse>
    ) -> Once<Handle<IncomingResponse>> => sending::get;
    "[resource-drop]future-incoming-response"(this: Own<FutureIncomingResponse>) -> () => drop_resource;

    "http-error-code"(error: Borrow<IoError>) -> Option<ErrorCode> => http_error_code;
    @ "wasi:http/outgoing-handler";
    "handle"(
        request: Own<OutgoingRequest>, options: Option<Own<RequestOptions>>
    ) -> Result<Handle<FutureIncomingResponse>, ErrorCode> => sending::handle;
}
