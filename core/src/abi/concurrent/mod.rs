//! The concurrency of the component model, once for every engine: tasks, what they wait for, streams and futures.
//!
//! `CanonicalABI.md` of the component model's specification says what each function does; the names of rules that a guest
//! breaks are the functions' names there. What is particular to this host:
//! - no stack is ever switched. Between the calls of a task's callback the guest's thread waits in [`Run`](crate::Run), as it
//!   does in a host function, or calls another task's. Tasks of components that are called by other components have their turns
//!   within these waits ([`turns`]), so whoever waits on the stack goes on first that waited last;
//! - what the host reads and writes goes straight to and from the guest's memory, when the guest waits, or at once;
//! - a wait for what only the guest itself could bring about is a trap, since it would never end;
//! - handles are those of the guest's one table, with its limit, which a composed guest's components know by numbers of
//!   their own; what is read and written lies in the guest's own memory.

mod channel;
mod declared;
mod ends;
mod passed;
mod subtask;
mod task;
#[cfg(test)]
mod tests;
mod together;
mod turns;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use wharf_plan::{Builtin, EndFunction};

pub(crate) use self::channel::{Moved, Sink};
pub(crate) use self::declared::{Element, Tables, layouts};
pub(crate) use self::ends::transfer;
pub(crate) use self::passed::{ByteStream, FutureIn, FutureOut, HostBytes, Promise, Settle, promise};
pub(crate) use self::subtask::{Called, PendingCall, Place, Subtask, call_async, call_sync, delivered, is_call};
pub(crate) use self::task::{Code, Kind as TaskKind, Returning, Task};
pub(crate) use self::together::Idle;
use self::turns::Tasks;
pub(crate) use self::turns::{Contexts, Parked, Turn, next_turn};
pub(crate) use self::waiting::{Delivered, Event, Waited, set, wait};
use crate::abi::composed::{Answer, Call};
use crate::abi::wasi02::canon::{Cx, Outcome, limit, rule};
use crate::abi::wasi02::options::Options;
use crate::abi::wasi02::table::MAX_HANDLES;
use crate::abi::wasi02::{Host, State};
use crate::stop::Stop;
use crate::types::{Caller, FuncType, ValType};

/// The interface that errors name.
const INTERFACE: &str = "canon";

/// How often backpressure may be asked for, by the specification.
const MAX_BACKPRESSURE: u32 = 1 << 16;

/// One of the functions, as a guest imports it.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) builtin: Builtin,
    pub(crate) name: String,
    pub(crate) options: Arc<Options>,
    /// Whether it answers that it has to wait, instead of waiting.
    pub(crate) asynchronous: bool,
    /// What a stream or future has in it.
    pub(crate) element: Element,
    /// Whether its options say which memory it works on.
    pub(crate) names_memory: bool,
}

impl Function {
    /// Its type, if it is not `task.return`, which has as many parameters as its task has results.
    pub(crate) fn ty(&self) -> Option<FuncType> {
        let (params, results) = self.builtin.arity()?;
        let new = matches!(self.builtin, Builtin::End { what: EndFunction::New, .. });
        let result = if new { ValType::I64 } else { ValType::I32 };
        Some(FuncType { params: vec![ValType::I32; params], results: vec![result; results] })
    }

    /// Whether it may have the host allocate in the guest.
    pub(crate) fn needs_realloc(&self) -> bool {
        matches!(self.builtin, Builtin::End { what: EndFunction::Read, .. }) && self.element.realloc
    }

    /// Runs it for the guest behind `caller`.
    pub(crate) fn call(&self, host: &Host, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
        if let Builtin::TaskReturn { result } = self.builtin {
            return self.task_return(host, result, caller, slots);
        }
        self.call_locked(host, caller, slots, |cx, slots| self.run(cx, slots))
    }

