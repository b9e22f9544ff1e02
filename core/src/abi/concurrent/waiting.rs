//! What a guest waits for: sets of waitables, calls that are under way, and the wait itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::ends::{self, BLOCKED, End};
use super::progress;
use crate::abi::wasi02::State;
use crate::abi::wasi02::canon::{Cx, Lower, Outcome, rule};
use crate::abi::wasi02::options::Options;
use crate::abi::wasi02::table::Resource;
use crate::types::Caller;

/// The code of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    None = 0,
    Subtask = 1,
    StreamRead = 2,
    StreamWrite = 3,
    FutureRead = 4,
    FutureWrite = 5,
    TaskCancelled = 6,
}

/// A waitable set.
#[derive(Default)]
pub(super) struct WaitableSet {
    /// Who has waited longest for its turn is first.
    members: VecDeque<u32>,
}

impl Resource for WaitableSet {
    const NAME: &'static str = "waitable-set";
}

/// How far a call has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Called {
    Started = 1,
    Returned = 2,
    Cancelled = 4,
}

/// A call of the host that is under way.
pub(super) struct Subtask {
    state: Called,
    /// What it waits for, until then.
    pending: Option<Box<dyn PendingCall>>,
    options: Arc<Options>,
    /// Where its result goes.
    result: u32,
    /// Whether the guest was told that it has ended.
    delivered: bool,
    set: u32,
}

impl Resource for Subtask {
    const NAME: &'static str = "subtask";
}

/// Whether this is the name of what a call of the host is to a guest.
pub(crate) fn is_call(resource: &str) -> bool {
    resource == Subtask::NAME
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
    let subtask = Subtask { state: Called::Started, pending: Some(pending), options, result, delivered: false, set: 0 };
    let handle = cx.state.table.push(subtask, None)?;
    cx.state.concurrent.wait_for(handle);
    Ok(Called::Started as u32 | handle << 4)
}

/// Waits for a call that was lowered synchronously.
pub(crate) fn call_sync(
    cx: &mut Cx<'_>,
    mut pending: Box<dyn PendingCall>,
    slots: &mut [u64],
    params: usize,
) -> Outcome {
    let run = cx.state.run.clone();
    run.wait(std::future::poll_fn(|context| {
        // What the guest began before may be what this call waits for.
        if let Err(fault) = progress(cx.state, cx.caller, context) {
            return Poll::Ready(Err(fault));
        }
        match pending.poll(cx, Place::Slots(slots, params), context) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Err(fault) => Poll::Ready(Err(fault)),
        }
    }))?
}

/// How far something has got that the host is to bring about.
pub(super) enum Advance {
    Done,
    /// The host goes on with it.
    OfTheHost,
    /// Only the guest could.
    OfTheGuest,
}

/// Goes on with what is behind a handle.
pub(super) fn advance(
    state: &mut State,
    caller: &mut dyn Caller,
    handle: u32,
    context: &mut Context<'_>,
) -> Outcome<Advance> {
    if let Ok(end) = state.table.get::<End>(handle) {
        let (channel, side) = (end.channel.clone(), end.side);
        ends::advance(state, caller, &channel, side, context)?;
        let end = state.table.get::<End>(handle)?;
        return Ok(if end.has_event() || !end.is_copying() {
            Advance::Done
        } else if super::channel::lock(&channel).host_acts(side) {
            Advance::OfTheHost
        } else {
            Advance::OfTheGuest
        });
    }
    let Ok(subtask) = state.table.get::<Subtask>(handle) else { return Ok(Advance::Done) };
    let Some(mut pending) = subtask.pending.take() else { return Ok(Advance::Done) };
    let (options, result) = (subtask.options.clone(), subtask.result);
    let polled = pending.poll(&mut Cx::new(state, caller, &options), Place::Memory(result), context)?;
    let subtask = state.table.get::<Subtask>(handle)?;
    if polled.is_ready() {
        subtask.state = Called::Returned;
        return Ok(Advance::Done);
    }
    subtask.pending = Some(pending);
    Ok(Advance::OfTheHost)
}

