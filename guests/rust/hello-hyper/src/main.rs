//! `hello-hyper ADDR` is an HTTP server on the published `hyper_wasi` and `tokio_wasi` crates.
//!
//! It answers `POST /hello` with a greeting that repeats the body, `GET /` with a line of help, and everything else with
//! 404. It prints `listening on ADDR`.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;

use hyper::service::{make_service_fn, service_fn};
use hyper::{Body, Method, Request, Response, Server, StatusCode};

async fn answer(request: Request<Body>) -> Result<Response<Body>, hyper::Error> {
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/hello") => {
            let name = hyper::body::to_bytes(request.into_body()).await?;
            Ok(Response::new(Body::from([b"Hello, ", &name[..], b"!\n"].concat())))
        }
        (&Method::GET, "/") => Ok(Response::new(Body::from("POST a name to /hello\n"))),
        _ => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NOT_FOUND;
            Ok(response)
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address: SocketAddr = std::env::args().nth(1).ok_or("usage: hello-hyper ADDR")?.parse()?;
    let service = make_service_fn(|_| async { Ok::<_, Infallible>(service_fn(answer)) });
    let server = Server::bind(&address).serve(service);
    println!("listening on {}", server.local_addr());
    Ok(server.await?)
}
