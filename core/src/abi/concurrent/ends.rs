//! The ends of streams and futures that a guest holds.

use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use wharf_plan::Passing;

use super::channel::{Channel, Copying, Result, Shared, lock};
use super::waiting::{self, Event, Waited, answer};
use super::{Element, progress};
use crate::abi::composed;
use crate::abi::wasi02::State;
use crate::abi::wasi02::canon::{Cx, Outcome, again, rule};
use crate::abi::wasi02::options::Options;
use crate::abi::wasi02::table::Resource;
use crate::types::Caller;

/// The most values of one copy, by the specification.
const MAX_LENGTH: u32 = (1 << 28) - 1;

/// How many bytes the host holds while it moves values within the guest.
const PIECE: u32 = 64 << 10;

/// The answer that a copy is under way.
pub(super) const BLOCKED: u32 = u32::MAX;

/// Which end of a stream or future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Readable = 0,
    Writable = 1,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Side::Readable => Side::Writable,
            Side::Writable => Side::Readable,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Side::Readable => "readable",
            Side::Writable => "writable",
        }
    }
}

/// Which type of stream or future a function is for.
pub(super) struct Named<'a> {
    pub(super) of: Passing,
    pub(super) table: u32,
    pub(super) element: &'a Element,
    pub(super) asynchronous: bool,
}

/// An end that a guest has a handle of.
pub(crate) struct End {
    pub(super) channel: Shared,
    pub(super) of: Passing,
    pub(super) side: Side,
    /// The type in the plan. What the host made has the one that it is first used as.
    table: Option<u32>,
    pub(super) size: u32,
    pub(super) align: u32,
    /// As its holder knows it.
    pub(super) handle: u32,
    /// The waitable set it is in; 0 for none.
    pub(super) set: u32,
    /// Whether nothing may be done with it any more but to drop it.
    pub(super) done: bool,
}

impl Resource for End {
    const NAME: &'static str = "end of a stream or future";
}

impl End {
    /// The readable end of what the host made, whose values have this size.
    pub(super) fn readable(channel: Shared, of: Passing, size: u32, align: u32) -> Self {
        End { channel, of, side: Side::Readable, table: None, size, align, handle: 0, set: 0, done: false }
    }

    /// Whether a read or write is under way, or its event not yet delivered.
    pub(super) fn is_copying(&self) -> bool {
        lock(&self.channel).copying(self.side).is_some()
    }

    pub(super) fn has_event(&self) -> bool {
        lock(&self.channel).copying(self.side).as_ref().is_some_and(|copying| copying.event.is_some())
    }

    /// Takes the event, if there is one: what is delivered of it is a number.
    pub(super) fn take_event(&mut self) -> Option<u32> {
        let mut channel = lock(&self.channel);
        let copying = channel.copying(self.side);
        let result = copying.as_ref()?.event?;
        let moved = copying.take().map_or(0, |copying| copying.moved);
        self.done |= result == Result::Dropped || (self.of == Passing::Future && result == Result::Completed);
        Some(match self.of {
            Passing::Stream => result as u32 | moved << 4,
            Passing::Future => result as u32,
        })
    }

    pub(super) fn event_code(&self) -> Event {
        match (self.of, self.side) {
            (Passing::Stream, Side::Readable) => Event::StreamRead,
            (Passing::Stream, Side::Writable) => Event::StreamWrite,
            (Passing::Future, Side::Readable) => Event::FutureRead,
            (Passing::Future, Side::Writable) => Event::FutureWrite,
        }
    }
}

/// The end behind a handle, if it is of this type.
fn end<'a>(cx: &'a mut Cx<'_>, named: &Named<'_>, side: Side, handle: u32) -> Outcome<&'a mut End> {
    let index = cx.look(handle)?;
    let end = cx.state.table.get::<End>(index)?;
    if end.of != named.of || end.side != side {
        return rule(format!(
            "handle {handle} is the {} end of a {}, not the {} end of a {}",
            end.side.name(),
            end.of.name(),
            side.name(),
            named.of.name()
        ));
    }
    let same = match end.table {
        Some(table) => table == named.table,
        None => (end.size, end.align) == (named.element.size, named.element.align),
    };
    if !same {
        return rule(format!("handle {handle} is an end of a {} of another type", named.of.name()));
    }
    end.table = Some(named.table);
    Ok(end)
}

