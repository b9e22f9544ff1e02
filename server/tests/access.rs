//! The access log: what it says of answers that were sent, and of those that were not.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use wharf_core::{Guest, GuestConfig, LoadOptions};
use wharf_server::{Access, Handler, HandlerOptions, Server, ServerOptions};
use wharf_wasmtime::Wasmtime;

/// No test waits longer than this, whatever goes wrong.
const LIMIT: Duration = Duration::from_secs(60);

/// Larger than anything between a server and its client holds.
const LARGE: usize = 16 << 20;

/// What the log says of one request: the status, the bytes, whether it was complete.
type Line = (Option<u16>, u64, bool);

/// A server whose log is looked at.
struct Logged {
    address: SocketAddr,
    log: Arc<Mutex<Vec<Access>>>,
    _guard: DropGuard,
}

impl Logged {
    async fn start() -> Self {
        let wasm = wharf_guests::HELLO_HTTP.wasm().unwrap();
        let guest = Guest::load(&Wasmtime::new().unwrap(), &wasm, &LoadOptions::default()).unwrap();
        let handler = Handler::new(Arc::new(guest), HandlerOptions::default(), |_| {
            Ok(GuestConfig { timeout: Some(LIMIT), ..GuestConfig::default() })
        });
        let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerOptions::default()).await.unwrap();
        let (address, stop, log) = (server.address(), CancellationToken::new(), Arc::<Mutex<Vec<Access>>>::default());
        let lines = log.clone();
        let server = server.access_log(move |access| lines.lock().unwrap().push(access.clone()));
        tokio::spawn(server.run(handler.unwrap(), stop.clone()));
        Logged { address, log, _guard: stop.drop_guard() }
    }

    /// The one line that is to be there by now or soon.
    async fn line(&self) -> Line {
        let waiting = async {
            loop {
                if let Some(access) = self.log.lock().unwrap().pop() {
                    return (access.status.map(|status| status.as_u16()), access.bytes, access.complete);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let line = tokio::time::timeout(LIMIT, waiting).await.expect("it is logged");
        assert!(self.log.lock().unwrap().is_empty(), "one request, one line");
        line
    }

    async fn sends(&self, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }

    /// Takes all that comes over HTTP/1.1.
    async fn exchange(&self, request: &str) -> Line {
        let mut stream = self.sends(request).await;
        let mut all = Vec::new();
        // A reset is an end too.
        _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut all)).await.expect("an end");
        self.line().await
    }

    async fn http2(&self) -> SendRequest<Bytes> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://a{path}")).body(()).unwrap()
}

/// Sends an upload that comes back, over HTTP/1.1; both are under way.
async fn upload(logged: &Logged) -> TcpStream {
    let head = format!("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {LARGE}\r\n\r\n");
    let mut stream = logged.sends(&head).await;
    stream.write_all(&vec![b'x'; 1 << 16]).await.unwrap();
    assert!(stream.read(&mut [0; 256]).await.unwrap() > 0);
    stream
}

#[tokio::test]
async fn over_http_1() {
    let logged = Logged::start().await;
    for (request, expected) in [
        ("GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", (Some(200), 14, true)),
        ("HEAD /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", (Some(200), 0, true)),
        // Not the guest's, which is not asked.
        ("GET /x HTTP/1.1\r\nhost: u@a\r\nconnection: close\r\n\r\n", (Some(400), 0, true)),
        // The guest leaves its answer unfinished, or gives none.
        ("GET /unfinished HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", (Some(200), 11, false)),
        ("GET /trap HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", (Some(200), 11, false)),
        ("GET /silent HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", (Some(500), 0, true)),
    ] {
        let (status, bytes, complete) = logged.exchange(request).await;
        let (expected_status, expected_bytes, expected_complete) = expected;
        assert_eq!((status, complete), (expected_status, expected_complete), "{request}");
        // What a refusal says beside its status is not the matter here.
        assert!(bytes == expected_bytes || status == Some(400), "{request}: {bytes}");
    }
}

