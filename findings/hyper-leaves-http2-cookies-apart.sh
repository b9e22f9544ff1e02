#!/usr/bin/env bash
# hyper hands on the cookie of an HTTP/2 request in as many fields as the client sent.
#
# Assumed: an application sees one `cookie` field, whichever the protocol: RFC 9113, section 8.2.3, lets a client split
#          it, and asks who passes it on to a context that is not HTTP/2 to join the parts with `; `.
# Seen:    with hyper 1.12.0 the parts stay apart. `headers().get("cookie")` is the first cookie alone, so a session may
#          be missing over HTTP/2 with browsers that split and there with curl, which does not.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

output=$(rust hyper==1.12.0/http2,server hyper-util==0.1.21/tokio http-body-util==0.1.5 h2==0.4.20 \
    tokio==1.54.1/rt,macros,io-util <<'RUST'
use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let cookies = request.headers().get_all("cookie");
    println!("get: {:?}, all of them: {:?}", request.headers()["cookie"], cookies.iter().collect::<Vec<_>>());
    Ok(Response::new(Full::default()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (client, server) = tokio::io::duplex(1 << 16);
    let service = service_fn(answer);
    tokio::spawn(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(server), service));
    let (mut requests, connection) = h2::client::handshake(client).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://example/").header("cookie", "theme=dark").header("cookie", "session=7");
    let (response, _) = requests.send_request(request.body(()).unwrap(), true).unwrap();
    response.await.unwrap();
}
RUST
)
shows 'what the application sees' '^get: "theme=dark", all of them: \["theme=dark", "session=7"\]$' "$output"
