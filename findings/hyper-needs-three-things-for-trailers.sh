#!/usr/bin/env bash
# hyper's HTTP/1.1 server leaves trailers out, without an error, unless three things meet.
#
# Assumed: a body that yields a frame of trailers has them sent, as on HTTP/2.
# Seen:    with hyper 1.12.0 they are sent only if the client said `te: trailers` AND the response has a `trailer` field that
#          names each of them AND the body knows no length (`Full::with_trailers` does, so that it never sends any). In
#          every other case the same body is a whole response without them.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

output=$(rust hyper==1.12.0/http1,server hyper-util==0.1.21/tokio http-body-util==0.1.5/channel \
    tokio==1.54.1/rt,macros,io-util <<'RUST'
use std::convert::Infallible;
use std::future::ready;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Channel, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

async fn answer(request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let asked = request.uri().path();
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("42"))]);
    let body = if asked.contains("sized") {
        Full::new(Bytes::from_static(b"body")).with_trailers(ready(Some(Ok(trailers)))).boxed()
    } else {
        let (mut sender, channel) = Channel::<Bytes, Infallible>::new(2);
        sender.send_data(Bytes::from_static(b"body")).await.unwrap();
        sender.send_trailers(trailers).await.unwrap();
        channel.boxed()
    };
    let mut response = Response::new(body);
    if asked.contains("named") {
        response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
    }
    Ok(response)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for (target, field) in [("/", "te: trailers"), ("/named", "x: y"), ("/named-sized", "te: trailers"), ("/named", "te: trailers")] {
        let (mut client, server) = duplex(1 << 16);
        let request = format!("GET {target} HTTP/1.1\r\nhost: example\r\nconnection: close\r\n{field}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        Builder::new().serve_connection(TokioIo::new(server), service_fn(answer)).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        let sent = answer.contains("\r\nx-sum: 42\r\n");
        println!("{target} with `{field}`: trailers {}", if sent { "sent" } else { "left out" });
    }
}
RUST
)
shows 'not named' '^/ with `te: trailers`: trailers left out$' "$output"
shows 'named, but not asked for' '^/named with `x: y`: trailers left out$' "$output"
shows 'named and asked for, of a body that knows its length' '^/named-sized .*: trailers left out$' "$output"
shows 'all three' '^/named with `te: trailers`: trailers sent$' "$output"
