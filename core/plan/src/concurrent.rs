//! The functions of the component model's concurrency: what a flattened module imports from [`ASYNC_MODULE`].
//!
//! [`ASYNC_MODULE`]: crate::ASYNC_MODULE

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the functions, by the component model's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "function", rename_all = "kebab-case")]
pub enum Builtin {
    /// `task.return`: takes the result of the task, which is of this type, in [`Plan::types`](crate::Plan::types).
    TaskReturn {
        /// The type of the result.
        result: Option<u32>,
    },
    /// `task.cancel`.
    TaskCancel,
    /// `waitable-set.new`: returns a handle.
    WaitableSetNew,
    /// `waitable-set.wait`: takes a set and a place for two numbers, returns an event's code.
    WaitableSetWait,
    /// `waitable-set.poll`: as [`WaitableSetWait`](Self::WaitableSetWait), without waiting.
    WaitableSetPoll,
    /// `waitable-set.drop`: takes a set.
    WaitableSetDrop,
    /// `waitable.join`: takes a waitable and a set, or 0 for none.
    WaitableJoin,
    /// `subtask.drop`: takes a subtask.
    SubtaskDrop,
    /// `subtask.cancel`: takes a subtask, returns its state.
    SubtaskCancel,
    /// `backpressure.inc`.
    BackpressureInc,
    /// `backpressure.dec`.
    BackpressureDec,
    /// `thread.yield`: returns whether the task was cancelled.
    Yield,
    /// A function of streams or futures.
    End {
        /// Of which.
        of: Passing,
        /// In [`Plan::streams`](crate::Plan::streams) or [`Plan::futures`](crate::Plan::futures).
        table: u32,
        /// What it does.
        what: EndFunction,
    },
}

/// What values are passed through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Passing {
    /// Any number of them.
    Stream,
    /// One.
    Future,
}

impl Passing {
    /// The component model's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Passing::Stream => "stream",
            Passing::Future => "future",
        }
    }
}

/// What a function of streams or futures does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndFunction {
    /// Returns both ends: the readable one in the low half.
    New,
    /// Takes an end, a pointer and, for streams, a number of values; returns how it went.
    Read,
    /// As [`Read`](Self::Read).
    Write,
    /// Takes an end, returns how the read went.
    CancelRead,
    /// As [`CancelRead`](Self::CancelRead).
    CancelWrite,
    /// Takes an end.
    DropReadable,
    /// Takes an end.
    DropWritable,
}

impl EndFunction {
    /// The component model's name, without what it is of.
    pub fn name(self) -> &'static str {
        match self {
            EndFunction::New => "new",
            EndFunction::Read => "read",
            EndFunction::Write => "write",
            EndFunction::CancelRead => "cancel-read",
            EndFunction::CancelWrite => "cancel-write",
            EndFunction::DropReadable => "drop-readable",
            EndFunction::DropWritable => "drop-writable",
        }
    }
}

/// As a rule that is broken names it: `stream.cancel-read`.
impl fmt::Display for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Builtin::TaskReturn { .. } => "task.return",
            Builtin::TaskCancel => "task.cancel",
            Builtin::WaitableSetNew => "waitable-set.new",
            Builtin::WaitableSetWait => "waitable-set.wait",
            Builtin::WaitableSetPoll => "waitable-set.poll",
            Builtin::WaitableSetDrop => "waitable-set.drop",
            Builtin::WaitableJoin => "waitable.join",
            Builtin::SubtaskDrop => "subtask.drop",
            Builtin::SubtaskCancel => "subtask.cancel",
            Builtin::BackpressureInc => "backpressure.inc",
            Builtin::BackpressureDec => "backpressure.dec",
            Builtin::Yield => "thread.yield",
            Builtin::End { of, what, .. } => return write!(f, "{}.{}", of.name(), what.name()),
        })
    }
}

impl Builtin {
    /// The name it is imported by, without options: what it is about follows in brackets.
    pub fn import_name(&self) -> String {
        match self {
            Builtin::TaskReturn { result: Some(ty) } => format!("{self}[{ty}]"),
            Builtin::End { table, .. } => format!("{self}[{table}]"),
            _ => self.to_string(),
        }
    }

    /// How many parameters and how many results it has, all of type `i32`; `None` for `task.return`, whose parameters are
    /// the result's. `stream.new` and `future.new` have one result of type `i64`.
    pub fn arity(&self) -> Option<(usize, usize)> {
        Some(match self {
            Builtin::TaskReturn { .. } => return None,
            Builtin::TaskCancel | Builtin::BackpressureInc | Builtin::BackpressureDec => (0, 0),
            Builtin::WaitableSetNew | Builtin::Yield => (0, 1),
            Builtin::WaitableSetWait | Builtin::WaitableSetPoll => (2, 1),
            Builtin::WaitableSetDrop | Builtin::SubtaskDrop => (1, 0),
            Builtin::WaitableJoin => (2, 0),
            Builtin::SubtaskCancel => (1, 1),
            Builtin::End { of, what, .. } => match what {
                EndFunction::New => (0, 1),
                EndFunction::Read | EndFunction::Write if *of == Passing::Stream => (3, 1),
                EndFunction::Read | EndFunction::Write => (2, 1),
                EndFunction::CancelRead | EndFunction::CancelWrite => (1, 1),
                EndFunction::DropReadable | EndFunction::DropWritable => (1, 0),
            },
        })
    }
}
