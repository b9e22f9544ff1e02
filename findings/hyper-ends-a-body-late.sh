#!/usr/bin/env bash
# A body that comes after its answer has no end in hyper until the connection's next request.
#
# Assumed: a request body of announced length ends with its last byte, whenever the handler answered.
# Seen:    with hyper 1.12.0, a handler that answers an HTTP/1.1 request first and reads its body afterwards gets every byte
#          and then waits: the end comes with the next request on the connection. If there is none, the body fails once the
#          connection ends. `is_end_stream` says after the last byte that nothing is left.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

output=$(rust hyper==1.12.0/http1,server hyper-util==0.1.21/tokio http-body-util==0.1.5 \
    tokio==1.54.1/rt,macros,io-util,time,sync <<'RUST'
use std::convert::Infallible;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Prints what the reader of the body sees, until it ends.
async fn read(mut body: Incoming) {
    loop {
        match timeout(Duration::from_secs(2), body.frame()).await {
            Ok(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap();
                println!("data {:?}, nothing left: {}", String::from_utf8_lossy(&data), body.is_end_stream());
            }
            Ok(Some(Err(error))) => return println!("error: {error}"),
            Ok(None) => return println!("end"),
            Err(_) => {
                println!("no end for two seconds");
                return match body.frame().await {
                    Some(Err(_)) => println!("when the connection closes: an error"),
                    _ => println!("when the connection closes: the end"),
                };
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (mut client, server) = duplex(1 << 16);
    let (done, read_all) = oneshot::channel();
    let done = std::sync::Mutex::new(Some(done));
    let answer = service_fn(move |request: Request<Incoming>| {
        let done = done.lock().unwrap().take();
        tokio::spawn(async move {
            read(request.into_body()).await;
            done.unwrap().send(()).unwrap();
        });
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), answer));
    client.write_all(b"POST / HTTP/1.1\r\nhost: example\r\ncontent-length: 9\r\n\r\nfirst").await.unwrap();
    let mut buffer = [0; 1024];
    let count = client.read(&mut buffer).await.unwrap();
    println!("{}", String::from_utf8_lossy(&buffer[..count]).lines().next().unwrap());
    client.write_all(b"last").await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(client);
    read_all.await.unwrap();
}
RUST
)
shows 'the answer' '^HTTP/1.1 200 OK$' "$output"
shows 'the last byte' '^data "last", nothing left: true$' "$output"
shows 'then' '^no end for two seconds$' "$output"
shows 'in the end' '^when the connection closes: an error$' "$output"
