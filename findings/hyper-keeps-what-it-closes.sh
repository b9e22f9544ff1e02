#!/usr/bin/env bash
# hyper tells an HTTP/1.0 client that the connection is kept, and closes it.
#
# Assumed: a response without a length, which HTTP/1.0 can only end by closing, says `connection: close`, or nothing.
# Seen:    with hyper 1.12.0, where the client asked for `connection: keep-alive`, the response says `keep-alive` as well,
#          has neither a length nor chunks, and ends with its connection. A `connection: close` of the handler does not
#          change that: both words go out. Only a response whose version is set to HTTP/1.0 is told apart.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

output=$(rust hyper==1.12.0/http1,server hyper-util==0.1.21/tokio http-body-util==0.1.5 futures-util==0.3.31 \
    tokio==1.54.1/rt,macros,io-util <<'RUST'
use std::convert::Infallible;

use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for how in ["as it is", "with close", "with close, as HTTP/1.0"] {
        let (mut client, server) = duplex(1 << 16);
        let streamed = move |_: Request<Incoming>| async move {
            let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"whole")))];
            let mut response = Response::new(StreamBody::new(futures_util::stream::iter(frames)));
            if how.contains("close") {
                response.headers_mut().insert("connection", "close".parse().unwrap());
            }
            if how.contains("1.0") {
                *response.version_mut() = Version::HTTP_10;
            }
            Ok::<_, Infallible>(response)
        };
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service_fn(streamed)));
        client.write_all(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        // It returns because the connection is closed.
        client.read_to_string(&mut answer).await.unwrap();
        let said = answer.lines().find(|line| line.starts_with("connection:")).unwrap_or("nothing");
        let framed = answer.contains("content-length") || answer.contains("transfer-encoding");
        println!("{how}: {said}, framed: {framed}, closed");
    }
}
RUST
)
shows 'a streamed response' '^as it is: connection: keep-alive, framed: false, closed$' "$output"
shows 'the same' '^with close: connection: close, keep-alive, framed: false, closed$' "$output"
shows 'told apart' '^with close, as HTTP/1.0: connection: close, framed: false, closed$' "$output"
