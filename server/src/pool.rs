//! Instances that wait for a request: made before one is there, or left by an earlier one.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use wharf_core::{GuestConfig, HostedGuest, HostedSession, Result, Stop, chain};

use crate::handler::HandlerOptions;

/// An instance that takes longer to make than this is made before it is needed, unless the embedder says otherwise.
const SLOW: Duration = Duration::from_micros(100);

/// How long no instance is made after one could not be.
const PAUSE: Duration = Duration::from_secs(1);

/// Says what an instance is granted: for the request of this number, or while it is made ready for any.
pub(crate) type Configure = Box<dyn Fn(Option<u64>) -> Result<GuestConfig> + Send + Sync>;

/// An instance, and how many requests it has answered.
pub(crate) struct Ready {
    pub(crate) session: Box<dyn HostedSession>,
    answered: u32,
}

/// The instances of one guest.
pub(crate) struct Pool {
    guest: Arc<dyn HostedGuest>,
    pub(crate) configure: Configure,
    max_reuse: u32,
    max_idle: usize,
    max_idle_memory: u64,
    /// How many fresh ones are kept ready.
    warm: usize,
    idle: Mutex<Idle>,
    /// Tells the thread that makes instances that there are few, or that nobody needs any more.
    few: Condvar,
}

#[derive(Default)]
struct Idle {
    fresh: Vec<Ready>,
    used: Vec<Ready>,
    closed: bool,
}

impl Pool {
    /// Makes the first instances, to see that there can be some and how long it takes, and starts the thread that keeps
    /// some ready, if it is to.
    ///
    /// # Errors
    /// Why there is no instance.
    pub(crate) fn new(
        guest: Arc<dyn HostedGuest>,
        options: &HandlerOptions,
        configure: Configure,
    ) -> Result<Arc<Self>> {
        let mut pool = Pool {
            guest,
            configure,
            max_reuse: options.max_reuse.max(1),
            max_idle: options.max_idle,
            max_idle_memory: options.max_idle_memory,
            warm: 0,
            idle: Mutex::default(),
            few: Condvar::new(),
        };
        // The engine may have to get ready for the first; the second shows what one takes.
        let first = pool.make()?;
        let before = Instant::now();
        let second = pool.make()?;
        let slow = before.elapsed() > SLOW;
        // A host whose instances serve one request each, the one that they were made for, has none to keep.
        let kept = first.is_some();
        if !kept && options.max_reuse > 1 {
            tracing::warn!("instances are not reused: on this host, each answers one request");
        }
        pool.warm = options.pre_warm.filter(|_| kept).unwrap_or_else(|| {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            if slow && kept { (4 * cores).min(options.max_idle) } else { 0 }
        });
        tracing::debug!("{} instances are kept ready", pool.warm);
        pool.lock().fresh.extend([first, second].into_iter().flatten());
        let pool = Arc::new(pool);
        if pool.warm > 0 {
            let kept = Arc::clone(&pool);
            let thread = thread::Builder::new().name("wharf-warm".to_owned());
            if let Err(error) = thread.spawn(move || kept.keep_warm()) {
                tracing::warn!("no instances are kept ready: cannot start a thread: {error}");
            }
        }
        Ok(pool)
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An instance that has answered nothing; `None` if none can wait for a request.
    fn make(&self) -> Result<Option<Ready>> {
        let mut session = self.guest.start((self.configure)(None)?).map_err(|stop| match stop {
            Stop::Error(error) => error,
            Stop::Exit(code) => exited(code),
        })?;
        Ok(session.rest().then_some(Ready { session, answered: 0 }))
    }

    fn keep_warm(&self) {
        let mut idle = self.lock();
        while !idle.closed {
            if idle.fresh.len() >= self.warm {
                // It is woken once half of them are gone, not for each.
                idle = self.few.wait(idle).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(idle);
            let made = self.make();
            idle = self.lock();
            match made {
                Ok(Some(ready)) => idle.fresh.push(ready),
                ended => {
                    let why =
                        ended.err().map_or_else(|| "it ended early".to_owned(), |error| chain(&error).to_string());
                    tracing::warn!("no instance can be made ready: {why}");
                    idle = self.few.wait_timeout(idle, PAUSE).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// An instance for a request that is granted `config`.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn take(&self, config: GuestConfig) -> Result<Ready, Stop> {
        let mut idle = self.lock();
        // Those that were started with other grants may have kept some, and wait for a request that is granted the same.
        let Idle { fresh, used, .. } = &mut *idle;
        let fits = |ready: &Ready| ready.session.may_renew(&config);
        let found = [used, fresh].into_iter().find_map(|ready| {
            let at = ready.iter().rposition(fits)?;
            Some(ready.remove(at))
        });
        if self.warm > 0 && idle.fresh.len() == self.warm / 2 {
            self.few.notify_one();
        }
        drop(idle);
        match found {
            Some(mut ready) => {
                ready.session.renew(config)?;
                Ok(ready)
            }
            None => Ok(Ready { session: self.guest.start(config)?, answered: 0 }),
        }
    }

    /// Takes back an instance that has answered one more request. It waits for another if it may and can.
    pub(crate) fn put(&self, mut ready: Ready) {
        ready.answered += 1;
        let fit = ready.session.rest();
        if !fit || ready.answered >= self.max_reuse {
            return;
        }
        if ready.session.memory().is_some_and(|memory| memory.len() as u64 > self.max_idle_memory) {
            return;
        }
        let mut idle = self.lock();
        if idle.closed || self.max_idle == 0 {
            return;
        }
        // The one that has waited longest goes, with the lock given back first.
        let oldest = (idle.used.len() >= self.max_idle).then(|| idle.used.remove(0));
        idle.used.push(ready);
        drop(idle);
        drop(oldest);
    }

    /// How many instances wait: fresh ones, and ones that have answered a request.
    pub(crate) fn idle(&self) -> (usize, usize) {
        let idle = self.lock();
        (idle.fresh.len(), idle.used.len())
    }

    /// Lets go of all that wait, and of the thread.
    pub(crate) fn close(&self) {
        let mut idle = self.lock();
        *idle = Idle { closed: true, ..Idle::default() };
        self.few.notify_one();
    }
}

/// What a guest that exits though it was to go on is reported as.
pub(crate) fn exited(code: i32) -> wharf_core::Error {
    wharf_core::Error::new(wharf_core::Kind::Guest, format!("the guest exited with {code}"))
}
