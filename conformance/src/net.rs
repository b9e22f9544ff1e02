//! How a case's guest reaches out: policy, limits and transport, put together in one line.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use wharf_core::GuestConfig;
use wharf_core::http::{
    HttpError, HttpErrorKind, Limits, Outbound, Policy, PolicyBuilder, Redirects, Resolver, Transport,
};

use crate::case::{CaseResult, Unmet};
use crate::context::Context;
use crate::origin::{Origin, TestCa};
use crate::probe::{HttpProbe, Wat};
use crate::runner::TransportParts;

/// What a guest may reach and how. It starts as wharf's defaults with nothing allowed.
pub struct Net<'a> {
    context: &'a Context,
    policy: Result<PolicyBuilder, String>,
    limits: Limits,
    names: Option<HashMap<String, Vec<IpAddr>>>,
    resolver: Option<Arc<dyn Resolver>>,
    trusted: Vec<Vec<u8>>,
    transport: Option<Arc<dyn Transport>>,
}

impl Context {
    /// Starts to say what a guest may reach.
    pub fn net(&self) -> Net<'_> {
        Net {
            context: self,
            policy: Ok(Policy::builder()),
            limits: Limits::default(),
            names: None,
            resolver: None,
            trusted: Vec::new(),
            transport: None,
        }
    }

    /// A probe of `wasi_experimental_http` that may reach `origin`, under wharf's defaults.
    ///
    /// # Errors
    /// [`Unmet`] if it does not start.
    pub fn http_probe(&self, origin: &Origin) -> CaseResult<HttpProbe> {
        self.net().allow(&origin.base()).http_probe()
    }
}

impl Net<'_> {
    /// Allows what an entry of an allow-list names.
    #[must_use]
    pub fn allow(self, entry: &str) -> Self {
        self.policy(|policy| policy.allow(entry).map_err(|error| error.to_string()))
    }

    /// Sets what happens to redirects.
    #[must_use]
    pub fn redirects(self, redirects: Redirects) -> Self {
        self.policy(|policy| Ok(policy.redirects(redirects)))
    }

    /// Changes the policy in another way.
    #[must_use]
    pub fn policy(mut self, change: impl FnOnce(PolicyBuilder) -> Result<PolicyBuilder, String>) -> Self {
        self.policy = self.policy.and_then(change);
        self
    }

    /// Changes the limits.
    #[must_use]
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Makes `name` resolve to `addresses`; from then on no other name resolves.
    #[must_use]
    pub fn name(mut self, name: &str, addresses: &[IpAddr]) -> Self {
        self.names.get_or_insert_default().insert(name.to_owned(), addresses.to_vec());
        self
    }

    /// Resolves names with a resolver of the case's own, in place of [`name`](Self::name).
    #[must_use]
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Trusts the certificates that `ca` signs.
    #[must_use]
    pub fn trust(mut self, ca: &TestCa) -> Self {
        self.trusted.push(ca.der().to_vec());
        self
    }

    /// Sends through a transport of the case's own.
    #[must_use]
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// What core sends through.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if the policy or the transport is refused.
    pub fn outbound(self) -> CaseResult<Outbound> {
        let policy = self.policy.map_err(|error| Unmet::failed(format!("the policy is refused: {error}")))?;
        let subject = self.context.subject();
        Outbound::new(policy.build(), self.limits, |policy, limits| match self.transport {
            Some(transport) => Ok(subject.wrapped(transport)),
            None => {
                let names = self.names.map(|names| -> Arc<dyn Resolver> { Arc::new(Names(names)) });
                subject.make_transport(TransportParts {
                    policy,
                    limits: limits.clone(),
                    resolver: self.resolver.or(names),
                    roots: self.trusted,
                })
            }
        })
    }

    /// What a guest is started with: this and nothing else.
    ///
    /// # Errors
    /// As [`outbound`](Self::outbound).
    pub fn config(self) -> CaseResult<GuestConfig> {
        Ok(GuestConfig { outbound: Some(self.outbound()?), ..GuestConfig::default() })
    }

    /// A probe of `wasi_experimental_http` with this.
    ///
    /// # Errors
    /// [`Unmet`] if it does not start.
    pub fn http_probe(self) -> CaseResult<HttpProbe> {
        let context = self.context;
        HttpProbe::start(context, self.config()?)
    }

    /// A probe of `wat` with this.
    ///
    /// # Errors
    /// [`Unmet`] if it does not start.
    pub fn probe(self, wat: &Wat) -> CaseResult<crate::probe::Probe> {
        let context = self.context;
        context.probe(wat, self.config()?)
    }
}

/// A resolver that knows what the case told it.
struct Names(HashMap<String, Vec<IpAddr>>);

#[async_trait::async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, HttpError> {
        self.0
            .get(name)
            .cloned()
            .ok_or_else(|| HttpError::new(HttpErrorKind::DnsNotFound, format!("the case has no name {name}")))
    }
}
