//! What a transport owes its policy holds whatever a client was told.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use reqwest::{ClientBuilder, Proxy, redirect};
use wharf_http::{HttpError, HttpErrorKind, Limits, Outbound, Outgoing, Policy, PolicyBuilder, Resolver};
use wharf_http_reqwest::{ReqwestBuildError, ReqwestBuilder, ReqwestTransport};

use crate::support::*;

fn vouched(client: ClientBuilder, policy: PolicyBuilder) -> Outbound {
    made(policy, |policy| ReqwestTransport::vouched(client, policy))
}

fn made(policy: PolicyBuilder, builder: impl FnOnce(Arc<Policy>) -> ReqwestBuilder) -> Outbound {
    Outbound::new(policy.build(), Limits::default(), |policy, _| {
        builder(policy).build().map(|transport| Arc::new(transport) as _)
    })
    .unwrap()
}

/// An address that a client has for a name passes by the resolver, and is held to the policy all the same.
#[test]
fn an_address_that_the_client_has_for_a_name_is_checked() {
    let origin = Origin::answering(answer("200 OK", "", "secret"));
    let url = format!("http://inside.example:{}", origin.address.port());
    let client = || ClientBuilder::new().resolve("inside.example", origin.address);
    let policy = || Policy::builder().allow(&url).unwrap();
    assert_eq!(refused(&vouched(client(), policy()), get(&url)), HttpErrorKind::AddressProhibited);
    assert!(origin.requests().is_empty());
    let allowed = vouched(client(), policy().allow_private_addresses(true));
    assert_eq!(fetch(&allowed, get(&url)).unwrap().body(), "secret");
}

#[test]
fn a_socket_that_the_client_sends_everything_to_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let outbound =
        vouched(ClientBuilder::new().unix_socket(path), Policy::builder().allow("http://a.example").unwrap());
    assert_eq!(refused(&outbound, get("http://a.example/")), HttpErrorKind::AddressProhibited);
}

/// The transport itself refuses: who calls it may have allowed the origin.
#[test]
fn an_address_in_a_url_is_refused_without_a_connection() {
    let origin = Origin::answering(answer("200 OK", "", "secret"));
    let outbound = made(allowing(&[&origin]), |_| ReqwestTransport::builder(Arc::new(Policy::deny_all())));
    assert_eq!(refused(&outbound, get(&origin.url("/"))), HttpErrorKind::AddressProhibited);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_proxy_of_the_client_is_not_used() {
    let proxy = Origin::answering(answer("200 OK", "", "proxy"));
    let origin = Origin::answering(answer("200 OK", "", "origin"));
    let client = ClientBuilder::new().proxy(Proxy::all(proxy.url("")).unwrap());
    let outbound = vouched(client, allowing(&[&origin]));
    assert_eq!(fetch(&outbound, get(&origin.url("/"))).unwrap().body(), "origin");
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn a_redirect_is_not_followed_by_the_client() {
    let other = Origin::answering(answer("200 OK", "", "other"));
    let origin = Origin::answering(answer("302 Found", &format!("location: {}\r\n", other.url("/")), ""));
    let client = ClientBuilder::new().redirect(redirect::Policy::limited(10));
    let response = fetch(&vouched(client, allowing(&[&origin])), get(&origin.url("/"))).unwrap();
    assert_eq!(response.status(), 302);
    assert_eq!(other.connections(), 0);
}

#[test]
fn what_the_embedder_vouches_for_is_sent() {
    let origin = Origin::answering(answer("200 OK", "", ""));
    let client = ClientBuilder::new().user_agent("mine");
    fetch(&vouched(client, allowing(&[&origin])), get(&origin.url("/"))).unwrap();
    assert!(origin.requests()[0].to_ascii_lowercase().contains("user-agent: mine\r\n"), "{:?}", origin.requests());
}

#[test]
fn what_the_client_itself_refuses_has_a_kind() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let policy = || Policy::builder().allow(&url).unwrap();
    let hasty = ClientBuilder::new().timeout(Duration::from_millis(50));
    assert_eq!(refused(&vouched(hasty, policy()), get(&url)), HttpErrorKind::FirstByteTimeout);
    let secure = ClientBuilder::new().https_only(true);
    assert_eq!(refused(&vouched(secure, policy()), get(&url)), HttpErrorKind::InvalidRequest);
    let bad = ReqwestTransport::vouched(ClientBuilder::new().user_agent("\n"), Arc::new(Policy::deny_all()));
    assert!(matches!(bad.build(), Err(ReqwestBuildError::Client(_))));
    let bad = ReqwestTransport::builder(Arc::new(Policy::deny_all())).root_certificate(b"no certificate").unwrap();
    assert!(matches!(bad.build(), Err(ReqwestBuildError::Tls(_))));
}

/// Never answers.
struct Silent;

#[async_trait]
impl Resolver for Silent {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, HttpError> {
        std::future::pending().await
    }
}

/// A client has one connect timeout, and each request its own.
#[test]
fn each_request_has_a_connect_timeout_of_its_own() {
    let policy = Policy::builder().allow("http://a.example").unwrap();
    let outbound = made(policy, |policy| ReqwestTransport::builder(policy).resolver(Arc::new(Silent)));
    for limit in [Duration::from_millis(20), Duration::from_millis(60)] {
        let mut timeouts = outbound.limits().timeouts();
        timeouts.connect = limit;
        let began = Instant::now();
        let error = wait(outbound.send_with(get("http://a.example/"), timeouts)).unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::DnsTimeout);
        assert!(began.elapsed() >= limit);
    }
}

fn posting(url: &str, announced: Option<&'static str>) -> Request<Outgoing> {
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("7"))]);
    let frames = [Ok(Frame::data(Bytes::from_static(b"body"))), Ok(Frame::trailers(trailers))];
    let body = Outgoing::Stream(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync());
    let request = Request::post(url);
    match announced {
        Some(names) => request.header("trailer", names),
        None => request,
    }
    .body(body)
    .unwrap()
}

#[test]
fn trailers_that_would_be_lost_are_refused() {
    let origin = Origin::answering(answer("200 OK", "", ""));
    let outbound = outbound(allowing(&[&origin]));
    assert_eq!(refused(&outbound, posting(&origin.url("/"), None)), HttpErrorKind::InvalidRequest);
    assert_eq!(refused(&outbound, posting(&origin.url("/"), Some("x-other"))), HttpErrorKind::InvalidRequest);
    assert!(origin.requests().is_empty());
}

#[test]
fn an_origin_that_the_system_cannot_resolve_is_looked_up_by_the_given_resolver() {
    struct Here(SocketAddr);
    #[async_trait]
    impl Resolver for Here {
        async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, HttpError> {
            Ok(vec![self.0.ip()])
        }
    }
    let origin = Origin::answering(answer("200 OK", "", "x"));
    let url = format!("http://a.invalid:{}", origin.address.port());
    let policy = Policy::builder().allow(&url).unwrap().allow_private_addresses(true);
    let resolver: Arc<dyn Resolver> = Arc::new(Here(origin.address));
    let outbound = made(policy, |policy| ReqwestTransport::builder(policy).resolver(resolver.clone()));
    assert_eq!(fetch(&outbound, get(&url)).unwrap().body(), "x");
    assert!(outbound.transport().resolver().is_some_and(|own| Arc::ptr_eq(own, &resolver)));
}
