//! What the two ends of a stream or a future share.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use super::ends::Side;
use crate::abi::wasi02::canon::{Cx, Outcome};
use crate::abi::wasi02::options::Options;

/// What became of an attempt to move values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// So many were; none if none was wanted.
    Values(u32),
    /// None was, and none ever will: the host has dropped its end.
    Ended,
}

/// What the host gives to a guest that reads.
pub(crate) trait Source: Send {
    /// Writes at most `room` values to the guest's memory at `ptr`. Ready when there are some, or the end; where there is no
    /// room, when there would be.
    fn poll(&mut self, cx: &mut Cx<'_>, ptr: u32, room: u32, context: &mut Context<'_>) -> Outcome<Poll<Moved>>;

    /// Whether it waits for something that only the guest can do.
    fn stuck(&self) -> bool {
        false
    }

    /// The source itself, for the host to read where the guest gives its end to the host.
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

/// What the host does with what a guest writes.
pub(crate) trait Sink: Send {
    /// Takes at most `count` values from the guest's memory at `ptr`. Ready when some are taken, or none will be; where
    /// there are none, when some would be.
    fn poll(&mut self, cx: &mut Cx<'_>, ptr: u32, count: u32, context: &mut Context<'_>) -> Outcome<Poll<Moved>>;

    /// The guest has dropped its end: all that there is was written. Not called for a guest that ends before.
    fn close(&mut self) {}
}

/// How a copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Result {
    Completed = 0,
    Dropped = 1,
    Cancelled = 2,
}

/// A read or write of the guest's that is under way, or that has ended and whose event is not delivered.
#[derive(Debug)]
pub(crate) struct Copying {
    pub(super) ptr: u32,
    pub(super) len: u32,
    /// How many values were moved.
    pub(super) moved: u32,
    pub(super) options: Arc<Options>,
    /// The type of the values in the plan.
    pub(super) ty: Option<u32>,
    /// Whether more may be moved.
    pub(super) open: bool,
    /// The event, once there is one.
    pub(super) event: Option<Result>,
}

impl Copying {
    pub(super) fn remaining(&self) -> u32 {
        self.len - self.moved
    }

    /// Says that it ended.
    pub(super) fn end(&mut self, result: Result) {
        self.open = false;
        self.event = Some(result);
    }
}

/// A stream or a future.
#[derive(Default)]
pub(crate) struct Channel {
    /// Where the host writes.
    pub(super) source: Option<Box<dyn Source>>,
    /// Where the host reads.
    pub(super) sink: Option<Box<dyn Sink>>,
    /// What the guest has under way at each end.
    copying: [Option<Copying>; 2],
    /// Which ends were dropped.
    dropped: [bool; 2],
}

pub(crate) type Shared = Arc<Mutex<Channel>>;

pub(super) fn lock(shared: &Shared) -> MutexGuard<'_, Channel> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Channel {
    /// One that the host writes.
    pub(super) fn from_source(source: impl Source + 'static) -> Shared {
        Arc::new(Mutex::new(Channel { source: Some(Box::new(source)), ..Channel::default() }))
    }

    pub(super) fn copying(&mut self, side: Side) -> &mut Option<Copying> {
        &mut self.copying[side as usize]
    }

    pub(super) fn is_dropped(&self, side: Side) -> bool {
        self.dropped[side as usize]
    }

    /// Drops an end: what the other one has under way ends with that.
    pub(super) fn drop_end(&mut self, side: Side) {
        if std::mem::replace(&mut self.dropped[side as usize], true) {
            return;
        }
        if side == Side::Writable
            && let Some(sink) = &mut self.sink
        {
            sink.close();
        }
        if let Some(copying) = self.copying(side.other()).as_mut().filter(|copying| copying.open) {
            copying.end(Result::Dropped);
        }
    }

    /// Whether the host is at the other end, and does something there.
    pub(super) fn host_acts(&self, side: Side) -> bool {
        match side {
            Side::Readable => self.source.as_ref().is_some_and(|source| !source.stuck()),
            Side::Writable => self.sink.is_some(),
        }
    }
}

/// The host's end of a stream or future that the guest gave it: dropped with this.
pub(crate) struct HostEnd {
    channel: Shared,
    /// Whether it is the guest's again.
    given: bool,
}

impl HostEnd {
    pub(super) fn new(channel: Shared) -> Self {
        HostEnd { channel, given: false }
    }

    /// What is shared, for an end that the guest gets.
    pub(super) fn into_shared(mut self) -> Shared {
        self.given = true;
        self.channel.clone()
    }

    /// Whether the guest has dropped the other end.
    pub(crate) fn writer_dropped(&self) -> bool {
        lock(&self.channel).is_dropped(Side::Writable)
    }

    /// Has what the guest writes go there from now on.
    pub(super) fn read_into(&self, mut sink: impl Sink + 'static) {
        let mut channel = lock(&self.channel);
        if channel.is_dropped(Side::Writable) {
            sink.close();
        }
        channel.sink = Some(Box::new(sink));
    }

    /// What the host itself writes there, if it does.
    pub(super) fn take_source(&self) -> Option<Box<dyn Source>> {
        lock(&self.channel).source.take()
    }
}

impl Drop for HostEnd {
    fn drop(&mut self) {
        if self.given {
            return;
        }
        let sink = {
            let mut channel = lock(&self.channel);
            channel.drop_end(Side::Readable);
            channel.sink.take()
        };
        drop(sink);
    }
}