pub(super) fn new_set(cx: &mut Cx<'_>) -> Outcome<u32> {
    cx.state.table.push(WaitableSet::default(), None)
}

pub(super) fn drop_set(cx: &mut Cx<'_>, set: u32) -> Outcome {
    let members = cx.state.table.get::<WaitableSet>(set)?.members.len();
    if members > 0 {
        return rule(format!("the set still has {members} members, which must leave it first"));
    }
    cx.state.table.take::<WaitableSet>(set).map(drop)
}

/// Which set a waitable is in, to be changed.
fn set_of(state: &mut State, handle: u32) -> Outcome<&mut u32> {
    if state.table.get::<Subtask>(handle).is_ok() {
        return Ok(&mut state.table.get::<Subtask>(handle)?.set);
    }
    Ok(&mut state.table.get::<End>(handle)?.set)
}

pub(super) fn join(cx: &mut Cx<'_>, handle: u32, set: u32) -> Outcome {
    if set != 0 {
        cx.state.table.get::<WaitableSet>(set)?;
    }
    let before = std::mem::replace(set_of(cx.state, handle)?, set);
    leave(cx.state, before, handle)?;
    if set != 0 {
        cx.state.table.get::<WaitableSet>(set)?.members.push_back(handle);
    }
    Ok(())
}

/// Takes a waitable out of a set; 0 is none.
pub(super) fn leave(state: &mut State, set: u32, handle: u32) -> Outcome {
    if set != 0 {
        state.table.get::<WaitableSet>(set)?.members.retain(|member| *member != handle);
    }
    Ok(())
}

/// An event and its two numbers.
pub(crate) type Delivered = (Event, u32, u32);

/// Takes the next event of a set.
pub(super) fn next_event(state: &mut State, set: u32) -> Outcome<Option<Delivered>> {
    let members = state.table.get::<WaitableSet>(set)?.members.len();
    for at in 0..members {
        let Some(member) = state.table.get::<WaitableSet>(set)?.members.get(at).copied() else { break };
        if let Some(event) = event_of(state, member)? {
            // Each has its turn.
            let members = &mut state.table.get::<WaitableSet>(set)?.members;
            members.rotate_left(at);
            members.rotate_left(1);
            return Ok(Some(event));
        }
    }
    Ok(None)
}

/// Takes the event of a waitable, if it has one.
fn event_of(state: &mut State, handle: u32) -> Outcome<Option<Delivered>> {
    if let Ok(subtask) = state.table.get::<Subtask>(handle) {
        let ended = subtask.state != Called::Started && !std::mem::replace(&mut subtask.delivered, true);
        subtask.delivered = subtask.state != Called::Started;
        return Ok(ended.then_some((Event::Subtask, handle, subtask.state as u32)));
    }
    let end = state.table.get::<End>(handle)?;
    let code = end.event_code();
    Ok(end.take_event().map(|payload| (code, handle, payload)))
}

