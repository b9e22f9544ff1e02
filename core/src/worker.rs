//! Guests on a worker of an async runtime.
//!
//! Handing a request to another thread and its response back costs more than most guests take to answer. So a server
//! may run guests where its tasks run. Only once a guest waits, or has run for [`PATIENCE`], does another thread take
//! over the worker's other tasks, and the guest has its thread for itself.
//!
//! Guests that have run for so long take turns: no more of them run at a time than there are processors. Else a hundred
//! that compute would leave whoever accepts connections, and sees that clients have left, a hundredth of the machine.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::task::block_in_place;

/// How long a guest may keep a worker's other tasks waiting, about.
const PATIENCE: Duration = Duration::from_millis(10);

/// How long a guest that has run for longer stands aside, so that another thread can take the tasks over. If none does
/// in that time it is asked again later.
const ASIDE: Duration = Duration::from_micros(200);

thread_local! {
    /// Since when this thread's other tasks wait for a guest, if it is a worker.
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

thread_local! {
    /// Whether this thread's guest has one of the [`TURNS`].
    static TURN: Cell<bool> = const { Cell::new(false) };
}

/// Who of the guests that run for long may run now.
static TURNS: LazyLock<Turns> = LazyLock::new(|| Turns::new(thread::available_parallelism().map_or(1, usize::from)));

struct Turns(Mutex<Queue>);

struct Queue {
    free: usize,
    waiting: VecDeque<Arc<Waiting>>,
}

/// A thread that waits for its turn.
struct Waiting {
    thread: Thread,
    is_next: AtomicBool,
}

impl Turns {
    fn new(count: usize) -> Self {
        Turns(Mutex::new(Queue { free: count, waiting: VecDeque::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a turn once there is one; the next of those who give one up is for who waits longest.
    fn take(&self) {
        let mut queue = self.lock();
        if queue.free > 0 {
            queue.free -= 1;
            return;
        }
        let waiting = Arc::new(Waiting { thread: thread::current(), is_next: AtomicBool::new(false) });
        queue.waiting.push_back(Arc::clone(&waiting));
        drop(queue);
        while !waiting.is_next.load(Ordering::Acquire) {
            thread::park();
        }
    }

    fn give(&self) {
        let mut queue = self.lock();
        let Some(next) = queue.waiting.pop_front() else {
            queue.free += 1;
            return;
        };
        drop(queue);
        next.is_next.store(true, Ordering::Release);
        next.thread.unpark();
    }

    /// Whether somebody waits.
    fn are_wanted(&self) -> bool {
        !self.lock().waiting.is_empty()
    }
}

/// Gives this thread's turn up, if it has one.
fn give_up() {
    if TURN.replace(false) {
        TURNS.give();
    }
}

/// Ends with the guest, also by a panic.
struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        SINCE.set(None);
        give_up();
    }
}

/// Runs a guest on this thread, a worker of a multi-threaded tokio runtime, within a task of its own: what else is to
/// be polled within the same task waits for the guest.
///
/// # Panics
/// On any other runtime, and within a `LocalSet`, if the guest has to wait.
pub fn on_worker<T>(guest: impl FnOnce() -> T) -> T {
    SINCE.set(Some(Instant::now()));
    let _entered = Entered;
    guest()
}

/// Blocks this thread with `wait`. If it is a worker, another thread takes over its other tasks.
pub(crate) fn leave<T>(wait: impl FnOnce() -> T) -> T {
    if SINCE.get().is_none() {
        return wait();
    }
    give_up();
    let waited = block_in_place(wait);
    SINCE.set(Some(Instant::now()));
    waited
}

/// Runs a guest that nothing interrupts now and then. If this thread is a worker, another one takes over its other tasks
/// first.
pub fn off_worker<T>(guest: impl FnOnce() -> T) -> T {
    leave(guest)
}

/// Called now and then by whatever has a guest's attention while it runs: an engine's epoch, the meter's check.
///
/// On a worker, a guest that has run for long lets another thread take over the worker's other tasks, and waits for its
/// turn among those that have.
pub fn breathe() {
    if SINCE.get().is_none_or(|since| since.elapsed() < PATIENCE) {
        return;
    }
    block_in_place(|| {
        if !TURN.get() || TURNS.are_wanted() {
            give_up();
            TURNS.take();
            TURN.set(true);
        }
        thread::sleep(ASIDE);
    });
    SINCE.set(Some(Instant::now()));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::run::Run;

    /// A runtime with one worker, so that a task that is not polled is seen not to be.
    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    /// Runs `guest` on the worker and, meanwhile, a task that raises the flag which the guest is given.
    fn beside_a_task(guest: impl FnOnce(&AtomicBool) + Send + 'static) {
        let flag = Arc::new(AtomicBool::new(false));
        let (raise, seen) = (flag.clone(), flag.clone());
        let running = runtime();
        running.block_on(async {
            let guest = tokio::spawn(async move {
                // It runs after this task only, or else on another thread.
                tokio::spawn(async move { raise.store(true, Ordering::Release) });
                on_worker(|| guest(&seen));
            });
            guest.await.unwrap();
        });
        assert!(flag.load(Ordering::Acquire));
    }

    #[test]
    fn a_guest_that_waits_leaves_the_worker() {
        beside_a_task(|flag| {
            let raised = std::future::poll_fn(|context| {
                if flag.load(Ordering::Acquire) {
                    return std::task::Poll::Ready(());
                }
                context.waker().wake_by_ref();
                std::task::Poll::Pending
            });
            Run::default().wait(raised).unwrap();
        });
    }

    #[test]
    fn a_guest_that_runs_for_long_leaves_the_worker() {
        beside_a_task(|flag| {
            while !flag.load(Ordering::Acquire) {
                breathe();
            }
        });
    }

    #[test]
    fn turns_are_taken_in_order() {
        let turns = Arc::new(Turns::new(1));
        turns.take();
        let order = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (0..3)
            .map(|number| {
                let (queued, taking, order) = (Arc::clone(&turns), Arc::clone(&turns), Arc::clone(&order));
                let thread = thread::spawn(move || {
                    taking.take();
                    order.lock().unwrap().push(number);
                    taking.give();
                });
                while queued.lock().waiting.len() <= number {
                    thread::yield_now();
                }
                thread
            })
            .collect();
        assert!(turns.are_wanted());
        turns.give();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
        assert!(!turns.are_wanted());
        turns.take();
    }

    #[test]
    fn elsewhere_nothing_is_left() {
        breathe();
        assert_eq!(leave(|| 1), 1);
        assert_eq!(on_worker(|| 2), 2);
        assert_eq!(SINCE.get(), None);
    }
}
