//! A `wasi:http` server on the `wstd` crate, asynchronous on `wasi:io/poll`. The path says what it does:
//! - `/echo` sends the request's body back while it arrives;
//! - `/fetch?URL` fetches a URL and passes the response on;
//! - `/send?URL` passes the request's body on to a URL while it arrives, and the response back;
//! - any other is greeted, and told to standard output.

use wstd::http::{Body, Client, Error, Request, Response, StatusCode};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let (path, url) = target.split_once('?').unwrap_or((&target, ""));
    match path {
        "/echo" => Ok(Response::new(request.into_body())),
        "/fetch" => Ok(pass_on(Request::get(url).body(Body::empty())?).await),
        "/send" => Ok(pass_on(Request::post(url).body(request.into_body())?).await),
        _ => {
            println!("greeting {target}");
            Ok(Response::new(format!("hello from {target}\n").into()))
        }
    }
}

async fn pass_on(request: Request<Body>) -> Response<Body> {
    let (status, body) = match Client::new().send(request).await {
        Ok(response) => (response.status(), response.into_body()),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error}\n").into()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