pub(super) fn new(cx: &mut Cx<'_>, named: &Named<'_>) -> Outcome<u64> {
    let channel: Shared = Arc::new(Mutex::new(Channel::default()));
    let mut push = |side| {
        let (size, align) = (named.element.size, named.element.align);
        let channel = channel.clone();
        let table = Some(named.table);
        publish(cx, End { channel, of: named.of, side, table, size, align, handle: 0, set: 0, done: false })
    };
    let readable = push(Side::Readable)?;
    let writable = push(Side::Writable)?;
    Ok(u64::from(readable) | u64::from(writable) << 32)
}

/// `stream.read`, `stream.write`, `future.read` and `future.write`.
pub(super) fn copy(cx: &mut Cx<'_>, named: &Named<'_>, side: Side, slots: &mut [u64]) -> Outcome {
    let slot = |at: usize| slots.get(at).copied().unwrap_or_default() as u32;
    let (handle, ptr, len) = (slot(0), slot(1), slot(2));
    let len = if named.of == Passing::Future { 1 } else { len };
    let found = end(cx, named, side, handle)?;
    if found.done {
        return rule(format!(
            "the {} has ended at its other end, or was used; it can only be dropped",
            named.of.name()
        ));
    }
    if found.is_copying() {
        return rule("an earlier read or write of the same end is still under way");
    }
    if found.set != 0 && !named.asynchronous {
        return rule("the end is in a waitable set, so that nobody may wait for it otherwise");
    }
    let channel = found.channel.clone();
    check_buffer(cx, named.element, ptr, len)?;
    let options = cx.shared_options();
    let ty = named.element.ty;
    let mut copying = Copying { ptr, len, moved: 0, options, ty, open: true, event: None };
    meet(cx, &channel, named, side, &mut copying)?;
    *lock(&channel).copying(side) = Some(copying);
    let context = &mut Context::from_waker(Waker::noop());
    if side == Side::Readable {
        cx.state.concurrent.poll_pumps(context);
    }
    if !end(cx, named, side, handle)?.has_event() {
        advance(cx.state, cx.caller, &channel, side, context)?;
    }
    if side == Side::Writable {
        cx.state.concurrent.poll_pumps(context);
    }
    let index = cx.look(handle)?;
    settle(cx, index, named.asynchronous, slots)
}

/// The event of an end, which is delivered now; or that there is none yet; or a wait for it.
fn settle(cx: &mut Cx<'_>, index: u32, asynchronous: bool, slots: &mut [u64]) -> Outcome {
    if let Some(payload) = cx.state.table.get::<End>(index)?.take_event() {
        answer(slots, payload);
        return Ok(());
    }
    cx.state.concurrent.wait_for(index);
    if asynchronous {
        answer(slots, BLOCKED);
        return Ok(());
    }
    let ready = |state: &mut State| Ok(state.table.get::<End>(index)?.has_event());
    match waiting::wait(cx.state, cx.caller, ready)? {
        Waited::Ready => settle(cx, index, true, slots),
        Waited::Turn => again(move |cx, slots| settle(cx, index, false, slots)),
    }
}

/// Refuses values that are not in the guest's memory. Where there are none, nothing is looked at.
fn check_buffer(cx: &mut Cx<'_>, element: &Element, ptr: u32, len: u32) -> Outcome {
    if len > MAX_LENGTH {
        return rule(format!("{len} values are more than one copy may have, which is {MAX_LENGTH}"));
    }
    if len == 0 || element.size == 0 {
        return Ok(());
    }
    if !ptr.is_multiple_of(element.align) {
        return rule(format!("the buffer at {ptr:#x} is not aligned to {}", element.align));
    }
    let within = len.checked_mul(element.size).map(|bytes| cx.memory().map(|memory| memory.slice(ptr, bytes).is_ok()));
    match within.transpose()? {
        Some(true) => Ok(()),
        _ => rule(format!("the buffer of {len} values at {ptr:#x} is not within the guest's memory")),
    }
}

