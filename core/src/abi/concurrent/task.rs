//! The task that a guest runs: a call of an export that was lifted asynchronously, and its event loop.

use std::sync::Arc;

use wharf_plan::Builtin;

use super::waiting::{self, Event};
use crate::abi::wasi02::canon::{Cx, Fault, Outcome, rule};
use crate::abi::wasi02::http::Reply;
use crate::abi::wasi02::options::Options;
use crate::abi::wasi02::{Host, State};
use crate::stop::Stop;
use crate::types::Caller;

/// What a task is to give back.
pub(crate) enum Kind {
    /// What `task.return` is called with.
    Slots,
    /// A response, to whom it goes.
    Response(Reply),
}

/// The task that runs.
pub(crate) struct Task {
    kind: Option<Kind>,
    /// The type of its result in the plan, if the plan says.
    result: Option<Option<u32>>,
    options: Option<Arc<Options>>,
    slots: Vec<u64>,
    /// Whether it was asked to cancel itself.
    asked: bool,
}

impl Task {
    /// One that gives back what `kind` says, by these options and with a result of this type of the plan's.
    pub(crate) fn new(kind: Kind, declared: Option<(Option<u32>, Arc<Options>)>) -> Self {
        let (result, options) = declared.map_or((None, None), |(result, options)| (Some(result), Some(options)));
        Task { kind: Some(kind), result, options, slots: Vec::new(), asked: false }
    }
}

impl Task {
    /// One that gives back what it does in another way.
    pub(crate) fn resolved() -> Self {
        Task { kind: None, result: None, options: None, slots: Vec::new(), asked: false }
    }

    /// Whether it has given back what it is to, or is cancelled.
    pub(crate) fn is_resolved(&self) -> bool {
        self.kind.is_none()
    }

    /// Asks it to cancel itself, which it is told by an event. Returns whether that is to be delivered: once, to a task that
    /// is not resolved.
    pub(crate) fn ask_to_cancel(&mut self) -> bool {
        !self.is_resolved() && !std::mem::replace(&mut self.asked, true)
    }
}

/// What a guest's function, or its callback, answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Exit,
    Yield,
    Wait(u32),
}

impl Code {
    /// What the number means that it has returned.
    pub(crate) fn of(packed: u32) -> Option<Self> {
        Some(match packed & 0xf {
            0 => Code::Exit,
            1 => Code::Yield,
            2 => Code::Wait(packed >> 4),
            _ => return None,
        })
    }
}

/// How a task ended: with this result.
pub(crate) struct Ended(pub(crate) Vec<u64>);

/// `task.return`.
pub(super) fn returned(cx: &mut Cx<'_>, result: Option<u32>, slots: &mut [u64]) -> Outcome {
    let options = cx.shared_options();
    let Some(task) = &mut cx.state.concurrent.task else {
        return rule("no asynchronous function is being called");
    };
    if task.result.is_some_and(|expected| expected != result) {
        return rule("the result is of another type than the function's");
    }
    if task.options.as_ref().is_some_and(|of| of.memory != options.memory || of.encoding != options.encoding) {
        return rule("the result is passed with other options than the function has");
    }
    match task.kind.take() {
        None => rule("the task has returned already"),
        Some(Kind::Slots) => {
            task.slots = slots.to_vec();
            Ok(())
        }
        Some(Kind::Response(reply)) => crate::abi::wasi03::respond(cx, slots, reply),
    }
}

/// `task.cancel`: a task gives nothing back that was asked to cancel itself.
pub(super) fn cancelled(cx: &mut Cx<'_>) -> Outcome {
    match &mut cx.state.concurrent.task {
        Some(task) if task.asked => match task.kind.take() {
            Some(_) => Ok(()),
            None => rule("the task has returned already"),
        },
        _ => rule("nobody has asked the task to cancel itself"),
    }
}

fn unresolved<T>() -> Outcome<T> {
    rule("the task has ended without returning a result")
}

impl Host {
    /// Begins a task.
    pub(crate) fn begin_task(&self, task: Task) -> Result<(), Stop> {
        self.in_task(Builtin::TaskReturn { result: None }, |state| {
            state.concurrent.task = Some(task);
            Ok(())
        })
    }

    /// Waits as the guest has asked to before its callback is called; gives what it is called with.
    pub(crate) fn wait_between(&self, code: Code, caller: &mut dyn Caller) -> Result<[u64; 3], Stop> {
        self.in_task(Builtin::WaitableSetWait, |state| {
            let (event, first, second) = match code {
                Code::Wait(set) => waiting::wait_for(state, caller, set)?,
                Code::Yield | Code::Exit => {
                    waiting::let_go_on(state, caller)?;
                    (Event::None, 0, 0)
                }
            };
            Ok([event as u64, first.into(), second.into()])
        })
    }

    /// Ends the task, which has exited; goes on with what it has begun and the host can finish without it.
    pub(crate) fn end_task(&self, caller: &mut dyn Caller) -> Result<Ended, Stop> {
        self.in_task(Builtin::TaskReturn { result: None }, |state| {
            let Some(task) = state.concurrent.task.take() else { return rule("there is no task") };
            if !task.is_resolved() {
                return unresolved();
            }
            waiting::finish(state, caller)?;
            state.concurrent.pumps.clear();
            Ok(Ended(task.slots))
        })
    }

    /// Goes on with what the guest has begun and the host can finish without it.
    pub(crate) fn finish_begun(&self, caller: &mut dyn Caller) -> Result<(), Stop> {
        self.in_task(Builtin::TaskReturn { result: None }, |state| {
            waiting::finish(state, caller)?;
            state.concurrent.pumps.clear();
            Ok(())
        })
    }

    /// Says that a call of an export has another code than there is.
    pub(crate) fn wrong_code(&self, packed: u32) -> Stop {
        self.broken(
            Builtin::WaitableSetWait,
            rule(format!("{packed:#x} is not a valid answer of an asynchronous function or its callback")),
        )
    }

    /// Says that a task has exited without a result.
    pub(crate) fn unresolved(&self) -> Stop {
        self.broken(Builtin::TaskReturn { result: None }, unresolved())
    }

    fn broken(&self, builtin: Builtin, broken: Outcome) -> Stop {
        match self.in_task(builtin, |_| broken) {
            Err(stop) => stop,
            Ok(()) => Stop::Exit(1),
        }
    }

    pub(super) fn in_task<T>(
        &self,
        builtin: Builtin,
        action: impl FnOnce(&mut State) -> Outcome<T>,
    ) -> Result<T, Stop> {
        let mut given = None;
        self.locked((super::INTERFACE, &builtin.to_string()), |state| {
            given = Some(action(state)?);
            Ok::<(), Fault>(())
        })?;
        given.ok_or_else(|| {
            crate::error::Error::new(crate::error::Kind::Internal, "a function of a task gave nothing").into()
        })
    }
}
