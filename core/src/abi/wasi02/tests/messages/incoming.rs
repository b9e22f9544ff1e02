//! Requests that come to a guest, and their bodies.

use super::*;

#[test]
fn a_request_comes_with_its_parts() {
    let mut guest = guest();
    let request = Request::put("http://example.com:8080/a?b")
        .header("x-one", "1")
        .header("connection", "x-hop, content-length")
        .header("x-hop", "2")
        .header("content-length", "3")
        .header("transfer-encoding", "chunked")
        .body(body_of([data("abc")]))
        .unwrap();
    let (request, _, _answered) = guest.begin(request);
    assert_eq!(guest.http_answer("[method]incoming-request.method", &[request]).0, 3, "put");
    assert_eq!(guest.text("incoming-request.path-with-query", request).unwrap(), "/a?b");
    assert_eq!(guest.text("incoming-request.authority", request).unwrap(), "example.com:8080");
    let (some, scheme) = guest.http_answer("[method]incoming-request.scheme", &[request]);
    assert_eq!((some, scheme as u8), (1, 0), "http");
    let headers = guest.http("[method]incoming-request.headers", &[request]);
    let entries = guest.entries(headers);
    let expected = [("x-one", "1"), ("content-length", "3")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(entries, expected, "without what belongs to the connection");
    let [ptr, len] = guest.bytes(b"x-one");
    assert_eq!(guest.http_answer("[method]fields.delete", &[headers, ptr, len]).0, 1, "they are immutable");
    guest.traps("wasi:http/types#[resource-drop]incoming-request", &[request], "1 child");
}

#[test]
fn how_a_request_came_is_its_scheme() {
    for (uri, extension, case) in [
        ("/a", None, 0),
        ("/a", Some("https"), 1),
        ("https://example.com/", None, 1),
        ("http://example.com/", Some("https"), 0),
        ("ftp://example.com/", None, 2),
    ] {
        let mut guest = guest();
        let mut request = Request::get(uri).header("host", "example.com").body(body_of([])).unwrap();
        if let Some(scheme) = extension {
            request.extensions_mut().insert(scheme.parse::<http::uri::Scheme>().unwrap());
        }
        let (request, _, _answered) = guest.begin(request);
        let (some, scheme) = guest.http_answer("[method]incoming-request.scheme", &[request]);
        assert_eq!((some, scheme as u8), (1, case), "{uri} {extension:?}");
        if case == 2 {
            assert_eq!(guest.string(RET + 8), b"ftp");
        }
    }
}

#[test]
fn every_method_has_a_case() {
    let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "BREW"];
    for (case, method) in (0..).zip(methods) {
        let mut guest = guest();
        let request = Request::builder().method(method).uri("http://example.com/").body(body_of([])).unwrap();
        let (request, _, _answered) = guest.begin(request);
        assert_eq!(guest.http_answer("[method]incoming-request.method", &[request]).0, case, "{method}");
        if case == 9 {
            assert_eq!(guest.string(RET + 4), b"BREW");
        }
    }
}

#[test]
fn a_request_is_for_one_authority() {
    let refused = |request: Request<Body>| {
        assert_eq!(
            crate::abi::wasi02::http::refusal(&request).map(|answer| answer.status()),
            Some(StatusCode::BAD_REQUEST)
        );
        let (reply, mut answered) = Reply::channel();
        let guest = guest();
        assert!(guest.host.begin(request, reply).unwrap().is_none());
        assert_eq!(answered.try_recv().unwrap().unwrap().status(), StatusCode::BAD_REQUEST);
        assert_eq!(guest.host.open_handles(), 0);
    };
    let get = |uri: &str| Request::get(uri);
    refused(get("/").body(body_of([])).unwrap());
    refused(get("/").header("host", "a").header("host", "b").body(body_of([])).unwrap());
    refused(get("/").header("host", "u@a").body(body_of([])).unwrap());
    let old = get("/").version(Version::HTTP_10).body(body_of([])).unwrap();
    assert!(crate::abi::wasi02::http::refusal(&old).is_none());
    let mut guest = guest();
    let (request, _, _answered) = guest.begin(old);
    assert_eq!(guest.text("incoming-request.authority", request), None, "only HTTP/1.0 may leave it out");
    refused(get("/").version(Version::HTTP_10).header("host", "a b").body(body_of([])).unwrap());
}

