//! Calls that a guest has under way: of the host's functions, or of another component's.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::ends::BLOCKED;
use super::progress;
use super::waiting::{self, Advance, Waited, answer};
use crate::abi::wasi02::State;
use crate::abi::wasi02::canon::{Cx, Lower, Outcome, again, rule};
use crate::abi::wasi02::options::Options;
use crate::abi::wasi02::table::Resource;
use crate::types::Caller;

/// How far a call has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Called {
    Starting = 0,
    Started = 1,
    Returned = 2,
    CancelledBeforeStart = 3,
    Cancelled = 4,
}

impl Called {
    /// Whether it is over for its caller.
    fn is_resolved(self) -> bool {
        !matches!(self, Called::Starting | Called::Started)
    }
}

/// A call that is under way.
pub(crate) struct Subtask {
    pub(crate) state: Called,
    /// What the guest knows of it.
    told: Called,
    /// What it waits for, until then, if it is the host's.
    pending: Option<Box<dyn PendingCall>>,
    options: Arc<Options>,
    /// Where its result goes.
    result: u32,
    /// Whether it is another component's, and whether that one was asked to give up.
    callee: Option<bool>,
    /// What it has borrowed, by the number of the call.
    pub(crate) scope: Option<usize>,
    /// What it has returned, to who waits for it without a handle.
    pub(crate) value: Option<u64>,
    /// As its caller knows it.
    handle: u32,
    pub(super) set: u32,
}

impl Resource for Subtask {
    const NAME: &'static str = "subtask";
}

/// Whether this is the name of what a call is to a guest.
pub(crate) fn is_call(resource: &str) -> bool {
    resource == Subtask::NAME
}

impl Subtask {
    /// A call of another component, which has not begun.
    pub(crate) fn of_component() -> Self {
        Subtask {
            state: Called::Starting,
            told: Called::Starting,
            pending: None,
            options: Arc::default(),
            result: 0,
            callee: Some(false),
            scope: None,
            value: None,
            handle: 0,
            set: 0,
        }
    }

    /// Whether it is over, told or not.
    pub(crate) fn is_resolved(&self) -> bool {
        self.state.is_resolved()
    }

    /// Whether its caller has asked it to give up.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.callee == Some(true)
    }

    pub(super) fn has_event(&self) -> bool {
        self.state != self.told
    }

    /// Takes the event, if there is one.
    pub(super) fn take_event(&mut self) -> Option<(u32, Called)> {
        let told = std::mem::replace(&mut self.told, self.state);
        (told != self.state).then_some((self.handle, self.state))
    }

    /// Gives its caller a handle, and says what that knows now.
    pub(crate) fn told(&mut self, handle: u32) -> u32 {
        self.handle = handle;
        self.told = self.state;
        self.state as u32 | handle << 4
    }
}

/// A call that has not returned.
pub(crate) trait PendingCall: Send {
    /// Goes on. When it returns its result is in memory at `result`, or in the slots of one that waits.
    fn poll(&mut self, cx: &mut Cx<'_>, result: Place<'_>, context: &mut Context<'_>) -> Outcome<Poll<()>>;
}

/// Where a result goes.
pub(crate) enum Place<'a> {
    Memory(u32),
    /// The slots of the call, and how many its parameters take.
    Slots(&'a mut [u64], usize),
}

impl Place<'_> {
    /// Puts it there.
    pub(crate) fn put<T: Lower>(self, value: T, cx: &mut Cx<'_>) -> Outcome {
        match self {
            Place::Memory(_) if T::FLAT == 0 => Ok(()),
            Place::Memory(ptr) => crate::abi::wasi02::canon::store_result(value, cx, ptr),
            Place::Slots(slots, params) => crate::abi::wasi02::canon::finish(value, cx, slots, params),
        }
    }
}

/// Goes on with a call that was lowered asynchronously, and answers with its state.
pub(crate) fn call_async(cx: &mut Cx<'_>, mut pending: Box<dyn PendingCall>, result: u32) -> Outcome<u32> {
    let context = &mut Context::from_waker(Waker::noop());
    if pending.poll(cx, Place::Memory(result), context)?.is_ready() {
        return Ok(Called::Returned as u32);
    }
    let options = cx.shared_options();
    let subtask = Subtask {
        state: Called::Started,
        pending: Some(pending),
        options,
        result,
        callee: None,
        ..Subtask::of_component()
    };
    let index = cx.state.table.push(subtask, None)?;
    let handle = cx.give::<Subtask>(index)?;
    cx.state.concurrent.wait_for(index);
    Ok(cx.state.table.get::<Subtask>(index)?.told(handle))
}

