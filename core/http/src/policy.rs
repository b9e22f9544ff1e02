//! What a guest may reach and send: built and checked up front, then only asked.

use std::net::IpAddr;

use http::HeaderName;

use crate::address::AddressClass;
use crate::error::{HttpError, HttpErrorKind};
use crate::headers;
use crate::origin::{HostName, Origin, Scheme};
use crate::pattern::{ALLOW_ALL, Pattern, PolicyError};

/// What happens when an origin answers with a redirect, for guests whose ABI leaves that to the host
/// ([`Outbound::follow`](crate::Outbound::follow)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Redirects {
    /// The guest gets the redirect itself.
    Manual,
    /// Up to this many hops are followed, each checked against the policy before it is made.
    ///
    /// 303 turns any method but HEAD into GET, 301 and 302 turn POST into GET, and the body and its headers stay
    /// behind; 307 and 308 keep both. Where a body that has to be kept cannot be sent again because it was streamed,
    /// the guest gets the redirect itself.
    Follow(u32),
}

/// Which origins a guest may reach, and how. Nothing is reachable that was not allowed.
///
/// An address that a name resolves to must be public, or the policy must say otherwise:
/// - [`allow_private_addresses`](PolicyBuilder::allow_private_addresses) lifts the check.
/// - An entry that is itself an IP address allows that address, when the guest's URL names it too.
/// - An entry `localhost`, or one below `.localhost`, allows the loopback addresses.
/// - `insecure:allow-all` names every origin, so it allows the IP addresses that a guest's URL names, and `localhost`,
///   but neither link-local addresses nor the metadata services of clouds, and no other name that resolves to an
///   address that is not public. The host that a redirect names is not chosen by the guest: it must be public, unless
///   the origin is on this machine and the redirect stays there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    allow_all: bool,
    patterns: Vec<Pattern>,
    private_addresses: bool,
    redirects: Redirects,
    forbidden_headers: Vec<HeaderName>,
}

impl Policy {
    /// The policy that allows nothing.
    pub fn deny_all() -> Policy {
        Policy::builder().build()
    }

