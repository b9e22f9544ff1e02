//! `wasi:http`: types, client and handler.
//!
//! Beside what the module of WASI 0.2 says:
//! - a body is what is written to the stream until the guest drops its end, and is whole once its trailers are there too;
//! - the future that `new` gives beside a message says `ok` once all of the message was taken to be sent, and an error if it
//!   was broken off or never sent. Dropping it changes nothing;
//! - a message that has arrived and is sent on has its fields and trailers checked as one that the guest makes;
//! - what stands behind a middleware that is composed with nothing is the network;
//! - fields that get too large are refused with `size-exceeded`.

mod body;
mod client;
mod messages;
mod serving;

use bytes::Bytes;

pub(super) use self::body::{Sent, Trailers};
use self::messages::{HeaderError, New, OptionsError, Parts, Request, Response};
pub(crate) use self::serving::respond;
use super::interfaces;
use crate::abi::concurrent::{ByteStream, FutureIn};
use crate::abi::wasi02::canon::{Borrow, Handle, Own};
use crate::abi::wasi02::drop_resource;
use crate::abi::wasi02::http::ErrorCode;
use crate::abi::wasi02::http::fields::{self, Fields};
use crate::abi::wasi02::http::head::{self, Method, Scheme};
use crate::abi::wasi02::http::sending::{self, RequestOptions};

type Changed = Result<(), HeaderError>;
type Entries = Vec<(String, Bytes)>;
type Set = Result<(), ()>;
type SetOption = Result<(), OptionsError>;

interfaces! { "wasi:http/types";
    "[constructor]fields"() -> Handle<Fields> => fields::new;
    "[static]fields.from-list"(entries: Entries) -> Result<Handle<Fields>, HeaderError> => fields::from_list;
    "[method]fields.get"(this: Borrow<Fields>, name: String) -> Vec<Bytes> => fields::get;
    "[method]fields.has"(this: Borrow<Fields>, name: String) -> bool => fields::has;
    "[method]fields.set"(this: Borrow<Fields>, name: String, value: Vec<Bytes>) -> Changed => fields::set;
    "[method]fields.delete"(this: Borrow<Fields>, name: String) -> Changed => fields::delete;
    "[method]fields.get-and-delete"(
        this: Borrow<Fields>, name: String
    ) -> Result<Vec<Bytes>, HeaderError> => fields::get_and_delete;
    "[method]fields.append"(this: Borrow<Fields>, name: String, value: Bytes) -> Changed => fields::append;
    "[method]fields.copy-all"(this: Borrow<Fields>) -> Entries => fields::entries;
    "[method]fields.clone"(this: Borrow<Fields>) -> Handle<Fields> => fields::clone;
    "[resource-drop]fields"(this: Own<Fields>) -> () => drop_resource;

    "[static]request.new"(
        headers: Own<Fields>, contents: Option<ByteStream>, trailers: FutureIn<Trailers>,
        options: Option<Own<RequestOptions>>
    ) -> New<Request> => messages::new_request;
    "[method]request.get-method"(this: Borrow<Request>) -> Method => head::method;
    "[method]request.set-method"(this: Borrow<Request>, method: Method) -> Set => head::set_method;
    "[method]request.get-path-with-query"(this: Borrow<Request>) -> Option<String> => head::path;
    "[method]request.set-path-with-query"(
        this: Borrow<Request>, path: Option<String>
    ) -> Set => head::set_path;
    "[method]request.get-scheme"(this: Borrow<Request>) -> Option<Scheme> => head::scheme;
    "[method]request.set-scheme"(this: Borrow<Request>, scheme: Option<Scheme>) -> Set => head::set_scheme;
    "[method]request.get-authority"(this: Borrow<Request>) -> Option<String> => head::authority;
    "[method]request.set-authority"(
        this: Borrow<Request>, authority: Option<String>
    ) -> Set => head::set_authority;
    "[method]request.get-options"(this: Borrow<Request>) -> Option<Handle<RequestOptions>> => messages::options;
    "[method]request.get-headers"(this: Borrow<Request>) -> Handle<Fields> => messages::request_headers;
    "[static]request.consume-body"(
        this: Own<Request>, res: FutureIn<Sent>
    ) -> Parts => messages::consume_request;
    "[resource-drop]request"(this: Own<Request>) -> () => drop_resource;

    "[constructor]request-options"() -> Handle<RequestOptions> => sending::new_options;
    "[method]request-options.get-connect-timeout"(this: Borrow<RequestOptions>) -> Option<u64> => sending::connect;
    "[method]request-options.set-connect-timeout"(
        this: Borrow<RequestOptions>, duration: Option<u64>
    ) -> SetOption => messages::set_connect;
    "[method]request-options.get-first-byte-timeout"(
        this: Borrow<RequestOptions>
    ) -> Option<u64> => sending::first_byte;
    "[method]request-options.set-first-byte-timeout"(
        this: Borrow<RequestOptions>, duration: Option<u64>
    ) -> SetOption => messages::set_first_byte;
    "[method]request-options.get-between-bytes-timeout"(
        this: Borrow<RequestOptions>
    ) -> Option<u64> => sending::between_bytes;
    "[method]request-options.set-between-bytes-timeout"(
        this: Borrow<RequestOptions>, duration: Option<u64>
    ) -> SetOption => messages::set_between_bytes;
    "[method]request-options.clone"(this: Borrow<RequestOptions>) -> Handle<RequestOptions> => messages::clone_options;
    "[resource-drop]request-options"(this: Own<RequestOptions>) -> () => drop_resource;

    "[static]response.new"(
        headers: Own<Fields>, contents: Option<ByteStream>, trailers: FutureIn<Trailers>
    ) -> New<Response> => messages::new_response;
    "[method]response.get-status-code"(this: Borrow<Response>) -> u16 => head::status;
    "[method]response.set-status-code"(this: Borrow<Response>, status: u16) -> Set => head::set_status;
    "[method]response.get-headers"(this: Borrow<Response>) -> Handle<Fields> => messages::response_headers;
    "[static]response.consume-body"(
        this: Own<Response>, res: FutureIn<Sent>
    ) -> Parts => messages::consume_response;
    "[resource-drop]response"(this: Own<Response>) -> () => drop_resource;
    @ "wasi:http/client";
    async "send"(request: Own<Request>) -> Result<Handle<Response>, ErrorCode> => client::send;
    @ "wasi:http/handler";
    async "handle"(request: Own<Request>) -> Result<Handle<Response>, ErrorCode> => client::send;
}
