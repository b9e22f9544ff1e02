//! Several tasks of one guest: whose turn it is, and what the host does for those whose turn it is not.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Waker};
use std::time::Instant;

use wharf_plan::Builtin;

use super::progress;
use super::task::Task;
use super::waiting::{self, Delivered};
use crate::abi::wasi02::canon::{Outcome, rule};
use crate::abi::wasi02::{Host, State};
use crate::stop::Stop;
use crate::types::Caller;

/// The tasks of a guest, as seen while none of them runs.
pub(crate) struct Idle<'a>(&'a mut State);

impl Idle<'_> {
    /// Takes the next event of a set.
    pub(crate) fn next_event(&mut self, set: u32) -> Outcome<Option<Delivered>> {
        waiting::next_event(self.0, set)
    }

    /// Whether the host still does something that this task has begun, which has exited: what only the guest could go on with
    /// ends.
    pub(crate) fn goes_on_after(&mut self, task: u64) -> bool {
        let pumps = &mut self.0.concurrent.pumps;
        pumps.retain(|(of, pump)| *of != task || !pump.stuck());
        pumps.iter().any(|(of, _)| *of == task)
    }
}

impl Host {
    /// It is this task's turn: what is begun from here on is its own.
    pub(crate) fn take_turn(&self, number: u64, task: Task, answers_head: bool) -> Result<(), Stop> {
        self.in_task(Builtin::TaskReturn { result: None }, |state| {
            state.concurrent.turn = number;
            state.concurrent.task = Some(task);
            state.answers_head = answers_head;
            Ok(())
        })
    }

    /// Ends the turn of the task that has it.
    pub(crate) fn end_turn(&self) -> Result<Task, Stop> {
        self.in_task(Builtin::TaskReturn { result: None }, |state| match state.concurrent.task.take() {
            Some(task) => Ok(task),
            None => rule("there is no task"),
        })
    }

    /// Gives up what a task has begun and the host goes on with: a message that is not whole breaks off.
    pub(crate) fn give_up(&self, task: u64) {
        let mut state = self.lock();
        let pumps = std::mem::take(&mut state.concurrent.pumps);
        let (ended, others): (Vec<_>, Vec<_>) = pumps.into_iter().partition(|(of, _)| *of == task);
        state.concurrent.pumps = others;
        drop(state);
        drop(ended);
    }

    /// Looks once at what can be done next, by `look`.
    pub(crate) fn look<T>(
        &self,
        caller: &mut dyn Caller,
        look: impl FnOnce(&mut Idle<'_>, &mut Context<'_>) -> Outcome<Option<T>>,
    ) -> Result<Option<T>, Stop> {
        self.in_task(Builtin::WaitableSetWait, |state| {
            let context = &mut Context::from_waker(Waker::noop());
            progress(state, caller, context)?;
            look(&mut Idle(state), context)
        })
    }

    /// Waits until `look` finds something to do, or `limit` passes. What was begun goes on meanwhile.
    pub(crate) fn wait_among<T>(
        &self,
        caller: &mut dyn Caller,
        limit: Option<Instant>,
        mut look: impl FnMut(&mut Idle<'_>, &mut Context<'_>) -> Outcome<Option<T>>,
    ) -> Result<Option<T>, Stop> {
        self.in_task(Builtin::WaitableSetWait, |state| {
            let run = state.run.clone();
            let looking = waiting::found(|context| {
                progress(state, caller, context)?;
                look(&mut Idle(state), context)
            });
            run.wait_until(looking, limit)?.transpose()
        })
    }

    /// Whether the guest has backpressure on, now and later.
    pub(crate) fn backpressure(&self) -> Arc<AtomicBool> {
        self.lock().concurrent.pressed.clone()
    }
}