/// Waits for a call that was lowered synchronously.
pub(crate) fn call_sync(
    cx: &mut Cx<'_>,
    mut pending: Box<dyn PendingCall>,
    slots: &mut [u64],
    params: usize,
) -> Outcome {
    let context = &mut Context::from_waker(Waker::noop());
    if pending.poll(cx, Place::Slots(slots, params), context)?.is_ready() {
        return Ok(());
    }
    waiting::check_may_wait(cx.state, cx.caller)?;
    let run = cx.state.run.clone();
    let waited = run.wait(waiting::found(|context| {
        // What the guest began before may be what this call waits for.
        progress(cx.state, cx.caller, context)?;
        if pending.poll(cx, Place::Slots(slots, params), context)?.is_ready() {
            return Ok(Some(Waited::Ready));
        }
        Ok(super::turns::has_turn(cx.state)?.then_some(Waited::Turn))
    }))??;
    match waited {
        Waited::Ready => Ok(()),
        Waited::Turn => again(move |cx, slots| call_sync(cx, pending, slots, params)),
    }
}

/// Goes on with a call of the host's.
pub(super) fn advance(
    state: &mut State,
    caller: &mut dyn Caller,
    index: u32,
    context: &mut Context<'_>,
) -> Outcome<Advance> {
    let Ok(subtask) = state.table.get::<Subtask>(index) else { return Ok(Advance::Done) };
    let Some(mut pending) = subtask.pending.take() else { return Ok(Advance::Done) };
    let (options, result) = (subtask.options.clone(), subtask.result);
    let polled = pending.poll(&mut Cx::new(state, caller, &options), Place::Memory(result), context)?;
    let subtask = state.table.get::<Subtask>(index)?;
    if polled.is_ready() {
        subtask.state = Called::Returned;
        return Ok(Advance::Done);
    }
    subtask.pending = Some(pending);
    Ok(Advance::OfTheHost)
}

/// Says that the guest knows that a call is over, by which it has back what it lent.
pub(crate) fn delivered(state: &mut State, index: u32) -> Outcome {
    let subtask = state.table.get::<Subtask>(index)?;
    let scope = if subtask.is_resolved() { subtask.scope.take() } else { None };
    match (scope, &mut state.handles) {
        (Some(scope), Some(handles)) => handles.end(scope),
        _ => Ok(()),
    }
}

pub(super) fn drop_subtask(cx: &mut Cx<'_>, handle: u32) -> Outcome {
    let index = cx.look(handle)?;
    let subtask = cx.state.table.get::<Subtask>(index)?;
    if !subtask.told.is_resolved() {
        return rule("the subtask has not ended, or its end was not delivered; wait for it or cancel it first");
    }
    let set = subtask.set;
    cx.take(handle)?;
    cx.state.table.take::<Subtask>(index)?;
    waiting::leave(cx.state, set, index)
}

/// Asks a call to give up. Whatever the host does is given up at once, so that nobody has to wait for that.
pub(super) fn cancel_subtask(cx: &mut Cx<'_>, handle: u32, asynchronous: bool, slots: &mut [u64]) -> Outcome {
    let index = cx.look(handle)?;
    let subtask = cx.state.table.get::<Subtask>(index)?;
    if subtask.told.is_resolved() {
        return rule("the subtask has ended and its end was delivered");
    }
    if subtask.set != 0 && !asynchronous {
        return rule("the subtask is in a waitable set, so that nobody may wait for it otherwise");
    }
    if subtask.is_cancelled() {
        return rule("the subtask was asked to give up before");
    }
    match subtask.callee {
        None if !subtask.is_resolved() => {
            subtask.state = Called::Cancelled;
            subtask.pending = None;
        }
        Some(_) if !subtask.is_resolved() => {
            subtask.callee = Some(true);
            if cx.state.concurrent.leave_queue(index) {
                cx.state.table.get::<Subtask>(index)?.state = Called::CancelledBeforeStart;
            } else if super::turns::has_cancelled(cx.state) {
                return again(move |cx, slots| cancelled(cx, index, asynchronous, slots));
            }
        }
        _ => {}
    }
    cancelled(cx, index, asynchronous, slots)
}

/// What has come of asking a call to give up.
fn cancelled(cx: &mut Cx<'_>, index: u32, asynchronous: bool, slots: &mut [u64]) -> Outcome {
    if !cx.state.table.get::<Subtask>(index)?.is_resolved() {
        if asynchronous {
            answer(slots, BLOCKED);
            return Ok(());
        }
        let over = |state: &mut State| Ok(state.table.get::<Subtask>(index)?.is_resolved());
        if let Waited::Turn = waiting::wait(cx.state, cx.caller, over)? {
            return again(move |cx, slots| cancelled(cx, index, asynchronous, slots));
        }
    }
    let subtask = cx.state.table.get::<Subtask>(index)?;
    subtask.told = subtask.state;
    let state = subtask.state as u32;
    delivered(cx.state, index)?;
    cx.state.concurrent.waited.retain(|waited| *waited != index);
    answer(slots, state);
    Ok(())
}
