//! Names are resolved once, the addresses checked, and only those connected to.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::*;
use async_trait::async_trait;
use wharf_http::{HttpError, HttpErrorKind, Limits, Outbound, Policy, PolicyBuilder, Resolver, Target};

/// Gives a prepared answer to each question, the last one again and again.
struct Script {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Script {
    fn new(answers: &[&[&str]]) -> Arc<Script> {
        let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Script { answers: Mutex::new(answers.iter().map(parse).collect()), asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Resolver for Script {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, HttpError> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let answers = self.answers.lock().unwrap();
        Ok(answers[asked.min(answers.len() - 1)].clone())
    }
}

fn outbound(policy: PolicyBuilder, resolver: Arc<dyn Resolver>, limits: Limits) -> Outbound {
    outbound_of(policy, limits, |sends| sends.resolver(resolver))
}

fn named(origin: &Origin) -> (String, PolicyBuilder) {
    let url = format!("http://rebind.example:{}", origin.address.port());
    let policy = Policy::builder().allow(&url).unwrap();
    (url, policy)
}

#[test]
fn a_name_that_leads_inside_is_refused_without_a_connection() {
    let origin = Origin::answering(answer("200 OK", "", "secret"));
    for ip in ["127.0.0.1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "::1"] {
        let script = Script::new(&[&[ip]]);
        let (url, policy) = named(&origin);
        let outbound = outbound(policy, script.clone(), Limits::default());
        let error = send(&outbound, get(&url)).unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::AddressProhibited, "{ip}");
        assert!(error.to_string().contains("rebind.example resolves to"), "{error}");
        assert_eq!(script.asked.load(Ordering::SeqCst), 1);
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_name_is_asked_for_once_and_the_connection_made_to_that_answer() {
    let origin = Origin::answering(answer("200 OK", "", "x"));
    // A second question would be answered with an address where nobody listens.
    let script = Script::new(&[&["127.0.0.1"], &["127.0.0.99"]]);
    let (url, policy) = named(&origin);
    let outbound = outbound(policy.allow_private_addresses(true), script.clone(), Limits::default());
    for _ in 0..3 {
        assert_eq!(fetch(&outbound, get(&url)).unwrap().body(), "x");
    }
    assert_eq!((script.asked.load(Ordering::SeqCst), origin.connections()), (1, 1));
    assert!(origin.requests()[0].contains(&format!("host: rebind.example:{}", origin.address.port())));
}

#[test]
fn a_later_answer_that_leads_inside_is_checked_too() {
    let closing = Origin::new(|_, stream| {
        use std::io::Write;
        _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        Then::Close
    });
    let port = closing.address.port();
    // `localhost` may lead to this machine, and nowhere else inside.
    let script = Script::new(&[&["127.0.0.1"], &["10.0.0.1"]]);
    let policy = Policy::builder().allow(&format!("http://localhost:{port}")).unwrap();
    let outbound = outbound(policy, script, Limits::default());
    let url = format!("http://localhost:{port}/");
    assert!(fetch(&outbound, get(&url)).is_ok());
    assert_eq!(refused(&outbound, get(&url)), HttpErrorKind::AddressProhibited);
}

#[test]
fn prohibited_addresses_among_others_are_not_tried() {
    let origin = Origin::answering(answer("200 OK", "", "secret"));
    let (url, policy) = named(&origin);
    let script = Script::new(&[&["127.0.0.1", "240.0.0.1", "192.0.2.1"]]);
    assert_eq!(refused(&outbound(policy, script, Limits::default()), get(&url)), HttpErrorKind::AddressProhibited);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn an_address_in_the_url_is_checked_though_no_resolver_sees_it() {
    let script = Script::new(&[&[]]);
    let policy = Policy::builder().allow("insecure:allow-all").unwrap();
    let outbound = outbound(policy, script.clone(), Limits::default());
    for url in
        ["http://169.254.169.254/", "http://[::ffff:a9fe:a9fe]/", "http://2852039166/", "http://[fd00:ec2::254]/"]
    {
        assert_eq!(refused(&outbound, get(url)), HttpErrorKind::AddressProhibited, "{url}");
    }
    assert_eq!(script.asked.load(Ordering::SeqCst), 0);
}

#[test]
fn a_redirect_to_a_name_that_leads_inside_is_refused() {
    let inside = Origin::answering(answer("200 OK", "", "secret"));
    let (target, _) = named(&inside);
    let origin = Origin::answering(answer("302 Found", &format!("location: {target}/\r\n"), ""));
    let policy = allowing(&[&origin]).allow(&target).unwrap();
    let outbound = outbound(policy, Script::new(&[&["127.0.0.1"]]), Limits::default());
    let error = follow(&outbound, get(&origin.url("/"))).unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::AddressProhibited);
    assert_eq!(inside.connections(), 0);
}

#[test]
fn names_without_an_address_and_slow_resolvers_have_errors_of_their_own() {
    struct Fails(HttpErrorKind);
    #[async_trait]
    impl Resolver for Fails {
        async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, HttpError> {
            if self.0 == HttpErrorKind::DnsTimeout {
                std::future::pending::<()>().await;
            }
            Err(HttpError::new(self.0, format!("the name {name} failed")))
        }
    }
    let outbound = |resolver: Arc<dyn Resolver>, limits: Limits| {
        outbound(Policy::builder().allow("name.example").unwrap(), resolver, limits)
    };
    let url = "http://name.example/";
    assert_eq!(refused(&outbound(Script::new(&[&[]]), Limits::default()), get(url)), HttpErrorKind::NoAddress);
    for kind in [HttpErrorKind::DnsFailed, HttpErrorKind::DnsNotFound] {
        assert_eq!(refused(&outbound(Arc::new(Fails(kind)), Limits::default()), get(url)), kind);
    }
    let hasty = Limits { connect_timeout: Duration::from_millis(200), ..Limits::default() };
    let slow = HttpErrorKind::DnsTimeout;
    assert_eq!(refused(&outbound(Arc::new(Fails(slow)), hasty), get(url)), slow);
}

#[test]
fn an_outbound_tells_what_it_denies_and_who_looks_names_up() {
    let resolver: Arc<dyn Resolver> = Script::new(&[&["93.184.216.34"]]);
    let outbound = outbound(Policy::builder().allow("http://a.example").unwrap(), resolver.clone(), Limits::default());
    let checked = |url: &str| outbound.check(&Target::of(&url.parse().unwrap()).unwrap()).map_err(|error| error.kind());
    assert_eq!(checked("http://a.example/path"), Ok(()));
    for denied in ["http://b.example/", "https://a.example/", "http://a.example:81/"] {
        assert_eq!(checked(denied), Err(HttpErrorKind::Denied), "{denied}");
    }
    assert!(outbound.transport().resolver().is_some_and(|own| Arc::ptr_eq(own, &resolver)));
}

#[test]
fn more_is_kept_of_header_fields_than_is_sent() {
    for (sent, kept) in [(0, 16 << 10), (8 << 10, 16 << 10), (9 << 10, 18 << 10), (u64::MAX, u64::MAX)] {
        assert_eq!(Limits { header_bytes: sent, ..Limits::default() }.kept_header_bytes(), kept);
    }
}
