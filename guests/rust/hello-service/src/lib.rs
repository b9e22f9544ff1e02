//! A `wasi:http/handler` of WASI 0.3. The path says what it does:
//! - `/echo` sends the request body back while it arrives;
//! - `/fetch?URL` fetches an http URL and passes the response on;
//! - `/trap` sends a piece of a body and traps;
//! - `/error` answers with an error code;
//! - `/spin` never ends;
//! - any other is greeted.

use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme, Trailers};
use wasip3::wit_bindgen::{self, rt::async_support::StreamReader};
use wasip3::{wit_future, wit_stream};

struct Hello;

wasip3::http::service::export!(Hello);

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/echo" => {
                let (_, done) = wit_future::new(|| Ok(()));
                let (body, _trailers) = Request::consume_body(request, done);
                Ok(respond(200, Some(body)))
            }
            "/fetch" => fetch(query).await,
            "/trap" => Ok(say("a beginning", true)),
            "/error" => Err(ErrorCode::LoopDetected),
            "/spin" => loop {
                std::hint::spin_loop();
            },
            _ => Ok(say(&format!("hello from {target}\n"), false)),
        }
    }
}

fn respond(status: u16, body: Option<StreamReader<u8>>) -> Response {
    let (_, trailers) = wit_future::new(|| Ok(None::<Trailers>));
    let (response, _sent) = Response::new(Fields::new(), body, trailers);
    response.set_status_code(status).unwrap();
    response
}

/// A response whose body a task of its own writes.
fn say(text: &str, trap: bool) -> Response {
    let (mut writer, body) = wit_stream::new();
    let text = text.as_bytes().to_vec();
    wit_bindgen::spawn_local(async move {
        let rest = writer.write_all(text).await;
        assert!(rest.is_empty() && !trap, "as asked");
    });
    respond(200, Some(body))
}

async fn fetch(url: &str) -> Result<Response, ErrorCode> {
    let rest = url.strip_prefix("http://").ok_or(ErrorCode::HttpRequestUriInvalid)?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (_, trailers) = wit_future::new(|| Ok(None::<Trailers>));
    let (request, _sent) = Request::new(Fields::new(), None, trailers, None);
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_scheme(Some(&Scheme::Http)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request.set_path_with_query(Some(path)).map_err(invalid)?;
    let response = client::send(request).await?;
    let status = response.get_status_code();
    let (_, done) = wit_future::new(|| Ok(()));
    let (body, _trailers) = Response::consume_body(response, done);
    Ok(respond(status, Some(body)))
}
