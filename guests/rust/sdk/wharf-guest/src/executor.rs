//! Runs futures on the one thread that a guest has.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::backend::wait;

thread_local! {
    /// What [`spawn`] was given. A task is not in its place while it is polled, and its place is gone when it is done.
    static TASKS: RefCell<Vec<(Arc<Woken>, Option<Task>)>> = const { RefCell::new(Vec::new()) };
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Runs a future to its end, and what was [spawned](spawn) beside it.
///
/// It may be called from within a future, as a body that is read with `Read` does. Spawned futures go on meanwhile; those
/// it was called from do not.
///
/// # Panics
/// If the future waits for something that is not of this crate, and that nothing will therefore bring.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let woken = Woken::new();
    let waker = Waker::from(woken.clone());
    loop {
        if woken.take()
            && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
        {
            return output;
        }
        run_tasks();
        if !woken.is_set() && !any_task_woken() {
            wait();
        }
    }
}

/// Runs a future beside whatever [`block_on`] runs. In a handler, it ends with the response at the latest.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    TASKS.with_borrow_mut(|tasks| tasks.push((Woken::new(), Some(Box::pin(future)))));
}

/// Drops all spawned futures.
#[cfg(target_os = "wasi")]
#[cfg_attr(not(any(feature = "wasi-http", target_env = "p2")), expect(dead_code))]
pub(crate) fn clear() {
    let tasks = TASKS.take();
    drop(tasks);
}

/// Polls each woken task once.
fn run_tasks() {
    let woken: Vec<Arc<Woken>> = TASKS.with_borrow(|tasks| {
        let woken = tasks.iter().filter(|(woken, task)| task.is_some() && woken.is_set());
        woken.map(|(woken, _)| woken.clone()).collect()
    });
    for woken in woken {
        let place = |tasks: &Vec<(Arc<Woken>, _)>| tasks.iter().position(|(of, _)| Arc::ptr_eq(of, &woken));
        // Another task may have polled this one meanwhile, from within.
        let taken = TASKS.with_borrow_mut(|tasks| {
            let place = place(tasks)?;
            let task = tasks[place].1.take()?;
            woken.take();
            Some(task)
        });
        let Some(mut task) = taken else { continue };
        let waker = Waker::from(woken.clone());
        let poll = task.as_mut().poll(&mut Context::from_waker(&waker));
        TASKS.with_borrow_mut(|tasks| {
            // It is gone if all were dropped meanwhile.
            let Some(place) = place(tasks) else { return };
            if poll.is_pending() {
                tasks[place].1 = Some(task);
            } else {
                tasks.remove(place);
            }
        });
    }
}

fn any_task_woken() -> bool {
    TASKS.with_borrow(|tasks| tasks.iter().any(|(woken, task)| task.is_some() && woken.is_set()))
}

/// Whether a future is to be polled.
struct Woken {
    set: AtomicBool,
    #[cfg(not(target_family = "wasm"))]
    thread: std::thread::Thread,
}

impl Woken {
    /// It is to be polled first thing.
    fn new() -> Arc<Self> {
        Arc::new(Woken {
            set: AtomicBool::new(true),
            #[cfg(not(target_family = "wasm"))]
            thread: std::thread::current(),
        })
    }

    fn take(&self) -> bool {
        self.set.swap(false, Ordering::AcqRel)
    }

    fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.set.store(true, Ordering::Release);
        #[cfg(not(target_family = "wasm"))]
        self.thread.unpark();
    }
}