    fn call_locked(
        &self,
        host: &Host,
        caller: &mut dyn Caller,
        slots: &mut [u64],
        call: impl FnOnce(&mut Cx<'_>, &mut [u64]) -> Outcome,
    ) -> Result<(), Stop> {
        host.call((INTERFACE, &self.name), &self.options, caller, slots, call)
    }

    fn run(&self, cx: &mut Cx<'_>, slots: &mut [u64]) -> Outcome {
        let slot = |at: usize| slots.get(at).copied().unwrap_or_default() as u32;
        let (first, second) = (slot(0), slot(1));
        let result: u64 = match self.builtin {
            // It is called otherwise, for it may call another component.
            Builtin::TaskReturn { .. } => return Ok(()),
            Builtin::TaskCancel => return task::cancelled(cx),
            Builtin::WaitableSetNew => waiting::new_set(cx)?.into(),
            Builtin::WaitableSetWait => return waiting::wait_in(cx, first, second, slots),
            Builtin::WaitableSetPoll => return waiting::poll_in(cx, first, second, slots),
            Builtin::WaitableSetDrop => return waiting::drop_set(cx, first),
            Builtin::WaitableJoin => return waiting::join(cx, first, second),
            Builtin::SubtaskDrop => return subtask::drop_subtask(cx, first),
            Builtin::SubtaskCancel => return subtask::cancel_subtask(cx, first, self.asynchronous, slots),
            Builtin::BackpressureInc => return backpressure(cx, 1),
            Builtin::BackpressureDec => return backpressure(cx, -1),
            Builtin::Yield => return waiting::yielded(cx, slots),
            Builtin::End { of, table, what } => {
                let named = ends::Named { of, table, element: &self.element, asynchronous: self.asynchronous };
                match what {
                    EndFunction::New => ends::new(cx, &named)?,
                    EndFunction::Read => return ends::copy(cx, &named, ends::Side::Readable, slots),
                    EndFunction::Write => return ends::copy(cx, &named, ends::Side::Writable, slots),
                    EndFunction::CancelRead => ends::cancel(cx, &named, ends::Side::Readable, first)?.into(),
                    EndFunction::CancelWrite => ends::cancel(cx, &named, ends::Side::Writable, first)?.into(),
                    EndFunction::DropReadable => return ends::drop_end(cx, &named, ends::Side::Readable, first),
                    EndFunction::DropWritable => return ends::drop_end(cx, &named, ends::Side::Writable, first),
                }
            }
        };
        if let Some(slot) = slots.first_mut() {
            *slot = result;
        }
        Ok(())
    }
}

fn backpressure(cx: &mut Cx<'_>, by: i32) -> Outcome {
    let instance = cx.instance();
    let concurrent = &mut cx.state.concurrent;
    match concurrent.backpressure.get(&instance).copied().unwrap_or_default().checked_add_signed(by) {
        Some(0) => {
            concurrent.backpressure.remove(&instance);
            concurrent.measure();
            Ok(())
        }
        Some(now) if now < MAX_BACKPRESSURE => {
            concurrent.backpressure.insert(instance, now);
            concurrent.measure();
            Ok(())
        }
        Some(_) => rule("backpressure was asked for too often"),
        None => rule("backpressure was given up more often than it was asked for"),
    }
}

/// How many pieces are passed on before others have their turn, and time limits are looked at.
pub(crate) const PIECES: usize = 64;

/// Work of the host's that a guest has begun and does not wait for, as a message that is sent.
pub(crate) trait Pump: Send {
    /// Goes on with it; ready when it is done.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Whether it waits for something that only the guest can do.
    fn stuck(&self) -> bool;
}

/// What a guest has of all this beside its handles.
#[derive(Default)]
pub(crate) struct Concurrent {
    pub(crate) task: Option<Task>,
    /// Those that do not run.
    tasks: Tasks,
    /// What is set aside while a component calls another one synchronously.
    pub(crate) outer: Vec<(Option<Task>, Contexts)>,
    /// The call that one component has prepared and not started.
    pub(crate) prepared: Option<Call>,
    /// How many tasks are on the stack.
    pub(crate) depth: usize,
    /// What the host is to bring about, by index of the table.
    waited: Vec<u32>,
    /// What goes on by itself, and whose turn it was when it began.
    pumps: Vec<(u64, Box<dyn Pump>)>,
    /// The number of the task whose turn it is, where the host has called several.
    turn: u64,
    /// How often each component instance has asked for backpressure; none that has not.
    backpressure: BTreeMap<u32, u32>,
    /// Whether any has, for who hands requests to the guest.
    pressed: Arc<AtomicBool>,
}

impl Concurrent {
    /// Has the host go on with something whenever the guest waits.
    ///
    /// # Errors
    /// A limit, if there is as much already as a guest may have handles: what is under way need not have one.
    pub(crate) fn pump(&mut self, pump: impl Pump + 'static) -> Outcome {
        if self.pumps.len() >= MAX_HANDLES {
            return limit(format!(
                "the guest has {MAX_HANDLES} messages or streams on their way, the most it may have"
            ));
        }
        self.pumps.push((self.turn, Box::new(pump)));
        Ok(())
    }

    /// Whether the guest wants no new task.
    pub(crate) fn refuses_tasks(&self) -> bool {
        !self.backpressure.is_empty()
    }

    /// Has those know who hand requests to the guest.
    fn measure(&self) {
        self.pressed.store(self.refuses_tasks(), Ordering::Release);
    }

    /// Has the host bring about what is behind a handle. It is there once only, whoever has taken its last event.
    fn wait_for(&mut self, handle: u32) {
        if !self.waited.contains(&handle) {
            self.waited.push(handle);
        }
    }

    /// Goes on with what was begun. Returns whether anything of it can go on without the guest.
    fn poll_pumps(&mut self, context: &mut Context<'_>) -> bool {
        self.pumps.retain_mut(|(_, pump)| pump.poll(context).is_pending());
        self.pumps.iter().any(|(_, pump)| !pump.stuck())
    }
}

/// Goes on with all that the host is to bring about. Returns whether any of it can still happen without the guest.
fn progress(state: &mut State, caller: &mut dyn Caller, context: &mut Context<'_>) -> Outcome<bool> {
    let mut going_on = state.concurrent.poll_pumps(context);
    let waited = std::mem::take(&mut state.concurrent.waited);
    let mut left = Vec::with_capacity(waited.len());
    let mut fault = None;
    for handle in waited {
        if fault.is_none() {
            match waiting::advance(state, caller, handle, context) {
                Ok(waiting::Advance::Done) => continue,
                Ok(waiting::Advance::OfTheHost) => going_on = true,
                Ok(waiting::Advance::OfTheGuest) => {}
                Err(error) => fault = Some(error),
            }
        }
        left.push(handle);
    }
    state.concurrent.waited.append(&mut left);
    // What was done may have let a message go on.
    going_on |= state.concurrent.poll_pumps(context);
    fault.map_or(Ok(going_on), Err)
}