#[tokio::test]
async fn a_client_of_http_1_that_leaves_is_not_said_to_have_got_all() {
    let logged = Logged::start().await;
    // Before the answer.
    drop(logged.sends("GET /spin HTTP/1.1\r\nhost: a\r\n\r\n").await);
    assert_eq!(logged.line().await, (None, 0, false));
    // In the middle of it.
    drop(upload(&logged).await);
    let (status, bytes, complete) = logged.line().await;
    assert_eq!((status, complete), (Some(200), false));
    assert!(bytes > 0 && bytes < LARGE as u64, "{bytes}");
}

#[tokio::test]
async fn over_http_2() {
    let logged = Logged::start().await;
    let sender = logged.http2().await;
    for (method, path, expected) in [
        (Method::GET, "/x", (Some(200), 14, true)),
        (Method::HEAD, "/x", (Some(200), 0, true)),
        (Method::GET, "/unfinished", (Some(200), 11, false)),
        (Method::GET, "/trap", (Some(200), 11, false)),
        (Method::GET, "/silent", (Some(500), 0, true)),
    ] {
        let mut sender = sender.clone().ready().await.unwrap();
        let (response, _) = sender.send_request(request(method.clone(), path), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!(logged.line().await, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn trailers_end_an_answer_over_http_2() {
    let logged = Logged::start().await;
    let mut sender = logged.http2().await.ready().await.unwrap();
    let (response, mut stream) = sender.send_request(request(Method::POST, "/echo"), false).unwrap();
    stream.send_data(Bytes::from_static(b"part"), false).unwrap();
    stream.send_trailers(HeaderMap::new()).unwrap();
    let mut body = response.await.unwrap().into_body();
    while body.data().await.transpose().unwrap().is_some() {}
    assert_eq!(logged.line().await, (Some(200), 4, true));
}

#[tokio::test]
async fn a_client_of_http_2_that_leaves_is_not_said_to_have_got_all() {
    let logged = Logged::start().await;
    let sender = logged.http2().await;
    // Before the answer.
    let mut ready = sender.clone().ready().await.unwrap();
    let (response, mut stream) = ready.send_request(request(Method::GET, "/spin"), true).unwrap();
    // One that comes after it is answered: the server has it.
    let mut ready = sender.clone().ready().await.unwrap();
    let (after, _) = ready.send_request(request(Method::HEAD, "/x"), true).unwrap();
    after.await.unwrap();
    assert_eq!(logged.line().await, (Some(200), 0, true));
    stream.send_reset(h2::Reason::CANCEL);
    drop(response);
    assert_eq!(logged.line().await, (None, 0, false));
    // In the middle of it: no more is passed on than the client has room for.
    let mut ready = sender.clone().ready().await.unwrap();
    let (response, mut stream) = ready.send_request(request(Method::POST, "/echo"), false).unwrap();
    stream.reserve_capacity(1 << 18);
    let sent = Bytes::from(vec![b'x'; 1 << 18]);
    stream.send_data(sent, true).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert!(body.data().await.unwrap().is_ok());
    drop((body, stream));
    let (status, bytes, complete) = logged.line().await;
    assert_eq!((status, complete), (Some(200), false));
    assert!(bytes < 1 << 18, "{bytes}");
}

/// All of an answer is there at once, and the client has room for some of it.
#[tokio::test]
async fn what_a_client_of_http_2_has_no_room_for_is_not_passed_on() {
    let logged = Logged::start().await;
    let stream = TcpStream::connect(logged.address).await.unwrap();
    let (sender, connection) =
        h2::client::Builder::new().initial_window_size(4).handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(connection);
    let mut ready = sender.ready().await.unwrap();
    let (response, mut stream) = ready.send_request(request(Method::GET, "/x"), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "hell");
    stream.send_reset(h2::Reason::CANCEL);
    assert_eq!(logged.line().await, (Some(200), 4, false));
}
