//! What a guest may do with sockets, and what one guest has done.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::abi::preview1::errno::{Errno, Outcome};
use crate::error::{Error, Kind, Result};
use crate::http::{Limits, Policy, Resolver, SystemResolver};
use crate::run::Bell;

/// How many refusals are told to the operator before the rest is only logged for debugging: a guest must not be able
/// to fill a log.
const NAMED_DENIALS: usize = 64;

/// How many addresses of names a guest is remembered to have looked up.
const REMEMBERED: usize = 1024;

/// What a guest may do with sockets. The default grants nothing: no listening, no connecting, no look-up.
///
/// Listeners are opened by the embedder. A clone shares them, so that one configuration serves many guests.
#[derive(Clone)]
pub struct Network {
    pub(in crate::abi::preview1) policy: Arc<Policy>,
    pub(in crate::abi::preview1) resolver: Arc<dyn Resolver>,
    /// Whether the embedder brought it.
    own_resolver: bool,
    pub(in crate::abi::preview1) connect_timeout: Duration,
    pub(in crate::abi::preview1) listen: Vec<Listen>,
    pub(in crate::abi::preview1) listeners: Vec<Arc<OwnedFd>>,
    pub(in crate::abi::preview1) max_sockets: usize,
    pub(in crate::abi::preview1) max_socket_buffer: usize,
}

impl Default for Network {
    fn default() -> Self {
        Network {
            policy: Arc::new(Policy::deny_all()),
            resolver: Arc::new(SystemResolver::default()),
            own_resolver: false,
            connect_timeout: Limits::default().connect_timeout,
            listen: Vec::new(),
            listeners: Vec::new(),
            max_sockets: 4096,
            max_socket_buffer: 1 << 20,
        }
    }
}

impl Network {
    /// Grants nothing; the same as the default.
    pub fn new() -> Self {
        Network::default()
    }

    /// Lets the guest connect to what `policy` lets it send requests to, and look up the names in it. See
    /// [`Policy::check_connection`].
    pub fn connect(mut self, policy: Arc<Policy>) -> Self {
        self.policy = policy;
        self
    }

    /// Sets what looks names up, instead of the operating system.
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        (self.resolver, self.own_resolver) = (resolver, true);
        self
    }

    /// Sets how long a look-up, and connecting a socket that waits, may take. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Lets the guest bind a socket to what `listen` names.
    pub fn allow_listen(mut self, listen: Listen) -> Self {
        self.listen.push(listen);
        self
    }

    /// Hands the guest a listener that is open already, at the lowest free descriptor: the first one given is 3, before
    /// any directory.
    ///
    /// # Errors
    /// [`Kind::Config`] if the operating system cannot make it non-blocking.
    pub fn listener(mut self, listener: TcpListener) -> Result<Self> {
        listener.set_nonblocking(true).map_err(|error| {
            Error::new(Kind::Config, "the listener to hand to the guest cannot be used").with_source(error)
        })?;
        self.listeners.push(Arc::new(listener.into()));
        Ok(self)
    }

    /// Sets how many sockets the guest may have open at once. Default 4096; listeners that were handed over count, and
    /// are there in any case.
    pub fn max_sockets(mut self, limit: usize) -> Self {
        self.max_sockets = limit;
        self
    }

    /// Whether both let a guest do the same, by the same means.
    pub(in crate::abi::preview1) fn grants_the_same(&self, other: &Network) -> bool {
        // Configurations that are made for a request each have policies of their own, which may say the same.
        let same_policy = Arc::ptr_eq(&self.policy, &other.policy) || self.policy == other.policy;
        let both_ask_the_system = !self.own_resolver && !other.own_resolver;
        same_policy
            && (both_ask_the_system || std::ptr::addr_eq(Arc::as_ptr(&self.resolver), Arc::as_ptr(&other.resolver)))
            && self.connect_timeout == other.connect_timeout
            && self.listen == other.listen
            && self.listeners.len() == other.listeners.len()
            && self.listeners.iter().zip(&other.listeners).all(|(own, other)| Arc::ptr_eq(own, other))
            && self.max_sockets == other.max_sockets
            && self.max_socket_buffer == other.max_socket_buffer
    }

    /// Sets how many bytes the operating system may be asked to buffer for a socket, each way. Default 1 MiB.
    pub fn max_socket_buffer(mut self, bytes: usize) -> Self {
        self.max_socket_buffer = bytes;
        self
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("policy", &self.policy)
            .field("listen", &self.listen)
            .field("listeners", &self.listeners.len())
            .field("max_sockets", &self.max_sockets)
            .field("max_socket_buffer", &self.max_socket_buffer)
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
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(port) = text.parse() {
            return Ok(Listen { ip: None, port });
        }
        match text.parse::<SocketAddr>() {
            Ok(address) => Ok(Listen { ip: Some(address.ip()), port: address.port() }),
            Err(error) => Err(Error::new(
                Kind::Config,
                format!(
                    "{text:?} is not a valid address to listen on; write ADDR:PORT, for example 127.0.0.1:8080, or PORT"
                ),
            )
            .with_source(error)),
        }
    }
}

