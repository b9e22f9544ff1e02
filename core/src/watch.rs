//! The watchdog: interrupts guests whose time is over or that are cancelled.
//!
//! One thread looks after the deadlines of all guests. Setting a deadline wakes it only if it would wake too late by
//! itself, so that a guest that ends in time, as most do, costs two short looks at a table. Cancellation needs no
//! thread: whoever cancels interrupts.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::error::{Error, Kind, Result};
use crate::run::Run;
use crate::types::Interrupt;

/// What interrupts one guest, once at most.
struct Alarm {
    cancel: CancellationToken,
    /// Taken when it rings, and when nobody must be interrupted any more.
    interrupt: Mutex<Option<Arc<dyn Interrupt>>>,
}

impl Alarm {
    fn armed(&self) -> MutexGuard<'_, Option<Arc<dyn Interrupt>>> {
        self.interrupt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        // Under the lock: once it is disarmed, no interruption is under way.
        if let Some(interrupt) = self.armed().take() {
            interrupt.interrupt();
        }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        if self.cancel.is_cancelled() {
            self.ring();
        }
    }
}

/// When something is due, and a number that makes it unique.
type Key = (Instant, u64);

/// The deadlines of all guests.
#[derive(Default)]
struct Timer {
    due: Mutex<Due>,
    earlier: Condvar,
}

#[derive(Default)]
struct Due {
    alarms: BTreeMap<Key, Arc<Alarm>>,
    next: u64,
    /// When the thread looks again by itself; it may be for nothing.
    looks: Option<Instant>,
}

impl Timer {
    /// The one timer, whose thread starts at first use.
    ///
    /// # Errors
    /// If the process cannot start a thread.
    fn get() -> Result<&'static Timer> {
        static TIMER: OnceLock<&'static Timer> = OnceLock::new();
        static STARTING: Mutex<()> = Mutex::new(());
        if let Some(timer) = TIMER.get() {
            return Ok(timer);
        }
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(timer) = TIMER.get() {
            return Ok(timer);
        }
        let timer: &'static Timer = Box::leak(Box::default());
        let watch = std::thread::Builder::new().name("wharf-watch".to_owned());
        watch.spawn(|| timer.run()).map_err(|error| {
            let message = "the thread that enforces time limits cannot be started; let the process have more threads";
            Error::new(Kind::Limit, message).with_source(error)
        })?;
        Ok(TIMER.get_or_init(|| timer))
    }

    fn lock(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, at: Instant, alarm: Arc<Alarm>) -> Key {
        let mut due = self.lock();
        let key = (at, due.next);
        due.next += 1;
        due.alarms.insert(key, alarm);
        if due.looks.is_none_or(|looks| at < looks) {
            due.looks = Some(at);
            self.earlier.notify_one();
        }
        key
    }

    fn run(&self) {
        let mut due = self.lock();
        loop {
            let now = Instant::now();
            while let Some(entry) = due.alarms.first_entry().filter(|entry| entry.key().0 <= now) {
                let alarm = entry.remove();
                drop(due);
                alarm.ring();
                due = self.lock();
            }
            due.looks = due.alarms.first_key_value().map(|((at, _), _)| *at);
            due = match due.looks {
                Some(at) => {
                    let wait = self.earlier.wait_timeout(due, at.saturating_duration_since(now));
                    wait.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.earlier.wait(due).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Starts the threads that wharf needs for every guest, once, so that a process that runs out of descriptors or threads
/// later on finds them there.
///
/// # Errors
/// [`Kind::Limit`] if the process has not enough of either.
pub fn prepare_threads() -> Result<()> {
    crate::http::start_io()?;
    prepare()
}

/// Starts the thread that looks after deadlines.
///
/// # Errors
/// [`Kind::Limit`] if the process has no thread left.
fn prepare() -> Result<()> {
    Timer::get().map(|_| ())
}

/// Interrupts an instance when its run is over. Stops watching when dropped.
pub(crate) struct Watchdog {
    alarm: Arc<Alarm>,
    deadline: Option<(&'static Timer, Key)>,
    _cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Watchdog {
    /// Watches over a guest whose deadline and token are those of `run`, as they are now.
    ///
    /// # Errors
    /// As [`prepare`], if there is a deadline.
    pub(crate) fn start(run: &Run, interrupt: Arc<dyn Interrupt>) -> Result<Self> {
        let cancel = run.cancel_token();
        let alarm = Arc::new(Alarm { cancel: cancel.clone(), interrupt: Mutex::new(Some(interrupt)) });
        let mut cancelled = Box::pin(cancel.cancelled_owned());
        let waker = Waker::from(Arc::clone(&alarm));
        let at_once = tokio::task::coop::unconstrained(cancelled.as_mut());
        if Future::poll(std::pin::pin!(at_once), &mut Context::from_waker(&waker)).is_ready() {
            alarm.ring();
        }
        let deadline = match run.deadline() {
            Some(at) => {
                let timer = Timer::get()?;
                Some((timer, timer.add(at, Arc::clone(&alarm))))
            }
            None => None,
        };
        Ok(Watchdog { alarm, deadline, _cancelled: cancelled })
    }

    /// Stops watching. Returns whether the guest was not interrupted; it will not be from now on.
    pub(crate) fn end(&self) -> bool {
        self.alarm.armed().take().is_some()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.end();
        if let Some((timer, key)) = self.deadline {
            timer.lock().alarms.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::*;

    struct Rings(Mutex<Sender<u32>>, u32);

    impl Interrupt for Rings {
        fn interrupt(&self) {
            self.0.lock().unwrap().send(self.1).unwrap();
        }
    }

    fn rings(sender: &Sender<u32>, number: u32) -> Arc<dyn Interrupt> {
        Arc::new(Rings(Mutex::new(sender.clone()), number))
    }

    fn after(milliseconds: u64) -> Run {
        let run = Run::default();
        run.set_deadline(Instant::now().checked_add(Duration::from_millis(milliseconds)));
        run
    }

    /// What rings next, within a time in which it certainly does.
    fn next(receiver: &Receiver<u32>) -> u32 {
        receiver.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    #[test]
    fn deadlines_ring_in_their_order_and_not_after_the_end() {
        let (sender, receiver) = channel();
        let late = Watchdog::start(&after(60), rings(&sender, 3)).unwrap();
        let early = Watchdog::start(&after(20), rings(&sender, 1)).unwrap();
        let ended = Watchdog::start(&after(30), rings(&sender, 2)).unwrap();
        let never = Watchdog::start(&after(3_600_000), rings(&sender, 4)).unwrap();
        assert!(ended.end(), "it had not rung");
        assert_eq!(next(&receiver), 1);
        assert_eq!(next(&receiver), 3);
        assert!(!early.end() && !late.end(), "they rang");
        drop(never);
        assert!(receiver.try_recv().is_err());
    }

    #[test]
    fn whoever_cancels_rings() {
        let (sender, receiver) = channel();
        let token = CancellationToken::new();
        let run = Run::new(token.clone());
        let ended = Watchdog::start(&run, rings(&sender, 1)).unwrap();
        drop(ended);
        let _watch = Watchdog::start(&run, rings(&sender, 2)).unwrap();
        token.cancel();
        assert_eq!(receiver.try_recv(), Ok(2), "before `cancel` returned");
        let _late = Watchdog::start(&run, rings(&sender, 3)).unwrap();
        assert_eq!(receiver.try_recv(), Ok(3), "it was cancelled before");
        assert!(receiver.try_recv().is_err());
    }
}
