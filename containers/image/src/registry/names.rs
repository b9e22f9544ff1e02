//! The names that one pull or push connects to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use wharf_http::{AddressClass, HttpError, HttpErrorKind, Resolver};

/// Asks for the addresses of each name once: those that were looked at are those that are connected to.
pub(super) struct Names {
    resolver: Arc<dyn Resolver>,
    known: Mutex<HashMap<String, Vec<IpAddr>>>,
}

impl Names {
    pub(super) fn new(resolver: Arc<dyn Resolver>) -> Self {
        Names { resolver, known: Mutex::default() }
    }

    /// The addresses of a name that has been asked for.
    pub(super) fn known(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.lock().get(name).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<IpAddr>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, HttpError> {
        if let Some(known) = self.known(name) {
            return Ok(known);
        }
        let mut found = self.resolver.resolve(name).await?;
        let local = is_local(name);
        let class = found.first().map(|ip| AddressClass::of(*ip));
        // Whoever answers for a name says nothing of what is on this machine, or beside it.
        found.retain(|ip| match AddressClass::of(*ip) {
            AddressClass::Loopback => true,
            AddressClass::LinkLocal | AddressClass::Metadata => false,
            _ => !local,
        });
        if let Some(class) = class.filter(|_| found.is_empty()) {
            let not = if local { ", and not this machine" } else { "" };
            let message = format!("{name} resolves to {class}{not}, which is not asked");
            return Err(HttpError::new(HttpErrorKind::AddressProhibited, message));
        }
        // Of two that ask at the same time, the first one is right.
        Ok(self.lock().entry(name.to_owned()).or_insert(found).clone())
    }
}

/// Whether a name is one of this machine (RFC 6761, section 6.3).
pub(super) fn is_local(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}
