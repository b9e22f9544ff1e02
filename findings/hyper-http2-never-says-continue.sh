#!/usr/bin/env bash
# hyper answers `expect: 100-continue` by itself on HTTP/1.1, and never on HTTP/2.
#
# Assumed: reading the body is what asks the client for it, on both protocols.
# Seen:    with hyper 1.12.0 an HTTP/1.1 client is told 100 as soon as the handler reads. An HTTP/2 client is told nothing
#          (RFC 9110, section 10.1.1, asks it of a server), and the handler cannot do it either: a client that waits for
#          it waits for its own patience, a second with curl, at each upload.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

output=$(rust hyper==1.12.0/http1,http2,server hyper-util==0.1.21/tokio http-body-util==0.1.5 h2==0.4.20 \
    tokio==1.54.1/rt,macros,io-util,time <<'RUST'
use std::convert::Infallible;
use std::future::poll_fn;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::timeout;

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(request.into_body().collect().await.unwrap().to_bytes())))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let patience = Duration::from_secs(2);

    let (mut client, server) = duplex(1 << 16);
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service_fn(echo)));
    client.write_all(b"POST / HTTP/1.1\r\nhost: example\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n").await.unwrap();
    let mut line = [0; 21];
    let told = timeout(patience, client.read_exact(&mut line)).await.is_ok();
    println!("HTTP/1.1: {}", if told { str::from_utf8(&line).unwrap() } else { "nothing" });

    let (client, server) = duplex(1 << 16);
    tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(server), service_fn(echo)));
    let (mut requests, connection) = h2::client::handshake(client).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://example/").header("expect", "100-continue").body(()).unwrap();
    let (mut response, mut body) = requests.send_request(request, false).unwrap();
    let told = timeout(patience, poll_fn(|context| response.poll_informational(context))).await;
    println!("HTTP/2: {}", if told.is_ok() { "told" } else { "nothing" });
    body.send_data(Bytes::from_static(b"sent"), true).unwrap();
    println!("HTTP/2, sent all the same: {}", response.await.unwrap().status());
}
RUST
)
shows 'what the client is told' '^HTTP/1.1: HTTP/1.1 100 Continue$' "$output"
shows 'and' '^HTTP/2: nothing$' "$output"
shows 'in the end' '^HTTP/2, sent all the same: 200 OK$' "$output"
