//! A `wasi:http/service` of WASI 0.3 in Rust. The path says what it does:
//! - `/echo` sends the request's body back while it arrives, and behind it the request's trailers, and `x-bytes`, their
//!   count;
//! - `/fetch?URL` fetches a URL and passes the response on, with its trailers;
//! - `/send?URL` passes the request on to a URL while it arrives, with its trailers, and the response back;
//! - any other is greeted.

use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme, Trailers};
use wasip3::wit_bindgen::{self, rt::async_support::FutureReader, rt::async_support::StreamReader, StreamResult};
use wasip3::{wit_future, wit_stream};

type Behind = FutureReader<Result<Option<Trailers>, ErrorCode>>;

const PIECE: usize = 64 * 1024;

struct Service;

wasip3::http::service::export!(Service);

impl wasip3::exports::http::handler::Guest for Service {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or("/".into());
        let (path, url) = target.split_once('?').unwrap_or((&target, ""));
        let response = match path {
            "/echo" => return Ok(echo(request)),
            "/fetch" => client::send(request_to(url, None)).await,
            "/send" => client::send(request_to(url, Some(request))).await,
            _ => return Ok(say(200, format!("hello from {target}\n"))),
        };
        Ok(match response {
            Ok(response) => passed_on(response),
            Err(ErrorCode::HttpRequestDenied) => say(502, "denied\n".into()),
            Err(_) => say(502, "failed\n".into()),
        })
    }
}

fn echo(request: Request) -> Response {
    let mut headers = vec![("content-type".into(), b"application/octet-stream".into())];
    headers.extend(those_of(&request.get_headers(), "trailer"));
    headers.push(("trailer".into(), b"x-bytes".into()));
    let (mut body, trailers) = Request::consume_body(request, ended());
    let (mut writer, reader) = wit_stream::new();
    let (behind, last) = wit_future::new(|| Ok(None));
    wit_bindgen::spawn_local(async move {
        let mut count = 0;
        loop {
            let (result, piece) = body.read(Vec::with_capacity(PIECE)).await;
            count += piece.len();
            if !writer.write_all(piece).await.is_empty() || result == StreamResult::Dropped {
                break;
            }
        }
        drop(writer);
        let trailers = trailers.await.map(|fields| {
            let fields = fields.map_or_else(Fields::new, |fields| fields.clone());
            fields.append("x-bytes", count.to_string().as_bytes()).unwrap();
            Some(fields)
        });
        // A client that has left does not care.
        _ = behind.write(trailers).await;
    });
    respond(200, &headers, reader, last)
}

fn request_to(url: &str, original: Option<Request>) -> Request {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let method = if original.is_some() { Method::Post } else { Method::Get };
    let (headers, body, trailers) = match original {
        Some(original) => {
            let headers = those_of(&original.get_headers(), "trailer");
            let (body, trailers) = Request::consume_body(original, ended());
            (headers, Some(body), trailers)
        }
        None => (Vec::new(), None, wit_future::new(|| Ok(None)).1),
    };
    let (request, _sent) = Request::new(Fields::from_list(&headers).unwrap(), body, trailers, None);
    request.set_method(&method).unwrap();
    request.set_scheme(Some(&if scheme == "https" { Scheme::Https } else { Scheme::Http })).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(Some(path)).unwrap();
    request
}

fn passed_on(response: Response) -> Response {
    let status = response.get_status_code();
    let received = response.get_headers();
    let headers = [those_of(&received, "content-type"), those_of(&received, "trailer")].concat();
    drop(received);
    let (body, trailers) = Response::consume_body(response, ended());
    respond(status, &headers, body, trailers)
}

fn say(status: u16, text: String) -> Response {
    let (mut writer, body) = wit_stream::new();
    wit_bindgen::spawn_local(async move {
        writer.write_all(text.into_bytes()).await;
    });
    let (_, trailers) = wit_future::new(|| Ok(None));
    respond(status, &[("content-type".into(), b"text/plain".into())], body, trailers)
}

/// The fields of this name.
fn those_of(headers: &Fields, name: &str) -> Vec<(String, Vec<u8>)> {
    headers.get(name).into_iter().map(|value| (name.to_owned(), value)).collect()
}

/// Says of a message that all went well.
fn ended() -> FutureReader<Result<(), ErrorCode>> {
    wit_future::new(|| Ok(())).1
}

fn respond(status: u16, headers: &[(String, Vec<u8>)], body: StreamReader<u8>, trailers: Behind) -> Response {
    let (response, _sent) = Response::new(Fields::from_list(headers).unwrap(), Some(body), trailers);
    response.set_status_code(status).unwrap();
    response
}
