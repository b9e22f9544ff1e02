//! Each exported function uses the published `wasi-experimental-http` crate in one way. The host puts the origin's URL
//! in the environment as `ORIGIN`. A function that finds something wrong panics, which the host sees as a trap.

use bytes::Bytes;
use http::{Method, Request};
use wasi_experimental_http::Response;

fn send(method: Method, path: &str, body: Option<&'static [u8]>) -> Response {
    let origin = std::env::var("ORIGIN").expect("ORIGIN is set");
    let request = Request::builder()
        .method(method)
        .uri(format!("{origin}{path}"))
        .header("content-type", "text/plain")
        .header("x-guest", "published")
        .body(body.map(Bytes::from_static))
        .unwrap();
    wasi_experimental_http::request(request).expect("the request succeeds")
}

/// A GET whose body is read to its end at once.
#[no_mangle]
pub extern "C" fn get() {
    let mut response = send(Method::GET, "/get", None);
    assert_eq!(response.status_code, 200);
    assert_eq!(response.body_read_all().unwrap(), b"hello from the origin");
}

/// A POST; the origin echoes the body.
#[no_mangle]
pub extern "C" fn post() {
    let mut response = send(Method::POST, "/echo", Some(b"Testing with a request body. Does this actually work?"));
    assert_eq!(response.status_code, 200);
    assert_eq!(response.body_read_all().unwrap(), b"Testing with a request body. Does this actually work?");
}

/// One header by name, in another case, and all of them.
#[no_mangle]
pub extern "C" fn headers() {
    let response = send(Method::GET, "/headers", None);
    assert_eq!(response.header_get("X-Colon".to_owned()).unwrap(), "a:b: c");
    let all = response.headers_get_all().unwrap();
    assert_eq!(all.get("x-first").unwrap(), "1");
    assert_eq!(all.get("x-colon").unwrap(), "a:b: c");
    assert!(response.header_get("absent".to_owned()).is_err());
}

/// A value of 20 KiB, for which the crate doubles its buffer until it fits.
#[no_mangle]
pub extern "C" fn long_header() {
    let response = send(Method::GET, "/long-header", None);
    assert_eq!(response.header_get("x-long".to_owned()).unwrap(), "v".repeat(20 * 1024));
}

/// Three responses open at a time, read in another order than they were opened in.
#[no_mangle]
pub extern "C" fn concurrent() {
    let mut first = send(Method::GET, "/number/1", None);
    let mut second = send(Method::GET, "/number/2", None);
    let mut third = send(Method::GET, "/number/3", None);
    assert_eq!(third.body_read_all().unwrap(), b"3");
    assert_eq!(first.body_read_all().unwrap(), b"1");
    assert_eq!(second.body_read_all().unwrap(), b"2");
}

/// A body of 3 MiB, through a buffer of 4 KiB.
#[no_mangle]
pub extern "C" fn large() {
    let mut response = send(Method::GET, "/large", None);
    let mut buffer = [0; 4096];
    let mut total = 0_usize;
    loop {
        let read = response.body_read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        assert!(buffer[..read].iter().enumerate().all(|(i, byte)| *byte == ((total + i) % 251) as u8));
        total += read;
    }
    assert_eq!(total, 3 << 20);
}

/// `send_request`, which reads head and body in one go.
#[no_mangle]
pub extern "C" fn whole() {
    let origin = std::env::var("ORIGIN").expect("ORIGIN is set");
    let request = Request::builder().uri(format!("{origin}/get")).body(None).unwrap();
    let response = wasi_experimental_http::send_request(request).unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.body().as_deref(), Some(&b"hello from the origin"[..]));
}

/// A request that the policy denies fails with the crate's error for it.
#[no_mangle]
pub extern "C" fn denied() {
    let request = Request::builder().uri("http://denied.example/").body(None).unwrap();
    let Err(error) = wasi_experimental_http::request(request) else { panic!("the request was not denied") };
    assert!(error.to_string().contains("WasiError(7)") || format!("{error:?}").contains('7'), "{error:?}");
}
