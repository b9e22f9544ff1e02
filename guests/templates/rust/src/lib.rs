//! An HTTP handler. Each request gets an instance of its own.

use wharf_guest::http::{Request, Response, StatusCode, header};
use wharf_guest::{Body, IntoResponse, Result};

#[wharf_guest::handler]
async fn handle(request: Request<Body>) -> impl IntoResponse {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/echo" => Ok(echo(request)),
        "/fetch" => fetch("https://example.com/").await,
        _ => Ok(text(StatusCode::OK, format!("hello from {path}\n"))),
    }
}

/// Sends the request's body back, while it arrives.
fn echo(request: Request<Body>) -> Response<Body> {
    Response::new(request.into_body())
}

/// Passes on what another server says. What it says streams.
async fn fetch(url: &str) -> Result<Response<Body>> {
    let request = Request::get(url).body(()).expect("the URL is valid");
    match wharf_guest::start(request).await {
        Ok(response) => Ok(Response::new(response.into_body())),
        Err(error) if error.is_denied() => Ok(text(StatusCode::BAD_GATEWAY, format!("{url} is not allowed\n"))),
        Err(error) => Err(error),
    }
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_guest::{Error, ErrorKind, mock};

    fn call(path: &str, body: &'static str) -> (u16, String) {
        let response = mock::call(handle, Request::post(path).body(body).unwrap()).unwrap();
        (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
    }

    #[test]
    fn it_greets_and_echoes() {
        assert_eq!(call("/there", ""), (200, "hello from /there\n".to_owned()));
        assert_eq!(call("/echo", "some text"), (200, "some text".to_owned()));
    }

    #[test]
    fn it_fetches_what_it_may() {
        let installed = mock::install(|request| {
            assert_eq!(request.uri(), "https://example.com/");
            Response::new("from the origin").into()
        });
        assert_eq!(call("/fetch", ""), (200, "from the origin".to_owned()));
        drop(installed);
        let _denied = mock::install(|_| Error::new(ErrorKind::Denied).into());
        assert_eq!(call("/fetch", "").0, 502);
    }
}
