//! Bounds a guest's time and stack for an engine that cannot do so by itself.
//!
//! An adapter compiles what [`rewrite`] makes of a module and puts its own [`Module`] into a [`Metered`]. Its guests
//! then stop at [`Interrupt::interrupt`], and at a stack overflow if the engine leaves that to them, with no more done
//! by the adapter than any adapter does: the rewritten module calls one more import, the check, which ends it or fills
//! up its fuel.
//!
//! What is counted, and how, is said in `rewrite`.

mod rewrite;
mod shape;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub use rewrite::rewrite;

use crate::backend::{Instance, Module};
use crate::error::Result;
use crate::imports::{Imports, Outer};
use crate::stop::{Halt, Stop};
use crate::trusted::TrustedCode;
use crate::types::Import;
use crate::types::{Caller, FuncType, Interrupt, RESERVED, Trap, TrapCode};
use crate::worker;
use rewrite::{FUEL, MAX_FRAME, SCALE, STACK};

/// The fuel between two checks: a few milliseconds of an interpreted guest, less of a compiled one. A guest made for it
/// may run 256 times as long, with code that is counted that much too low.
const FULL: i32 = 100_000;
/// How many calls into a guest there may be at a time, each from a host function that the one before called. They
/// nest on the caller's stack.
pub const MAX_NESTED: u32 = 64;
/// What an interpreted guest's frames may take, as they are counted.
const INTERPRETER_STACK: i32 = 4 << 20;
/// What a compiled guest's frames may take, as they are measured.
const GUEST_STACK: usize = 2 << 20;

/// How large a stack an engine with [`Frames::Native`] must run a guest on, in bytes: room for the guest's frames, for
/// host functions, which run on the same stack, and for what the counted frames are short of the real ones when the
/// counter runs out. Hardly any of it is used, so it is best memory that is mapped when it is touched.
pub const NATIVE_STACK: usize = SCALE as usize * GUEST_STACK + MAX_FRAME as usize + (1 << 20);

/// Where an engine keeps a guest's frames, and who sees to it that they are not too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frames {
    /// The engine sees to it. Only the guest's time is metered.
    Engine,
    /// In memory of an interpreter's own that grows: they are counted.
    Interpreter,
    /// On the native stack, of which there are [`NATIVE_STACK`] bytes: a bound on them is counted, and when the count
    /// is used up they are measured.
    Native,
}

/// A module whose engine was given what [`rewrite`] made of it.
pub struct Metered<M> {
    module: M,
    frames: Frames,
    /// What the rewritten module imports; known with the first instance.
    imports: OnceLock<Arc<[Import]>>,
}

impl<M: Module> Metered<M> {
    /// Meters `module`, which was rewritten for `frames`.
    pub fn new(module: M, frames: Frames) -> Self {
        Metered { module, frames, imports: OnceLock::new() }
    }
}

/// The imports as [`rewrite`] names them, with the check.
fn renamed(imports: &[Import]) -> Arc<[Import]> {
    let types = imports.iter().map(|import| import.ty.clone());
    let check = FuncType { params: Vec::new(), results: Vec::new() };
    let named = |(index, ty): (usize, FuncType)| Import { module: RESERVED.to_owned(), name: index.to_string(), ty };
    types.chain([check]).enumerate().map(named).collect()
}

impl<M: Module> Module for Metered<M> {
    fn serialize(&self) -> Result<Option<TrustedCode<'_>>> {
        self.module.serialize()
    }

    fn instantiate(&self, imports: Arc<Imports>) -> Result<Box<dyn Instance>> {
        let types = Arc::clone(self.imports.get_or_init(|| renamed(imports.types())));
        let meter = Arc::new(Meter::new(self.frames));
        let hosts = Hosts { imports, meter: Arc::clone(&meter) };
        let instance = self.module.instantiate(Arc::new(Imports::around(types, hosts)))?;
        Ok(Box::new(MeteredInstance { instance, meter }))
    }
}

/// The host functions of a metered guest: those it imports by itself, and the check.
struct Hosts {
    imports: Arc<Imports>,
    meter: Arc<Meter>,
}

impl Outer for Hosts {
    fn take_stop(&self) -> Option<Stop> {
        self.imports.take_stop()
    }

