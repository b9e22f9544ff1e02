//! A handler that passes each request on to the origin that the variable `UPSTREAM` names, such as
//! `https://api.example.com`, and the response back. Both bodies stream, so neither is held in memory. The origin learns
//! from `x-forwarded-host` which host was asked.

use anyhow::{Context, Result};
use wharf_guest::http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use wharf_guest::{Body, ErrorKind, IntoResponse};

#[wharf_guest::handler]
async fn handle(request: Request<Body>) -> impl IntoResponse {
    let upstream = std::env::var("UPSTREAM").context("the variable UPSTREAM names no origin")?;
    pass_on(request, &upstream).await
}

async fn pass_on(mut request: Request<Body>, upstream: &str) -> Result<Response<Body>> {
    let upstream: Uri = upstream.parse().context("UPSTREAM is not a URL")?;
    let asked = request.uri().authority().map(|host| HeaderValue::from_str(host.as_str())).transpose()?;
    let mut to = upstream.into_parts();
    to.path_and_query = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from_parts(to).context("UPSTREAM is not an origin")?;
    // It is known from the URL that the request goes to.
    request.headers_mut().remove(header::HOST);
    // What a sender says of it is not believed.
    request.headers_mut().remove("x-forwarded-host");
    request.headers_mut().extend(asked.map(|host| (HeaderName::from_static("x-forwarded-host"), host)));
    Ok(match wharf_guest::start(request).await {
        Ok(response) => response,
        Err(error) => {
            eprintln!("rust-proxy: {error}");
            let status = match error.kind() {
                ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::BAD_GATEWAY,
            };
            let mut response = Response::new(Body::from(format!("{status}\n")));
            *response.status_mut() = status;
            response
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_guest::{Error, mock};

    fn call(request: Request<&'static str>) -> Response<wharf_guest::bytes::Bytes> {
        mock::call(|request| pass_on(request, "https://upstream.example"), request).unwrap()
    }

    #[test]
    fn a_request_goes_to_the_upstream_as_it_came() {
        let _installed = mock::install(|request| {
            assert_eq!(request.method(), "PUT");
            assert_eq!(request.uri(), "https://upstream.example/things/1?q=2");
            assert!(!request.headers().contains_key(header::HOST));
            let asked: Vec<_> = request.headers().get_all("x-forwarded-host").iter().collect();
            assert_eq!(asked, ["front.example"]);
            Response::builder()
                .status(203)
                .header("x-seen", &request.headers()["x-sent"])
                .body(request.into_body())
                .unwrap()
                .into()
        });
        let request = Request::put("http://front.example/things/1?q=2")
            .header("x-sent", "yes")
            .header("host", "front.example")
            .header("x-forwarded-host", "forged.example");
        let response = call(request.body("a thing").unwrap());
        assert_eq!(response.status(), 203);
        assert_eq!(response.headers()["x-seen"], "yes");
        assert_eq!(response.body(), "a thing");
    }

    #[test]
    fn a_failure_is_a_gateways() {
        for (kind, status) in [(ErrorKind::Timeout, 504), (ErrorKind::Failed, 502), (ErrorKind::Denied, 502)] {
            let _installed = mock::install(move |_| Error::new(kind).into());
            assert_eq!(call(Request::get("/").body("").unwrap()).status(), status);
        }
    }
}
