//! The server: protocols, TLS, slow clients, the access log.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use wharf_core::{Guest, GuestConfig, LoadOptions};
use wharf_server::{
    Access, Bound, Handler, HandlerOptions, Server, ServerError, ServerOptions, TlsError, tls_from_pem,
};
use wharf_wasmtime::Wasmtime;

/// No test waits longer than this, whatever goes wrong.
const LIMIT: Duration = Duration::from_secs(60);

fn handler() -> Handler {
    let backend = Wasmtime::new().unwrap();
    let wasm = wharf_guests::HELLO_HTTP.wasm().unwrap();
    let guest = Guest::load(&backend, &wasm, &LoadOptions::default()).unwrap();
    Handler::new(Arc::new(guest), HandlerOptions::default(), |_| {
        Ok(GuestConfig { timeout: Some(LIMIT), ..GuestConfig::default() })
    })
    .unwrap()
}

/// A server that runs, until its guard is dropped.
async fn serve(
    options: ServerOptions,
    with: impl FnOnce(Server) -> Server,
) -> (SocketAddr, tokio_util::sync::DropGuard, tokio::task::JoinHandle<bool>) {
    let server = with(Server::bind(([127, 0, 0, 1], 0).into(), options).await.unwrap());
    let (address, stop) = (server.address(), CancellationToken::new());
    let running = tokio::spawn(server.run(handler(), stop.clone()));
    (address, stop.drop_guard(), running)
}

fn request(uri: &str) -> Request<Empty<Bytes>> {
    Request::get(uri).header("host", "localhost").body(Empty::new()).unwrap()
}

/// What is answered on this connection, and in which version.
async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    version: Version,
    scheme: &str,
) -> (Version, String) {
    let io = TokioIo::new(stream);
    let response = if version == Version::HTTP_2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request(&format!("{scheme}://localhost/two"))).await.unwrap()
    } else {
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request("/one")).await.unwrap()
    };
    let version = response.version();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (version, String::from_utf8(body.to_vec()).unwrap())
}

/// With which status a request for this target and Host is answered.
async fn refused(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    version: Version,
    uri: &str,
    host: &str,
) -> u16 {
    let (io, request) =
        (TokioIo::new(stream), Request::get(uri).header("host", host).body(Empty::<Bytes>::new()).unwrap());
    let response = if version == Version::HTTP_2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    } else {
        // hyper's client sends a target that has a scheme in absolute-form.
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    };
    response.status().as_u16()
}

#[tokio::test]
async fn both_versions_are_spoken_without_tls() {
    let (address, _guard, _running) = serve(ServerOptions::default(), |server| server).await;
    for (version, greeting) in [(Version::HTTP_11, "hello from /one\n"), (Version::HTTP_2, "hello from /two\n")] {
        let stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(get(stream, version, "http").await, (version, greeting.to_owned()));
    }
}

#[tokio::test]
async fn both_versions_are_negotiated_with_tls() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    std::fs::write(&certificate, issued.cert.pem()).unwrap();
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    let wrong = tls_from_pem(&key, &key).unwrap_err();
    assert!(matches!(&wrong, TlsError::File { what: "certificates", .. }), "{wrong:?}");

    let tls = tls_from_pem(&certificate, &key).unwrap();
    let (address, _guard, _running) = serve(ServerOptions::default(), |server| server.tls(tls)).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    for (offered, version) in
        [(&[&b"h2"[..], b"http/1.1"][..], Version::HTTP_2), (&[b"http/1.1"], Version::HTTP_11), (&[], Version::HTTP_11)]
    {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
        let config = Arc::new(config);
        let connect = || async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            TlsConnector::from(config.clone()).connect(name, stream).await.unwrap()
        };
        // RFC 9110, section 7.4: a target of another scheme than the connection's is misdirected, and so is a host that
        // is not valid refused, behind TLS as without.
        for (uri, host, status) in [
            ("http://localhost/", "localhost", 421),
            ("https://u@localhost/", "localhost", 400),
            ("https://localhost/", "u@localhost", 400),
        ] {
            assert_eq!(refused(connect().await, version, uri, host).await, status, "{version:?} {uri} {host}");
        }
        let stream = connect().await;
        let (spoken, greeting) = get(stream, version, "https").await;
        assert_eq!(spoken, version);
        assert!(greeting.starts_with("hello from /"), "{greeting}");
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let mut options = ServerOptions::default();
    options.stall_timeout = Duration::from_millis(500);
    let seen: Arc<Mutex<Vec<Access>>> = Arc::default();
    let log = seen.clone();
    let (address, _guard, _running) =
        serve(options, |server| server.access_log(move |access| log.lock().unwrap().push(access.clone()))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![0; 1 << 16];
    let sending = async { while stream.write_all(&piece).await.is_ok() {} };
    tokio::time::timeout(LIMIT, sending).await.expect("the server lets the client go");
    let logged = async {
        while seen.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, logged).await.expect("it is logged");
    assert!(seen.lock().unwrap().iter().all(|access| !access.complete && access.bytes > 0));
}

#[tokio::test]
async fn a_server_stops_beside_connections_that_ask_nothing() {
    let (address, guard, running) = serve(ServerOptions::default(), |server| server).await;
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 64]).await.unwrap() > 0);
    drop(guard);
    assert!(tokio::time::timeout(LIMIT, running).await.unwrap().unwrap(), "nothing was cut off");
}

/// Whoever connects before the server listens is told so, instead of waiting for a guest that is yet to be compiled.
#[tokio::test]
async fn an_address_is_taken_before_it_is_listened_on() {
    let bound = Bound::new(([127, 0, 0, 1], 0).into()).unwrap();
    let address = bound.address();
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let server = bound.listen(ServerOptions::default()).unwrap();
    assert_eq!(server.address(), address);
    TcpStream::connect(address).await.unwrap();
    let taken = Bound::new(address).unwrap_err();
    assert!(matches!(&taken, ServerError::Bind(wrong, _) if *wrong == address), "{taken:?}");
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what}"))
}

/// Nothing was sent to a client that left before.
#[tokio::test]
async fn a_request_without_an_answer_has_no_status_in_the_log() {
    let seen: Arc<Mutex<Vec<Access>>> = Arc::default();
    let log = seen.clone();
    let (address, _guard, _running) = serve(ServerOptions::default(), |server| {
        server.access_log(move |access| log.lock().unwrap().push(access.clone()))
    })
    .await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /spin HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(stream);
    within("it is not logged", async {
        while seen.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let seen = seen.lock().unwrap();
    assert_eq!((seen[0].status, seen[0].complete, seen[0].bytes), (None, false, 0));
}
