//! What a guest waits for: sets of waitables, and the wait itself.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use super::ends::{self, End};
use super::subtask::{self, Subtask};
use super::{progress, turns};
use crate::abi::composed::Handles;
use crate::abi::wasi02::State;
use crate::abi::wasi02::canon::{Cx, Outcome, again, rule};
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
    Cancelled = 6,
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

/// How far something has got that the host is to bring about.
pub(super) enum Advance {
    Done,
    /// The host goes on with it.
    OfTheHost,
    /// Only the guest could.
    OfTheGuest,
}

/// Goes on with what stands at `index` of the table.
pub(super) fn advance(
    state: &mut State,
    caller: &mut dyn Caller,
    index: u32,
    context: &mut Context<'_>,
) -> Outcome<Advance> {
    if state.table.is::<End>(index) {
        let end = state.table.get::<End>(index)?;
        let (channel, side) = (end.channel.clone(), end.side);
        ends::advance(state, caller, &channel, side, context)?;
        let end = state.table.get::<End>(index)?;
        return Ok(if end.has_event() || !end.is_copying() {
            Advance::Done
        } else if super::channel::lock(&channel).host_acts(side) {
            Advance::OfTheHost
        } else {
            Advance::OfTheGuest
        });
    }
    subtask::advance(state, caller, index, context)
}

/// Leaves what a call returns.
pub(super) fn answer(slots: &mut [u64], value: u32) {
    if let Some(slot) = slots.first_mut() {
        *slot = value.into();
    }
}

pub(super) fn new_set(cx: &mut Cx<'_>) -> Outcome<u32> {
    let index = cx.state.table.push(WaitableSet::default(), None)?;
    cx.give::<WaitableSet>(index)
}

pub(super) fn drop_set(cx: &mut Cx<'_>, set: u32) -> Outcome {
    let index = cx.look(set)?;
    let members = cx.state.table.get::<WaitableSet>(index)?.members.len();
    if members > 0 {
        return rule(format!("the set still has {members} members, which must leave it first"));
    }
    if cx.state.concurrent.waits_in(index) {
        return rule("a task waits in the set");
    }
    cx.take(set)?;
    cx.state.table.take::<WaitableSet>(index).map(drop)
}

/// The set that a guest's handle stands for.
pub(crate) fn set(state: &mut State, instance: u32, handle: u32) -> Outcome<u32> {
    let index = match &mut state.handles {
        Some(handles) => handles.look(instance, handle)?,
        None => handle,
    };
    state.table.get::<WaitableSet>(index)?;
    Ok(index)
}

/// Which set a waitable is in, to be changed.
fn set_of(state: &mut State, index: u32) -> Outcome<&mut u32> {
    if state.table.is::<Subtask>(index) {
        return Ok(&mut state.table.get::<Subtask>(index)?.set);
    }
    Ok(&mut state.table.get::<End>(index)?.set)
}

pub(super) fn join(cx: &mut Cx<'_>, handle: u32, set: u32) -> Outcome {
    let set = if set == 0 { 0 } else { self::set(cx.state, cx.instance(), set)? };
    let index = cx.look(handle)?;
    let before = std::mem::replace(set_of(cx.state, index)?, set);
    leave(cx.state, before, index)?;
    if set != 0 {
        cx.state.table.get::<WaitableSet>(set)?.members.push_back(index);
    }
    Ok(())
}

