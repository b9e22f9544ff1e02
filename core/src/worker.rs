//! Guests on a worker of an async runtime.
//!
//! Handing a request to another thread and its response back costs more than most guests take to answer. So a server
//! may run guests where its tasks run. Only once a guest waits, or has run for [`PATIENCE`], does another thread take
//! over the worker's other tasks, and the guest has its thread for itself.
//!
//! Guests that have run for so long take turns: no more of them run at a time than there are processors. Else a hundred
//! that compute would leave whoever accepts connections, and sees that clients have left, a hundredth of the machine.

use std::cell::Cell;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
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
    /// This thread's turn, if its guest has one.
    static TURN: Cell<Option<SemaphorePermit<'static>>> = const { Cell::new(None) };
}

/// Who of the guests that run for long may run now; the next turn is for who waits longest.
static TURNS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(thread::available_parallelism().map_or(1, usize::from)));

/// Ends with the guest, also by a panic.
struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        SINCE.set(None);
        TURN.set(None);
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

/// Blocks this thread, or runs a guest during which nothing calls [`yield_now`]. If the thread is a worker, another one
/// takes over its other tasks first.
pub fn off_worker<T>(blocks: impl FnOnce() -> T) -> T {
    if SINCE.get().is_none() {
        return blocks();
    }
    TURN.set(None);
    let result = block_in_place(blocks);
    SINCE.set(Some(Instant::now()));
    result
}

/// Called from time to time while a guest runs: by an engine's epoch callback, or by the meter's check.
///
/// On a worker, a guest that has run for long lets another thread take over the worker's other tasks, and waits for its
/// turn among those that have.
pub fn yield_now() {
    if SINCE.get().is_none_or(|since| since.elapsed() < PATIENCE) {
        return;
    }
    block_in_place(|| {
        // Given up first: it is for who waits longest, which may be nobody.
        TURN.set(None);
        TURN.set(Handle::current().block_on(TURNS.acquire()).ok());
        thread::sleep(ASIDE);
    });
    SINCE.set(Some(Instant::now()));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
                yield_now();
            }
        });
    }

    #[test]
    fn no_more_guests_run_for_long_than_there_are_processors() {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let runtime = runtime();
        let guests: Vec<_> = (0..3 * processors)
            .map(|_| {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                runtime.spawn(async move {
                    on_worker(|| {
                        SINCE.set(Instant::now().checked_sub(PATIENCE));
                        yield_now();
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(5));
                        running.fetch_sub(1, Ordering::SeqCst);
                    });
                })
            })
            .collect();
        for guest in guests {
            runtime.block_on(guest).unwrap();
        }
        assert!((1..=processors).contains(&most.load(Ordering::SeqCst)), "{most:?} of {processors}");
    }

    #[test]
    fn elsewhere_nothing_is_left() {
        yield_now();
        assert_eq!(off_worker(|| 1), 1);
        assert_eq!(on_worker(|| 2), 2);
        assert_eq!(SINCE.get(), None);
    }
}
