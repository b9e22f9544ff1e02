//! Where a registry is, and where it may send its clients.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use url::{Host, Url};
use wharf_http::{
    ALLOW_ALL, AddressClass, Limits, Outbound, Policy, PooledTransport, Resolver, SystemResolver, TlsConfigError,
};

use super::names::{Names, is_local};

use crate::credentials::is_docker_hub;
use crate::error::ImageError;
use crate::reference::Reference;
use crate::registry::ClientOptions;

/// The host that has docker's own registry.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// One registry, and the connections to it.
pub(super) struct Place {
    /// The root of the registry's API for the repository: `https://example.com/v2/team/app/`.
    pub(super) base: Url,
    pub(super) here: Outbound,
    /// What sends to others, once one is named.
    others: Option<Outbound>,
    names: Arc<Names>,
    /// Whether HTTP without TLS will do elsewhere than on this machine.
    plain: bool,
    /// The longest pause of a body.
    pause: Duration,
}

impl Place {
    pub(super) fn of(options: &ClientOptions, reference: &Reference) -> Result<Self, ImageError> {
        Place::with(options, reference, Arc::new(SystemResolver::default()))
    }

    fn with(options: &ClientOptions, reference: &Reference, resolver: Arc<dyn Resolver>) -> Result<Self, ImageError> {
        let (host, repository) = match reference.registry() {
            registry if is_docker_hub(registry) => {
                let whole = reference.repository().contains('/');
                (DOCKER_HUB, format!("{}{}", if whole { "" } else { "library/" }, reference.repository()))
            }
            registry => (registry, reference.repository().to_owned()),
        };
        let wrong = |reason| ImageError::Reference { text: reference.to_string(), reason };
        let parsed = |scheme: &str| Url::parse(&format!("{scheme}://{host}/v2/{repository}/"));
        let mut base = parsed("https").map_err(|_| wrong("its registry is not a valid host"))?;
        let plain = options.plain_http;
        if plain || base.host().is_some_and(|host| is_here(&host)) {
            base = parsed("http").map_err(|_| wrong("its registry is not a valid host"))?;
        }
        let origin = base.origin().ascii_serialization();
        let policy = Policy::builder().allow_private_addresses(true).allow(&origin);
        let policy = policy.map_err(|_| wrong("its registry is not a valid host"))?.build();
        let (names, pause) = (Arc::new(Names::new(resolver)), options.pause);
        let here = outbound(policy, &names, pause)?;
        Ok(Place { base, here, others: None, names, plain, pause })
    }

    /// What sends to `url`, which the registry has named, or why it is not asked.
    pub(super) fn outbound(&mut self, url: &Url) -> Result<Outbound, ImageError> {
        if self.is_here(url) {
            return Ok(self.here.clone());
        }
        self.check(url)?;
        if let Some(others) = &self.others {
            return Ok(others.clone());
        }
        let policy = Policy::builder().allow_private_addresses(self.is_private()).allow(ALLOW_ALL);
        let policy = policy.map_err(|error| self.elsewhere(url, error.to_string()))?.build();
        Ok(self.others.insert(outbound(policy, &self.names, self.pause)?).clone())
    }