    fn call(&self, index: usize, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Halt> {
        if index == self.imports.types().len() {
            return self.meter.check(caller);
        }
        self.imports.call(index, &mut Metering { caller, meter: &self.meter }, slots)?;
        // The guest may return without reaching a check.
        if self.meter.is_interrupted() { Err(self.meter.end(TrapCode::Interrupted)) } else { Ok(()) }
    }
}

/// What is known of one guest while it runs.
struct Meter {
    frames: Frames,
    interrupted: AtomicBool,
    nested: AtomicU32,
    /// The address that [`Frames::Native`] are measured from, once it is known.
    base: Mutex<Option<usize>>,
    /// Why the meter has ended the guest, until the call that it ended returns.
    ended: Mutex<Option<TrapCode>>,
}

impl Meter {
    fn new(frames: Frames) -> Self {
        Meter {
            frames,
            interrupted: AtomicBool::new(false),
            nested: AtomicU32::new(0),
            base: Mutex::default(),
            ended: Mutex::default(),
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn end(&self, code: TrapCode) -> Halt {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
        Halt
    }

    /// What a guest calls when one of its counters is below zero.
    fn check(&self, caller: &mut dyn Caller) -> Result<(), Halt> {
        if self.is_interrupted() {
            return Err(self.end(TrapCode::Interrupted));
        }
        worker::yield_now();
        caller.set_global(FUEL, FULL as u64);
        let left = match self.frames {
            Frames::Engine => return Ok(()),
            Frames::Interpreter => stack(caller),
            Frames::Native => self.measure(),
        };
        if left < 0 {
            return Err(self.end(TrapCode::StackOverflow));
        }
        set_stack(caller, left);
        Ok(())
    }

    /// What guest frames may still take below the caller's. The first to be measured is at the top of the stack, but
    /// for its own frame.
    fn measure(&self) -> i32 {
        let here = 0u8;
        let here = (&raw const here).addr();
        let base = *self.base.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(here);
        i32::try_from(GUEST_STACK.cast_signed() - base.wrapping_sub(here).cast_signed()).unwrap_or(i32::MIN)
    }

    /// Calls an export of the guest behind `caller`, with its own frames below those that are there.
    fn call(&self, caller: &mut dyn Caller, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        if self.is_interrupted() {
            return Err(ended(TrapCode::Interrupted));
        }
        let nested = self.nested.load(Ordering::Relaxed);
        if nested >= MAX_NESTED {
            return Err(ended(TrapCode::StackOverflow));
        }
        // After a trap the count is wrong, and the host function may let its caller run on.
        let before = if self.frames == Frames::Engine { 0 } else { stack(caller) };
        match self.frames {
            Frames::Interpreter if nested == 0 => set_stack(caller, INTERPRETER_STACK),
            // The first function that is counted has its stack measured.
            Frames::Native => set_stack(caller, 0),
            Frames::Interpreter | Frames::Engine => {}
        }
        if nested == 0 {
            *self.base.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.nested.store(nested + 1, Ordering::Relaxed);
        let result = caller.call(export, slots);
        self.nested.store(nested, Ordering::Relaxed);
        if self.frames != Frames::Engine {
            set_stack(caller, before);
        }
        match (result, self.ended.lock().unwrap_or_else(PoisonError::into_inner).take()) {
            (Err(trap), Some(code)) if trap.code == TrapCode::Host => Err(ended(code)),
            (result, _) => result,
        }
    }
}

fn stack(caller: &mut dyn Caller) -> i32 {
    caller.global(STACK).unwrap_or(0) as i32
}

fn set_stack(caller: &mut dyn Caller, left: i32) {
    caller.set_global(STACK, u64::from(left.cast_unsigned()));
}

fn ended(code: TrapCode) -> Trap {
    Trap::new(code, if code == TrapCode::Interrupted { "the guest was interrupted" } else { "call stack exhausted" })
}

impl Interrupt for Meter {
    fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
    }
}

/// A metered guest, seen from a host function.
struct Metering<'a> {
    caller: &'a mut dyn Caller,
    meter: &'a Meter,
}

impl Caller for Metering<'_> {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.caller.memory()
    }

    fn memory_named(&mut self, export: &str) -> Option<&mut [u8]> {
        self.caller.memory_named(export)
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        self.meter.call(self.caller, export, slots)
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        self.caller.global(export)
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        self.caller.set_global(export, value)
    }
}

/// A metered guest, seen from outside.
struct MeteredInstance {
    instance: Box<dyn Instance>,
    meter: Arc<Meter>,
}

impl Caller for MeteredInstance {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.instance.memory()
    }

    fn memory_named(&mut self, export: &str) -> Option<&mut [u8]> {
        self.instance.memory_named(export)
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        self.meter.call(&mut *self.instance, export, slots)
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        self.instance.global(export)
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        self.instance.set_global(export, value)
    }
}

impl Instance for MeteredInstance {
    fn interrupt(&self) -> Arc<dyn Interrupt> {
        Arc::clone(&self.meter) as Arc<dyn Interrupt>
    }
}
