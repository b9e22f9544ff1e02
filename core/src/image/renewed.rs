//! Instances that have been used, are put back into the state of new ones, and are used again.
//!
//! For the guest and its host there is no difference to a new instance: memories have their initial contents, globals
//! their initial values, the imports are those that the instance was asked for with, and nothing else changes, see
//! `state`. Kept is none that has trapped, has panicked or was interrupted, or whose memories have grown. Who could interrupt it cannot
//! any more.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use super::Initial;
use crate::backend::Instance;
use crate::imports::{Imports, Outer};
use crate::stop::{Halt, Stop};
use crate::types::{Caller, Interrupt, Trap};

/// How many instances of a module are kept, and what all their memories may have in the system, in bytes.
const MAX_KEPT: usize = 32;
const MAX_BYTES: usize = 32 << 20;

/// Instances that are as good as new.
#[derive(Default)]
pub(super) struct Kept(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    instances: Vec<Used>,
    bytes: usize,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that has waited for the shortest time.
    pub(super) fn take(&self) -> Option<Used> {
        let mut waiting = self.lock();
        let used = waiting.instances.pop()?;
        waiting.bytes -= used.bytes;
        Some(used)
    }

    fn put(&self, used: Used) {
        let mut waiting = self.lock();
        if waiting.instances.len() < MAX_KEPT && waiting.bytes + used.bytes <= MAX_BYTES {
            waiting.bytes += used.bytes;
            waiting.instances.push(used);
            return;
        }
        drop(waiting);
        drop(used);
    }
}

/// An instance, and where its imports lead.
pub(super) struct Used {
    pub(super) instance: Box<dyn Instance>,
    pub(super) imports: Arc<Lead>,
    /// What its memories have in the system.
    pub(super) bytes: usize,
}

/// Imports that lead to those of whom an instance is used for.
#[derive(Default)]
pub(super) struct Lead(RwLock<Option<Arc<Imports>>>);

impl Lead {
    fn set(&self, imports: Option<Arc<Imports>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = imports;
    }

    fn get(&self) -> Option<Arc<Imports>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Outer for Arc<Lead> {
    fn call(&self, index: usize, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Halt> {
        self.get().ok_or(Halt)?.call(index, caller, slots)
    }

    fn take_stop(&self) -> Option<Stop> {
        self.get()?.take_stop()
    }
}

/// Interrupts an instance, until it is used for somebody else. `None` from then on, and once it has been.
struct Lease(Mutex<Option<Arc<dyn Interrupt>>>);

impl Lease {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn Interrupt>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interrupt for Lease {
    fn interrupt(&self) {
        // Under the lock: once it is given up, no interruption is under way.
        if let Some(interrupt) = self.lock().take() {
            interrupt.interrupt();
        }
    }
}

/// An instance that is kept when it is dropped, if it can be.
pub(super) struct Renewed {
    /// There is one until then.
    used: Option<Used>,
    initial: Arc<Initial>,
    /// What may interrupt it, if anybody has asked for that.
    lease: OnceLock<Arc<Lease>>,
    /// Whether it is not to be kept.
    spent: bool,
}

impl Renewed {
    pub(super) fn new(used: Used, imports: Arc<Imports>, initial: Arc<Initial>) -> Self {
        used.imports.set(Some(imports));
        Renewed { used: Some(used), initial, lease: OnceLock::new(), spent: false }
    }

    fn instance(&mut self) -> Option<&mut dyn Instance> {
        self.used.as_mut().map(|used| &mut *used.instance as &mut dyn Instance)
    }
}

impl Drop for Renewed {
    fn drop(&mut self) {
        let Some(mut used) = self.used.take() else { return };
        used.imports.set(None);
        let Initial { memories, globals, kept } = &*self.initial;
        let Some(Some(globals)) = globals.get() else { return };
        if self.spent || self.lease.get().is_some_and(|lease| lease.lock().take().is_none()) {
            return;
        }
        let Some(bytes) = memories.refill(&mut *used.instance) else { return };
        if globals.put_back(&mut *used.instance) {
            kept.put(Used { bytes, ..used });
        }
    }
}

impl Caller for Renewed {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.instance()?.memory()
    }

    fn memory_named(&mut self, export: &str) -> Option<&mut [u8]> {
        self.instance()?.memory_named(export)
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        // Until it has returned: a panic of the engine may leave it in any state.
        let spent = std::mem::replace(&mut self.spent, true);
        let instance = self.instance().ok_or_else(|| Trap::no_function(export))?;
        let result = instance.call(export, slots);
        self.spent = spent || result.is_err();
        result
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        self.instance()?.global(export)
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        self.instance().is_some_and(|instance| instance.set_global(export, value))
    }
}

impl Instance for Renewed {
    fn interrupt(&self) -> Arc<dyn Interrupt> {
        let inner = || self.used.as_ref().map(|used| used.instance.interrupt());
        Arc::clone(self.lease.get_or_init(|| Arc::new(Lease(Mutex::new(inner()))))) as _
    }
}
