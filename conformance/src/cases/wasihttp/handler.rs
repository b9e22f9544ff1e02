//! Guests that answer requests, and who asks them: what the cases of this area share.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wharf_core::abi::wasi02::http::{ErrorCode, Reply};
use wharf_core::http::{Body, HttpError, HttpErrorKind};
use wharf_core::{GuestConfig, Run, Stop, io};

use super::probe::lean_module;
use crate::case::{CaseResult, Unmet};
use crate::context::Context;
use crate::origin::PATIENCE;

/// Makes the response, sets it and opens its body: the locals `$body` and `$stream` are what follows works on.
pub(crate) const RESPOND: &str = r#"
    (local.set $response (call $"[constructor]outgoing-response" (call $"[constructor]fields")))
    (call $"[method]outgoing-response.body" (local.get $response) (i32.const 0x100))
    (local.set $body (i32.load (i32.const 0x104)))
    (call $set (local.get $out) (local.get $response))
    (call $"[method]outgoing-body.write" (local.get $body) (i32.const 0x100))
    (local.set $stream (i32.load (i32.const 0x104)))"#;

/// Writes the five bytes at 0x200.
pub(crate) const HELLO: &str = r#"
    (call $"[method]output-stream.blocking-write-and-flush"
        (local.get $stream) (i32.const 0x200) (i32.const 5) (i32.const 0x100))"#;

pub(crate) const FINISH: &str = r#"
    (call $"[resource-drop]output-stream" (local.get $stream))
    (call $"[static]outgoing-body.finish" (local.get $body) (i32.const 0) (i32.const 0) (i32.const 0x180))"#;

/// A guest whose handler does this.
pub(crate) fn handler(steps: &[&str]) -> String {
    let zeros = "(i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)";
    let fields = format!(
        r#"(data (i32.const 0x200) "hello") (data (i32.const 0x220) "content-length") (data (i32.const 0x240) "7")
        (func $set (param i32 i32)
            (call $"[static]response-outparam.set" (local.get 0) (i32.const 0) (local.get 1) {zeros}))
        (func $error (param i32 i32)
            (call $"[static]response-outparam.set" (local.get 0) (i32.const 1) (local.get 1) {zeros}))
        (func (export "wasi:http/incoming-handler@0.2.3#handle") (param $request i32) (param $out i32)
            (local $response i32) (local $body i32) (local $stream i32) (local $input i32) (local $count i32)
            {})"#,
        steps.concat()
    );
    lean_module(&fields)
}

pub(super) fn request(body: impl Into<Bytes>) -> Request<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    let mut request = Request::new(body);
    *request.uri_mut() = http::Uri::from_static("http://example.com/path?query");
    request
}

/// The response as whoever asked gets it: status, body, trailers; the error is what the body broke off with.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) end: Result<(), HttpError>,
}

pub(super) async fn collect(response: Response<Body>) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let (mut incoming, mut body, mut trailers) = (response.into_body(), Vec::new(), None);
    let end = loop {
        match incoming.frame().await {
            None => break Ok(()),
            Some(Err(error)) => break Err(error),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => body.extend(data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
        }
    };
    Answer { status, headers, body, trailers, end }
}

/// What came of a request: how the guest ended, and the answer, if there was one.
pub(super) struct Served {
    pub(super) ended: Result<(), Stop>,
    pub(super) answer: Option<Result<Answer, ErrorCode>>,
}

impl Served {
    pub(super) fn answer(self) -> CaseResult<Answer> {
        self.ended?;
        match self.answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(code)) => Err(Unmet::failed(format!("the answer is the error {code:?}"))),
            None => Err(Unmet::failed("there is no answer")),
        }
    }
}

pub(super) fn serve_with(
    context: &Context,
    text: &str,
    request: Request<Body>,
    config: GuestConfig,
) -> CaseResult<Served> {
    let mut session = context.hosted(text)?.start(config)?;
    let (reply, answer) = Reply::channel();
    let reader = io().spawn(async move {
        match answer.await {
            Ok(Ok(response)) => Some(Ok(collect(response).await)),
            Ok(Err(code)) => Some(Err(code)),
            Err(_) => None,
        }
    });
    let ended = session.handle(request, reply);
    drop(session);
    let answer = Run::default().wait(reader)?.map_err(Unmet::harness)?;
    Ok(Served { ended, answer })
}

pub(super) fn serve(context: &Context, steps: &[&str]) -> CaseResult<Served> {
    serve_with(context, &handler(steps), request(""), GuestConfig::default())
}

/// Serves one request with hyper over a socket, whose head is this, to which what it needs is added; gives all that
/// came over it.
pub(super) fn over_the_wire(context: &Context, text: &str, head: &str) -> CaseResult<Vec<u8>> {
    let guest = context.hosted(text)?;
    let handle = move |request: Request<hyper::body::Incoming>| {
        let guest = guest.clone();
        async move {
            let broken = |error: hyper::Error| HttpError::new(HttpErrorKind::ConnectionClosed, error.to_string());
            let request = request.map(|body| body.map_err(broken).boxed_unsync());
            let (reply, answer) = Reply::channel();
            tokio::task::spawn_blocking(move || {
                let mut session = guest.start(GuestConfig::default())?;
                session.handle(request, reply)
            });
            match answer.await {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(_)) | Err(_) => Err(std::io::Error::other("the guest gave no response")),
            }
        }
    };
    let head = format!("{head}\r\nhost: example.com\r\nconnection: close\r\n\r\n");
    let exchange = async move {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let mut asking = TcpStream::connect(listener.local_addr()?).await?;
        let (stream, _) = listener.accept().await?;
        let serving = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), hyper::service::service_fn(handle));
        let ask = async move {
            asking.write_all(head.as_bytes()).await?;
            let mut seen = Vec::new();
            // A connection that is reset ends what was seen as one that is closed does.
            _ = asking.read_to_end(&mut seen).await;
            Ok::<_, std::io::Error>(seen)
        };
        let (_served, seen) = tokio::join!(serving, ask);
        seen
    };
    let exchange = io().spawn(async move { tokio::time::timeout(PATIENCE, exchange).await });
    let seen = Run::default().wait(exchange)?.map_err(Unmet::harness)?;
    seen.map_err(|_| Unmet::failed("the exchange did not end"))?.map_err(Unmet::harness)
}
