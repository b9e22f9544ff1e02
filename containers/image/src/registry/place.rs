//! Where a registry is, and where it may send its clients.

use std::net::IpAddr;

use url::{Host, Url};
use wharf_http::{ALLOW_ALL, AddressClass, Limits, Outbound, Policy, Resolver, SystemResolver};

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
    /// Whether HTTP without TLS will do.
    plain: bool,
}

impl Place {
    pub(super) fn of(options: &ClientOptions, reference: &Reference) -> Result<Self, ImageError> {
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
        let plain = options.plain_http || base.host().is_some_and(|host| is_here(&host));
        if plain {
            base = parsed("http").map_err(|_| wrong("its registry is not a valid host"))?;
        }
        let origin = base.origin().ascii_serialization();
        let policy = Policy::builder().allow_private_addresses(true).allow(&origin);
        let policy = policy.map_err(|_| wrong("its registry is not a valid host"))?.build();
        Ok(Place { base, here: outbound(policy)?, others: None, plain })
    }

    /// What sends to `url`, which the registry has named, or why it is not asked.
    pub(super) async fn outbound(&mut self, url: &Url) -> Result<Outbound, ImageError> {
        if self.is_here(url) {
            return Ok(self.here.clone());
        }
        self.check(url)?;
        if let Some(others) = &self.others {
            return Ok(others.clone());
        }
        let policy = Policy::builder().allow_private_addresses(self.is_private().await).allow(ALLOW_ALL);
        let policy = policy.map_err(|error| self.elsewhere(url, error.to_string()))?.build();
        Ok(self.others.insert(outbound(policy)?).clone())
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
            "http" if self.plain => {}
            "http" => return refused("it is without TLS"),
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

    /// Whether the registry is on a private network, and so may name others that are.
    async fn is_private(&self) -> bool {
        match self.base.host() {
            Some(Host::Domain(name)) if !is_here(&Host::Domain(name)) => {
                let name = name.to_owned();
                // The resolver of the system needs the threads of its own runtime.
                let found = wharf_http::io().spawn(async move { SystemResolver::default().resolve(&name).await });
                let found = found.await.ok().and_then(Result::ok).unwrap_or_default();
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
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
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

fn outbound(policy: Policy) -> Result<Outbound, ImageError> {
    let limits = Limits { request_body_bytes: u64::MAX, ..Limits::default() };
    Outbound::with_defaults(policy, limits).map_err(|source| ImageError::Tls { source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(registry: &str, plain_http: bool) -> Place {
        let options = ClientOptions { plain_http, ..ClientOptions::default() };
        Place::of(&options, &format!("{registry}/app").parse().unwrap()).unwrap()
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
        assert!(leads("localhost:5000", "http://127.0.0.1:9000/"));
    }
}
