//! What a guest may do with sockets.

use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use wharf_http::{Limits, Outbound, Policy, Resolver, SystemResolver};

use crate::error::GrantError;

/// What a guest may do with sockets. The default grants nothing: no listening, no connecting, no look-up.
///
/// Listeners are opened by the embedder. A clone shares them, so that one configuration serves many guests.
#[derive(Clone)]
pub struct Network {
    granted: GrantedNetwork,
    /// Whether the embedder brought the resolver.
    own_resolver: bool,
}

/// What a [`Network`] grants, for a host.
#[derive(Clone)]
#[non_exhaustive]
pub struct GrantedNetwork {
    /// Which origins and addresses may be reached, and which names looked up.
    pub policy: Arc<Policy>,
    /// What looks names up.
    pub resolver: Arc<dyn Resolver>,
    /// How long a look-up, and connecting a socket that waits, may take.
    pub connect_timeout: Duration,
    /// Where the guest may listen.
    pub listen: Vec<Listen>,
    /// Listeners that are open when the guest starts; none of them blocks.
    pub listeners: Vec<Arc<OwnedFd>>,
    /// How many sockets may be open at once.
    pub max_sockets: usize,
    /// How many bytes the operating system may be asked to buffer for a socket, each way.
    pub max_socket_buffer: usize,
}

impl Default for Network {
    fn default() -> Self {
        let granted = GrantedNetwork {
            policy: Arc::new(Policy::deny_all()),
            resolver: Arc::new(SystemResolver::default()),
            connect_timeout: Limits::default().connect_timeout,
            listen: Vec::new(),
            listeners: Vec::new(),
            max_sockets: 4096,
            max_socket_buffer: 1 << 20,
        };
        Network { granted, own_resolver: false }
    }
}

impl Network {
    /// Grants nothing; the same as the default.
    pub fn new() -> Self {
        Network::default()
    }

    /// What it grants.
    pub fn granted(&self) -> &GrantedNetwork {
        &self.granted
    }

    /// Lets the guest connect to what `outbound` lets it send requests to: by the same policy, looked up by the same
    /// resolver, within the same connect timeout.
    pub fn sharing(outbound: &Outbound) -> Self {
        let network =
            Network::new().connect(outbound.policy().clone()).connect_timeout(outbound.limits().connect_timeout);
        match outbound.transport().resolver() {
            Some(resolver) => network.resolver(resolver.clone()),
            None => network,
        }
    }

    /// Lets the guest connect to what `policy` lets it send requests to, and look up the names in it. See
    /// [`Policy::check_connection`].
    pub fn connect(mut self, policy: Arc<Policy>) -> Self {
        self.granted.policy = policy;
        self
    }

    /// Sets what looks names up, instead of the operating system.
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        (self.granted.resolver, self.own_resolver) = (resolver, true);
        self
    }

    /// Sets how long a look-up, and connecting a socket that waits, may take. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.granted.connect_timeout = timeout;
        self
    }

    /// Lets the guest bind a socket to what `listen` names.
    pub fn allow_listen(mut self, listen: Listen) -> Self {
        self.granted.listen.push(listen);
        self
    }

    /// Hands the guest a listener that is open already, at the lowest free descriptor: the first one given is 3, before
    /// any directory.
    ///
    /// # Errors
    /// [`GrantError::Listener`] if the operating system cannot make it non-blocking.
    pub fn listener(mut self, listener: TcpListener) -> Result<Self, GrantError> {
        listener.set_nonblocking(true).map_err(GrantError::Listener)?;
        self.granted.listeners.push(Arc::new(listener.into()));
        Ok(self)
    }

    /// Sets how many sockets the guest may have open at once. Default 4096; listeners that were handed over count, and
    /// are there in any case.
    pub fn max_sockets(mut self, limit: usize) -> Self {
        self.granted.max_sockets = limit;
        self
    }

    /// Whether both let a guest do the same, by the same means.
    pub(crate) fn grants_the_same(&self, other: &Network) -> bool {
        let (own, others) = (&self.granted, &other.granted);
        // Configurations that are made for a request each have policies of their own, which may say the same.
        let same_policy = Arc::ptr_eq(&own.policy, &others.policy) || own.policy == others.policy;
        let both_ask_the_system = !self.own_resolver && !other.own_resolver;
        same_policy
            && (both_ask_the_system || std::ptr::addr_eq(Arc::as_ptr(&own.resolver), Arc::as_ptr(&others.resolver)))
            && own.connect_timeout == others.connect_timeout
            && own.listen == others.listen
            && own.listeners.len() == others.listeners.len()
            && own.listeners.iter().zip(&others.listeners).all(|(own, other)| Arc::ptr_eq(own, other))
            && own.max_sockets == others.max_sockets
            && own.max_socket_buffer == others.max_socket_buffer
    }

    /// Sets how many bytes the operating system may be asked to buffer for a socket, each way. Default 1 MiB.
    pub fn max_socket_buffer(mut self, bytes: usize) -> Self {
        self.granted.max_socket_buffer = bytes;
        self
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("policy", &self.granted.policy)
            .field("listen", &self.granted.listen)
            .field("listeners", &self.granted.listeners.len())
            .field("max_sockets", &self.granted.max_sockets)
            .field("max_socket_buffer", &self.granted.max_socket_buffer)
            .finish_non_exhaustive()
    }
}

