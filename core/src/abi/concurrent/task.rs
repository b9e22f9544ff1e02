//! The task that a guest runs: a call of an export that was lifted asynchronously, and its event loop.

use std::sync::Arc;

use wharf_plan::Builtin;

use super::subtask::{Called, Subtask};
use super::turns::{self, Tasks};
use super::waiting::{self, Event, Waited};
use super::{Answer, Function};
use crate::abi::wasi02::canon::{Cx, Outcome, rule};
use crate::abi::wasi02::http::Reply;
use crate::abi::wasi02::options::{Encoding, Options};
use crate::abi::wasi02::{Host, State};
use crate::stop::Stop;
use crate::types::Caller;

/// What a task is to give back.
pub(crate) enum Kind {
    /// What `task.return` is called with.
    Slots,
    /// A response, to whom it goes.
    Response(Reply),
    /// A result, to the component that has called.
    Caller(Answer),
}

/// The task that runs.
pub(crate) struct Task {
    pub(crate) kind: Option<Kind>,
    /// The type of its result in the plan, if the plan says.
    result: Option<Option<u32>>,
    /// The memory in which its result lies, if it has said so.
    memory: Option<Arc<str>>,
    encoding: Option<Encoding>,
    /// The component instance it runs in.
    pub(crate) instance: u32,
    /// Whether it may wait within a call.
    pub(crate) waits: bool,
    /// Whether it returns by `task.return`.
    asynchronous: bool,
    /// Whether it was told that it was asked to give up.
    pub(crate) cancelled: bool,
    slots: Vec<u64>,
}

impl Task {
    /// One that gives back what `kind` says, by these options and with a result of this type of the plan's.
    pub(crate) fn new(kind: Kind, declared: Option<(Option<u32>, Arc<Options>)>) -> Self {
        let instance = declared.as_ref().map_or(0, |(_, options)| options.instance);
        let (result, memory, encoding) = declared.map_or((None, None, None), |(result, options)| {
            (Some(result), Some(options.memory.clone()), Some(options.encoding))
        });
        Task { kind: Some(kind), result, memory, encoding, instance, asynchronous: true, ..Task::resolved() }
    }

    /// One that gives back what it does in another way.
    pub(crate) fn resolved() -> Self {
        Task {
            kind: None,
            result: None,
            memory: None,
            encoding: None,
            instance: 0,
            waits: true,
            asynchronous: false,
            cancelled: false,
            slots: Vec::new(),
        }
    }

    /// Whether it has given back what it is to, or is cancelled.
    pub(crate) fn is_resolved(&self) -> bool {
        self.kind.is_none()
    }

    /// Asks it to cancel itself, which it is told by an event. Returns whether that is to be delivered: once, to a task that
    /// is not resolved.
    pub(crate) fn ask_to_cancel(&mut self) -> bool {
        !self.is_resolved() && !std::mem::replace(&mut self.cancelled, true)
    }

    /// One that another component has called.
    pub(crate) fn called(answer: Answer, returning: Returning, instance: u32, waits: bool) -> Self {
        let Returning { result, memory, encoding, asynchronous } = returning;
        Task {
            kind: Some(Kind::Caller(answer)),
            result: Some(result),
            memory,
            encoding: Some(encoding),
            instance,
            waits,
            asynchronous,
            ..Task::resolved()
        }
    }

    /// The call that it answers, by index of the table, until it has returned or was told that it was asked to give up.
    pub(super) fn uncancelled(&self) -> Option<u32> {
        match &self.kind {
            Some(Kind::Caller(answer)) if !self.cancelled => Some(answer.subtask),
            _ => None,
        }
    }
}

/// How a task is to give its result back.
pub(crate) struct Returning {
    /// The type in the plan.
    pub(crate) result: Option<u32>,
    pub(crate) memory: Option<Arc<str>>,
    pub(crate) encoding: Encoding,
    /// Whether by `task.return`.
    pub(crate) asynchronous: bool,
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

impl Function {
    /// `task.return`.
    pub(super) fn task_return(
        &self,
        host: &Host,
        result: Option<u32>,
        caller: &mut dyn Caller,
        slots: &mut [u64],
    ) -> Result<(), Stop> {
        let mut answer = None;
        self.call_locked(host, caller, slots, |cx, slots| {
            answer = self.returned(cx, result, slots)?;
            Ok(())
        })?;
        match answer {
            Some(answer) => host.answer(&answer, slots, caller),
            None => Ok(()),
        }
    }