/// Takes a waitable out of a set; 0 is none.
pub(super) fn leave(state: &mut State, set: u32, index: u32) -> Outcome {
    if set != 0 {
        state.table.get::<WaitableSet>(set)?.members.retain(|member| *member != index);
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
fn event_of(state: &mut State, index: u32) -> Outcome<Option<Delivered>> {
    if state.table.is::<Subtask>(index) {
        let event = state.table.get::<Subtask>(index)?.take_event();
        if event.is_some() {
            subtask::delivered(state, index)?;
        }
        return Ok(event.map(|(handle, called)| (Event::Subtask, handle, called as u32)));
    }
    let end = state.table.get::<End>(index)?;
    let (code, handle) = (end.event_code(), end.handle);
    Ok(end.take_event().map(|payload| (code, handle, payload)))
}

/// Whether a set has an event to deliver.
pub(super) fn has_event(state: &mut State, set: u32) -> Outcome<bool> {
    let members: Vec<u32> = state.table.get::<WaitableSet>(set)?.members.iter().copied().collect();
    for member in members {
        let ready = if state.table.is::<Subtask>(member) {
            state.table.get::<Subtask>(member)?.has_event()
        } else {
            state.table.get::<End>(member)?.has_event()
        };
        if ready {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a wait has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// To what was waited for.
    Ready,
    /// To where another task of the guest can go on, which has its turn now.
    Turn,
}

/// Whether the function that runs may wait.
fn may_wait(state: &State, caller: &mut dyn Caller) -> bool {
    let global = state.handles.as_ref().and_then(Handles::may_block);
    global.and_then(|global| caller.global(global)) != Some(0)
}

/// Refuses to wait for a function that may not.
pub(super) fn check_may_wait(state: &State, caller: &mut dyn Caller) -> Outcome {
    if may_wait(state, caller) { Ok(()) } else { rule("a function that may not wait would wait") }
}

/// Whether another task has its turn now: never within a function that may not wait.
fn gives_way(cx: &mut Cx<'_>) -> Outcome<bool> {
    Ok(may_wait(cx.state, cx.caller) && turns::has_turn(cx.state)?)
}

/// What is looked for, once `look` finds it. It is looked for again whenever its context is woken.
pub(super) fn found<T>(
    mut look: impl FnMut(&mut Context<'_>) -> Outcome<Option<T>>,
) -> impl Future<Output = Outcome<T>> {
    std::future::poll_fn(move |context| look(context).transpose().map_or(Poll::Pending, Poll::Ready))
}

/// Waits until `ready`. While the guest waits, what it has begun goes on.
pub(crate) fn wait(
    state: &mut State,
    caller: &mut dyn Caller,
    mut ready: impl FnMut(&mut State) -> Outcome<bool>,
) -> Outcome<Waited> {
    if !ready(state)? {
        check_may_wait(state, caller)?;
    }
    let run = state.run.clone();
    run.wait(found(|context| {
        if ready(state)? {
            return Ok(Some(Waited::Ready));
        }
        let going_on = progress(state, caller, context)?;
        if ready(state)? {
            return Ok(Some(Waited::Ready));
        }
        if turns::has_turn(state)? {
            return Ok(Some(Waited::Turn));
        }
        if !going_on {
            return rule("it waits for what only the guest itself could bring about, so the wait would never end");
        }
        Ok(None)
    }))?
}

/// Waits for the next event of a set; none if another task has its turn before.
pub(super) fn wait_for(state: &mut State, caller: &mut dyn Caller, set: u32) -> Outcome<Option<Delivered>> {
    match wait(state, caller, |state| has_event(state, set))? {
        Waited::Ready => {
            next_event(state, set)?.map_or_else(|| rule("a wait ended without an event"), |it| Ok(Some(it)))
        }
        Waited::Turn => Ok(None),
    }
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

pub(super) fn yielded(cx: &mut Cx<'_>, slots: &mut [u64]) -> Outcome {
    answer(slots, 0);
    let_go_on(cx.state, cx.caller)?;
    if gives_way(cx)? { again(|_, _| Ok(())) } else { Ok(()) }
}

fn deliver(cx: &mut Cx<'_>, ptr: u32, (event, first, second): Delivered, slots: &mut [u64]) -> Outcome {
    crate::abi::wasi02::canon::store_result((first, second), cx, ptr)?;
    answer(slots, event as u32);
    Ok(())
}

pub(super) fn wait_in(cx: &mut Cx<'_>, set: u32, ptr: u32, slots: &mut [u64]) -> Outcome {
    let set = self::set(cx.state, cx.instance(), set)?;
    wait_at(cx, set, ptr, slots)
}

fn wait_at(cx: &mut Cx<'_>, set: u32, ptr: u32, slots: &mut [u64]) -> Outcome {
    match wait_for(cx.state, cx.caller, set)? {
        Some(event) => deliver(cx, ptr, event, slots),
        None => again(move |cx, slots| wait_at(cx, set, ptr, slots)),
    }
}

pub(super) fn poll_in(cx: &mut Cx<'_>, set: u32, ptr: u32, slots: &mut [u64]) -> Outcome {
    let set = self::set(cx.state, cx.instance(), set)?;
    let_go_on(cx.state, cx.caller)?;
    if gives_way(cx)? {
        return again(move |cx, slots| poll_at(cx, set, ptr, slots));
    }
    poll_at(cx, set, ptr, slots)
}

fn poll_at(cx: &mut Cx<'_>, set: u32, ptr: u32, slots: &mut [u64]) -> Outcome {
    let event = next_event(cx.state, set)?.unwrap_or((Event::None, 0, 0));
    deliver(cx, ptr, event, slots)
}

/// Waits until all that the host can finish without the guest is finished, or another task can go on.
pub(super) fn finish(state: &mut State, caller: &mut dyn Caller) -> Outcome<Waited> {
    let run = state.run.clone();
    run.wait(found(|context| {
        if !state.concurrent.has_tasks() {
            // What the guest itself waited for, it waits for no more.
            state.concurrent.waited.clear();
        }
        let going_on = progress(state, caller, context)?;
        if turns::has_turn(state)? {
            return Ok(Some(Waited::Turn));
        }
        Ok((!going_on).then_some(Waited::Ready))
    }))?
}