/// An incoming body with its stream, and the request it is of.
fn incoming(frames: impl IntoIterator<Item = Result<Frame<Bytes>, HttpError>>) -> (Guest, u64, u64, Answered) {
    let mut guest = guest();
    let (request, _, answered) = guest.begin(Request::post("http://example.com/").body(body_of(frames)).unwrap());
    let (case, body) = guest.http_answer("[method]incoming-request.consume", &[request]);
    assert_eq!(case, 0);
    assert_eq!(guest.http_answer("[method]incoming-request.consume", &[request]).0, 1, "once");
    let (case, stream) = guest.http_answer("[method]incoming-body.stream", &[body.into()]);
    assert_eq!(case, 0);
    assert_eq!(guest.http_answer("[method]incoming-body.stream", &[body.into()]).0, 1, "once");
    (guest, body.into(), stream.into(), answered)
}

#[test]
fn a_body_is_read_to_its_end_and_then_its_trailers() {
    let frames = [data("ab"), data(""), data("cde"), trailers(&[("x-sum", "5"), ("content-length", "5")])];
    let (mut guest, body, stream, _answered) = incoming(frames);
    let read = "wasi:io/streams#[method]input-stream.read";
    guest.call(read, &[stream, 1, RET.into()]);
    assert_eq!(guest.string(RET + 4), b"a");
    let pollable = guest.call("wasi:io/streams#[method]input-stream.subscribe", &[stream]);
    assert_eq!(guest.call("wasi:io/poll#[method]pollable.ready", &[pollable]), 1);
    guest.call("wasi:io/poll#[resource-drop]pollable", &[pollable]);
    assert_eq!(guest.reads_all(stream), ("bcde".to_owned(), false));
    guest.traps("wasi:http/types#[static]incoming-body.finish", &[body], "1 child");
    guest.call("wasi:io/streams#[resource-drop]input-stream", &[stream]);
    let future = guest.http("[static]incoming-body.finish", &[body]);
    let pollable = guest.http("[method]future-trailers.subscribe", &[future]);
    assert_eq!(guest.call("wasi:io/poll#[method]pollable.ready", &[pollable]), 1);
    // option<result<result<option<trailers>, error-code>>>: the payloads of the outer three are aligned to 8.
    guest.http_answer("[method]future-trailers.get", &[future]);
    let cases = [0, 8, 16, 24].map(|at| guest.get(RET + at, 1)[0]);
    assert_eq!(cases, [1, 0, 0, 1]);
    let fields = guest.u32(RET + 28).into();
    assert_eq!(
        guest.entries(fields),
        [("x-sum".to_owned(), "5".to_owned())],
        "fields that may not be trailers are left out"
    );
    guest.http_answer("[method]future-trailers.get", &[future]);
    assert_eq!([0, 8].map(|at| guest.get(RET + at, 1)[0]), [1, 1], "they were given");
}

#[test]
fn what_is_left_of_a_body_is_passed_over() {
    let (mut guest, body, stream, _answered) = incoming([data("ab"), data("cd")]);
    guest.call("wasi:io/streams#[resource-drop]input-stream", &[stream]);
    let future = guest.http("[static]incoming-body.finish", &[body]);
    guest.http_answer("[method]future-trailers.get", &[future]);
    assert_eq!([0, 8, 16, 24].map(|at| guest.get(RET + at, 1)[0]), [1, 0, 0, 0], "no trailers");
}

#[test]
fn a_body_that_breaks_off_says_why() {
    let broken = || Err(HttpError::new(HttpErrorKind::ConnectionReset, "the client left"));
    let (mut guest, _, stream, _answered) = incoming([data("ab"), broken()]);
    assert_eq!(guest.reads_all(stream), ("ab".to_owned(), true));
    let error = guest.u32(RET + 8).into();
    guest.http("http-error-code", &[error, RET.into()]);
    assert_eq!((guest.get(RET, 1), guest.get(RET + 8, 1)), (vec![1], vec![7]), "connection-terminated");
    guest.call("wasi:filesystem/types#filesystem-error-code", &[error, RET.into()]);
    assert_eq!(guest.get(RET, 1), [0]);
    let (mut guest, body, stream, _answered) = incoming([data("ab"), broken()]);
    guest.call("wasi:io/streams#[resource-drop]input-stream", &[stream]);
    let future = guest.http("[static]incoming-body.finish", &[body]);
    guest.http_answer("[method]future-trailers.get", &[future]);
    assert_eq!([0, 8, 16, 24].map(|at| guest.get(RET + at, 1)[0]), [1, 0, 1, 7]);
}

#[test]
fn a_request_is_charged_while_its_guest_has_it() {
    let mut guest = guest();
    let before = guest.host.budget().used();
    let path = format!("http://example.com/{}", "a".repeat(5000));
    let (request, _, _answered) = guest.begin(Request::get(path).body(body_of([])).unwrap());
    let with = guest.host.budget().used();
    assert!(with >= before + 5000 + (96 << 10), "its texts, and what is read ahead: {before} {with}");
    guest.http("[resource-drop]incoming-request", &[request]);
    assert!(guest.host.budget().used() < before + 5000);
}