    /// Whether this is the registry itself, which gets our credentials.
    pub(super) fn is_here(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Refuses what no registry has a reason to name.
    fn check(&self, url: &Url) -> Result<(), ImageError> {
        let refused = |reason: &str| Err(self.elsewhere(url, reason));
        match url.scheme() {
            "https" => {}
            "http" if self.plain || url.host().is_some_and(|host| is_here(&host)) => {}
            "http" => return refused("it is without TLS, which --plain-http would allow"),
            _ => return refused("its scheme is neither http nor https"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refused("it has a user name or password");
        }
        let literal = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(Host::Domain(_)) => None,
            None => return refused("it has no host"),
        };
        let ours = self.base.host().is_some_and(|host| is_here(&host) || is_private(&host));
        if let Some(class) = literal.map(AddressClass::of).filter(|class| *class != AddressClass::Public) {
            if matches!(class, AddressClass::LinkLocal | AddressClass::Metadata) || !ours {
                return refused(&format!("it is {class}"));
            }
        } else if url.host().is_some_and(|host| is_here(&host)) && !ours {
            return refused("it is this machine");
        }
        Ok(())
    }

    /// Whether the registry is on a private network, and so may name others that are. It has been asked: where it is, is known.
    fn is_private(&self) -> bool {
        match self.base.host() {
            Some(Host::Domain(name)) if !is_local(name) => {
                let found = self.names.known(name).unwrap_or_default();
                !found.is_empty() && found.iter().all(|ip| AddressClass::of(*ip) != AddressClass::Public)
            }
            Some(host) => is_here(&host) || is_private(&host),
            None => false,
        }
    }

    /// That the registry names `url`, and why it is not asked.
    pub(super) fn elsewhere(&self, url: &Url, reason: impl Into<String>) -> ImageError {
        let registry = self.base.authority().to_owned();
        ImageError::Elsewhere { registry, url: shown(url), reason: reason.into() }
    }
}

/// The URL as messages have it: what a registry adds to it may be secret, and long.
pub(super) fn shown(url: &Url) -> String {
    let (origin, path) = (url.origin().ascii_serialization(), url.path());
    let end = path.char_indices().nth(200).map_or(path.len(), |(at, _)| at);
    format!("{origin}{}", &path[..end])
}

fn is_here(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => is_local(name),
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

fn is_private(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(_) => false,
        Host::Ipv4(ip) => AddressClass::of(IpAddr::V4(*ip)) != AddressClass::Public,
        Host::Ipv6(ip) => AddressClass::of(IpAddr::V6(*ip)) != AddressClass::Public,
    }
}

fn outbound(policy: Policy, names: &Arc<Names>, pause: Duration) -> Result<Outbound, ImageError> {
    // How long a response may take to begin is said with each request.
    let limits = Limits {
        request_body_bytes: u64::MAX,
        first_byte_timeout: Duration::MAX,
        between_bytes_timeout: pause,
        ..Limits::default()
    };
    let outbound = Outbound::new(policy, limits, |policy, _| -> Result<_, TlsConfigError> {
        Ok(Arc::new(PooledTransport::builder(policy).resolver(names.clone()).build()?))
    });
    outbound.map_err(|source| ImageError::Tls { source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use wharf_http::{HttpError, HttpErrorKind, Outgoing};

    use super::*;

    /// Finds the first of these addresses for the first one that asks, and so on.
    struct Turns(Mutex<Vec<&'static str>>);

    #[async_trait]
    impl Resolver for Turns {
        async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, HttpError> {
            let none = || HttpError::new(HttpErrorKind::DnsNotFound, format!("{name} was asked for again"));
            self.0.lock().unwrap().pop().map(|ip| vec![ip.parse().unwrap()]).ok_or_else(none)
        }
    }

    fn place_at(registry: &str, plain_http: bool, mut turns: Vec<&'static str>) -> Place {
        turns.reverse();
        let options = ClientOptions { plain_http, ..ClientOptions::default() };
        let reference = format!("{registry}/app").parse().unwrap();
        Place::with(&options, &reference, Arc::new(Turns(Mutex::new(turns)))).unwrap()
    }

    fn place(registry: &str, plain_http: bool) -> Place {
        place_at(registry, plain_http, Vec::new())
    }

    fn sent(place: &mut Place, url: &str) -> Result<u16, String> {
        let outbound = place.outbound(&url.parse().unwrap()).map_err(|error| error.to_string())?;
        let request = http::Request::builder().uri(url).body(Outgoing::empty()).unwrap();
        let answer = futures_executor::block_on(outbound.send(request));
        answer.map(|answer| answer.status().as_u16()).map_err(|error| format!("{:?}", error.kind()))
    }

    /// What answers one request after another with 200, on this machine.
    fn answering() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _read = stream.read(&mut [0; 4096]);
                let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        port
    }

    #[test]
    fn a_name_is_looked_up_once() {
        let port = answering();
        let (registry, other) = (format!("registry.test:{port}"), format!("http://other.test:{port}/"));
        let here = format!("http://{registry}/v2/");
        // Whoever answers for the registry's name would say something else the second time: it is not asked.
        let mut private = place_at(&registry, true, vec!["127.0.0.1", "127.0.0.1", "203.0.114.1"]);
        for _ in 0..2 {
            assert_eq!(sent(&mut private, &here), Ok(200));
            assert_eq!(sent(&mut private, &other), Ok(200));
        }
        // A registry on the Internet may not lead to a private address, by whatever name.
        let mut public = place_at(&registry, true, vec!["203.0.114.1", "127.0.0.1"]);
        assert!(futures_executor::block_on(public.names.resolve("registry.test")).is_ok());
        assert_eq!(sent(&mut public, &other), Err("AddressProhibited".to_owned()));
    }

    #[test]
    fn no_name_leads_to_what_gives_credentials_or_away_from_this_machine() {
        for ip in ["169.254.169.254", "169.254.1.1", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254"] {
            let mut own = place_at("registry.test", true, vec![ip]);
            assert_eq!(sent(&mut own, "http://registry.test/v2/"), Err("AddressProhibited".to_owned()), "{ip}");
            let mut other = place_at("10.0.0.2", true, vec![ip]);
            assert_eq!(sent(&mut other, "http://other.test/"), Err("AddressProhibited".to_owned()), "{ip}");
        }
        let port = answering();
        for (ip, answer) in [("127.0.0.1", Ok(200)), ("203.0.114.1", Err("AddressProhibited".to_owned()))] {
            let mut local = place_at(&format!("x.localhost:{port}"), false, vec![ip]);
            assert_eq!(sent(&mut local, &format!("http://x.localhost:{port}/v2/")), answer, "{ip}");
        }
    }

    #[test]
    fn tls_is_asked_of_whom_is_not_here() {
        for (registry, base) in [
            ("example.com", "https://example.com/v2/app/"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/v2/app/"),
            ("localhost.example.com", "https://localhost.example.com/v2/app/"),
            ("localhost:5000", "http://localhost:5000/v2/app/"),
            ("127.0.0.1", "http://127.0.0.1/v2/app/"),
            ("[::1]:80", "http://[::1]/v2/app/"),
            ("docker.io", "https://registry-1.docker.io/v2/library/app/"),
        ] {
            assert_eq!(place(registry, false).base.as_str(), base);
        }
        assert_eq!(place("example.com", true).base.as_str(), "http://example.com/v2/app/");
    }

    #[test]
    fn where_a_registry_may_lead() {
        let (inside, outside) = (
            ["https://10.0.0.1/", "https://127.0.0.1/", "https://[::1]/", "https://localhost/", "https://[fd00::1]/"],
            ["https://example.org/", "https://203.0.114.1/x?y"],
        );
        let never = [
            "http://example.org/",
            "https://user@example.org/",
            "https://:secret@example.org/",
            "file:///etc/passwd",
            "https://169.254.169.254/",
            "https://[fe80::1]/",
        ];
        let leads = |registry: &str, url: &str| place(registry, false).check(&url.parse().unwrap()).is_ok();
        for registry in ["example.com", "10.0.0.2"] {
            assert!(outside.iter().all(|url| leads(registry, url)), "{registry}");
            assert!(!never.iter().any(|url| leads(registry, url)), "{registry}");
        }
        assert!(inside.iter().all(|url| leads("10.0.0.2", url)));
        assert!(!inside.iter().any(|url| leads("example.com", url)));
        // Without TLS only to this machine, whoever leads there, unless that was asked for.
        for registry in ["localhost:5000", "x.localhost", "127.0.0.1"] {
            assert!(leads(registry, "http://127.0.0.1:9000/") && leads(registry, "http://x.localhost/"), "{registry}");
            assert!(!leads(registry, "http://example.org/") && !leads(registry, "http://10.0.0.1/"), "{registry}");
            assert!(!leads(registry, "http://localhost.example.org/"), "{registry}");
        }
        assert!(place("example.com", true).check(&"http://example.org/".parse().unwrap()).is_ok());
    }
}