/// Where a copy meets one at the other end, which is the guest's own.
fn meet(cx: &mut Cx<'_>, shared: &Shared, named: &Named<'_>, side: Side, new: &mut Copying) -> Outcome {
    let element = named.element;
    let (count, from, to) = {
        let mut channel = lock(shared);
        if channel.is_dropped(side.other()) {
            new.end(Result::Dropped);
            return Ok(());
        }
        let Some(other) = channel.copying(side.other()).as_mut().filter(|other| other.open) else { return Ok(()) };
        if !element.plain && other.options.instance == new.options.instance {
            return rule("a component may pass only numbers to itself");
        }
        if other.remaining() == 0 {
            let ends = if side == Side::Writable && new.len == 0 && other.len == 0 { new } else { other };
            ends.end(Result::Completed);
            return Ok(());
        }
        let count = other.remaining().min(new.remaining());
        let (from, to) = if side == Side::Writable { (&*new, &*other) } else { (&*other, &*new) };
        (count, Meeting::of(from, element), Meeting::of(to, element))
    };
    // Nothing else is done with the stream meanwhile: neither component runs.
    if count > 0 && element.plain {
        move_bytes(cx, &from, &to, count.saturating_mul(element.size))?;
    } else if count > 0 {
        composed::copy(cx.state, cx.caller, (from.place(), to.place()), count)?;
    }
    let mut channel = lock(shared);
    if let Some(other) = channel.copying(side.other()).as_mut().filter(|_| count > 0) {
        other.moved += count;
        other.event = Some(Result::Completed);
        // Until it is told, a stream's goes on, if only to end.
        other.open = named.of == Passing::Stream;
    }
    new.moved += count;
    new.end(Result::Completed);
    Ok(())
}

/// Where values go from, or to.
struct Meeting {
    ptr: u32,
    ty: Option<u32>,
    options: Arc<Options>,
}

impl Meeting {
    fn of(copying: &Copying, element: &Element) -> Self {
        let ptr = copying.ptr.wrapping_add(copying.moved.wrapping_mul(element.size));
        Meeting { ptr, ty: copying.ty, options: copying.options.clone() }
    }

    fn place(&self) -> composed::Place<'_> {
        composed::Place { ty: self.ty, ptr: self.ptr, options: &self.options }
    }
}

fn move_bytes(cx: &mut Cx<'_>, from: &Meeting, to: &Meeting, bytes: u32) -> Outcome {
    // By pieces, so that the host holds little: from the end where one memory may have the values overlap.
    let backwards = to.ptr > from.ptr;
    let mut moved = 0;
    while moved < bytes {
        let len = (bytes - moved).min(PIECE);
        let at = if backwards { bytes - moved - len } else { moved };
        let piece = cx.memory_of(&from.options.memory)?.slice(from.ptr + at, len)?.to_vec();
        cx.memory_of(&to.options.memory)?.write(to.ptr + at, &piece)?;
        moved += len;
    }
    Ok(())
}

/// Goes on with a copy that the host is at the other end of.
pub(super) fn advance(
    state: &mut State,
    caller: &mut dyn Caller,
    shared: &Shared,
    side: Side,
    context: &mut Context<'_>,
) -> Outcome {
    let mut channel = lock(shared);
    let Some(copying) = channel.copying(side).as_ref().filter(|copying| copying.open) else { return Ok(()) };
    let (len, options) = (copying.len, copying.options.clone());
    // Nothing may be said to lie anywhere.
    let ptr = if len == 0 { 0 } else { copying.ptr };
    // What the host does may use other streams, never this one: its end is the host's.
    let moved = match side {
        Side::Readable => {
            let Some(mut source) = channel.source.take() else { return Ok(()) };
            drop(channel);
            let moved = source.poll(&mut Cx::new(state, caller, &options), ptr, len, context);
            channel = lock(shared);
            channel.source = Some(source);
            moved?
        }
        Side::Writable => {
            let Some(mut sink) = channel.sink.take() else { return Ok(()) };
            drop(channel);
            let moved = sink.poll(&mut Cx::new(state, caller, &options), ptr, len, context);
            channel = lock(shared);
            channel.sink = Some(sink);
            moved?
        }
    };
    let std::task::Poll::Ready(moved) = moved else { return Ok(()) };
    let Some(copying) = channel.copying(side).as_mut() else { return Ok(()) };
    match moved {
        super::Moved::Values(count) => {
            copying.moved = count.min(copying.len);
            copying.end(Result::Completed);
        }
        super::Moved::Ended => {
            copying.end(Result::Dropped);
            channel.drop_end(side.other());
        }
    }
    Ok(())
}

