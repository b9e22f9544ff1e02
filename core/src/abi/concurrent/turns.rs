//! The tasks of a guest that do not run: which of them can go on, and in which order.
//!
//! A component whose task runs, or waits in a host function, is not entered by another task that has to have it for itself:
//! it would find the stack in its memory in use.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::Concurrent;
use super::subtask::Subtask;
use super::task::Task;
use super::waiting::{self, Event};
use crate::abi::composed::Call;
use crate::abi::wasi02::State;
use crate::abi::wasi02::canon::{Outcome, limit};
use crate::abi::wasi02::table::MAX_HANDLES;
use crate::budget::Charge;

/// What the globals hold that are a task's context.
pub(crate) type Contexts = [u64; wharf_plan::CONTEXT_SLOTS as usize];

/// A task that has returned to the host until it is called back.
pub(crate) struct Parked {
    pub(crate) task: Task,
    pub(crate) callback: Arc<str>,
    pub(crate) context: Contexts,
    /// The set it waits for, by index of the table; none where it only lets others go on.
    pub(crate) set: Option<u32>,
    /// What keeping it takes.
    pub(crate) _charge: Charge,
}

/// What a guest has to do.
pub(crate) enum Turn {
    /// To call a task back, with an event.
    CallBack(Box<Parked>, [u64; 3]),
    /// To begin a call.
    Begin(Call),
}

/// The tasks that do not run.
#[derive(Default)]
pub(crate) struct Tasks {
    parked: VecDeque<Box<Parked>>,
    /// Calls that wait until their component takes them.
    queue: VecDeque<Call>,
    /// The component instances that a task has for itself.
    taken: BTreeSet<u32>,
}

impl Concurrent {
    /// Whether there are any.
    pub(super) fn has_tasks(&self) -> bool {
        !(self.tasks.parked.is_empty() && self.tasks.queue.is_empty())
    }

    /// Whether a task waits in the set at this index of the table.
    pub(super) fn waits_in(&self, set: u32) -> bool {
        self.tasks.parked.iter().any(|parked| parked.set == Some(set))
    }

    /// Keeps a task until it is called back.
    ///
    /// # Errors
    /// A limit, if there are as many already as a guest may have handles: one that has returned needs no handle.
    pub(crate) fn park(&mut self, parked: Parked) -> Outcome {
        if self.tasks.parked.len() >= MAX_HANDLES {
            return limit(format!("{MAX_HANDLES} tasks of the guest wait, the most that may"));
        }
        self.tasks.parked.push_back(Box::new(parked));
        Ok(())
    }

    /// Has a component instance, for a task that runs there; false if another has it.
    pub(crate) fn take_instance(&mut self, instance: u32) -> bool {
        self.tasks.taken.insert(instance)
    }

    /// Lets it go.
    pub(crate) fn leave_instance(&mut self, instance: u32) {
        self.tasks.taken.remove(&instance);
    }

    /// Whether a component takes no calls for now, by its own wish or since it is busy.
    fn is_busy(&self, instance: u32) -> bool {
        self.backpressure.contains_key(&instance) || self.tasks.taken.contains(&instance)
    }

    /// Gives a call back if it can begin at once; else it waits.
    pub(crate) fn admit(&mut self, call: Call) -> Option<Call> {
        let instance = call.callee_instance;
        let waits = self.is_busy(instance) || self.tasks.queue.iter().any(|other| other.callee_instance == instance);
        if waits && call.asynchronous {
            self.tasks.queue.push_back(call);
            return None;
        }
        Some(call)
    }

    /// Takes a call out that has not begun; false if it has.
    pub(super) fn leave_queue(&mut self, subtask: u32) -> bool {
        let before = self.tasks.queue.len();
        self.tasks.queue.retain(|call| call.subtask != subtask);
        self.tasks.queue.len() < before
    }
}

/// What a parked task would be called back with. Sets that have no event are kept in `quiet`: many tasks may wait in one.
fn event_of(state: &mut State, at: usize, quiet: &mut BTreeSet<u32>) -> Outcome<Option<Reason>> {
    let Some(parked) = state.concurrent.tasks.parked.get(at) else { return Ok(None) };
    if state.concurrent.tasks.taken.contains(&parked.task.instance) {
        return Ok(None);
    }
    let (subtask, set) = (parked.task.uncancelled(), parked.set);
    if let Some(subtask) = subtask
        && state.table.get::<Subtask>(subtask).is_ok_and(|subtask| subtask.is_cancelled())
    {
        return Ok(Some(Reason::Cancelled));
    }
    Ok(match set {
        None => Some(Reason::Nothing),
        Some(set) if quiet.contains(&set) => None,
        Some(set) if waiting::has_event(state, set)? => Some(Reason::Event(set)),
        Some(set) => {
            quiet.insert(set);
            None
        }
    })
}

/// Why a task can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Cancelled,
    Nothing,
    /// Of this set.
    Event(u32),
}

/// Whether a task can go on that was asked to give up.
pub(super) fn has_cancelled(state: &mut State) -> bool {
    let parked = state.concurrent.tasks.parked.len();
    let mut quiet = BTreeSet::new();
    (0..parked).any(|at| matches!(event_of(state, at, &mut quiet), Ok(Some(Reason::Cancelled))))
}

/// Whether a task can go on.
pub(super) fn has_turn(state: &mut State) -> Outcome<bool> {
    let mut quiet = BTreeSet::new();
    for at in 0..state.concurrent.tasks.parked.len() {
        if event_of(state, at, &mut quiet)?.is_some() {
            return Ok(true);
        }
    }
    Ok(state.concurrent.tasks.queue.iter().any(|call| !state.concurrent.is_busy(call.callee_instance)))
}

/// Takes the task that goes on: one that was asked to give up before others, then who has waited longest.
pub(crate) fn next_turn(state: &mut State) -> Outcome<Option<Turn>> {
    let (mut found, mut quiet) = (None, BTreeSet::new());
    for at in 0..state.concurrent.tasks.parked.len() {
        match event_of(state, at, &mut quiet)? {
            Some(Reason::Cancelled) => {
                found = Some((at, Reason::Cancelled));
                break;
            }
            Some(reason) if found.is_none() => found = Some((at, reason)),
            _ => {}
        }
    }
    let Some((at, reason)) = found else {
        let begins = |call: &Call| !state.concurrent.is_busy(call.callee_instance);
        let at = state.concurrent.tasks.queue.iter().position(begins);
        return Ok(at.and_then(|at| state.concurrent.tasks.queue.remove(at)).map(Turn::Begin));
    };
    let Some(mut parked) = state.concurrent.tasks.parked.remove(at) else { return Ok(None) };
    let (event, first, second) = match reason {
        Reason::Nothing => (Event::None, 0, 0),
        Reason::Event(set) => waiting::next_event(state, set)?.unwrap_or((Event::None, 0, 0)),
        Reason::Cancelled => {
            parked.task.cancelled = true;
            (Event::Cancelled, 0, 0)
        }
    };
    Ok(Some(Turn::CallBack(parked, [event as u64, first.into(), second.into()])))
}
