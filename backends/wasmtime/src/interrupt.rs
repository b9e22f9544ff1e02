//! Interruption by epochs.
//!
//! An engine has one epoch for all its instances, and compiled code compares it with its instance's deadline at
//! every loop and function entry. To stop one instance, its handle raises a flag and moves the epoch on: all running
//! instances call back, the one that is meant traps and the others give themselves one more epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use wasmtime::{Engine, Store, UpdateDeadline};
use wharf_core::Interrupt;

/// How often the epoch moves on by itself.
const TICK: Duration = Duration::from_millis(20);

/// An engine and its epoch.
pub(crate) struct Clock {
    engine: Engine,
    ticking: AtomicBool,
}

impl Clock {
    pub(crate) fn new(engine: Engine) -> Self {
        Clock { engine, ticking: AtomicBool::new(false) }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Moves the epoch on at intervals, from the first time on.
    ///
    /// Moving it for an interruption is not enough. An instance that another's has made call back looks at its flag first,
    /// and the engine computes its new deadline afterwards: a flag raised in between would go unnoticed for ever.
    fn tick(&self) {
        if self.ticking.load(Ordering::Relaxed) || self.ticking.swap(true, Ordering::Relaxed) {
            return;
        }
        let engine = self.engine.weak();
        let ticker = thread::Builder::new().name("wharf-epoch".to_owned()).spawn(move || {
            // Ends with the engine: a ticker must not keep it alive.
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(TICK);
            }
        });
        self.ticking.store(ticker.is_ok(), Ordering::Relaxed);
    }
}

/// Stops one instance.
pub(crate) struct Handle {
    clock: Arc<Clock>,
    raised: AtomicBool,
}

impl Handle {
    /// Makes the handle of the instance that will live in `store`.
    pub(crate) fn new(clock: &Arc<Clock>) -> Arc<Self> {
        Arc::new(Handle { clock: Arc::clone(clock), raised: AtomicBool::new(false) })
    }

    /// Lets this handle stop what runs in `store`.
    pub(crate) fn attach<T>(self: &Arc<Self>, store: &mut Store<T>) {
        let handle = Arc::clone(self);
        self.clock.tick();
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            wharf_core::yield_now();
            Ok(if handle.raised() { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
        });
    }

    /// Whether the instance is to stop.
    pub(crate) fn raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }
}

impl Interrupt for Handle {
    fn interrupt(&self) {
        self.raised.store(true, Ordering::Release);
        self.clock.engine.increment_epoch();
    }
}
