//! What one guest has done with sockets, and what it may do.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wharf_grants::{GrantedNetwork, Network};

use crate::abi::preview1::errno::{Errno, Outcome};
use crate::run::WakePipe;

/// How many refusals are told to the operator before the rest is only logged for debugging: a guest must not be able
/// to fill a log.
const NAMED_DENIALS: usize = 64;

/// How many addresses of names a guest is remembered to have looked up.
const REMEMBERED: usize = 1024;

/// One guest's use of the network.
pub(in crate::abi::preview1) struct Sockets {
    network: Network,
    /// Which names led the guest to which addresses; the latest are kept.
    resolved: Mutex<VecDeque<(IpAddr, String)>>,
    denied: Mutex<HashSet<String>>,
    wake_pipe: OnceLock<Arc<WakePipe>>,
}

impl Sockets {
    pub(in crate::abi::preview1) fn new(network: Network) -> Self {
        Sockets { network, resolved: Mutex::default(), denied: Mutex::default(), wake_pipe: OnceLock::new() }
    }

    /// What the guest may do.
    pub(in crate::abi::preview1) fn granted(&self) -> &GrantedNetwork {
        self.network.granted()
    }

    /// What wakes this guest from a wait for descriptors.
    pub(in crate::abi::preview1) fn wake_pipe(&self) -> Outcome<&Arc<WakePipe>> {
        if let Some(wake_pipe) = self.wake_pipe.get() {
            return Ok(wake_pipe);
        }
        let wake_pipe = WakePipe::new()?;
        Ok(self.wake_pipe.get_or_init(|| wake_pipe))
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
        let policy = &self.granted().policy;
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
        if self.granted().policy.check_lookup(name).is_ok() {
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
            found.into_iter().partition(|ip| self.granted().policy.check_address(name, *ip).is_ok());
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
        if self.granted().listen.iter().any(|listen| listen.allows(address)) {
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