    /// Gives the result back; or the component to which it goes, which cannot be called meanwhile.
    fn returned(&self, cx: &mut Cx<'_>, result: Option<u32>, slots: &mut [u64]) -> Outcome<Option<Answer>> {
        let options = cx.shared_options();
        let Some(task) = &mut cx.state.concurrent.task else {
            return rule("no asynchronous function is being called");
        };
        if !task.asynchronous {
            return rule("the function is lifted synchronously and returns by itself");
        }
        if task.result.is_some_and(|expected| expected != result) {
            return rule("the result is of another type than the function's");
        }
        let other_memory = self.names_memory && task.memory.as_ref().is_some_and(|memory| *memory != options.memory);
        if other_memory || task.encoding.is_some_and(|encoding| encoding != options.encoding) {
            return rule("the result is passed with other options than the function has");
        }
        match task.kind.take() {
            None => rule("the task has returned already"),
            Some(Kind::Slots) => {
                task.slots = slots.to_vec();
                Ok(None)
            }
            Some(Kind::Response(reply)) => crate::abi::wasi03::respond(cx, slots, reply).map(|()| None),
            Some(Kind::Caller(answer)) => {
                cx.state.returns(&answer)?;
                Ok(Some(answer))
            }
        }
    }
}

/// `task.cancel`.
pub(super) fn cancelled(cx: &mut Cx<'_>) -> Outcome {
    let Some(task) = cx.state.concurrent.task.as_mut().filter(|task| task.cancelled) else {
        return rule("nobody has asked the task to cancel itself");
    };
    match task.kind.take() {
        None => rule("the task has returned already"),
        Some(Kind::Slots | Kind::Response(_)) => Ok(()),
        Some(Kind::Caller(answer)) => {
            cx.state.returns(&answer)?;
            cx.state.table.get::<Subtask>(answer.subtask)?.state = Called::Cancelled;
            Ok(())
        }
    }
}

impl State {
    /// Refuses that a component returns from a call while it holds what was lent for it.
    fn returns(&mut self, answer: &Answer) -> Outcome {
        match &mut self.handles {
            Some(handles) => handles.returns(answer.scope),
            None => Ok(()),
        }
    }
}

fn unresolved<T>() -> Outcome<T> {
    rule("the task has ended without returning a result")
}

impl Host {
    /// Begins a task.
    pub(crate) fn begin_task(&self, task: Task) -> Result<(), Stop> {
        self.in_task(Builtin::TaskReturn { result: None }, |state| {
            state.concurrent.take_instance(task.instance);
            state.concurrent.task = Some(task);
            Ok(())
        })
    }

    /// Waits as the guest has asked to before its callback is called; gives what it is called with.
    pub(crate) fn wait_between(&self, code: Code, caller: &mut dyn Caller) -> Result<[u64; 3], Stop> {
        let (mut instance, mut let_others) = (0, true);
        let event = loop {
            let event = self.in_task(Builtin::WaitableSetWait, |state| {
                instance = state.concurrent.task.as_ref().map_or(0, |task| task.instance);
                state.concurrent.leave_instance(instance);
                if let Code::Wait(set) = code {
                    let set = waiting::set(state, instance, set)?;
                    return waiting::wait_for(state, caller, set);
                }
                waiting::let_go_on(state, caller)?;
                let waits = std::mem::take(&mut let_others) && turns::has_turn(state)?;
                Ok((!waits).then_some((Event::None, 0, 0)))
            })?;
            match event {
                Some(event) => break event,
                None => self.turn(caller)?,
            }
        };
        let (event, first, second) = event;
        self.in_task(Builtin::WaitableSetWait, |state| {
            state.concurrent.take_instance(instance);
            Ok([event as u64, first.into(), second.into()])
        })
    }

    /// Ends the task, which has exited; goes on with what it has begun and the host can finish without it.
    pub(crate) fn end_task(&self, caller: &mut dyn Caller) -> Result<Ended, Stop> {
        let ended = self.in_task(Builtin::TaskReturn { result: None }, |state| {
            let Some(task) = state.concurrent.task.take() else { return rule("there is no task") };
            if !task.is_resolved() {
                return unresolved();
            }
            state.concurrent.leave_instance(task.instance);
            Ok(Ended(task.slots))
        })?;
        self.finish_begun(caller)?;
        Ok(ended)
    }

    /// Goes on with what the guest has begun and the host can finish without it, or other tasks of the guest's.
    pub(crate) fn finish_begun(&self, caller: &mut dyn Caller) -> Result<(), Stop> {
        let finish = |state: &mut State, caller: &mut dyn Caller| waiting::finish(state, caller);
        while self.in_task(Builtin::TaskReturn { result: None }, |state| finish(state, caller))? == Waited::Turn {
            self.turn(caller)?;
        }
        self.in_task(Builtin::TaskReturn { result: None }, |state| {
            state.concurrent.pumps.clear();
            state.concurrent.tasks = Tasks::default();
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

    /// Does something with the guest's state in a call of this function, or in the host's part of it.
    pub(crate) fn in_task<T>(
        &self,
        builtin: Builtin,
        action: impl FnOnce(&mut State) -> Outcome<T>,
    ) -> Result<T, Stop> {
        self.locked((super::INTERFACE, &builtin.to_string()), action)
    }
}
