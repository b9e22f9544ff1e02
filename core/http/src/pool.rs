//! Connections that wait for their next request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use tokio::time::{Instant, sleep};

use crate::origin::Origin;
use crate::progress::Watched;

/// How long an idle connection is kept. Less than the minute after which many origins close it, so that a request
/// seldom meets one that is about to go.
const IDLE: Duration = Duration::from_secs(50);

/// How long a connection may have been idle to be given a request that cannot be repeated: less than the 5 seconds after
/// which the servers that are quickest to do so close it.
const FRESH: Duration = Duration::from_secs(4);

/// How many idle connections to one origin are kept.
const IDLE_FOR_ONE: usize = 32;

/// How many idle connections are kept in all.
const IDLE_FOR_ALL: usize = 512;

/// A connection that takes a request.
pub(crate) enum Connection {
    /// One request after another.
    Http1(http1::SendRequest<Watched>),
    /// As many at a time as the origin allows.
    Http2(http2::SendRequest<Watched>),
}

/// The idle connections of one transport.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: HashMap<Origin, Vec<Idle>>,
    shared: HashMap<Origin, Shared>,
    /// Whether a task looks for connections that have been idle for too long.
    reaped: bool,
}

/// A connection of HTTP/1.1, which has no request now.
struct Idle {
    sender: http1::SendRequest<Watched>,
    since: Instant,
    until: Instant,
}

/// A connection of HTTP/2, which may have any number.
struct Shared {
    sender: http2::SendRequest<Watched>,
    used: Instant,
}

impl Idle {
    fn is_usable(&self, now: Instant) -> bool {
        self.until > now && self.sender.is_ready()
    }
}

impl Shared {
    fn is_usable(&self, now: Instant) -> bool {
        now.duration_since(self.used) < IDLE && !self.sender.is_closed()
    }
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to `origin`, the one that was used last. For a request that must not be sent to an origin that is
    /// about to close, one that was used just now.
    pub(crate) fn take(&self, origin: &Origin, repeatable: bool) -> Option<Connection> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(shared) = state.shared.get_mut(origin) {
            if shared.is_usable(now) {
                shared.used = now;
                return Some(Connection::Http2(shared.sender.clone()));
            }
            state.shared.remove(origin);
        }
        let idle = state.idle.get_mut(origin)?;
        idle.retain(|idle| idle.is_usable(now));
        let last = idle.last()?;
        if !repeatable && now.duration_since(last.since) >= FRESH {
            return None;
        }
        idle.pop().map(|idle| Connection::Http1(idle.sender))
    }

    /// Keeps a connection that is ready for its next request; `kept` is how long the origin says that it keeps it.
    pub(crate) fn put(self: &Arc<Self>, origin: Origin, sender: http1::SendRequest<Watched>, kept: Option<Duration>) {
        let now = Instant::now();
        // A second for the way there.
        let kept = kept.map_or(IDLE, |kept| kept.saturating_sub(Duration::from_secs(1)).min(IDLE));
        let mut state = self.state();
        if kept.is_zero() || state.idle.values().map(Vec::len).sum::<usize>() >= IDLE_FOR_ALL {
            return;
        }
        let idle = state.idle.entry(origin).or_default();
        if idle.len() < IDLE_FOR_ONE {
            idle.push(Idle { sender, since: now, until: now + kept });
        }
        self.reap(&mut state);
    }

    /// Keeps a connection for every request from now on, unless there is one already.
    pub(crate) fn share(self: &Arc<Self>, origin: &Origin, sender: &http2::SendRequest<Watched>) {
        let now = Instant::now();
        let mut state = self.state();
        if state.shared.get(origin).is_none_or(|shared| !shared.is_usable(now)) {
            state.shared.insert(origin.clone(), Shared { sender: sender.clone(), used: now });
        }
        self.reap(&mut state);
    }

    /// Has what is idle for too long closed while nobody asks.
    fn reap(self: &Arc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.reaped, true) {
            tokio::spawn(reap(Arc::downgrade(self)));
        }
    }
}

async fn reap(pool: Weak<Pool>) {
    loop {
        sleep(IDLE / 10).await;
        let Some(pool) = pool.upgrade() else { return };
        let now = Instant::now();
        let mut state = pool.state();
        state.shared.retain(|_, shared| shared.is_usable(now));
        state.idle.retain(|_, idle| {
            idle.retain(|idle| idle.is_usable(now));
            !idle.is_empty()
        });
        if state.idle.is_empty() && state.shared.is_empty() {
            state.reaped = false;
            return;
        }
    }
}