/// Where a guest may listen: `ADDR:PORT`, or `PORT` for that port of every address. Port 0 lets the operating system
/// choose one, and `0.0.0.0` and `[::]` stand for every address of their kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    ip: Option<IpAddr>,
    port: u16,
}

impl FromStr for Listen {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        if let Ok(port) = text.parse() {
            return Ok(Listen { ip: None, port });
        }
        match text.parse::<SocketAddr>() {
            Ok(address) => Ok(Listen { ip: Some(address.ip()), port: address.port() }),
            Err(source) => Err(GrantError::Listen { text: text.to_owned(), source }),
        }
    }
}

impl Listen {
    /// Whether a guest may listen on this address.
    pub fn allows(&self, address: SocketAddr) -> bool {
        let ip = match self.ip {
            None => true,
            Some(IpAddr::V4(own)) if own.is_unspecified() => address.ip().to_canonical().is_ipv4(),
            Some(IpAddr::V6(own)) if own.is_unspecified() => true,
            Some(own) => own.to_canonical() == address.ip().to_canonical(),
        };
        ip && self.port == address.port()
    }
}

#[cfg(test)]
mod tests {
    use wharf_http::{PooledTransport, TlsConfigError};

    use super::*;

    fn allows(entry: &str, address: &str) -> bool {
        entry.parse::<Listen>().unwrap().allows(address.parse().unwrap())
    }

    #[test]
    fn what_shares_an_outbound_has_all_of_it() {
        let policy = Policy::builder().allow("a.example").unwrap().build();
        let resolver: Arc<dyn Resolver> = Arc::new(SystemResolver::default());
        let limits = Limits { connect_timeout: Duration::from_millis(7), ..Limits::default() };
        let outbound = Outbound::new(policy.clone(), limits, |policy, _| {
            let transport = PooledTransport::builder(policy).resolver(resolver.clone()).build()?;
            Ok::<_, TlsConfigError>(Arc::new(transport) as _)
        });
        let outbound = outbound.unwrap();
        let network = Network::sharing(&outbound);
        let granted = network.granted();
        assert!(Arc::ptr_eq(&granted.policy, outbound.policy()) && Arc::ptr_eq(&granted.resolver, &resolver));
        assert_eq!(granted.connect_timeout, Duration::from_millis(7));
        // Made anew for each request, and of the system: the same grants.
        let made = || Network::sharing(&Outbound::with_defaults(policy.clone(), Limits::default()).unwrap());
        assert!(made().grants_the_same(&made()) && !made().grants_the_same(&network));
    }

    #[test]
    fn an_entry_allows_what_it_names_and_no_more() {
        assert!(allows("127.0.0.1:80", "127.0.0.1:80"));
        assert!(allows("127.0.0.1:80", "[::ffff:127.0.0.1]:80"));
        assert!(!allows("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!allows("127.0.0.1:80", "0.0.0.0:80"));
        assert!(!allows("127.0.0.1:80", "[::1]:80"));
        assert!(allows("0.0.0.0:80", "127.0.0.1:80"));
        assert!(!allows("0.0.0.0:80", "[::]:80"));
        assert!(allows("[::]:80", "127.0.0.1:80"));
        assert!(allows("8080", "[::1]:8080") && allows("8080", "0.0.0.0:8080"));
        assert!(!allows("8080", "127.0.0.1:0"));
        assert!(allows("127.0.0.1:0", "127.0.0.1:0") && !allows("127.0.0.1:0", "127.0.0.1:5"));
    }

    #[test]
    fn what_is_no_entry_is_refused_with_an_example() {
        for text in ["", "localhost:80", "127.0.0.1", "70000", "::1:80:x", "-1"] {
            let error = text.parse::<Listen>().unwrap_err();
            assert!(error.to_string().contains("127.0.0.1:8080"), "{error}");
        }
    }
}
