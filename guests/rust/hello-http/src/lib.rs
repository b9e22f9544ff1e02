//! A `wasi:http/incoming-handler`. The path says what it does:
//! - `/echo` sends the request body back while it arrives;
//! - `/fetch?URL` fetches an http URL and passes the response on;
//! - `/trap` sends a piece of a body and traps;
//! - `/unfinished` sends a piece of a body and returns;
//! - `/silent` sets no response;
//! - `/spin` never ends;
//! - any other is greeted, and told to standard output.

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::outgoing_handler;
use wasi::http::types::{
    Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam,
    Scheme,
};
use wasi::io::streams::StreamError;

struct Hello;

wasi::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path {
            "/echo" => pass_on(200, request.consume().unwrap(), out),
            "/fetch" => match fetch(query) {
                Ok((status, body)) => pass_on(status, body, out),
                Err(error) => say(502, &format!("{error}\n"), out),
            },
            "/trap" => {
                let _body = begin(out);
                panic!("as asked");
            }
            "/unfinished" => drop(begin(out)),
            "/silent" => {}
            "/spin" => loop {
                std::hint::spin_loop();
            },
            _ => {
                println!("greeting {target}");
                say(200, &format!("hello from {target}\n"), out);
            }
        }
    }
}

fn say(status: u16, text: &str, out: ResponseOutparam) {
    let headers = Fields::from_list(&[("content-type".to_owned(), b"text/plain".to_vec())]).unwrap();
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).unwrap();
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    {
        let stream = body.write().unwrap();
        for piece in text.as_bytes().chunks(4096) {
            stream.blocking_write_and_flush(piece).unwrap();
        }
    }
    OutgoingBody::finish(body, None).unwrap();
}

/// Sets a response and writes the beginning of its body.
fn begin(out: ResponseOutparam) -> OutgoingBody {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    body.write().unwrap().blocking_write_and_flush(b"a beginning").unwrap();
    body
}

fn pass_on(status: u16, from: IncomingBody, out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).unwrap();
    let to = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    {
        let (input, output) = (from.stream().unwrap(), to.write().unwrap());
        loop {
            match input.blocking_read(4096) {
                Ok(bytes) => output.blocking_write_and_flush(&bytes).unwrap(),
                Err(StreamError::Closed) => break,
                Err(error) => panic!("the body broke off: {error}"),
            }
        }
    }
    OutgoingBody::finish(to, None).unwrap();
}

fn fetch(url: &str) -> Result<(u16, IncomingBody), String> {
    let rest = url.strip_prefix("http://").ok_or("give an http URL")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let request = OutgoingRequest::new(Fields::new());
    request.set_method(&Method::Get).unwrap();
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(authority)).map_err(|()| "no authority")?;
    request.set_path_with_query(Some(path)).map_err(|()| "no path")?;
    let response = outgoing_handler::handle(request, None).map_err(|error| error.to_string())?;
    let response = loop {
        match response.get() {
            Some(result) => break result.unwrap().map_err(|error| error.to_string())?,
            None => response.subscribe().block(),
        }
    };
    Ok((response.status(), response.consume().unwrap()))
}