    /// Starts from a policy that allows nothing and follows up to 10 redirects.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder {
            policy: Policy {
                allow_all: false,
                patterns: Vec::new(),
                private_addresses: false,
                redirects: Redirects::Follow(10),
                forbidden_headers: Vec::new(),
            },
        }
    }

    /// Whether a request may go to `origin`, whatever the addresses behind it.
    ///
    /// # Errors
    /// [`HttpErrorKind::Denied`], with a message that names the entry that would allow it.
    pub fn check_origin(&self, origin: &Origin) -> Result<(), HttpError> {
        if self.allow_all || self.patterns.iter().any(|pattern| pattern.matches(origin)) {
            return Ok(());
        }
        Err(HttpError::new(
            HttpErrorKind::Denied,
            format!("the policy does not allow {origin}; to permit it, add {origin} to the allowed origins"),
        ))
    }

    /// Whether a redirect may lead from an allowed origin to `to`.
    ///
    /// `insecure:allow-all` lets a guest name an address that is not public, or `localhost`, but not an origin out
    /// there: what a redirect names is held to what a name may resolve to. From this machine it may lead to this
    /// machine.
    ///
    /// # Errors
    /// [`HttpErrorKind::Denied`], [`HttpErrorKind::AddressProhibited`].
    pub(crate) fn check_redirect(&self, from: &Origin, to: &Origin) -> Result<(), HttpError> {
        self.check_origin(to)?;
        let inside = |origin: &Origin| match &origin.host {
            HostName::Ip(ip) => Some(AddressClass::of(*ip)).filter(|class| *class != AddressClass::Public),
            HostName::Name(_) => origin.host.is_localhost().then_some(AddressClass::Loopback),
        };
        let Some(class) = inside(to) else { return Ok(()) };
        let named = self.private_addresses || self.patterns.iter().any(|pattern| pattern.names(&to.host));
        let stays =
            from.host == to.host || class == AddressClass::Loopback && inside(from) == Some(AddressClass::Loopback);
        if named || stays {
            return Ok(());
        }
        Err(HttpError::new(
            HttpErrorKind::AddressProhibited,
            format!("{} is {class}; to let a redirect lead there, add it itself to the allowed origins", to.host),
        ))
    }

    /// Whether a guest may connect a socket of its own to `port` of `ip`, which it knows as `host`: a name that it
    /// looked up, or the address itself.
    ///
    /// It may connect to whatever it may send requests to, with either scheme.
    ///
    /// # Errors
    /// [`HttpErrorKind::Denied`], [`HttpErrorKind::AddressProhibited`].
    pub fn check_connection(&self, host: &str, ip: IpAddr, port: u16) -> Result<(), HttpError> {
        let host_name = HostName::read(host);
        let allowed = self.allow_all
            || [Scheme::Http, Scheme::Https].into_iter().any(|scheme| {
                let origin = Origin { scheme, host: host_name.clone(), port };
                self.patterns.iter().any(|pattern| pattern.matches(&origin))
            });
        if allowed {
            return self.check_address(host, ip);
        }
        Err(HttpError::new(
            HttpErrorKind::Denied,
            format!(
                "the policy does not allow connections to {host_name}:{port}; to permit them, add {host_name}:{port} to \
                 the allowed origins"
            ),
        ))
    }

    /// Whether a guest may look up the addresses of `host`: it may for every host that an entry names, whatever the
    /// port.
    ///
    /// # Errors
    /// [`HttpErrorKind::Denied`].
    pub fn check_lookup(&self, host: &str) -> Result<(), HttpError> {
        let host = HostName::read(host);
        if self.allow_all || self.patterns.iter().any(|pattern| pattern.names(&host)) {
            return Ok(());
        }
        Err(HttpError::new(
            HttpErrorKind::Denied,
            format!("the policy does not allow looking up {host}; to permit it, add {host} to the allowed origins"),
        ))
    }

    /// Whether a connection for `host`, the host of an allowed URL, may be made to `ip`.
    ///
    /// # Errors
    /// [`HttpErrorKind::AddressProhibited`].
    pub fn check_address(&self, host: &str, ip: IpAddr) -> Result<(), HttpError> {
        let class = AddressClass::of(ip);
        if class == AddressClass::Public || self.private_addresses {
            return Ok(());
        }
        let host = HostName::read(host);
        let allowed = match &host {
            HostName::Ip(literal) => {
                *literal == ip.to_canonical()
                    && (self.patterns.iter().any(|pattern| pattern.is_address(ip))
                        || self.allow_all && !matches!(class, AddressClass::LinkLocal | AddressClass::Metadata))
            }
            HostName::Name(_) => {
                host.is_localhost()
                    && class == AddressClass::Loopback
                    && (self.allow_all || self.patterns.iter().any(|pattern| pattern.names(&host)))
            }
        };
        if allowed {
            return Ok(());
        }
        let message = match &host {
            HostName::Ip(_) => format!("{host} is {class}; to permit it, add it itself to the allowed origins"),
            HostName::Name(_) => format!(
                "{host} resolves to {ip}, which is {class}; to permit it, allow private addresses, or add the address \
                 itself to the allowed origins and use it in the url"
            ),
        };
        Err(HttpError::new(HttpErrorKind::AddressProhibited, message))
    }

    /// Those of the addresses `found` for `host` that a connection may be made to, in their order.
    ///
    /// # Errors
    /// [`HttpErrorKind::NoAddress`] if none was found, [`HttpErrorKind::AddressProhibited`] if none is left.
    pub fn allowed_addresses(&self, host: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, HttpError> {
        let mut refused = HttpError::new(HttpErrorKind::NoAddress, format!("the name {host} has no address"));
        let mut allowed = Vec::with_capacity(found.len());
        for ip in found {
            match self.check_address(host, ip) {
                Ok(()) => allowed.push(ip),
                Err(error) => refused = error,
            }
        }
        if allowed.is_empty() { Err(refused) } else { Ok(allowed) }
    }

    /// What happens when an origin answers with a redirect.
    pub fn redirects(&self) -> Redirects {
        self.redirects
    }

    /// Whether a guest may neither send nor see a header of this name: the hop-by-hop headers and Host, which belong to
    /// the connection and not to the guest, and those the operator adds.
    pub fn forbids_header(&self, name: &HeaderName) -> bool {
        headers::is_forbidden(name) || self.forbidden_headers.contains(name)
    }
}

/// Builds a [`Policy`]; a mistake is reported where it is made.
#[derive(Debug, Clone)]
pub struct PolicyBuilder {
    policy: Policy,
}

impl PolicyBuilder {
    /// Allows what `entry` names: `[scheme://]host[:port]`, or [`ALLOW_ALL`] for every origin.
    ///
    /// - Without a scheme, both http and https.
    /// - Without a port, the default one of the URL's scheme: 80 for http, 443 for https.
    /// - `*.example.com` names every name below example.com, at any depth, and not example.com itself.
    /// - IPv6 addresses stand in brackets. Names may be international. Case and a final dot make no difference.
    ///
    /// # Errors
    /// A [`PolicyError`] that says what is wrong and where.
    pub fn allow(mut self, entry: &str) -> Result<Self, PolicyError> {
        if entry == ALLOW_ALL {
            self.policy.allow_all = true;
            return Ok(self);
        }
        let pattern = Pattern::parse(entry)?;
        if !self.policy.patterns.contains(&pattern) {
            self.policy.patterns.push(pattern);
        }
        Ok(self)
    }