/// Whether a set has an event to deliver.
fn has_event(state: &mut State, set: u32) -> Outcome<bool> {
    let members: Vec<u32> = state.table.get::<WaitableSet>(set)?.members.iter().copied().collect();
    for member in members {
        let ready = match state.table.get::<Subtask>(member) {
            Ok(subtask) => subtask.state != Called::Started && !subtask.delivered,
            Err(_) => state.table.get::<End>(member)?.has_event(),
        };
        if ready {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits until `ready`. While the guest waits, what it has begun goes on.
pub(super) fn wait(
    state: &mut State,
    caller: &mut dyn Caller,
    mut ready: impl FnMut(&mut State) -> Outcome<bool>,
) -> Outcome {
    let run = state.run.clone();
    run.wait(std::future::poll_fn(|context| {
        let mut look = || {
            if ready(state)? {
                return Ok(true);
            }
            let going_on = progress(state, caller, context)?;
            let ready = ready(state)?;
            if !ready && !going_on {
                return rule("it waits for what only the guest itself could bring about, so the wait would never end");
            }
            Ok(ready)
        };
        match look() {
            Ok(false) => Poll::Pending,
            Ok(true) => Poll::Ready(Ok(())),
            Err(fault) => Poll::Ready(Err(fault)),
        }
    }))?
}

/// Waits for the next event of a set.
pub(super) fn wait_for(state: &mut State, caller: &mut dyn Caller, set: u32) -> Outcome<Delivered> {
    wait(state, caller, |state| has_event(state, set))?;
    next_event(state, set)?.map_or_else(|| rule("a wait ended without an event"), Ok)
}

/// Lets the host go on, without waiting for it.
pub(super) fn let_go_on(state: &mut State, caller: &mut dyn Caller) -> Outcome {
    let run = state.run.clone();
    if let Some(stop) = run.over() {
        return Err(stop.into());
    }
    progress(state, caller, &mut Context::from_waker(Waker::noop()))?;
    run.yielded();
    Ok(())
}

pub(super) fn yielded(cx: &mut Cx<'_>) -> Outcome {
    let_go_on(cx.state, cx.caller)
}

fn deliver(cx: &mut Cx<'_>, ptr: u32, (event, first, second): Delivered) -> Outcome<u32> {
    crate::abi::wasi02::canon::store_result((first, second), cx, ptr)?;
    Ok(event as u32)
}

pub(super) fn wait_in(cx: &mut Cx<'_>, set: u32, ptr: u32) -> Outcome<u32> {
    let event = wait_for(cx.state, cx.caller, set)?;
    deliver(cx, ptr, event)
}

pub(super) fn poll_in(cx: &mut Cx<'_>, set: u32, ptr: u32) -> Outcome<u32> {
    cx.state.table.get::<WaitableSet>(set)?;
    let_go_on(cx.state, cx.caller)?;
    let event = next_event(cx.state, set)?.unwrap_or((Event::None, 0, 0));
    deliver(cx, ptr, event)
}

pub(super) fn drop_subtask(cx: &mut Cx<'_>, handle: u32) -> Outcome {
    let subtask = cx.state.table.get::<Subtask>(handle)?;
    if !subtask.delivered {
        return rule("the subtask has not ended, or its end was not delivered; wait for it or cancel it first");
    }
    let set = subtask.set;
    cx.state.table.take::<Subtask>(handle)?;
    leave(cx.state, set, handle)
}

/// Whatever the host does is given up at once, so that nobody has to wait for that.
pub(super) fn cancel_subtask(cx: &mut Cx<'_>, handle: u32, asynchronous: bool) -> Outcome<u32> {
    let subtask = cx.state.table.get::<Subtask>(handle)?;
    if subtask.delivered {
        return rule("the subtask has ended and its end was delivered");
    }
    if subtask.set != 0 && !asynchronous {
        return rule("the subtask is in a waitable set, so that nobody may wait for it otherwise");
    }
    if subtask.state == Called::Started {
        subtask.state = Called::Cancelled;
        subtask.pending = None;
    }
    subtask.delivered = true;
    let state = subtask.state as u32;
    debug_assert_ne!(state, BLOCKED);
    cx.state.concurrent.waited.retain(|waited| *waited != handle);
    Ok(state)
}

/// Waits until all that the host can finish without the guest is finished.
pub(super) fn finish(state: &mut State, caller: &mut dyn Caller) -> Outcome {
    let run = state.run.clone();
    run.wait(std::future::poll_fn(|context| {
        // What the guest itself waited for, it waits for no more.
        state.concurrent.waited.clear();
        match progress(state, caller, context) {
            Ok(true) => Poll::Pending,
            Ok(false) => Poll::Ready(Ok(())),
            Err(fault) => Poll::Ready(Err(fault)),
        }
    }))?
}
