//! TLS and HTTP/2, against an origin with a certificate of our own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::*;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;
use wharf_http::{HttpError, HttpErrorKind, Limits, Outbound, Outgoing, Policy, Resolver};

/// Every name is this machine.
struct Here;

#[async_trait]
impl Resolver for Here {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, HttpError> {
        Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
    }
}

struct Secure {
    address: SocketAddr,
    authority: CertifiedIssuer<'static, KeyPair>,
    connections: Arc<AtomicUsize>,
    /// How many requests came.
    asked: Arc<AtomicUsize>,
}

/// Answers with the version it was asked in and the body it got, and a trailer. Refuses to look at a request for `/busy`
/// the first time, and at one for `/closed` always. An answer to `/cut` is reset, without an error, before its end.
async fn echo(
    request: Request<hyper::body::Incoming>,
    asked: Arc<AtomicUsize>,
) -> Result<Response<BoxBody>, h2::Error> {
    let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
    if request.uri().path() == "/closed" || request.uri().path() == "/busy" && first {
        return Err(h2::Reason::REFUSED_STREAM.into());
    }
    let (version, request_path) = (format!("{:?}", request.version()), request.uri().path().to_owned());
    let body = request.into_body().collect().await.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
    let mut trailers = HeaderMap::new();
    trailers.insert("x-trailer", HeaderValue::from_static("1"));
    let cut = request_path == "/cut";
    let frames =
        [Ok(Frame::data(body)), if cut { Err(h2::Reason::NO_ERROR.into()) } else { Ok(Frame::trailers(trailers)) }];
    let frames = futures_util::stream::iter(frames).then(|frame: Result<_, h2::Error>| async {
        if frame.is_err() {
            // A reset takes with it what was not sent yet.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        frame
    });
    let body: BoxBody = StreamBody::new(frames).boxed_unsync();
    Ok(Response::builder().header("x-version", version).body(body).unwrap())
}

type BoxBody = http_body_util::combinators::UnsyncBoxBody<Bytes, h2::Error>;

impl Secure {
    /// Serves `localhost` over `protocols`, in order of preference.
    fn new(protocols: &[&str]) -> Secure {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["secure.example".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(certificate.der().to_vec())],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        let asked: Arc<AtomicUsize> = Arc::default();
        let asking = asked.clone();
        wharf_http::io().spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let (acceptor, asked) = (acceptor.clone(), asking.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let server = auto::Builder::new(TokioExecutor::new());
                    _ = server
                        .serve_connection(TokioIo::new(stream), service_fn(|request| echo(request, asked.clone())))
                        .await;
                });
            }
        });
        Secure { address, authority, connections, asked }
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/", self.address.port())
    }

    fn outbound(&self, root: Option<&[u8]>) -> Outbound {
        let policy = Policy::builder().allow("insecure:allow-all").unwrap().allow_private_addresses(true);
        outbound_of(policy, Limits::default(), |sends| match root {
            Some(root) => sends.resolver(Arc::new(Here)).root_certificate(root).unwrap(),
            None => sends.resolver(Arc::new(Here)),
        })
    }
}