    /// Whether an allowed name may resolve to an address that is not public: private, loopback, link-local and so on.
    /// Default false.
    #[must_use]
    pub fn allow_private_addresses(mut self, allowed: bool) -> Self {
        self.policy.private_addresses = allowed;
        self
    }

    /// What happens when an origin answers with a redirect. Default [`Redirects::Follow`] of 10.
    #[must_use]
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.policy.redirects = redirects;
        self
    }

    /// Forbids a header beyond those that always are: it is removed from requests and from responses.
    ///
    /// # Errors
    /// A [`PolicyError`] if `name` is not a valid header name.
    pub fn forbid_header(mut self, name: &str) -> Result<Self, PolicyError> {
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            let wrong = |c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c));
            let at = name.find(wrong).unwrap_or(0);
            PolicyError {
                what: "forbidden header",
                entry: name.to_owned(),
                span: at..name.len(),
                reason: "it is not a valid header name".into(),
                example: "for example x-internal-token".into(),
            }
        })?;
        self.policy.forbidden_headers.push(parsed);
        Ok(self)
    }

    /// The policy.
    pub fn build(self) -> Policy {
        self.policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Target;

    fn origin(url: &str) -> Origin {
        Target::parse(url).unwrap().origin().clone()
    }

    fn policy(entries: &[&str]) -> Policy {
        entries.iter().fold(Policy::builder(), |builder, entry| builder.allow(entry).unwrap()).build()
    }

    fn check(policy: &Policy, url: &str) -> Result<(), HttpErrorKind> {
        Target::parse(url).and_then(|target| policy.check_origin(target.origin())).map_err(|error| error.kind())
    }

    fn address(policy: &Policy, host: &str, ip: &str) -> bool {
        policy.check_address(host, ip.parse().unwrap()).is_ok()
    }

    #[test]
    fn nothing_is_allowed_by_default_and_the_denial_says_what_would_be() {
        let error = Policy::deny_all().check_origin(&origin("http://127.0.0.1:8080/secret?x")).unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Denied);
        let text = error.to_string();
        assert!(text.contains("add http://127.0.0.1:8080 to") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn the_entry_that_a_denial_names_allows() {
        for url in
            ["http://127.0.0.1:8080/", "https://[2001:db8::1]:1/", "http://bücher.example/", "https://a.example./"]
        {
            let origin = origin(url);
            assert_eq!(policy(&[&origin.to_string()]).check_origin(&origin).map_err(|e| e.kind()), Ok(()));
        }
    }

    #[test]
    fn allow_all_names_every_origin_over_http() {
        let policy = policy(&[ALLOW_ALL]);
        assert_eq!(check(&policy, "https://anything.example:99/"), Ok(()));
        assert_eq!(check(&policy, "ftp://anything.example/"), Err(HttpErrorKind::InvalidUrl));
    }

    #[test]
    fn a_name_does_not_lead_inside() {
        let policy = policy(&["http://rebind.example", "http://10.0.0.5", "localhost", "*.localhost"]);
        assert!(address(&policy, "rebind.example", "93.184.216.34"));
        for inside in
            ["127.0.0.1", "10.0.0.5", "169.254.169.254", "::1", "::ffff:10.0.0.5", "64:ff9b::a00:5", "0.0.0.0"]
        {
            assert!(!address(&policy, "rebind.example", inside), "{inside}");
        }
        assert!(address(&policy, "10.0.0.5", "10.0.0.5"));
        assert!(!address(&policy, "10.0.0.6", "10.0.0.6"));
        assert!(address(&policy, "localhost", "127.0.0.1"));
        assert!(address(&policy, "LOCALHOST.", "::1"));
        assert!(address(&policy, "a.localhost", "127.0.0.2"));
        assert!(!address(&policy, "localhost", "10.0.0.5"));
    }

    #[test]
    fn an_address_entry_allows_it_in_every_spelling() {
        let own = policy(&["http://127.0.0.1:8080"]);
        for spelling in ["127.0.0.1", "[::ffff:127.0.0.1]", "::ffff:7f00:1"] {
            assert!(address(&own, spelling, "127.0.0.1"), "{spelling}");
        }
        assert!(!address(&own, "localhost", "127.0.0.1"));
        assert!(!address(&policy(&["localhost"]), "127.0.0.1", "127.0.0.1"));
    }

    #[test]
    fn allow_all_reaches_named_addresses_but_no_metadata() {
        let policy = policy(&[ALLOW_ALL]);
        assert!(address(&policy, "127.0.0.1", "127.0.0.1"));
        assert!(address(&policy, "192.168.1.1", "192.168.1.1"));
        assert!(address(&policy, "localhost", "127.0.0.1"));
        assert!(!address(&policy, "169.254.169.254", "169.254.169.254"));
        assert!(!address(&policy, "[fd00:ec2::254]", "fd00:ec2::254"));
        assert!(!address(&policy, "rebind.example", "127.0.0.1"));
        assert!(!address(&policy, "rebind.example", "192.168.1.1"));
    }

    #[test]
    fn a_redirect_does_not_lead_inside_unless_an_entry_does() {
        let check = |policy: &Policy, from, to| policy.check_redirect(&origin(from), &origin(to)).is_ok();
        let all = policy(&[ALLOW_ALL]);
        for inside in
            ["http://10.0.0.1/", "http://127.0.0.1/", "http://localhost/", "http://a.localhost/", "http://[::1]/"]
        {
            assert!(!check(&all, "https://a.example/", inside), "{inside}");
            assert!(!check(&all, "http://10.0.0.2/", inside), "{inside}");
            assert!(
                check(&policy(&[ALLOW_ALL, &origin(inside).to_string()]), "https://a.example/", inside),
                "{inside}"
            );
        }
        assert!(check(&all, "https://a.example/", "http://b.example/"));
        assert!(check(&all, "http://127.0.0.1:1/", "http://localhost:2/"));
        assert!(check(&all, "http://10.0.0.1:1/", "http://10.0.0.1:2/"));
        assert!(!check(&all, "http://127.0.0.1/", "http://10.0.0.1/"));
        assert!(!check(&policy(&["a.example"]), "http://a.example/", "http://b.example/"));
    }

    #[test]
    fn sockets_reach_what_requests_reach() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let policy = policy(&["api.example", "http://127.0.0.1:8080", "localhost:5432"]);
        let check = |host, to, port| policy.check_connection(host, ip(to), port).map_err(|error| error.kind());
        assert_eq!(check("127.0.0.1", "127.0.0.1", 8080), Ok(()));
        assert_eq!(check("::ffff:127.0.0.1", "::ffff:127.0.0.1", 8080), Ok(()));
        assert_eq!(check("127.0.0.1", "127.0.0.1", 8081), Err(HttpErrorKind::Denied));
        assert_eq!(check("api.example", "93.184.216.34", 80), Ok(()));
        assert_eq!(check("api.example", "93.184.216.34", 443), Ok(()));
        assert_eq!(check("api.example", "93.184.216.34", 22), Err(HttpErrorKind::Denied));
        assert_eq!(check("api.example", "10.0.0.1", 80), Err(HttpErrorKind::AddressProhibited));
        assert_eq!(check("localhost", "127.0.0.1", 5432), Ok(()));
        assert_eq!(check("127.0.0.1", "127.0.0.1", 5432), Err(HttpErrorKind::Denied));
        assert!(policy.check_lookup("API.example.").is_ok() && policy.check_lookup("localhost").is_ok());
        assert!(policy.check_lookup("other.example").is_err());
        assert!(Policy::deny_all().check_connection("127.0.0.1", ip("127.0.0.1"), 80).is_err());
    }

    #[test]
    fn private_addresses_can_be_allowed() {
        let policy = Policy::builder().allow("db.internal").unwrap().allow_private_addresses(true).build();
        assert!(address(&policy, "db.internal", "10.1.2.3"));
    }

    #[test]
    fn forbidden_headers_can_be_added() {
        let policy = Policy::builder().forbid_header("X-Internal").unwrap().build();
        assert!(policy.forbids_header(&HeaderName::from_static("x-internal")));
        assert!(policy.forbids_header(&http::header::HOST));
        assert!(!policy.forbids_header(&http::header::ACCEPT));
        let error = Policy::builder().forbid_header("x y").unwrap_err();
        assert_eq!(error.span, 1..3);
        assert!(Policy::builder().forbid_header("").is_err());
    }

    #[test]
    fn only_allowed_addresses_are_left() {
        let policy = policy(&["mixed.example"]);
        let ips = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let left = |found| policy.allowed_addresses("mixed.example", ips(found)).map_err(|error| error.kind());
        assert_eq!(left(&["10.0.0.1", "93.184.216.34", "::1"]), Ok(ips(&["93.184.216.34"])));
        assert_eq!(left(&["10.0.0.1"]), Err(HttpErrorKind::AddressProhibited));
        assert_eq!(left(&[]), Err(HttpErrorKind::NoAddress));
    }
}
