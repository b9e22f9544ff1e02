//! Names to addresses: once for each connection, every address checked, and no second look.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::error::{HttpError, HttpErrorKind};

/// Finds the addresses of a name.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// The addresses of `name`, in the order they are to be tried. Called on [`crate::io`], once for each connection.
    ///
    /// # Errors
    /// [`HttpErrorKind::DnsNotFound`] if there is no such name, else [`HttpErrorKind::DnsFailed`]. No address at all
    /// becomes [`HttpErrorKind::NoAddress`].
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, HttpError>;
}

/// How many look-ups of one resolver may occupy a thread. The system's cannot be interrupted, so this is what keeps a
/// guest that gives up and asks again from taking every thread.
const LOOKUPS: usize = 16;

/// Asks the operating system, on a thread of its own.
#[derive(Debug, Clone)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        SystemResolver { lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, HttpError> {
        let failed = |message: String| HttpError::new(HttpErrorKind::DnsFailed, message);
        let permit = self.lookups.clone().acquire_owned().await;
        let wanted = name.to_owned();
        let found = tokio::task::spawn_blocking(move || {
            let _held_until_the_system_answers = permit;
            (wanted.as_str(), 0).to_socket_addrs().map(|addresses| addresses.map(|address| address.ip()).collect())
        })
        .await
        .map_err(|error| failed(format!("the task that looks up {name} failed")).with_source(error))?;
        found.map_err(|error| {
            let kind = if is_temporary(&error) { HttpErrorKind::DnsFailed } else { HttpErrorKind::DnsNotFound };
            HttpError::new(kind, format!("the name {name} could not be resolved")).with_source(error)
        })
    }
}

/// Whether the resolver itself failed. The standard library keeps the reason as text only.
fn is_temporary(error: &io::Error) -> bool {
    let text = error.to_string();
    error.raw_os_error().is_some() || text.contains("emporary failure") || text.contains("ry again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_knows_localhost() {
        let found = crate::io().block_on(SystemResolver::default().resolve("localhost")).unwrap();
        assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
    }

    #[test]
    fn a_resolver_that_fails_is_told_from_a_name_that_is_not_known() {
        let text = |text: &str| io::Error::other(format!("failed to lookup address information: {text}"));
        assert!(is_temporary(&text("Temporary failure in name resolution")));
        assert!(is_temporary(&text("Try again")));
        assert!(is_temporary(&io::Error::from_raw_os_error(5)), "the system failed");
        assert!(!is_temporary(&text("Name or service not known")));
    }
}
