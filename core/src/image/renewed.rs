//! Instances that have been used, are put back into the state of new ones, and are used again.
//!
//! For the guest and its host there is no difference to a new instance: memories have their initial contents, globals
//! their initial values, the imports are those that the instance was asked for with, and nothing else changes, see
//! `state`. Kept is none that has trapped or was ended, whose memories have grown, or that somebody could interrupt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::Initial;
use crate::backend::{Instance, NoInterrupt};
use crate::imports::{Imports, Outer};
use crate::stop::{Halt, Stop};
use crate::types::{Caller, Interrupt, Trap};

/// How many instances of a module are kept. Their memories are empty meanwhile.
const MAX_KEPT: usize = 16;

/// Instances that are as good as new, but for data that is to be copied into them.
#[derive(Default)]
pub(super) struct Kept(Mutex<Vec<Used>>);

impl Kept {
    pub(super) fn take(&self) -> Option<Used> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, used: Used) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_KEPT {
            kept.push(used);
        }
    }
}

/// An instance, and where its imports lead.
pub(super) struct Used {
    pub(super) instance: Box<dyn Instance>,
    pub(super) imports: Arc<Lead>,
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

/// An instance that is kept when it is dropped, if it can be.
pub(super) struct Renewed {
    /// There is one until then.
    used: Option<Used>,
    initial: Arc<Initial>,
    /// Whether it is not to be kept.
    spent: AtomicBool,
}

impl Renewed {
    pub(super) fn new(used: Used, imports: Arc<Imports>, initial: Arc<Initial>) -> Self {
        used.imports.set(Some(imports));
        Renewed { used: Some(used), initial, spent: AtomicBool::new(false) }
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
        let spent = *self.spent.get_mut();
        if !spent && memories.discard(&mut *used.instance) && globals.put_back(&mut *used.instance) {
            kept.put(used);
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
        let instance = self.instance().ok_or_else(|| Trap::no_function(export))?;
        let result = instance.call(export, slots);
        *self.spent.get_mut() |= result.is_err();
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
        // The handle may be used when this is over.
        self.spent.store(true, Ordering::Relaxed);
        self.used.as_ref().map_or_else(|| Arc::new(NoInterrupt) as _, |used| used.instance.interrupt())
    }
}
