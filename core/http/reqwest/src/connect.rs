//! Names, addresses and time of connections.
//!
//! reqwest has one connect timeout for a whole client, does not tell when a request has its connection, and connects to an
//! address in a URL without asking its resolver. So a layer round its connector looks at every connection. Which request a
//! connection is for, neither that layer nor the resolver is told: they find it in a task-local.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Extensions;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpInfo};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::{Instant, timeout_at};
use tower_layer::Layer;
use tower_service::Service;
use wharf_http::sending::{Watched, deadline};
use wharf_http::{HttpError, HttpErrorKind, Policy, Resolver};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

tokio::task_local! {
    static REQUEST: Arc<Asked>;
    /// When the connection that is being made must be there.
    static DEADLINE: Instant;
}

/// A request for which a connection may be wanted.
pub(crate) struct Asked {
    host: String,
    limit: Duration,
    body: Watched,
    connects: AtomicBool,
}

impl Asked {
    /// A request to `host`, whose connection may take as long as `limit`; `body` is what its time is counted by.
    pub(crate) fn new(host: &str, limit: Duration, body: Watched) -> Arc<Asked> {
        Arc::new(Asked { host: host.to_owned(), limit, body, connects: AtomicBool::new(false) })
    }

    /// Runs `sending`, whose connections are then those of this request.
    pub(crate) async fn scope<T>(self: &Arc<Self>, sending: impl Future<Output = T>) -> T {
        REQUEST.scope(self.clone(), sending).await
    }

    /// Whether a connection was begun for this request. If not, it was sent over one that had been used before.
    pub(crate) fn connects(&self) -> bool {
        self.connects.load(Ordering::Relaxed)
    }
}

/// Without a request nobody says how long a connection may take, so there is none.
fn without_request() -> BoxError {
    HttpError::new(HttpErrorKind::Internal, "reqwest made a connection outside of any request").into()
}

/// Resolves the names of a client to addresses that the policy allows.
pub(crate) struct CheckedNames {
    pub(crate) policy: Arc<Policy>,
    pub(crate) resolver: Arc<dyn Resolver>,
}

impl Resolve for CheckedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, resolver) = (self.policy.clone(), self.resolver.clone());
        Box::pin(async move {
            let deadline = DEADLINE.try_with(|deadline| *deadline).map_err(|_| without_request())?;
            let name = name.as_str();
            let found = timeout_at(deadline, resolver.resolve(name)).await.unwrap_or_else(|_| {
                let message = format!("the name {name} was not resolved within the connect timeout");
                Err(HttpError::new(HttpErrorKind::DnsTimeout, message))
            })?;
            let allowed = policy.allowed_addresses(name, found)?;
            Ok(Box::new(allowed.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

/// Lays time and policy round the connector of a client.
#[derive(Clone)]
pub(crate) struct CheckedConnections {
    pub(crate) policy: Arc<Policy>,
}

impl<S> Layer<S> for CheckedConnections {
    type Service = CheckedConnector<S>;

    fn layer(&self, connector: S) -> CheckedConnector<S> {
        CheckedConnector { connector, policy: self.policy.clone() }
    }
}

/// A connector whose connections are those that the policy allows, made in time.
#[derive(Clone)]
pub(crate) struct CheckedConnector<S> {
    connector: S,
    policy: Arc<Policy>,
}

impl<S, T> Service<T> for CheckedConnector<S>
where
    S: Service<T, Error = BoxError>,
    S::Response: Connection + Send,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let Ok(asked) = REQUEST.try_with(Arc::clone) else {
            return Box::pin(async { Err(without_request()) });
        };
        asked.connects.store(true, Ordering::Relaxed);
        let (host, limit, pause) = (asked.host.clone(), asked.limit, asked.body.pause());
        let deadline = deadline(limit);
        let (policy, connecting) = (self.policy.clone(), self.connector.call(target));
        // It may outlive its request, since reqwest finishes a connection that was begun, for the next one.
        Box::pin(async move {
            let _not_counted_as_waiting_for_the_response = pause;
            let made = DEADLINE.scope(deadline, timeout_at(deadline, connecting)).await.unwrap_or_else(|_| {
                let message = format!("no connection to {host} was made within {limit:?}");
                Err(HttpError::new(HttpErrorKind::ConnectionTimeout, message).into())
            })?;
            check(&policy, &host, &made.connected())?;
            Ok(made)
        })
    }
}

/// Whether a connection for `host` leads where the policy allows.
fn check(policy: &Policy, host: &str, connected: &Connected) -> Result<(), HttpError> {
    let mut told = Extensions::new();
    connected.get_extras(&mut told);
    match told.get::<HttpInfo>() {
        Some(info) => policy.check_address(host, info.remote_addr().ip()),
        None => {
            let message = format!("the client connects to {host} by other means than TCP, so its address is not known");
            Err(HttpError::new(HttpErrorKind::AddressProhibited, message))
        }
    }
}
