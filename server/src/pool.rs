//! Instances that wait for a request: made before one is there, or left by an earlier one.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use wharf_core::{Exceeded, GuestConfig, HostedGuest, HostedSession, Result, Stop, chain};

use crate::options::HandlerOptions;
use crate::request::RequestHead;
use crate::reuse::{Learned, Reuse};

/// An instance that takes longer to make than this is made before it is needed, unless the embedder says otherwise.
const SLOW: Duration = Duration::from_micros(100);

/// How many instances are made to find out whether one takes long, and after how much time no more are.
const READINGS: u32 = 5;
const LONG_ENOUGH: Duration = Duration::from_millis(100);

/// How long no instance is made after one could not be.
const PAUSE: Duration = Duration::from_secs(1);

/// Says what an instance is granted: for this request, or while it is made ready for any.
pub(crate) type Configure = Box<dyn Fn(Option<RequestHead<'_>>) -> Result<GuestConfig> + Send + Sync>;

/// An instance, and how many requests it has answered.
pub(crate) struct Ready {
    pub(crate) session: Box<dyn HostedSession>,
    /// How many, and how many it may.
    answered: u32,
    most: u32,
}

impl Ready {
    /// How many requests it has answered.
    pub(crate) fn answered(&self) -> u32 {
        self.answered
    }

    /// How many more it may answer.
    pub(crate) fn left(&self) -> u32 {
        self.most.saturating_sub(self.answered)
    }
}

/// The instances of one guest.
pub(crate) struct Pool {
    guest: Arc<dyn HostedGuest>,
    pub(crate) configure: Configure,
    max_reuse: Reuse,
    pub(crate) learned: Learned,
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
            max_reuse: options.max_reuse,
            learned: Learned::default(),
            max_idle: options.max_idle,
            max_idle_memory: options.max_idle_memory,
            warm: 0,
            idle: Mutex::default(),
            few: Condvar::new(),
        };
        // The engine may have to prepare itself for the first, so the first says nothing about how long one takes.
        let first = pool.make()?;
        // A host whose instances serve one request each, the one that they were made for, has none to keep.
        let kept = first.is_some();
        let mut fresh: Vec<Ready> = first.into_iter().collect();
        let slow = kept
            && options.pre_warm.is_none()
            && takes_long(|| {
                let before = Instant::now();
                fresh.extend(pool.make()?);
                Ok(before.elapsed())
            })?;
        if !kept && options.max_reuse.is_more_than_once() {
            tracing::warn!("instances are not reused: on this host, each answers one request");
        }
        pool.warm = options.pre_warm.filter(|_| kept).unwrap_or_else(|| {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            if slow { (4 * cores).min(options.max_idle) } else { 0 }
        });
        tracing::debug!("{} instances are kept ready", pool.warm);
        fresh.truncate(pool.warm.max(1));
        pool.lock().fresh = fresh;
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
        Ok(session.recycle().then(|| self.ready(session)))
    }

    fn keep_warm(&self) {
        // How many there were when a warning last said that there are no more.
        let mut told = None;
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
                    let ready = idle.fresh.len();
                    if told.replace(ready) != Some(ready) {
                        let wanted = self.warm;
                        tracing::warn!("{ready} of {wanted} instances are kept ready, as no more can be made: {why}");
                    }
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
        let fits = |ready: &Ready| ready.session.may_reset_for(&config);
        let found = [used, fresh].into_iter().find_map(|ready| {
            let at = ready.iter().rposition(fits)?;
            Some(ready.remove(at))
        });
        if self.warm > 0 && idle.fresh.len() <= self.warm / 2 {
            self.few.notify_one();
        }
        drop(idle);
        match found {
            Some(mut ready) => {
                ready.session.reset_for(config)?;
                Ok(ready)
            }
            None => self.start_for(config),
        }
    }

    /// An instance that has answered nothing, for a request that is granted `config`.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn start_for(&self, config: GuestConfig) -> Result<Ready, Stop> {
        Ok(self.ready(self.start(config)?))
    }

    fn ready(&self, session: Box<dyn HostedSession>) -> Ready {
        Ready { session, answered: 0, most: self.max_reuse.draw() }
    }

    /// Whether an instance waits that has answered a request and would fit one that is granted `config`.
    pub(crate) fn has_used(&self, config: &GuestConfig) -> bool {
        self.lock().used.iter().any(|ready| ready.session.may_reset_for(config))
    }

    /// Whether an instance that has answered a request may be given another.
    pub(crate) fn reuses(&self) -> bool {
        self.max_reuse.is_more_than_once() && !self.learned.cannot()
    }

    /// Lets go of those that have answered a request.
    pub(crate) fn drop_used(&self) {
        let used = std::mem::take(&mut self.lock().used);
        drop(used);
    }

    /// Makes a new instance. If the total memory is used up, the instances that wait are dropped first.
    fn start(&self, config: GuestConfig) -> Result<Box<dyn HostedSession>, Stop> {
        match self.guest.start(config.clone()) {
            Err(Stop::Error(error)) if Exceeded::of(&error).is_some_and(Exceeded::is_total) && self.make_room() => {
                self.guest.start(config)
            }
            started => started,
        }
    }

    /// Drops all instances that wait; returns whether there were any.
    fn make_room(&self) -> bool {
        let mut idle = self.lock();
        let waiting = [std::mem::take(&mut idle.fresh), std::mem::take(&mut idle.used)];
        drop(idle);
        waiting.iter().any(|waiting| !waiting.is_empty())
    }

    /// Takes back an instance that has been handed one more request. It waits for another if it may and can; returns whether
    /// it is in a state to.
    pub(crate) fn put(&self, ready: Ready) -> bool {
        self.put_after(ready, 1)
    }

    /// The same for one that was handed so many.
    pub(crate) fn put_after(&self, mut ready: Ready, requests: u32) -> bool {
        ready.answered = ready.answered.saturating_add(requests);
        let fit = ready.session.recycle();
        if !fit || ready.answered >= ready.most || !self.reuses() {
            return fit;
        }
        if ready.session.budget().used() > self.max_idle_memory {
            return true;
        }
        let mut idle = self.lock();
        if idle.closed || self.max_idle == 0 {
            return true;
        }
        // The one that has waited longest goes, with the lock given back first.
        let oldest = (idle.used.len() >= self.max_idle).then(|| idle.used.remove(0));
        idle.used.push(ready);
        drop(idle);
        drop(oldest);
        true
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

/// Whether making an instance takes long: whether it did each of several times. A single reading may be long by chance,
/// because the thread had to wait for a processor. Each reading makes one more instance; guests that take very long need
/// fewer.
///
/// # Errors
/// Those of `reading`.
fn takes_long(mut reading: impl FnMut() -> Result<Duration>) -> Result<bool> {
    let mut all = Duration::ZERO;
    for count in 1..=READINGS {
        let took = reading()?;
        if took <= SLOW {
            return Ok(false);
        }
        all += took;
        if count > 1 && all > LONG_ENOUGH {
            break;
        }
    }
    Ok(true)
}

/// What a guest that exits though it was to go on is reported as.
pub(crate) fn exited(code: i32) -> wharf_core::Error {
    wharf_core::Error::new(wharf_core::Kind::Guest, format!("the guest exited with {code}"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use wharf_core::abi::wasi02::http::Reply;
    use wharf_core::http::Body;
    use wharf_core::{Budget, Charge, Error, TotalMemory};

    use super::*;

    /// A guest whose instances take a mebibyte each and are counted. The time limit stands for what one is granted.
    struct Fake {
        starts: AtomicUsize,
        total: Option<TotalMemory>,
    }

    struct Started {
        granted: Option<Duration>,
        budget: Budget,
        _takes: Charge,
    }

    impl HostedGuest for Fake {
        fn is_handler(&self) -> bool {
            true
        }

        fn start(&self, config: GuestConfig) -> Result<Box<dyn HostedSession>, Stop> {
            let budget = Budget::within(u64::MAX, self.total.clone());
            let takes = budget.charge(1 << 20)?;
            self.starts.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(Started { granted: config.timeout, budget, _takes: takes }))
        }

        fn run(&self, _: GuestConfig, _: Option<&str>) -> Result<i32> {
            unreachable!()
        }
    }

    impl HostedSession for Started {
        fn call(&mut self, _: &str, _: &[u64]) -> Result<Vec<u64>, Stop> {
            unreachable!()
        }

        fn handle(&mut self, _: http::Request<Body>, _: Reply) -> Result<(), Stop> {
            unreachable!()
        }

        fn recycle(&mut self) -> bool {
            true
        }

        fn may_reset_for(&self, config: &GuestConfig) -> bool {
            self.granted == config.timeout
        }

        fn reset_for(&mut self, config: GuestConfig) -> Result<()> {
            assert_eq!(self.granted, config.timeout);
            Ok(())
        }

        fn open_handles(&mut self) -> usize {
            0
        }

        fn budget(&self) -> Budget {
            self.budget.clone()
        }
    }

    fn granted(number: u64) -> GuestConfig {
        GuestConfig { timeout: Some(Duration::from_secs(number)), ..GuestConfig::default() }
    }

    fn pool(total: Option<TotalMemory>, max_idle: usize) -> (Arc<Fake>, Arc<Pool>) {
        let guest = Arc::new(Fake { starts: AtomicUsize::new(0), total });
        let options =
            HandlerOptions { max_reuse: Reuse::times(100), max_idle, pre_warm: Some(0), ..HandlerOptions::default() };
        let configure = Box::new(|_: Option<RequestHead<'_>>| Ok(granted(0)));
        let pool = Pool::new(guest.clone(), &options, configure).unwrap();
        (guest, pool)
    }

    /// Serves requests of these grants, one after another; returns how many instances were started for it.
    fn serve(guest: &Fake, pool: &Pool, grants: &[u64]) -> usize {
        let before = guest.starts.load(Ordering::Relaxed);
        for number in grants {
            let ready = pool.take(granted(*number)).map_err(|_| "an instance").unwrap();
            pool.put(ready);
        }
        guest.starts.load(Ordering::Relaxed) - before
    }

    #[test]
    fn what_does_not_fit_a_request_waits_for_one_that_it_fits() {
        let (guest, pool) = pool(None, 2);
        assert_eq!(serve(&guest, &pool, &[1, 2, 1, 2, 1, 2]), 2);
        assert_eq!(pool.idle(), (1, 2), "the one that nothing was asked of goes on waiting");
        assert_eq!(serve(&guest, &pool, &[0]), 0, "it is there for who is granted the same");
    }

    #[test]
    fn the_one_that_was_not_used_for_longest_makes_room() {
        let (guest, pool) = pool(None, 2);
        assert_eq!(serve(&guest, &pool, &[1, 2, 1, 3]), 3);
        assert_eq!(serve(&guest, &pool, &[1, 3]), 0, "these were used last");
        assert_eq!(serve(&guest, &pool, &[2]), 1);
        assert_eq!(pool.idle().1, 2);
    }

    /// Instances that nobody uses do not keep a request waiting for memory.
    #[test]
    fn those_that_wait_make_room_when_memory_is_short() {
        let (guest, pool) = pool(Some(TotalMemory::new(2 << 20)), 64);
        assert_eq!(serve(&guest, &pool, &[1, 2, 3, 4]), 4);
        let [one, two] = [1, 2].map(|number| pool.take(granted(number)).map_err(|_| "an instance").unwrap());
        let Err(Stop::Error(error)) = pool.take(granted(3)) else { panic!("there is room for two") };
        assert!(Exceeded::of(&error).is_some_and(Exceeded::is_total), "{error}");
        drop((one, two));
    }

    #[test]
    fn one_reading_decides_nothing_but_that_an_instance_was_quick() {
        let decided = |readings: &[u64]| {
            let mut left = readings.iter();
            let long = takes_long(|| {
                let next = left.next().ok_or_else(|| Error::new(wharf_core::Kind::Internal, "one reading too many"))?;
                Ok(Duration::from_micros(*next))
            });
            assert!(left.next().is_none(), "{readings:?}: there was no need for all");
            long.unwrap()
        };
        assert!(!decided(&[50]));
        assert!(!decided(&[900_000, 50]), "it had to wait for a processor");
        assert!(!decided(&[500, 500, 500, 500, 100]));
        assert!(decided(&[500, 500, 500, 500, 101]));
        assert!(decided(&[60_000, 60_000]), "it is known by now");
    }
}