pub(super) fn cancel(cx: &mut Cx<'_>, named: &Named<'_>, side: Side, handle: u32) -> Outcome<u32> {
    let found = end(cx, named, side, handle)?;
    if found.set != 0 && !named.asynchronous {
        return rule("the end is in a waitable set, so that nobody may wait for it otherwise");
    }
    {
        let mut channel = lock(&found.channel);
        let Some(copying) = channel.copying(side) else { return rule("no read or write of the end is under way") };
        if copying.event.is_none() {
            copying.end(Result::Cancelled);
        }
    }
    let index = cx.look(handle)?;
    cx.state.concurrent.waited.retain(|waited| *waited != index);
    let payload = cx.state.table.get::<End>(index)?.take_event();
    payload.map_or_else(|| rule("a read or write was cancelled without an event"), Ok)
}

pub(super) fn drop_end(cx: &mut Cx<'_>, named: &Named<'_>, side: Side, handle: u32) -> Outcome {
    let found = end(cx, named, side, handle)?;
    if found.is_copying() {
        return rule("a read or write of the end is still under way; cancel it first");
    }
    if named.of == Passing::Future && side == Side::Writable && !found.done {
        return rule("a future's writable end was dropped before a value was written to it");
    }
    let set = found.set;
    let index = cx.take(handle)?;
    let gone = cx.state.table.take::<End>(index)?;
    waiting::leave(cx.state, set, index)?;
    let mut channel = lock(&gone.channel);
    channel.drop_end(side);
    // What the host would have given is nobody's now.
    let source = if side == Side::Readable { channel.source.take() } else { None };
    drop(channel);
    drop(source);
    // Whoever waits at the other end is told.
    progress(cx.state, cx.caller, &mut Context::from_waker(Waker::noop())).map(drop)
}

/// Opens a handle of an end.
pub(super) fn publish(cx: &mut Cx<'_>, end: End) -> Outcome<u32> {
    let index = cx.state.table.push(end, None)?;
    let handle = cx.give::<End>(index)?;
    cx.state.table.get::<End>(index)?.handle = handle;
    Ok(handle)
}

/// Refuses to pass on what is not an end that may be.
fn check_passed(end: &End, handle: u32, of: Passing) -> Outcome {
    if end.of != of || end.side != Side::Readable {
        return rule(format!("handle {handle} is not the readable end of a {}", of.name()));
    }
    if end.is_copying() {
        return rule("an end was given away while a read of it is under way");
    }
    if end.done {
        return rule("an end was given away that can only be dropped");
    }
    Ok(())
}

fn of_another_type<T>(handle: u32, of: Passing) -> Outcome<T> {
    rule(format!("handle {handle} is an end of a {} of another type", of.name()))
}

/// Takes the readable end that a guest gives to the host.
pub(super) fn give(cx: &mut Cx<'_>, handle: u32, of: Passing, size: u32, align: u32) -> Outcome<Shared> {
    let index = cx.look(handle)?;
    let end = cx.state.table.get::<End>(index)?;
    check_passed(end, handle, of)?;
    if (end.size, end.align) != (size, align) {
        return of_another_type(handle, of);
    }
    let set = end.set;
    cx.take(handle)?;
    let given = cx.state.table.take::<End>(index)?;
    waiting::leave(cx.state, set, index)?;
    Ok(given.channel)
}

/// Moves a readable end from a component instance to another, between which it has these types of the plan.
pub(crate) fn transfer(
    state: &mut State,
    handle: u32,
    of: Passing,
    (from, from_table): (u32, u32),
    (to, to_table): (u32, u32),
) -> Outcome<u32> {
    let Some(handles) = &mut state.handles else { return rule("the guest is not composed of several components") };
    let index = handles.look(from, handle)?;
    let end = state.table.get::<End>(index)?;
    check_passed(end, handle, of)?;
    let same = match end.table {
        Some(table) => table == from_table,
        None => (end.size, end.align) == handles.composed().payload(of, from_table),
    };
    if !same {
        return of_another_type(handle, of);
    }
    let set = std::mem::take(&mut end.set);
    handles.take(from, handle)?;
    let given = handles.give(to, End::of(), index)?;
    end.table = Some(to_table);
    end.handle = given;
    waiting::leave(state, set, index)?;
    Ok(given)
}
