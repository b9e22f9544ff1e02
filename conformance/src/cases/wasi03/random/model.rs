//! What `CanonicalABI.md` says of streams and futures whose ends are in one guest: state, events and bytes.

/// The results of a copy.
const COMPLETED: u32 = 0;
const DROPPED: u32 = 1;
const CANCELLED: u32 = 2;

/// What a copy returns that goes on.
const BLOCKED: u32 = u32::MAX;

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Readable,
    Writable,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Side::Readable => Side::Writable,
            Side::Writable => Side::Readable,
        }
    }
}

/// How far an end has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Copying,
    Done,
    /// The handle is gone.
    Gone,
}

#[derive(Debug)]
struct End {
    state: State,
    ptr: u32,
    len: u32,
    progress: u32,
    /// What its copy came to, until it is told; and whether its buffer stays in reach until then.
    event: Option<(u32, bool)>,
}

impl End {
    fn left(&self) -> u32 {
        self.len - self.progress
    }
}

/// A stream of bytes, or a future of a number.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) future: bool,
    dropped: bool,
    /// Whose buffer the other end meets.
    waiting: Option<Side>,
    ends: [End; 2],
}

/// A rule is broken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl Channel {
    pub(super) fn new(future: bool) -> Self {
        let end = || End { state: State::Idle, ptr: 0, len: 0, progress: 0, event: None };
        Channel { future, dropped: false, waiting: None, ends: [end(), end()] }
    }

    fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    /// Whether the guest has it still.
    pub(super) fn has(&self, side: Side) -> bool {
        self.ends[side as usize].state != State::Gone
    }

    /// Whether a copy may begin.
    pub(super) fn may_copy(&self, side: Side) -> bool {
        self.ends[side as usize].state == State::Idle
    }

    /// Whether one may be cancelled.
    pub(super) fn may_cancel(&self, side: Side) -> bool {
        self.ends[side as usize].state == State::Copying
    }

    /// Whether there is an event to tell.
    pub(super) fn has_event(&self, side: Side) -> bool {
        self.ends[side as usize].event.is_some()
    }

    /// Whether the end may be dropped.
    pub(super) fn may_drop(&self, side: Side) -> bool {
        match self.ends[side as usize].state {
            State::Idle => !(self.future && side == Side::Writable),
            State::Done => true,
            State::Copying | State::Gone => false,
        }
    }

    /// `read` and `write`, asynchronously; `len` is 4 bytes for a future.
    pub(super) fn copy(&mut self, memory: &mut [u8], side: Side, ptr: u32, len: u32) -> Result<u32, Broken> {
        if !self.may_copy(side) {
            return Err(Broken);
        }
        let end = self.end(side);
        (end.state, end.ptr, end.len, end.progress) = (State::Copying, ptr, len, 0);
        if self.dropped {
            self.end(side).event = Some((DROPPED, false));
        } else if self.waiting.is_none() {
            self.waiting = Some(side);
        } else {
            self.meet(memory, side);
        }
        Ok(self.take_event(side).map_or(BLOCKED, |(_, payload)| payload))
    }

    /// The other end's buffer is there.
    fn meet(&mut self, memory: &mut [u8], side: Side) {
        let other = side.other();
        let (left, theirs) = (self.ends[side as usize].left(), self.ends[other as usize].left());
        if theirs > 0 {
            let count = left.min(theirs);
            if count > 0 {
                let at = |side: Side| (self.ends[side as usize].ptr + self.ends[side as usize].progress) as usize;
                let from = at(Side::Writable);
                memory.copy_within(from..from + count as usize, at(Side::Readable));
                self.ends.iter_mut().for_each(|end| end.progress += count);
                self.end(other).event = Some((COMPLETED, !self.future));
                if self.future {
                    self.waiting = None;
                }
            }
            self.end(side).event = Some((COMPLETED, false));
        } else if side == Side::Writable && left == 0 && self.ends[other as usize].len == 0 {
            self.end(side).event = Some((COMPLETED, false));
        } else {
            self.end(other).event = Some((COMPLETED, false));
            self.waiting = Some(side);
        }
    }

    /// Takes the event of an end: its code and what comes with it.
    pub(super) fn take_event(&mut self, side: Side) -> Option<(u32, u32)> {
        let (result, in_reach) = self.end(side).event.take()?;
        if in_reach && self.waiting == Some(side) {
            self.waiting = None;
        }
        let future = self.future;
        let end = self.end(side);
        end.state = if result == DROPPED || future && result == COMPLETED { State::Done } else { State::Idle };
        let code = 2 + side as u32 + if future { 2 } else { 0 };
        Some((code, if future { result } else { result | end.progress << 4 }))
    }

    /// `cancel-read` and `cancel-write`.
    pub(super) fn cancel(&mut self, side: Side) -> Result<u32, Broken> {
        if !self.may_cancel(side) {
            return Err(Broken);
        }
        if self.end(side).event.is_none() {
            self.waiting = None;
            self.end(side).event = Some((CANCELLED, false));
        }
        self.take_event(side).map(|(_, payload)| payload).ok_or(Broken)
    }

    /// `drop-readable` and `drop-writable`.
    pub(super) fn drop_end(&mut self, side: Side) -> Result<(), Broken> {
        if !self.may_drop(side) {
            return Err(Broken);
        }
        self.end(side).state = State::Gone;
        if !std::mem::replace(&mut self.dropped, true)
            && let Some(waiting) = self.waiting.take()
        {
            self.end(waiting).event = Some((DROPPED, false));
        }
        Ok(())
    }
}