impl Listen {
    fn allows(&self, address: SocketAddr) -> bool {
        let ip = match self.ip {
            None => true,
            Some(IpAddr::V4(own)) if own.is_unspecified() => address.ip().to_canonical().is_ipv4(),
            Some(IpAddr::V6(own)) if own.is_unspecified() => true,
            Some(own) => own.to_canonical() == address.ip().to_canonical(),
        };
        ip && self.port == address.port()
    }
}

/// One guest's use of the network.
pub(in crate::abi::preview1) struct Sockets {
    pub(in crate::abi::preview1) network: Network,
    /// Which names led the guest to which addresses; the latest are kept.
    resolved: Mutex<VecDeque<(IpAddr, String)>>,
    denied: Mutex<HashSet<String>>,
    bell: OnceLock<Arc<Bell>>,
}

impl Sockets {
    pub(in crate::abi::preview1) fn new(network: Network) -> Self {
        Sockets { network, resolved: Mutex::default(), denied: Mutex::default(), bell: OnceLock::new() }
    }

    /// What wakes this guest from a wait for descriptors.
    pub(in crate::abi::preview1) fn bell(&self) -> Outcome<&Arc<Bell>> {
        if let Some(bell) = self.bell.get() {
            return Ok(bell);
        }
        let bell = Bell::new()?;
        Ok(self.bell.get_or_init(|| bell))
    }

    /// Refuses a connection that the policy does not allow.
    ///
    /// # Errors
    /// [`Errno::Acces`].
    pub(super) fn check_connect(&self, address: SocketAddr) -> Outcome {
        if self.may_exchange(address) {
            return Ok(());
        }
        self.report(format!("a connection to {address}"), &address.to_string());
        Err(Errno::Acces.into())
    }

    /// Whether the policy lets the guest send to this address, and so hear from it: under its own name, or under one
    /// that the guest looked up.
    pub(super) fn may_exchange(&self, address: SocketAddr) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let policy = &self.network.policy;
        policy.check_connection(&ip.to_string(), ip, port).is_ok()
            || self
                .resolved
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .any(|(known, name)| *known == ip && policy.check_connection(name, ip, port).is_ok())
    }

    /// Refuses to look up a name that no entry of the policy has.
    ///
    /// # Errors
    /// [`Errno::Acces`].
    pub(super) fn check_lookup(&self, name: &str) -> Outcome {
        if self.network.policy.check_lookup(name).is_ok() {
            return Ok(());
        }
        self.report(format!("looking up {name:?}"), name);
        Err(Errno::Acces.into())
    }

    /// Keeps the addresses that the policy lets the name lead to, and remembers them.
    ///
    /// # Errors
    /// [`Errno::Acces`] if none is left.
    pub(super) fn keep_allowed(&self, name: &str, found: Vec<IpAddr>) -> Outcome<Vec<IpAddr>> {
        let (allowed, refused): (Vec<IpAddr>, Vec<IpAddr>) =
            found.into_iter().partition(|ip| self.network.policy.check_address(name, *ip).is_ok());
        if let (true, Some(ip)) = (allowed.is_empty(), refused.first()) {
            self.report(format!("the address {ip} of {name:?}, which is not public"), "private addresses");
            return Err(Errno::Acces.into());
        }
        let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        for ip in &allowed {
            let pair = (ip.to_canonical(), name.to_owned());
            if !resolved.contains(&pair) {
                if resolved.len() == REMEMBERED {
                    resolved.pop_front();
                }
                resolved.push_back(pair);
            }
        }
        Ok(allowed)
    }

    /// Refuses to listen where nobody said the guest may.
    ///
    /// # Errors
    /// [`Errno::Acces`].
    pub(super) fn check_listen(&self, address: SocketAddr) -> Outcome {
        if self.network.listen.iter().any(|listen| listen.allows(address)) {
            return Ok(());
        }
        self.report(format!("listening on {address}"), &format!("listening on {address}"));
        Err(Errno::Acces.into())
    }

    /// The same, for a socket that was never bound: it would listen on a port of the system's choice.
    ///
    /// # Errors
    /// [`Errno::Acces`].
    pub(super) fn check_listen_anywhere(&self, v6: bool) -> Outcome {
        let any = if v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        self.check_listen(SocketAddr::new(any, 0))
    }

    fn report(&self, what: String, allow: &str) {
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        let first = denied.len() < NAMED_DENIALS && denied.insert(what.clone());
        drop(denied);
        if first {
            tracing::warn!("a guest was denied {what}; to permit it, allow {allow}");
        } else {
            tracing::debug!("a guest was denied {what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entry: &str, address: &str) -> bool {
        entry.parse::<Listen>().unwrap().allows(address.parse().unwrap())
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
            assert_eq!(error.kind(), Kind::Config);
            assert!(error.to_string().contains("127.0.0.1:8080"), "{error}");
        }
    }
}
