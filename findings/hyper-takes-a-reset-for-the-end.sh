#!/usr/bin/env bash
# Over HTTP/2, hyper ends a body well whose sender has reset it, if the reset says NO_ERROR.
#
# Assumed: only the flag END_STREAM ends a message (RFC 9113, section 8.1); whatever else ends a stream cuts it off.
# Seen:    with hyper 1.12.0, a response that its server resets with NO_ERROR after a part of it is read to a good end by the
#          client, also where its content-length says that there is more. With CANCEL it is an error. The RFC's reset with
#          NO_ERROR asks the other side to stop sending; it says nothing of what the one who resets still had to send.
#          `is_end_stream` stays false, so that one can tell.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

output=$(rust hyper==1.12.0/http2,client hyper-util==0.1.21/tokio http-body-util==0.1.5 h2==0.4.20 \
    tokio==1.54.1/rt,macros,io-util,time <<'RUST'
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes};
use hyper::client::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::duplex;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for reason in [h2::Reason::NO_ERROR, h2::Reason::CANCEL] {
        let (client, server) = duplex(1 << 16);
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(server).await.unwrap();
            while let Some(Ok((_request, mut respond))) = connection.accept().await {
                tokio::spawn(async move {
                    let head = Response::builder().header("content-length", "9").body(()).unwrap();
                    let mut stream = respond.send_response(head, false).unwrap();
                    stream.send_data(Bytes::from_static(b"first"), false).unwrap();
                    // What is not sent yet goes with the reset.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    stream.send_reset(reason);
                });
            }
        });
        let (mut requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("http://example/").body(Empty::<Bytes>::new()).unwrap();
        let mut body = requests.send_request(request).await.unwrap().into_body();
        let mut read = Vec::new();
        let end = loop {
            match body.frame().await {
                Some(Ok(frame)) => read.extend_from_slice(frame.data_ref().unwrap()),
                Some(Err(_)) => break "an error",
                None => break "a good end",
            }
        };
        println!("{reason:?}: {} of 9 bytes, then {end}; END_STREAM: {}", read.len(), body.is_end_stream());
    }
}
RUST
)
shows 'reset without an error' '^NO_ERROR: 5 of 9 bytes, then a good end; END_STREAM: false$' "$output"
shows 'reset with one' '^CANCEL: 5 of 9 bytes, then an error; END_STREAM: false$' "$output"
