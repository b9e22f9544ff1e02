//! A `wasi:http` server on the `waki` crate, which blocks on streams and holds bodies whole. The path says what it does:
//! - `/echo` sends the request's body back;
//! - `/fetch?URL` fetches a URL and passes the response on;
//! - `/send?URL` passes the request's body on to a URL, and the response back;
//! - any other is greeted, and told to standard output.

use waki::{handler, Client, ErrorCode, Request, RequestBuilder, Response};

#[handler]
fn answer(request: Request) -> Result<Response, ErrorCode> {
    let path = request.path().to_owned();
    // The query as it is: the crate has its pairs only, and a URL is one whose value is empty.
    let url = request.query().into_keys().next().unwrap_or_default();
    match path.as_str() {
        "/echo" => Response::builder().body(body_of(request)?).build(),
        "/fetch" => pass_on(Client::new().get(&url)),
        "/send" => pass_on(Client::new().post(&url).body(body_of(request)?)),
        _ => {
            let target = if url.is_empty() { path } else { format!("{path}?{}", query_of(&request)) };
            println!("greeting {target}");
            Response::builder().body(format!("hello from {target}\n")).build()
        }
    }
}

fn body_of(request: Request) -> Result<Vec<u8>, ErrorCode> {
    request.body().map_err(|error| ErrorCode::InternalError(Some(error.to_string())))
}

fn query_of(request: &Request) -> String {
    let pairs = request.query().into_iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

fn pass_on(request: RequestBuilder) -> Result<Response, ErrorCode> {
    match request.send() {
        Ok(response) => {
            let status = response.status_code();
            let body = response.body().map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
            Response::builder().status_code(status).body(body).build()
        }
        Err(error) => Response::builder().status_code(502).body(format!("{error}\n")).build(),
    }
}