#[test]
fn http2_is_used_where_the_origin_offers_it_and_one_connection_is_enough() {
    let origin = Secure::new(&["h2", "http/1.1"]);
    let outbound = origin.outbound(Some(origin.authority.pem().as_bytes()));
    for _ in 0..3 {
        let request = Request::post(origin.url("secure.example")).body(Outgoing::from("body")).unwrap();
        let (head, mut body) = send(&outbound, request).unwrap().into_parts();
        assert_eq!(
            (head.version, &head.headers["x-version"]),
            (Version::HTTP_2, &HeaderValue::from_static("HTTP/2.0"))
        );
        assert_eq!(read(&mut body).unwrap(), b"body");
        assert_eq!(body.trailers().unwrap()["x-trailer"], "1");
    }
    assert_eq!(origin.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn http1_is_used_where_it_is_all_there_is() {
    let origin = Secure::new(&["http/1.1"]);
    let outbound = origin.outbound(Some(origin.authority.der()));
    let response = fetch(&outbound, get(&origin.url("secure.example"))).unwrap();
    assert_eq!(response.headers()["x-version"], "HTTP/1.1");
}

#[test]
fn a_certificate_must_be_trusted_and_for_the_name() {
    let origin = Secure::new(&["http/1.1"]);
    let untrusting = origin.outbound(None);
    let error = send(&untrusting, get(&origin.url("secure.example"))).unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::TlsCertificate, "{error:?}");
    let trusting = origin.outbound(Some(origin.authority.der()));
    assert_eq!(refused(&trusting, get(&origin.url("other.example"))), HttpErrorKind::TlsCertificate);
    assert_eq!(refused(&trusting, get(&origin.url("127.0.0.1"))), HttpErrorKind::TlsCertificate);
}

#[test]
fn an_origin_without_tls_is_told_apart_from_one_with_a_bad_certificate() {
    use std::io::Write;
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in plain.incoming() {
            _ = stream.and_then(|mut stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    let origin = Secure::new(&["http/1.1"]);
    let outbound = origin.outbound(None);
    assert_eq!(refused(&outbound, get(&format!("https://{address}/"))), HttpErrorKind::TlsProtocol);
}

#[test]
fn no_protocol_in_common_is_an_alert() {
    let origin = Secure::new(&["acme-tls/1"]);
    let outbound = origin.outbound(Some(origin.authority.der()));
    assert_eq!(refused(&outbound, get(&origin.url("secure.example"))), HttpErrorKind::TlsAlert(120));
}

#[test]
fn a_body_that_breaks_off_over_http2_is_an_error() {
    let origin = Secure::new(&["h2"]);
    let outbound = origin.outbound(Some(origin.authority.der()));
    let own = HttpError::new(HttpErrorKind::RequestBodyAborted, "the guest trapped");
    let frames = [Ok(Frame::data(Bytes::from_static(b"part"))), Err(own)];
    let body = Outgoing::Stream(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync());
    let request = Request::post(origin.url("secure.example")).body(body).unwrap();
    assert_eq!(refused(&outbound, request), HttpErrorKind::RequestBodyAborted);
}

/// RFC 9113, section 8.1: only the flag END_STREAM ends a message.
#[test]
fn a_response_that_is_reset_without_an_error_is_not_whole() {
    let origin = Secure::new(&["h2"]);
    let outbound = origin.outbound(Some(origin.authority.der()));
    for (path, whole) in [("whole", Ok(b"part".to_vec())), ("cut", Err(HttpErrorKind::ConnectionReset))] {
        let uri = format!("{}{path}", origin.url("secure.example"));
        let mut response = send(&outbound, Request::post(uri).body(Outgoing::from("part")).unwrap()).unwrap();
        assert_eq!(read(response.body_mut()).map_err(|error| error.kind()), whole, "{path}");
    }
}

/// RFC 9113, section 8.7: the origin has not looked at it, so it may be sent again, whatever its method, as long as its
/// body was not spent.
#[test]
fn a_request_that_an_http2_origin_did_not_look_at_is_sent_once_more() {
    let request = |path: &str, method: &str, body: &'static str| {
        let origin = Secure::new(&["h2"]);
        let outbound = origin.outbound(Some(origin.authority.der()));
        let uri = format!("{}{path}", origin.url("secure.example"));
        let sent = Request::builder().method(method).uri(uri).body(Outgoing::from(body)).unwrap();
        let status = send(&outbound, sent).map(|response| response.status().as_u16()).map_err(|error| error.kind());
        (status, origin.asked.load(Ordering::SeqCst))
    };
    for method in ["GET", "POST"] {
        assert_eq!(request("busy", method, ""), (Ok(200), 2), "{method}");
        assert_eq!(request("closed", method, ""), (Err(HttpErrorKind::ConnectionReset), 2), "{method}");
    }
    assert_eq!(request("busy", "POST", "body"), (Err(HttpErrorKind::ConnectionReset), 1));
}
